"""Folders of photos: ``<class>/<image>``, or images directly in the folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from evalkit.core.errors import DataError
from evalkit.core.names import escaped
from evalkit.datasets.annotations import LeftOut
from evalkit.datasets.files import file_facts, read_from_file
from evalkit.datasets.image_set import Entry, ImageSet

__all__ = ["EXTENSIONS", "read_class_folder"]

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
              ".pbm")  # fmt: skip
_PICTURES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".dng", ".cr2", ".nef")  # which are not read
_TABLES = (".csv", ".json", ".xml")
_NOT_OURS = ("@eaDir", "__MACOSX")  # thumbnails and leftovers of other systems
_Identity = tuple[int, int]  # device and inode


def read_class_folder(path: Path) -> ImageSet:
    """Read a folder; the photos are only looked at.

    Every folder in it is a class, with its photos at any depth; ``class_names`` are these folders in sorted order,
    empty ones too. A folder with photos directly in it and none further down is flat: its photos have no label.
    Photos are the files named like ``EXTENSIONS`` in any case; hidden files and folders are passed over, pictures of
    other kinds are counted. Links are followed, and a folder that a link leads back to is visited once.

    Args:
        path: the folder.

    Returns:
        The set, sorted by folder and name; ids are posix paths relative to the folder, control characters escaped.

    Raises:
        DataError: no photos, photos both beside and inside class folders, a folder that cannot be listed, or a name
            that is not valid text.
    """
    root = path.absolute()
    left_out = LeftOut()
    children = _children(root)
    classes = [child for child in children if child.is_dir()]
    loose = [child for child in children if not child.is_dir() and _is_photo(child)]
    above = {_identity(folder) for folder in (root, *root.parents)}
    photos = {folder.name: list(_photos(folder, set(above), left_out)) for folder in classes}
    labelled = any(photos.values())
    if not labelled and not loose:
        raise DataError(f"{path} has no photos ({', '.join(EXTENSIONS)}); expected <class>/<image>, or images in it")
    if labelled and loose:
        raise DataError(
            f"{path} has photos both in itself ('{loose[0].name}') and in class folders "
            f"('{next(name for name in photos if photos[name])}'); move the {len(loose)} loose ones into a class folder"
        )
    name = root.resolve().name or str(root)
    _note_pictures(children, left_out)
    notes = left_out.notes(name)
    if not labelled:
        notes += [f"{name}: '{child.name}' stands beside the photos; name it as the data to use it"
                  for child in children if child.suffix.lower() in _TABLES and not child.is_dir()]  # fmt: skip
        return ImageSet(name, "folder", [_entry(photo, root, "") for photo in loose], read_from_file, notes=notes)
    entries = [_entry(photo, root, label) for label, found in photos.items() for photo in found]
    return ImageSet(name, "folder", entries, read_from_file, list(map(escaped, photos)), notes)


def _note_pictures(files: Iterable[Path], left_out: LeftOut) -> None:
    for file in files:
        if file.suffix.lower() in _PICTURES:
            left_out.add(f"pictures of kinds that are not read ({', '.join(_PICTURES)})", file.name)


def _photos(folder: Path, visited: set[_Identity], left_out: LeftOut) -> Iterator[Path]:
    """Yield the photos of a folder and all below it, each folder once."""
    identity = _identity(folder)
    if identity in visited:
        return
    visited.add(identity)
    children = _children(folder)
    _note_pictures(children, left_out)
    for child in children:
        if child.is_dir():
            yield from _photos(child, visited, left_out)
        elif _is_photo(child):
            yield child


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(
            child for child in folder.iterdir() if not child.name.startswith(".") and child.name not in _NOT_OURS
        )
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error


def _identity(folder: Path) -> _Identity:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _entry(photo: Path, root: Path, label: str) -> Entry:
    name = photo.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{name!a} in {root.name}: the name is not valid UTF-8; rename the file or folder") from error
    size_bytes, mtime_ns, problem = file_facts(photo)
    return Entry(escaped(name), photo, None, escaped(label), size_bytes=size_bytes, mtime_ns=mtime_ns, problem=problem)
