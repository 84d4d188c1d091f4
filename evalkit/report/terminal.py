"""Tables on the terminal: quiet, readable at 80 columns, right without color too."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.report.layout import (
    Leaderboard,
    facts,
    interval,
    is_best,
    leaderboards,
    legend,
    marks,
    number,
    sweep_rows,
    unscored_lines,
)
from evalkit.store.manifest import Manifest

__all__ = ["listing_table", "print_to_text", "render_terminal"]

_WIDE = 120
_NAMED = 10
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
        pieces = _narrowed(board, 3) if with_intervals and width < 140 else [board]
        parts += [
            _leaderboard(piece, manifest, results, width=width, with_intervals=with_intervals) for piece in pieces
        ]
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
    return "\n".join(line.rstrip() for line in stream.getvalue().strip("\n").splitlines()) + "\n"


def _narrowed(board: Leaderboard, most: int) -> list[Leaderboard]:
    """Split a leaderboard so that its intervals fit."""
    count = -(-len(board.columns) // most)
    size = -(-len(board.columns) // count)
    return [
        Leaderboard(
            board.title if start == 0 else f"{board.title}, continued",
            board.columns[start : start + size],
            tuple(type(row)(row.explainer, row.control, row.cells[start : start + size]) for row in board.rows),
        )
        for start in range(0, len(board.columns), size)
    ]


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
    return Text(title.replace("_", "_\n").replace(" ", "\n"))


def _name(text: str, room: int) -> Text:
    """Return an explainer's name broken where its parameters begin, if it needs more than ``room`` columns."""
    return Text(text if len(text) <= room else text.replace("(", "\n (", 1).replace(", ", ",\n  "))


def _leaderboard(
    board: Leaderboard, manifest: Manifest, results: Results, *, width: int, with_intervals: bool
) -> RenderableType:
    table = _table(board.title)
    table.add_column("explainer", overflow="fold")
    cells = [
        [_cell(cell, marks(manifest, results, cell), with_intervals=with_intervals) for cell in row.cells]
        for row in board.rows
    ]
    needed = 0
    for index, column in enumerate(board.columns):
        heading = _heading(column.title)
        table.add_column(heading, justify="right", no_wrap=True)
        needed += 2 + max(map(len, [*heading.plain.split("\n"), *(row[index].plain for row in cells)]))
    for row, values in zip(board.rows, cells, strict=True):
        name = _name(row.explainer + (" (control)" if row.control else ""), width - needed)
        name.stylize("dim" if row.control else "")
        table.add_row(name, *values)
    return Padding(table, (1, 0, 0, 0))


def _cell(cell: LeaderboardCell, mark: str, *, with_intervals: bool) -> Text:
    shown = interval(cell) if with_intervals else number(cell.mean)
    text = Text(shown, style="bold" if is_best(cell) else "")
    text.append(mark or " ")
    return text


def _sweep(manifest: Manifest, results: Results, *, width: int) -> list[RenderableType]:
    if not results.patch_sweep:
        return []
    chosen = results.best_patch_size
    header, rows = sweep_rows(manifest, results, max(1, min(6, (width - 42) // 13)))
    table = _table("Patch size of occlusion")
    for title in header:
        table.add_column(_heading(title), justify="right", no_wrap=True)
    for row, cells in zip(results.patch_sweep, rows, strict=True):
        is_chosen = chosen is not None and (row.patch_size, row.stride) == (chosen.patch_size, chosen.stride)
        table.add_row(*[f"> {cells[0]}" if is_chosen else cells[0], *cells[1:]], style="bold" if is_chosen else "")
    found: list[RenderableType] = [Padding(table, (1, 0, 0, 0))]
    if chosen is not None:
        found.append(Padding(Text(f"> {chosen.reason}"), (1, 0, 0, 0)))
    return found


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
