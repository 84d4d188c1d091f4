"""Shortcuts: does a map show a cue that the model uses, and stay off a cue that it does not use?

The cue lies outside the object and tells a class in most images of the set. Whether the model uses it is measured on
each image, by its scores on the image and on the same image without the cue. All are descriptive: a map that shows the
cue everywhere misses none, and one that shows it nowhere gives no false alarm, so the two rates are read together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Case, Cue
from evalkit.metrics.pixels import pixel_auc
from evalkit.metrics.requests import Cost, Request, Shown
from evalkit.metrics.spec import Answer, Metric, MetricSpec

__all__ = ["CueDrop", "CueFalseAlarm", "CueFollowed", "CueMissed", "CuePixelAuc", "ObjectDrop", "cue_pixel_auc"]

Map = NDArray[np.floating]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8 | np.float32]
_REFERENCE = "Adebayo et al., ICLR 2022"
_BINARY = (0.0, 1.0)


def cue_pixel_auc(saliency_map: Map, cue: Mask, background: Mask) -> float:
    """Return the probability that a pixel of the cue is higher than one of the background; equal pixels count half.

    It is the area under the ROC curve of the map's values, with the cue's pixels as positives. A constant map, and on
    average a random one, scores 0.5.

    Args:
        saliency_map: float (H, W).
        cue: bool (H, W), at least one pixel.
        background: bool (H, W), at least one pixel, none of them in the cue.

    Returns:
        0..1; NaN if the map is not finite, or either set is empty.
    """
    counted = cue | background
    return pixel_auc(saliency_map[counted], cue[counted])


@dataclass(frozen=True)
class _CueMetric(Metric):
    """Base of the metrics that need a known cue in the image."""

    def unscored_reason(self, case: Case) -> str | None:
        """Return why there is no cue that can be used, or that the model's scores are not finite."""
        return case.not_finite or (case.cue_reason if case.cue is None else None)

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return ``score_cue`` of the image's cue."""
        if case.cue is None:
            raise TypeError(f"{self.name} needs a cue")
        return self.score_cue(saliency_map, case, case.cue, answers)

    @abstractmethod
    def score_cue(self, saliency_map: Map, case: Case, cue: Cue, answers: Sequence[Answer]) -> float:
        """Return the score of one finite map (H, W); NaN for ``spec.nan_reason``."""


@dataclass(frozen=True)
class CuePixelAuc(_CueMetric):
    """Pixel AUC of the cue against the background."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="cue_pixel_auc",
        version=1,
        direction="higher",
        bounds=_BINARY,
        family="shortcut",
        summary="probability that a pixel of the cue is higher than one of the background",
        brief="probability that the cue is above the background",
        chance=0.5,
        reference=_REFERENCE,
        descriptive=True,
        sentence="cue above background with probability {mean}",
    )

    def score_cue(self, saliency_map: Map, case: Case, cue: Cue, answers: Sequence[Answer]) -> float:
        """Return ``cue_pixel_auc``."""
        return cue_pixel_auc(saliency_map, cue.mask, cue.background)


@dataclass(frozen=True)
class _Without(_CueMetric):
    """Base of the metrics that score the image without something: one pass an image, for all maps."""

    @abstractmethod
    def shown(self, cue: Cue) -> Pixels | None:
        """Return the image without it; None if there is none."""

    def cost(self) -> Cost:
        """Return one image, for all maps together."""
        return Cost(shared_images=1)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return the image without it."""
        pixels = None if case.cue is None else self.shown(case.cue)
        return [] if pixels is None else [Shown(pixels)]


@dataclass(frozen=True)
class _WithoutCue(_Without):
    """Base of the metrics that score the image without the cue."""

    def shown(self, cue: Cue) -> Pixels | None:
        """Return the image without the cue."""
        return cue.without


def _drop(case: Case, scores: NDArray[np.float64]) -> float:
    return case.clean_score - float(scores[list(case.target)].sum())


@dataclass(frozen=True)
class CueDrop(_WithoutCue):
    """Drop of the target's score when the cue is removed; it depends on image and model only."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="cue_drop",
        version=1,
        direction="lower",
        bounds=(-1.0, 1.0),
        family="shortcut",
        summary="drop of the target's score when the cue is removed; the same for every map",
        brief="drop of the score without the cue",
        reference=_REFERENCE,
        nan_reason="the score without the cue is not finite",
        descriptive=True,
        sentence="the target's score drops by {mean} without the cue ({n} images)",
        of_model=True,
    )

    def score_cue(self, saliency_map: Map, case: Case, cue: Cue, answers: Sequence[Answer]) -> float:
        """Return the difference of the two scores."""
        return _drop(case, answers[0])


@dataclass(frozen=True)
class ObjectDrop(_Without):
    """Drop of the target's score when the object is removed and the cue stays; it depends on image and model only."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="object_drop",
        version=1,
        direction="higher",
        bounds=(-1.0, 1.0),
        family="shortcut",
        summary="drop of the target's score when the object is removed; the same for every map",
        brief="drop of the score without the object",
        reference=_REFERENCE,
        nan_reason="the score without the object is not finite",
        descriptive=True,
        sentence="it drops by {mean} without the object ({n} images)",
        of_model=True,
    )

    def unscored_reason(self, case: Case) -> str | None:
        """Return why there is no image without the object."""
        reason = super().unscored_reason(case)
        if reason is None and case.cue is not None and case.cue.without_object is None:
            return "no image without the object"
        return reason

    def shown(self, cue: Cue) -> Pixels | None:
        """Return the image without the object."""
        return cue.without_object

    def score_cue(self, saliency_map: Map, case: Case, cue: Cue, answers: Sequence[Answer]) -> float:
        """Return the difference of the two scores."""
        return _drop(case, answers[0])


