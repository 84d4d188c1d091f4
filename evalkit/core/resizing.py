"""Resizing of pixels by Pillow's antialiased bilinear filter, each channel on its own."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["resized"]

P = TypeVar("P", bound=NDArray[Any])

Box = tuple[float, float, float, float]


def resized(pixels: P, size: tuple[int, int], box: Box | None = None) -> P:
    """Return resized pixels.

    Args:
        pixels: uint8 or float32 (H, W, C).
        size: height and width of the result.
        box: left, top, right and bottom of the part that is resized, in pixels; None = all.

    Returns:
        (height, width, C) of the same dtype.
    """
    from PIL import Image

    def plane(values: NDArray[Any]) -> NDArray[Any]:
        image = Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
        return np.array(image, dtype=pixels.dtype)

    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return plane(pixels)  # type: ignore[return-value]
    # One by one: Pillow has no floats of several channels, and weights the colors of RGBA by alpha.
    channels = [plane(np.ascontiguousarray(pixels[..., channel])) for channel in range(pixels.shape[2])]
    return np.stack(channels, axis=2)  # type: ignore[return-value]
