"""Pixels or fractions of the photo: the unit of a set's boxes, decided over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from evalkit.core.errors import DataError
from evalkit.datasets.annotations import OUTSIDE, is_number
from evalkit.datasets.entry import Box, Entry

__all__ = ["SLACK", "BoxUnits", "fraction_box", "in_pixels", "pixel_box", "units_of"]

SLACK = 0.01
"""How far fractions may lie beyond 0 and 1: they are often rounded a little beyond the frame."""

_DECIMALS = 6  # of a pixel, so that 0.07 x 100 is 7


@dataclass(frozen=True)
class BoxUnits:
    """The unit of a set's boxes.

    Attributes:
        normalized: whether they are fractions of the photo's width and height; otherwise pixels.
        notes: sentences about the decision.
    """

    normalized: bool = False
    notes: tuple[str, ...] = ()

    def problem(self, edges: Sequence[object]) -> str:
        """Return why a box does not have the set's unit, or an empty text."""
        if self.normalized or not _is_fraction(edges):
            return ""
        return f"box ({_listed(edges)}) looks normalized to 0..1, but the set's other boxes are in pixels"


def units_of(boxes: Iterable[tuple[str, Sequence[object]]], name: str, noun: str = "boxes") -> BoxUnits:
    """Decide the unit of a set's boxes.

    Boxes of which all coordinates lie in 0..1, at least one of them between 0 and 1, are fractions: as pixels, each
    would be smaller than a pixel. If every coordinate is 0 or 1, the unit stays pixels, which is said.

    Args:
        boxes: origin for messages and x0, y0, x1, y1 as written, unchecked; those that are not four numbers are passed
            over.
        name: name of the set.
        noun: what is decided, for messages.

    Raises:
        DataError: half of the boxes or more lie in 0..1, but not all.
    """
    numbers = [(where, edges) for where, edges in boxes if len(edges) == 4 and all(map(is_number, edges))]
    small = [_is_small(edges) for _, edges in numbers]
    fractions = [(where, edges) for where, edges in numbers if _is_fraction(edges)]
    if not any(small):
        return BoxUnits()
    if all(small):
        taken = "lie in 0..1, so they are taken as fractions of the photo's width and height"
        kept = "are 0 or 1, taken as pixels; if the whole photo is meant, leave them out"
        return BoxUnits(bool(fractions), (f"{name}: all coordinates of its {noun} {taken if fractions else kept}",))
    if not fractions:
        return BoxUnits()
    where, edges = fractions[0]
    first = f"{len(fractions)} of {len(numbers)} {noun} lie in 0..1 (the first: {where}, ({_listed(edges)}))"
    if 2 * len(fractions) >= len(numbers):
        where, edges = next(pair for pair, fits in zip(numbers, small, strict=True) if not fits)
        raise DataError(
            f"{name}: {first}, others do not (the first: {where}, ({_listed(edges)})); write all in pixels, or all as "
            "fractions of the photo's width and height"
        )
    return BoxUnits(False, (f"{name}: {first}, the others are in pixels; their images are not scored",))


def fraction_box(edges: Sequence[object]) -> Box | str:
    """Return a normalized box, cut off at 0 and 1 if it exceeds them by rounding, or why it is not allowed."""
    if not all(map(is_number, edges)):
        return f"box ({_listed(edges)}) is not four finite numbers"
    x0, y0, x1, y1 = (float(edge) for edge in edges)  # type: ignore[arg-type]
    if x1 <= x0 or y1 <= y0:
        return f"box ({_listed(edges)}) has no area (corners, not center and size)"
    if not _is_small(edges):
        return f"box ({_listed(edges)}), in fractions, {OUTSIDE}"
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else f"box ({_listed(edges)}) has no area inside the photo"


def pixel_box(box: Box, size: tuple[int, int]) -> Box:
    """Return a normalized box in pixels of a photo of this height and width."""
    height, width = size
    x0, y0, x1, y1 = box
    return (
        round(x0 * width, _DECIMALS),
        round(y0 * height, _DECIMALS),
        round(x1 * width, _DECIMALS),
        round(y1 * height, _DECIMALS),
    )


def in_pixels(entry: Entry, size: tuple[int, int]) -> Entry:
    """Return an entry with its boxes in pixels of a photo of this height and width."""
    if not entry.normalized:
        return entry
    boxes = tuple(pixel_box(box, size) for box in entry.boxes)
    ignored = tuple(pixel_box(box, size) for box in entry.ignore.boxes)
    return replace(entry, boxes=boxes, ignore=replace(entry.ignore, boxes=ignored), normalized=False)


def _is_small(edges: Sequence[object]) -> bool:
    return all(is_number(edge) and -SLACK <= edge <= 1 + SLACK for edge in edges)  # type: ignore[operator]


def _is_fraction(edges: Sequence[object]) -> bool:
    return _is_small(edges) and any(edge not in (0, 1) for edge in edges)


def _listed(edges: Sequence[object]) -> str:
    return ", ".join(f"{edge:g}" if isinstance(edge, int | float) else str(edge)[:20] for edge in edges)
