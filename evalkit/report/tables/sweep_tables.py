"""The tables of sweeps on the terminal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from evalkit.analysis.results import ParameterChoice, PatchSizeChoice, Results
from evalkit.report.tables.parameter_sweep import NAMES, ShownSweep, key_lines, parameter_lines, parameter_table
from evalkit.report.tables.patch_size import SweepTable, choice_lines, equal_stride_lines, sweep_table, sweep_title
from evalkit.report.tables.rich_tables import broken_words, heading, titled_table
from evalkit.store.manifest import Manifest

__all__ = ["parameter_parts", "patch_size_parts"]

_MOST_METRICS = 6


def patch_size_parts(
    manifest: Manifest, results: Results, *, width: int, only_criterion: bool = False
) -> list[RenderableType]:
    """Return the patch-size table and the sentences below it; empty if no size was swept.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
        width: width of the terminal in columns.
        only_criterion: whether to show one metric, and below the table only what its marks mean.
    """
    if not results.patch_sweep:
        return []
    swept = _fitting(functools.partial(sweep_table, manifest, results, short=True), width, _most(only_criterion))
    lines = [*choice_lines(results), *equal_stride_lines(results)]
    lines = _marks(results.best_patch_size) if only_criterion else lines
    return _parts(sweep_title(manifest, results), swept, lines, in_one_line=only_criterion)


def parameter_parts(
    manifest: Manifest, shown: ShownSweep, *, width: int, only_criterion: bool = False
) -> list[RenderableType]:
    """Return the table of another sweep and the sentences below it; arguments as of ``patch_size_parts``."""
    for names in NAMES:
        content = functools.partial(parameter_table, manifest, shown, names=names, short=True)
        swept = _fitting(content, width, _most(only_criterion))
        if _needed(swept) <= width:
            break
    keys = key_lines(shown) if names == "letters" else []
    lines = _marks(shown.choice) if only_criterion else parameter_lines(shown)
    return _parts(
        shown.title, swept, [broken_words(line, width) for line in [*keys, *lines]], in_one_line=only_criterion
    )


def _most(only_criterion: bool) -> int:
    return 1 if only_criterion else _MOST_METRICS


def _marks(choice: PatchSizeChoice | ParameterChoice | None) -> list[str]:
    """Return what the marks before the rows mean, in one line."""
    if choice is None:
        return []
    tied = "= also within the margin" if choice.decided else "= not significantly different"
    return ["; ".join(["> recommended" if choice.decided else "> best so far", *([tied] if choice.tied_with else [])])]


def _parts(title: str, swept: SweepTable, lines: Sequence[str], *, in_one_line: bool) -> list[RenderableType]:
    """Return a sweep's table, its titles in one line or broken, and the lines below it."""
    table = titled_table(title)
    for index, name in enumerate(swept.header):
        shown = Text(name) if in_one_line else heading(name)
        table.add_column(shown, justify="right", no_wrap=index not in swept.words, overflow="fold")
    for index, cells in enumerate(swept.rows):
        table.add_row(
            *[Text(cell, style="bold" if (index, column) in swept.best else "") for column, cell in enumerate(cells)]
        )
    return [Padding(table, (1, 0, 0, 0)), *([Text("\n".join(lines))] if lines else [])]


def _fitting(content: Callable[..., SweepTable], width: int, most: int) -> SweepTable:
    """Return a sweep with as many metrics as fit; without positions and seconds if not even one does.

    Args:
        content: returns the sweep with this number of metrics, without positions and seconds if ``brief``.
        width: width of the terminal in columns.
        most: largest number of metrics.
    """
    for count, brief in [*((count, False) for count in range(most, 0, -1)), (1, True)]:
        swept = content(count, brief=brief)
        if _needed(swept) <= width:
            break
    return swept


def _needed(swept: SweepTable) -> int:
    """Return the columns that a sweep's table needs so that no cell is broken."""
    widths = [
        max(cell_len(line) for text in (heading(column[0]).plain, *column[1:]) for line in text.split("\n"))
        for column in zip(swept.header, *swept.rows, strict=True)
    ]
    return sum(widths) + 2 * (len(widths) - 1)
