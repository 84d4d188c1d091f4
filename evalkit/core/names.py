"""Names of files and classes, made safe to print on a terminal."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

__all__ = ["escaped", "is_text", "model_facts", "path_of", "shown"]

# Control characters move a terminal's cursor or break its lines; surrogates cannot be encoded. Format characters
# (joiners, direction marks) are allowed: many scripts and emoji need them.
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")


def is_text(name: str) -> bool:
    """Return whether a name can be printed on one line: no control characters, line breaks or lone surrogates."""
    return name.isprintable() or not any(unicodedata.category(character) in _NOT_TEXT for character in name)


def escaped(name: str) -> str:
    r"""Escape non-printable characters in a name.

    >>> escaped("a\x1bb.jpg")
    'a\\x1bb.jpg'
    """
    if is_text(name):
        return name
    return "".join(part if is_text(part) else part.encode("unicode_escape").decode() for part in name)


def shown(value: object, most: int = 40) -> str:
    """Return a value as text for a message: escaped, at most ``most`` characters."""
    return escaped(str(value)[:most])


def path_of(text: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` replaced by the home folder; ``~name`` of an unknown user stays unchanged."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises


def model_facts(head: str, preprocess: str, layer: str | None, size: tuple[int, int], channels: int) -> str:
    """Return what was found or chosen of a model, in words.

    Args:
        head: how its outputs become scores of classes, in words.
        preprocess: its preprocessing.
        layer: the default layer of CAM methods, if any.
        size: (height, width) of its input in pixels.
        channels: the number of channels of its input.
    """
    cams = f"CAM methods look at {layer}" if layer else "no layer for CAM methods"
    cams += ", by gradients of log p - log(1 - p)" if layer and "no logit" in head else ""
    return f"head: {head}; preprocessing: {preprocess}; {cams}; input: {size[0]} x {size[1]} x {channels}"
