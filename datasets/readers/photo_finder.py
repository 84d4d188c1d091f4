"""The search for photos that annotations name without their folder."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from evalkit.core.names import escaped, path_of
from evalkit.datasets.entry import Entry
from evalkit.datasets.files import MISSING, file_facts

__all__ = ["PHOTO_ENDINGS", "PHOTO_FOLDERS", "FoundPhoto", "PhotoFinder", "existing", "names_below"]

PHOTO_ENDINGS = ("", ".jpg", ".JPEG", ".jpeg", ".JPG", ".png", ".PNG", ".bmp", ".gif", ".tif", ".tiff", ".webp",
                 ".ppm", ".pgm", ".pbm")  # fmt: skip
"""Extensions that a photo's name may lack in annotations."""

PHOTO_FOLDERS = ("images", "image", "Images")
"""Folders beside annotations that often hold the photos."""

_SAMPLED = 50  # photos that decide which folder is used


class FoundPhoto(NamedTuple):
    """A photo's path, size in bytes, time of change in nanoseconds, and the reason why it cannot be used, or empty."""

    path: Path
    size_bytes: int
    mtime_ns: int
    problem: str


class PhotoFinder:
    """Finds photos by name, with or without extension, in the folder that has most of them.

    Attributes:
        endings: extensions that names may lack.
        folders: the folders that were searched.
        folder: the folder that is used.
    """

    def __init__(self, folders: Iterable[Path], names: Sequence[str], endings: Sequence[str] = ("",)) -> None:
        """Choose the folder.

        Args:
            folders: candidates, the likeliest first; of several with as many photos, the first is used.
            names: posix paths below the folder.
            endings: extensions that names may lack, e.g. ``.JPEG``.
        """
        self.folders = candidates = list(dict.fromkeys(folders))
        self.endings = endings
        self._listed: dict[str, frozenset[str] | None] = {}
        counts = {folder: sum(map(self._has(folder), names[:_SAMPLED])) for folder in candidates}
        self.folder = max(candidates, key=counts.__getitem__)
        if not counts[self.folder]:
            # Of an incomplete set, perhaps only later photos exist.
            rest = names[_SAMPLED:]
            self.folder = next((folder for folder in candidates if any(map(self._has(folder), rest))), candidates[0])

    def photo(self, *names: str) -> FoundPhoto:
        """Return the photo of the first of these names that exists, or the path where it is expected."""
        for name in names:
            paths = self._existing(self.folder, name)
            if paths:
                return _only_photo(paths)
        path = self.folder / f"{names[0]}{self.endings[0]}"
        return FoundPhoto(path, *file_facts(path))

    def missing(self, name: str, entries: Sequence[Entry]) -> list[str]:
        """Return a note with all folders that were searched, if photos are missing."""
        photos = {entry.path: entry.problem == MISSING for entry in entries}
        n_missing, n_photos = sum(photos.values()), len(photos)
        if not n_missing:
            return []
        there = f"{n_photos - n_missing} are in '{escaped(str(self.folder))}'; " if n_missing < n_photos else ""
        most = "; --limit draws from those that are there" if there and n_missing > n_photos / 2 else ""
        return [f"{name}: {n_missing} of {n_photos} photos are missing; {there}searched {self._searched()}{most}"]

    def _searched(self) -> str:
        """Return the folders that were searched, relative to their common one."""
        common = Path(os.path.commonpath(self.folders))
        below = ", ".join(escaped(folder.relative_to(common).as_posix()) for folder in self.folders if folder != common)
        if common not in self.folders:
            return f"below '{escaped(str(common))}': {below}"
        return f"'{escaped(str(common))}'" + (f" and below it {below}" if below else "")

    def _has(self, folder: Path) -> Callable[[str], bool]:
        return lambda name: bool(self._existing(folder, name))

    def _existing(self, folder: Path, name: str) -> list[Path]:
        """Return the files with a name: of a set with many missing photos, each folder is listed once."""
        parent, _, last = f"{folder}/{name}".rpartition("/")
        listed = self._names_in(parent)
        if listed is not None and not listed:
            return []
        endings = self.endings if listed is None else [end for end in self.endings if _folded(f"{last}{end}") in listed]
        return existing(folder, name, endings)

    def _names_in(self, folder: str) -> frozenset[str] | None:
        """Return the names in a folder, as ``_folded``; None if it cannot be listed."""
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(map(_folded, os.listdir(folder)))  # noqa: PTH208 - names, not paths
            except (FileNotFoundError, NotADirectoryError):
                self._listed[folder] = frozenset()
            except (OSError, ValueError):
                self._listed[folder] = None
        return self._listed[folder]


def names_below(images: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Return the names under which missing photos are searched.

    Args:
        images: the photos' paths as written, with slashes or backslashes.

    Returns:
        A relative path with slashes for each photo, and the photos that are named by an absolute path, on this machine
        or on Windows, or with "..". Of these it is the file name; none if two of them share it.
    """
    names, elsewhere = {}, {}
    for image in dict.fromkeys(images):
        path = path_of(image.replace("\\", "/"))
        if path.is_absolute() or PureWindowsPath(image).drive or ".." in path.parts:
            elsewhere[image] = path.name
        else:
            names[image] = path.as_posix()
    shared = Counter(elsewhere.values())
    elsewhere = {image: name for image, name in elsewhere.items() if shared[name] == 1 and name not in ("", "..")}
    return {**names, **elsewhere}, set(elsewhere)


def _folded(name: str) -> str:
    """Return a name in the form in which names are equal that some disks take for one: case and composed letters."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


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
