"""One photo through every explainer and metric: the unit of work, and of what is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import EvalkitError
from evalkit.datasets.image import UNLABELLED, LabelledImage
from evalkit.explainers.base import Explainer
from evalkit.harness.planning.plan import Plan
from evalkit.metrics.spec import (
    Composition,
    DatasetMetric,
    MapMetric,
    Metric,
    Perturbation,
    PerturbationMetric,
    RegionMetric,
    Truth,
)
from evalkit.models.inference.perturbation import PhotoScores
from evalkit.models.probabilities import score_of
from evalkit.store.maps import as_float32

__all__ = ["Cell", "MadeMap", "PhotoResult", "score_photo", "unscored", "why_failed"]

MISCLASSIFIED = "misclassified"
_NOT_NUMBERS = "the map has NaN or infinite values"
_TOGETHER = 16  # maps whose compositions are asked together, so that batches fill

Advance = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Cell:
    """One score: a value, or the set's statistics, or the reason for neither, which may be that something failed."""

    explainer: Explainer
    metric: Metric
    value: float | None = None
    statistics: NDArray[np.float64] | None = None
    reason: str | None = None
    failed: bool = False
    curve: NDArray[np.float64] | None = None  # (2, S): shares of the pixels turned, and the scores there


@dataclass(frozen=True, eq=False)
class MadeMap:
    """A map made just now: float32 (H, W), and the seconds it took."""

    explainer: Explainer
    saliency_map: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """Everything found out about one photo.

    Attributes:
        predicted: the model's first choice; -1 if its scores are not finite.
        targets: the outputs that were explained and scored together; mostly one.
        clean_score: their score on the untouched photo.
        cells: of every explainer and metric asked for.
        maps: made just now.
    """

    predicted: int
    targets: tuple[int, ...]
    clean_score: float
    cells: list[Cell] = field(default_factory=list)
    maps: list[MadeMap] = field(default_factory=list)


def score_photo(
    plan: Plan,
    image: LabelledImage,
    cells: Sequence[tuple[Explainer, Sequence[Metric]]],
    stored: Mapping[str, NDArray[np.float32]],
    advance: Advance,
) -> PhotoResult:
    """Explain and score one photo.

    Args:
        plan: the run.
        image: fitted to the classifier's input.
        cells: which explainers and, for each, which metrics.
        stored: maps that need not be made again, by explainer text.
        advance: told what is being done and how many passes more it took.
    """
    clean = plan.classifier.probabilities(image.pixels[None])[0]
    finite = bool(np.isfinite(clean).all())
    predicted = int(clean.argmax()) if finite else UNLABELLED
    targets = (predicted,) if plan.target == "predicted" and finite else image.targets
    result = PhotoResult(predicted, targets, float(score_of(clean, targets)))
    scores = PhotoScores(plan.classifier, image.pixels, targets, result.clean_score)
    photo = _Photo(plan, image, result, scores, advance)
    for start in range(0, len(cells), _TOGETHER):
        photo.explain_and_score(cells[start : start + _TOGETHER], stored)
    return result


