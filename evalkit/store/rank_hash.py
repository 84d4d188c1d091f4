"""A 64-bit hash of a saliency map that ignores small changes of its values and shows large ones."""

from __future__ import annotations

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
    edges = [np.rint(np.linspace(0, side, _SIDE + 1)).astype(np.int64) for side in saliency_map.shape]
    scale = float(np.abs(saliency_map).max()) or 1.0  # sums of the largest floats must not overflow
    sums = np.add.reduceat(saliency_map.astype(np.float64) / scale, edges[0][:-1], axis=0)
    sums = np.add.reduceat(sums, edges[1][:-1], axis=1)
    return np.asarray((sums / np.outer(np.diff(edges[0]), np.diff(edges[1]))).ravel())
