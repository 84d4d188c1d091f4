"""The verdicts of the gate: one-sided paired tests against the tolerance, corrected by Holm.

Regressed means shown to be worse by more than the tolerance. As between explainers (``paired_tests``), two tests have
to agree: a studentized bootstrap over photos, corrected over all explainers and metrics, and a bound with one unseen
photo that got better by as much as the metric's scores range over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.gate.images_wanted import Outlook, detectable, images_wanted
from evalkit.analysis.gate.results import GateCell
from evalkit.analysis.gate.tolerance import Tolerance
from evalkit.analysis.statistics.mean_tests import MeanTests
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.core.errors import ConfigError
from evalkit.store.scores import first_rows, mean_of_units

__all__ = ["Paired", "paired_scores", "verdicts"]

Floats = NDArray[np.float64]
_ROUNDING = 1e-5  # a baseline keeps five digits
_DRAWS_PER_CELL = 4  # resamples for one cell's share of alpha, so that p-values can fall below it
_MOST_DRAWS = 100_000


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
        width: difference between the metric's largest and smallest possible value; inf = unbounded.
    """

    explainer: str
    metric: str
    sign: float
    before: Floats
    now: Floats
    tolerance: float
    n_lost: int = 0
    lost_reason: str | None = None
    width: float = math.inf

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
        n_draws: number of resamples, at least; more are drawn if the family needs smaller p-values.

    Raises:
        ConfigError: alpha is too small for so many comparisons.
    """
    tested = [index for index, cell in enumerate(cells) if len(cell.before) >= 2]
    if len(tested) / (1 + _MOST_DRAWS) >= alpha:
        raise ConfigError(
            f"--alpha {alpha:g} is too small for {len(tested)} comparisons: none could be called regressed; it must be "
            f"above {len(tested) / (1 + _MOST_DRAWS):.2g}"
        )
    n_draws = min(max(n_draws, math.ceil(_DRAWS_PER_CELL * len(tested) / alpha)), _MOST_DRAWS)
    ranges = _ranges(cells)
    evidence: dict[int, _Evidence] = {}
    resampling = Resampling(0, n_draws)
    # Cells of equally many photos are resampled together.
    for n_photos in sorted({len(cells[index].before) for index in tested}):
        members = [index for index in tested if len(cells[index].before) == n_photos]
        evidence |= zip(members, _evidence([cells[index] for index in members], ranges, resampling), strict=True)
    worse = dict(zip(tested, _holm(np.array([evidence[index].worse for index in tested])), strict=True))
    better = dict(zip(tested, _holm(np.array([evidence[index].better for index in tested])), strict=True))
    family = _Family(alpha, len(tested), n_draws)
    return [
        _tested(cell, evidence[index], worse[index], better[index], family) if index in evidence else _untested(cell)
        for index, cell in enumerate(cells)
    ]


class _Evidence(NamedTuple):
    """What one cell's changes show.

    Attributes:
        worse: bootstrap's p-value of "not worse by more than the tolerance".
        better: bootstrap's p-value of "not better by more than the tolerance".
        worse_unseen: as ``worse``, with one unseen photo.
        better_unseen: as ``better``, with one unseen photo.
        low: lower end of the change's 95 % interval.
        high: upper end of the interval.
        unseen: size of the unseen photo's change.
    """

    worse: float
    better: float
    worse_unseen: float
    better_unseen: float
    low: float
    high: float
    unseen: float


def _ranges(cells: Sequence[Paired]) -> dict[str, float]:
    """Return by how much the scores of each metric range over, before and now."""
    scores: dict[str, list[Floats]] = {}
    for cell in cells:
        scores.setdefault(cell.metric, []).extend((cell.before, cell.now))
    joined = {metric: np.concatenate(arrays) for metric, arrays in scores.items()}
    return {metric: float(np.ptp(array)) if array.size else 0.0 for metric, array in joined.items()}


def _evidence(cells: Sequence[Paired], ranges: dict[str, float], resampling: Resampling) -> list[_Evidence]:
    """Return the evidence of cells with equally many photos."""
    changes = np.stack([np.where(np.abs(cell.changes) <= _ROUNDING, 0.0, cell.changes) for cell in cells], axis=1)
    accepted = np.array([cell.tolerance + _ROUNDING for cell in cells])
    # If most changes are the same and some are not, those that are seen say little: then by the metric's width.
    same = np.abs(changes - np.median(changes, axis=0)) <= _ROUNDING
    little = (same.mean(axis=0) > 0.5) & np.isfinite([cell.width for cell in cells])
    seen = np.array([ranges[cell.metric] for cell in cells])
    unseen = np.where(little, [cell.width for cell in cells], seen)
    tests = MeanTests.of(changes, resampling)
    opposite = tests.opposite()
    low, high = tests.intervals()
    columns = (
        tests.p_not_below(-accepted),
        opposite.p_not_below(-accepted),
        tests.p_not_below_with_unseen(-accepted, unseen),
        opposite.p_not_below_with_unseen(-accepted, unseen),
        low,
        high,
        unseen,
    )
    return [_Evidence(*map(float, row)) for row in zip(*columns, strict=True)]


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


def _tested(paired: Paired, evidence: _Evidence, worse: float, better: float, family: _Family) -> GateCell:
    changes, accepted = paired.changes, paired.tolerance + _ROUNDING
    worse, better = max(worse, evidence.worse_unseen), max(better, evidence.better_unseen)
    if worse < family.alpha:
        verdict = "regressed"
    elif better < family.alpha:
        verdict = "improved"
    elif evidence.low >= -accepted:
        verdict = "unchanged" if evidence.high <= accepted else "not worse"
    else:
        verdict = "inconclusive"
    outlook = Outlook(
        mean=float(changes.mean()),
        spread=float(changes.std(ddof=1)),
        n_images=len(changes),
        tolerance=paired.tolerance,
        unseen=evidence.unseen,
        largest=float(np.abs(changes).max()),
        alpha=family.alpha,
        n_cells=family.n_cells,
    )
    return GateCell(
        explainer=paired.explainer,
        metric=paired.metric,
        direction="higher" if paired.sign > 0 else "lower",
        verdict=verdict,
        baseline_mean=float(paired.before.mean()),
        mean=float(paired.now.mean()),
        change=outlook.mean,
        ci_low=evidence.low,
        ci_high=evidence.high,
        tolerance=paired.tolerance,
        p_value=float(worse),
        n_images=len(changes),
        n_lost=paired.n_lost,
        lost_reason=paired.lost_reason,
        detectable=detectable(outlook, paired.width),
        n_wanted=images_wanted(outlook) if verdict == "inconclusive" else None,
    )
