"""Names of files and classes, which come from anyone and are printed on terminals."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

__all__ = ["escaped", "is_text", "path_of", "shown"]

# Control characters move a terminal's cursor or break its lines; surrogates cannot be written at all. What joins
# letters or marks their direction belongs to many scripts, and to emoji.
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")


def is_text(name: str) -> bool:
    """Tell whether a name can be shown on a line: no control characters, no line breaks, no halves of characters."""
    return name.isprintable() or not any(unicodedata.category(character) in _NOT_TEXT for character in name)


def escaped(name: str) -> str:
    r"""Return a name with what is no text written as Python writes it.

    >>> escaped("a\x1bb.jpg")
    'a\\x1bb.jpg'
    """
    if is_text(name):
        return name
    return "".join(one if is_text(one) else one.encode("unicode_escape").decode() for one in name)


def shown(value: object, most: int = 40) -> str:
    """Return any value as text for a message: escaped, and its first letters only."""
    return escaped(str(value)[:most])


def path_of(text: str | os.PathLike[str]) -> Path:
    """Return a path as somebody wrote it: ``~`` is the home folder; one that is nobody's stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises
