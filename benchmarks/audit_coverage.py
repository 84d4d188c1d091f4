"""How often the audit's 95 % intervals contain the truth, and how often its verdicts are right.

    python benchmarks/audit_coverage.py [RUN...] [--samples 200] [--images 30] [--explainers 8]

Images are drawn with replacement from populations whose truth is known: made-up scores of several shapes, and the
scores of the runs named. The truth of the split-half reliability is the variance of the explainers' true scores over it
and the error variance of a mean over this many images; of alpha, tau and controls their value on the whole population.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.audit.agreement import agreement_of, taus_of
from evalkit.analysis.audit.alpha import ordinal_alpha, ordinal_values, ranks_of
from evalkit.analysis.audit.bias import bias_of
from evalkit.analysis.audit.reliability import HalvesByNumber, reliability_of
from evalkit.analysis.audit.results import Thresholds
from evalkit.analysis.audit.separation import scores_of_sets
from evalkit.analysis.load import metrics_of, read_run
from evalkit.analysis.scores import numbers_of, scores_of
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts

Floats = NDArray[np.float64]
LIMITS = Thresholds()
POPULATION = 20_000
TRIES, SET_TRIES = 30, 6  # choices of explainers from one run


@dataclass(frozen=True)
class Population:
    """Scores of many images, from which samples are drawn.

    Attributes:
        name: what it is.
        metric: the metric that scores them.
        numbers: float64 (n, E, K).
        controls: float64 (n, 3, K), scores of random, smooth_noise and center; empty = none.
    """

    name: str
    metric: Metric
    numbers: Floats
    controls: Floats


def made_up(n_explainers: int, rng: np.random.Generator) -> Iterator[Population]:
    """Yield populations of several shapes and reliabilities."""
    metric = METRICS.build("insertion")
    order = np.linspace(-1, 1, n_explainers)
    shapes: dict[str, Callable[[tuple[int, int]], Floats]] = {
        "normal": lambda size: rng.normal(0, 0.1, size),
        "skewed": lambda size: 0.1 * (rng.exponential(size=size) - 1),
        "rare failures": lambda size: 0.05 * rng.normal(size=size) - 0.6 * (rng.random(size) < 0.05) + 0.03,
        "of unequal spread": lambda size: rng.normal(0, np.linspace(0.02, 0.2, size[1]), size),
        "dependent": lambda size: rng.normal(0, 0.08, size) + rng.normal(0, 0.08, (size[0], 1)) * np.sign(order),
    }
    for shape, draw in shapes.items():
        for spread in (0.0, 0.02, 0.05, 0.15):
            noise = draw((POPULATION, n_explainers + 3))[:, : n_explainers + 3] if shape != "dependent" else None
            if noise is None:
                noise = np.concatenate([draw((POPULATION, n_explainers)), rng.normal(0, 0.1, (POPULATION, 3))], axis=1)
            values = 0.5 + rng.normal(0, 0.1, (POPULATION, 1)) + noise
            values[:, :n_explainers] += spread * order
            values = np.clip(values, 0, 1)[..., None]
            yield Population(f"{shape}, spread {spread:g}", metric, values[:, :n_explainers], values[:, n_explainers:])
    for chance in (0.1, 0.5, 0.9):
        level = np.clip(chance + 0.1 * order, 0.02, 0.98)
        hits = (rng.random((POPULATION, n_explainers)) / 2 + rng.random((POPULATION, 1)) / 2 < level).astype(np.float64)
        yield Population(f"0 or 1, {chance:g}", METRICS.build("pointing_game"), hits[..., None], np.empty((0, 0, 0)))


def of_run(path: Path, n_explainers: int, rng: np.random.Generator) -> Iterator[Population]:
    """Yield the scores of a run by each metric, of explainers chosen at random."""
    run = read_run(path)
    table = run.table.by_photo()
    own = [at for at, one in enumerate(run.manifest.explainers) if not one.control]
    for metric in metrics_of(run.manifest):
        numbers = numbers_of(metric, table)[:, own]
        numbers = numbers[np.isfinite(numbers).all(axis=(1, 2))]
        if len(numbers) < LIMITS.fewest_images:
            continue
        for _ in range(SET_TRIES if metric.set_level else TRIES):
            chosen = rng.choice(len(own), min(n_explainers, len(own)), replace=False)
            yield Population(f"{path.name} {metric.text}", metric, numbers[:, chosen], np.empty((0, 0, 0)))


_RELIABILITIES: dict[int, float | None] = {}


def true_reliability(population: Population, n_images: int) -> float | None:
    """Return the split-half reliability of scores of ``n_images``; None if they have no error."""
    if id(population) not in _RELIABILITIES:
        _RELIABILITIES[id(population)] = _true_reliability(population, n_images)
    return _RELIABILITIES[id(population)]


def _true_reliability(population: Population, n_images: int) -> float | None:
    if population.metric.set_level:  # from many samples
        rng, n_population = np.random.default_rng(0), len(population.numbers)
        counts = np.stack(
            [np.bincount(rng.integers(n_population, size=n_images), minlength=n_population) for _ in range(500)]
        )
        scores = scores_of_sets(counts.astype(np.float64), population.numbers, population.metric.aggregate)
        scores = scores - scores.mean(axis=1, keepdims=True)
        error = float(scores.var(axis=0).sum())
        signal = float((scores.mean(axis=0) ** 2).sum())
        return signal / (signal + error) if error > 0 else None
    values = population.numbers[..., 0]
    values = values - values.mean(axis=1, keepdims=True)
    signal = float((values.mean(axis=0) ** 2).sum())
    error = float(values.var(axis=0).sum()) / n_images
    return signal / (signal + error) if error > 0 else None


def held(low: float | None, high: float | None, truth: float) -> bool:
    """Tell whether an interval contains the truth."""
    return low is not None and high is not None and low - 1e-9 <= truth <= high + 1e-9


def sample_once(
    population: Population, n_images: int, halves: HalvesByNumber, rng: np.random.Generator
) -> dict[str, tuple[bool, float]]:
    """Draw images, and return for each kind of interval whether it contains the truth, and its width."""
    rows = rng.integers(len(population.numbers), size=n_images)
    scores = scores_of(population.metric, population.numbers[rows])
    names = [f"explainer{at}" for at in range(population.numbers.shape[1])]
    found = reliability_of(scores, names, halves, LIMITS)
    said: dict[str, tuple[bool, float]] = {}
    reliability = true_reliability(population, n_images)
    if reliability is not None and found.low is not None and found.high is not None:
        said["split-half"] = held(found.low, found.high, reliability), found.high - found.low
    if found.alpha_low is not None and found.alpha_high is not None:
        said["alpha"] = (
            held(found.alpha_low, found.alpha_high, true_alpha(population)),
            found.alpha_high - found.alpha_low,
        )
    if len(population.controls):
        said |= _others(population, rows, rng)
    return said


_ALPHAS: dict[int, float] = {}
_TAUS: dict[int, float] = {}


def true_alpha(population: Population) -> float:
    """Return alpha of the whole population."""
    if id(population) not in _ALPHAS:
        alpha = ordinal_alpha(ordinal_values(ranks_of(population.numbers[..., 0])))
        _ALPHAS[id(population)] = max(alpha, 0.0)  # an estimate too, if a precise one: below 0 it is 0
    return _ALPHAS[id(population)]


def _others(population: Population, rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, tuple[bool, float]]:
    """Return the same for tau, between the metric and a noisier one, and for the controls."""
    first = population.numbers[..., 0]
    second = np.roll(first, 1, axis=0) * 0.3 + first  # by another image, in part
    both = np.stack([first, second], axis=2)
    if id(population) not in _TAUS:
        _TAUS[id(population)] = float(np.nanmean(taus_of(both)[:, 0, 1]))
    (pair,) = agreement_of(both[rows], ["a", "b"], fewest_explainers=3, fewest_images=8)
    said = {}
    if pair.low is not None and pair.high is not None:
        said["tau"] = held(pair.low, pair.high, _TAUS[id(population)]), pair.high - pair.low
    every = np.concatenate([population.numbers, population.controls], axis=1)
    names = [*(f"explainer{at}" for at in range(first.shape[1])), "random", "smooth_noise", "center"]
    facts = [
        ExplainerFacts(name, name, {}, control=name in names[-3:], positions=None, forward_passes=0, method="")
        for name in names
    ]
    resampling = Resampling(int(rng.integers(1 << 31)), 500)
    bias = bias_of(population.metric, scores_of(population.metric, every[rows]), facts, resampling, LIMITS)
    means = every.mean(axis=0)[:, 0]
    intervals = [one for one in bias.controls if one.low is not None and one.high is not None]
    true = {name: means[names.index(name)] - means[names.index("random")] for name in names}
    said["controls"] = (
        all(held(one.low, one.high, true[one.control]) for one in intervals),
        float(np.mean([(one.high or 0) - (one.low or 0) for one in intervals])),
    )
    return said


def main() -> None:
    """Print the coverage and the median width of each kind of interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--explainers", type=int, default=8)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    halves = HalvesByNumber(0, 500)
    totals: dict[str, dict[str, list[tuple[bool, float]]]] = {}
    populations = [*made_up(given.explainers, rng)]
    for path in given.runs:
        populations += of_run(path, given.explainers, rng)
    for population in populations:
        n_tries = SET_TRIES if population.metric.set_level else TRIES
        n_samples = given.samples if len(population.numbers) == POPULATION else -(-given.samples // n_tries)
        of_name = totals.setdefault(population.name, {})
        for _ in range(n_samples):
            for kind, said in sample_once(population, given.images, halves, rng).items():
                of_name.setdefault(kind, []).append(said)
    kinds = ("split-half", "alpha", "tau", "controls")
    print(f"{given.images} images, {given.explainers} explainers, {given.samples} samples of each")
    print(f"{'population':44}" + "".join(f"{kind:>20}" for kind in kinds))
    for name, of_name in totals.items():
        cells = [_cell(of_name.get(kind, [])) for kind in kinds]
        print(f"{name:44}" + "".join(f"{cell:>20}" for cell in cells))
    for kind in kinds:
        shares = [np.mean([one for one, _ in of[kind]]) for of in totals.values() if of.get(kind)]
        print(f"{kind}: mean {100 * np.mean(shares):.1f} %, smallest {100 * np.min(shares):.1f} %")


def _cell(said: list[tuple[bool, float]]) -> str:
    if not said:
        return "-"
    return f"{100 * np.mean([one for one, _ in said]):.1f} % ({np.median([width for _, width in said]):.2f})"


if __name__ == "__main__":
    main()
