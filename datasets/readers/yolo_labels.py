"""YOLO's text files of objects, one a photo: each line is a class with a box or a polygon."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.core.errors import DataError
from evalkit.core.names import shown
from evalkit.datasets.annotations import OUTSIDE, is_number, read_text, to_number
from evalkit.datasets.box_units import SLACK, fraction_box
from evalkit.datasets.entry import Box
from evalkit.datasets.readers.coco_regions import Part
from evalkit.datasets.segments import fraction_segment, polygon_box

__all__ = ["YoloObject", "holds_objects", "read_objects"]

_LARGEST_BYTES = 4 * 1024**2
_HEAD = 4096  # bytes
_CLASS = re.compile(r"([0-9]{1,6})(?:\.0+)?")
_BOX = 4  # numbers of a box
_LINE = "a line is: class x-center y-center width height, or class x y x y x y ..., in fractions of the photo"


@dataclass(frozen=True)
class YoloObject:
    """One line of a text file.

    Attributes:
        number: class, counted from 0.
        part: region in fractions of the photo, or why it cannot be used.
        n_corners: number of corners of a polygon; 0 for a box.
        where: origin for messages.
    """

    number: int
    part: Part | str
    n_corners: int
    where: str


def read_objects(path: Path, where: str, n_keypoint_numbers: int = 0) -> list[YoloObject]:
    """Return the objects of a text file.

    Args:
        path: path of a UTF-8 file; lines are ``class x-center y-center width height`` (a box), or ``class x y x y ...``
            (a polygon with three corners or more), in fractions of the photo's width and height.
        where: name of the file for messages about its lines.
        n_keypoint_numbers: how many numbers of keypoints follow a box; they are not used.

    Raises:
        DataError: the file cannot be read, or a line does not begin with a class; the message names file and line.
    """
    text = read_text(path, _LARGEST_BYTES, "a photo's label file")
    objects = []
    for line_number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words:
            objects.append(_object(words, f"{where} line {line_number}", n_keypoint_numbers))
    return objects


def holds_objects(path: Path) -> bool | None:
    """Return whether a text file begins with an object; None if it is empty."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            words = next((line.split() for line in file.read(_HEAD).splitlines() if line.strip()), None)
    except OSError:
        return False
    if words is None:
        return None
    return len(words) > _BOX and bool(_CLASS.fullmatch(words[0])) and all(map(_is_float, words[1:-1]))


def _object(words: Sequence[str], where: str, n_keypoint_numbers: int) -> YoloObject:
    number = _CLASS.fullmatch(words[0])
    if not number:
        raise DataError(f"{where}: class '{shown(words[0], 20)}' is not a whole number from 0; {_LINE}")
    try:
        values = [to_number(word) for word in words[1:]]
    except ValueError:
        wrong = next(word for word in words[1:] if not _is_float(word))
        return YoloObject(int(number[1]), f"'{shown(wrong, 20)}' is not a number; {_LINE}", 0, where)
    n_corners = 0
    if len(values) == _BOX or (n_keypoint_numbers and len(values) == _BOX + n_keypoint_numbers):
        part = _box_part(values[:_BOX])
    elif not n_keypoint_numbers and _are_box_and_keypoints(values):
        part = (
            f"{len(values)} numbers follow the class: those of a box and of keypoints with their visibility, as it "
            "seems; data.yaml says with kpt_shape that keypoints are meant"
        )
    elif n_keypoint_numbers or len(values) < 6 or len(values) % 2:
        part = _wrong_count(len(values), n_keypoint_numbers)
    else:
        part, n_corners = _polygon_part(values), len(values) // 2
    return YoloObject(int(number[1]), part, n_corners, where)


def _are_box_and_keypoints(values: Sequence[float]) -> bool:
    """Return whether numbers can be a box and keypoints (x, y, visibility 0, 1 or 2) in it, as no polygon's are."""
    if len(values) < _BOX + 6 or (len(values) - _BOX) % 3:
        return False
    x, y, width, height = values[:_BOX]
    keypoints = [values[start : start + 3] for start in range(_BOX, len(values), 3)]
    return all(
        keypoint[2] in (0, 1, 2)
        and (
            not any(keypoint)
            or (abs(keypoint[0] - x) <= width / 2 + SLACK and abs(keypoint[1] - y) <= height / 2 + SLACK)
        )
        for keypoint in keypoints
    )


def _wrong_count(count: int, n_keypoint_numbers: int) -> str:
    if n_keypoint_numbers:
        return f"{count} numbers follow the class; kpt_shape says {_BOX} and {n_keypoint_numbers} of keypoints"
    hint = " (a prediction with its confidence is no label)" if count == _BOX + 1 else ""
    return f"{count} numbers follow the class{hint}; {_LINE}"


def _box_part(values: Sequence[float]) -> Part | str:
    x, y, width, height = values
    if not all(map(is_number, values)):
        return f"box ({_listed(values)}) is not four finite numbers"
    if width <= 0 or height <= 0:
        return f"box ({_listed(values)}) has no area (center and size)"
    box = fraction_box((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return Part("", box) if isinstance(box, tuple) else box


def _polygon_part(values: Sequence[float]) -> Part | str:
    if not all(map(is_number, values)):
        return "a polygon's corners are not finite numbers"
    outside = next((value for value in values if not -SLACK <= value <= 1 + SLACK), None)
    if outside is not None:
        return f"a polygon's corner at {outside:g}, in fractions, {OUTSIDE}"
    inside = [min(max(value, 0.0), 1.0) for value in values]
    box: Box | str = fraction_box(polygon_box([inside]))
    return Part(fraction_segment([inside]), box) if isinstance(box, tuple) else "the polygon has no area"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _is_float(word: str) -> bool:
    try:
        to_number(word)
    except ValueError:
        return False
    return True
