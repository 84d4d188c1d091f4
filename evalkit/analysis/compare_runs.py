"""Comparison of the same explainers in several runs - other models, precisions, versions - paired by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.comparable import Shared, n_photos, shared_by
from evalkit.analysis.comparison import ComparedCell, ComparedRun, Comparison
from evalkit.analysis.facts import typical_of
from evalkit.analysis.load import RunScores
from evalkit.analysis.scores import Scores, numbers_of, scores_of
from evalkit.analysis.statistics.paired_tests import ALPHA, FEWEST_IMAGES
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.spec import Metric
from evalkit.store.scores import mean_of_units

__all__ = ["compare_runs"]

Floats = NDArray[np.float64]


def compare_runs(
    runs: Sequence[RunScores],
    metrics: Sequence[Metric],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> Comparison:
    """Compare every later run with the first, explainer by explainer, on the images that both scored.

    An image is the same where content, class and region are. The tests of one metric, over all explainers and later
    runs, are one family, and its intervals hold together: an interval excludes 0 where the difference is significant.

    Args:
        runs: two or more.
        metrics: the metrics of the first run, in its order.
        seed: random seed of the resampling.
        n_resamples: number of bootstrap resamples.

    Raises:
        NotComparableError: target or geometry differ, or no image, explainer or metric is shared.
    """
    letters = [_letter(index) for index in range(len(runs))]
    shared = shared_by(runs, metrics, letters)
    resampling = Resampling(seed, n_resamples)
    typical = typical_of(shared.explainers, runs[0].manifest.explainers)
    cells: list[ComparedCell] = []
    for metric in shared.metrics:
        family = _Family(shared, letters, metric, scores_of(metric, _stacked(runs, shared, metric)))
        cells += family.cells(resampling, None if typical is None else np.repeat(typical, len(runs)))
    return Comparison(
        runs=tuple(_described(run, letter) for run, letter in zip(runs, letters, strict=True)),
        n_shared=len(np.unique(shared.units)),
        cells=tuple(cells),
        differs=tuple(_differences(runs, letters)),
        left_out=tuple(shared.left_out),
        n_resamples=n_resamples,
    )


def _stacked(runs: Sequence[RunScores], shared: Shared, metric: Metric) -> Floats:
    """Return what each shared photo adds, float64 (n, E * R, K): explainer by explainer, run by run."""
    by_run = []
    for run, rows in zip(runs, shared.rows, strict=True):
        columns = [run.table.explainers.index(text) for text in shared.explainers]
        by_run.append(mean_of_units(numbers_of(metric, run.table)[rows][:, columns], shared.units))
    longest = max(numbers.shape[2] for numbers in by_run)  # a run that scored nothing has one NaN an image
    by_run = [numbers if numbers.shape[2] == longest else np.repeat(numbers, longest, axis=2) for numbers in by_run]
    stacked = np.stack(by_run, axis=2)
    return stacked.reshape(len(stacked), -1, longest)


@dataclass(frozen=True, eq=False)
class _Family:
    """The comparisons of one metric; the columns of its scores are explainer by explainer, run by run."""

    shared: Shared
    letters: Sequence[str]
    metric: Metric
    scores: Scores

    def cells(self, resampling: Resampling, typical: NDArray[np.bool_] | None) -> Iterator[ComparedCell]:
        n_runs = len(self.letters)
        pairs = np.array(
            [
                (explainer * n_runs + later, explainer * n_runs)
                for explainer in range(len(self.shared.explainers))
                for later in range(1, n_runs)
            ]
        )
        family = self.scores.family(resampling, pairs, typical)
        direction = "" if self.metric.spec.descriptive else self.metric.spec.direction
        for index, (late, first) in enumerate(pairs):
            both = self.scores.scored[:, [late, first]].all(axis=1)
            n_images = int(both.sum())
            mean, first_mean = (self._score(self.scores.numbers[both, column]) for column in (late, first))
            difference = None if mean is None or first_mean is None else mean - first_mean
            p_value, low, high = (float(values[index]) for values in (family.p_values, family.low, family.high))
            bounded = np.isfinite([low, high]).all()
            yield ComparedCell(
                explainer=self.shared.explainers[first // n_runs],
                metric=self.metric.text,
                direction=direction,
                run=self.letters[late % n_runs],
                first_mean=first_mean,
                mean=mean,
                difference=difference,
                ci_low=low if bounded else None,
                ci_high=high if bounded else None,
                ci_reason=None if bounded else _without_interval(n_images),
                n_images=n_images,
                p_value=p_value if family.tested[index] else None,
                verdict=self._verdict(difference, p_value, tested=bool(family.tested[index])),
            )

    def _verdict(self, difference: float | None, p_value: float, *, tested: bool) -> str:
        if difference is None:
            return "not scored"
        if not tested:
            return "not tested"
        if p_value >= ALPHA or difference == 0:
            return "tied"
        if self.metric.spec.descriptive:
            return "different"
        return "better" if (difference > 0) == (self.metric.spec.direction == "higher") else "worse"

    def _score(self, numbers: Floats) -> float | None:
        if not len(numbers):
            return None
        score = float(self.scores.aggregate(numbers.mean(axis=0)))
        return score if np.isfinite(score) else None


def _without_interval(n_images: int) -> str:
    if not n_images:
        return "nothing was scored"
    return "all differences are 0" if n_images >= FEWEST_IMAGES else f"fewer than {FEWEST_IMAGES} images"


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"R{index + 1}"


def _described(run: RunScores, letter: str) -> ComparedRun:
    model = run.manifest.model
    return ComparedRun(
        letter=letter,
        name=run.name,
        model=model.name,
        fingerprint=model.fingerprint,
        precision=model.precision,
        versions=run.manifest.versions,
        accuracy=model.accuracy,
        median_clean_score=model.median_clean_score,
        n_images=n_photos(run),
        shard=run.manifest.shard_in_words,
    )


def _differences(runs: Sequence[RunScores], letters: Sequence[str]) -> Iterator[str]:
    """Yield what differs in model, precision and versions, one sentence each."""
    models = [run.manifest.model for run in runs]
    subject = {
        "model": [model.name for model in models],
        "fingerprint": [model.fingerprint[:16] for model in models],
        "preprocess": [model.preprocess for model in models],
        "input size": [" x ".join(map(str, model.input_size)) for model in models],
        "head": [model.head for model in models],
        "layer of CAM methods": [model.target_layer or "none" for model in models],
        "precision": [model.precision for model in models],
    }
    packages = dict.fromkeys(name for run in runs for name in run.manifest.versions)
    subject |= {name: [run.manifest.versions.get(name, "unknown") for run in runs] for name in packages}
    for name, values in subject.items():
        if len(set(values)) > 1:
            yield f"{name}: " + ", ".join(f"{letter} {value}" for letter, value in zip(letters, values, strict=True))
