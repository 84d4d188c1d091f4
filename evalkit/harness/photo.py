"""One photo through every explainer and metric: the unit of work, and of what is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.image import UNLABELLED, LabelledImage
from evalkit.errors import EvalkitError
from evalkit.explainers.base import Explainer
from evalkit.harness.plan import Plan
from evalkit.metrics.spec import DatasetMetric, MapMetric, Metric, PerturbationMetric, RegionMetric, Truth
from evalkit.models.perturbation import PhotoScores

__all__ = ["Cell", "MadeMap", "PhotoResult", "score_photo"]

MISCLASSIFIED = "misclassified"
NOT_FINITE = "the model's score is not finite"


@dataclass(frozen=True, eq=False)
class Cell:
    """One score: a value, or the set's statistics, or the reason for neither."""

    explainer: Explainer
    metric: Metric
    value: float | None = None
    statistics: NDArray[np.float64] | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class MadeMap:
    """A map made just now: float32 (H, W), and the seconds it took."""

    explainer: Explainer
    saliency_map: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """Everything found out about one photo."""

    predicted: int
    target: int
    clean_score: float
    cells: list[Cell] = field(default_factory=list)
    maps: list[MadeMap] = field(default_factory=list)


def score_photo(
    plan: Plan,
    image: LabelledImage,
    cells: Sequence[tuple[Explainer, Sequence[Metric]]],
    stored: Mapping[str, NDArray[np.float32]],
    advance: Callable[[Explainer, Sequence[Metric]], None],
) -> PhotoResult:
    """Explain and score one photo.

    Args:
        plan: the run.
        image: fitted to the classifier's input.
        cells: which explainers and, for each, which metrics.
        stored: maps that need not be made again, by explainer text.
        advance: called after each explainer is done.
    """
    clean = plan.classifier.probabilities(image.pixels[None])[0]
    finite = bool(np.isfinite(clean).all())
    predicted = int(clean.argmax()) if finite else UNLABELLED
    target = predicted if plan.target == "predicted" and finite else image.class_index
    result = PhotoResult(predicted, target, float(clean[target]))
    scores = PhotoScores(plan.classifier, image.pixels, target, result.clean_score)
    photo = _Photo(plan, image, result, scores)
    for explainer, metrics in cells:
        photo.explain_and_score(explainer, metrics, stored.get(explainer.text))
        advance(explainer, metrics)
    return result


@dataclass(frozen=True, eq=False)
class _Photo:
    plan: Plan
    image: LabelledImage
    result: PhotoResult
    scores: PhotoScores

    def explain_and_score(
        self, explainer: Explainer, metrics: Sequence[Metric], stored: NDArray[np.float32] | None
    ) -> None:
        """Add one explainer's map and cells to the result."""
        made, problem = (stored, None) if stored is not None else self._make(explainer)
        problem = problem or _map_problem(made, self.image.pixels.shape[:2])
        asking = [
            metric
            for metric in metrics
            if isinstance(metric, PerturbationMetric) and not (problem or self._why_not(metric))
        ]
        answers = {} if made is None else self._ask(made, asking)
        for metric in metrics:
            reason = problem or self._why_not(metric)
            if reason is not None or made is None:
                self.result.cells.append(Cell(explainer, metric, reason=reason))
            else:
                self.result.cells.append(self._score(explainer, metric, made, answers.get(metric.text)))

    def _make(self, explainer: Explainer) -> tuple[NDArray[np.float32] | None, str | None]:
        start = perf_counter()
        try:
            maps = explainer.explain(self.plan.classifier, self.image.pixels[None], [self.result.target])
        except EvalkitError as error:
            return None, str(error)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # One explainer that fails on one photo costs its own cells, not the run.
            said = str(error).strip().partition("\n")[0][:200]
            return None, f"{explainer.name} failed: {type(error).__name__}" + (f": {said}" if said else "")
        made = np.asarray(maps[0], dtype=np.float32)
        self.result.maps.append(MadeMap(explainer, made, perf_counter() - start))
        return made, None

    def _ask(self, made: NDArray[np.float32], metrics: Sequence[PerturbationMetric]) -> dict[str, float]:
        """Score all perturbation metrics of one map together, so that batches fill and shared curves are asked once."""
        plans = {metric.text: metric.plan(made) for metric in metrics}
        answers = iter(self.scores.scores([one for plan in plans.values() for one in plan]))
        self.scores.forget()
        clean = self.result.clean_score
        return {
            metric.text: metric.integrate(plans[metric.text], [next(answers) for _ in plans[metric.text]], clean)
            for metric in metrics
        }

    def _why_not(self, metric: Metric) -> str | None:
        """Say why this photo cannot be scored by this metric, whatever the map; None if it can."""
        labelled = self.image.class_index
        if isinstance(metric, PerturbationMetric):
            if not np.isfinite(self.result.clean_score):
                return NOT_FINITE
            wrong = self.plan.target == "label" and self.result.predicted != labelled
            return MISCLASSIFIED if wrong else None
        if isinstance(metric, MapMetric):
            return None
        if self.image.region is None:
            return "no region"
        if self.result.target != labelled:
            return "the class explained is not the region's"
        if not self.image.region.any():
            return "nothing of the region is left at the model's input size"
        if metric.spec.exact_region and not self.image.exact:
            return "only boxes, no exact mask"
        return None

    def _score(self, explainer: Explainer, metric: Metric, made: NDArray[np.float32], answer: float | None) -> Cell:
        if isinstance(metric, PerturbationMetric):
            value = np.nan if answer is None else answer
        elif isinstance(metric, MapMetric):
            value = metric.score(made)
        elif isinstance(metric, RegionMetric):
            value = metric.score(made, self._truth())
        elif isinstance(metric, DatasetMetric):
            statistics = metric.statistics(made, self._truth())
            if np.isfinite(statistics).all():
                return Cell(explainer, metric, statistics=statistics)
            value = np.nan
        else:
            raise TypeError(f"{type(metric).__name__} is no kind of metric that can be scored")
        if np.isfinite(value):
            return Cell(explainer, metric, value=float(value))
        return Cell(explainer, metric, reason=metric.spec.nan_reason or "the score is not finite")

    def _truth(self) -> Truth:
        image = self.image
        if image.region is None or image.boxes is None:
            raise TypeError("a region metric was asked for a photo without a region")
        return Truth(image.region, image.boxes, image.exact, image.pixel_size)


def _map_problem(made: NDArray[np.float32] | None, size: tuple[int, ...]) -> str | None:
    if made is None:
        return None
    if made.shape != size:
        return f"the map is {made.shape[0]} x {made.shape[1]}, the photo {size[0]} x {size[1]}"
    if not np.isfinite(made).all():
        return "the map has NaN or infinite values"
    return None
