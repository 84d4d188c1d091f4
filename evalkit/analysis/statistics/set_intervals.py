"""95 % intervals of scores of a whole set, such as MaxBoxAcc, whose threshold is chosen on the images that it scores.

The best of several thresholds, chosen on the images that it is scored on, is too high on average. The bootstrap
estimates by how much, but not well: it says half of it where many thresholds are nearly equal, and too much where one
is clearly best. The interval therefore reaches from the end for twice the estimated bias to the end for none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.intervals import Interval
from evalkit.analysis.statistics.resampling import Resampling

__all__ = ["RESAMPLES", "UNSEEN_IMAGES", "SetBootstrap", "set_interval"]

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16]
Aggregate = Callable[[Floats], Floats]
_RELIABLE_FROM = 12  # the fewest images that were simulated
RESAMPLES = 1_000
UNSEEN_IMAGES = 4  # images as influential as the most influential one, that the sample may lack
_BLOCK = 4_000_000  # numbers in memory at once
_LEVEL = 0.95
_ROUNDING = 1e-12


def set_interval(
    statistics: NDArray[Any],
    aggregate: Aggregate,
    bounds: tuple[float, float],
    resampling: Resampling,
    scores: SetBootstrap | None = None,
) -> Interval:
    """Return the interval of a function of the images' mean statistics, and its estimated bias.

    Wilson's interval, with the number of images that would give a share of hits the score's standard error
    (Kott & Carr, "Developing an estimation strategy for a pesticide data program", Journal of Official Statistics
    1997). The standard error is the bootstrap's, increased for ``UNSEEN_IMAGES`` images like the most influential one;
    the quantile is Student's, with fewer degrees of freedom for heavy-tailed influences (Satterthwaite). The simulation
    in benchmarks/set_scores.py says how well it holds.

    Args:
        statistics: (n, K), finite, of any type.
        aggregate: mean statistics (..., K) to scores (...).
        bounds: the smallest and largest score that can occur; infinite = none.
        resampling: resampling of the images.
        scores: ``SetBootstrap.of`` these statistics, if it is known.
    """
    n_images = len(statistics)
    if n_images < 2:
        return Interval(None, None, "one image" if n_images else "nothing was scored")
    scores = scores or SetBootstrap.of(statistics, aggregate, resampling)
    if not scores.finite:
        return Interval(None, None, "some resamples cannot be scored")
    # What the draws add to a linear score is their noise, not bias.
    counts = resampling.first(RESAMPLES).counts(n_images)
    share = 1 - 1 / len(scores.influences)
    noise = (counts.mean(axis=0) - 1) @ scores.influences * share
    bias = float(scores.resampled.mean() - scores.score - noise)
    at_bound = min(abs(scores.score - bound) for bound in bounds) < _ROUNDING
    if float(np.ptp(scores.resampled)) < _ROUNDING and not at_bound:
        return Interval(None, None, "all scores are equal", bias)
    quantile = _quantile(scores.influences)
    low, _ = _wilson(scores.score - 2 * max(bias, 0.0), scores.error, n_images, quantile, bounds)
    _, high = _wilson(scores.score - 2 * min(bias, 0.0), scores.error, n_images, quantile, bounds)
    reason = f"fewer than {_RELIABLE_FROM} images: unreliable" if n_images < _RELIABLE_FROM else None
    return Interval(low, high, reason, bias)


class SetBootstrap(NamedTuple):
    """The score of a set, or a difference of two, on all images, on resamples, and without each group of images.

    Attributes:
        score: the score on all images.
        resampled: float64 (R,), the score of each resample.
        influences: float64 (G,), mean of the scores without one group, minus the score without this one.
    """

    score: float
    resampled: Floats
    influences: Floats

    @classmethod
    def of(cls, statistics: NDArray[Any], aggregate: Aggregate, resampling: Resampling) -> SetBootstrap:
        """Score statistics (n, K), n at least 2, by the first ``RESAMPLES`` resamples."""
        sums, sizes = resampling.grouped(statistics)
        total, n_images = sums.sum(axis=0), len(statistics)
        resampled = _replicates(sums, sizes, aggregate, resampling.first(RESAMPLES).counts(n_images))
        without = np.concatenate(
            [
                aggregate((total - sums[rows]) / (n_images - sizes[rows])[:, None])
                for rows in _blocks(len(sums), sums.shape[1])
            ]
        )
        return cls(float(aggregate(total / n_images)), resampled, without.mean() - without)

    def minus(self, other: SetBootstrap) -> SetBootstrap:
        """Return the difference of two scores of the same images."""
        return SetBootstrap(
            self.score - other.score, self.resampled - other.resampled, self.influences - other.influences
        )

    @property
    def finite(self) -> bool:
        """Whether all scores are."""
        return bool(
            np.isfinite(self.score) and np.isfinite(self.resampled).all() and np.isfinite(self.influences).all()
        )

    @property
    def error(self) -> float:
        """The standard error, with room for ``UNSEEN_IMAGES`` images like the most influential one."""
        groups = len(self.influences)
        unseen = UNSEEN_IMAGES * float((self.influences**2).max()) * ((groups - 1) / groups) ** 2
        return float(np.sqrt(self.resampled.var() * groups / (groups - 1) + unseen))


def _blocks(count: int, size: int) -> list[slice]:
    """Return slices of rows of so many numbers, each within the memory limit."""
    rows = max(1, _BLOCK // size)
    return [slice(start, start + rows) for start in range(0, count, rows)]


def _replicates(sums: Floats, sizes: Floats, aggregate: Aggregate, counts: Counts) -> Floats:
    """Return the score of each resample, float64 (R,)."""
    scores = []
    for rows in _blocks(len(counts), max(sums.shape)):
        drawn = counts[rows].astype(np.float64)
        scores.append(aggregate((drawn @ sums) / (drawn @ sizes)[:, None]))
    return np.concatenate(scores)


def _quantile(influences: Floats) -> float:
    """Return Student's quantile for the degrees of freedom that the kurtosis of the influences leaves."""
    from scipy.special import stdtrit

    n = len(influences)
    variance = float((influences**2).mean())
    freedom = n - 1.0
    if n > 3 and variance > 0:
        kurtosis = float((influences**4).mean()) / variance**2 - 3.0
        kurtosis = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * kurtosis + 6)  # without its bias
        freedom = max(2.0, 2 / (2 / (n - 1) + max(kurtosis, 0.0) / n))
    return float(stdtrit(freedom, (1 + _LEVEL) / 2))


def _wilson(
    score: float, error: float, n_images: int, quantile: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Return Wilson's interval of a score with this standard error; the symmetric one if the score has no bounds."""
    low, high = bounds
    if not (np.isfinite(low) and np.isfinite(high)):
        return max(score - quantile * error, low), min(score + quantile * error, high)
    width = high - low
    share, error = min(max((score - low) / width, 0.0), 1.0), error / width
    variance = share * (1 - share)
    # A share of hits of so many images has this standard error; no score varies more than one of 0 and 1.
    n_effective = max(n_images, variance / error**2) if error > 0 else n_images
    step = quantile**2 / n_effective
    middle, half = share + step / 2, quantile * np.sqrt(variance / n_effective + step / n_effective / 4)
    return (
        low + width * float(max((middle - half) / (1 + step), 0.0)),
        low + width * float(min((middle + half) / (1 + step), 1.0)),
    )
