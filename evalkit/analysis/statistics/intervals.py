"""95 % intervals of means over images: for bounded scores, and BCa for unbounded ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.bounded_means import bounded_quantile
from evalkit.analysis.statistics.resampling import Resampling

__all__ = ["Interval", "bca_interval", "bca_means", "bounded_intervals", "mean_intervals"]

Floats = NDArray[np.float64]
_LEVEL = 0.95
_TAILS = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)
_RELIABLE_FROM = 20


class Interval(NamedTuple):
    """An interval, or the reason why there is none; with both, the reason why it is unreliable.

    ``bias`` is the score's estimated bias; None where it has none, or none is estimated.
    """

    low: float | None
    high: float | None
    reason: str | None
    bias: float | None = None


def bca_interval(estimate: float, replicates: Floats, jackknife: Floats) -> Interval:
    """Return the bias-corrected and accelerated interval.

    Args:
        estimate: the statistic on all images.
        replicates: float64 (R,), the statistic on each resample.
        jackknife: float64 (n,), the statistic without each image.

    Reference: Efron, "Better bootstrap confidence intervals", JASA 1987; ``scipy.stats.bootstrap``.
    """
    from scipy.special import ndtr, ndtri

    below = (np.count_nonzero(replicates < estimate) + np.count_nonzero(replicates <= estimate)) / (2 * replicates.size)
    if not 0.0 < below < 1.0:
        return Interval(None, None, "the bootstrap is degenerate")
    bias = ndtri(below)
    influence = jackknife.mean() - jackknife
    spread = (influence**2).sum()
    acceleration = (influence**3).sum() / (6.0 * spread**1.5) if spread > 0 else 0.0
    tails = ndtri(np.array(_TAILS))
    shifted = ndtr(bias + (bias + tails) / (1 - acceleration * (bias + tails)))
    low, high = np.quantile(replicates, shifted)
    reason = f"fewer than {_RELIABLE_FROM} images: unreliable" if jackknife.size < _RELIABLE_FROM else None
    return Interval(float(low), float(high), reason)


def mean_intervals(values: Floats, bounds: tuple[float, float], resampling: Resampling) -> list[Interval]:
    """Return the interval of the mean of each column.

    Args:
        values: float64 (n, E), finite.
        bounds: the smallest and largest score that can occur.
        resampling: resampling of the images, for scores without bounds.
    """
    return bounded_intervals(values, bounds) if np.isfinite(bounds).all() else bca_means(values, resampling)


def bounded_intervals(values: Floats, bounds: tuple[float, float]) -> list[Interval]:
    """Return the interval of the mean of each column of bounded scores: it holds for scores of any shape.

    Args:
        values: float64 (n, E), finite.
        bounds: the smallest and largest score that can occur; scores beyond, by rounding, move them.
    """
    if len(values) < 2:
        return [_without_interval(values) or Interval(None, None, None)] * values.shape[1]
    low = bounded_quantile(values, np.minimum(values.min(axis=0), bounds[0]), _TAILS[0])
    high = bounded_quantile(values, np.maximum(values.max(axis=0), bounds[1]), _TAILS[1])
    return [Interval(float(lower), float(upper), None) for lower, upper in zip(low, high, strict=True)]


def bca_means(values: Floats, resampling: Resampling) -> list[Interval]:
    """Return the BCa interval of the mean of each column.

    Args:
        values: float64 (n, E), finite.
        resampling: resampling of the images.
    """
    missing = [_without_interval(values[:, column]) for column in range(values.shape[1])]
    if all(missing):
        return [interval for interval in missing if interval]
    sums, sizes = resampling.grouped(values)
    total, n_images = sums.sum(axis=0), sizes.sum()
    replicates = resampling.means(values)
    jackknife = (total - sums) / (n_images - sizes)[:, None]
    return [
        missing[column] or bca_interval(total[column] / n_images, replicates[:, column], jackknife[:, column])
        for column in range(values.shape[1])
    ]


def _without_interval(values: Floats) -> Interval | None:
    """Return an empty interval with its reason if these images give none; None if they do."""
    if len(values) == 0:
        return Interval(None, None, "nothing was scored")
    if len(values) == 1:
        return Interval(None, None, "one image")
    if (values == values[0]).all():
        return Interval(None, None, "all scores are equal")
    return None
