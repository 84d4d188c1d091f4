"""A folder with ``images/`` and ``masks/``: the mask of a photo has its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from evalkit.core.errors import DataError
from evalkit.datasets.annotations import LeftOut
from evalkit.datasets.entry import Entry, PixelSet
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.class_folder import read_class_folder
from evalkit.datasets.readers.photo_finder import existing

__all__ = ["READER", "read_mask_folder"]

_NAME = "masks"
_IMAGES, _MASKS, _IGNORE = "images", "masks", "ignore"  # folders
_ENDINGS = (".png", ".PNG", ".bmp", ".BMP", ".gif", ".tif", ".tiff", ".TIF", ".webp")
_LOSSY_ENDINGS = (".jpg", ".jpeg", ".JPG", ".JPEG")  # thresholded at half


def read_mask_folder(path: Path) -> ImageSet:
    """Open a folder of photos and the masks beside it; photos and masks are not read.

    ``images/`` is a folder as for ``read_class_folder``. The mask of ``images/cat/1.jpg`` is ``masks/cat/1.png`` or
    ``masks/cat/1.jpg.png`` (or another format): non-zero pixels are the object, in masks with soft edges and JPEGs
    those from half of white on; Pascal VOC's void, and the
    non-zero pixels of ``ignore/cat/1.png`` if that file exists, are ignored.

    Args:
        path: path of the folder.

    Returns:
        The set; ids are posix paths below ``images``. Photos without a mask have no region and are counted. A photo
        with two masks, and photos that share one, have ``problem`` set.

    Raises:
        DataError: a folder is missing, or ``images`` cannot be read.
    """
    for name in (_IMAGES, _MASKS):
        if not (path / name).is_dir():
            raise DataError(f"{path} has no folder '{name}'; expected images/<class>/<image> and masks/<class>/<image>")
    photos = read_class_folder(path / _IMAGES)
    left_out = LeftOut()
    entries = _with_masks(photos.entries, path.absolute(), left_out)
    without = [note.replace(": left out: ", ": without a region: ") for note in left_out.notes(path.name)]
    notes = [*photos.notes, *without]
    name = path.resolve().name or str(path)
    return photos.renamed(name, _NAME, notes).with_entries(entries)


def _is_mask_folder(path: Path) -> bool:
    return (path / _IMAGES).is_dir() and (path / _MASKS).is_dir()


READER = Reader(
    name=_NAME,
    data="FOLDER",
    summary="photos in images/, their masks in masks/; optionally ignore/; images/ is as a class folder, masks have "
    "the name of their photo, and non-zero pixels are the object",
    example="photos/images/cat/1.jpg\nphotos/masks/cat/1.png",
    needs="folder",
    open=read_mask_folder,
    recognize=_is_mask_folder,
)


def _with_masks(photos: Sequence[Entry], folder: Path, left_out: LeftOut) -> list[Entry]:
    stems = Counter(_stem(_name(photo, folder)) for photo in photos)
    return [_with_mask(photo, folder, stems, left_out) for photo in photos]


def _with_mask(photo: Entry, folder: Path, stems: Counter[str], left_out: LeftOut) -> Entry:
    name = _name(photo, folder)
    masks, mask_problem = _masks_of(folder / _MASKS, name, stems)
    ignored, ignore_problem = _masks_of(folder / _IGNORE, name, stems)
    if not masks:
        left_out.add("photos, which have no mask", photo.id)
    problem = photo.problem or mask_problem or ignore_problem
    return replace(photo, masks=masks, ignore=PixelSet(masks=ignored), problem=problem)


def _masks_of(folder: Path, photo: str, stems: Counter[str]) -> tuple[tuple[Path, ...], str]:
    """Return a photo's mask if it has one, and the problem if it is ambiguous, or an empty text."""
    stem = _stem(photo)
    by_stem, by_name = existing(folder, stem, _ENDINGS), existing(folder, photo, _ENDINGS)
    if not by_stem and not by_name:
        by_stem, by_name = existing(folder, stem, _LOSSY_ENDINGS), existing(folder, photo, _LOSSY_ENDINGS)
    masks = [*by_stem, *by_name]
    if len(masks) > 1:
        names = " and ".join(f"'{mask.name}'" for mask in masks)
        return (), f"{names} in '{folder.name}' are both for this photo; keep one"
    if by_stem and stems[stem] > 1:
        own = f"{Path(photo).name}.png"
        return (), f"'{by_stem[0].name}' in '{folder.name}' is for several photos; rename it to '{own}'"
    return tuple(masks), ""


def _name(photo: Entry, folder: Path) -> str:
    return photo.id if photo.path is None else photo.path.relative_to(folder / _IMAGES).as_posix()


def _stem(photo: str) -> str:
    return PurePosixPath(photo).with_suffix("").as_posix()
