"""COCO JSON: one entry for each photo and category, as in the pointing game."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.errors import DataError
from evalkit.core.names import shown
from evalkit.datasets.annotations import LeftOut, PhotoNames
from evalkit.datasets.entry import Entry, PixelSet
from evalkit.datasets.files import read_annotated
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.readers.base import Reader, visible_files
from evalkit.datasets.readers.coco_document import (
    NEEDED,
    Key,
    Photo,
    categories_of,
    identified,
    key_of,
    photos_of,
    read_document,
)
from evalkit.datasets.readers.coco_regions import Part, Units, part_of, units_in
from evalkit.datasets.readers.photo_finder import PHOTO_FOLDERS, PhotoFinder

__all__ = ["READER", "read_coco"]

_NAME = "coco"
_LISTED = 5
_FEW = 10  # annotations of a set's splits and tasks


def read_coco(path: Path) -> ImageSet:
    """Open a COCO JSON; photos are not read, outlines are drawn when an image is read.

    A photo with several categories has one entry per category. An annotation's outline (polygons or a run-length
    encoding) is an exact mask; without one its ``bbox`` is used. If a category of a photo has both kinds, its boxes are
    used. Crowds are ignored pixels, not the object; a category that has only crowds in a photo gives no entry.

    Photos are in the file's own folder, or in COCO's own layout: ``val2017/`` or ``images/val2017/`` beside
    ``annotations/`` for ``instances_val2017.json``, or ``images/``. Of a photo that is named by a path on another
    machine, the last part is used. If all coordinates of the boxes, or of the polygons, lie in 0..1, they are fractions
    of the photo's width and height. Ids may be numbers or texts: 1, 1.0 and "1" are the same.

    Args:
        path: path of a UTF-8 file, with or without byte order mark.

    Returns:
        The set, in the order of the images; ids are ``<file name>#<category>``. An entry whose annotation cannot be
        used, or whose photo is missing, has ``problem`` set; ``notes`` say what has no entry.

    Raises:
        DataError: the file is no COCO JSON, or ids are not unique; the message names the id.
    """
    document = read_document(path)
    elsewhere, left_out = PhotoNames(), LeftOut()
    photos, names = photos_of(document, path, elsewhere), categories_of(document, path)
    units = units_in(document, path)
    pairs = _pairs(document, path, photos, names, units, left_out)
    _forget_crowds(pairs, path, left_out)
    finder = PhotoFinder(_folders(path), [photo.name for photo in photos.values()])
    order = {category: position for position, category in enumerate(names)}
    entries = [
        pairs[photo][category].entry(names[category], finder, normalized=units[0].normalized)
        for photo in photos
        for category in sorted(pairs.get(photo, ()), key=order.__getitem__)
    ]
    if not entries:
        reasons = " ".join(left_out.notes(path.name))
        raise DataError(f"{path} has no annotation that can be used{': ' if reasons else ''}{reasons}; {NEEDED}")
    for photo, facts in photos.items():
        if not pairs.get(photo):
            left_out.add("photos without an object", facts.name)
    notes = [note for unit in units for note in unit.notes]
    notes += [*elsewhere.notes(path.name), *left_out.notes(path.name), *finder.missing(path.name, entries)]
    return ImageSet(path.name, _NAME, entries, read_annotated, list(names.values()), notes, Labels(partial=True))


def _annotations(folder: Path) -> list[Path]:
    """Return the COCO files of a folder in COCO's layout, or as some tools export it."""
    return [*visible_files(folder / "annotations", ".json"), *visible_files(folder, ".coco.json")]


def _is_coco(path: Path) -> bool:
    return bool(_annotations(path)) if path.is_dir() else path.suffix.lower() == ".json"


def _open(path: Path) -> ImageSet:
    """Open a COCO file, or the only one of a folder."""
    if not path.is_dir():
        return read_coco(path)
    files = _annotations(path)
    if not files:
        raise DataError(
            f"--data '{path}' is a folder without annotations/*.json or *.coco.json; name the file, or leave "
            "--data-format out"
        )
    if len(files) > 1:
        if len(files) > _FEW:
            read_document(files[0])  # says what one file a photo looks like
        raise DataError(
            f"--data '{path}' has several annotations; name one of {', '.join(map(str, files[:_LISTED]))}"
            + (f", and {len(files) - _LISTED} more" if len(files) > _LISTED else "")
        )
    return read_coco(files[0])


