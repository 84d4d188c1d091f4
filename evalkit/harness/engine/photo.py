"""One image at work: its maps, the requests of its metrics, the answers of the model, and the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import EvalkitError, NotScored
from evalkit.datasets.entry import Entry
from evalkit.datasets.image import UNLABELLED, LabelledImage
from evalkit.explainers.base import Explainer
from evalkit.harness.engine.answers import Answers, Refusal
from evalkit.harness.engine.case_of_image import case_of
from evalkit.harness.engine.failures import why_failed
from evalkit.harness.engine.jobs import Advance, Cell, MadeMap
from evalkit.harness.engine.partners import case_for, with_partners
from evalkit.harness.engine.region_drops import region_drops
from evalkit.harness.planning.partners import Draw
from evalkit.harness.planning.recipe import WorkRecipe
from evalkit.metrics.case import Case
from evalkit.metrics.randomization import rank_correlation
from evalkit.metrics.requests import Request, draws
from evalkit.metrics.spec import Metric
from evalkit.models.classifier import Classifier
from evalkit.store.maps import as_float32

__all__ = ["Photo", "Work"]

_NOT_NUMBERS = "the map has NaN or infinite values"
_OTHER_SEED = 1_000_003  # added to an explainer's own
_TOGETHER = 16  # maps whose requests are answered together, so that batches fill

Work = Sequence[tuple[Explainer, Sequence[Metric]]]


@dataclass(frozen=True, eq=False)
class _Requested:
    """One map, and the requests of its metrics."""

    explainer: Explainer
    metrics: Sequence[Metric]
    saliency_map: NDArray[np.float32] | None
    problem: Refusal | None
    requests: Mapping[str, Sequence[Request]]
    unscored: Mapping[str, str]
    broken: Mapping[str, str]

    def __iter__(self) -> Iterator[tuple[Explainer, Request]]:
        for requests in self.requests.values():
            for request in requests:
                yield self.explainer, request


_Answered = tuple[_Requested, Mapping[str, Sequence[Any]]]  # and the answers by the metric's text


@dataclass(eq=False)
class Photo:
    """One fitted image, with its maps and the answers to its metrics as they are computed.

    Attributes:
        recipe: model, explainers and metrics of the run.
        classifier: the model.
        image: the image at the size of the model's input.
        advance: function of the current step and its number of passes.
        partners: the partners that were drawn for the image.
        read: function that returns the fitted image of an entry.
        predicted: index of the predicted class.
        targets: the classes explained; their scores are added.
        clean: score of each class on the image as it is, float64 (C,).
        clean_score: score of the targets on it.
        maps: the maps made, without those that were stored before.
        answered: maps with the answers to their metrics.
        cases: the case of each metric, by its text.
        region_drops: what hiding the region changes; None if it was not asked for.
    """

    recipe: WorkRecipe
    classifier: Classifier
    image: LabelledImage
    advance: Advance
    partners: Draw
    read: Callable[[Entry], LabelledImage]
    predicted: int = UNLABELLED
    targets: tuple[int, ...] = (UNLABELLED,)
    clean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    clean_score: float = float("nan")
    maps: list[MadeMap] = field(default_factory=list)
    answered: list[_Answered] = field(default_factory=list)
    cases: dict[str, Case] = field(default_factory=dict)
    region_drops: dict[str, float] | None = None

    def run(self, work: Work, stored: Mapping[str, NDArray[np.float32]], *, region: bool) -> None:
        """Explain, and answer the requests of metrics; fills ``maps`` and, if ``region`` is True, ``region_drops``."""
        logits = self.classifier.logits(self.image.pixels[None])
        clean = self.classifier.head.scores(logits)[0]
        finite = bool(np.isfinite(clean).all())
        self.predicted = int(clean.argmax()) if finite else UNLABELLED
        self.clean = clean
        self.targets = (self.predicted,) if self.recipe.target == "predicted" and finite else self.image.targets
        answers = Answers(
            self.classifier,
            self.image,
            self.targets,
            logits[0],
            lambda images: self.advance("scoring", images),
            self.recipe.seed,
        )
        case = case_of(
            self.image,
            self.classifier,
            clean,
            self.targets,
            misclassified=self.recipe.target == "label" and not self.is_right(self.image.targets),
        )
        self.clean_score = case.clean_score
        if region:
            self.region_drops = region_drops(case, answers, is_right=self.is_right(self.image.targets))
        self.cases = self._cases(case, work, answers)
        for start in range(0, len(work), _TOGETHER):
            together = [
                self._requested(explainer, metrics, stored.get(explainer.text))
                for explainer, metrics in work[start : start + _TOGETHER]
            ]
            answered = iter(answers.answer([pair for requested in together for pair in requested]))
            for requested in together:
                own = {text: [next(answered) for _ in requests] for text, requests in requested.requests.items()}
                self.answered.append((replace(requested, requests={}), own))  # the requests hold arrays

    def cells(self) -> Iterator[Cell]:
        """Yield the scores of what ``run`` answered; without the model."""
        for requested, answers in self.answered:
            for metric in requested.metrics:
                yield self._cell(requested, metric, self.cases[metric.text], answers.get(metric.text, []))

    def _cases(self, case: Case, work: Work, answers: Answers) -> dict[str, Case]:
        """Return the case of each metric, by its text."""
        count = max((metric.n_partners for _, metrics in work for metric in metrics), default=0)
        if count:
            case = with_partners(case, self.partners, count, self.read, self.classifier, answers)
        drawing = replace(case, seed=self.recipe.seed)
        return {
            metric.text: case_for(metric, drawing if metric.draws else case, self.targets, self.image.targets)
            for metric in self.recipe.metrics
        }

    def repeatability(
        self, explainers: Sequence[Explainer], stored: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, float]:
        """Return the rank correlation of each explainer's map with one of another seed, by its text.

        Args:
            explainers: the explainers; one that has no map on this image is left out; NaN if the other seed's map is
                refused.
            stored: the maps that were computed before, by the explainer's text.
        """
        maps = {**stored, **{made.explainer: made.saliency_map for made in self.maps}}
        found: dict[str, float] = {}
        for explainer in explainers:
            if explainer.text not in maps:
                continue
            try:
                other, _ = _of_another_seed(explainer).explain_photo(self.classifier, self.image, self.targets)
            except KeyboardInterrupt:
                raise
            except NotScored:  # permanent, so that the next run does not try again
                found[explainer.text] = float("nan")
                continue
            except Exception:  # noqa: S112 - only this number is missing; the map itself was computed
                continue
            finally:
                self.advance(explainer.text, sum(explainer.passes(self.classifier)))
            found[explainer.text] = rank_correlation(maps[explainer.text], other[0])
        return found

    def is_right(self, targets: Sequence[int]) -> bool:
        """Return whether the model is right on the clean image, as its head says."""
        return self.classifier.head.is_right(self.clean, targets)

    def _requested(
        self,
        explainer: Explainer,
        metrics: Sequence[Metric],
        stored: NDArray[np.float32] | None,
    ) -> _Requested:
        saliency_map, problem = (stored, None) if stored is not None else self._explain(explainer)
        requests: dict[str, Sequence[Request]] = {}
        unscored: dict[str, str] = {}
        broken: dict[str, str] = {}
        for metric in metrics:
            case = replace(self.cases[metric.text], explainer=explainer.text)
            if problem is not None and problem.reason == _NOT_NUMBERS and case.not_finite:
                problem = Refusal(case.not_finite, failed=True)  # the cause, not its consequence
            if saliency_map is None or problem:
                continue
            try:
                reason = metric.unscored_reason(case) or metric.unscored_map_reason(saliency_map)
                if reason is None:
                    requests[metric.text] = _requests_of(metric, saliency_map, case)
                else:
                    unscored[metric.text] = reason
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                broken[metric.text] = why_failed(metric.name, error)
        self.advance(explainer.text, sum(explainer.passes(self.classifier)))
        return _Requested(explainer, metrics, saliency_map, problem, requests, unscored, broken)

    def _explain(self, explainer: Explainer) -> tuple[NDArray[np.float32] | None, Refusal | None]:
        start, saved_s = perf_counter(), self.classifier.memo.saved_s
        try:
            maps, facts = explainer.explain_photo(self.classifier, self.image, self.targets)
            saliency_map = as_float32(np.asarray(maps[0]))
        except EvalkitError as error:
            return None, Refusal(str(error), failed=not isinstance(error, NotScored))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # If an explainer fails on one image, only its cells of that image are lost.
            return None, Refusal(why_failed(explainer.name, error), failed=True)
        problem = _map_problem(saliency_map, self.image.pixels.shape[:2])
        if problem:  # not stored, so the next run computes it again
            return None, Refusal(problem, failed=True)
        seconds = perf_counter() - start + self.classifier.memo.saved_s - saved_s
        self.maps.append(MadeMap(explainer.text, saliency_map, seconds, facts))
        return saliency_map, None

    def _cell(self, requested: _Requested, metric: Metric, case: Case, answers: Sequence[Any]) -> Cell:
        cell = Cell(requested.explainer.text, metric.text)
        case = replace(case, explainer=requested.explainer.text)
        if requested.problem is not None:
            return replace(cell, reason=requested.problem.reason, failed=requested.problem.failed)
        broken = requested.broken.get(metric.text)
        reason = broken or requested.unscored.get(metric.text)
        if reason is not None or requested.saliency_map is None:
            unreadable = case.partners_failed and reason == case.partners_reason
            return replace(cell, reason=reason, failed=bool(broken) or unreadable or reason == case.not_finite)
        refusal = next((answer for answer in answers if isinstance(answer, Refusal)), None)
        if refusal is not None:
            return replace(cell, reason=refusal.reason, failed=refusal.failed)
        try:
            score = metric.score(requested.saliency_map, case, answers)
            curve = metric.kept_curve(requested.saliency_map, case, answers)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # If a metric fails on one map, only that cell is lost.
            return replace(cell, reason=why_failed(metric.name, error), failed=True)
        if not np.isfinite(score).all():
            return replace(cell, reason=metric.spec.nan_reason or "the score is not finite", curve=curve)
        if metric.set_level:
            return replace(cell, statistics=np.asarray(score, dtype=np.float64))
        return replace(cell, value=float(score), curve=curve)


def _map_problem(saliency_map: NDArray[np.float32], size: tuple[int, ...]) -> str | None:
    if saliency_map.shape != size:
        is_flat = saliency_map.ndim == 2
        shape = f"{saliency_map.shape[0]} x {saliency_map.shape[1]}" if is_flat else f"of shape {saliency_map.shape}"
        return f"the map is {shape}, the photo {size[0]} x {size[1]}"
    return None if np.isfinite(saliency_map).all() else _NOT_NUMBERS


def _of_another_seed(explainer: Explainer) -> Explainer:
    seed = explainer.parameters()["seed"]
    return explainer.with_seed(_OTHER_SEED + (seed if isinstance(seed, int) else 0))


def _requests_of(metric: Metric, saliency_map: NDArray[np.float32], case: Case) -> Sequence[Request]:
    """Return a metric's requests; TypeError if a substrate is drawn and the metric's signature lacks the seed."""
    requests = tuple(metric.requests(saliency_map, case))
    if not metric.draws and any(map(draws, requests)):
        raise TypeError("a metric that requests the substrate noise or road must declare draws = True")
    return requests
