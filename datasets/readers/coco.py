"""COCO JSON: one entry for each photo and category, as the pointing game takes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.errors import DataError
from evalkit.core.names import is_text, shown
from evalkit.datasets.annotations import LeftOut, clipped_box, is_number, read_bytes, relative_name
from evalkit.datasets.entry import Box, Entry, Places
from evalkit.datasets.files import read_annotated
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.readers.photo_finder import PhotoFinder
from evalkit.datasets.segments import check_segment, polygon_box

__all__ = ["read_coco"]

_NEEDED = "needed: an object with the lists images, categories and annotations"
_LARGEST_SIDE = 2**20
_COMPACT = json.JSONEncoder(separators=(",", ":"))

Key = int | str


def read_coco(path: Path) -> ImageSet:
    """Read a COCO JSON; photos are only looked at, outlines are drawn when an image is read.

    A photo with several categories gives an entry a category. An annotation's outline (polygons or a run-length
    encoding) is the object's own pixels, else its ``bbox`` counts; where a category of a photo has both kinds, its
    boxes count. Crowds are ignored pixels, not the object; a category that has only crowds in a photo gives no entry.

    Photos lie below the file's own folder, or where COCO itself keeps them: ``val2017/`` or ``images/val2017/`` beside
    ``annotations/`` for ``instances_val2017.json``, or ``images/``.

    Args:
        path: UTF-8, with or without byte order mark.

    Returns:
        The set, in the order of the images; ids are ``<file name>#<category>``. An entry with an annotation that
        cannot be used, or without its photo, has ``problem`` set; ``notes`` say what has no entry.

    Raises:
        DataError: the file is no COCO JSON, ids are not unique, or a photo lies elsewhere; the message names the id.
    """
    document = _document(path)
    photos, names = _photos(document, path), _categories(document, path)
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
        said = " ".join(left_out.notes(path.name))
        raise DataError(f"{path} has no annotation that can be used{': ' if said else ''}{said}; {_NEEDED}")
    for photo, facts in photos.items():
        if not pairs.get(photo):
            left_out.add("photos without an object", facts.name)
    notes = [*left_out.notes(path.name), *finder.missing(path.name, entries)]
    return ImageSet(path.name, "coco", entries, read_annotated, list(names.values()), notes)


@dataclass(frozen=True)
class _Photo:
    name: str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class _Part:
    """What one annotation says of its place: an outline, a box, or both."""

    segment: str
    box: Box | None


@dataclass
class _Pair:
    """One photo and one category, annotation by annotation."""

    photo: _Photo
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
            ignore=Places(
                boxes=tuple(part.box for part in self.crowds if part.box and not part.segment),
                segments=tuple(part.segment for part in self.crowds if part.segment),
            ),
            size=self.photo.size,
        )

    def _mixed(self, outlined: bool) -> str:
        if outlined or all(part.box for part in self.objects):
            return ""
        return f"{self.where}: some objects have only a bbox, others only a run-length encoding; give all a bbox"


def _document(path: Path) -> dict[str, Any]:
    data = read_bytes(path)
    try:
        document = json.loads(data)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno} is not valid JSON: {error.msg}; {_NEEDED}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {str(error)[:200]}; {_NEEDED}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} holds a {type(document).__name__}; {_NEEDED}")
    for key in ("images", "categories", "annotations"):
        if not isinstance(document.get(key), list):
            raise DataError(f"{path}: the list '{key}' is missing; {_NEEDED}")
    return document


def _identified(document: Mapping[str, Any], key: str, what: str, path: Path) -> Iterable[tuple[Key, dict[str, Any]]]:
    """Yield the items of a list with their ids.

    Raises:
        DataError: an item that is no object, or whose id is missing or another's.
    """
    seen: set[Key] = set()
    for position, item in enumerate(document[key]):
        if not isinstance(item, dict):
            raise DataError(f"{path.name} {key}[{position}] is a {type(item).__name__}; an object is needed")
        found = item.get("id", f"[{position}]" if what == "annotation" else None)
        if not isinstance(found, int | str) or isinstance(found, bool):
            raise DataError(f"{path.name} {key}[{position}]: id {found!r} is not a whole number; give each {what} one")
        if found in seen:
            raise DataError(f"{path.name}: the {what} id {found!r} stands there twice; give each {what} its own")
        seen.add(found)
        yield found, item


def _photos(document: Mapping[str, Any], path: Path) -> dict[Key, _Photo]:
    photos: dict[Key, _Photo] = {}
    names: dict[str, Key] = {}
    for key, item in _identified(document, "images", "image", path):
        where = f"{path.name} image {shown(key)}"
        name = relative_name(item.get("file_name") or _from_address(item), where)
        if name in names:
            raise DataError(f"{where} is the same file as image {names[name]}: '{name}'; list a photo once")
        names[name] = key
        photos[key] = _Photo(name, _size(item, where))
    return photos


def _from_address(item: Mapping[str, Any]) -> str | None:
    """Return folder and name of an image that LVIS lists by its address alone."""
    address = item.get("coco_url")
    return "/".join(address.split("/")[-2:]) if isinstance(address, str) else None


def _size(item: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    sides = item.get("height"), item.get("width")
    if sides == (None, None):
        return None
    if not all(type(side) is int and 0 < side <= _LARGEST_SIDE for side in sides):
        said = " x ".join(shown(side, 20) for side in sides)
        raise DataError(f"{where}: height x width is {said}; write pixels, 1 to {_LARGEST_SIDE}, or neither")
    return item["height"], item["width"]


def _categories(document: Mapping[str, Any], path: Path) -> dict[Key, str]:
    names: dict[Key, str] = {}
    parents = _unused_parents(document)
    for key, item in _identified(document, "categories", "category", path):
        name = item.get("name")
        if not isinstance(name, str) or not name.strip() or not is_text(name):
            raise DataError(f"{path.name} category {key}: name {name!r} is not allowed; write a text")
        if key in parents:
            continue
        if name.strip() in names.values():
            raise DataError(f"{path.name} category {key}: another category is called '{name}' too; rename one")
        names[key] = name.strip()
    return names


def _unused_parents(document: Mapping[str, Any]) -> set[Key]:
    """Return the categories that only stand above others, as some exports list them: one may be called like a class."""
    listed = [item for item in document["categories"] if isinstance(item, dict)]
    above = [item.get("supercategory") for item in listed if item.get("supercategory") != item.get("name")]
    used = [item.get("category_id") for item in document["annotations"] if isinstance(item, dict)]
    known = {key for key in used if type(key) in (int, str)}
    return {
        item["id"]
        for item in listed
        if type(item.get("id")) in (int, str) and item["id"] not in known and item.get("name") in above
    }


def _pairs(
    document: Mapping[str, Any],
    path: Path,
    photos: Mapping[Key, _Photo],
    names: Mapping[Key, str],
    left_out: LeftOut,
) -> dict[Key, dict[Key, _Pair]]:
    """Return what is annotated, by image and category."""
    pairs: dict[Key, dict[Key, _Pair]] = {}
    for key, item in _identified(document, "annotations", "annotation", path):
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
    """Add one annotation to its pair; return what is wrong with it, or nothing."""
    crowd = item.get("iscrowd", 0)
    if crowd not in (0, 1, None):
        return f"iscrowd {shown(crowd, 20)!r} is not allowed; 0 or 1"
    segment, given, size = item.get("segmentation"), item.get("bbox"), pair.photo.size
    box = None if given in (None, []) else _box(given, size)
    outlined = segment not in (None, [], {}, [[]])
    if isinstance(box, str):
        if not outlined:
            return box
        box = None  # the outline says where it is
    text = ""
    if outlined:
        if problem := check_segment(segment, size):
            return problem
        text = _COMPACT.encode(segment)
        if box is None and isinstance(segment, list):
            box = _box_around(segment, size)
    if not text and box is None:
        return "neither a segmentation nor a bbox"
    (pair.crowds if crowd else pair.objects).append(_Part(text, box))
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
    """Drop the pairs that have crowds alone: there is no object to name."""
    for of_photo in pairs.values():
        for category, pair in list(of_photo.items()):
            if not pair.objects and not pair.problem:
                left_out.add("categories that have only crowds in a photo", pair.where.removeprefix(f"{path.name} "))
                del of_photo[category]


def _folders(path: Path) -> Iterable[Path]:
    """Yield where the photos may be."""
    own = path.absolute().parent
    split = path.stem.rpartition("_")[2] or path.stem
    yield own
    year = re.search(r"(train|val|test)20\d\d$", split)
    splits = [split] if year else [split, f"{split}2017"]
    for base in (own, own.parent):
        for name in splits:
            yield base / name
            yield base / "images" / name
        yield base / "images"
        yield base / "data"
    yield own.parent
