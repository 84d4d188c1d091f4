"""Upper bounds of what each candidate loses to the best, and the number of images at which they would decide."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.bounded_means import bounded_quantile
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.core.randomness import generator

__all__ = ["ROUNDING", "LossBounds", "cheapest_best", "chosen_share", "images_wanted", "loss_bounds"]

Floats = NDArray[np.float64]
_LEVEL = 0.95
_POWER = 0.85  # of the prediction, so that the promise of four in five is kept although it is an estimate
_DRAWS = 2_000
_MOST_IMAGES = 1_000_000
_CRITICAL_RESAMPLES = 4_000
_BLOCK = 512
ROUNDING = 1e-12
_DEGENERATE = 1e-13  # share of two variances below which that of the difference is rounding error


class LossBounds(NamedTuple):
    """Bounds of the candidates' true losses.

    Attributes:
        pairs: float64 (C, C), upper end of the interval of (row minus column).
        losses: float64 (C,), upper bound of a candidate's loss to the best, whichever that is.
        critical: float64 (C,), half width of a row's intervals in standard errors.
        unseen: float64 (C, C), the largest loss of a column to a row that an image not seen may have.
    """

    pairs: Floats
    losses: Floats
    critical: Floats
    unseen: Floats


def loss_bounds(scores: Floats, resampling: Resampling, width: float, margin: float) -> LossBounds:
    """Bound the losses of candidates; of a row, all bounds hold together in 95 % of runs.

    Each is the larger of two: a studentized max-T bootstrap, and the bound with one unseen image. On that image a
    candidate loses as much as the pair differed on any image; if most of its differences are within the margin, as
    much as the metric can differ, because such images say nothing of rare large losses.

    Args:
        scores: float64 (n, C), higher = better.
        resampling: resampling of the images.
        width: difference between the metric's largest and smallest possible value; inf = unbounded, which takes the
            range of the scores instead.
        margin: largest accepted loss.
    """
    n_candidates = scores.shape[1]
    width = width if np.isfinite(width) else float(np.ptp(scores))
    pairs, unseen = np.zeros((2, n_candidates, n_candidates))
    critical = _critical(scores, resampling.first(_CRITICAL_RESAMPLES))
    for row in range(n_candidates):
        others = [index for index in range(n_candidates) if index != row]
        gaps = scores[:, [row]] - scores[:, others]
        errors = gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps))
        largest = np.abs(gaps).max(axis=0)
        mostly_small = np.median(np.abs(gaps), axis=0) <= margin
        unseen[row, others] = np.where(mostly_small, width, largest)
        with_unseen = bounded_quantile(gaps, unseen[row, others], _LEVEL)
        pairs[row, others] = np.maximum(gaps.mean(axis=0) + critical[row] * errors, with_unseen)
    losses = np.where(np.eye(n_candidates, dtype=bool), 0.0, pairs).max(axis=0)
    return LossBounds(pairs, losses, critical, unseen)


def _critical(scores: Floats, resampling: Resampling) -> Floats:
    """Return, for each row, the 95 % quantile of the largest studentized error of its differences, (C,)."""
    groups = resampling.grouped(scores)
    units = groups.sums / groups.sizes[:, None]
    units -= units.mean(axis=0)
    count, size = units.shape
    first, second = np.triu_indices(size)
    products = units[:, first] * units[:, second]
    variances = _variances_of_differences(products.mean(axis=0)[None], np.zeros((1, size)), first, second)[0]
    errors = np.sqrt(variances / (count - 1))
    constant = errors <= ROUNDING  # and so a candidate with itself
    highest = []
    for _, counts in resampling.blocks(len(scores), _BLOCK):
        means = counts @ units / count
        variances = _variances_of_differences(counts @ products / count, means, first, second)
        # A resample of one image has no spread; the error of the data is used instead.
        spread = np.where(variances > 0, np.sqrt(variances / (count - 1)), errors)
        studentized = (means[:, None, :] - means[:, :, None]) / np.where(constant, np.inf, np.maximum(spread, ROUNDING))
        highest.append(studentized.max(axis=2))
    return np.asarray(np.quantile(np.concatenate(highest), _LEVEL, axis=0))


def _variances_of_differences(
    products: Floats, means: Floats, first: NDArray[np.intp], second: NDArray[np.intp]
) -> Floats:
    """Return the variances of differences of columns, float64 (R, C, C), from mean products (R, P) and means (R, C)."""
    covariances = np.empty((*means.shape, means.shape[1]))
    covariances[:, first, second] = products
    covariances[:, second, first] = products
    covariances -= means[:, :, None] * means[:, None, :]
    own = np.einsum("rcc->rc", covariances)
    both = own[:, :, None] + own[:, None, :]
    variances = both - 2 * covariances
    return np.asarray(np.where(variances > _DEGENERATE * both, variances, 0.0))


def cheapest_best(means: Floats, passes: Floats) -> NDArray[np.intp]:
    """Return the index of the best mean, of the cheapest candidate where means are equal but for rounding.

    Args:
        means: float64 (..., C), higher = better.
        passes: float64 (C,), cost of each candidate.
    """
    is_best = means >= means.max(axis=-1, keepdims=True) - ROUNDING
    index: NDArray[np.intp] = np.where(is_best, passes, np.inf).argmin(axis=-1)
    return index


def chosen_share(
    scores: Floats, resampling: Resampling, bounds: LossBounds, passes: Floats, margin: float, chosen: int
) -> float:
    """Return the share of resamples on which the same rule, with the same error bounds, makes the same choice.

    Args:
        scores: float64 (n, C), higher = better.
        resampling: resampling of the images.
        bounds: the bounds of these scores.
        passes: float64 (C,), cost of each candidate.
        margin: largest accepted loss; negative if there are too few images to decide.
        chosen: index of the choice.
    """
    means = scores.mean(axis=0)
    slack = bounds.pairs - (means[:, None] - means[None])
    resampled = resampling.means(scores)
    same = 0
    for drawn in np.array_split(resampled, max(1, len(resampled) // _BLOCK)):
        gaps = drawn[:, :, None] - drawn[:, None, :] + slack
        gaps[:, np.arange(len(slack)), np.arange(len(slack))] = 0.0
        near = gaps.max(axis=1) < margin
        price = np.where(near, passes[None] - drawn * 1e-6, np.inf)
        picked = np.where(near.any(axis=1), price.argmin(axis=1), cheapest_best(drawn, passes))
        same += int((picked == chosen).sum())
    return same / len(resampled)


def images_wanted(scores: Floats, bounds: LossBounds, margin: float, fewest: int, seed: int) -> int | None:
    """Return the number of images on which a new run would decide in four of five cases.

    The means of such a run are predicted from these images, whose own error counts: where a true loss may well be
    larger than the margin, or smaller, no number of images is known to decide.

    Args:
        scores: float64 (n, C), higher = better.
        bounds: the bounds of these scores.
        margin: largest accepted loss.
        fewest: fewest images that can decide.
        seed: random seed.

    Returns:
        The number of images; None if even a million would not decide in four of five predictions.
    """
    n_images, n_candidates = scores.shape
    rng = generator(seed, "images wanted", n_images)
    covariances = np.cov(scores.T)
    deviations = rng.multivariate_normal(
        np.zeros(n_candidates), covariances, size=_DRAWS, check_valid="ignore", method="svd"
    )
    own = np.diag(covariances)
    spreads = np.sqrt(np.maximum(own[:, None] + own[None] - 2 * covariances, 0.0))
    means = scores.mean(axis=0)
    normal = 1.645  # the 95 % quantile, for the bound with one unseen image

    def decided(count: int) -> bool:
        drawn = means + deviations * np.sqrt(1 / n_images + 1 / count)
        reach = np.maximum(
            bounds.critical[:, None] * spreads / np.sqrt(count),
            normal * spreads / np.sqrt(count) + bounds.unseen * -np.log(1 - _LEVEL) / count,
        )
        upper = drawn[:, :, None] - drawn[:, None, :] + reach
        upper[:, np.arange(n_candidates), np.arange(n_candidates)] = 0.0
        return bool((upper.max(axis=1) < margin).any(axis=1).mean() >= _POWER)

    low, high = int(n_images), max(int(n_images) + 1, fewest)
    while not decided(high):
        low, high = high, 2 * high
        if high > _MOST_IMAGES:
            return None
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high
