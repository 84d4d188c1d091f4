"""The verdict of one explainer under one metric: paired sign flips, one-sided, Holm over the family.

A worsening counts when it is significant and larger than the tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.comparisons import sign_flips
from evalkit.analysis.intervals import Resampling, bca_means
from evalkit.analysis.tolerance import Tolerance
from evalkit.analysis.verdicts import GateCell
from evalkit.randomness import generator

__all__ = ["Paired", "judged", "paired_scores"]

Floats = NDArray[np.float64]
_POWER = 0.8
_ROUNDING = 1e-5  # a baseline keeps five digits


class Paired(NamedTuple):
    """Scores of the same images, before and now, ready to be judged."""

    explainer: str
    metric: str
    sign: float
    before: Floats
    now: Floats
    tolerance: float
    n_lost: int

    @property
    def changes(self) -> Floats:
        """The change on each image, positive = better."""
        return self.sign * (self.now - self.before)


def paired_scores(named: tuple[str, str], direction: str, before: Floats, now: Floats, tolerance: Tolerance) -> Paired:
    """Make scores of the same images ready to be judged.

    Args:
        named: the texts of explainer and metric.
        direction: ``higher`` or ``lower`` is better.
        before: float64 (n,), NaN = not scored.
        now: float64 (n,).
        tolerance: how much worse is accepted.
    """
    both = np.isfinite(before) & np.isfinite(now)
    lost = int((np.isfinite(before) & ~both).sum())
    accepted = tolerance.of(float(before[both].mean())) if both.any() else 0.0
    return Paired(*named, 1.0 if direction == "higher" else -1.0, before[both], now[both], accepted, lost)


def judged(paired: Sequence[Paired], alpha: float, n_draws: int) -> list[GateCell]:
    """Return a verdict for each; the p-values of all are corrected together (Holm)."""
    worse, better = np.ones(len(paired)), np.ones(len(paired))
    flips = lru_cache(lambda n_images: sign_flips(generator(0, "gate", n_images), n_images, n_draws))
    for at, one in enumerate(paired):
        if len(one.before) >= 2:
            signs, exact = flips(len(one.before))
            better[at], worse[at] = _one_sided(one.changes, signs, exact=exact)
    worse_held, better_held = _holm(worse), _holm(better)
    resampling = Resampling(0, n_draws)
    return [
        _cell(one, worse_held[at], better_held[at], alpha, len(paired), resampling) for at, one in enumerate(paired)
    ]


def _one_sided(changes: Floats, flips: NDArray[np.int8], *, exact: bool) -> tuple[float, float]:
    """Return the p-values of "better" and of "worse" (Student's t over sign flips)."""
    changes = np.where(np.abs(changes) <= _ROUNDING, 0.0, changes)
    squares = float((changes**2).sum())
    if squares == 0:
        return 1.0, 1.0
    # With the squares fixed, t grows with the sum.
    observed, drawn = float(changes.sum()), flips @ changes
    slack = 1e-9 * np.sqrt(squares)
    if exact:  # each pattern stands for its mirror image too
        drawn = np.concatenate([drawn, -drawn])
        return float((drawn >= observed - slack).mean()), float((drawn <= observed + slack).mean())
    count = 1 + len(drawn)
    return (1 + int((drawn >= observed - slack).sum())) / count, (1 + int((drawn <= observed + slack).sum())) / count


def _holm(p_values: Floats) -> Floats:
    """Return p-values corrected by Holm's step-down."""
    order = np.argsort(p_values, kind="stable")
    steps = (len(p_values) - np.arange(len(p_values))) * p_values[order]
    held = np.empty_like(p_values)
    held[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return held


def _cell(one: Paired, worse: float, better: float, alpha: float, n_cells: int, resampling: Resampling) -> GateCell:
    direction = "higher" if one.sign > 0 else "lower"
    n_images = len(one.before)
    if n_images < 2:
        return GateCell(
            explainer=one.explainer,
            metric=one.metric,
            direction=direction,
            verdict="inconclusive",
            tolerance=one.tolerance,
            n_images=n_images,
            n_lost=one.n_lost,
            reason="fewer than two images were scored in both",
        )
    changes = one.changes
    mean, spread = float(changes.mean()), float(changes.std(ddof=1))
    interval = bca_means(changes[:, None], resampling.counts(n_images))[0]
    low, high = (mean, mean) if interval.low is None or interval.high is None else (interval.low, interval.high)
    if -mean > one.tolerance and worse < alpha:
        verdict = "regressed"
    elif mean > one.tolerance and better < alpha:
        verdict = "improved"
    elif low > -one.tolerance:
        verdict = "unchanged" if high < one.tolerance else "not worse"
    else:
        verdict = "inconclusive"
    tail, power = NormalDist().inv_cdf(1 - alpha / max(n_cells, 1)), NormalDist().inv_cdf(_POWER)
    error = spread / np.sqrt(n_images)
    return GateCell(
        explainer=one.explainer,
        metric=one.metric,
        direction=direction,
        verdict=verdict,
        baseline_mean=float(one.before.mean()),
        mean=float(one.now.mean()),
        change=mean,
        ci_low=low,
        ci_high=high,
        tolerance=one.tolerance,
        p_value=float(worse),
        n_images=n_images,
        n_lost=one.n_lost,
        detectable=float(max(one.tolerance + power * error, (tail + power) * error)),
        n_wanted=_wanted(spread, one.tolerance, n_images) if verdict == "inconclusive" else None,
    )


def _wanted(spread: float, tolerance: float, n_images: int) -> int | None:
    """Return the images at which, if nothing differs, the interval's lower end stays within the tolerance."""
    if tolerance <= 0:
        return None
    needed = ((NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(_POWER)) * spread / tolerance) ** 2
    return max(int(np.ceil(needed)), n_images + 1)
