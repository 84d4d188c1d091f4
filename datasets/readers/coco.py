"""COCO JSON: one entry for each photo and category, as in the pointing game."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.errors import DataError
from evalkit.core.names import shown
from evalkit.datasets.annotations import LeftOut, clipped_box, is_number
from evalkit.datasets.entry import Box, Entry, PixelSet
from evalkit.datasets.files import read_annotated
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.readers.base import Reader, visible_files
from evalkit.datasets.readers.coco_document import (
    NEEDED,
    Key,
    Photo,
    categories_of,
    identified,
    photos_of,
    read_document,
)
from evalkit.datasets.readers.photo_finder import PHOTO_FOLDERS, PhotoFinder
from evalkit.datasets.segments import check_segment, polygon_box

__all__ = ["READER", "read_coco"]

_NAME = "coco"
_LISTED = 5
_COMPACT = json.JSONEncoder(separators=(",", ":"))


def read_coco(path: Path) -> ImageSet:
    """Open a COCO JSON; photos are not read, outlines are drawn when an image is read.

    A photo with several categories has one entry per category. An annotation's outline (polygons or a run-length
    encoding) is an exact mask; without one its ``bbox`` is used. If a category of a photo has both kinds, its boxes are
    used. Crowds are ignored pixels, not the object; a category that has only crowds in a photo gives no entry.

    Photos are in the file's own folder, or in COCO's own layout: ``val2017/`` or ``images/val2017/`` beside
    ``annotations/`` for ``instances_val2017.json``, or ``images/``.

    Args:
        path: path of a UTF-8 file, with or without byte order mark.

    Returns:
        The set, in the order of the images; ids are ``<file name>#<category>``. An entry whose annotation cannot be
        used, or whose photo is missing, has ``problem`` set; ``notes`` say what has no entry.

    Raises:
        DataError: the file is no COCO JSON, ids are not unique, or a photo's path leads elsewhere; the message names
            the id.
    """
    document = read_document(path)
    photos, names = photos_of(document, path), categories_of(document, path)
    left_out = LeftOut()
    pairs = _pairs(document, path, photos, names, left_out)
    _forget_crowds(pairs, path, left_out)
    finder = PhotoFinder(_folders(path), [photo.name for photo in photos.values()])
    order = {category: position for position, category in enumerate(names)}
    entries = [
        pairs[photo][category].entry(names[category], finder)
        for photo in photos
        for category in sorted(pairs.get(photo, ()), key=order.__getitem__)
    ]
    if not entries:
        reasons = " ".join(left_out.notes(path.name))
        raise DataError(f"{path} has no annotation that can be used{': ' if reasons else ''}{reasons}; {NEEDED}")
    for photo, facts in photos.items():
        if not pairs.get(photo):
            left_out.add("photos without an object", facts.name)
    notes = [*left_out.notes(path.name), *finder.missing(path.name, entries)]
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


@dataclass(frozen=True)
class _Part:
    """The region of one annotation: an outline, a box, or both."""

    segment: str
    box: Box | None


@dataclass
class _Pair:
    """The annotations of one category in one photo."""

    photo: Photo
    where: str
    objects: list[_Part] = field(default_factory=list)
    crowds: list[_Part] = field(default_factory=list)
    problem: str = ""

    def entry(self, label: str, finder: PhotoFinder) -> Entry:
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
    left_out: LeftOut,
) -> dict[Key, dict[Key, _Pair]]:
    """Return the annotated pairs, by image and category."""
    pairs: dict[Key, dict[Key, _Pair]] = {}
    for key, item in identified(document, "annotations", "annotation", path):
        where = f"{path.name} annotation {shown(key)}"
        image, category = item.get("image_id"), item.get("category_id")
        if not _known(image, photos):
            left_out.add(
                "annotations of images that are not listed", f"annotation {shown(key)}, image_id {shown(image)}"
            )
        elif not _known(category, names):
            left_out.add(
                "annotations of categories that are not listed", f"annotation {shown(key)}, category {shown(category)}"
            )
        else:
            of_photo = pairs.setdefault(image, {})  # type: ignore[arg-type]
            pair = of_photo.setdefault(category, _Pair(photos[image], where))  # type: ignore[arg-type,index]
            problem = _take(item, pair)
            pair.problem = pair.problem or (f"{where}: {problem}" if problem else "")
    return pairs


def _known(key: object, known: Mapping[Key, object]) -> bool:
    return type(key) in (int, str) and key in known


def _take(item: Mapping[str, Any], pair: _Pair) -> str:
    """Add one annotation to its pair; return why it cannot be used, or an empty text."""
    crowd = item.get("iscrowd", 0)
    if crowd not in (0, 1, None):
        return f"iscrowd {shown(crowd, 20)!r} is not allowed; write 0 or 1"
    segment, given, size = item.get("segmentation"), item.get("bbox"), pair.photo.size
    box = None if given in (None, []) else _box(given, size)
    outlined = segment not in (None, [], {}, [[]])
    if isinstance(box, str):
        if not outlined:
            return box
        box = None  # the outline is used
    outline = ""
    if outlined:
        if problem := check_segment(segment, size):
            return problem
        outline = _COMPACT.encode(segment)
        if box is None and isinstance(segment, list):
            box = _box_around(segment, size)
    if not outline and box is None:
        return "neither a segmentation nor a bbox"
    (pair.crowds if crowd else pair.objects).append(_Part(outline, box))
    return ""


def _box(given: object, size: tuple[int, int] | None) -> Box | str:
    if not isinstance(given, list) or len(given) != 4 or not all(map(is_number, given)):
        return f"bbox {shown(given, 60)} is not x, y, width, height in pixels"
    x, y, width, height = given
    return clipped_box((x, y, x + width, y + height), size)


def _box_around(segment: list[list[float]], size: tuple[int, int] | None) -> Box | None:
    box = clipped_box(polygon_box(segment), size)
    return None if isinstance(box, str) else box


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
