"""95 % intervals over images: BCa bootstrap from resample counts, Wilson for scores of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.randomness import generator

__all__ = ["Interval", "Resampling", "bca_interval", "bca_means", "bca_statistic", "resample_counts", "wilson_interval"]

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16]
_LEVEL = 0.95
_RELIABLE_FROM = 20
_BLOCK = 4_000_000  # numbers in memory at once, beside the counts themselves


class Interval(NamedTuple):
    """An interval, or the reason why there is none; with both, the reason why it is unreliable."""

    low: float | None
    high: float | None
    reason: str | None


def resample_counts(rng: np.random.Generator, n_images: int, n_resamples: int) -> Counts:
    """Return how often each image is drawn in each resample, uint16 (n_resamples, n_images); rows sum to n_images.

    They are drawn row by row, so fewer resamples are the first rows of more.
    """
    counts = np.empty((n_resamples, n_images), dtype=np.uint16)
    rows = max(1, _BLOCK // n_images)
    for start in range(0, n_resamples, rows):
        block = counts[start : start + rows]
        draws = rng.integers(n_images, size=block.shape)
        draws += np.arange(len(block))[:, None] * n_images
        block[:] = np.bincount(draws.ravel(), minlength=block.size).reshape(block.shape)
    return counts


class Resampling:
    """Resample counts by number of images, each drawn once.

    Args:
        seed: random seed of the run.
        n_resamples: number of resamples.
    """

    def __init__(self, seed: int, n_resamples: int) -> None:
        """See the class."""
        self._seed, self._n_resamples = seed, n_resamples
        self._known: dict[int, Counts] = {}

    def counts(self, n_images: int) -> Counts:
        """Return ``resample_counts`` for this number of images."""
        if n_images not in self._known:
            rng = generator(self._seed, "bootstrap", n_images)
            self._known[n_images] = resample_counts(rng, n_images, self._n_resamples)
        return self._known[n_images]


def resampled_sums(counts: Counts, numbers: Floats) -> Floats:
    """Return the sums of each resample, float64 (R, ...), of numbers (n, ...)."""
    flat = numbers.reshape(len(numbers), -1)
    sums = np.empty((len(counts), flat.shape[1]))
    rows = max(1, _BLOCK // max(len(numbers), 1))
    for start in range(0, len(counts), rows):
        sums[start : start + rows] = counts[start : start + rows].astype(np.float64) @ flat
    return sums.reshape(len(counts), *numbers.shape[1:])


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
    tails = ndtri(np.array([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]))
    shifted = ndtr(bias + (bias + tails) / (1 - acceleration * (bias + tails)))
    low, high = np.quantile(replicates, shifted)
    reason = f"fewer than {_RELIABLE_FROM} images: unreliable" if jackknife.size < _RELIABLE_FROM else None
    return Interval(float(low), float(high), reason)


def bca_means(values: Floats, counts: Counts) -> list[Interval]:
    """Return the interval of the mean of each column.

    Args:
        values: float64 (n, E), finite.
        counts: from ``resample_counts``, (R, n).
    """
    n_images = len(values)
    missing = [_without_interval(values[:, column]) for column in range(values.shape[1])]
    if all(missing):
        return [interval for interval in missing if interval]
    total = values.sum(axis=0)
    replicates = resampled_sums(counts, values) / n_images
    jackknife = (total - values) / (n_images - 1)
    return [
        missing[column] or bca_interval(total[column] / n_images, replicates[:, column], jackknife[:, column])
        for column in range(values.shape[1])
    ]


def bca_statistic(statistics: Floats, counts: Counts, aggregate: Callable[[Floats], Floats]) -> Interval:
    """Return the interval of a function of the images' mean statistics.

    Args:
        statistics: float64 (n, K), finite.
        counts: (R, n).
        aggregate: mean statistics (..., K) to the statistic (...).
    """
    n_images = len(statistics)
    missing = _without_interval(statistics)
    if missing:
        return missing
    total = statistics.sum(axis=0)
    size = max(1, _BLOCK // statistics.shape[1])
    replicates = np.concatenate(
        [
            aggregate(resampled_sums(counts[start : start + size], statistics) / n_images)
            for start in range(0, len(counts), size)
        ]
    )
    jackknife = np.concatenate(
        [aggregate((total - statistics[start : start + size]) / (n_images - 1)) for start in range(0, n_images, size)]
    )
    if not (np.isfinite(replicates).all() and np.isfinite(jackknife).all()):
        return Interval(None, None, "some resamples cannot be scored")
    return bca_interval(float(aggregate(total / n_images)), replicates, jackknife)


def _without_interval(values: Floats) -> Interval | None:
    """Return an empty interval with its reason if these images give none; None if they do."""
    if len(values) == 0:
        return Interval(None, None, "nothing was scored")
    if len(values) == 1:
        return Interval(None, None, "one image")
    if (values == values[0]).all():
        return Interval(None, None, "all scores are equal")
    return None


def wilson_interval(n_hits: int, n_images: int) -> Interval:
    """Return Wilson's interval of a proportion."""
    if n_images == 0:
        return Interval(None, None, "nothing was scored")
    from scipy.stats import binomtest

    interval = binomtest(n_hits, n_images).proportion_ci(confidence_level=_LEVEL, method="wilson")
    reason = f"fewer than {_RELIABLE_FROM} images: unreliable" if n_images < _RELIABLE_FROM else None
    return Interval(float(interval.low), float(interval.high), reason)
