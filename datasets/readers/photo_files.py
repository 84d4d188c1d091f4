"""Photo files in folders, by their extensions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from evalkit.core.errors import DataError
from evalkit.datasets.annotations import LeftOut
from evalkit.datasets.readers.folder_names import FOREIGN

__all__ = ["EXTENSIONS", "children", "count_unread", "identity", "is_photo", "photos_below"]

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
              ".pbm")  # fmt: skip
"""Extensions of photos, in lower case."""

_UNREAD = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".dng", ".cr2", ".nef")  # other image files
_Identity = tuple[int, int]  # device and inode


def is_photo(path: Path) -> bool:
    """Return whether a path has the extension of a photo."""
    return path.suffix.lower() in EXTENSIONS


def children(folder: Path) -> list[Path]:
    """Return the sorted files and folders in a folder, without hidden ones and those of other systems.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        inside = [child for child in folder.iterdir() if child.name[0] != "." and child.name not in FOREIGN]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error
    return sorted(inside, key=_name)  # paths themselves are slow to compare


def photos_below(folder: Path, left_out: LeftOut, visited: set[_Identity] | None = None) -> Iterator[Path]:
    """Yield the photos of a folder and all below it, each folder once.

    Args:
        folder: path of the folder; links are followed.
        left_out: counts image files of formats that are not read.
        visited: identities of folders that are skipped; those of all visited folders are added.

    Raises:
        DataError: a folder cannot be listed.
    """
    seen = set() if visited is None else visited
    own = identity(folder)
    if own in seen:
        return
    seen.add(own)
    inside = children(folder)
    count_unread(inside, left_out)
    for child in inside:
        if child.is_dir():
            yield from photos_below(child, left_out, seen)
        elif is_photo(child):
            yield child


def count_unread(files: Iterable[Path], left_out: LeftOut) -> None:
    """Count the image files of formats that are not read."""
    for file in files:
        if file.suffix.lower() in _UNREAD:
            left_out.add(f"image files of other formats ({', '.join(_UNREAD)})", file.name)


def _name(path: Path) -> str:
    return path.name


def identity(folder: Path) -> _Identity:
    """Return a folder's device and inode, which are the same for all links to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino
