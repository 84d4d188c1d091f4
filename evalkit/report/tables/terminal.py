"""Tables on the terminal: quiet, readable at 80 columns, right without color too."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
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
    tied_for_best,
    unscored_lines,
)
from evalkit.report.tables.patch_size import SweepTable, choice_lines, equal_stride_lines, object_size_rows, sweep_table
from evalkit.report.tables.table import Board
from evalkit.store.manifest import Manifest

__all__ = ["board_parts", "listing_table", "print_to_text", "render_terminal"]

_WIDE = 120
_NAMED = 10
_LETTERS = 5  # columns of the letters after a score; more are folded
_LETTER_COLUMN = 3
_NO_MARK = "\N{NO-BREAK SPACE}"
_COST_COLUMNS = 62  # what the other columns of the cost table take


def render_terminal(manifest: Manifest, results: Results, *, width: int, wide: bool, color: bool) -> str:
    """Return everything that ``run`` prints.

    Args:
        manifest: of the run.
        results: its analysis.
        width: columns of the terminal.
        wide: print intervals at any width.
        color: use bold and dim.
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


def print_to_text(parts: Iterable[RenderableType], *, width: int, color: bool) -> str:
    """Print with rich into a text of at most ``width`` columns."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in parts:
        console.print(part)
    printed = stream.getvalue().replace(_NO_MARK, " ")
    return "\n".join(line.rstrip() for line in printed.strip("\n").splitlines()) + "\n"


def _narrowed(
    board: Leaderboard, manifest: Manifest, results: Results, *, width: int, with_intervals: bool
) -> list[Leaderboard]:
    """Split a leaderboard into as few tables of nearly equal width as fit."""
    room = width - _LETTER_COLUMN - max((len(_shortest(_shown_name(row))) for row in board.rows), default=0)
    needed = [
        _column_width(
            column, [row.cells[at] for row in board.rows], board, manifest, results, with_intervals=with_intervals
        )
        for at, column in enumerate(board.columns)
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
    """Return what a metric's two columns take: the score, and the letters of the rows that it beats."""
    scores = [_score(cell, manifest, results, with_intervals=with_intervals).plain for cell in cells]
    letters = [line for cell in cells for line in _folded(beaten(board, cell))]
    heading = _heading(column.title).plain.split("\n")
    return 3 + max(map(len, [*heading, *scores])) + max(map(len, letters), default=0)


def _shown_name(row: Row) -> str:
    return row.explainer + (" (control)" if row.control else "")


def _shortest(text: str) -> str:
    """Return the longest line of a name that is broken where it can be."""
    return max(_name(text, 0).plain.split("\n"), key=len)


def _table(title: str) -> Table:
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )


def _heading(title: str) -> Text:
    """Return a column's name broken at its underscores, not inside its words; an arrow stands below it."""
    return Text(title.replace("_", "_\n").replace("(", "\n(").replace(" ", "\n"))


def _name(text: str, room: int) -> Text:
    """Return an explainer's name broken where its parameters begin, if it needs more than ``room`` columns."""
    return Text(text if len(text) <= room else text.replace("(", "\n (", 1).replace(", ", ",\n  "))


def _leaderboard(
    board: Leaderboard, manifest: Manifest, results: Results, *, width: int, with_intervals: bool
) -> list[RenderableType]:
    table = _table(board.title)
    table.padding = (0, 0, 0, 0)  # the box leaves one column between; letters belong to the score before them
    table.add_column("", no_wrap=True, style="dim", min_width=_LETTER_COLUMN - 1)
    table.add_column("explainer", overflow="fold")
    needed = _LETTER_COLUMN
    for index, column in enumerate(board.columns):
        table.add_column(_heading(column.title), justify="right", no_wrap=True)
        cells = [row.cells[index] for row in board.rows]
        letters = max((len(line) for cell in cells for line in _folded(beaten(board, cell))), default=0)
        table.add_column("", no_wrap=True, style="dim", min_width=letters + 1)
        needed += _column_width(column, cells, board, manifest, results, with_intervals=with_intervals)
    for row in board.rows:
        name = _name(_shown_name(row), width - needed)
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
    tied = tied_for_best(board)
    return [Padding(table, (1, 0, 0, 0)), *([Text(tied)] if tied else [])]


