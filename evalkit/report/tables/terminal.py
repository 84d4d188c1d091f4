"""The tables of a run on the terminal, readable at 80 columns and without color."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.report.tables.leaderboard import (
    Column,
    Leaderboard,
    Row,
    beaten,
    facts,
    interval,
    is_best,
    leaderboards,
    legend,
    marks,
    number,
    substrate_lines,
    tied_for_best,
    unscored_lines,
)
from evalkit.report.tables.patch_size import (
    SweepTable,
    choice_lines,
    equal_stride_lines,
    object_size_rows,
    sweep_table,
    sweep_title,
)
from evalkit.report.tables.rich_tables import NO_MARK, block, broken_name, heading, print_to_text, titled_table
from evalkit.store.manifest import Manifest

__all__ = ["render_terminal"]

_WIDE = 120
_SHOWN_PROBLEMS = 10
_LETTERS = 5  # columns of the letters after a score; more are folded
_LETTER_COLUMN = 3
_COST_COLUMNS = 62  # width of the other columns of the cost table


def render_terminal(manifest: Manifest, results: Results, *, width: int, wide: bool, color: bool) -> str:
    """Return everything that ``run`` prints.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
        width: width of the terminal in columns.
        wide: whether to print intervals at any width.
        color: whether to use bold and dim text.
    """
    with_intervals = wide or width >= _WIDE
    parts: list[RenderableType] = []
    for board in leaderboards(manifest, results):
        for piece in _narrowed(board, manifest, results, width=width, with_intervals=with_intervals):
            parts += _leaderboard(piece, manifest, results, width=width, with_intervals=with_intervals)
    parts += _sweep(manifest, results, width=width)
    parts.append(_cost(manifest, results, width=width))
    parts += _notes(manifest, results)
    return print_to_text(parts, width=width, color=color)


def _narrowed(
    board: Leaderboard, manifest: Manifest, results: Results, *, width: int, with_intervals: bool
) -> list[Leaderboard]:
    """Split a leaderboard into as few tables of nearly equal width as fit the terminal."""
    room = width - _LETTER_COLUMN - max((len(_shortest(_shown_name(row))) for row in board.rows), default=0)
    needed = [
        _column_width(
            column, [row.cells[index] for row in board.rows], board, manifest, results, with_intervals=with_intervals
        )
        for index, column in enumerate(board.columns)
    ]
    for count in range(1, len(needed) + 1):
        bounds = [round(index * len(needed) / count) for index in range(count + 1)]
        if all(sum(needed[start:end]) <= room for start, end in pairwise(bounds)):
            break
    return [
        Leaderboard(
            board.title if start == 0 else f"{board.title}, continued",
            board.columns[start:end],
            tuple(replace(row, cells=row.cells[start:end]) for row in board.rows),
        )
        for start, end in pairwise(bounds)
    ]


def _column_width(
    column: Column,
    cells: Sequence[LeaderboardCell],
    board: Leaderboard,
    manifest: Manifest,
    results: Results,
    *,
    with_intervals: bool,
) -> int:
    """Return the width of a metric's two columns: the score, and the letters of the rows that it beats."""
    scores = [_score(cell, manifest, results, with_intervals=with_intervals).plain for cell in cells]
    letters = [line for cell in cells for line in _folded(beaten(board, cell))]
    titles = heading(column.title).plain.split("\n")
    return 3 + max(map(len, [*titles, *scores])) + max(map(len, letters), default=0)


def _shown_name(row: Row) -> str:
    return row.explainer + (" (control)" if row.control else "")


def _shortest(text: str) -> str:
    """Return the longest line of a name broken before its parameters."""
    return max(broken_name(text, 0).plain.split("\n"), key=len)


def _leaderboard(
    board: Leaderboard, manifest: Manifest, results: Results, *, width: int, with_intervals: bool
) -> list[RenderableType]:
    table = titled_table(board.title)
    table.padding = (0, 0, 0, 0)  # the box separates columns; letters belong to the score on their left
    table.add_column("", no_wrap=True, style="dim", min_width=_LETTER_COLUMN - 1)
    table.add_column("explainer", overflow="fold")
    needed = _LETTER_COLUMN
    for index, column in enumerate(board.columns):
        table.add_column(heading(column.title), justify="right", no_wrap=True)
        cells = [row.cells[index] for row in board.rows]
        letters = max((len(line) for cell in cells for line in _folded(beaten(board, cell))), default=0)
        table.add_column("", no_wrap=True, style="dim", min_width=letters + 1)
        needed += _column_width(column, cells, board, manifest, results, with_intervals=with_intervals)
    for row in board.rows:
        name = broken_name(_shown_name(row), width - needed)
        name.stylize("dim" if row.control else "")
        shown = [
            text
            for cell in row.cells
            for text in (
                _score(cell, manifest, results, with_intervals=with_intervals),
                Text("\n".join(_folded(beaten(board, cell)))),
            )
        ]
        table.add_row(row.letter, name, *shown)
    notes = [*filter(None, [tied_for_best(board)]), *substrate_lines(manifest, board)]
    return [Padding(table, (1, 0, 0, 0)), *map(Text, notes)]


