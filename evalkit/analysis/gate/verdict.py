"""The verdicts of the gate: paired sign flips, one-sided, corrected by Holm over all explainers and metrics.

A worsening counts if it is significant and larger than the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.gate.results import GateCell
from evalkit.analysis.gate.tolerance import Tolerance
from evalkit.analysis.statistics.intervals import Resampling, bca_means
from evalkit.analysis.statistics.permutation_tests import sign_flips
from evalkit.core.randomness import generator
from evalkit.store.scores import first_rows, mean_of_units

__all__ = ["Paired", "paired_scores", "verdicts"]

Floats = NDArray[np.float64]
_POWER = 0.8
_ROUNDING = 1e-5  # a baseline keeps five digits
_RESAMPLES = 10_000
_DRAWS_PER_CELL = 4  # sign flips for one cell's share of alpha, so that p-values can fall below it
_MOST_DRAWS = 200_000


class Paired(NamedTuple):
    """Scores of the same photos, before and now.

    Attributes:
        explainer: text of the explainer.
        metric: text of the metric.
        sign: 1 if higher is better, else -1.
        before: float64 (n,), scores in the baseline.
        now: float64 (n,), scores in the run.
        tolerance: largest accepted worsening of the mean, in the metric's own unit.
        n_lost: number of images that the baseline scored and the run did not.
        lost_reason: the most frequent reason why; None if there are none.
    """

    explainer: str
    metric: str
    sign: float
    before: Floats
    now: Floats
    tolerance: float
    n_lost: int = 0
    lost_reason: str | None = None

    @property
    def changes(self) -> Floats:
        """The change on each photo, positive = better."""
        return self.sign * (self.now - self.before)


def paired_scores(
    texts: tuple[str, str],
    direction: str,
    before: Floats,
    now: Floats,
    tolerance: Tolerance,
    photos: Sequence[str] | None = None,
) -> Paired:
    """Pair the scores of the same images.

    Args:
        texts: the texts of explainer and metric.
        direction: ``higher`` or ``lower`` is better.
        before: float64 (n,), scores in the baseline, NaN = not scored.
        now: float64 (n,), scores in the run.
        tolerance: largest accepted worsening.
        photos: (n,), equal texts for entries of one photo, which count once, by their mean; None = all are different.
    """
    both = np.isfinite(before) & np.isfinite(now)
    before, now = before[both], now[both]
    if photos is not None and len(before):
        _, unit = first_rows([photo for photo, kept in zip(photos, both, strict=True) if kept])
        before, now = mean_of_units(before, unit), mean_of_units(now, unit)
    accepted = tolerance.of(float(before.mean())) if len(before) else 0.0
    return Paired(*texts, 1.0 if direction == "higher" else -1.0, before, now, accepted)


def verdicts(cells: Sequence[Paired], alpha: float, n_draws: int) -> list[GateCell]:
    """Return the verdict of each cell; the p-values of all that can be tested are corrected together (Holm).

    Args:
        cells: paired scores of each explainer and metric.
        alpha: family-wise error rate of "regressed".
        n_draws: number of sign flips, at least; more are drawn if the family needs smaller p-values.
    """
    tested = [cell for cell in cells if len(cell.before) >= 2]
    n_draws = min(max(n_draws, math.ceil(_DRAWS_PER_CELL * len(tested) / alpha)), _MOST_DRAWS)
    flips = lru_cache(lambda n_photos: sign_flips(generator(0, "gate", n_photos), n_photos, n_draws))
    worse, better = np.ones(len(tested)), np.ones(len(tested))
    for index, cell in enumerate(tested):
        signs, exact = flips(len(cell.before))
        better[index], worse[index] = _one_sided(cell.changes, signs, exact=exact)
    corrected = zip(_holm(worse), _holm(better), strict=True)
    family = _Family(alpha, len(tested), n_draws, Resampling(0, min(n_draws, _RESAMPLES)))
    return [_untested(cell) if len(cell.before) < 2 else _tested(cell, *next(corrected), family) for cell in cells]


def _one_sided(changes: Floats, flips: NDArray[np.int8], *, exact: bool) -> tuple[float, float]:
    """Return the p-values of "better" and of "worse" (Student's t over sign flips)."""
    changes = np.where(np.abs(changes) <= _ROUNDING, 0.0, changes)
    squares = float((changes**2).sum())
    if squares == 0:
        return 1.0, 1.0
    # With the squares fixed, t grows with the sum.
    observed, drawn = float(changes.sum()), flips @ changes
    slack = 1e-9 * np.sqrt(squares)
    if exact:  # each pattern represents its mirror image too
        drawn = np.concatenate([drawn, -drawn])
        return float((drawn >= observed - slack).mean()), float((drawn <= observed + slack).mean())
    count = 1 + len(drawn)
    return (1 + int((drawn >= observed - slack).sum())) / count, (1 + int((drawn <= observed + slack).sum())) / count


def _holm(p_values: Floats) -> Floats:
    """Return p-values corrected by Holm's step-down."""
    order = np.argsort(p_values, kind="stable")
    steps = (len(p_values) - np.arange(len(p_values))) * p_values[order]
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


class _Family(NamedTuple):
    alpha: float
    n_cells: int
    n_draws: int
    resampling: Resampling

    def smallest_p(self, n_photos: int) -> float:
        """Return the smallest corrected p-value that this number of photos can reach."""
        patterns = 2.0 ** min(n_photos, 64)
        return self.n_cells / (patterns if patterns / 2 <= self.n_draws else self.n_draws + 1)


def _untested(paired: Paired) -> GateCell:
    return GateCell(
        explainer=paired.explainer,
        metric=paired.metric,
        direction="higher" if paired.sign > 0 else "lower",
        verdict="inconclusive",
        tolerance=paired.tolerance,
        n_images=len(paired.before),
        n_lost=paired.n_lost,
        lost_reason=paired.lost_reason,
        reason="fewer than two images were scored in both",
    )


def _tested(paired: Paired, worse: float, better: float, family: _Family) -> GateCell:
    n_images, changes = len(paired.before), paired.changes
    mean, spread = float(changes.mean()), float(changes.std(ddof=1))
    interval = bca_means(changes[:, None], family.resampling.counts(n_images))[0]
    low, high = (mean, mean) if interval.low is None or interval.high is None else (interval.low, interval.high)
    accepted = paired.tolerance + _ROUNDING
    if -mean > accepted and worse < family.alpha:
        verdict = "regressed"
    elif mean > accepted and better < family.alpha:
        verdict = "improved"
    elif low >= -accepted:
        verdict = "unchanged" if high <= accepted else "not worse"
    else:
        verdict = "inconclusive"
    return GateCell(
        explainer=paired.explainer,
        metric=paired.metric,
        direction="higher" if paired.sign > 0 else "lower",
        verdict=verdict,
        baseline_mean=float(paired.before.mean()),
        mean=float(paired.now.mean()),
        change=mean,
        ci_low=low,
        ci_high=high,
        tolerance=paired.tolerance,
        p_value=float(worse),
        n_images=n_images,
        n_lost=paired.n_lost,
        lost_reason=paired.lost_reason,
        detectable=_detectable(spread, paired.tolerance, n_images, family),
        n_wanted=_wanted(spread, paired.tolerance, n_images, family) if verdict == "inconclusive" else None,
    )


def _detectable(spread: float, tolerance: float, n_images: int, family: _Family) -> float | None:
    """Return the worsening that is called regressed in four of five runs; None if none can be, or nothing varies."""
    if spread <= _ROUNDING or family.smallest_p(n_images) >= family.alpha:
        return None
    tail, power = NormalDist().inv_cdf(1 - family.alpha / family.n_cells), NormalDist().inv_cdf(_POWER)
    error = spread / math.sqrt(n_images)
    return max(tolerance + power * error, (tail + power) * error)


def _wanted(spread: float, tolerance: float, n_images: int, family: _Family) -> int | None:
    """Return the number of images at which the verdict is no longer inconclusive, if nothing differs."""
    if tolerance <= 0:
        return None
    needed = ((NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(_POWER)) * spread / tolerance) ** 2
    at_least = math.floor(math.log2(family.n_cells / family.alpha)) + 1  # fewer cannot show any worsening
    return max(math.ceil(needed), at_least, n_images + 1)
