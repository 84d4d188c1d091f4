"""``show``: prints a finished run in any format; nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from evalkit.cli.console import color_wanted, on_terminal, print_bytes, print_result, terminal_width
from evalkit.cli.options import Flag, takes
from evalkit.core.errors import ConfigError
from evalkit.core.settings import parsed

__all__ = ["show"]

ShowFormat = Literal["table", "json", "csv", "markdown", "latex", "parquet"]

_OWN = "that of the run"


@takes("criterion", "margin", defaults={"criterion": _OWN, "margin": _OWN})
def show(
    run_folder: Path,
    /,
    *,
    per_image: Flag = False,
    cite: Flag = False,
    format: ShowFormat = "table",  # noqa: A002 - the option's name
    all: Flag = False,  # noqa: A002 - the option's name
    wide: Flag = False,
    **options: object,
) -> None:
    """Print the results of a run folder.

    Args:
        run_folder: Folder that `run` or `score` has written.
        per_image: Print the scores of every image instead of the leaderboards.
        cite: Print a paragraph for a methods section, with all settings, and BibTeX instead of the leaderboards.
        format: Output format; parquet is a binary file, to be sent to one with `>`.
        all: Print every table, the tests, the cost and the signature, not only the first screen.
        wide: Print every table, with intervals even if the terminal is narrow.
    """
    from evalkit.analysis.load import table_of
    from evalkit.analysis.service import results_of
    from evalkit.report import render, render_citation, render_scores
    from evalkit.report.rerun import more_commands
    from evalkit.store.run_folder import RunFolder

    if cite and per_image:
        raise ConfigError("--cite and --per-image print different things; give one of them")
    if per_image and options:
        raise ConfigError(
            f"--per-image prints the scores as they are, and --{next(iter(options))} decides between explainers; give "
            "one of them"
        )
    if format == "parquet":
        if cite:
            raise ConfigError(
                "--cite prints text, which --format parquet cannot hold; use table, markdown, latex or json"
            )
        _show_parquet(run_folder, per_image=per_image, options=options)
        return
    folder = RunFolder.read(run_folder)
    try:
        if per_image:
            manifest = folder.read_manifest()
            text = render_scores(table_of(folder, manifest), manifest, format, width=terminal_width())
        elif cite:
            text = render_citation(*results_of(folder, **parsed(options)), format, width=terminal_width())
        else:
            manifest, results = results_of(folder, **parsed(options))
            text = render(
                manifest,
                results,
                format,
                width=terminal_width(),
                wide=wide,
                color=color_wanted(),
                more=None if all or wide else more_commands(run_folder, options),
            )
    finally:
        folder.close()
    print_result(text)


def _show_parquet(run_folder: Path, *, per_image: bool, options: Mapping[str, object]) -> None:
    from evalkit.report.parquet import run_parquet
    from evalkit.store.run_folder import RunFolder

    if on_terminal():
        kept = "scores" if per_image else "leaderboard"
        raise ConfigError(f"--format parquet is a binary file; send it to one, for example > {kept}.parquet")
    folder = RunFolder.read(run_folder)
    try:
        content = run_parquet(folder, per_image=per_image, **parsed(options))
    finally:
        folder.close()
    print_bytes(content)
