"""How reliable one metric is: whether other images would put the explainers in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.audit.alpha import ordinal_alpha, ordinal_values, ranks_of
from evalkit.analysis.audit.results import Reliability, Thresholds
from evalkit.analysis.audit.separation import Halves, influences, scores_of_sets, separation_of
from evalkit.analysis.ranking import Shared, shared_images
from evalkit.analysis.scores import Scores
from evalkit.analysis.statistics.resampling import MOST_GROUPS, Resampling
from evalkit.store.statistics import Statistics

__all__ = ["HalvesByNumber", "images_wanted", "lengthened", "reliability_of"]

Floats = NDArray[np.float64]
_ROUNDING = 1e-12
_FEWEST_WITHOUT = 4


class HalvesByNumber:
    """Halves by number of images, made once.

    Args:
        seed: random seed of the run.
        n_splits: number of random halves, each resampled once.
    """

    def __init__(self, seed: int, n_splits: int) -> None:
        """See the class."""
        self.seed, self.n_splits = seed, n_splits
        self._known: dict[int, Halves] = {}

    def of(self, n_images: int) -> Halves:
        """Return the halves of this number of images."""
        if n_images not in self._known:
            self._known = {n_images: Halves.of(self.seed, n_images, self.n_splits)}  # the last alone: they are large
        return self._known[n_images]


def lengthened(halves: float) -> float:
    """Return the correlation of sets twice as large as the halves, by Spearman and Brown: 2 r / (1 + r).

    Of a negative correlation, of which the formula means nothing, 2 r / (1 - r), which stays within -1..1.

    >>> lengthened(1 / 3), lengthened(-1.0)
    (0.5, -1.0)
    """
    return 2 * halves / (1 + abs(halves))


def images_wanted(halves: float, n_images: int, wanted: float) -> int | None:
    """Return the number of images whose halves would correlate by ``wanted``, by Spearman and Brown.

    Args:
        halves: correlation of the halves of these images.
        n_images: number of images.
        wanted: the correlation wanted, 0..1.

    >>> images_wanted(0.6, 30, 0.9), images_wanted(-0.1, 30, 0.9)
    (180, None)
    """
    if halves <= 0:
        return None
    if halves >= 1:
        return 2
    return max(2, ceil(n_images * wanted * (1 - halves) / (halves * (1 - wanted)) - 1e-9))


def reliability_of(
    scores: Scores, explainers: Sequence[str], halves: HalvesByNumber, thresholds: Thresholds
) -> Reliability:
    """Return the reliability of one metric.

    Args:
        scores: the scores of the explainers, without controls.
        explainers: their texts.
        halves: random halves.
        thresholds: the limits of the verdicts.
    """
    shared = shared_images(scores.scored)
    n_images, n_explainers = int(shared.images.sum()), int(shared.ranked.sum())
    found = Reliability(n_images, n_explainers)
    names = [text for text, kept in zip(explainers, shared.ranked, strict=True) if kept]
    if n_explainers < thresholds.fewest_explainers:
        reason = f"{n_explainers} explainers were scored and can be compared; {thresholds.fewest_explainers} are needed"
        return msgspec.structs.replace(found, reason=reason, alpha_reason=reason)
    found = _with_alpha(found, scores, shared.ranked, halves, thresholds)
    if n_images < thresholds.fewest_images:
        reason = f"{n_images} images were scored by all compared explainers; {thresholds.fewest_images} are needed"
        return msgspec.structs.replace(found, reason=reason)
    numbers = _grouped(scores.numbers, shared, halves.seed)
    of_halves = halves.of(len(numbers))
    rows = numbers[..., 0] if numbers.shape[2] == 1 else influences(numbers, scores.aggregate)
    separation = separation_of(rows, of_halves)
    of_each = [scores_of_sets(members, numbers, scores.aggregate) for members in (of_halves.first, of_halves.second)]
    correlation = _mean_correlation(*of_each)
    if separation is None or correlation is None:
        return msgspec.structs.replace(found, reason="all explainers have the same score")
    without = _least_without(*of_each) if n_explainers >= _FEWEST_WITHOUT else None
    estimate = lengthened(correlation)
    low, high = (_share(limit) for limit in (separation.low, separation.high))
    return msgspec.structs.replace(
        found,
        halves=correlation,
        split_half=estimate,
        low=min(low, estimate),
        high=max(high, estimate),
        images_for_agreement=images_wanted(correlation, n_images, thresholds.agreed),
        images_for_reliable=_images_for_reliable(separation.low, n_images, thresholds.reliable_from),
        without=None if without is None else names[without[0]],
        split_half_without=None if without is None else without[1],
    )


def _share(ratio: float) -> float:
    """Return true variance over all variance, from true variance over error variance."""
    return ratio / (1 + ratio) if isfinite(ratio) else 1.0


def _grouped(numbers: Floats | Statistics, shared: Shared, seed: int) -> Floats:
    """Return the numbers (n, E, K) of shared images, or the means of 1,000 random groups of more than 1,000.

    One explainer at a time: the statistics of a set may need gigabytes, of which no copy is made.
    """
    columns = []
    for column in np.flatnonzero(shared.ranked):
        of_explainer = numbers[shared.images, column]
        if len(of_explainer) > MOST_GROUPS:
            sums, sizes = Resampling(seed, 1).grouped(of_explainer)
            of_explainer = sums / sizes[:, None]
        columns.append(of_explainer)
    return np.stack(columns, axis=1)


def _mean_correlation(first: Floats, second: Floats) -> float | None:
    """Return the mean over splits of the correlation between halves; None if the scores of every half are equal.

    Args:
        first: float64 (S, E), the scores in the first half of each split.
        second: the same of the second half.
    """
    first, second = (part - part.mean(axis=1, keepdims=True) for part in (first, second))
    lengths = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    varying = lengths > _ROUNDING**2
    if not varying.any():
        return None
    return float(np.mean((first * second).sum(axis=1)[varying] / lengths[varying]))


def _least_without(first: Floats, second: Floats) -> tuple[int, float] | None:
    """Return the explainer without which the split-half reliability is smallest, and that reliability."""
    correlations = [
        _mean_correlation(np.delete(first, column, axis=1), np.delete(second, column, axis=1))
        for column in range(first.shape[1])
    ]
    known = [(lengthened(value), column) for column, value in enumerate(correlations) if value is not None]
    smallest = min(known, default=None)
    return None if smallest is None else (smallest[1], smallest[0])


def _images_for_reliable(low: float, n_images: int, wanted: float) -> int | None:
    """Return the number of images at which the lower end of the ratio would give the wanted reliability."""
    if low <= 0:
        return None
    return ceil(n_images * wanted / (1 - wanted) / low - 1e-9) if isfinite(low) else 2


def _with_alpha(
    found: Reliability, scores: Scores, ranked: NDArray[np.bool_], halves: HalvesByNumber, thresholds: Thresholds
) -> Reliability:
    if scores.numbers.shape[2] > 1:
        return msgspec.structs.replace(found, alpha_reason="images have no ranking by a score of the whole set")
    values = ordinal_values(ranks_of(scores.numbers[:, ranked, 0]))
    values = values[np.isfinite(values).any(axis=1)]
    n_images = len(values)
    if n_images < thresholds.fewest_images:
        reason = f"{n_images} images have two scores to rank; {thresholds.fewest_images} are needed"
        return msgspec.structs.replace(found, alpha_reason=reason)
    alpha = ordinal_alpha(values)
    if not np.isfinite(alpha):
        return msgspec.structs.replace(found, alpha_reason="all explainers have the same score on every image")
    grouped = _grouped_values(values, halves.seed)
    separation = separation_of(grouped, halves.of(len(grouped)), without_common=False)
    if separation is None:
        return msgspec.structs.replace(found, alpha=alpha, alpha_reason="all explainers have the same mean rank")
    low, high = (_of_one(limit, n_images) for limit in (separation.low, separation.high))
    return msgspec.structs.replace(found, alpha=alpha, alpha_low=min(low, alpha), alpha_high=max(high, alpha))


def _of_one(ratio: float, n_images: int) -> float:
    """Return the agreement of single images, from the ratio of the mean over ``n_images``."""
    return ratio / (ratio + n_images) if isfinite(ratio) else 1.0


def _grouped_values(values: Floats, seed: int) -> Floats:
    """Return values (n, E) with NaN, or the means of 1,000 random groups of more than 1,000 images."""
    if len(values) <= MOST_GROUPS:
        return values
    resampling, known = Resampling(seed, 1), np.isfinite(values)
    sums, counts = (resampling.grouped(part).sums for part in (np.where(known, values, 0.0), known.astype(np.float64)))
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
