"""The columns of a CSV file of boxes: which hold photo, class and box, and the box's unit, by their names alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BoxColumns", "find_columns"]

_PHOTOS = ("image", "image_index", "image_id", "patient_id", "file_name")
_CLASSES = ("label", "finding_label", "class_name", "class", "target")
_TARGET = "target"
_MANIFEST = ("x0", "mask", "class_index")  # a CSV manifest's own regions
_BBOX = "bbox_[x,y,w,h]"  # NIH's, in one quoted column or over four
_CORNER, _CENTER = (("x", "y"), ("cx", "cy"))
_SIZES = (("w", "h"), ("width", "height"))  # beside w and h, width and height are the photo's
_CORNERS = ("x_min", "y_min", "x_max", "y_max")
_NORM = "_norm"


@dataclass(frozen=True)
class BoxColumns:
    """The positions of columns, from 0.

    Attributes:
        photo: column of the photo's name.
        label: column of the class.
        is_target: whether the class is RSNA's 0 or 1.
        box: columns of the box's four numbers.
        form: ``corner`` (left, top, width, height), ``center`` (center, width, height) or ``corners``.
        normalized: whether the numbers are fractions of the photo's width and height; otherwise pixels.
        names: names of the box's columns, for messages.
    """

    photo: int
    label: int
    is_target: bool
    box: tuple[int, int, int, int]
    form: str
    normalized: bool
    names: str


def find_columns(header: Sequence[str]) -> BoxColumns | None:
    """Return the columns of a file of boxes; None if photo, class or box is not among them, or one is there twice.

    Args:
        header: names of the columns as written.
    """
    names = _folded(header)
    if any(name in names for name in _MANIFEST):
        return None
    photo = next((name for name in _PHOTOS if name in names), None)
    label = next((name for name in _CLASSES if name in names), None)
    box = _box_names(names)
    if photo is None or label is None or box is None:
        return None
    edges, form, normalized = box
    if any(names.count(name) > 1 for name in (photo, label, *edges)):
        return None
    first, second, third, fourth = (names.index(name) for name in edges)
    return BoxColumns(
        photo=names.index(photo),
        label=names.index(label),
        is_target=label == _TARGET,
        box=(first, second, third, fourth),
        form=form,
        normalized=normalized,
        names=", ".join(edges),
    )


def _box_names(names: Sequence[str]) -> tuple[tuple[str, ...], str, bool] | None:
    """Return the names of the box's columns, its form, and whether it is normalized."""
    for end in ("", _NORM):
        for form, start in (("corner", _CORNER), ("center", _CENTER)):
            for size in _SIZES:
                edges = tuple(f"{name}{end}" for name in (*start, *size))
                if all(edge in names for edge in edges):
                    return edges, form, bool(end)
        edges = tuple(f"{name}{end}" for name in _CORNERS)
        if all(edge in names for edge in edges):
            return edges, "corners", bool(end)
    return None


def _folded(header: Sequence[str]) -> list[str]:
    """Return names in lower case with ``_`` between words; NIH's column of four numbers becomes x, y, w and h."""
    words = [re.sub(r"[\s_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())).lower() for name in header]
    words = [
        {"patientid": "patient_id", "imageid": "image_id", "filename": "file_name"}.get(word, word) for word in words
    ]
    for place, word in enumerate(words):
        whole = re.sub(r"\s", "", ",".join(words[place : place + 4]))
        if whole == _BBOX or (re.sub(r",_?", ",", word) == _BBOX and words[place + 1 : place + 4] == ["", "", ""]):
            words[place : place + 4] = ["x", "y", "w", "h"]
    return words