def _score(cell: LeaderboardCell, manifest: Manifest, results: Results, *, with_intervals: bool) -> Text:
    text = Text(interval(cell) if with_intervals else number(cell.mean), style="bold" if is_best(cell) else "")
    # A blank mark would be stripped, and the numbers would not be aligned.
    text.append(marks(manifest, results, cell) or NO_MARK)
    return text


def _folded(letters: str) -> list[str]:
    """Break letters at their commas into lines of a few columns."""
    lines: list[str] = []
    for part in letters.split(",") if letters else []:
        if lines and len(lines[-1]) + 1 + len(part) <= _LETTERS:
            lines[-1] += f",{part}"
        else:
            lines.append(part)
    return lines


def _sweep(manifest: Manifest, results: Results, *, width: int) -> list[RenderableType]:
    if not results.patch_sweep:
        return []
    swept = _fitting_sweep(manifest, results, width)
    table = titled_table(sweep_title(manifest, results))
    for index, title in enumerate(swept.header):
        table.add_column(heading(title), justify="right", no_wrap=index not in swept.words, overflow="fold")
    for index, cells in enumerate(swept.rows):
        table.add_row(
            *[Text(cell, style="bold" if (index, column) in swept.best else "") for column, cell in enumerate(cells)]
        )
    parts: list[RenderableType] = [Padding(table, (1, 0, 0, 0))]
    lines = [*choice_lines(results), *equal_stride_lines(results)]
    if lines:
        parts.append(Padding(Text("\n".join(lines)), (1, 0, 0, 0)))
    return [*parts, *_by_object_size(manifest, results)]


def _fitting_sweep(manifest: Manifest, results: Results, width: int) -> SweepTable:
    """Return the sweep with as many metrics as fit; without positions and seconds if not even one does."""
    for count, brief in [*((count, False) for count in range(6, 0, -1)), (1, True)]:
        swept = sweep_table(manifest, results, count, brief=brief)
        columns = zip(swept.header, *swept.rows, strict=True)
        needed = [
            max(len(line) for text in (heading(column[0]).plain, *column[1:]) for line in text.split("\n"))
            for column in columns
        ]
        if sum(needed) + 2 * len(needed) <= width + 2:
            break
    return swept


def _by_object_size(manifest: Manifest, results: Results) -> list[RenderableType]:
    header, rows, notes = object_size_rows(results)
    if not rows:
        return []
    table = titled_table(f"{manifest.settings.criterion} by object size (images)")
    for title in header:
        table.add_column(title.replace("_", "_\n"), justify="right", no_wrap=True)
    for cells in rows:
        table.add_row(*cells)
    return [Padding(table, (1, 0, 0, 0)), Padding(Text("\n".join(notes)), (1, 0, 0, 0))]


def _cost(manifest: Manifest, results: Results, *, width: int) -> RenderableType:
    table = titled_table("Cost of the maps")
    table.add_column("explainer", overflow="fold")
    for title in ("passes/image", "s/image", "seconds"):
        table.add_column(title, justify="right")
    table.add_column("method", overflow="fold")
    controls = {one.text for one in manifest.explainers if one.control}
    for cost in results.cost:
        name = broken_name(cost.explainer, width - _COST_COLUMNS)
        name.stylize("dim" if cost.explainer in controls else "")
        table.add_row(
            name,
            str(cost.forward_passes),
            number(cost.seconds_per_image, 2),
            number(cost.seconds, 1),
            cost.method,
        )
    return Padding(table, (1, 0, 0, 0))


def _notes(manifest: Manifest, results: Results) -> list[RenderableType]:
    unreadable = manifest.data.unreadable
    problems = [f"{image_id}: {reason}" for image_id, reason in unreadable[:_SHOWN_PROBLEMS]]
    more = manifest.data.n_unreadable - len(problems)
    problems += [f"and {more} more"] if more > 0 else []
    blocks: Sequence[tuple[str, Sequence[str]]] = [
        ("Not scored", unscored_lines(results)),
        ("Not usable", problems),
        ("How to read this", [*legend(manifest, results), *facts(manifest, results)]),
        ("Signature", [manifest.signature.run, *manifest.signature.metrics.values()]),
    ]
    return [block(title, lines) for title, lines in blocks if lines]
