"""Boxes of the pixels above each threshold, as the WSOL evaluation finds them: contours of OpenCV on 8-bit maps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.levels import is_constant

__all__ = ["THRESHOLDS", "boxes_at", "quantized"]

Map = NDArray[np.floating]
Sides = NDArray[np.integer]
Flags = NDArray[np.bool_]
Contour = Any
THRESHOLDS = np.arange(100) / 100
_SPECKLED = 4  # changes from pixel to pixel, as often as the sides are long, that make a map noise


def quantized(saliency_map: Map) -> NDArray[np.uint8]:
    """Return a map scaled to 0..255 and cut to 8 bits."""
    values = np.asarray(saliency_map, dtype=np.float64)
    return np.asarray(255 * ((values - values.min()) / (values.max() - values.min())), dtype=np.uint8)


def boxes_at(
    saliency_map: Map, *, largest_only: bool, least_area: float = 0.0, ignore: Flags | None = None
) -> Iterator[NDArray[np.float64]]:
    """Yield the boxes of the pixels above each threshold 0, 0.01 ... 0.99 of the maximum.

    Args:
        saliency_map: finite float (H, W). A constant map has one box, the whole image, because its pixels are equal.
        largest_only: whether to yield only the box of the contour with the largest area.
        least_area: boxes with a smaller area, both ends counted, may be left out; for pixel noise, nearly all are.
        ignore: bool (H, W), pixels that exceed no threshold and do not affect the scaling of the map; a constant map
            has the box around all other pixels.

    Yields:
        float64 (K, 4), x0, y0, x0 + width, y0 + height; K may be 0.
    """
    counted = np.ones(saliency_map.shape, dtype=np.bool_) if ignore is None else ~ignore
    if is_constant(saliency_map[counted]):
        yield from [_box_around(counted)] * len(THRESHOLDS)
        return
    gray = np.zeros(saliency_map.shape, dtype=np.uint8)
    gray[counted] = quantized(saliency_map[counted])
    boxes = _boxes_of(gray.tobytes(), gray.shape, least_area)
    for threshold in THRESHOLDS:
        found, largest = boxes[int(threshold * gray.max())]
        yield found[largest : largest + 1] if largest_only else found


def _box_around(pixels: Flags) -> NDArray[np.float64]:
    """Return the box around pixels in the convention of contours: it ends one pixel late, but inside the image."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    last_row, last_column = min(rows[-1] + 1, pixels.shape[0] - 1), min(columns[-1] + 1, pixels.shape[1] - 1)
    return np.array([[columns[0], rows[0], last_column, last_row]], dtype=np.float64)


# MaxBoxAccV1 and V2 score the same map one after the other; finding its contours is most of their work.
@lru_cache(maxsize=1)
def _boxes_of(data: bytes, shape: tuple[int, int], least_area: float) -> Mapping[int, tuple[NDArray[np.float64], int]]:
    """Return, for every gray level of a threshold, the boxes of the pixels above it and the index of the largest.

    The index is past the end if the box of the largest contour was left out.
    """
    import cv2

    gray = np.frombuffer(data, dtype=np.uint8).reshape(shape)
    last = [shape[1] - 1, shape[0] - 1]  # the code clips boxes to the last pixel
    noise = _Noise(gray, least_area)
    n_below = np.cumsum(np.bincount(gray.ravel(), minlength=256)).tolist()
    of_pixels: dict[int, tuple[NDArray[np.float64], int]] = {}  # by the number of pixels: equal numbers are equal sets
    found = {}
    for level in sorted({int(threshold * gray.max()) for threshold in THRESHOLDS}):
        if n_below[level] not in of_pixels:
            contours = noise.contours(level)
            corners = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, contours)]
            boxes = np.minimum(np.array(corners, dtype=np.float64).reshape(-1, 4), [*last, *last])
            boxes.setflags(write=False)
            of_pixels[n_below[level]] = boxes, int(np.argmax([*map(cv2.contourArea, contours), -1.0]))
        found[level] = of_pixels[n_below[level]]
    return found


