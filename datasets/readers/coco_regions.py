"""The region of one COCO annotation: its outline and its box, checked, in pixels or in fractions of the photo."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.core.names import shown
from evalkit.datasets.annotations import clipped_box, is_number
from evalkit.datasets.box_units import BoxUnits, fraction_box, units_of
from evalkit.datasets.entry import Box
from evalkit.datasets.readers.coco_document import identified
from evalkit.datasets.segments import check_segment, polygon_box

__all__ = ["Part", "Units", "part_of", "units_in"]

_COMPACT = json.JSONEncoder(separators=(",", ":"))
_SURELY_PIXELS = 2  # no fraction of a photo
Units = tuple[BoxUnits, BoxUnits]
"""The units of a file's boxes and of its polygons."""


@dataclass(frozen=True)
class Part:
    """The region of one annotation: an outline, a box, or both."""

    segment: str
    box: Box | None


def units_in(document: Mapping[str, Any], path: Path) -> Units:
    """Decide the units of the boxes and, separately, of the polygons."""
    boxes, outlines = [], []
    for key, item in identified(document, "annotations", "annotation", path):
        where = f"annotation {shown(key)}"
        if edges := _corners(item.get("bbox")):
            boxes.append((where, edges))
        if around := _around(item.get("segmentation")):
            outlines.append((where, around))
    return units_of(boxes, path.name), units_of(outlines, path.name, "outlines")


def _around(segment: object) -> tuple[float, ...] | None:
    """Return the box around polygons, or four of its coordinates if these are pixels; None if there is none."""
    if not isinstance(segment, list) or not segment:
        return None
    first = segment[0][:4] if isinstance(segment[0], list) else []
    if len(first) == 4 and all(map(is_number, first)) and max(first) > _SURELY_PIXELS:
        return tuple(first)  # without looking at all corners of all outlines
    return None if check_segment(segment, None) else polygon_box(segment)


def part_of(item: Mapping[str, Any], size: tuple[int, int] | None, units: Units) -> Part | str:
    """Return the region of one annotation, or why it cannot be used.

    Args:
        item: annotation from the file.
        size: height and width of its photo in pixels; None if unknown.
        units: units of the file's boxes and polygons.
    """
    segment, given = item.get("segmentation"), item.get("bbox")
    box = None if given in (None, []) else _box(given, units[0], size)
    if segment in (None, [], {}, [[]]):
        if isinstance(box, str):
            return box
        return "neither a segmentation nor a bbox" if box is None else Part("", box)
    # The outline is used, whatever the box is.
    drawn = box if not isinstance(box, str) else None
    if isinstance(segment, list):
        segment = _polygons(segment, units[1], size)
        if isinstance(segment, str):
            return segment
        drawn = drawn or _box_around(segment, units[0], size)
    elif problem := check_segment(segment, size):
        return problem
    return Part(_COMPACT.encode(segment), drawn)


def _polygons(given: list[Any], units: BoxUnits, size: tuple[int, int] | None) -> list[list[float]] | str:
    """Return polygons in pixels, or why they cannot be used."""
    if problem := check_segment(given, None if units.normalized else size):
        return problem
    if problem := units.problem(polygon_box(given)):
        return problem.replace("box", "outline", 1).replace("boxes", "outlines")
    if not units.normalized:
        return given
    if size is None:
        return "the outline is normalized to 0..1; give the photo's width and height"
    pixels = [[round(value * size[1 - place % 2], 6) for place, value in enumerate(polygon)] for polygon in given]
    return check_segment(pixels, size) or pixels


def _corners(given: object) -> tuple[float, float, float, float] | None:
    """Return x0, y0, x1, y1 of a bbox, which is x, y, width, height; None if it is not four numbers."""
    if not isinstance(given, list) or len(given) != 4 or not all(map(is_number, given)):
        return None
    x, y, width, height = given
    return x, y, x + width, y + height


def _box(given: object, units: BoxUnits, size: tuple[int, int] | None) -> Box | str:
    edges = _corners(given)
    if edges is None:
        return f"bbox {shown(given, 60)} is not x, y, width, height in pixels"
    if units.normalized:
        return fraction_box(edges)
    return units.problem(edges) or clipped_box(edges, size)


def _box_around(segment: list[list[float]], units: BoxUnits, size: tuple[int, int] | None) -> Box | None:
    """Return the box around polygons in pixels, in the unit of the boxes."""
    box: Box | str = clipped_box(polygon_box(segment), size)
    if units.normalized and not isinstance(box, str):
        if size is None:
            return None
        x0, y0, x1, y1 = box
        return x0 / size[1], y0 / size[0], x1 / size[1], y1 / size[0]
    return None if isinstance(box, str) else box
