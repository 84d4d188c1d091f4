"""Checks of downloaded annotations: numbers, boxes, and paths below the photos' folder."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from evalkit.core.errors import DataError
from evalkit.core.names import escaped, is_text, shown
from evalkit.datasets.entry import Box, Entry

__all__ = [
    "OUTSIDE",
    "LeftOut",
    "PhotoNames",
    "clipped_box",
    "is_number",
    "read_bytes",
    "read_text",
    "relative_name",
    "require_unique",
    "to_number",
]

OUTSIDE = "reaches outside the photo"
_ROUNDING_PX = 1.0  # boxes are often rounded to a pixel beyond the frame
_DRIVE = re.compile(r"[A-Za-z]:")


def is_number(value: object) -> bool:
    """Return whether a value from a file is a finite number within the range of pixel coordinates."""
    return type(value) in (int, float) and -(2**53) < value < 2**53  # type: ignore[operator]


def to_number(text: str) -> float:
    """Return the number in a text.

    Raises:
        ValueError: the text is no number, or is one only in Python, such as ``1_000``.
    """
    if "_" in text:
        raise ValueError(text)
    return float(text)


def clipped_box(edges: Sequence[object], size: tuple[int, int] | None) -> Box | str:
    """Return a half-open box in pixels, clipped if it exceeds the photo by at most one pixel, or why it is not allowed.

    Args:
        edges: x0, y0, x1, y1, unchecked.
        size: height and width of the photo; None if unknown.
    """
    if not all(map(is_number, edges)):
        return f"box ({_listed(edges)}) is not four finite numbers"
    x0, y0, x1, y1 = (float(edge) for edge in edges)  # type: ignore[arg-type]
    if x1 <= x0 or y1 <= y0:
        return f"box ({_listed(edges)}) has no area"
    right, bottom = (size[1], size[0]) if size else (math.inf, math.inf)
    if min(x0, y0) < -_ROUNDING_PX or x1 > right + _ROUNDING_PX or y1 > bottom + _ROUNDING_PX:
        frame = f" of {right} x {bottom}" if size else ""
        return f"box ({_listed(edges)}) {OUTSIDE}{frame}"
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, right), min(y1, bottom)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else f"box ({_listed(edges)}) has no area inside the photo"


def _listed(edges: Sequence[object]) -> str:
    return ", ".join(f"{edge:g}" if isinstance(edge, float) else shown(edge, 20) for edge in edges)


def relative_name(name: object, where: str) -> str:
    """Return a file's name as a posix path below the photos' folder.

    Downloaded annotations must not name files elsewhere on this machine.

    Args:
        name: name from the file, unchecked.
        where: origin for messages, e.g. ``"val.json image 7"``.

    Raises:
        DataError: the name is not a text, is empty or absolute, or has a part ``..``.
    """
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where}: the photo's file name is {name!r}; give a path below the photos' folder")
    if not is_text(name):
        raise DataError(
            f"{where}: the photo's file name {name!a} is not valid text (control or half characters); rename it"
        )
    posix = name.strip().replace("\\", "/")
    if posix.startswith("/") or _DRIVE.match(posix) or ".." in posix.split("/"):
        raise DataError(
            f"{where}: the photo's file name '{name}' leads out of the photos' folder; absolute paths and '..' are not "
            "allowed here; a CSV manifest may name any file"
        )
    return PurePosixPath(posix).as_posix()


class PhotoNames:
    """Names of photos below their folder; of a path on another machine, the last part is used, and counted."""

    def __init__(self) -> None:
        """Create empty counts."""
        self._elsewhere: list[str] = []

    def below(self, name: object, where: str) -> str:
        """Return a file's name as a posix path below the photos' folder.

        Args:
            name: name from the file, unchecked.
            where: origin for messages.

        Raises:
            DataError: the name is not a text, is empty, or is a path without a file name.
        """
        try:
            return relative_name(name, where)
        except DataError:
            last = PureWindowsPath(name).name if isinstance(name, str) and is_text(name) else ""
            if last.strip() in ("", ".", ".."):
                raise
            self._elsewhere.append(f"{where}, '{escaped(str(name))}'")
            return last.strip()

    def notes(self, name: str) -> list[str]:
        """Return a sentence if there were such paths, with the first."""
        if not self._elsewhere:
            return []
        first = f"{len(self._elsewhere)} photos are named by a path that is not below their folder (the first: "
        return [f"{name}: {first}{self._elsewhere[0]}); they are searched by their file names"]


def read_bytes(path: Path) -> bytes:
    """Return a file's contents.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def read_text(path: Path, most: int, what: str) -> str:
    """Return a UTF-8 file's text, without byte order mark.

    Args:
        path: path of the file.
        most: largest number of bytes that is allowed.
        what: what the file is, with its article, for messages, e.g. ``"a list of class names"``.

    Raises:
        DataError: the file cannot be read, is larger, or is not UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > most:
        raise DataError(f"{path} has more than {most:,} bytes, too many for {what}; repair or remove it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{path} is not UTF-8 text: it has null bytes; save it as UTF-8")
    return text


def require_unique(entries: Iterable[Entry]) -> None:
    """Raise DataError if two entries have the same photo and class."""
    first: dict[tuple[Path | None, str], str] = {}
    for entry in entries:
        photo_and_class = entry.path, entry.label
        if photo_and_class in first:
            raise DataError(
                f"{entry.where} and {first[photo_and_class]} name the same photo and class; keep one of them"
            )
        first[photo_and_class] = entry.where


class LeftOut:
    """Counts what a reader leaves out, by reason."""

    def __init__(self) -> None:
        """Create empty counts."""
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, reason: str, item: str) -> None:
        """Count one item.

        Args:
            reason: reason, e.g. ``"annotations of images that are not listed"``.
            item: name of the item; the note gives that of the first.
        """
        self._counts[reason] += 1
        self._first.setdefault(reason, escaped(item))

    def notes(self, name: str) -> list[str]:
        """Return a sentence for each reason, with the count and the first item."""
        return [
            f"{name}: left out: {count} {reason} (the first: {self._first[reason]})"
            for reason, count in self._counts.items()
        ]
