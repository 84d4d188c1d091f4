"""What controls, which know nothing of the model, score against chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.audit.results import ControlBias, MetricBias, Thresholds
from evalkit.analysis.scores import Scores, scores_of
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts

__all__ = ["bias_of"]

Floats = NDArray[np.float64]
_CONSTANT_MAP, _PIXEL_NOISE = "uniform", "random"
_TOWARD = {
    "uniform": "constant maps",
    "random": "pixel noise",
    "smooth_noise": "smooth maps",
    "center": "the center",
    "edges": "edges",
}
# Controls that depend on no photo: whatever they score over chance, the metric rewards the kind of the map.
_OF_NO_PHOTO = ("uniform", "random", "smooth_noise")
_ADD_CONTROLS = "repeat the run's command with the word controls added to --explainers"
_NO_CONTROLS = f"the run has no other control than the one that stands for chance; {_ADD_CONTROLS}"


class _Chance(NamedTuple):
    """What chance is.

    Attributes:
        name: a number, or the text of the control that stands for it.
        column: that control's column; None for a number.
    """

    name: float | str
    column: int | None


def bias_of(
    metric: Metric,
    scores: Scores,
    explainers: Sequence[ExplainerFacts],
    resampling: Resampling,
    thresholds: Thresholds,
) -> MetricBias:
    """Return what the controls of a run score against chance by one metric.

    Args:
        metric: the metric.
        scores: its scores of all explainers, controls included.
        explainers: the explainers, in the order of the scores.
        resampling: resampling of the images.
        thresholds: the limits of the verdicts.
    """
    chance, reason = _chance_of(metric, explainers)
    if chance is None:
        return MetricBias(None, None, None, (), reason)
    sign = 1.0 if metric.spec.direction == "higher" else -1.0
    n_explainers = len(explainers)
    numbers, reference = scores.numbers, chance.column
    if reference is None:
        constant = np.full((len(numbers), 1, 1), float(chance.name))
        numbers, reference = np.concatenate([numbers, constant], axis=1), n_explainers
    scored = np.asarray(np.isfinite(numbers).all(axis=2))
    shared = scored[:, :n_explainers] & scored[:, reference, None]
    counts = shared.sum(axis=0)
    enough = counts >= thresholds.fewest_images
    leads = np.full(n_explainers, np.nan)
    for column in np.flatnonzero(enough & (np.arange(n_explainers) != reference)).tolist():
        means = numbers[shared[:, column]][:, [column, reference]].mean(axis=0)
        score, at_chance = scores.aggregate(means)
        leads[column] = sign * (score - at_chance)
    is_control = np.array([one.control for one in explainers])
    candidates = np.where(is_control, np.nan, leads)
    best = int(np.nanargmax(candidates)) if np.isfinite(candidates).any() else None
    lead = None if best is None else float(candidates[best])
    columns = [int(at) for at in np.flatnonzero(is_control) if at != chance.column]
    if not columns:
        return MetricBias(chance.name, best if best is None else explainers[best].text, lead, (), _NO_CONTROLS)
    pairs = np.array([(column, reference) for column in columns], dtype=np.int64)
    low, high = np.full((2, len(pairs)), np.nan)
    if enough[columns].any():
        family = scores_of(metric, numbers).family(resampling, pairs)
        ends = np.sort(sign * np.stack([family.low, family.high]), axis=0)  # NaN stays NaN
        low, high = ends
    found = [
        _control(explainers[column], leads[column], (low[at], high[at]), int(counts[column]), lead, thresholds)
        for at, column in enumerate(columns)
    ]
    if not enough[columns].any():
        reason = f"fewer than {thresholds.fewest_images} images have the scores of a control and of chance"
    return MetricBias(chance.name, None if best is None else explainers[best].text, lead, tuple(found), reason)


def _chance_of(metric: Metric, explainers: Sequence[ExplainerFacts]) -> tuple[_Chance | None, str | None]:
    """Return what chance is, and why it is not what the metric declares; None and why it is unknown."""
    if not any(one.control for one in explainers):
        return None, f"the run has no controls; {_ADD_CONTROLS}"
    columns = {one.name: at for at, one in reversed(list(enumerate(explainers))) if one.control}  # the first of a name
    declared = metric.spec.chance
    if isinstance(declared, float | int):
        return _Chance(float(declared), None), None
    reason = None
    if declared == "uniform":
        if _CONSTANT_MAP in columns:
            return _Chance(explainers[columns[_CONSTANT_MAP]].text, columns[_CONSTANT_MAP]), None
        reason = f"the control {_CONSTANT_MAP}, whose score is chance, is not in the run"
    if _PIXEL_NOISE in columns:
        instead = f"{reason}: {_PIXEL_NOISE} stands for it" if reason else None
        return _Chance(explainers[columns[_PIXEL_NOISE]].text, columns[_PIXEL_NOISE]), instead
    missing = f"the control {_PIXEL_NOISE}, which stands for chance, is not in the run"
    return None, f"{reason or missing}; {_ADD_CONTROLS}"


def _control(
    explainer: ExplainerFacts,
    over_chance: float,
    ends: tuple[float, float],
    n_images: int,
    lead: float | None,
    thresholds: Thresholds,
) -> ControlBias:
    low, high = (None if np.isnan(end) else float(end) for end in ends)
    limit = thresholds.lead_share if explainer.name in _OF_NO_PHOTO else thresholds.photo_lead_share
    rewarded = low is not None and lead is not None and low > max(limit * lead, 0.0)
    return ControlBias(
        control=explainer.text,
        toward=_TOWARD.get(explainer.name, explainer.text),
        over_chance=float(over_chance) if np.isfinite(over_chance) else None,
        low=low,
        high=high,
        n_images=n_images,
        lead_share=float(over_chance) / lead if lead is not None and lead > 0 and np.isfinite(over_chance) else None,
        limit=limit,
        rewarded=rewarded,
    )
