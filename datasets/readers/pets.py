"""Oxford-IIIT Pets: photos, their lists, and trimaps of the animals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from evalkit.core.errors import DataError, ImageError
from evalkit.core.names import shown
from evalkit.datasets.annotations import LeftOut, read_text, relative_name
from evalkit.datasets.decode import decode_labels
from evalkit.datasets.entry import Entry
from evalkit.datasets.files import EMPTY_MASK, contents_of, read_from_file
from evalkit.datasets.geometry import tight_box
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.photo_finder import PHOTO_ENDINGS, PhotoFinder

__all__ = ["READER", "read_pet", "read_pets"]

_NAME = "pets"
_IMAGES, _ANNOTATIONS, _TRIMAPS = "images", "annotations", "trimaps"  # folders
_LISTS = ("test.txt", "list.txt", "trainval.txt")  # the first that is there is read
_PET, _BACKGROUND, _BORDER = 1, 2, 3  # values of a trimap
_LARGEST_LIST = 16 * 1024**2  # bytes
_NUMBERED = re.compile(r"(.+)_[0-9]+")
_WHOLE = re.compile(r"[0-9]{1,6}")
_LINE = "a line is: image class species breed, e.g. Abyssinian_100 1 1 1"


def read_pets(path: Path) -> ImageSet:
    """Open Oxford-IIIT Pets, or a set in its layout; photos and trimaps are not read.

    The list is ``annotations/test.txt``, else ``annotations/list.txt``, unless a list is named. The class is the file's
    name without its number: ``yorkshire_terrier_12`` is a ``yorkshire_terrier``. In ``annotations/trimaps`` pixels of
    value 1 are the object, 2 the background, and 3, the border, is ignored. The boxes of heads (``annotations/xmls``)
    are not read.

    Args:
        path: path of the folder with ``images`` and ``annotations``, or of a list in ``annotations``.

    Returns:
        The set, in the order of the list; ids are the names in it. Photos without a trimap have no region and are
        counted. An entry whose photo is missing has ``problem`` set.

    Raises:
        DataError: a folder or the list is missing, or a line is not allowed; the message names the file and the line.
    """
    folder, lists = _lists(path)
    listed = lists[0]
    rows = list(_rows(listed))
    if not rows:
        raise DataError(f"{listed} names no photo; {_LINE}")
    _require_one_class_a_number(rows)
    left_out = LeftOut()
    finder = PhotoFinder([folder / _IMAGES], [image for image, _, _, _ in rows], PHOTO_ENDINGS[1:])
    entries = [_entry(image, label, where, folder, finder, left_out) for image, label, _, where in rows]
    name = folder.name
    notes = [note.replace(": left out: ", ": without a region: ") for note in left_out.notes(name)]
    notes += [*_list_notes(listed, lists[1:], name), *finder.missing(name, entries)]
    labels = sorted({entry.label for entry in entries})
    return ImageSet(name, _NAME, entries, read_pet, labels, notes, Labels(partial=True))


def read_pet(entry: Entry) -> LabelledImage:
    """Read a photo, and its region and ignored pixels from its trimap.

    Raises:
        ImageError: as ``read_from_file``; or the trimap has another size, another value than 1, 2 and 3, or no 1.
    """
    image = read_from_file(replace(entry, masks=()))
    if not entry.masks:
        return image
    try:
        values = decode_labels(contents_of(entry.masks[0]))
    except ImageError as error:
        raise ImageError(f"trimap: {error}") from error
    size = image.pixels.shape[:2]
    if values.shape != size:
        height, width = values.shape
        raise ImageError(f"the trimap is {width} x {height}, the photo {size[1]} x {size[0]} (width x height, upright)")
    others = sorted(set(np.unique(values).tolist()) - {_PET, _BACKGROUND, _BORDER})
    if others:
        raise ImageError(f"the trimap has the value {others[0]}; allowed: 1 (pet), 2 (background), 3 (border)")
    region, border = values == _PET, values == _BORDER
    if not region.any():
        raise ImageError(f"{EMPTY_MASK}: the trimap has no pixel of value 1")
    boxes = np.array([tight_box(region)], dtype=np.float64)
    return replace(image, region=region, boxes=boxes, exact=True, ignore=border if border.any() else None)


def _is_pets(path: Path) -> bool:
    """Return whether a folder has photos, trimaps and a list, or a path is a list beside trimaps."""
    if path.is_dir():
        beside = (path / _IMAGES).is_dir() and (path / _ANNOTATIONS / _TRIMAPS).is_dir()
        return beside and any((path / _ANNOTATIONS / name).is_file() for name in _LISTS)
    return path.suffix.lower() == ".txt" and (path.parent / _TRIMAPS).is_dir()


READER = Reader(
    name=_NAME,
    data="FOLDER or\nLIST.txt",
    summary="Oxford-IIIT Pets with its trimaps; pixels of value 1 are the object, those of value 3 are ignored; "
    "annotations/test.txt is read, else list.txt, or the list that is named",
    example="pets/images/Bengal_7.jpg\npets/annotations/trimaps/Bengal_7.png",
    needs="file or folder",
    open=read_pets,
    recognize=_is_pets,
)

_Row = tuple[str, str, str, str]  # image, label, number of the class or empty, origin


def _lists(path: Path) -> tuple[Path, list[Path]]:
    """Return the folder of the set, and its lists: the one that is read, then the others."""
    root = path.absolute() if path.is_dir() else path.absolute().parent.parent
    for folder in (root / _IMAGES, root / _ANNOTATIONS / _TRIMAPS):
        if not folder.is_dir():
            raise DataError(f"--data '{path}': there is no folder {folder}; expected images/ and annotations/trimaps/")
    lists = [root / _ANNOTATIONS / name for name in _LISTS if (root / _ANNOTATIONS / name).is_file()]
    if not path.is_dir():
        return root, [path.absolute(), *(other for other in lists if other != path.absolute())]
    if not lists:
        raise DataError(f"{root / _ANNOTATIONS} has no list of photos; expected one of {', '.join(_LISTS)}")
    return root, lists


def _rows(path: Path) -> Iterator[_Row]:
    """Yield the lines of a list.

    Raises:
        DataError: the list cannot be read, or a line is not allowed.
    """
    seen: dict[str, str] = {}
    text = read_text(path, _LARGEST_LIST, "a list of photos")
    for line_number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{path.name} line {line_number}"
        image = relative_name(words[0], where)
        named = _NUMBERED.fullmatch(image.rpartition("/")[2])
        if not named:
            raise DataError(f"{where}: '{shown(image, 60)}' is not a class, '_' and a number; {_LINE}")
        wrong = next((word for word in words[1:] if not _WHOLE.fullmatch(word)), None)
        if wrong is not None:
            raise DataError(f"{where}: '{shown(wrong, 20)}' is not a whole number; {_LINE}")
        if image in seen:
            raise DataError(f"{where}: '{shown(image, 60)}' is listed in {seen[image]} too; keep one")
        seen[image] = where
        yield image, named[1], words[1] if len(words) > 1 else "", where


def _require_one_class_a_number(rows: list[_Row]) -> None:
    """Raise DataError if photos with one number of a class have names of several classes."""
    first: dict[str, tuple[str, str]] = {}
    for _, label, number, where in rows:
        other, origin = first.setdefault(number, (label, where))
        if number and other != label:
            raise DataError(
                f"{where}: class {number} is '{shown(label)}' by the photo's name, but '{shown(other)}' in {origin}; "
                "correct the number or the name"
            )


def _entry(image: str, label: str, where: str, folder: Path, finder: PhotoFinder, left_out: LeftOut) -> Entry:
    path, size_bytes, mtime_ns, missing = finder.photo(image)
    trimap = folder / _ANNOTATIONS / _TRIMAPS / f"{image}.png"
    if not trimap.is_file():
        left_out.add("photos, which have no trimap", image)
    return Entry(
        id=image,
        path=path,
        class_index=None,
        label=label,
        masks=(trimap,) if trimap.is_file() else (),
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        where=where,
        problem=missing,
    )


def _list_notes(listed: Path, others: list[Path], name: str) -> list[str]:
    """Return a note that says which of several lists is read."""
    if not others:
        return []
    files = ", ".join(str(Path(_ANNOTATIONS) / other.name) for other in others)
    return [
        f"{name}: the photos of annotations/{listed.name} are read; to read those of another list, name it ({files})"
    ]