def _score(cell: LeaderboardCell, manifest: Manifest, results: Results, *, with_intervals: bool) -> Text:
    text = Text(interval(cell) if with_intervals else number(cell.mean), style="bold" if is_best(cell) else "")
    # A blank mark would be stripped, and the numbers would not stand below each other.
    text.append(marks(manifest, results, cell) or _NO_MARK)
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
    table = _table("Patch size of occlusion")
    for title in swept.header:
        table.add_column(_heading(title), justify="right", no_wrap=True)
    for place, cells in enumerate(swept.rows):
        table.add_row(
            *[Text(cell, style="bold" if (place, column) in swept.best else "") for column, cell in enumerate(cells)]
        )
    found: list[RenderableType] = [Padding(table, (1, 0, 0, 0))]
    lines = [*choice_lines(results), *equal_stride_lines(results)]
    if lines:
        found.append(Padding(Text("\n".join(lines)), (1, 0, 0, 0)))
    return [*found, *_by_object_size(manifest, results)]


def _fitting_sweep(manifest: Manifest, results: Results, width: int) -> SweepTable:
    """Return the sweep with as many metrics as fit."""
    for count in range(6, 0, -1):
        swept = sweep_table(manifest, results, count)
        columns = zip(swept.header, *swept.rows, strict=True)
        needed = [
            max(len(line) for text in (_heading(one[0]).plain, *one[1:]) for line in text.split("\n"))
            for one in columns
        ]
        if sum(needed) + 2 * len(needed) <= width + 2:
            break
    return swept


def _by_object_size(manifest: Manifest, results: Results) -> list[RenderableType]:
    header, rows, notes = object_size_rows(results)
    if not rows:
        return []
    table = _table(f"{manifest.settings.criterion} by object size (images)")
    for title in header:
        table.add_column(title.replace("_", "_\n"), justify="right", no_wrap=True)
    for cells in rows:
        table.add_row(*cells)
    return [Padding(table, (1, 0, 0, 0)), Padding(Text("\n".join(notes)), (1, 0, 0, 0))]


def _cost(manifest: Manifest, results: Results, *, width: int) -> RenderableType:
    table = _table("Cost of the maps")
    table.add_column("explainer", overflow="fold")
    for heading in ("passes/image", "s/image", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("method", overflow="fold")
    controls = {one.text for one in manifest.explainers if one.control}
    for cost in results.cost:
        name = _name(cost.explainer, width - _COST_COLUMNS)
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
    named = [f"{image_id}: {reason}" for image_id, reason in unreadable[:_NAMED]]
    more = manifest.data.n_unreadable - len(named)
    named += [f"and {more} more"] if more > 0 else []
    blocks: Sequence[tuple[str, Sequence[str]]] = [
        ("Not scored", unscored_lines(results)),
        ("Not usable", named),
        ("How to read this", [*legend(manifest, results), *facts(manifest, results)]),
        ("Signature", [manifest.signature.run, *manifest.signature.metrics.values()]),
    ]
    return [_block(title, lines) for title, lines in blocks if lines]


def _block(title: str, lines: Sequence[str]) -> RenderableType:
    text = Text("\n".join(lines), overflow="fold")
    return Padding(Text.assemble((title, "bold"), "\n", text), (1, 0, 0, 0))


def listing_table(title: str, columns: Sequence[str], texts: Sequence[Sequence[str]]) -> RenderableType:
    """Return a plain table of texts, shown as they are."""
    table = _table(title)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for line in texts:
        table.add_row(*map(Text, line))
    return table


def board_parts(boards: Sequence[Board], notes: Sequence[str]) -> list[RenderableType]:
    """Return plain tables, explainers' names broken as elsewhere, and the notes below them."""
    parts: list[RenderableType] = []
    for board in boards:
        table = _table(board.title)
        for place, name in enumerate(board.header):
            if place in board.numeric:
                table.add_column(name, justify="right", no_wrap=True)
            else:
                table.add_column(name, overflow="fold")
        for row in board.rows:
            table.add_row(_name(row[0], 26), *row[1:])
        parts.append(Padding(table, (1, 0, 0, 0)))
    return [*parts, _block("How to read this", notes)]
