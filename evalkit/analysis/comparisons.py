"""Paired tests between explainers: sign-flip permutation, studentized max-T within one metric.

The unit is the image: under the null hypothesis the two scores of an image can be swapped, so each difference keeps
or flips its sign. One draw of signs is shared by all pairs, and each pair is held against the largest studentized
difference among all pairs (Westfall & Young, 1993), which keeps the family-wise error at 5 %.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALPHA", "Family", "compare_means", "compare_sets", "sign_flips"]

Floats = NDArray[np.float64]
ALPHA = 0.05
_BLOCK = 512


class Family(NamedTuple):
    """All pairs within one metric.

    Attributes:
        pairs: int64 (P, 2), indices of explainers.
        differences: float64 (P,), mean of first minus second.
        p_values: float64 (P,), corrected; 1 where a pair cannot be tested.
        n_images: the fewest images that a tested pair shares.
        smallest_p: the smallest p that can be reached.
    """

    pairs: NDArray[np.int64]
    differences: Floats
    p_values: Floats
    n_images: int
    smallest_p: float


def sign_flips(rng: np.random.Generator, n_images: int, n_flips: int) -> tuple[Floats, bool]:
    """Return sign patterns, float64 (F, n) of +-1, and whether they are all there are.

    The pattern and its mirror image give the same two-sided statistic, so 2^(n - 1) patterns are all.
    """
    if n_images - 1 < 40 and 2 ** (n_images - 1) <= n_flips:
        numbers = np.arange(2 ** (n_images - 1))
        bits = (numbers[:, None] >> np.arange(n_images)) & 1
        return (1 - 2 * bits).astype(np.float64), True
    return (2 * rng.integers(0, 2, (n_flips, n_images)) - 1).astype(np.float64), False


def compare_means(values: Floats, flips: Floats, *, exact: bool) -> Family:
    """Test all pairs of a metric that is a mean over images.

    Args:
        values: float64 (n, E), NaN = not scored.
        flips: from ``sign_flips``, (F, n).
        exact: the flips are all there are, the identity among them.
    """
    n_explainers = values.shape[1]
    pairs = np.array(list(combinations(range(n_explainers), 2)), dtype=np.int64).reshape(-1, 2)
    if not len(pairs):
        return Family(pairs, np.empty(0), np.empty(0), 0, 1.0)
    gaps = values[:, pairs[:, 0]] - values[:, pairs[:, 1]]
    shared = np.isfinite(gaps)
    counts = shared.sum(axis=0)
    gaps = np.where(shared, gaps, 0.0)
    squares = (gaps**2).sum(axis=0)
    testable = (counts >= 2) & (squares > 0)
    observed = _studentized(gaps.sum(axis=0), squares, counts)
    observed[~testable] = 0.0
    exceeded = np.zeros(len(pairs))
    for start in range(0, len(flips), _BLOCK):
        drawn = np.abs(_studentized(flips[start : start + _BLOCK] @ gaps, squares, counts))
        highest = np.where(testable, drawn, 0.0).max(axis=1)
        exceeded += (highest[:, None] >= np.abs(observed) * (1 - 1e-12)).sum(axis=0)
    p_values = exceeded / len(flips) if exact else (1 + exceeded) / (1 + len(flips))
    p_values[~testable] = 1.0
    fewest = int(counts[testable].min()) if testable.any() else 0
    with np.errstate(invalid="ignore"):
        differences = np.where(counts > 0, gaps.sum(axis=0) / np.maximum(counts, 1), np.nan)
    return Family(pairs, differences, p_values, fewest, _smallest(fewest, len(flips), exact=exact))


def _studentized(sums: Floats, squares: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return t statistics; the squares do not change with the signs."""
    n = np.maximum(counts, 2)
    means = sums / n
    variance = np.maximum(squares / n - means**2, 0.0) / (n - 1)
    # All differences alike: as extreme as can be.
    floor = 1e-12 * np.sqrt(squares / n) + np.finfo(float).tiny
    return np.asarray(means / np.maximum(np.sqrt(variance), floor))


def _smallest(n_images: int, n_flips: int, *, exact: bool) -> float:
    if n_images < 2:
        return 1.0
    reachable = 2.0 ** -(n_images - 1)
    return max(reachable, 1 / n_flips if exact else 1 / (1 + n_flips))


def compare_sets(statistics: Floats, aggregate: Callable[[Floats], Floats], flips: Floats, *, exact: bool) -> Family:
    """Test all pairs of a dataset-level metric: the pair's statistics are swapped within each image.

    Args:
        statistics: float64 (n, E, K), rows of NaN = not scored.
        aggregate: mean statistics (..., K) to the statistic (...).
        flips: (F, n); -1 swaps.
        exact: the flips are all there are.
    """
    scored = np.asarray(np.isfinite(statistics).all(axis=2))
    pairs = np.array(list(combinations(range(statistics.shape[1]), 2)), dtype=np.int64).reshape(-1, 2)
    observed, drawn, counts = [], [], []
    for first, second in pairs:
        both = scored[:, first] & scored[:, second]
        counts.append(int(both.sum()))
        if not both.any():
            observed.append(np.nan)
            drawn.append(np.zeros(len(flips)))
            continue
        one, other = statistics[both, first], statistics[both, second]
        n = len(one)
        middle, half = (one + other).mean(axis=0) / 2, (one - other) / 2
        shift = flips[:, both] @ half / n
        gaps = aggregate(middle + shift) - aggregate(middle - shift)
        identity = half.mean(axis=0)
        observed.append(float(aggregate(middle + identity) - aggregate(middle - identity)))
        drawn.append(gaps)
    differences, swapped = np.array(observed), np.array(drawn).reshape(len(pairs), len(flips))
    spread = swapped.std(axis=1)
    testable = (np.array(counts) >= 2) & (spread > 1e-12)
    scale = np.where(testable, spread, 1.0)
    highest = np.where(testable[:, None], np.abs(swapped) / scale[:, None], 0.0).max(axis=0, initial=0.0)
    held = np.where(testable, np.abs(np.nan_to_num(differences)) / scale, 0.0)
    exceeded = (highest[None] >= held[:, None] * (1 - 1e-12)).sum(axis=1)
    p_values = exceeded / len(flips) if exact else (1 + exceeded) / (1 + len(flips))
    p_values = np.where(testable, p_values, 1.0)
    fewest = min((count for count, one in zip(counts, testable, strict=True) if one), default=0)
    return Family(pairs, differences, p_values, fewest, _smallest(fewest, len(flips), exact=exact))
