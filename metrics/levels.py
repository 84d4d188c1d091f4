"""Tied pixels: which pixels of a map are equal, and where a ranking may be cut.

Any order among equal pixels would be arbitrary, so pixels of equal value form one level and are treated alike.
A level ends at the first value that is further from the level's highest value than the tolerance. The tolerance is
relative to that value, not to the map's maximum: in maps with heavy tails many values differ by less than a millionth
of the maximum, and each is still known to seven digits. The evidence is in docs/metrics.md, "Levels".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FLOOR",
    "TOLERANCE",
    "Ties",
    "cuts",
    "is_constant",
    "level_ranks",
    "raster_ranks",
    "scaled",
    "tied_ranks",
    "top_level",
]

Ties = Literal["levels", "raster"]

TOLERANCE = 1e-6
"""Largest difference to the level's highest value, as a share of that value: the rounding of float32 sums."""

FLOOR = 1e-14
"""Magnitudes below this share of the map's largest one count as 0: float64 terms that cancel leave such residues."""

Map = NDArray[np.floating]


def level_ranks(saliency_map: Map) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank pixels by level, most relevant first.

    Args:
        saliency_map: finite float (H, W), or some of its pixels, (N,).

    Returns:
        rank: int64 of the same shape, read-only, the number of pixels in strictly higher levels.
        boundaries: int64 (L + 1,), read-only, the numbers of pixels in the L highest levels, from 0 to H * W.
    """
    values = np.asarray(saliency_map, dtype=np.float64)
    rank, boundaries = _level_ranks(values.tobytes())
    return rank.reshape(values.shape), boundaries


# A dozen metrics rank the same map, those with requests before the other maps of the photo and all of them after these;
# meanwhile the maps of the next photo are ranked.
@lru_cache(maxsize=32)
def _level_ranks(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    values = np.frombuffer(data, dtype=np.float64)
    order = np.argsort(-values, kind="stable")  # twice as fast where values run on, as in most maps
    ordered = values[order]
    begins = _level_begins(ordered)
    starts = np.flatnonzero(begins)
    rank = np.empty(values.size, dtype=np.int64)
    rank[order] = starts[np.cumsum(begins) - 1]
    boundaries = np.concatenate([starts, [values.size]]).astype(np.int64)
    for array in (rank, boundaries):
        array.setflags(write=False)
    return rank, boundaries


def _level_begins(descending: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a level begins, bool (N,), for N values in descending order."""
    magnitudes = np.abs(descending)
    values = np.where(magnitudes < FLOOR * magnitudes.max(initial=0.0), 0.0, descending)
    # The lower ends descend like the values, so a value below its neighbor's lower end begins a level in any case.
    lower_ends = values - TOLERANCE * np.abs(values)
    begins = np.concatenate([[True], values[1:] < lower_ends[:-1]])
    starts = np.flatnonzero(begins)
    sizes = np.diff(starts, append=values.size)
    # Only a run of close values that spans more than the tolerance has further levels: they follow from its first.
    is_wide = values[starts + sizes - 1] < lower_ends[starts]
    if is_wide.any():
        inside = np.flatnonzero(np.repeat(is_wide, sizes))
        next_start = np.searchsorted(-values[inside], -lower_ends[inside], side="right").tolist()
        found, position = [], 0
        while position < inside.size:
            found.append(position)
            position = next_start[position]
        begins[inside[found]] = True
    return begins


def tied_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank a few numbers, the largest first: those of one level share their mean rank.

    Args:
        values: float64 (N,), finite.

    Returns:
        float64 (N,), from 0.
    """
    # Not by the cached function: that keeps the map, which other metrics still need.
    rank, boundaries = _level_ranks.__wrapped__(values.tobytes())
    sizes = np.diff(boundaries)
    return np.asarray(rank + (sizes[np.searchsorted(boundaries, rank)] - 1) / 2)


def raster_ranks(saliency_map: Map) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank pixels one by one, equal ones in raster order, as torch-cam's stable sort does; see ``level_ranks``."""
    values = np.asarray(saliency_map, dtype=np.float64).ravel()
    order = np.argsort(-values, kind="stable")
    rank = np.empty(values.size, dtype=np.int64)
    rank[order] = np.arange(values.size)
    return rank.reshape(saliency_map.shape), np.arange(values.size + 1, dtype=np.int64)


def cuts(boundaries: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """Return the boundaries nearest to 0/steps, 1/steps ... of the pixels; the lower one of two equally near.

    Args:
        boundaries: int64, ascending from 0 to the number of pixels.
        steps: number of steps, at least 1.

    Returns:
        int64, strictly ascending, from 0 to the number of pixels.
    """
    # In units of 1/steps pixel all numbers are whole, so that "equally near" is exact.
    wanted = np.arange(steps + 1) * boundaries[-1]
    fine = boundaries * steps
    above = np.searchsorted(fine, wanted)
    below = np.maximum(above - 1, 0)
    nearest = np.where(wanted - fine[below] <= fine[above] - wanted, below, above)
    return np.unique(boundaries[nearest])


def is_constant(saliency_map: Map) -> bool:
    """Tell whether all pixels form one level."""
    return bool(level_ranks(saliency_map)[1].size == 2)


def top_level(saliency_map: Map) -> NDArray[np.bool_]:
    """Return the tied maxima, bool (H, W)."""
    return np.asarray(level_ranks(saliency_map)[0] == 0)


def scaled(saliency_map: Map) -> NDArray[np.float64]:
    """Return the map scaled to 0..1 by its minimum and maximum; 0.5 everywhere if it is constant."""
    values = np.asarray(saliency_map, dtype=np.float64)
    if is_constant(values):
        return np.full(values.shape, 0.5)
    return np.asarray((values - values.min()) / (values.max() - values.min()))
