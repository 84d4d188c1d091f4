"""The shapes in scenes, as tests of points that use only sums, products and comparisons.

A shape has its own coordinates, in which it fits into the circle of radius 1 around 0; v points down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASSES", "DISTRACTORS", "Shape"]

Floats = NDArray[np.float64]
Inside = Callable[[Floats, Floats], NDArray[np.bool_]]


class Shape(NamedTuple):
    """A shape.

    Attributes:
        name: name of the class.
        inside: returns for points (u, v) whether they are inside the shape.
        area: area in units of the radius squared.
    """

    name: str
    inside: Inside
    area: float


def _polygon(*corners: tuple[float, float]) -> Inside:
    """Return the test by even-odd crossings of a ray to the right."""

    def inside(u: Floats, v: Floats) -> NDArray[np.bool_]:
        crossed_odd = np.zeros(u.shape, dtype=np.bool_)
        for (u0, v0), (u1, v1) in zip(corners, (*corners[1:], corners[0]), strict=True):
            if v0 != v1:
                crossed = (v0 > v) != (v1 > v)
                crossed_odd ^= crossed & (u < u0 + (v - v0) * ((u1 - u0) / (v1 - v0)))
        return crossed_odd

    return inside


def _area(corners: Sequence[tuple[float, float]]) -> float:
    rounds = zip(corners, (*corners[1:], corners[0]), strict=True)
    return abs(sum(u0 * v1 - u1 * v0 for (u0, v0), (u1, v1) in rounds)) / 2


def _drawn(name: str, *corners: tuple[float, float]) -> Shape:
    return Shape(name, _polygon(*corners), _area(corners))


def _disc(u: Floats, v: Floats) -> NDArray[np.bool_]:
    return np.asarray(u * u + v * v <= 1.0)


def _ring(u: Floats, v: Floats) -> NDArray[np.bool_]:
    squared = u * u + v * v
    return np.asarray((squared <= 1.0) & (squared >= 0.36))


def _crescent(u: Floats, v: Floats) -> NDArray[np.bool_]:
    shifted = u - 0.5
    return np.asarray((u * u + v * v <= 1.0) & (shifted * shifted + v * v >= 0.64))


def _heart(u: Floats, v: Floats) -> NDArray[np.bool_]:
    x, y = u * 1.25, 0.2 - v * 1.25
    bulge = x * x + y * y - 1.0
    return np.asarray(bulge * bulge * bulge - x * x * y * y * y <= 0.0)


def _lens(u: Floats, v: Floats) -> NDArray[np.bool_]:
    return np.asarray(u * u + 16.0 * v * v <= 1.0)


_STAR = (
    (0.0, -1.0), (0.2351, -0.3236), (0.9511, -0.3090), (0.3804, 0.1236), (0.5878, 0.8090),
    (0.0, 0.4), (-0.5878, 0.8090), (-0.3804, 0.1236), (-0.9511, -0.3090), (-0.2351, -0.3236),
)  # fmt: skip
_CROSS = (
    (-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3),
    (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3),
)  # fmt: skip
_ARROW = (
    (0.0, -1.0), (0.75, -0.15), (0.3, -0.15), (0.3, 0.95), (-0.3, 0.95), (-0.3, -0.15), (-0.75, -0.15),
)  # fmt: skip
_ZIGZAG = (
    (-1.0, -0.05), (-0.5, -0.35), (0.0, 0.05), (0.5, -0.35), (1.0, -0.05),
    (1.0, 0.15), (0.5, -0.15), (0.0, 0.25), (-0.5, -0.15), (-1.0, 0.15),
)  # fmt: skip

CLASSES: tuple[Shape, ...] = (
    _drawn("arrow", *_ARROW),
    Shape("crescent", _crescent, 1.5295),
    _drawn("cross", *_CROSS),
    Shape("disc", _disc, 3.1416),
    Shape("heart", _heart, 2.3446),
    Shape("hourglass", _polygon((-0.75, -0.65), (0.75, -0.65), (-0.75, 0.65), (0.75, 0.65)), 0.975),
    Shape("ring", _ring, 2.0106),
    _drawn("square", (-0.707, -0.707), (0.707, -0.707), (0.707, 0.707), (-0.707, 0.707)),
    _drawn("star", *_STAR),
    _drawn("triangle", (0.0, -1.0), (0.866, 0.5), (-0.866, 0.5)),
)
"""The classes, sorted by name, so that a model whose outputs have this order needs no names."""

DISTRACTORS: tuple[Shape, ...] = (
    _drawn("bar", (-0.98, -0.14), (0.98, -0.14), (0.98, 0.14), (-0.98, 0.14)),
    Shape("lens", _lens, 0.7854),
    _drawn("zigzag", *_ZIGZAG),
    _drawn("hook", (-0.7, -0.7), (-0.45, -0.7), (-0.45, 0.45), (0.7, 0.45), (0.7, 0.7), (-0.7, 0.7)),
)
"""Long, thin shapes that belong to no class."""
