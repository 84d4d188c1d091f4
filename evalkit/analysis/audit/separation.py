"""How far the explainers' scores lie apart, in units of their error over images, with an interval.

Reliability and Krippendorff's alpha are functions of one ratio: the squared distance of the explainers' true scores
from their common mean, over the error variance of these scores. A bootstrap of either is too high, because a resample
contains images twice, which agree with themselves. So the images are split into halves first, each half is resampled
within itself, and only the errors of the resampled halves are used: the interval contains the ratios under which the
observed one is not extreme. The true scores are taken to be a multiple of the observed ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.core.randomness import generator

__all__ = ["Halves", "Separation", "influences", "scores_of_sets", "separation_of"]

Floats = NDArray[np.float64]
# Of nominal 98 % intervals 92 to 99 % contain the truth at 30 images: docs/statistics.md, benchmarks/audit_coverage.py.
_TAILS = (0.01, 0.99)
_ROUNDING = 1e-12
_SMALLEST_SPREAD = 1e-3
_NUMBERS = 8_000_000  # in memory at once


@dataclass(frozen=True, eq=False)
class Halves:
    """Random halves of images, and resamples within them.

    Attributes:
        first: float64 (S, n), 1 where an image is in the first half of a split, else 0.
        first_counts: float64 (S, n), how often each image is drawn in the resample of the first half.
        second_counts: the same of the second half.
    """

    first: Floats
    first_counts: Floats
    second_counts: Floats

    @classmethod
    def of(cls, seed: int, n_images: int, n_splits: int) -> Halves:
        """Split and resample ``n_images`` images, at least 4."""
        rng = generator(seed, "audit halves", n_images)
        order = np.argsort(rng.random((n_splits, n_images)), axis=1)
        size = n_images // 2
        first = np.zeros((n_splits, n_images))
        np.put_along_axis(first, order[:, :size], 1.0, axis=1)
        return cls(first, _resampled(rng, order[:, :size], n_images), _resampled(rng, order[:, size:], n_images))

    @property
    def second(self) -> Floats:
        """The images of the second halves, as ``first``."""
        return np.asarray(1.0 - self.first)

    @property
    def widening(self) -> float:
        """By how much errors within a half of h images are too small: the square root of (h - 1) / h, inverted."""
        size = self.first.shape[1] / 2
        return float(np.sqrt(size / (size - 1)))


def _resampled(rng: np.random.Generator, members: NDArray[np.int64], n_images: int) -> Floats:
    """Return how often each image is drawn when the members (S, h) of each half are resampled, float64 (S, n)."""
    n_splits, size = members.shape
    drawn = np.take_along_axis(members, rng.integers(size, size=members.shape), axis=1)
    drawn = drawn + np.arange(n_splits)[:, None] * n_images
    return np.bincount(drawn.ravel(), minlength=n_splits * n_images).reshape(n_splits, n_images).astype(np.float64)


@dataclass(frozen=True)
class Separation:
    """The ratio of true differences to error.

    Attributes:
        ratio: of the observed scores: squared distance from their common mean over error variance; inf = no error.
        low: lower end of the 95 % interval of the true ratio.
        high: upper end of the interval; inf = no error.
    """

    ratio: float
    low: float
    high: float


def separation_of(rows: Floats, halves: Halves, *, without_common: bool = True) -> Separation | None:
    """Return the separation of means over images; None if all explainers have the same mean.

    Args:
        rows: float64 (n, E), the score of each explainer on each image; NaN = not scored.
        halves: halves of these n images.
        without_common: whether to leave out the mean of each image's scores, its difficulty.
    """
    known = np.isfinite(rows)
    values = np.where(known, rows, 0.0)
    if without_common:
        common = values.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
        values = np.where(known, values - common, 0.0)
    counted = known.astype(np.float64)
    counts = counted.sum(axis=0)
    means = values.sum(axis=0) / counts
    error = _error_variance(values.sum(axis=0), (values**2).sum(axis=0), counts).sum()
    parts, within = [], []
    for members, drawn in ((halves.first, halves.first_counts), (halves.second, halves.second_counts)):
        sizes, drawn_sizes = np.maximum(members @ counted, 1.0), np.maximum(drawn @ counted, 1.0)
        sums = drawn @ values
        parts.append(sums / drawn_sizes - (members @ values) / sizes)
        within.append(_error_variance(sums, drawn @ values**2, drawn_sizes).sum(axis=1) / 4 * halves.widening**2)
    spreads = np.sum(within, axis=0) / error if error > _ROUNDING**2 else np.ones(len(within[0]))
    return _separation(means, np.mean(parts, axis=0) * halves.widening, spreads, float(error))


def influences(statistics: Floats, aggregate: Callable[[Floats], Floats]) -> Floats:
    """Return what each image adds to the scores of a set: rows (n, E) whose mean is the score of each explainer.

    From the scores without each image (jackknife), so that scores of a set can be treated like means of single scores.

    Args:
        statistics: float64 (n, E, K), finite, what each image adds.
        aggregate: function from mean statistics (..., K) to scores (...).
    """
    n_images = len(statistics)
    total = statistics.sum(axis=0)
    left = np.stack([aggregate((total - of_image) / (n_images - 1)) for of_image in statistics])
    return np.asarray(aggregate(total / n_images) + (n_images - 1) * (left.mean(axis=0) - left))


def scores_of_sets(counts: Floats, statistics: Floats, aggregate: Callable[[Floats], Floats]) -> Floats:
    """Return the scores of sets of images, float64 (S, E).

    Args:
        counts: float64 (S, n), how often each image is in each set.
        statistics: float64 (n, E, K), finite.
        aggregate: function from mean statistics (..., K) to scores (...).
    """
    n_images, n_explainers, size = statistics.shape
    scores = np.empty((len(counts), n_explainers))
    flat = statistics.reshape(n_images, -1)
    step = max(1, _NUMBERS // flat.shape[1])
    for start in range(0, len(counts), step):
        block = counts[start : start + step]
        means = (block @ flat / block.sum(axis=1, keepdims=True)).reshape(-1, n_explainers, size)
        scores[start : start + step] = aggregate(means)
    return scores


def _error_variance(sums: Floats, squares: Floats, counts: Floats) -> Floats:
    """Return the squared standard error of means, from sums over images."""
    remaining = np.maximum(squares - sums**2 / counts, 0.0)
    return np.asarray(remaining / np.maximum(counts - 1, 1) / counts)


def _separation(means: Floats, errors: Floats, spreads: Floats, variance: float) -> Separation | None:
    """Return the separation and its interval.

    Args:
        means: float64 (E,), the observed scores.
        errors: float64 (S, E), errors of resampled scores.
        spreads: float64 (S,), error variance of each resample, relative to ``variance``.
        variance: error variance of the observed scores, summed over explainers.
    """
    means, errors = means - means.mean(), errors - errors.mean(axis=1, keepdims=True)
    signal = float(means @ means)
    if signal <= _ROUNDING**2 or not np.isfinite(signal):
        return None
    if variance <= _ROUNDING * signal:
        return Separation(float("inf"), float("inf"), float("inf"))
    # A ratio that is small by chance hides the direction of the true scores. For the upper end they may lie in the
    # direction in which errors are largest, too.
    largest = np.linalg.eigh(errors.T @ errors)[1][:, -1] * np.sqrt(signal)
    observed = signal * np.maximum(spreads, _SMALLEST_SPREAD)
    low, high = _factors(means, errors, observed)
    high = max(high, _factors(largest, errors, observed)[1])
    return Separation(signal / variance, float(low**2 * signal / variance), float(high**2 * signal / variance))


def _factors(direction: Floats, errors: Floats, observed: Floats) -> tuple[float, float]:
    """Return the ends of the interval of the factor c if the true scores are c x ``direction``.

    The squared distance of a resample is c^2 direction^2 + 2 c direction.errors + errors^2: from the larger root on, at
    least the one observed.

    Args:
        direction: float64 (E,).
        errors: float64 (S, E), errors of resampled scores.
        observed: float64 (S,), the observed squared distance, in units of each resample's error variance.
    """
    squared, half_linear = float(direction @ direction), errors @ direction
    discriminant = half_linear**2 - squared * ((errors**2).sum(axis=1) - observed)
    roots = np.where(discriminant > 0, (np.sqrt(np.maximum(discriminant, 0.0)) - half_linear) / squared, 0.0)
    low, high = np.maximum(np.quantile(roots, _TAILS), 0.0)
    return float(low), float(high)
