"""Paired tests of means between explainers that hold when their scores differ in shape.

A pair is significant only if two tests agree. The first is a studentized bootstrap of the paired differences over
images; every pair is compared with the largest statistic among all pairs of its metric (max-T; Westfall and Young,
1993), in units of the pair's own 99 % quantile, so that a pair of few or strange images does not raise the others'
(balanced; Beran, JASA 1988). The second adds one unseen image on which the two explainers differ, the other way round,
by as much as the scores of the metric range over (``bounded_means``): rare failures that a small sample happens to lack
decide no comparison. Sign flips are not used: they test whether two explainers are exchangeable, and mark explainers of
equal means whose scores differ in shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.bounded_means import bounded_quantile, p_at_most_zero
from evalkit.analysis.statistics.resampling import Resampling

__all__ = [
    "ALPHA",
    "FEWEST_IMAGES",
    "Family",
    "all_pairs",
    "compare_means",
    "critical_of",
    "distinct_columns",
    "p_values_of",
    "sharing",
    "smallest_p",
]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Pairs = NDArray[np.int64]
ALPHA = 0.05
FEWEST_IMAGES = 6
"""Fewest images of a pair that can be significant: 2 x 2^-6 is below 5 %, 2 x 2^-5 is not."""

_BLOCK = 512
_NUMBERS = 4_000_000  # differences in memory at once
_ROUNDING = 1e-12
_DEGENERATE = 1e-12  # share of the squares below which the spread of a resample is rounding error
_EQUAL = 1e-9  # statistics that differ by this share of their size are equal
_BALANCED_AT = 0.99
_CAUTION = 1.5  # times the bootstrap's p-value: without, up to 9 % of families of 200 images were marked, not 5 %


class Family(NamedTuple):
    """The tests of one metric.

    Attributes:
        pairs: int64 (P, 2), indices of explainers.
        differences: float64 (P,), mean of first minus second; NaN = no image is shared.
        p_values: float64 (P,), corrected; 1 where a pair is not tested.
        low: float64 (P,), lower end of the simultaneous 95 % interval of the difference; NaN = there is none.
        high: upper end of the interval.
        n_images: int64 (P,), numbers of images that a pair shares.
        n_resamples: number of resamples.
    """

    pairs: Pairs
    differences: Floats
    p_values: Floats
    low: Floats
    high: Floats
    n_images: NDArray[np.int64]
    n_resamples: int

    @property
    def tested(self) -> Flags:
        """Which pairs share enough images, bool (P,)."""
        return np.asarray(self.n_images >= FEWEST_IMAGES)


def all_pairs(count: int) -> Pairs:
    """Return every pair of columns once, int64 (P, 2)."""
    return np.array(list(combinations(range(count), 2)), dtype=np.int64).reshape(-1, 2)


def smallest_p(n_images: int, n_resamples: int) -> float:
    """Return the smallest p-value that a pair with this number of images can reach."""
    return 1.0 if n_images < FEWEST_IMAGES else max(2.0 * 0.5**n_images, _CAUTION / (1 + n_resamples))


def compare_means(
    values: Floats,
    resampling: Resampling,
    width: float,
    *,
    pairs: Pairs | None = None,
    typical: Flags | None = None,
    intervals: bool = False,
) -> Family:
    """Test pairs of columns of a metric that is a mean over images.

    Args:
        values: float64 (n, E), NaN = not scored.
        resampling: resampling of the images.
        width: difference between the metric's largest and smallest possible value; inf = unbounded.
        pairs: int64 (P, 2), which columns to compare; None = all with all.
        typical: bool (E,), the columns that say how far the scores of an unseen image may lie apart, for pairs of them;
            of other pairs all columns do; None = all.
        intervals: whether to compute ``low`` and ``high``.
    """
    pairs = all_pairs(values.shape[1]) if pairs is None else pairs
    spread = _Spread.of(values, pairs, resampling)
    errors = np.sqrt(spread.variances)
    testable = (spread.n_images >= FEWEST_IMAGES) & (spread.largest > _ROUNDING)
    varying = testable & (errors > _ROUNDING)
    drawn = _studentized(values, pairs, resampling, spread, varying)
    units = np.ones(len(pairs))
    units[varying], highest = _balanced(drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = np.abs(spread.means) / (errors * units)
    observed = np.where(varying, observed, np.inf)  # differences that are all equal have no spread
    p_values = np.where(testable, np.minimum(_CAUTION * p_values_of(observed, highest), 1.0), 1.0)
    unseen = _unseen(values, pairs, spread, width, typical)
    significant = np.flatnonzero(p_values < ALPHA)
    if significant.size:
        p_values[significant] = np.maximum(p_values[significant], _of_unseen(values, pairs, unseen, significant))
    low, high = np.full((2, len(pairs)), np.nan)
    if intervals:
        reach = np.where(varying, critical_of(highest, ALPHA / _CAUTION) * units * errors, 0.0)
        low, high = _intervals(values, pairs, spread, reach, unseen)
        low, high = np.maximum(low, -width), np.minimum(high, width)
    return Family(pairs, spread.means, p_values, low, high, spread.n_images, resampling.n_resamples)


class _Spread(NamedTuple):
    """The paired differences of every pair, each float64 (P,).

    Attributes:
        means: mean difference; NaN = no image is shared.
        variances: squared standard error of the mean.
        largest: largest size of a difference.
        mostly_equal: whether more than half of the differences are the same.
        n_images: numbers of shared images.
    """

    means: Floats
    variances: Floats
    largest: Floats
    mostly_equal: Flags
    n_images: NDArray[np.int64]

    @classmethod
    def of(cls, values: Floats, pairs: Pairs, resampling: Resampling) -> _Spread:
        means, variances, largest = np.full((3, len(pairs)), np.nan)
        mostly_equal, n_images = np.zeros(len(pairs), dtype=np.bool_), np.zeros(len(pairs), dtype=np.int64)
        for rows, where in sharing(np.isfinite(values), pairs):
            n_images[where] = np.count_nonzero(rows)
            if not rows.any():
                continue
            gaps = _gaps(values[rows], pairs[where])
            means[where] = gaps.mean(axis=0)
            largest[where] = np.abs(gaps).max(axis=0)
            mostly_equal[where] = (np.abs(gaps - np.median(gaps, axis=0)) <= _ROUNDING).mean(axis=0) > 0.5
            sums, sizes = resampling.grouped(_gaps(values, pairs[where]), rows)
            variances[where] = _variance(
                (sums**2).sum(axis=0),
                sizes @ sums,
                means[where],
                (sizes**2).sum(),
                sizes.sum(),
                int(np.count_nonzero(sizes)),
            )
        return cls(means, np.nan_to_num(variances), np.nan_to_num(largest), mostly_equal, n_images)


def _gaps(values: Floats, pairs: Pairs) -> Floats:
    return np.asarray(values[:, pairs[:, 0]] - values[:, pairs[:, 1]])


def _variance(
    squares: Floats,
    products: Floats,
    means: Floats,
    sizes: Floats | float,
    total: Floats | float,
    groups: NDArray[np.int64] | int,
) -> Floats:
    """Return the squared standard error of means, from sums over groups.

    Args:
        squares: sums of the squared sums of the differences.
        products: sums of the sums of the differences x the sizes.
        means: the means.
        sizes: sums of the squared sizes.
        total: number of images.
        groups: number of groups with an image.
    """
    remaining = squares - 2 * means * products + means**2 * sizes
    remaining = np.where(remaining > _DEGENERATE * squares, remaining, 0.0)
    return np.asarray(remaining / total**2 * groups / np.maximum(groups - 1, 1))


def distinct_columns(scored: Flags) -> tuple[Flags, NDArray[np.int64]]:
    """Return the distinct columns of (n, E), (n, C), and the index of each column among them, (E,).

    As ``np.unique``, which takes seconds for thousands of rows.
    """
    columns = [column.tobytes() for column in np.ascontiguousarray(scored.T)]
    place = {column: index for index, column in enumerate(sorted(set(columns)))}
    patterns = np.array([np.frombuffer(column, dtype=np.bool_) for column in place]).reshape(len(place), len(scored))
    return patterns.T, np.array([place[column] for column in columns], dtype=np.int64)


def sharing(scored: Flags, pairs: Pairs) -> Iterator[tuple[Flags, NDArray[np.int64]]]:
    """Group the pairs by the images that both scored: which images (n,), which pairs."""
    patterns, group = distinct_columns(scored)
    sides = np.sort(group[pairs], axis=1)
    for first, second in np.unique(sides, axis=0):
        where = np.flatnonzero((sides == (first, second)).all(axis=1))
        yield patterns[:, first] & patterns[:, second], where


def _studentized(values: Floats, pairs: Pairs, resampling: Resampling, spread: _Spread, varying: Flags) -> Floats:
    """Return absolute t statistics of the resampled mean differences, float64 (R, V), of the varying pairs."""
    drawn = np.zeros((resampling.n_resamples, np.count_nonzero(varying)))
    position = np.cumsum(varying) - 1
    for where, gaps, counted in _gaps_at_once(values, pairs, np.flatnonzero(varying)):
        sums, sizes = resampling.grouped(gaps).sums, resampling.grouped(counted).sums
        squares, products = sums**2, sums * sizes
        largest = sizes.max()
        even = bool(np.isin(sizes, (0, largest)).all())  # then the products are multiples of the sums
        groups = np.count_nonzero(sizes, axis=0)
        for block, counts in resampling.blocks(len(values), _BLOCK):
            drawn_sizes = counts @ sizes
            total = np.maximum(drawn_sizes, 1.0)
            of_sums = counts @ sums
            resampled = of_sums / total
            variance = _variance(
                counts @ squares,
                largest * of_sums if even else counts @ products,
                resampled,
                largest * drawn_sizes if even else counts @ sizes**2,
                total,
                groups,
            )
            # A resample without spread says nothing of the error: the error of the data is used instead.
            variance = np.where(variance > 0, variance, spread.variances[where])
            drawn[block, position[where]] = np.abs(resampled - spread.means[where]) / np.sqrt(variance)
    return drawn


def _gaps_at_once(
    values: Floats, pairs: Pairs, chosen: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
    """Yield some of the chosen pairs, their differences (n, C), 0 where an image is not shared, and where it is.

    Pairs that share the same images come together, with one column that says which, (n, 1).
    """
    several = []
    for rows, members in sharing(np.isfinite(values), pairs[chosen]):
        where = chosen[members]
        if where.size == 1:
            several.append(where[0])
        else:
            yield where, np.where(rows[:, None], _gaps(values, pairs[where]), 0.0), rows[:, None].astype(np.float64)
    size = max(1, _NUMBERS // max(len(values), 1))
    for start in range(0, len(several), size):
        where = np.array(several[start : start + size], dtype=np.int64)
        gaps = _gaps(values, pairs[where])
        counted = np.isfinite(gaps)
        yield where, np.where(counted, gaps, 0.0), counted.astype(np.float64)


def _balanced(drawn: Floats) -> tuple[Floats, Floats]:
    """Return each pair's unit, and the largest statistic of every resample in these units."""
    units = np.quantile(drawn, _BALANCED_AT, axis=0, method="higher") if drawn.size else np.ones(drawn.shape[1])
    units = np.where(units > _ROUNDING, units, 1.0)
    return units, (drawn / units).max(axis=1, initial=0.0)


