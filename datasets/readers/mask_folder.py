"""A folder with ``images/`` and ``masks/``: a mask for each photo, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from evalkit.core.errors import DataError
from evalkit.datasets.annotations import LeftOut
from evalkit.datasets.entry import Entry, Places
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.readers.class_folder import read_class_folder
from evalkit.datasets.readers.photo_finder import existing

__all__ = ["read_mask_folder"]

_ENDINGS = (".png", ".PNG", ".bmp", ".BMP", ".gif", ".tif", ".tiff", ".TIF", ".webp")


def read_mask_folder(path: Path) -> ImageSet:
    """Read a folder of photos and the masks beside it; photos and masks are only looked at.

    ``images/`` is a folder as ``read_class_folder`` reads it. The mask of ``images/cat/1.jpg`` is ``masks/cat/1.png``
    or ``masks/cat/1.jpg.png`` (or another format without loss): non-zero pixels are the object, Pascal VOC's void is
    ignored. So are the non-zero pixels of ``ignore/cat/1.png``, if there is one.

    Args:
        path: the folder.

    Returns:
        The set; ids are posix paths below ``images``. Photos without a mask have no region, and are counted; of one
        with two, or of two that share one, ``problem`` says so.

    Raises:
        DataError: a folder is missing, or ``images`` cannot be read.
    """
    for name in ("images", "masks"):
        if not (path / name).is_dir():
            raise DataError(f"{path} has no folder '{name}'; expected images/<class>/<image> and masks/<class>/<image>")
    photos = read_class_folder(path / "images")
    left_out = LeftOut()
    entries = _with_masks(photos.entries, path.absolute(), left_out)
    notes = [note.replace(": left out: ", ": without a region: ") for note in left_out.notes(path.name)]
    name = path.resolve().name or str(path)
    return photos.renamed(name, "masks", notes).with_entries(entries)


def _with_masks(photos: Sequence[Entry], folder: Path, left_out: LeftOut) -> list[Entry]:
    stems = Counter(_stem(_name(photo, folder)) for photo in photos)
    return [_with_mask(photo, folder, stems, left_out) for photo in photos]


def _with_mask(photo: Entry, folder: Path, stems: Counter[str], left_out: LeftOut) -> Entry:
    name = _name(photo, folder)
    masks, wrong = _called_like(folder / "masks", name, stems)
    ignored, odd = _called_like(folder / "ignore", name, stems)
    if not masks:
        left_out.add("photos, which have no mask", photo.id)
    return replace(photo, masks=masks, ignore=Places(masks=ignored), problem=photo.problem or wrong or odd)


def _called_like(folder: Path, photo: str, stems: Counter[str]) -> tuple[tuple[Path, ...], str]:
    """Return a photo's mask, if it has one, and why it is not clear which it is, or nothing."""
    stem = _stem(photo)
    by_stem, by_name = existing(folder, stem, _ENDINGS), existing(folder, photo, _ENDINGS)
    found = [*by_stem, *by_name]
    if len(found) > 1:
        names = " and ".join(f"'{mask.name}'" for mask in found)
        return (), f"{names} in '{folder.name}' are both for this photo; keep one"
    if by_stem and stems[stem] > 1:
        return (), f"'{by_stem[0].name}' in '{folder.name}' is for several photos; call it '{Path(photo).name}.png'"
    return tuple(found), ""


def _name(photo: Entry, folder: Path) -> str:
    return photo.id if photo.path is None else photo.path.relative_to(folder / "images").as_posix()


def _stem(photo: str) -> str:
    return PurePosixPath(photo).with_suffix("").as_posix()
