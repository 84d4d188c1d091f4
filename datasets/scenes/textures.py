"""Textures in scenes: values of 0..1 over the image, from sums, products and comparisons of random numbers only.

No result depends on a math library's last digit, so a scene is the same on every platform.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["direction", "fractal_noise", "smoothstep", "texture"]

Floats = NDArray[np.float64]


def direction(rng: np.random.Generator) -> tuple[float, float]:
    """Return a random direction as (cosine, sine), by rejection."""
    while True:
        x, y = (2.0 * rng.random(2) - 1.0).tolist()
        length = x * x + y * y
        if 0.01 < length <= 1.0:
            root = float(np.sqrt(length))
            return x / root, y / root


def smoothstep(values: Floats) -> Floats:
    """Return 0 below 0, 1 above 1, and an S-shaped transition between."""
    inside = np.clip(values, 0.0, 1.0)
    return inside * inside * (3.0 - 2.0 * inside)


def _coordinates(size_px: int) -> tuple[Floats, Floats]:
    """Return pixel centers, 0..1, as a row and a column."""
    centers = (np.arange(size_px) + 0.5) / size_px
    return centers[None, :], centers[:, None]


def _value_noise(rng: np.random.Generator, size_px: int, cells: int) -> Floats:
    """Return random values on a lattice of ``cells`` per side, smoothly interpolated."""
    lattice = rng.random((cells + 1, cells + 1))
    position = (np.arange(size_px) + 0.5) * (cells / size_px)
    low = np.floor(position).astype(np.int64)
    weight = smoothstep(position - low)
    across = lattice[:, low] + (lattice[:, low + 1] - lattice[:, low]) * weight
    return np.asarray(across[low] + (across[low + 1] - across[low]) * weight[:, None])


def fractal_noise(rng: np.random.Generator, size_px: int, finest: int = 64) -> Floats:
    """Return noise whose amplitude falls with its frequency, float64 (size, size), scaled to 0..1."""
    total, cells = np.zeros((size_px, size_px)), 2
    while cells <= finest:
        total = total + _value_noise(rng, size_px, cells) * (2.0 / cells)
        cells *= 2
    low, high = total.min(), total.max()
    return np.asarray((total - low) / (high - low))


def _waves(rng: np.random.Generator, size_px: int) -> Floats:
    """Return a triangle wave of 3 to 14 periods along a random direction."""
    across, down = _coordinates(size_px)
    cosine, sine = direction(rng)
    phase = (across * cosine + down * sine) * (3.0 + 11.0 * rng.random()) + rng.random()
    return np.abs(2.0 * (phase - np.floor(phase)) - 1.0)


def _stripes(rng: np.random.Generator, size_px: int) -> Floats:
    sharpness = 1.0 + 7.0 * rng.random()
    return smoothstep((_waves(rng, size_px) - 0.5) * sharpness + 0.5)


def _checks(rng: np.random.Generator, size_px: int) -> Floats:
    across, down = _coordinates(size_px)
    cosine, sine = direction(rng)
    count = 3.0 + 9.0 * rng.random()
    cells = np.floor((across * cosine + down * sine) * count) + np.floor((down * cosine - across * sine) * count)
    return np.asarray(cells - 2.0 * np.floor(cells / 2.0))


def _gradient(rng: np.random.Generator, size_px: int) -> Floats:
    across, down = _coordinates(size_px)
    cosine, sine = direction(rng)
    return smoothstep(((across - 0.5) * cosine + (down - 0.5) * sine) * 0.9 + 0.5)


def _blotches(rng: np.random.Generator, size_px: int) -> Floats:
    sharpness = 3.0 + 9.0 * rng.random()
    return smoothstep((fractal_noise(rng, size_px, finest=16) - 0.5) * sharpness + 0.5)


_KINDS: tuple[Callable[[np.random.Generator, int], Floats], ...] = (
    fractal_noise,
    _stripes,
    _checks,
    _gradient,
    _blotches,
)


def texture(rng: np.random.Generator, size_px: int) -> Floats:
    """Return one texture of a random kind: 1/f noise, stripes, checks, a gradient or blotches.

    Args:
        rng: random generator.
        size_px: width and height in pixels.

    Returns:
        float64 (size, size) in 0..1.
    """
    return _KINDS[int(rng.integers(len(_KINDS)))](rng, size_px)
