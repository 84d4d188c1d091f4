"""Boxes of the pixels above each threshold, as the WSOL evaluation finds them: contours of OpenCV on 8-bit maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
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
    found = {}
    for level in sorted({int(threshold * gray.max()) for threshold in THRESHOLDS}):
        contours = _contours((gray > level).astype(np.uint8), least_area)
        corners = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, contours)]
        boxes = np.minimum(np.array(corners, dtype=np.float64).reshape(-1, 4), [*last, *last])
        boxes.setflags(write=False)
        found[level] = boxes, int(np.argmax([*map(cv2.contourArea, contours), -1.0]))
    return found


def _contours(above: NDArray[np.uint8], least_area: float) -> Sequence[Contour]:
    """Return the contours of the pixels above a threshold, without specks and holes whose box is too small.

    The contour with the largest area is among them, unless its own box is too small.
    """
    import cv2

    if least_area <= 0 or np.count_nonzero(above[:, 1:] != above[:, :-1]) < _SPECKLED * sum(above.shape):
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


def _followed(mask: NDArray[np.uint8]) -> Sequence[Contour]:
    import cv2

    return cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]


def _components(mask: NDArray[np.uint8], connectivity: int) -> tuple[NDArray[np.int32], Sides, Sides, Flags]:
    """Return labels, each component's width and height, and whether it touches the border of the image."""
    import cv2

    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    left, top, width, height = statistics[:, :4].T
    touches = (left == 0) | (top == 0) | (left + width == mask.shape[1]) | (top + height == mask.shape[0])
    return np.asarray(labels), width, height, touches


def _without_small_holes(mask: NDArray[np.uint8], least_area: float) -> NDArray[np.uint8]:
    """Fill holes whose contour has too small a box; other contours do not change."""
    labels, width, height, touches = _components(1 - mask, connectivity=4)
    filled = ~touches & ((width + 3) * (height + 3) < least_area)
    filled[0] = True  # what is no hole
    return filled[labels].astype(np.uint8)