@dataclass(frozen=True, eq=False)
class _Noise:
    """A map of which most levels may be specks and holes whose boxes are too small.

    The higher the level, the smaller are the connected parts of the pixels above it, and the larger those of the
    others. So two levels, found by bisection, tell where all parts above, and all holes, are too small.

    Attributes:
        gray: the map, uint8 (H, W).
        least_area: contours whose box is smaller may be left out, except the one with the largest area.
    """

    gray: NDArray[np.uint8]
    least_area: float

    def contours(self, level: int) -> Sequence[Contour]:
        """Return the contours of the pixels above a level, as ``_contours``."""
        above = (self.gray > level).astype(np.uint8)
        if not _is_speckled(above, self.least_area) or self.first_hole <= level < self.first_specks:
            return _contours(above, self.least_area)
        return _followed(above, holes=False) if level < self.first_specks else []

    @cached_property
    def first_specks(self) -> int:
        """The lowest level above which all parts are too small."""
        return bisect_left(range(256), True, key=lambda level: not self._has_large(self.gray > level, 8, 1))

    @cached_property
    def first_hole(self) -> int:
        """The lowest level at which a hole may be large enough."""
        return bisect_left(range(256), True, key=lambda level: self._has_large(self.gray <= level, 4, 3))

    def _has_large(self, mask: Flags, connectivity: int, margin: int) -> bool:
        _, width, height, _ = _components(mask.astype(np.uint8), connectivity)
        return bool(((width[1:] + margin) * (height[1:] + margin) >= self.least_area).any())


def _is_speckled(above: NDArray[np.uint8], least_area: float) -> bool:
    changes = np.count_nonzero(above[:, 1:] != above[:, :-1])
    return least_area > 0 and bool(changes >= _SPECKLED * sum(above.shape))


def _contours(above: NDArray[np.uint8], least_area: float) -> Sequence[Contour]:
    """Return the contours of the pixels above a threshold, without specks and holes whose box is too small.

    The contour with the largest area is among them, unless its own box is too small.
    """
    import cv2

    if not _is_speckled(above, least_area):
        return _followed(above)
    labels, width, height, _ = _components(above, connectivity=8)
    kept = (width + 1) * (height + 1) >= least_area  # a box ends one pixel late
    kept[0] = False  # what is not above
    if not kept.any():
        return []
    contours = _followed(_without_small_holes(kept[labels].astype(np.uint8), least_area))
    most = max(map(cv2.contourArea, contours))
    rivals = ~kept & ((width - 1) * (height - 1) >= most)
    rivals[0] = False
    if not rivals.any():
        return contours
    return _followed(_without_small_holes((kept | rivals)[labels].astype(np.uint8), least_area))


def _followed(mask: NDArray[np.uint8], *, holes: bool = True) -> Sequence[Contour]:
    import cv2

    return cv2.findContours(mask, cv2.RETR_TREE if holes else cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]


def _components(mask: NDArray[np.uint8], connectivity: int) -> tuple[NDArray[np.integer], Sides, Sides, Flags]:
    """Return labels, each component's width and height, and whether it touches the border of the image."""
    import cv2

    # Counting is two to seven times as fast in 16 bits, where the parts, at most every other pixel, fit into them.
    labels_in = cv2.CV_16U if mask.size < 1 << 17 else cv2.CV_32S
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity, ltype=labels_in)
    left, top, width, height = statistics[:, :4].T
    touches = (left == 0) | (top == 0) | (left + width == mask.shape[1]) | (top + height == mask.shape[0])
    return np.asarray(labels), width, height, touches


def _without_small_holes(mask: NDArray[np.uint8], least_area: float) -> NDArray[np.uint8]:
    """Fill holes whose contour has too small a box; other contours do not change."""
    labels, width, height, touches = _components(1 - mask, connectivity=4)
    filled = ~touches & ((width + 3) * (height + 3) < least_area)
    filled[0] = True  # what is no hole
    return np.asarray(filled[labels], dtype=np.uint8)