@dataclass(frozen=True)
class CueFollowed(_CueMetric):
    """Whether the model prefers the cue's class, where it is not the label's; it depends on image and model only."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="cue_followed",
        version=1,
        direction="lower",
        bounds=_BINARY,
        family="shortcut",
        summary="1 where the cue tells another class than the label and the model predicts it",
        brief="rate of conflicts that the cue decides",
        reference=_REFERENCE,
        nan_reason="the cue tells the class of the label",
        binary=True,
        descriptive=True,
        sentence="where the cue tells another class than the label ({n} images), the model follows the cue on {mean}",
        of_model=True,
    )

    def unscored_reason(self, case: Case) -> str | None:
        """Return why the cue's class is not known."""
        reason = super().unscored_reason(case)
        if reason is not None or case.cue is None:
            return reason
        if case.cue.output is None or case.cue.agrees is None:
            return "no output of the model is known for the class that the cue tells"
        return None

    def score_cue(self, saliency_map: Map, case: Case, cue: Cue, answers: Sequence[Answer]) -> float:
        """Return 1 where the model's first choice is the cue's class, else 0; NaN where that is the label's class."""
        if cue.agrees:
            return np.nan
        return float(int(np.argmax(case.clean_scores)) == cue.output)


@dataclass(frozen=True)
class CueMissed(_WithoutCue):
    """Whether the map fails to show a cue that the model uses; the mean is the miss rate.

    Attributes:
        used_from: smallest drop of the target's score without the cue at which the model uses it, over 0 to 1.
        shown_from: smallest ``cue_pixel_auc`` at which a map shows the cue, over 0.5 to 1.
    """

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="cue_missed",
        version=1,
        direction="lower",
        bounds=_BINARY,
        family="shortcut",
        summary="1 where the model uses the cue and the map does not show it; the mean is the miss rate",
        brief="rate of used cues that the map does not show",
        reference=_REFERENCE,
        nan_reason="the model does not use the cue for the class explained",
        binary=True,
        descriptive=True,
        sentence="misses the cue on {mean} of the {n} images where the model uses it",
        note="The model uses the cue where the target's score drops by {used_from:g} or more without it. A map shows "
        "it where its pixels are above those of the background, the object left out, with probability {shown_from:g} "
        "or more.",
    )
    used_from: float = 0.2
    shown_from: float = 0.9

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require(self, "used_from", 0.0 < self.used_from <= 1.0, "more than 0, at most 1")
        _require(self, "shown_from", 0.5 < self.shown_from <= 1.0, "more than 0.5, at most 1")

    def score_cue(self, saliency_map: Map, case: Case, cue: Cue, answers: Sequence[Answer]) -> float:
        """Return 1 for a miss, 0 where the cue is shown; NaN where the model does not use it."""
        if not _drop(case, answers[0]) >= self.used_from:
            return np.nan
        return float(not cue_pixel_auc(saliency_map, cue.mask, cue.background) >= self.shown_from)


@dataclass(frozen=True)
class CueFalseAlarm(_WithoutCue):
    """Whether the map shows a cue that the model does not use; the mean is the false alarm rate.

    Attributes:
        unused_to: largest change of any output's score without the cue at which the model does not use it, 0 to 1.
        shown_from: smallest ``cue_pixel_auc`` at which a map shows the cue, over 0.5 to 1.
    """

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="cue_false_alarm",
        version=1,
        direction="lower",
        bounds=_BINARY,
        family="shortcut",
        summary="1 where the model does not use the cue and the map shows it; the mean is the false alarm rate",
        brief="rate of unused cues that the map shows",
        reference=_REFERENCE,
        nan_reason="the model's scores change with the cue",
        binary=True,
        descriptive=True,
        sentence="shows it on {mean} of the {n} where the model does not",
        note="The model does not use the cue where no output changes by more than {unused_to:g} without it.",
    )
    unused_to: float = 0.05
    shown_from: float = 0.9

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require(self, "unused_to", 0.0 <= self.unused_to <= 1.0, "0 to 1")
        _require(self, "shown_from", 0.5 < self.shown_from <= 1.0, "more than 0.5, at most 1")

    def score_cue(self, saliency_map: Map, case: Case, cue: Cue, answers: Sequence[Answer]) -> float:
        """Return 1 for a false alarm, 0 where the cue is not shown; NaN where the model's scores change with it."""
        if not np.abs(case.clean_scores - answers[0]).max() <= self.unused_to:
            return np.nan
        return float(cue_pixel_auc(saliency_map, cue.mask, cue.background) >= self.shown_from)


def _require(metric: Metric, parameter: str, is_allowed: bool, allowed: str) -> None:
    if not is_allowed:
        raise ConfigError(f"{metric.name}: {parameter}={getattr(metric, parameter)} is not allowed; {allowed}")
