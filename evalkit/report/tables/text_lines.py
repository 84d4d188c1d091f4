"""Lines of text for the terminal: words are never broken, whatever the width."""

from __future__ import annotations

import textwrap
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
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def named(rows: Iterable[tuple[str, str]], width: int, indent: str = _GAP) -> list[str]:
    """Return lines of names and of the texts beside them, which are wrapped."""
    rows = list(rows)
    longest = max((len(name) for name, _ in rows), default=0)
    lines: list[str] = []
    for name, text in rows:
        start = f"{indent}{name:<{longest}}{_GAP}"
        lines += wrapped(text, width, start, " " * len(start)) or [start.rstrip()]
    return lines