def p_values_of(observed: Floats, highest: Floats) -> Floats:
    """Return how often the largest statistic of a resample reaches each observed statistic."""
    reached = len(highest) - np.searchsorted(np.sort(highest), observed * (1 - _EQUAL))
    return np.asarray((1 + reached) / (1 + len(highest)))


def critical_of(highest: Floats, alpha: float = ALPHA) -> float:
    """Return the largest statistic that is not significant: intervals of this reach agree with the p-values."""
    fewest = int(np.ceil(alpha * (1 + len(highest)))) - 1  # resamples that reach a statistic which is not significant
    return float(np.sort(highest)[-fewest]) / (1 - _EQUAL) if fewest else float("inf")


def _unseen(values: Floats, pairs: Pairs, spread: _Spread, width: float, typical: Flags | None) -> Floats:
    """Return by how much two explainers may differ on an unseen image, (P,): as much as scores range over.

    If most differences are the same, as in the pointing game, the scores seen say little: then by the metric's width.
    """
    lowest = np.where(np.isfinite(values), values, np.inf).min(axis=0, initial=np.inf)
    highest = np.where(np.isfinite(values), values, -np.inf).max(axis=0, initial=-np.inf)
    shown = np.unique(pairs[spread.n_images >= FEWEST_IMAGES])  # without explainers that are not tested
    seen = np.full(len(pairs), highest[shown].max(initial=-np.inf) - lowest[shown].min(initial=np.inf))
    if typical is not None:
        both, some = typical[pairs].all(axis=1), shown[typical[shown]]
        seen[both] = highest[some].max(initial=-np.inf) - lowest[some].min(initial=np.inf)
    seen = np.clip(seen, 0.0, width)
    return np.maximum(np.where(spread.mostly_equal & np.isfinite(width), width, seen), spread.largest)


