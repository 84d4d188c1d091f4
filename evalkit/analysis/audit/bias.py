"""What controls, which do not depend on the model, score against chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.audit.results import ControlBias, MetricBias, Thresholds
from evalkit.analysis.scores import Scores, scores_of
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts

__all__ = ["bias_of"]

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
        return MetricBias(None, None, None, (), reason=reason)
    numbers, reference = scores.numbers, chance.column
    if reference is None:
        constant = np.full((len(numbers), 1, 1), float(chance.name))
        numbers, reference = np.concatenate([numbers, constant], axis=1), len(explainers)
    compared = _Compared(metric, scores_of(metric, numbers), reference, resampling, thresholds.fewest_images)
    own = [at for at, one in enumerate(explainers) if not one.control]
    columns = [at for at, one in enumerate(explainers) if one.control and at != chance.column]
    leads = {at: lead for at in own if (lead := compared.over_chance(at)) is not None}
    best = max(leads, key=lambda at: leads[at]) if leads else None
    lead = None if best is None else leads[best]
    ends = compared.intervals(columns)
    found = MetricBias(
        chance=chance.name,
        best=None if best is None else explainers[best].text,
        lead=lead,
        controls=tuple(
            _control(explainers[at], compared.over_chance(at), ends.get(at), compared.n_images(at), lead, thresholds)
            for at in columns
        ),
        below_noise=()
        if metric.spec.chance is not None
        else tuple(explainers[at].text for at, (_, high) in compared.intervals(own).items() if high < 0),
        reason=reason,
    )
    if not columns:
        return msgspec.structs.replace(found, reason=_NO_CONTROLS)
    if all(compared.over_chance(at) is None for at in columns):
        few = f"fewer than {thresholds.fewest_images} images have the scores of a control and of chance"
        return msgspec.structs.replace(found, reason=few)
    return found


@dataclass(frozen=True)
class _Compared:
    """Scores compared with those of chance, on the images that have both.

    Attributes:
        metric: the metric.
        scores: its scores, chance included.
        reference: the column of chance.
        resampling: resampling of the images.
        fewest_images: fewest images of a comparison.
    """

    metric: Metric
    scores: Scores
    reference: int
    resampling: Resampling
    fewest_images: int

    @property
    def sign(self) -> float:
        """1 if higher scores are better, else -1."""
        return 1.0 if self.metric.spec.direction == "higher" else -1.0

    def shared(self, column: int) -> NDArray[np.bool_]:
        """Return the images that have the score of a column and of chance, bool (n,)."""
        return np.asarray(self.scores.scored[:, column] & self.scores.scored[:, self.reference])

    def n_images(self, column: int) -> int:
        """Return their number."""
        return int(self.shared(column).sum())

    def over_chance(self, column: int) -> float | None:
        """Return the score minus chance, positive = better; None with too few images."""
        rows = self.shared(column)
        if np.count_nonzero(rows) < self.fewest_images:
            return None
        score, chance = self.scores.aggregate(self.scores.numbers[:, [column, self.reference]][rows].mean(axis=0))
        return self.sign * float(score - chance)

    def intervals(self, columns: Sequence[int]) -> dict[int, tuple[float, float]]:
        """Return the 95 % intervals of ``over_chance`` by column, which hold together; none where nothing differs."""
        columns = [column for column in columns if self.n_images(column) >= self.fewest_images]
        if not columns:
            return {}
        pairs = np.array([(column, self.reference) for column in columns], dtype=np.int64)
        family = self.scores.family(self.resampling, pairs)
        ends = np.sort(self.sign * np.stack([family.low, family.high]), axis=0)
        return {
            column: (float(low), float(high))
            for column, low, high in zip(columns, *ends, strict=True)
            if np.isfinite(low) and np.isfinite(high)
        }


def _chance_of(metric: Metric, explainers: Sequence[ExplainerFacts]) -> tuple[_Chance | None, str | None]:
    """Return what chance is, and why it is not what the metric declares; None and why it is unknown."""
    if not any(one.control for one in explainers):
        return None, f"the run has no controls; {_ADD_CONTROLS}"
    columns = {one.name: at for at, one in reversed(list(enumerate(explainers))) if one.control}  # the first of a name
    declared = metric.spec.chance
    if isinstance(declared, float | int) and not metric.set_level:  # a set's statistics have no such number
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
    over_chance: float | None,
    ends: tuple[float, float] | None,
    n_images: int,
    lead: float | None,
    thresholds: Thresholds,
) -> ControlBias:
    limit = thresholds.lead_share if explainer.name in _OF_NO_PHOTO else thresholds.photo_lead_share
    low, high = ends or (None, None)
    return ControlBias(
        control=explainer.text,
        toward=_TOWARD.get(explainer.name, explainer.text),
        over_chance=over_chance,
        low=low,
        high=high,
        n_images=n_images,
        lead_share=None if over_chance is None or lead is None or lead <= 0 else over_chance / lead,
        limit=limit,
        rewarded=low is not None and lead is not None and low > max(limit * lead, 0.0),
    )
