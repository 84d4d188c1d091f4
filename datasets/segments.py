"""COCO's outlines, polygons and run-length encodings: checked, and rasterized by pycocotools.

pycocotools is C code that does not check its input, so every outline is checked first.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ImageError
from evalkit.core.names import shown
from evalkit.datasets.annotations import is_number

__all__ = ["check_segment", "decode_segment", "fraction_segment", "mask_segment", "polygon_box", "polygon_segment"]

Size = tuple[int, int]
_LONGEST_OUTLINE = 64  # times height plus width
_FRACTIONS = "fractions"
_COMPACT = json.JSONEncoder(separators=(",", ":"))
_LONGEST_COUNT = 7  # characters of one compressed count: 35 bits, more than any photo has pixels


def check_segment(segment: object, size: Size | None) -> str:
    """Return why an outline is not allowed, as far as that is clear without drawing it; empty if it is allowed.

    Args:
        segment: value from JSON: a list of polygons (x, y, x, y ... in pixels, at least three corners), or a run-length
            encoding {"size": [height, width], "counts": text or list}.
        size: height and width of the photo; None if unknown.
    """
    if isinstance(segment, dict):
        return _check_runs(segment, size)
    if not isinstance(segment, list):
        return f"the segmentation is {_kind(segment)}; a list of polygons or a run-length encoding is needed"
    for polygon in segment:
        if problem := _check_polygon(polygon, size):
            return problem
    return ""


def fraction_segment(polygons: Sequence[Sequence[float]]) -> str:
    """Return polygons in fractions of the photo's width and height as text for ``decode_segment``.

    Args:
        polygons: x, y, x, y ... in 0..1, at least three corners each.
    """
    return _COMPACT.encode({_FRACTIONS: [list(polygon) for polygon in polygons]})


def polygon_segment(polygons: Sequence[Sequence[float]]) -> str:
    """Return polygons in pixels, x, y, x, y ... each, as text for ``decode_segment``."""
    return _COMPACT.encode([list(polygon) for polygon in polygons])


def mask_segment(mask: NDArray[np.bool_], corner: tuple[int, int], size: Size) -> str:
    """Return a mask of a part of a photo as a run-length encoding in text for ``decode_segment``.

    Args:
        mask: bool (h, w), with a pixel that is True.
        corner: row and column of its first pixel in the photo, in which all of it lies.
        size: height and width of the photo in pixels.
    """
    columns, rows = np.nonzero(mask.T)
    places = (columns + corner[1]) * size[0] + rows + corner[0]  # column by column, in rising order
    gaps = np.flatnonzero(np.diff(places) > 1)
    starts, ends = places[np.append(0, gaps + 1)], places[np.append(gaps, -1)] + 1
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [size[0] * size[1]]])
    return _COMPACT.encode({"size": list(size), "counts": np.diff(edges).tolist()})


def decode_segment(text: str, size: Size) -> NDArray[np.bool_]:
    """Draw one outline.

    Args:
        text: outline as JSON, or the text of ``fraction_segment``.
        size: height and width of the photo in pixels.

    Returns:
        bool (height, width).

    Raises:
        ImageError: the outline is not allowed in a photo of this size.
    """
    from pycocotools import mask

    segment = json.loads(text)
    if isinstance(segment, dict) and set(segment) == {_FRACTIONS}:
        segment = [_in_pixels(polygon, size) for polygon in segment[_FRACTIONS]]
    if problem := check_segment(segment, size):
        raise ImageError(problem)
    height, width = size
    if isinstance(segment, list):
        encoded = mask.merge(mask.frPyObjects(segment, height, width))
    else:
        counts = _counts(segment["counts"])
        if sum(counts) != height * width:
            raise ImageError(
                f"the run-length encoding covers {sum(counts)} pixels, the photo of {width} x {height} has "
                f"{height * width}"
            )
        encoded = mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools against a newer NumPy
        return np.asarray(mask.decode(encoded), dtype=np.bool_)


def polygon_box(segment: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Return the box x0, y0, x1, y1 around polygons."""
    xs = [x for polygon in segment for x in polygon[0::2]]
    ys = [y for polygon in segment for y in polygon[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def _in_pixels(polygon: Sequence[float], size: Size) -> list[float]:
    """Return a polygon in fractions of the width and height in pixels."""
    return [round(value * size[1 - place % 2], 6) for place, value in enumerate(polygon)]


def _check_polygon(polygon: object, size: Size | None) -> str:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return "a polygon is not a list of x, y, x, y ... with three corners or more"
    if not all(map(is_number, polygon)):
        wrong = next(value for value in polygon if not is_number(value))
        return f"a polygon's corner is {shown(wrong)}; allowed: pixels"
    # Drawing takes time and memory in proportion to the outline's length, so corners must be near the photo.
    reach = max(size) if size else 65536
    if min(polygon) < -reach or max(polygon) > 2 * reach:
        return "a polygon's corner lies far outside the photo"
    if _length(polygon) > _LONGEST_OUTLINE * (sum(size) if size else 2 * reach):
        return f"a polygon's outline is over {_LONGEST_OUTLINE} times as long as the photo is wide and high"
    return ""


def _length(polygon: Sequence[float]) -> float:
    """Return the length of an outline in pixels, as it is drawn."""
    corners = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())


def _check_runs(segment: dict[str, Any], size: Size | None) -> str:
    if not isinstance(segment.get("counts"), str | list):
        return "the run-length encoding has no counts; a text or a list of whole numbers is needed"
    stated = segment.get("size")
    if not isinstance(stated, list) or len(stated) != 2 or not all(type(side) is int and side > 0 for side in stated):
        return f"the run-length encoding has size {shown(stated)}; [height, width] is needed"
    if size is not None and stated != list(size):
        return f"the run-length encoding is {stated[1]} x {stated[0]}, the photo {size[1]} x {size[0]} (width x height)"
    return ""


def _counts(given: str | list[Any]) -> list[int]:
    """Return the lengths of the runs; the first run is outside the object."""
    counts = _decompressed(given) if isinstance(given, str) else given
    if not all(type(count) is int and 0 <= count < 2**32 for count in counts):
        raise ImageError("the run-length encoding's counts are not whole numbers of 0 or more")
    return counts


def _decompressed(text: str) -> list[int]:
    """Return the counts of a compressed encoding: 5 bits per character from '0' on, a sixth if more follow.

    From the third count on, each is stored as the difference to the count before the last.
    """
    counts: list[int] = []
    value, length = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or length == _LONGEST_COUNT:
            raise ImageError("the run-length encoding's counts are damaged")
        value |= (bits & 31) << 5 * length
        length += 1
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << 5 * length
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, length = 0, 0
    if length:
        raise ImageError("the run-length encoding's counts end too early")
    return counts


def _kind(value: object) -> str:
    return "missing" if value is None else f"{type(value).__name__}, not a list"