READER = Reader(
    name=_NAME,
    data="FILE.json",
    summary="COCO: boxes, polygons or RLE; one image per photo and category; crowds are ignored",
    example="annotations/val.json\nval/000000000139.jpg",
    needs="file or folder",
    open=_open,
    recognize=_is_coco,
)


@dataclass
class _Pair:
    """The annotations of one category in one photo."""

    photo: Photo
    where: str
    objects: list[Part] = field(default_factory=list)
    crowds: list[Part] = field(default_factory=list)
    problem: str = ""

    def add(self, item: Mapping[str, Any], units: Units) -> str:
        """Add one annotation; return why it cannot be used, or an empty text."""
        given = item.get("iscrowd", 0)
        crowd = key_of(given) if isinstance(given, str) else given
        if crowd not in (0, 1, None) or (crowd is None and given is not None):
            return f"iscrowd {shown(given, 20)!r} is not allowed; write 0 or 1"
        part = part_of(item, self.photo.size, units)
        if isinstance(part, str):
            return part
        (self.crowds if crowd else self.objects).append(part)
        return ""

    def entry(self, label: str, finder: PhotoFinder, *, normalized: bool) -> Entry:
        path, size_bytes, mtime_ns, missing = finder.photo(self.photo.name)
        outlined = all(part.segment for part in self.objects)
        return Entry(
            id=f"{self.photo.name}#{label}",
            path=path,
            class_index=None,
            label=label,
            boxes=() if outlined else tuple(part.box for part in self.objects if part.box),
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            where=self.where,
            problem=missing or self.problem or self._mixed(outlined),
            segments=tuple(part.segment for part in self.objects) if outlined else (),
            ignore=PixelSet(
                boxes=tuple(part.box for part in self.crowds if part.box and not part.segment),
                segments=tuple(part.segment for part in self.crowds if part.segment),
            ),
            size=self.photo.size,
            normalized=normalized,
        )

    def _mixed(self, outlined: bool) -> str:
        if outlined or all(part.box for part in self.objects):
            return ""
        return f"{self.where}: some objects have only a bbox, others only a run-length encoding; give all a bbox"


def _pairs(
    document: Mapping[str, Any],
    path: Path,
    photos: Mapping[Key, Photo],
    names: Mapping[Key, str],
    units: Units,
    left_out: LeftOut,
) -> dict[Key, dict[Key, _Pair]]:
    """Return the annotated pairs, by image and category."""
    pairs: dict[Key, dict[Key, _Pair]] = {}
    for key, item in identified(document, "annotations", "annotation", path):
        where = f"{path.name} annotation {shown(key)}"
        image, category = key_of(item.get("image_id")), key_of(item.get("category_id"))
        if image is None or image not in photos:
            given = shown(item.get("image_id"))
            left_out.add("annotations of images that are not listed", f"annotation {shown(key)}, image_id {given}")
        elif category is None or category not in names:
            given = shown(item.get("category_id"))
            left_out.add("annotations of categories that are not listed", f"annotation {shown(key)}, category {given}")
        else:
            of_photo = pairs.setdefault(image, {})
            pair = of_photo.setdefault(category, _Pair(photos[image], where))
            problem = pair.add(item, units)
            pair.problem = pair.problem or (f"{where}: {problem}" if problem else "")
    return pairs


def _forget_crowds(pairs: dict[Key, dict[Key, _Pair]], path: Path, left_out: LeftOut) -> None:
    """Drop the pairs that have only crowds: they have no object."""
    for of_photo in pairs.values():
        for category, pair in list(of_photo.items()):
            if not pair.objects and not pair.problem:
                left_out.add("categories that have only crowds in a photo", pair.where.removeprefix(f"{path.name} "))
                del of_photo[category]


def _folders(path: Path) -> Iterable[Path]:
    """Yield the folders where the photos may be, the likeliest first."""
    own = path.absolute().parent
    split = path.stem.rpartition("_")[2] or path.stem
    yield own
    year = re.search(r"(train|val|test)20\d\d$", split)
    splits = [split] if year else [split, f"{split}2017"]
    for base in (own, own.parent):
        for name in splits:
            yield base / name
            yield base / "images" / name
        for name in (*PHOTO_FOLDERS, "data"):
            yield base / name
    yield own.parent
