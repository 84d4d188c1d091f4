"""Scenarios of intervals and paired tests of means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.core.randomness import generator
from simulation import tested
from simulation.cells import Cell, Row, rate
from simulation.populations import SMOOTH, Population, Real, Smooth

__all__ = ["comparisons", "coverage", "family_error", "missing_scores", "power"]

Floats = NDArray[np.float64]
_TOGETHER = 50  # samples whose intervals are computed in one call
_LOSSES = (0.02, 0.05, 0.1, 0.2)
_FEW, _OF = 8, 50
_FAMILY_OF_FEW = (24, 35, 50)


def _labels(population: Population, n_images: int) -> dict[str, str | int | float]:
    return {"population": population.source, "metric": population.metric, "n": n_images}


def coverage(runs: Sequence[Real], numbers: Sequence[int]) -> Iterator[Cell]:
    """Yield cells: how often the interval of a mean contains the true mean, for the worst explainer and the median."""
    populations: list[Real | Smooth] = [*runs, *(Smooth(metric, 8) for metric in SMOOTH)]
    for population in populations:
        for n_images in numbers:
            yield Cell("coverage", _labels(population, n_images), _coverage, (population, n_images))


def _coverage(trials: int, seed: int, population: Real | Smooth, n_images: int) -> Row:
    covered, given = np.zeros((2, population.n_explainers), dtype=np.int64)
    widths = np.zeros(population.n_explainers)
    for start in range(0, trials, _TOGETHER):
        rng = generator(seed, "coverage", population.source, population.metric, n_images, start)
        samples = [population.draw(rng, n_images) for _ in range(min(_TOGETHER, trials - start))]
        low, high = tested.intervals(population.metric, np.concatenate(samples, axis=1), start)
        low, high = low.reshape(len(samples), -1), high.reshape(len(samples), -1)
        # An interval of equal scores may end at the true mean but for rounding.
        covered += ((low <= population.means + 1e-9) & (population.means - 1e-9 <= high)).sum(axis=0)
        given += np.isfinite(low).sum(axis=0)
        widths += np.nan_to_num(high - low).sum(axis=0)
    shares = np.where(given > 0, covered / np.maximum(given, 1), np.nan)
    if not given.any():
        return {"trials": 0}
    worst = int(np.nanargmin(shares))
    return {
        "minimum": float(shares[worst]),
        "median": float(np.nanmedian(shares)),
        "width": float(np.median(widths / np.maximum(given, 1))),
        "no interval": float(1 - given.min() / trials),
        "worst": worst,
        **rate(covered[worst], given[worst], "minimum", worst_of=len(shares)),
    }


def family_error(runs: Sequence[Real], numbers: Sequence[int], sizes: Sequence[int]) -> Iterator[Cell]:
    """Yield cells: how often any pair is marked although all true means are equal."""
    for size in sizes:
        equal: list[Population] = [run.first(size).centered() for run in runs if run.n_explainers >= size]
        equal += [Smooth(metric, size) for metric in SMOOTH]
        for population in equal:
            for n_images in numbers:
                title = f"family-wise error, {size} explainers"
                yield Cell(title, _labels(population, n_images), _family_error, (population, n_images))
    for run in runs:
        for n_images in _FAMILY_OF_FEW:
            # Without explainers that fail more often, the scores that are seen range over less.
            population = run.sweep().centered()
            if population.n_explainers >= 2:
                title = "family-wise error, the sweep alone"
                yield Cell(title, _labels(population, n_images), _family_error, (population, n_images))
            population = run.first(min(sizes)).centered()
            yield Cell("error of the worst pair", _labels(population, n_images), _pair_error, (population, n_images))


def _family_error(trials: int, seed: int, population: Population, n_images: int) -> Row:
    wrong = 0
    for trial in range(trials):
        rng = generator(seed, "family", population.source, population.metric, n_images, trial)
        scores = population.draw(rng, n_images)
        tests = tested.compare_pairs(population.metric, scores, trial, typical=population.typical)
        wrong += bool((tests.p_values < tested.ALPHA).any())
    return rate(wrong, trials)


def _pair_error(trials: int, seed: int, population: Population, n_images: int) -> Row:
    """Return the error of the pair that is marked most often, each pair tested as a family of its own."""
    pairs = [(first, second) for first in range(population.n_explainers) for second in range(first)]
    wrong = np.zeros(len(pairs), dtype=np.int64)
    trials = max(trials // 2, 1)
    for trial in range(trials):
        rng = generator(seed, "pair", population.source, population.metric, n_images, trial)
        scores = population.draw(rng, n_images)
        for index, pair in enumerate(pairs):
            wrong[index] += tested.compare_pairs(population.metric, scores[:, pair], trial).p_values[0] < tested.ALPHA
    worst = int(wrong.argmax())
    return {
        **rate(wrong[worst], trials, worst_of=len(pairs)),
        "pair": pairs[worst],
        "median": float(np.median(wrong / trials)),
    }


def power(runs: Sequence[Real], numbers: Sequence[int], n_explainers: int) -> Iterator[Cell]:
    """Yield cells: how often the explainer that is worse is marked as beaten, mean over the others."""
    equal: list[Population] = [run.first(n_explainers).centered() for run in runs]
    equal += [Smooth(metric, n_explainers) for metric in SMOOTH]
    for population in equal:
        for loss in _LOSSES:
            for n_images in numbers:
                labels = {**_labels(population, n_images), "difference": loss}
                yield Cell("power", labels, _power, (population, n_images, loss))


def _power(trials: int, seed: int, population: Population, n_images: int, loss: float) -> Row:
    """Every explainer is the worse one in turn."""
    marked = pairs = 0
    for trial in range(trials):
        rng = generator(seed, "power", population.source, population.metric, n_images, trial)
        worse = trial % population.n_explainers
        losses = np.where(np.arange(population.n_explainers) == worse, loss, 0.0)
        scores = population.worsen(rng, population.draw(rng, n_images), losses)
        marks = _beaten(tested.compare_pairs(population.metric, scores, trial), worse, population.sign)
        marked, pairs = marked + int(marks.sum()), pairs + len(marks)
    return {"power": marked / pairs, "trials": trials}


def _beaten(tests: tested.Tests, worse: int, sign: float) -> NDArray[np.bool_]:
    """Return which of the others are marked as better than ``worse``."""
    of_pairs = (tests.pairs == worse).any(axis=1)
    losing = np.where(tests.pairs[:, 0] == worse, -1.0, 1.0)
    marked = (tests.p_values < tested.ALPHA) & (sign * losing * np.nan_to_num(tests.differences) > 0)
    return np.asarray(marked[of_pairs])


def missing_scores(runs: Sequence[Real], n_explainers: int) -> Iterator[Cell]:
    """Yield cells: the power of the other explainers when one is scored on few images, or is not there."""
    for run in runs:
        population = run.first(n_explainers).centered()
        for loss in (0.05, 0.1):
            labels = {**_labels(population, _OF), "difference": loss}
            yield Cell(f"one explainer scored on {_FEW} of {_OF}", labels, _missing_scores, (population, loss))


def _missing_scores(trials: int, seed: int, population: Population, loss: float) -> Row:
    marked = {"with it": 0, "without it": 0}
    losses = np.where(np.arange(population.n_explainers) == 1, loss, 0.0)
    for trial in range(trials):
        rng = generator(seed, "missing", population.source, population.metric, trial)
        scores = population.worsen(rng, population.draw(rng, _OF), losses)
        few = scores.copy()
        few[_FEW:, 0] = np.nan
        tests = tested.compare_pairs(population.metric, few, trial)
        kept = (tests.pairs != 0).all(axis=1)
        tests = tested.Tests(*(values[kept] if values is not None else values for values in tests))
        marked["with it"] += int(_beaten(tests, 1, population.sign).sum())
        tests = tested.compare_pairs(population.metric, scores[:, 1:], trial)
        marked["without it"] += int(_beaten(tests, 0, population.sign).sum())
    pairs = trials * (population.n_explainers - 2)
    return {name: count / pairs for name, count in marked.items()} | {"trials": trials}


def comparisons(runs: Sequence[Real], numbers: Sequence[int], n_explainers: int) -> Iterator[Cell]:
    """Yield cells: do verdicts and intervals of ``compare`` agree, and do all intervals hold together."""
    for run in runs:
        population = run.first(n_explainers).centered()
        for n_images in numbers:
            yield Cell("compare", _labels(population, n_images), _comparison, (population, n_images))


def _comparison(trials: int, seed: int, population: Population, n_images: int) -> Row:
    """The second run has each explainer's neighbor's scores, shifted by -0.1 to 0.1."""
    count = population.n_explainers
    pairs = np.array([(count + index, index) for index in range(count)])
    shifts = np.linspace(-0.1, 0.1, count)
    excluding = tied = together = 0
    for trial in range(trials):
        rng = generator(seed, "compare", population.source, population.metric, n_images, trial)
        scores = population.draw(rng, n_images)
        later = np.roll(scores, 1, axis=1) + shifts
        tests = tested.compare_pairs(population.metric, np.concatenate([scores, later], axis=1), trial, pairs)
        excludes = (tests.low > 0) | (tests.high < 0)
        excluding += int(excludes.sum())
        tied += int((excludes & (tests.p_values >= tested.ALPHA)).sum())
        together += bool((~(tests.low > shifts + 1e-9) & ~(tests.high < shifts - 1e-9)).all())
    return {"tied beside its interval": tied / max(excluding, 1), **rate(together, trials, "all intervals hold")}
