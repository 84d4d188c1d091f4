"""Tables with notes below them, for the terminal, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from evalkit.report.formats import OutputFormat
from evalkit.report.tables import latex, markdown

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Board", "natural_width", "render_boards"]

_NAME_COLUMNS = 26


class Board(NamedTuple):
    """One table of texts.

    Attributes:
        title: title above the table.
        header: names of the columns.
        rows: cells of each row; the first is an explainer.
        numeric: columns with numbers, aligned right and never broken.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: range


def natural_width(board: Board) -> int:
    """Return the columns that a table needs on a terminal so that no cell is broken, but names at their parameters."""
    from rich.cells import cell_len

    from evalkit.report.tables.rich_tables import broken_name

    names = [line for row in board.rows for line in broken_name(row[0], _NAME_COLUMNS).plain.split("\n")]
    others = zip(*(row[1:] for row in board.rows), strict=True)
    cells = [names, *map(list, others)]
    widths = [max(map(cell_len, [title, *texts])) for title, texts in zip(board.header, cells, strict=True)]
    return sum(widths) + 2 * (len(widths) - 1)


def render_boards(boards: Sequence[Board], notes: Sequence[str], form: OutputFormat, *, width: int, color: bool) -> str:
    """Return tables and notes as table, markdown or latex (the notes as comments).

    Args:
        boards: the tables.
        notes: the notes, one sentence each.
        form: table, markdown or latex.
        width: width of the terminal in columns; for the table only.
        color: whether to use bold and dim text; for the table only.
    """
    if form == "latex":
        comments = "\n".join(f"% {' '.join(line.split())}" for line in notes)
        tables = [
            f"% {board.title}\n"
            + latex.tabular([*map(latex.escape, board.header)], [[*map(latex.escape, row)] for row in board.rows])
            for board in boards
        ]
        return "\n\n".join([comments, *tables]) + "\n"
    if form == "markdown":
        tables = [
            f"## {markdown.escape(board.title)}\n\n"
            + markdown.pipe_table(
                [*map(markdown.escape, board.header)], [[*map(markdown.escape, row)] for row in board.rows]
            )
            for board in boards
        ]
        return "\n\n".join([*tables, "\n".join(f"* {markdown.escape(line)}" for line in notes)]) + "\n"
    return _on_terminal(boards, notes, width=width, color=color)


def _on_terminal(boards: Sequence[Board], notes: Sequence[str], *, width: int, color: bool) -> str:
    from rich.cells import cell_len
    from rich.padding import Padding

    from evalkit.report.tables.rich_tables import block, broken_name, print_to_text, titled_table

    parts: list[RenderableType] = []
    for board in boards:
        table = titled_table(board.title)
        table.min_width = min(width, cell_len(board.title))  # so that a title is not broken
        for index, name in enumerate(board.header):
            if index in board.numeric:
                table.add_column(name, justify="right", no_wrap=True)
            else:
                table.add_column(name, overflow="fold")
        for row in board.rows:
            table.add_row(broken_name(row[0], _NAME_COLUMNS), *row[1:])
        parts.append(Padding(table, (1, 0, 0, 0)))
    parts.append(block("How to read this", notes))
    return print_to_text(parts, width=width, color=color)
