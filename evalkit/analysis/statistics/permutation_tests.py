"""Paired tests between explainers: sign-flip permutation, studentized max-T within one metric.

The unit is the image: under the null hypothesis the two scores of an image can be swapped, so each difference keeps
or flips its sign. One draw of signs is shared by all pairs, and each pair is compared with the largest studentized
difference among all pairs (Westfall & Young, 1993), which keeps the family-wise error rate at 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALPHA", "Family", "all_pairs", "compare_means", "compare_sets", "sign_flips"]

Floats = NDArray[np.float64]
Signs = NDArray[np.int8]
Pairs = NDArray[np.int64]
ALPHA = 0.05
_BLOCK = 512
_ROUNDING = 1e-12
_SLACK = 1e-9  # relative, for statistics that are equal but for rounding


class Family(NamedTuple):
    """All pairs within one metric.

    Attributes:
        pairs: int64 (P, 2), indices of explainers.
        differences: float64 (P,), mean of first minus second.
        p_values: float64 (P,), corrected; 1 where a pair cannot be tested.
        n_images: smallest number of images that a tested pair shares.
        smallest_p: smallest p-value that can be reached.
    """

    pairs: NDArray[np.int64]
    differences: Floats
    p_values: Floats
    n_images: int
    smallest_p: float


def sign_flips(rng: np.random.Generator, n_images: int, n_flips: int) -> tuple[Signs, bool]:
    """Return sign patterns, int8 (F, n) of +-1, and whether they are all possible patterns.

    A pattern and its mirror image give the same two-sided statistic, so there are 2^(n - 1) patterns.
    """
    if n_images - 1 < 40 and 2 ** (n_images - 1) <= n_flips:
        numbers = np.arange(2 ** (n_images - 1))
        bits = (numbers[:, None] >> np.arange(n_images)) & 1
        return (1 - 2 * bits).astype(np.int8), True
    return 2 * rng.integers(0, 2, (n_flips, n_images), dtype=np.int8) - 1, False


def compare_means(values: Floats, flips: Signs, *, exact: bool, pairs: Pairs | None = None) -> Family:
    """Test pairs of columns of a metric that is a mean over images.

    Args:
        values: float64 (n, E), NaN = not scored.
        flips: from ``sign_flips``, (F, n).
        exact: whether the flips are all possible patterns, the identity included.
        pairs: int64 (P, 2), which columns to compare; None = all with all.
    """
    pairs = all_pairs(values.shape[1]) if pairs is None else pairs
    if not len(pairs):
        return Family(pairs, np.empty(0), np.empty(0), 0, 1.0)
    scored = np.isfinite(values)
    filled = np.where(scored, values, 0.0)
    gaps = values[:, pairs[:, 0]] - values[:, pairs[:, 1]]
    counts = np.isfinite(gaps).sum(axis=0)
    gaps = np.where(np.isfinite(gaps), gaps, 0.0)
    squares = (gaps**2).sum(axis=0)
    # Differences within rounding are treated as zero.
    testable = (counts >= 2) & (squares > counts * _ROUNDING**2)
    observed = np.where(testable, _studentized(gaps.sum(axis=0), squares, counts), 0.0)
    groups = list(_sharing(scored, pairs))
    highest = np.empty(len(flips))
    for start in range(0, len(flips), _BLOCK):
        signs = flips[start : start + _BLOCK].astype(np.float64)
        drawn = np.zeros((len(signs), len(pairs)))
        for rows, where in groups:
            # A sum of differences is a difference of sums: one product for each explainer, not for each pair.
            sums = signs[:, rows] @ filled[rows]
            drawn[:, where] = sums[:, pairs[where, 0]] - sums[:, pairs[where, 1]]
        drawn = _studentized(drawn, squares, counts)
        highest[start : start + _BLOCK] = np.where(testable, drawn, 0.0).max(axis=1)
    p_values = np.where(testable, _p_values(observed, highest, exact=exact), 1.0)
    fewest = int(counts[testable].min()) if testable.any() else 0
    with np.errstate(invalid="ignore"):
        differences = np.where(counts > 0, gaps.sum(axis=0) / np.maximum(counts, 1), np.nan)
    return Family(pairs, differences, p_values, fewest, _smallest(fewest, len(flips), exact=exact))


def all_pairs(count: int) -> Pairs:
    """Return every pair of columns once, int64 (P, 2)."""
    return np.array(list(combinations(range(count), 2)), dtype=np.int64).reshape(-1, 2)


def _sharing(scored: NDArray[np.bool_], pairs: Pairs) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Group the pairs by the images that both scored: which images (n,), which pairs."""
    patterns, group = np.unique(scored, axis=1, return_inverse=True)
    group = group.reshape(-1)
    sides = np.sort(group[pairs], axis=1)
    for first, second in np.unique(sides, axis=0):
        where = np.flatnonzero((sides == (first, second)).all(axis=1))
        yield patterns[:, first] & patterns[:, second], where


