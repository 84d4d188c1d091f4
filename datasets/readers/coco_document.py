"""The parts of a COCO JSON: its lists, checked, its photos and its categories."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.core.errors import DataError
from evalkit.core.names import is_text, shown
from evalkit.datasets.annotations import PhotoNames
from evalkit.datasets.readers.json_files import read_json
from evalkit.datasets.readers.lookalikes import FORMATS, document_looks

__all__ = ["NEEDED", "Key", "Photo", "categories_of", "identified", "key_of", "photos_of", "read_document"]

NEEDED = "needed: an object with the lists images, categories and annotations"
_LARGEST_SIDE = 2**20

Key = int | str

_NUMBER = re.compile(r"(0|-?[1-9][0-9]{0,17})(\.0)?")


@dataclass(frozen=True)
class Photo:
    """A photo's path below the photos' folder, and its height and width in pixels if the file gives them."""

    name: str
    size: tuple[int, int] | None


def read_document(path: Path) -> dict[str, Any]:
    """Return a COCO file's contents, whose three lists are lists.

    Raises:
        DataError: the file cannot be read, or is no COCO JSON.
    """
    document = read_json(path, NEEDED)
    look = document_looks(document)
    if look and not (isinstance(document, dict) and isinstance(document.get("images"), list)):
        raise DataError(f"{path} is no COCO JSON; it looks like {look}. {FORMATS}")
    if not isinstance(document, dict):
        raise DataError(f"{path} holds a {type(document).__name__}; {NEEDED}")
    for key in ("images", "categories", "annotations"):
        if not isinstance(document.get(key), list):
            raise DataError(f"{path}: the list '{key}' is missing; {NEEDED}")
    return document


def key_of(value: object) -> Key | None:
    """Return an id from the file: 1, 1.0, "1" and "1.0" are the same; None if it cannot be an id.

    A text such as "001" is no number, but an id of its own.
    """
    if type(value) is float and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return int(value.removesuffix(".0")) if _NUMBER.fullmatch(value) else value
    return value if type(value) is int else None


def identified(document: Mapping[str, Any], key: str, what: str, path: Path) -> Iterable[tuple[Key, dict[str, Any]]]:
    """Yield the items of a list with their ids.

    Args:
        document: contents of the file.
        key: name of the list.
        what: what an item is, for messages. An annotation needs no id.
        path: path of the file, for messages.

    Raises:
        DataError: an item is no object, or its id is missing or not unique.
    """
    seen: set[Key] = set()
    for position, item in enumerate(document[key]):
        if not isinstance(item, dict):
            raise DataError(f"{path.name} {key}[{position}] is a {type(item).__name__}; an object is needed")
        given = item.get("id", f"[{position}]" if what == "annotation" else None)
        item_id = key_of(given)
        if item_id is None:
            raise DataError(f"{path.name} {key}[{position}]: id {given!r} is not a whole number; give each {what} one")
        if item_id in seen:
            raise DataError(f"{path.name}: the {what} id {item_id!r} is there twice; give each {what} its own")
        seen.add(item_id)
        yield item_id, item


def photos_of(document: Mapping[str, Any], path: Path, elsewhere: PhotoNames) -> dict[Key, Photo]:
    """Return the photo of each image id.

    Args:
        document: contents of the file.
        path: path of the file, for messages.
        elsewhere: counts photos that are named by a path on another machine.

    Raises:
        DataError: an id, name or size is not allowed, or two images are the same file.
    """
    photos: dict[Key, Photo] = {}
    names: dict[str, Key] = {}
    for key, item in identified(document, "images", "image", path):
        where = f"{path.name} image {shown(key)}"
        name = elsewhere.below(item.get("file_name") or _from_address(item), where)
        if name in names:
            raise DataError(f"{where} is the same file as image {names[name]}: '{name}'; list a photo once")
        names[name] = key
        photos[key] = Photo(name, _size(item, where))
    return photos


def _from_address(item: Mapping[str, Any]) -> str | None:
    """Return folder and name of an image for which LVIS gives only a URL."""
    address = item.get("coco_url")
    return "/".join(address.split("/")[-2:]) if isinstance(address, str) else None


def _size(item: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    sides = item.get("height"), item.get("width")
    if sides == (None, None):
        return None
    height, width = map(key_of, sides)
    if not (
        type(height) is int and type(width) is int and 0 < min(height, width) <= max(height, width) <= _LARGEST_SIDE
    ):
        values = " x ".join(shown(side, 20) for side in sides)
        raise DataError(
            f"{where}: height x width is {values}; write whole numbers of pixels, 1..{_LARGEST_SIDE}, or neither"
        )
    return height, width


def categories_of(document: Mapping[str, Any], path: Path) -> dict[Key, str]:
    """Return the name of each category id, without unused parent categories.

    Raises:
        DataError: an id or name is not allowed, or two categories have the same name.
    """
    names: dict[Key, str] = {}
    parents = _unused_parents(document)
    for key, item in identified(document, "categories", "category", path):
        name = item.get("name")
        if not isinstance(name, str) or not name.strip() or not is_text(name):
            raise DataError(f"{path.name} category {key}: name {name!r} is not allowed; write a text that is not empty")
        if key in parents:
            continue
        if name.strip() in names.values():
            raise DataError(f"{path.name} category {key}: another category has the name '{name}' too; rename one")
        names[key] = name.strip()
    return names


def _unused_parents(document: Mapping[str, Any]) -> set[Key]:
    """Return categories that are only parents of others, which some exports list: one may have the name of a class."""
    listed = [item for item in document["categories"] if isinstance(item, dict)]
    above = [item.get("supercategory") for item in listed if item.get("supercategory") != item.get("name")]
    used = [item.get("category_id") for item in document["annotations"] if isinstance(item, dict)]
    known = set(map(key_of, used))
    return {
        key
        for item in listed
        if (key := key_of(item.get("id"))) is not None and key not in known and item.get("name") in above
    }