@dataclass(frozen=True, eq=False)
class _Asked:
    """One map, and what its metrics want to see of the model."""

    explainer: Explainer
    metrics: Sequence[Metric]
    saliency_map: NDArray[np.float32] | None
    problem: str | None
    plans: Mapping[str, Sequence[Composition]]
    broken: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Photo:
    plan: Plan
    image: LabelledImage
    result: PhotoResult
    scores: PhotoScores
    advance: Advance

    def explain_and_score(
        self, cells: Sequence[tuple[Explainer, Sequence[Metric]]], stored: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Add the maps and cells of some explainers to the result."""
        asked = [self._planned(explainer, metrics, stored.get(explainer.text)) for explainer, metrics in cells]
        compositions = [one for each in asked for plan in each.plans.values() for one in plan]
        answers = iter(self.scores.scores(compositions, lambda images: self.advance("scoring", images)))
        for each in asked:
            found = {text: [next(answers) for _ in plan] for text, plan in each.plans.items()}
            self.result.cells.extend(self._cell(each, metric, found.get(metric.text)) for metric in each.metrics)

    def _planned(self, explainer: Explainer, metrics: Sequence[Metric], stored: NDArray[np.float32] | None) -> _Asked:
        made, problem = (stored, None) if stored is not None else self._make(explainer)
        if problem == _NOT_NUMBERS and not np.isfinite(self.result.clean_score):
            problem = self.not_finite  # the cause, not its consequence
        plans: dict[str, Sequence[Composition]] = {}
        broken: dict[str, str] = {}
        for metric in metrics:
            if made is None or problem or not isinstance(metric, PerturbationMetric) or self._why_not(metric):
                continue
            try:
                plans[metric.text] = tuple(metric.plan(made))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                broken[metric.text] = why_failed(metric.name, error)
        self.advance(explainer.text, explainer.forward_passes(self.plan.classifier.input_size))
        return _Asked(explainer, metrics, made, problem, plans, broken)

    def _cell(self, asked: _Asked, metric: Metric, scores: Sequence[NDArray[np.float64]] | None) -> Cell:
        broken = asked.problem or asked.broken.get(metric.text)
        reason = broken or self._why_not(metric)
        if reason is not None or asked.saliency_map is None:
            return Cell(asked.explainer, metric, reason=reason, failed=bool(broken) or reason == self.not_finite)
        try:
            answer, curve = None, None
            if isinstance(metric, PerturbationMetric) and scores is not None:
                plan = asked.plans[metric.text]
                answer = metric.integrate(plan, scores, self.result.clean_score)
                curve = _only_curve(plan, scores)
            return replace(self._score(asked.explainer, metric, asked.saliency_map, answer), curve=curve)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # One metric that fails on one map costs its own cell, not the run.
            return Cell(asked.explainer, metric, reason=why_failed(metric.name, error), failed=True)

    def _make(self, explainer: Explainer) -> tuple[NDArray[np.float32] | None, str | None]:
        start = perf_counter()
        try:
            maps = explainer.explain_photo(self.plan.classifier, self.image, self.result.targets)
            made = as_float32(np.asarray(maps[0]))
        except EvalkitError as error:
            return None, str(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # One explainer that fails on one photo costs its own cells, not the run.
            return None, why_failed(explainer.name, error)
        problem = _map_problem(made, self.image.pixels.shape[:2])
        if problem:  # not kept: the next run makes it anew
            return None, problem
        self.result.maps.append(MadeMap(explainer, made, perf_counter() - start))
        return made, None

    @property
    def not_finite(self) -> str:
        """The reason of a photo on which the model gives NaN or infinity."""
        return f"the score of model '{self.plan.classifier.name}' is not finite"

    def _why_not(self, metric: Metric) -> str | None:
        """Say why this photo cannot be scored by this metric, whatever the map; None if it can."""
        if isinstance(metric, PerturbationMetric):
            if not np.isfinite(self.result.clean_score):
                return self.not_finite
            wrong = self.plan.target == "label" and self.result.predicted not in self.image.targets
            return MISCLASSIFIED if wrong else None
        if isinstance(metric, MapMetric):
            return None
        if self.image.region is None:
            return "no region"
        if not set(self.result.targets) <= set(self.image.targets):
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
        return Truth(image.region, image.boxes, image.exact, image.pixel_size, image.ignore)


def _only_curve(plan: Sequence[Composition], scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Return the curve of a metric that follows a single one."""
    if len(plan) != 1 or not isinstance(plan[0], Perturbation):
        return None
    return np.stack([plan[0].fractions, scores[0]])


def _map_problem(made: NDArray[np.float32], size: tuple[int, ...]) -> str | None:
    if made.shape != size:
        shape = f"{made.shape[0]} x {made.shape[1]}" if made.ndim == 2 else f"of shape {made.shape}"
        return f"the map is {shape}, the photo {size[0]} x {size[1]}"
    return None if np.isfinite(made).all() else _NOT_NUMBERS


def unscored(cells: Sequence[tuple[Explainer, Sequence[Metric]]], reason: str) -> PhotoResult:
    """Return the result of a photo on which something failed before any map could be scored."""
    failed = [Cell(explainer, metric, reason=reason, failed=True) for explainer, metrics in cells for metric in metrics]
    return PhotoResult(UNLABELLED, (UNLABELLED,), float("nan"), failed)


def why_failed(name: str, error: BaseException) -> str:
    """Return the reason of a cell: what raised, and what it said."""
    try:
        said = str(error).strip().partition("\n")[0][:200].encode("utf-8", "replace").decode()
    except Exception:  # an error may fail to say what it is
        said = ""
    return f"{name} failed: {type(error).__name__}" + (f": {said}" if said else "")
