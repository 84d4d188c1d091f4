"""Rasterization of boxes: the pixels inside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["rasterize"]


def rasterize(boxes: NDArray[np.float64], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels whose centers lie in a box.

    Args:
        boxes: float64 (K, 4), x0, y0, x1, y1 in pixels, half-open: pixel (r, c) is inside if x0 <= c + 0.5 < x1 and
            y0 <= r + 0.5 < y1.
        size: height and width in pixels.

    Returns:
        bool (height, width), the union of the boxes.
    """
    region = np.zeros(size, dtype=np.bool_)
    # The first center at or after an edge e is that of pixel ceil(e - 0.5), for both edges.
    first = np.maximum(np.ceil(boxes - 0.5), 0).astype(np.int64)
    for x0, y0, x1, y1 in first:
        region[y0:y1, x0:x1] = True
    return region
