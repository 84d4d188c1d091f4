"""``show``: prints a finished run in any format; nothing is computed."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.console import color_wanted, print_result, terminal_width
from evalkit.cli.options import Flag, takes
from evalkit.core.errors import ConfigError
from evalkit.core.settings import parsed
from evalkit.report.formats import OutputFormat

__all__ = ["show"]

_OWN = "that of the run"


@takes("criterion", "margin", defaults={"criterion": _OWN, "margin": _OWN})
def show(
    run_folder: Path,
    /,
    *,
    per_image: Flag = False,
    cite: Flag = False,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    all: Flag = False,  # noqa: A002 - the option's name
    wide: Flag = False,
    **options: object,
) -> None:
    """Print the results of a run folder.

    Args:
        run_folder: Folder that `run` or `score` has written.
        per_image: Print the scores of every image instead of the leaderboards.
        cite: Print a paragraph for a methods section, with all settings, and BibTeX instead of the leaderboards.
        format: Output format.
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
    folder = RunFolder.read(run_folder)
    try:
        if per_image:
            manifest = folder.read_manifest()
            text = render_scores(table_of(folder, manifest), format, width=terminal_width())
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
