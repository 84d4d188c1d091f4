"""Faithfulness: what the model's score does when pixels are replaced in the map's order.

References: Petsiuk et al., RISE, BMVC 2018 (deletion, insertion; as its evaluation.py codes them); Bluecher et al.,
TMLR 2024 (symmetric relevance gain); Chattopadhay et al., Grad-CAM++, WACV 2018, section 4.1 (average drop, increase).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Case
from evalkit.metrics.curves import ScoredAlongCurves
from evalkit.metrics.levels import Ties, cuts, is_constant, level_ranks, raster_ranks, scaled
from evalkit.metrics.requests import Blend, Canvas, Cost, Perturbation, Request, ScoreKind, Substrate
from evalkit.metrics.spec import Answer, MetricSpec, PerturbationMetric

__all__ = [
    "AverageDrop",
    "Deletion",
    "IncreaseInConfidence",
    "Insertion",
    "SymmetricRelevanceGain",
    "area_under_curve",
    "perturbation",
]


Map = NDArray[np.floating]

_TO_MEAN: Mapping[str, str] = MappingProxyType({"substrate": "mean"})
_FROM_BLUR: Mapping[str, str] = MappingProxyType({"substrate": "blur"})
_SUBSTRATES: Mapping[Substrate, str] = MappingProxyType(
    {
        "mean": "the mean color",
        "blur": "the blurred photo",
        "road": "colors imputed from the pixels that are left",
        "noise": "uniform noise",
        "black": "black",
    }
)


def area_under_curve(fractions: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Return the trapezoid over the fractions as they really are, so that uneven cuts weigh what they span.

    >>> area_under_curve(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0]))
    0.5
    """
    return float(np.trapezoid(scores, fractions))


def perturbation(
    saliency_map: Map,
    start: Canvas | Substrate,
    end: Canvas | Substrate,
    steps: int,
    ties: Ties,
    score: ScoreKind = "softmax",
) -> Perturbation:
    """Plan to turn ``start`` into ``end``, the most relevant pixels first.

    Args:
        saliency_map: finite float (H, W).
        start: shown at first.
        end: shown at last.
        steps: the curve is cut nearest to each k/steps of the pixels, both ends included.
        ties: ``levels`` cuts between levels only; ``raster`` breaks ties in raster order.
        score: the score of the model along the curve.
    """
    rank, boundaries = (level_ranks if ties == "levels" else raster_ranks)(saliency_map)
    return Perturbation(start, end, rank, cuts(boundaries, steps), score)


@dataclass(frozen=True)
class _Curve(ScoredAlongCurves):
    """Base of the metrics that are areas under curves.

    Attributes:
        steps: number of cuts of the curve, 1 to 10,000; each costs a forward pass, but for the ends.
        ties: when pixels of equal value turn: ``levels``, together; ``raster``, in raster order, as torch-cam does.
        score_kind: the model's score along the curve, the parameter ``score``: ``softmax``, or ``log_odds``, which a
            saturated softmax does not flatten.
        substrate: what replaces pixels: ``mean``, the mean color; ``blur``, the blurred photo; ``road``, colors imputed
            from the pixels that are left; uniform ``noise``; or ``black``.
    """

    steps: int = 28
    ties: Ties = "levels"
    score_kind: ScoreKind = field(default="softmax", metadata={"name": "score", "signed_default": False})
    substrate: Substrate = "mean"

    def __post_init__(self) -> None:
        """Check the values; let the summary name the substrate."""
        if not 1 <= self.steps <= 10_000:
            raise ConfigError(f"{self.name}: steps={self.steps} is not allowed; 1 to 10000")
        if self.substrate not in _SUBSTRATES:
            allowed = " or ".join(_SUBSTRATES)
            raise ConfigError(f"{self.name}: substrate={self.substrate} is not allowed; it takes {allowed}")
        usual = type(self).substrate
        if self.substrate != usual:
            summary = self.spec.summary.replace(_SUBSTRATES[usual], _SUBSTRATES[self.substrate])
            object.__setattr__(self, "spec", replace(self.spec, summary=summary))
        super().__post_init__()

    def planned(
        self, saliency_map: Map, case: Case, start: Canvas | Substrate, end: Canvas | Substrate
    ) -> Perturbation:
        """Return the request of one curve."""
        self.require_seed(case)
        return perturbation(saliency_map, start, end, self.steps, self.ties, self.score_kind)

    def area(self, curve: Answer) -> float:
        """Return the area under one curve; NaN if the model's scores along it are not finite."""
        return area_under_curve(*curve) if np.isfinite(curve).all() else np.nan


@dataclass(frozen=True)
class _OneCurve(_Curve):
    """Base of the metrics that are the area under one curve.

    Attributes:
        from_substrate: the curve begins at the substrate and ends at the photo; False = the reverse.
    """

    from_substrate: ClassVar[bool]

    def cost(self) -> Cost:
        """Return one image a step; the ends are shared by all maps of an image."""
        return Cost(images=self.steps)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return the curve from one end to the other."""
        ends = (self.substrate, "image") if self.from_substrate else ("image", self.substrate)
        return [self.planned(saliency_map, case, *ends)]

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return the area, 0..1; of log-odds any number."""
        return self.area(answers[0])

    def curve(self, answers: Sequence[Answer]) -> NDArray[np.float64] | None:
        """Return the curve itself; None if the model's scores along it are not finite."""
        return answers[0] if np.isfinite(answers[0]).all() else None


