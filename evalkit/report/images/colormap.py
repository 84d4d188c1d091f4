"""A saliency map's values to colors: what a map is (ordinary, signed, constant, broken), and its scale.

One language for all maps: dark is little, bright is much; warm speaks for the class, blue against it, and equal
amounts are equally light. So order survives color blindness and gray printing. What is not a number is hatched.
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

_WARM = "inferno"  # perceptually even: its lightness grows steadily
_COLD = ((0, 0, 0), (18, 38, 112), (28, 108, 196), (112, 196, 240), (226, 250, 255))  # stops, RGB
_STRENGTH = 0.6  # of the color over the gray photo
_SHADE = 0.85  # of the gray photo, so that white in it is never taken for a high value
_HATCH_PX = 12
_HATCH_LIGHT, _HATCH_DARK = 150.0, 90.0


@dataclass(frozen=True)
class Scale:
    """How the values of one map are drawn.

    Attributes:
        kind: ``plain`` (nothing below zero), ``signed``, ``constant``, or ``empty`` (no finite value).
        low: the value of the first color.
        high: the value of the last color.
        note: what a reader has to know of this map, in words; empty for an ordinary one.
    """

    kind: Literal["plain", "signed", "constant", "empty"]
    low: float
    high: float
    note: str

    def position(self, values: NDArray[np.floating]) -> Floats:
        """Return where values lie on the scale, 0..1."""
        width = self.high - self.low
        return np.asarray(np.clip((values - self.low) / width, 0.0, 1.0) if width > 0 else np.full(values.shape, 0.5))


def scale_of(saliency_map: NDArray[np.floating]) -> Scale:
    """Say what kind of map this is, and between which values it is drawn.

    A map with values on both sides of zero, or on the negative side only, is drawn about zero; any other between its
    own smallest and largest value.

    Args:
        saliency_map: float (H, W), higher = more important; may hold NaN.
    """
    finite = saliency_map[np.isfinite(saliency_map)].astype(np.float64)
    if not finite.size:
        return Scale("empty", 0.0, 0.0, "not one value is a number")
    broken = 1 - finite.size / saliency_map.size
    notes = [f"{_percent(broken)} of the pixels are not numbers (hatched)"] if broken else []
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return Scale("constant", low, high, "; ".join([f"constant: {low:.3g} everywhere", *notes]))
    if low >= 0:
        return Scale("plain", low, high, "; ".join(notes))
    if high <= 0:
        notes.insert(0, "nothing is above zero: no pixel speaks for this class")
    reach = max(-low, high)
    return Scale("signed", -reach, reach, "; ".join(notes))


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def peak_of(saliency_map: NDArray[np.floating]) -> tuple[int, int] | None:
    """Return row and column of the largest value; None where there is none or all are equal.

    Of several equal ones it is the one nearest to their middle: a patch of occlusion is marked in its middle.
    """
    finite = np.isfinite(saliency_map)
    values = saliency_map[finite]
    if not values.size or values.min() == values.max():
        return None
    places = np.argwhere(finite & (saliency_map == values.max()))
    nearest = ((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()
    return int(places[nearest, 0]), int(places[nearest, 1])


def colored(values: NDArray[np.floating], scale: Scale, under: NDArray[np.floating] | float = 128.0) -> Picture:
    """Draw values over a gray photo.

    Args:
        values: float (H, W), on the photo's grid.
        scale: of the whole map.
        under: the photo's luminance (H, W) in 0..255, or one shade.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    gray = np.broadcast_to(np.asarray(under, dtype=np.float64) * _SHADE, values.shape)[..., None]
    finite = np.isfinite(values)
    if scale.kind in ("constant", "empty"):
        painted = np.repeat(gray, 3, axis=2)
    else:
        at = np.rint(scale.position(np.where(finite, values, scale.low)) * 255).astype(np.intp)
        painted = _STRENGTH * _table(scale.kind)[at] + (1 - _STRENGTH) * gray
    painted = np.where(finite[..., None], painted, _hatch(values.shape)[..., None])
    return np.asarray(np.rint(painted), dtype=np.uint8)


def _hatch(size: tuple[int, ...]) -> Floats:
    """Return diagonal stripes of two grays, (H, W)."""
    rows, columns = np.indices(size)
    return np.where((rows + columns) // (_HATCH_PX // 2) % 2, _HATCH_LIGHT, _HATCH_DARK)


@cache
def _table(kind: str) -> Floats:
    """Return the colors of a kind of map, float64 (256, 3) in 0..255; a signed one's begin at the coldest."""
    import matplotlib as mpl

    warm = np.asarray(mpl.colormaps[_WARM](np.arange(256))[:, :3] * 255.0)
    if kind != "signed":
        return warm
    at = np.linspace(-1.0, 1.0, 256)
    place = np.abs(at) * 255
    halves = [
        [np.interp(place, np.arange(256), one[:, channel]) for channel in range(3)] for one in (warm, _cold(warm))
    ]
    return np.where(at[:, None] >= 0, np.transpose(halves[0]), np.transpose(halves[1]))


def _cold(warm: Floats) -> Floats:
    """Return blues, float64 (256, 3), each as light as the warm color of the same rank."""
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
