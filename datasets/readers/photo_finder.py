"""The search for photos that annotations name without their folder."""

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
"""Extensions that a photo's name may lack in annotations."""

_SAMPLED = 50  # photos that decide which folder is used


class FoundPhoto(NamedTuple):
    """A photo's path, size in bytes, time of change in nanoseconds, and the reason why it cannot be used, or empty."""

    path: Path
    size_bytes: int
    mtime_ns: int
    problem: str


class PhotoFinder:
    """Finds photos by name, with or without extension, in the folder that has most of them."""

    def __init__(self, folders: Iterable[Path], names: Sequence[str], endings: Sequence[str] = ("",)) -> None:
        """Choose the folder.

        Args:
            folders: candidates, the likeliest first; of several with as many photos, the first is used.
            names: posix paths below the folder.
            endings: extensions that names may lack, e.g. ``.JPEG``.
        """
        candidates = list(dict.fromkeys(folders))
        self.endings = endings
        counts = {folder: sum(map(self._has(folder), names[:_SAMPLED])) for folder in candidates}
        self.folder = max(candidates, key=counts.__getitem__)
        if not counts[self.folder]:
            # Of an incomplete set, perhaps only later photos exist.
            rest = names[_SAMPLED:]
            self.folder = next((folder for folder in candidates if any(map(self._has(folder), rest))), candidates[0])

    def photo(self, *names: str) -> FoundPhoto:
        """Return the photo of the first of these names that exists, or the path where it is expected."""
        for name in names:
            paths = existing(self.folder, name, self.endings)
            if paths:
                return _only_photo(paths)
        path = self.folder / f"{names[0]}{self.endings[0]}"
        return FoundPhoto(path, *file_facts(path))

    def missing(self, name: str, entries: Iterable[Entry]) -> list[str]:
        """Return a note with the folder that was searched, if photos are missing."""
        gone = {entry.path for entry in entries if entry.problem == MISSING}
        return [f"{name}: {len(gone)} photos are missing below '{escaped(str(self.folder))}'"] if gone else []

    def _has(self, folder: Path) -> Callable[[str], bool]:
        return lambda name: bool(existing(folder, name, self.endings))


def _only_photo(paths: Sequence[Path]) -> FoundPhoto:
    size_bytes, mtime_ns, problem = file_facts(paths[0])
    if len(paths) > 1:
        names = " and ".join(f"'{path.name}'" for path in paths)
        problem = f"{names} have the name of this photo; keep one, or write the extension in the annotations"
    return FoundPhoto(paths[0], size_bytes, mtime_ns, problem)


def existing(folder: Path, name: str, endings: Sequence[str]) -> list[Path]:
    """Return the files with a name and one of the endings; after a file with the empty ending, no other is searched."""
    found: list[Path] = []
    for ending in endings:
        path = f"{folder}/{name}{ending}"
        # On disks that ignore case, two names can be the same file.
        if os.path.isfile(path) and not any(map(Path(path).samefile, found)):  # noqa: PTH113 - fast, for many photos
            found.append(Path(path))
            if not ending:
                break
    return found
