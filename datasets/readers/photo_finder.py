"""Photos that annotations name without saying where they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from evalkit.core.names import escaped
from evalkit.datasets.entry import Entry
from evalkit.datasets.files import MISSING, file_facts

__all__ = ["PHOTO_ENDINGS", "FoundPhoto", "PhotoFinder", "existing"]

PHOTO_ENDINGS = ("", ".jpg", ".JPEG", ".jpeg", ".JPG", ".png", ".PNG", ".bmp", ".gif", ".tif", ".tiff", ".webp",
                 ".ppm", ".pgm", ".pbm")  # fmt: skip
"""What a photo's name may lack in annotations."""

_LOOKED_FOR = 50  # photos, to tell which folder they are in


class FoundPhoto(NamedTuple):
    """A photo's file, its size in bytes, its time of change in nanoseconds, and why it cannot be used, or nothing."""

    path: Path
    size_bytes: int
    mtime_ns: int
    problem: str


class PhotoFinder:
    """Finds photos by name, with or without their ending, in that of some folders that has most of them."""

    def __init__(self, folders: Iterable[Path], names: Sequence[str], endings: Sequence[str] = ("",)) -> None:
        """Choose the folder.

        Args:
            folders: likely ones, the likeliest first; of those that have as many photos, or none, the first is taken.
            names: posix paths below the folder.
            endings: what names may lack, e.g. ``.JPEG``.
        """
        candidates = list(dict.fromkeys(folders))
        self.endings = endings
        counts = {folder: sum(map(self._has(folder), names[:_LOOKED_FOR])) for folder in candidates}
        self.folder = max(candidates, key=counts.__getitem__)
        if not counts[self.folder]:
            # Of a set that is half there perhaps only the last.
            rest = names[_LOOKED_FOR:]
            self.folder = next((one for one in candidates if any(map(self._has(one), rest))), candidates[0])

    def photo(self, *names: str) -> FoundPhoto:
        """Return the photo of the first of these names that has one, or where it would be."""
        for name in names:
            found = existing(self.folder, name, self.endings)
            if found:
                return _the_only_one(found)
        path = self.folder / f"{names[0]}{self.endings[0]}"
        return FoundPhoto(path, *file_facts(path))

    def missing(self, name: str, entries: Iterable[Entry]) -> list[str]:
        """Return a note that says where photos were looked for, if some are missing."""
        gone = {entry.path for entry in entries if entry.problem == MISSING}
        return [f"{name}: {len(gone)} photos are missing below '{escaped(str(self.folder))}'"] if gone else []

    def _has(self, folder: Path) -> Callable[[str], bool]:
        return lambda name: bool(existing(folder, name, self.endings))


def _the_only_one(found: Sequence[Path]) -> FoundPhoto:
    size_bytes, mtime_ns, problem = file_facts(found[0])
    if len(found) > 1:
        names = " and ".join(f"'{path.name}'" for path in found)
        problem = f"{names} are called like this photo; keep one, or write the ending"
    return FoundPhoto(found[0], size_bytes, mtime_ns, problem)


def existing(folder: Path, name: str, endings: Sequence[str]) -> list[Path]:
    """Return the file of this very name, if ``endings`` has the empty one, or all that have one of the endings."""
    found: list[Path] = []
    for ending in endings:
        path = f"{folder}/{name}{ending}"
        # The same file under two names, where case does not count, is one.
        if os.path.isfile(path) and not any(map(Path(path).samefile, found)):  # noqa: PTH113 - fast, for many photos
            found.append(Path(path))
            if not ending:
                break
    return found
