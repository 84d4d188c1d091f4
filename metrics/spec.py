"""What a metric is: a frozen spec, requests to model and explainer, and pure functions on NumPy arrays.

Polarity everywhere: a saliency map is float (H, W), higher = more important.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.core.component import Component
from evalkit.metrics.case import MISCLASSIFIED, ONLY_BOXES, Case, Region
from evalkit.metrics.requests import Cost, Kind, Request, ScoreKind

__all__ = ["Answer", "Metric", "MetricSpec", "PerturbationMetric", "RegionMetric", "SetMetric"]

Direction = Literal["higher", "lower"]
Family = Literal["faithfulness", "localization", "other", "sanity", "shortcut"]
Answer = NDArray[Any]
Map = NDArray[np.floating]


@dataclass(frozen=True)
class MetricSpec:
    """What is declared about a metric, so that no table has to know it by name.

    Attributes:
        name: the standard term, e.g. ``"energy_pointing_game"``.
        version: grows when the meaning of the number changes.
        direction: which way is better; of a descriptive metric, which way the table is sorted.
        bounds: the smallest and largest value that can occur.
        family: the leaderboard that shows it; ``sanity`` and ``shortcut``: none, but a sentence for each explainer.
        summary: what it is, in one sentence.
        reference: where the definition comes from.
        nan_reason: why a finite map can still be not scored; empty if it cannot.
        binary: every value is 0 or 1.
        descriptive: it has no better end: it describes a map, and never decides a choice.
        gated: the regression gate tests it unless told otherwise.
        sweep_column: position among the columns of a parameter sweep's table; 0 = behind these.
        column: title of its column where space is short; empty = its name.
        screen_column: position among the columns that ``run`` prints first, behind the criterion; 0 = behind these.
        curve: what its curve shows: pixels that are removed or inserted; empty if it has no single curve.
        curve_value: the curve's values, for the axis of its plot; a ``score`` is in 0..1, ``log-odds`` have no bounds.
        chance: the score of a map that depends on no image: a number, or ``uniform`` = the score of the constant
            map on the image; None = not known beforehand.
        sentence: for the family ``shortcut``: what is said of an explainer, with ``{mean}`` and ``{n}`` (images).
        note: what is said once beside the sentences, with the metric's parameters by name.
        of_model: it depends on image and model only, so that its sentence is said of the model.
        brief: the summary in about 40 letters, for the line of ``list metrics``; empty = the summary is cut there.
    """

    name: str
    version: int
    direction: Direction
    bounds: tuple[float, float]
    family: Family
    summary: str
    reference: str
    nan_reason: str = ""
    binary: bool = False
    descriptive: bool = False
    gated: bool = False
    sweep_column: int = 0
    column: str = ""
    screen_column: int = 0
    curve: Literal["", "removal", "insertion"] = ""
    curve_value: Literal["score", "log-odds"] = "score"
    chance: float | Literal["uniform"] | None = None
    sentence: str = ""
    note: str = ""
    of_model: bool = False
    brief: str = ""

    @property
    def is_ranked(self) -> bool:
        """Whether the metric has a column, ranks and tests; else sentences say what it measured."""
        return self.family not in ("sanity", "shortcut")


@dataclass(frozen=True)
class Metric(Component, ABC):
    """Base of every metric: its fields are its parameters, its ``spec`` says what the number means.

    Attributes:
        spec: what is declared about it.
        draws: it draws random numbers, by ``case.rng``; its signature then holds the run's seed.
        set_level: it scores the set as a whole, see ``SetMetric``.
        exact_region: it needs the object's own pixels, not boxes.
        n_partners: how many images of other classes it needs, see ``Case.partners``.
        request_kinds: the kinds of its requests, where making them for a probe would import slow libraries; None =
            they are made, and looked at.
    """

    spec: ClassVar[MetricSpec]
    draws: ClassVar[bool] = False
    set_level: ClassVar[bool] = False
    exact_region: ClassVar[bool] = False
    n_partners: ClassVar[int] = 0
    request_kinds: ClassVar[tuple[Kind, ...] | None] = None

    def __init_subclass__(cls) -> None:
        """Let the component's name and version be those of the spec."""
        super().__init_subclass__()
        if "spec" in cls.__dict__:
            cls.name = cls.spec.name
            cls.version = cls.spec.version

    @property
    def substrate(self) -> str:
        """What it replaces pixels with, ``mean`` or ``blur`` in evalkit's own metrics; empty if it replaces none."""
        return self.always_signed.get("substrate", "")

    @property
    def decides(self) -> bool:
        """Whether it can decide between explainers: it scores single images and has a better end."""
        return not (self.set_level or self.spec.descriptive)

    @property
    def score_kind(self) -> ScoreKind:
        """The score of the model that the requests need; it is in the signature."""
        return "softmax"

    def unscored_reason(self, case: Case) -> str | None:
        """Return why this image cannot be scored, whatever the map; None if it can."""
        return None

    def unscored_map_reason(self, saliency_map: Map) -> str | None:
        """Return why this finite map cannot be scored, float (H, W), whatever the image; None if it can."""
        return None

    def cost(self) -> Cost:
        """Return the most that is requested for one map, for the progress bar."""
        return Cost()

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return what the score needs beside the map.

        Args:
            saliency_map: finite float (H, W).
            case: the image, its target, the model's clean scores.
        """
        return ()

    @abstractmethod
    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float | NDArray[np.float64]:
        """Return the score of one map.

        Args:
            saliency_map: finite float (H, W).
            case: as given to ``requests``.
            answers: one for each request, in its order; see the request's class.

        Returns:
            The score; NaN for ``spec.nan_reason``. Of a ``SetMetric`` the image's statistics, float64 (K,).
        """

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score sets from the means of what each image contributes: here its score.

        Args:
            statistics: float64 (..., K), the **mean** over the images of each set; K is 1 for a score per image.

        Returns:
            float64 (...), NaN where the set cannot be scored.
        """
        return np.asarray(statistics[..., 0])

    def curve(self, answers: Sequence[Answer]) -> NDArray[np.float64] | None:
        """Return the curve to keep for plots, float64 (2, S): fractions and scores there; None = there is none."""
        return None

    def kept_curve(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> NDArray[np.float64] | None:
        """Return what is stored beside the score, float64 (2, S): ``curve``, or another of the metric's own."""
        return self.curve(answers)


@dataclass(frozen=True)
class RegionMetric(Metric):
    """Base of the metrics that compare the map with where the object is."""

    def unscored_reason(self, case: Case) -> str | None:
        """Return why there is no region that fits."""
        if case.region is None:
            return case.region_reason
        return ONLY_BOXES if self.exact_region and not case.region.exact else None

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float | NDArray[np.float64]:
        """Return ``score_region`` of the image's region."""
        if case.region is None:
            raise TypeError(f"{self.name} needs a region")
        return self.score_region(saliency_map, case.region)

    @abstractmethod
    def score_region(self, saliency_map: Map, region: Region) -> float | NDArray[np.float64]:
        """Return the score of one finite map (H, W); NaN for ``spec.nan_reason``."""


@dataclass(frozen=True)
class SetMetric(Metric):
    """Base of the metrics of a whole set: what each image contributes is not yet a score."""

    set_level: ClassVar[bool] = True

    @abstractmethod
    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score sets from the means of their images' statistics.

        Args:
            statistics: float64 (..., K), the **mean** of the images' statistics over each set.

        Returns:
            float64 (...), NaN where the set cannot be scored.
        """

    def chosen_thresholds(self, statistics: NDArray[np.float64]) -> tuple[float, ...]:
        """Return the thresholds, 0..1, that the score of one set is computed at; empty if it chooses none.

        Args:
            statistics: float64 (K,), the mean of the images' statistics.
        """
        return ()


@dataclass(frozen=True)
class PerturbationMetric(Metric):
    """Base of the metrics that are scored from the model's answers to perturbed images, where the model is right."""

    def unscored_reason(self, case: Case) -> str | None:
        """Return why the model's scores cannot be used: they are not finite, or it prefers another class."""
        return case.not_finite or (MISCLASSIFIED if case.misclassified else None)
