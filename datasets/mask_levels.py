"""Which pixels of a mask belong to the object: every value above zero, or from half of the scale on.

A mask of labels has flat areas: each of its values fills some square of 3 x 3 pixels. In a mask with soft edges, and in
one that was a JPEG once, the values between black and white change from pixel to pixel: on disks, polygons and
rectangles at JPEG quality 10 to 100, WebP, blur, and bilinear resizing, at most a fifth of them filled such a square;
in masks of instances, class ids and trimaps, all of them did. A cut-out (the photo itself on black) has no flat areas
either, but 0.7 to 1.0 of its pixels above zero were between black and white; of those masks, at most 0.6.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ImageError

__all__ = ["MaskKind", "object_pixels"]

MaskKind = Literal["", "labels", "soft"]
"""How a mask was read: it has one value besides zero (empty), several labels, or gray levels thresholded at half."""

_FLAT_LABELS = 0.5  # of the values below half
_NEAR_BLACK = 0.1  # of the scale; noise of a JPEG can fill whole blocks here
_CUT_OUT, _CUT_OUT_PIXELS = 0.6, 1000  # share of grays in the pixels above zero, and the fewest of these
_NEAR_WHITE = 0.9  # of the largest value
_SMALLEST_SIDE = 16  # pixels; smaller masks hold too few squares to tell
_AMBIGUOUS = 0.05  # of the pixels above zero

_LOSSY_COLORS = (
    "the mask is lossy, zeros do not stay zero, and it has many grays or colors; save it as PNG with 0 and 255"
)

Values = NDArray[Any]


def object_pixels(values: Values, *, lossy: bool = False, labels: bool = False) -> tuple[NDArray[np.bool_], MaskKind]:
    """Return the object's pixels, and how the mask was read.

    Only values between zero and half of the scale are in doubt. The scale is 255; 65535 if a value is greater; 1 for
    fractions. Where no value reaches half of it, and in masks under 16 pixels high or wide, all are labels. Of a
    cut-out, every value above zero belongs to the object.

    Args:
        values: one number a pixel, (H, W).
        lossy: whether the file's format is lossy, so that zeros do not stay zero.
        labels: whether the values are known to be labels.

    Raises:
        ImageError: the mask is lossy and nothing in it reaches half of the scale, or it has labels or is a cut-out; or
            values change as at a soft edge, but large flat areas are below half too.
    """
    nonzero = np.asarray(values != 0, dtype=np.bool_)
    scale = _scale(values)
    if labels and lossy:
        raise ImageError(_LOSSY_COLORS)
    if labels or scale is None:
        return nonzero, ""
    upper = np.asarray(values >= scale / 2, dtype=np.bool_)
    if lossy and not upper.any() and nonzero.any():
        raise ImageError(
            "the mask's format is lossy, zeros do not stay zero, and no value reaches half of white; save it as PNG"
        )
    doubtful = nonzero & ~upper
    if not doubtful.any():
        return nonzero, "soft" if lossy else ""
    flat = _flat(values)
    levels = np.unique(values[doubtful])
    flat_levels = np.unique(values[doubtful & flat])
    untold = not upper.any() or min(values.shape) < _SMALLEST_SIDE
    if not lossy and (untold or len(flat_levels) >= _FLAT_LABELS * len(levels)):
        return nonzero, "labels" if upper.any() or len(levels) > 1 else ""
    if _is_cut_out(values, scale):
        if lossy:
            raise ImageError(_LOSSY_COLORS)
        return nonzero, "labels"
    between = np.asarray(doubtful & flat & (values > _NEAR_BLACK * scale), dtype=np.bool_)
    if between.sum() > _AMBIGUOUS * nonzero.sum():
        raise ImageError(
            "the mask's gray values are ambiguous: its edges are soft, but areas darker than half of white are flat; "
            "save it with 0 and 255 only"
        )
    return upper, "soft"


def _is_cut_out(values: Values, scale: float) -> bool:
    above = values[values > 0]
    grays = (above > _NEAR_BLACK * scale) & (above < _NEAR_WHITE * float(above.max()))
    return bool(above.size >= _CUT_OUT_PIXELS and grays.mean() > _CUT_OUT)


def _scale(values: Values) -> float | None:
    """Return the value of white; None if the values have none, as labels beyond 16 bits."""
    if values.dtype == np.bool_ or not np.isfinite(values).all():
        return None
    lowest, highest = float(values.min()), float(values.max())
    if lowest < 0 or highest > 65535:
        return None
    if highest > 255:
        return 65535.0
    return 1.0 if highest <= 1 and np.issubdtype(values.dtype, np.floating) else 255.0


def _flat(values: Values) -> NDArray[np.bool_]:
    """Return the pixels that are equal to their eight neighbors; the border repeats outside."""
    padded = np.pad(values, 1, mode="edge")
    middle = padded[:, 1:-1]
    across = (padded[:, :-2] == middle) & (middle == padded[:, 2:])
    down = (middle[:-2] == middle[1:-1]) & (middle[1:-1] == middle[2:])
    return np.asarray(across[:-2] & across[1:-1] & across[2:] & down, dtype=np.bool_)
