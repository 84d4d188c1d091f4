"""``show``: print a run again, in any format, without computing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evalkit.cli.console import color_wanted, print_result, terminal_width
from evalkit.core.settings import RunOptions, merge
from evalkit.report.formats import OutputFormat

__all__ = ["show"]


def show(
    run_folder: Path,
    /,
    *,
    per_image: Annotated[bool, Parameter(negative="")] = False,
    criterion: str | None = None,
    margin: float | None = None,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    wide: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Print the results of a run folder.

    Parameters
    ----------
    run_folder
        Made by `run`.
    per_image
        Print every image's scores instead of the leaderboards.
    criterion
        Choose the patch size by this metric instead of the run's own.
    margin
        Accept this loss to the best size instead of the run's own.
    format
        How to print the result.
    wide
        Print intervals at any width.
    """
    from evalkit.analysis.load import table_of
    from evalkit.analysis.service import results_of
    from evalkit.report import render, render_scores
    from evalkit.store.run_folder import RunFolder

    folder = RunFolder.read(run_folder)
    try:
        if per_image:
            manifest = folder.read_manifest()
            text = render_scores(table_of(folder, manifest), format, width=terminal_width())
        else:
            manifest, results = results_of(folder, criterion=criterion, margin=merge(RunOptions(margin=margin)).margin)
            text = render(manifest, results, format, width=terminal_width(), wide=wide, color=color_wanted())
    finally:
        folder.close()
    print_result(text)