def _of_unseen(values: Floats, pairs: Pairs, unseen: Floats, chosen: NDArray[np.int64]) -> Floats:
    """Return the two-sided p-values of the chosen pairs with one unseen image."""
    p_values = np.ones(len(pairs))
    for rows, members in sharing(np.isfinite(values), pairs):
        where = np.intersect1d(members, chosen)
        if where.size:
            gaps = _gaps(values[rows], pairs[where])
            sides = [p_at_most_zero(sign * gaps, -unseen[where]) for sign in (1.0, -1.0)]
            p_values[where] = np.minimum(2 * np.minimum(*sides), 1.0)
    return p_values[chosen]


def _intervals(values: Floats, pairs: Pairs, spread: _Spread, reach: Floats, unseen: Floats) -> tuple[Floats, Floats]:
    """Return the hull of both tests' intervals: it excludes 0 where the pair is significant."""
    low, high = np.full((2, len(pairs)), np.nan)
    for rows, members in sharing(np.isfinite(values), pairs):
        where = members[spread.n_images[members] >= FEWEST_IMAGES]
        if not where.size:
            continue
        gaps, means = _gaps(values[rows], pairs[where]), spread.means[where]
        equal = spread.largest[where] <= _ROUNDING
        lower = bounded_quantile(gaps, -unseen[where], ALPHA / 2)
        upper = bounded_quantile(gaps, unseen[where], 1 - ALPHA / 2)
        low[where] = np.where(equal, np.nan, np.minimum(means - reach[where], lower))
        high[where] = np.where(equal, np.nan, np.maximum(means + reach[where], upper))
    return low, high