def _studentized(sums: Floats, squares: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return absolute t statistics; the squares do not change with the signs."""
    n = np.maximum(counts, 2)
    # The share of the squares that the mean explains; t grows with it without bound.
    share = np.minimum((sums * (1 / np.sqrt(n * np.maximum(squares, np.finfo(float).tiny)))) ** 2, 1.0)
    return np.asarray(np.sqrt((n - 1) * share / np.maximum(1.0 - share, _ROUNDING)))


def _p_values(observed: Floats, highest: Floats, *, exact: bool, slack: float = _SLACK) -> Floats:
    """Return how often the largest statistic of a flip reaches each observed statistic, itself included."""
    exceeded = len(highest) - np.searchsorted(np.sort(highest), observed * (1 - slack))
    return np.asarray(exceeded / len(highest) if exact else (1 + exceeded) / (1 + len(highest)))


def _smallest(n_images: int, n_flips: int, *, exact: bool) -> float:
    if n_images < 2:
        return 1.0
    reachable = 2.0 ** -(n_images - 1)
    return max(reachable, 1 / n_flips if exact else 1 / (1 + n_flips))


def compare_sets(
    statistics: Floats,
    aggregate: Callable[[Floats], Floats],
    flips: Signs,
    *,
    exact: bool,
    pairs: Pairs | None = None,
) -> Family:
    """Test pairs of columns of a set-level metric: the statistics of a pair are swapped within each image.

    Args:
        statistics: float64 (n, E, K), rows of NaN = not scored.
        aggregate: mean statistics (..., K) to the statistic (...).
        flips: (F, n); -1 swaps.
        exact: whether the flips are all possible patterns.
        pairs: int64 (P, 2), which columns to compare; None = all with all.
    """
    pairs = all_pairs(statistics.shape[1]) if pairs is None else pairs
    scored = np.asarray(np.isfinite(statistics).all(axis=2))
    counts = (scored[:, pairs[:, 0]] & scored[:, pairs[:, 1]]).sum(axis=0)
    differences = np.full(len(pairs), np.nan)
    swapped = np.zeros((len(pairs), len(flips)))
    # For random flips single precision is enough and takes half the time; the slack keeps ties.
    dtype, slack = (np.float64, _SLACK) if exact else (np.float32, 1e-5)
    signs = flips.astype(dtype)
    for rows, where in _sharing(scored, pairs):
        n = int(rows.sum())
        if not n:
            continue
        columns = np.unique(pairs[where])
        means = {column: statistics[rows, column].mean(axis=0) for column in columns}
        flipped = {column: signs[:, rows] @ statistics[rows, column].astype(dtype) / dtype(n) for column in columns}
        for pair in where:
            first, second = pairs[pair]
            middle = ((means[first] + means[second]) / 2).astype(dtype)
            shift = (flipped[first] - flipped[second]) / 2
            swapped[pair] = aggregate(middle + shift) - aggregate(middle - shift)
            differences[pair] = aggregate(means[first]) - aggregate(means[second])
    spread = swapped.std(axis=1)
    testable = (counts >= 2) & (spread > (_ROUNDING if exact else 1e-7))
    scale = np.where(testable, spread, 1.0)[:, None]
    highest = np.where(testable[:, None], np.abs(swapped) / scale, 0.0).max(axis=0, initial=0.0)
    observed = np.where(testable, np.abs(np.nan_to_num(differences)) / scale[:, 0], 0.0)
    p_values = np.where(testable, _p_values(observed, highest, exact=exact, slack=slack), 1.0)
    fewest = int(counts[testable].min()) if testable.any() else 0
    return Family(pairs, differences, p_values, fewest, _smallest(fewest, len(flips), exact=exact))
