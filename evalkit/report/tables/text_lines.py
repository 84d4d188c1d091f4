"""Lines of text for the terminal: words are never broken, whatever the width."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["named", "wrapped"]

_GAP = "  "


def wrapped(text: str, width: int, indent: str = "", hanging: str | None = None) -> list[str]:
    """Return a text in lines of at most ``width`` columns, unless a word is longer.

    Args:
        text: the text.
        width: the number of columns.
        indent: what the lines begin with.
        hanging: what the lines after the first begin with; None = ``indent``.
    """
    lines: list[str] = []
    gap = ""
    for position, chunk in enumerate(re.split(r"([ \t\n]+)", text.strip())):
        if position % 2:
            gap = chunk.replace("\n", " ").expandtabs()
        elif chunk and lines and _columns(lines[-1] + gap + chunk) <= width:
            lines[-1] += gap + chunk
        elif chunk:
            start = indent if not lines or hanging is None else hanging
            lines.append(start + chunk)
    return lines


def _columns(text: str) -> int:
    """Return the width of a text on a terminal, where some characters take two columns."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def named(rows: Iterable[tuple[str, str]], width: int, indent: str = _GAP) -> list[str]:
    """Return lines of names and of the texts beside them, which are wrapped."""
    rows = list(rows)
    longest = max((len(name) for name, _ in rows), default=0)
    lines: list[str] = []
    for name, text in rows:
        start = f"{indent}{name:<{longest}}{_GAP}"
        lines += wrapped(text, width, start, " " * len(start)) or [start.rstrip()]
    return lines
