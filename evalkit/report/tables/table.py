"""Tables with notes below them, in the formats that people read: the terminal, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evalkit.report.formats import OutputFormat
from evalkit.report.tables import latex, markdown

__all__ = ["Board", "render_boards"]


class Board(NamedTuple):
    """One table of texts.

    Attributes:
        title: above the table.
        header: a name a column.
        rows: the cells; the first names an explainer.
        numeric: which columns hold numbers, aligned right and never broken.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: range


def render_boards(boards: Sequence[Board], notes: Sequence[str], form: OutputFormat, *, width: int, color: bool) -> str:
    """Return tables and notes as table, markdown or latex (the notes as comments).

    Args:
        boards: the tables.
        notes: a sentence each.
        form: table, markdown or latex.
        width: columns of the terminal; for the table only.
        color: use bold and dim; for the table only.
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
    from evalkit.report.tables.terminal import board_parts, print_to_text

    return print_to_text(board_parts(boards, notes), width=width, color=color)
