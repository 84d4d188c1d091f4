"""One canonical line for every setting that can move a number, and its digest.

A signature reads ``deletion|v:2|substrate:mean|steps:28|ties:levels``: a name, then ``key:value`` pairs in a fixed
order. Equal signatures mean that numbers may be compared; the sha256 of the line keys what is already computed.
After sacreBLEU's signatures (Post, 2018).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

__all__ = ["digest", "line", "with_digest", "without_digest"]

Value = str | int | float | bool | None


def _text(value: Value) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("|", "%7C")


def line(name: str, settings: Mapping[str, Value]) -> str:
    """Join a name and its settings into one line, in the order given.

    >>> line("deletion", {"v": 1, "steps": 28, "layer": None})
    'deletion|v:1|steps:28|layer:none'
    """
    return "|".join([_text(name), *(f"{key}:{_text(value)}" for key, value in settings.items())])


def with_digest(word: str, text: str) -> str:
    """Return a word and the first eight digits of a text's digest, e.g. ``label(1f61058f)``."""
    return f"{word}({digest(text, 8)})"


def without_digest(text: str) -> str:
    """Return the word of ``with_digest``.

    >>> without_digest(with_digest("label", "a class map")), without_digest("predicted")
    ('label', 'predicted')
    """
    return text.partition("(")[0]


def digest(text: str, length: int = 64) -> str:
    """Return the first ``length`` hexadecimal digits of the sha256 of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
