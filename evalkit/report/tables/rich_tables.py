"""Plain building blocks of terminal output: tables, notes, names broken at their parameters."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

__all__ = [
    "NO_MARK",
    "block",
    "broken_name",
    "broken_words",
    "heading",
    "listing_table",
    "print_to_text",
    "titled_table",
]

_WIDEST_HEADING = 16
NO_MARK = "\N{NO-BREAK SPACE}"


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
        force_jupyter=False,  # in a notebook rich would show the table besides writing it
    )
    for part in parts:
        console.print(part)
    printed = stream.getvalue().replace(NO_MARK, " ")
    return "\n".join(line.rstrip() for line in printed.strip("\n").splitlines()) + "\n"


def titled_table(title: str) -> Table:
    """Return an empty table with a title and a line below its header."""
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )


def heading(title: str) -> Text:
    """Return a column's name broken at spaces and before parameters; an arrow is in the line below it.

    A name that is wider than a column of numbers should be is broken after underscores.
    """
    lines = title.replace("(", "\n(").replace(" ", "\n").split("\n")
    return Text("\n".join(_broken_word(line, _WIDEST_HEADING, "", "_") for line in lines))


def broken_name(text: str, room: int) -> Text:
    """Return an explainer's name, broken before its parameters if it needs more than ``room`` columns.

    Lines that are still too long are broken after the ``+`` and ``/`` of layers, and the name after ``.`` and ``_``.
    """
    if len(text) <= room:
        return Text(text)
    name, *parameters = text.replace("(", "\n(", 1).replace(", ", ",\n ").split("\n")
    if 0 < room < len(name):
        name = _broken_word(name, room, " ", "._")
    return Text("\n".join([name, *(f" {broken_words(line, room - 1, '  ')}" for line in parameters)]))


def broken_words(text: str, room: int, indent: str = "") -> str:
    r"""Return text whose words of more than ``room`` columns are broken after ``+`` and ``/``.

    >>> broken_words("layer=block3+block4 is best", 14)
    'layer=block3+\nblock4 is best'
    """
    return " ".join(word if len(word) <= room else _broken_word(word, room, indent) for word in text.split(" "))


def _broken_word(word: str, room: int, indent: str, after: str = "+/") -> str:
    lines = [""]
    for part in re.findall(rf"[^{after}]*[{after}]|[^{after}]+$", word):
        if lines[-1] and len(lines[-1]) + len(part) > room:
            lines.append(indent)
        lines[-1] += part
    return "\n".join(lines)


def block(title: str, lines: Sequence[str]) -> RenderableType:
    """Return lines of text below a title."""
    text = Text("\n".join(lines), overflow="fold")
    return Padding(Text.assemble((title, "bold"), "\n", text), (1, 0, 0, 0))


def listing_table(title: str, columns: Sequence[str], texts: Sequence[Sequence[str]]) -> RenderableType:
    """Return a plain table of texts."""
    table = titled_table(title)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for line in texts:
        table.add_row(*map(Text, line))
    return table
