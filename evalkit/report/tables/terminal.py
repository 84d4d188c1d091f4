"""The tables of a run on the terminal, readable at 80 columns and without color."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.report.tables.cost import cost_notes, cost_table
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
    sanity_lines,
    substrate_lines,
    tied_for_best,
    unscored_lines,
)
from evalkit.report.tables.parameter_sweep import shown_sweeps
from evalkit.report.tables.patch_size import object_size_rows
from evalkit.report.tables.rich_tables import (
    NO_MARK,
    block,
    broken_name,
    heading,
    print_to_text,
    titled_table,
)
from evalkit.report.tables.shortcut import SHORTCUTS, shortcut_lines
from evalkit.report.tables.sweep_tables import parameter_parts, patch_size_parts
from evalkit.store.manifest import Manifest

__all__ = ["render_terminal"]

_WIDE = 120
_SHOWN_PROBLEMS = 10
_LETTERS = 5  # columns of the letters after a score; more are folded
_LETTER_COLUMN = 3
_METHOD_COLUMNS = 28  # of the cost table, if the others leave room for it
_SHORTEST_NAMES, _SHORTEST_METHODS = 18, 9


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
    boards = leaderboards(manifest, results)
    for board in boards:
        for piece in _narrowed(board, manifest, results, width=width, with_intervals=with_intervals):
            parts += _leaderboard(piece, manifest, results, width=width, with_intervals=with_intervals)
    parts += patch_size_parts(manifest, results, width=width)
    parts += _by_object_size(manifest, results) if results.patch_sweep else []
    for shown in shown_sweeps(results):
        parts += parameter_parts(manifest, shown, width=width)
    parts += _cost(manifest, results, width=width)
    parts += _notes(manifest, results, boards)
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
        replace(
            board,
            title=board.title if start == 0 else f"{board.title}, continued",
            columns=board.columns[start:end],
            rows=tuple(replace(row, cells=row.cells[start:end]) for row in board.rows),
            above=board.above if start == 0 else (),
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
    titles = heading(column.short_title).plain.split("\n")
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
        table.add_column(heading(column.short_title), justify="right", no_wrap=True)
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
    above = [Padding(Text("\n".join(board.above)), (1, 0, 0, 0))] if board.above else []
    return [*above, Padding(table, (1, 0, 0, 0)), *map(Text, notes)]


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


def _by_object_size(manifest: Manifest, results: Results) -> list[RenderableType]:
    header, rows, notes = object_size_rows(results)
    if not rows:
        return []
    title = f"{manifest.settings.criterion} by object size (images)"
    table = titled_table(title)
    table.min_width = cell_len(title)  # so that it is not broken
    for title in header:
        table.add_column(heading(title), justify="right", no_wrap=True)
    for cells in rows:
        table.add_row(*cells)
    return [Padding(table, (1, 0, 0, 0)), Padding(Text("\n".join(notes)), (1, 0, 0, 0))]


def _cost(manifest: Manifest, results: Results, *, width: int) -> list[RenderableType]:
    content = cost_table(results)
    first, *titles, last = content.header
    table = titled_table("Cost of the maps")
    cells = zip(*(row[1:-1] for row in content.rows), strict=True)
    others = sum(2 + max(map(len, [title, *column])) for title, column in zip(titles, cells, strict=True)) + 2
    room = max(width - others - _METHOD_COLUMNS, _SHORTEST_NAMES)
    whole = max((len(row[0].partition("(")[0]) for row in content.rows), default=0)
    if whole + others + _SHORTEST_METHODS <= width:
        room = max(room, whole)
    names = [broken_name(row[0], room) for row in content.rows]
    longest = max((len(line) for name in names for line in name.plain.split("\n")), default=0)
    # The methods are broken rather than the names.
    table.add_column(first, overflow="fold", no_wrap=longest + others + _SHORTEST_METHODS <= width)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(last, overflow="fold")
    controls = {one.text for one in manifest.explainers if one.control}
    for name, row in zip(names, content.rows, strict=True):
        name.stylize("dim" if row[0] in controls else "")
        table.add_row(name, *row[1:])
    notes = cost_notes(results)
    return [Padding(table, (1, 0, 0, 0)), *([Padding(Text("\n".join(notes)), (1, 0, 0, 0))] if notes else [])]


def _titles(boards: Sequence[Leaderboard]) -> list[str]:
    """Return what the short titles of columns stand for."""
    columns = {column.short: column.facts.name for board in boards for column in board.columns}
    named = [f"{short}: {name}" for short, name in columns.items() if short != name]
    return [f"Columns: {', '.join(named)}."] if named else []


def _notes(manifest: Manifest, results: Results, boards: Sequence[Leaderboard]) -> list[RenderableType]:
    unreadable = manifest.data.unreadable
    problems = [f"{image_id}: {reason}" for image_id, reason in unreadable[:_SHOWN_PROBLEMS]]
    more = manifest.data.n_unreadable - len(problems)
    problems += [f"and {more} more"] if more > 0 else []
    blocks: Sequence[tuple[str, Sequence[str]]] = [
        ("Do maps depend on the model's weights?", sanity_lines(results)),
        (SHORTCUTS, shortcut_lines(manifest, results)),
        ("Not scored", unscored_lines(results)),
        ("Not usable", problems),
        ("How to read this", [*_titles(boards), *legend(manifest, results), *facts(manifest, results)]),
        ("Signature", [manifest.signature.run, *manifest.signature.metrics.values()]),
    ]
    return [block(title, lines) for title, lines in blocks if lines]
