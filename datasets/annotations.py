"""What readers of downloaded annotations share: numbers and boxes checked, paths kept inside, photos found."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from evalkit.datasets.entry import Box, Entry
from evalkit.errors import DataError

__all__ = [
    "OUTSIDE",
    "PHOTO_ENDINGS",
    "LeftOut",
    "PhotoFinder",
    "clipped_box",
    "is_number",
    "read_bytes",
    "relative_name",
    "require_unique",
]

PHOTO_ENDINGS = ("", ".jpg", ".JPEG", ".jpeg", ".JPG", ".png", ".PNG", ".bmp", ".gif", ".tif", ".tiff", ".webp",
                 ".ppm", ".pgm", ".pbm")  # fmt: skip
"""What a photo's name may lack in annotations."""

OUTSIDE = "reaches outside the photo"
_ROUNDING_PX = 1.0  # boxes are often rounded to a pixel beyond the frame
_LOOKED_FOR = 50  # photos, to tell which folder they are in
_DRIVE = re.compile(r"[A-Za-z]:")


def is_number(value: object) -> bool:
    """Tell whether a value from a file is a finite number of a size that pixels can have."""
    return type(value) in (int, float) and -(2**53) < value < 2**53  # type: ignore[operator]


def clipped_box(edges: Sequence[object], size: tuple[int, int] | None) -> Box | str:
    """Return a box, half-open in pixels, with a rounding pixel beyond the photo cut off; or what is wrong with it.

    Args:
        edges: x0, y0, x1, y1, unchecked.
        size: height and width of the photo, where known.
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
    return ", ".join(f"{edge:g}" if isinstance(edge, float) else str(edge)[:20] for edge in edges)


def relative_name(name: object, where: str) -> str:
    """Return a file's name as a posix path below the photos' folder.

    Annotations come from elsewhere: they may not name files anywhere on this machine.

    Args:
        name: from the file.
        where: for the message, e.g. ``"val.json image 7"``.

    Raises:
        DataError: not a text, empty, absolute, or with a part ``..``.
    """
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where}: the photo's file name is {name!r}; a path below the photos' folder is needed")
    posix = name.strip().replace("\\", "/")
    if posix.startswith("/") or _DRIVE.match(posix) or ".." in posix.split("/"):
        raise DataError(
            f"{where}: the photo's file name '{name}' leads out of the photos' folder; absolute paths and '..' are not "
            "allowed there; a CSV manifest may name any file"
        )
    try:
        posix.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: the photo's file name {name!a} is not valid text; rename it") from None
    return PurePosixPath(posix).as_posix()


def read_bytes(path: Path) -> bytes:
    """Return a file's contents.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


class PhotoFinder:
    """Finds photos by name, with or without their ending, in the first of some folders that has any of them."""

    def __init__(self, folders: Iterable[Path], names: Sequence[str], endings: Sequence[str] = ("",)) -> None:
        """Choose the folder.

        Args:
            folders: likely ones, the likeliest first; the first is also taken where none has a photo.
            names: posix paths below the folder.
            endings: what names may lack, e.g. ``.JPEG``.
        """
        candidates = list(dict.fromkeys(folders))
        self.endings = endings
        # The first names tell nearly always; of a set that is half there perhaps only the last.
        self.folder = next(
            (
                folder
                for some in (names[:_LOOKED_FOR], names[_LOOKED_FOR:])
                for folder in candidates
                if any(map(self._in(folder), some))
            ),
            candidates[0],
        )

    def path(self, *names: str) -> Path:
        """Return where a photo of one of these names is, the first of them first, or would be."""
        found = (self._in(self.folder)(name) for name in names)
        return next(filter(None, found), self.folder / f"{names[0]}{self.endings[0]}")

    def _in(self, folder: Path) -> _Search:
        return _Search(folder, self.endings)


class _Search:
    def __init__(self, folder: Path, endings: Sequence[str]) -> None:
        self.folder, self.endings = folder, endings

    def __call__(self, name: str) -> Path | None:
        paths = (f"{self.folder}/{name}{ending}" for ending in self.endings)
        try:
            found = next(filter(os.path.isfile, paths), None)
        except ValueError:  # a zero byte in the name
            return None
        return None if found is None else Path(found)


def require_unique(entries: Iterable[Entry]) -> None:
    """Raise DataError if two entries are the same class in the same photo, whatever the annotations call it."""
    first: dict[tuple[Path | None, str], str] = {}
    for entry in entries:
        same = entry.path, entry.label
        if same in first:
            raise DataError(f"{entry.where} and {first[same]} name the same photo and class; keep one of them")
        first[same] = entry.where


class LeftOut:
    """Counts what a reader leaves out, and says it in a sentence for each reason."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, reason: str, what: str) -> None:
        """Count one more.

        Args:
            reason: e.g. ``"annotations of images that are not listed"``.
            what: it, for the first one's name.
        """
        self._counts[reason] += 1
        self._first.setdefault(reason, what)

    def notes(self, name: str) -> list[str]:
        """Return a sentence for each reason, with the count and the first one."""
        return [
            f"{name}: left out: {count} {reason} (the first: {self._first[reason]})"
            for reason, count in self._counts.items()
        ]
