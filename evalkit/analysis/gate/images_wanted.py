"""What a number of images can show: the smallest worsening, and how many images would decide."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["Outlook", "detectable", "images_wanted"]

_POWER = 0.8
_PREDICTED = 0.9  # of the prediction, so that the promise of four in five is kept although it is an estimate
_MOST_IMAGES = 1_000_000
_CLOSE = 1.2816  # standard errors: one mean in ten is further on the other side of the tolerance
_STEPS, _CLOSE_ENOUGH = 100, 1e-6
_NORMAL = NormalDist()


class Outlook(NamedTuple):
    """What is known of one cell's changes.

    Attributes:
        mean: mean change, positive = better.
        spread: standard deviation of the changes.
        n_images: number of images.
        tolerance: largest accepted worsening.
        unseen: change of an unseen image in the test for a regression.
        largest: largest change, which an unseen image has in the interval.
        alpha: family-wise error rate of "regressed".
        n_cells: number of cells that are tested together.
    """

    mean: float
    spread: float
    n_images: int
    tolerance: float
    unseen: float
    largest: float
    alpha: float
    n_cells: int

    def shown_beyond(self, n_images: int) -> float:
        """Return by how much the observed worsening must exceed the tolerance to be called regressed."""
        error = self.spread / math.sqrt(n_images)
        corrected = -_NORMAL.inv_cdf(self.alpha / self.n_cells) * error
        unseen = (self.unseen + self.tolerance) * math.expm1(-math.log(self.alpha) / n_images)
        alone = -_NORMAL.inv_cdf(self.alpha) * error + unseen
        return max(corrected, alone)

    def half_width(self, n_images: int) -> float:
        """Return half the width of the interval."""
        error = self.spread / math.sqrt(n_images)
        return _NORMAL.inv_cdf(0.975) * error + math.expm1(-math.log(0.025) / n_images) * self.largest


def detectable(outlook: Outlook, width: float) -> float | None:
    """Return the worsening that this many images call regressed in four of five runs; None if none can be.

    Args:
        outlook: what is known.
        width: largest possible worsening; inf = unbounded.
    """
    error = outlook.spread / math.sqrt(outlook.n_images)
    smallest = 0.0
    for _ in range(_STEPS):  # a worsening widens the range of the scores
        wider = outlook._replace(unseen=min(outlook.unseen + smallest, width))
        following = outlook.tolerance + wider.shown_beyond(outlook.n_images) + _NORMAL.inv_cdf(_POWER) * error
        if following > width or following - smallest < _CLOSE_ENOUGH:
            break
        smallest = following
    return following if following <= width else None


def images_wanted(outlook: Outlook) -> int | None:
    """Return the number of images on which a new check would not be inconclusive in four of five cases.

    The mean of such a check is predicted from these images, whose own error counts: where the true worsening may well
    be close to the tolerance, no number of images is known to decide.

    Returns:
        The number of images; None if the tolerance lies in the worsening's 80 % interval, or if even a million would
        not decide in four of five predictions.
    """
    if abs(outlook.mean + outlook.tolerance) <= _CLOSE * outlook.spread / math.sqrt(outlook.n_images):
        return None
    low, high = outlook.n_images, outlook.n_images + 1
    while _decided(outlook, high) < _PREDICTED:
        low, high = high, 2 * high
        if high > _MOST_IMAGES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _decided(outlook, middle) >= _PREDICTED else (middle, high)
    return high


def _decided(outlook: Outlook, n_images: int) -> float:
    """Return the predicted probability that this many new images give a verdict."""
    error = outlook.spread * math.sqrt(1 / outlook.n_images + 1 / n_images)
    predicted = NormalDist(outlook.mean, error) if error > 0 else None
    not_worse_from = -outlook.tolerance + outlook.half_width(n_images)
    regressed_to = -outlook.tolerance - outlook.shown_beyond(n_images)
    if predicted is None:
        return float(outlook.mean >= not_worse_from or outlook.mean <= regressed_to)
    return 1 - predicted.cdf(not_worse_from) + predicted.cdf(regressed_to)