@dataclass(frozen=True)
class Deletion(_OneCurve):
    """Area under the score while the most relevant pixels are replaced by the substrate. See docs/metrics.md."""

    from_substrate: ClassVar[bool] = False
    always_signed: ClassVar[Mapping[str, str]] = _TO_MEAN
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="deletion",
        version=2,
        direction="lower",
        bounds=(0.0, 1.0),
        family="faithfulness",
        summary="area under the class's score while the most relevant pixels turn into the mean color",
        brief="score as relevant pixels are removed",
        reference="Petsiuk et al., RISE, BMVC 2018, section 4.1 and evaluation.py",
        sweep_column=2,
        curve="removal",
        screen_column=1,
    )


@dataclass(frozen=True)
class Insertion(_OneCurve):
    """Area under the score while the most relevant pixels appear on the substrate. See docs/metrics.md."""

    from_substrate: ClassVar[bool] = True
    always_signed: ClassVar[Mapping[str, str]] = _FROM_BLUR
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="insertion",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="faithfulness",
        summary="area under the class's score while the most relevant pixels appear in the blurred photo",
        brief="score as relevant pixels are added",
        reference="Petsiuk et al., RISE, BMVC 2018, section 4.1 and evaluation.py",
        gated=True,
        sweep_column=3,
        curve="insertion",
        screen_column=2,
    )
    substrate: Substrate = "blur"


@dataclass(frozen=True)
class SymmetricRelevanceGain(_Curve):
    """Insertion minus deletion, both with one substrate. See docs/metrics.md."""

    always_signed: ClassVar[Mapping[str, str]] = _TO_MEAN
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="symmetric_relevance_gain",
        version=2,
        direction="higher",
        bounds=(-1.0, 1.0),
        family="faithfulness",
        summary="insertion minus deletion, both with the mean color: what the order of the pixels is worth",
        brief="insertion minus deletion, mean color",
        reference="Bluecher et al., TMLR 2024 (SRG: least minus most relevant first)",
        gated=True,
        sweep_column=1,
        chance=0.0,
        column="gain",
    )

    def cost(self) -> Cost:
        """Return two images a step."""
        return Cost(images=2 * self.steps)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return two curves; the second is deletion's own."""
        return [
            self.planned(saliency_map, case, self.substrate, "image"),
            self.planned(saliency_map, case, "image", self.substrate),
        ]

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return the difference of the areas, -1..1, of log-odds any number; 0 for a constant map."""
        return self.area(answers[0]) - self.area(answers[1])


@dataclass(frozen=True)
class _Shown(PerturbationMetric):
    """Base of the metrics that show the model the photo as the map leaves it.

    A constant map leaves the same photo whatever the image, mostly with a high score, so it is not scored.
    """

    def unscored_map_reason(self, saliency_map: Map) -> str | None:
        """Return that the map is constant."""
        return "the map is constant" if is_constant(saliency_map) else None

    def cost(self) -> Cost:
        """Return one image."""
        return Cost(images=1)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return one image: the photo where the scaled map is 1, the mean color where it is 0."""
        return [Blend("image", "mean", scaled(saliency_map))]


@dataclass(frozen=True)
class AverageDrop(_Shown):
    """Share of the score lost when only what the map shows is left. See docs/metrics.md."""

    always_signed: ClassVar[Mapping[str, str]] = _TO_MEAN
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="average_drop",
        version=2,
        direction="lower",
        bounds=(0.0, 1.0),
        family="faithfulness",
        summary="share of the class's score lost when the photo is faded to the mean color where the map is low",
        brief="score lost if only the map is shown",
        reference="Chattopadhay et al., Grad-CAM++, WACV 2018, section 4.1",
        nan_reason="the score of the untouched photo is 0",
        column="drop",
    )

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return max(0, Y - O) / Y, 0..1; NaN if Y is 0 or the map is constant."""
        if is_constant(saliency_map):
            return np.nan
        clean = case.clean_score
        shown = float(answers[0][0])
        return max(0.0, clean - shown) / clean if clean > 0 and not np.isnan(shown) else np.nan


@dataclass(frozen=True)
class IncreaseInConfidence(_Shown):
    """Whether the score rises when only what the map shows is left. See docs/metrics.md."""

    always_signed: ClassVar[Mapping[str, str]] = _TO_MEAN
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="increase_in_confidence",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="faithfulness",
        summary="share of photos whose class score rises when faded to the mean color where the map is low",
        brief="score rises if only the map is shown",
        reference="Chattopadhay et al., Grad-CAM++, WACV 2018, section 4.1",
        binary=True,
        column="increase",
    )

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return 1 if O > Y, else 0; NaN if either is, or the map is constant."""
        if is_constant(saliency_map):
            return np.nan
        shown = float(answers[0][0])
        return np.nan if np.isnan(shown) or np.isnan(case.clean_score) else float(shown > case.clean_score)
