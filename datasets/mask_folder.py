"""A folder with ``images/`` and ``masks/``: a mask for each photo, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from evalkit.datasets.annotations import LeftOut
from evalkit.datasets.class_folder import read_class_folder
from evalkit.datasets.entry import Entry, Places
from evalkit.datasets.image_set import ImageSet
from evalkit.errors import DataError

__all__ = ["read_mask_folder"]

_ENDINGS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def read_mask_folder(path: Path) -> ImageSet:
    """Read a folder of photos and the masks beside it; photos and masks are only looked at.

    ``images/`` is a folder as ``read_class_folder`` reads it. The mask of ``images/cat/1.jpg`` is ``masks/cat/1.png``
    or ``masks/cat/1.jpg.png`` (or another format without loss): non-zero pixels are the object, Pascal VOC's void is
    ignored. So are the non-zero pixels of ``ignore/cat/1.png``, if there is one.

    Args:
        path: the folder.

    Returns:
        The set; ids are posix paths below ``images``. Photos without a mask have no region, and are counted.

    Raises:
        DataError: a folder is missing, or ``images`` cannot be read.
    """
    for name in ("images", "masks"):
        if not (path / name).is_dir():
            raise DataError(f"{path} has no folder '{name}'; expected images/<class>/<image> and masks/<class>/<image>")
    photos = read_class_folder(path / "images")
    left_out = LeftOut()
    entries = [_with_mask(entry, path.absolute(), left_out) for entry in photos.entries]
    notes = [note.replace(": left out: ", ": without a region: ") for note in left_out.notes(path.name)]
    name = path.resolve().name or str(path)
    return photos.renamed(name, "masks", notes).with_entries(entries)


def _with_mask(entry: Entry, folder: Path, left_out: LeftOut) -> Entry:
    masks = next(([mask] for mask in _candidates(folder / "masks", entry.id) if mask.is_file()), [])
    ignored = next(([mask] for mask in _candidates(folder / "ignore", entry.id) if mask.is_file()), [])
    if not masks:
        left_out.add("photos, which have no mask", entry.id)
    return replace(entry, masks=tuple(masks), ignore=Places(masks=tuple(ignored)))


def _candidates(folder: Path, photo: str) -> Iterator[Path]:
    stem = PurePosixPath(photo).with_suffix("")
    for ending in _ENDINGS:
        yield folder / f"{stem}{ending}"
        yield folder / f"{photo}{ending}"
