"""A 64-bit hash of a saliency map that ignores small changes of its values and shows large ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["HASH_BITS", "differing_bits", "rank_hash"]

HASH_BITS = 64
_SIDE = 8
_APART = 0.02  # of the range of the cells; closer ones are not ordered, so that rounding changes no bit

# Each cell is compared with another; 29 is odd, so each is once on either side and no pair occurs in both orders.
_FIRST = np.arange(HASH_BITS)
_SECOND = (29 * _FIRST + 17) % HASH_BITS


def rank_hash(saliency_map: NDArray[np.floating]) -> str | None:
    """Return 16 hexadecimal digits that encode the order of 64 pairs of the map's 8 x 8 cells.

    A bit is set if the mean of the pair's first cell exceeds the second's by more than 2 % of the range of all cells.
    Scaling a map or adding a constant changes nothing. The fraction of bits that differ between two maps is about the
    fraction of pairs that they order in opposite ways.

    >>> rank_hash(np.zeros((16, 16)))
    '0000000000000000'

    Args:
        saliency_map: float (H, W).

    Returns:
        None if the map is not finite, or smaller than 8 x 8.
    """
    height, width = saliency_map.shape
    if min(height, width) < _SIDE or not np.isfinite(saliency_map).all():
        return None
    cells = _cell_means(saliency_map)
    bits = cells[_FIRST] - cells[_SECOND] > _APART * float(np.ptp(cells))
    return np.packbits(bits).tobytes().hex()


def differing_bits(first: str, second: str) -> int:
    """Return the number of the 64 bits that differ.

    >>> differing_bits("0000000000000003", "0000000000000001")
    1
    """
    return (int(first, 16) ^ int(second, 16)).bit_count()


def _cell_means(saliency_map: NDArray[np.floating]) -> NDArray[np.float64]:
    rows, columns = (_edges(side) for side in saliency_map.shape)
    # Sums of the largest floats must not overflow.
    scale = max(float(saliency_map.max()), -float(saliency_map.min())) or 1.0
    scaled = saliency_map.astype(np.float64)
    scaled /= scale
    sums = np.add.reduceat(np.add.reduceat(scaled, rows[:-1], axis=0), columns[:-1], axis=1)
    return np.asarray((sums / np.outer(np.diff(rows), np.diff(columns))).ravel())


@lru_cache(maxsize=8)  # every map of a run has the same size
def _edges(side: int) -> NDArray[np.int64]:
    return np.rint(np.linspace(0, side, _SIDE + 1)).astype(np.int64)
