"""The shapes of LabelMe's JSON files as regions: polygons, rectangles, circles and masks."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.core.errors import ImageError
from evalkit.core.names import shown
from evalkit.datasets.annotations import clipped_box, is_number
from evalkit.datasets.decode import decode_labels
from evalkit.datasets.readers.coco_regions import Part
from evalkit.datasets.segments import check_segment, mask_segment, polygon_box, polygon_segment

__all__ = ["WITHOUT_REGION", "shape_part"]

WITHOUT_REGION = ("point", "points", "line", "linestrip")
"""Types of shapes that enclose nothing."""

_OUTLINES = ("polygon", "rotation")  # a rotation is an oriented box
_CIRCLE_CORNERS = 360  # of a radius of 1,000 pixels, less than a tenth of a pixel is cut off

Point = tuple[float, float]
Size = tuple[int, int]


def shape_part(shape: Mapping[str, Any], size: Size | None) -> Part | str:
    """Return the region of a shape, or why it cannot be used.

    A rectangle is a box; polygons, circles and masks are outlines with the box around them.

    Args:
        shape: shape from the file, of any type but those ``WITHOUT_REGION``.
        size: height and width of the photo in pixels; None if unknown.
    """
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape.get("points"))
    if isinstance(points, str):
        return points
    if kind in _OUTLINES:
        return _polygon(points, size)
    if kind == "rectangle":
        return _rectangle(points, size)
    if kind == "circle":
        return _circle(points, size)
    if kind == "mask":
        return _mask(points, shape.get("mask"), size)
    return (
        f"shape_type {shown(kind)!r} is not read; allowed: polygon, rectangle, rotation, circle, mask, and "
        f"{', '.join(WITHOUT_REGION)} without a region"
    )


def _points(given: object) -> list[Point] | str:
    wrong = f"points {shown(given, 60)} are not a list of [x, y] in pixels"
    if not isinstance(given, list) or not given:
        return wrong
    for point in given:
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            return wrong
    return [(float(x), float(y)) for x, y in given]


def _polygon(points: Sequence[Point], size: Size | None) -> Part | str:
    flat = [value for point in points for value in point]
    if problem := check_segment([flat], size):
        return problem
    box = clipped_box(_inside(polygon_box([flat]), size), size)
    return box if isinstance(box, str) else Part(polygon_segment([flat]), box)


def _inside(box: tuple[float, float, float, float], size: Size | None) -> tuple[float, float, float, float]:
    """Return the part of a box that is in the photo, as far as its size is known: polygons may reach outside."""
    right, bottom = (size[1], size[0]) if size else (math.inf, math.inf)
    x0, y0, x1, y1 = box
    return max(x0, 0.0), max(y0, 0.0), min(x1, right), min(y1, bottom)


def _rectangle(points: Sequence[Point], size: Size | None) -> Part | str:
    """Return the box of two opposite corners in any order, or of all four."""
    if len(points) not in (2, 4):
        return f"a rectangle has {len(points)} points; two opposite corners are needed"
    box = clipped_box(polygon_box([[value for point in points for value in point]]), size)
    return box if isinstance(box, str) else Part("", box)


def _circle(points: Sequence[Point], size: Size | None) -> Part | str:
    if len(points) != 2:
        return f"a circle has {len(points)} points; its center and a point on its rim are needed"
    (x, y), rim = points
    radius = math.dist((x, y), rim)
    if not radius:
        return "a circle has radius 0"
    angles = [2 * math.pi * step / _CIRCLE_CORNERS for step in range(_CIRCLE_CORNERS)]
    return _polygon(
        [(round(x + radius * math.cos(angle), 3), round(y + radius * math.sin(angle), 3)) for angle in angles], size
    )


def _mask(points: Sequence[Point], given: object, size: Size | None) -> Part | str:
    """Return the region of a mask, a PNG in base64 of the pixels from its first point to its second, both included."""
    if size is None:
        return "a mask needs imageHeight and imageWidth, which are missing"
    if len(points) != 2:
        return f"a mask has {len(points)} points; the corners of its pixels are needed"
    (left, top), (right, bottom) = ((round(x), round(y)) for x, y in points)
    if not (0 <= left <= right < size[1] and 0 <= top <= bottom < size[0]):
        return f"a mask from ({left}, {top}) to ({right}, {bottom}) is not inside the photo of {size[1]} x {size[0]}"
    if not isinstance(given, str):
        return "the pixels of a mask are not a PNG in base64"
    try:
        pixels = decode_labels(base64.b64decode(given, validate=True)) != 0
    except (ImageError, ValueError) as error:
        return f"the pixels of a mask cannot be used: {shown(error, 100)}"
    if pixels.shape != (bottom - top + 1, right - left + 1):
        stated = f"{right - left + 1} x {bottom - top + 1}"
        return f"the pixels of a mask are {pixels.shape[1]} x {pixels.shape[0]}, its corners say {stated}"
    if not pixels.any():
        return "a mask is empty"
    box = (float(left), float(top), float(right + 1), float(bottom + 1))
    return Part(mask_segment(pixels, (top, left), size), box)
