"""Colors of saliency maps: the kind of a map (ordinary, signed, constant, not finite), and its color scale.

Dark is near zero and bright is large; warm colors count for the class and blue against it, and equal amounts have equal
lightness, so that the order is visible without color. Values that are not finite are hatched.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scale", "colored", "peak_of", "scale_of"]

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

_WARM = "inferno"  # perceptually uniform: its lightness grows steadily
_COLD = ((0, 0, 0), (18, 38, 112), (28, 108, 196), (112, 196, 240), (226, 250, 255))  # stops, RGB
_STRENGTH = 0.6  # of the color over the gray photo
_SHADE = 0.85  # of the gray photo, so that white in it does not look like a high value
_HATCH_PX = 12
_HATCH_LIGHT, _HATCH_DARK = 150.0, 90.0


@dataclass(frozen=True)
class Scale:
    """The color scale of one map.

    Attributes:
        kind: ``plain`` (nothing below zero), ``signed``, ``constant``, or ``empty`` (no finite value).
        low: value of the first color.
        high: value of the last color.
        note: what is unusual about the map; empty if nothing is.
    """

    kind: Literal["plain", "signed", "constant", "empty"]
    low: float
    high: float
    note: str

    def position(self, values: NDArray[np.floating]) -> Floats:
        """Return the positions of values on the scale, 0..1."""
        width = self.high - self.low
        return np.asarray(np.clip((values - self.low) / width, 0.0, 1.0) if width > 0 else np.full(values.shape, 0.5))


def scale_of(saliency_map: NDArray[np.floating]) -> Scale:
    """Return the color scale of a map.

    A map with negative values has a scale symmetric about zero; any other, from its smallest to its largest value.

    Args:
        saliency_map: float (H, W), higher = more important; may hold NaN.
    """
    finite = saliency_map[np.isfinite(saliency_map)].astype(np.float64)
    if not finite.size:
        return Scale("empty", 0.0, 0.0, "no value is finite")
    broken = 1 - finite.size / saliency_map.size
    notes = [f"{_percent(broken)} of the values are not finite (hatched)"] if broken else []
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return Scale("constant", low, high, "; ".join([f"constant: {low:.3g} everywhere", *notes]))
    if low >= 0:
        return Scale("plain", low, high, "; ".join(notes))
    if high <= 0:
        notes.insert(0, "no value is above zero: no pixel counts for this class")
    reach = max(-low, high)
    return Scale("signed", -reach, reach, "; ".join(notes))


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def peak_of(saliency_map: NDArray[np.floating]) -> tuple[int, int] | None:
    """Return row and column of the largest value; None if no value is finite or all are equal.

    Of several equal values it is the one nearest to their center, e.g. the middle of an occlusion patch.
    """
    finite = np.isfinite(saliency_map)
    values = saliency_map[finite]
    if not values.size or values.min() == values.max():
        return None
    maxima = np.argwhere(finite & (saliency_map == values.max()))
    nearest = ((maxima - maxima.mean(axis=0)) ** 2).sum(axis=1).argmin()
    return int(maxima[nearest, 0]), int(maxima[nearest, 1])


def colored(values: NDArray[np.floating], scale: Scale, under: NDArray[np.floating] | float = 128.0) -> Picture:
    """Draw values over a gray photo.

    Args:
        values: float (H, W), at the photo's size.
        scale: the color scale of the whole map.
        under: luminance of the photo (H, W) in 0..255, or one gray.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    gray = np.broadcast_to(np.asarray(under, dtype=np.float64) * _SHADE, values.shape)[..., None]
    finite = np.isfinite(values)
    if scale.kind in ("constant", "empty"):
        painted = np.repeat(gray, 3, axis=2)
    else:
        index = np.rint(scale.position(np.where(finite, values, scale.low)) * 255).astype(np.intp)
        painted = _STRENGTH * _table(scale.kind)[index] + (1 - _STRENGTH) * gray
    painted = np.where(finite[..., None], painted, _hatch(values.shape)[..., None])
    return np.asarray(np.rint(painted), dtype=np.uint8)


def _hatch(size: tuple[int, ...]) -> Floats:
    """Return diagonal stripes of two grays, (H, W)."""
    rows, columns = np.indices(size)
    return np.where((rows + columns) // (_HATCH_PX // 2) % 2, _HATCH_LIGHT, _HATCH_DARK)


@cache
def _table(kind: str) -> Floats:
    """Return the colors of a kind of map, float64 (256, 3) in 0..255; those of a signed map begin with blue."""
    import matplotlib as mpl

    warm = np.asarray(mpl.colormaps[_WARM](np.arange(256))[:, :3] * 255.0)
    if kind != "signed":
        return warm
    position = np.linspace(-1.0, 1.0, 256)
    distance = np.abs(position) * 255
    halves = [
        [np.interp(distance, np.arange(256), colors[:, channel]) for channel in range(3)]
        for colors in (warm, _cold(warm))
    ]
    return np.where(position[:, None] >= 0, np.transpose(halves[0]), np.transpose(halves[1]))


def _cold(warm: Floats) -> Floats:
    """Return blues, float64 (256, 3), each with the lightness of the warm color of the same rank."""
    fine = np.linspace(0, len(_COLD) - 1, 2048)
    blues = np.stack([np.interp(fine, np.arange(len(_COLD)), channel) for channel in np.transpose(_COLD)], axis=1)
    light = _lightness(blues)
    return np.stack([np.interp(_lightness(warm), light, channel) for channel in blues.T], axis=1)


def _lightness(colors: Floats) -> Floats:
    """Return CIE L*, (N,) in 0..100, of RGB (N, 3) in 0..255."""
    import cv2

    return np.asarray(
        cv2.cvtColor((colors[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0, :, 0], dtype=np.float64
    )
