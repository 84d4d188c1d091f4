"""Coverage of the intervals of MaxBoxAcc and PxAP, by simulation: ``python benchmarks/set_scores.py RUN...``.

The population is either the images of a finished run, drawn with replacement, or made: smooth distributions of box
overlaps over thresholds and of pixel values. The truth is the score of the whole population, for MaxBoxAcc therefore at
the population's best threshold. The tested code is ``evalkit.analysis``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from evalkit.analysis.load import metrics_of, read_run
from evalkit.analysis.scores import numbers_of, scores_of
from evalkit.analysis.statistics.intervals import Interval, Resampling
from evalkit.core.randomness import generator
from evalkit.metrics.boxes import MaxBoxAccV1, MaxBoxAccV2, PxAP
from evalkit.metrics.contours import THRESHOLDS
from evalkit.metrics.spec import Metric

Floats = NDArray[np.float64]
SIZES = (12, 24, 50, 200)
MADE = 3_000  # images of a made population
RESAMPLES = 400
PER_DRAW = 50  # trials that share the draws of the bootstrap
PIXELS = 224 * 224


@dataclass(frozen=True, eq=False)
class Population:
    """What the images of a population add to a metric, for several explainers.

    Attributes:
        source: the run folder, or ``made``.
        metric: the metric.
        explainers: their texts.
        numbers: float64 (N, E, K).
    """

    source: str
    metric: Metric
    explainers: Sequence[str]
    numbers: Floats

    def truths(self) -> Floats:
        """Return the score of every explainer on the whole population, (E,)."""
        return np.asarray(self.metric.aggregate(self.numbers.mean(axis=0)))


def of_run(folder: Path) -> Iterator[Population]:
    """Yield the images of a run that every explainer scored, for each metric of the whole set."""
    run = read_run(folder)
    table = run.table.by_photo()
    for metric in metrics_of(run.manifest):
        if metric.set_level:
            numbers = numbers_of(metric, table)
            scored = np.isfinite(numbers).all(axis=(1, 2))
            if scored.sum() > 1:
                yield Population(folder.name, metric, table.explainers, numbers[scored])


def made(seed: int) -> Iterator[Population]:
    """Yield made populations: the overlap of the best box has a peak over the thresholds, whose height, place and width
    vary between images; pixel values of object and surroundings are logit-normal, the object's shifted up.
    """  # noqa: D205 - one sentence
    rng = generator(seed, "made boxes")
    overlaps = {name: _overlaps(rng, *shape) for name, shape in _BOXES.items()}
    yield _made(MaxBoxAccV1(), {name: (best >= 0.5) * 1.0 for name, best in overlaps.items()})
    levels = (0.3, 0.5, 0.7)
    flags = {name: np.concatenate([best >= level for level in levels], axis=1) for name, best in overlaps.items()}
    yield _made(MaxBoxAccV2(), {name: hits * 1.0 for name, hits in flags.items()})
    rng = generator(seed, "made pixels")
    yield _made(PxAP(), {name: _histograms(rng, shift) for name, shift in _SHIFTS.items()})


# Height of the peak (beta), how much its place varies, and its width.
_BOXES = {
    "good": (8.0, 3.0, 0.08, 0.25),
    "fair": (4.0, 4.0, 0.15, 0.20),
    "poor": (2.0, 5.0, 0.20, 0.15),
    "scattered": (9.0, 2.0, 0.25, 0.12),
    "flat": (4.0, 4.0, 0.50, 0.05),
}
_SHIFTS = {"good": 2.0, "fair": 1.0, "poor": 0.3, "none": 0.0}


def _made(metric: Metric, numbers: Mapping[str, Floats]) -> Population:
    return Population("made", metric, list(numbers), np.stack(list(numbers.values()), axis=1))


def _overlaps(rng: np.random.Generator, first: float, second: float, scatter: float, width: float) -> Floats:
    """Return the best overlap of every image at every threshold, float64 (N, 100)."""
    height = rng.beta(first, second, (MADE, 1))
    place = np.clip(0.4 + scatter * rng.normal(size=(MADE, 1)), 0.0, 0.95)
    widths = width * np.exp(0.4 * rng.normal(size=(MADE, 1)))
    whole_image = rng.beta(1.5, 8.0, (MADE, 1)) * (THRESHOLDS < 0.6)
    return np.maximum(height * np.exp(-(((THRESHOLDS - place) / widths) ** 2) / 2), whole_image)


def _histograms(rng: np.random.Generator, shift: float) -> Floats:
    """Return the expected counts of object and other pixels at 256 values, float64 (N, 512)."""
    share = np.clip(np.exp(-2.0 + 0.8 * rng.normal(size=(MADE, 1))), 0.005, 0.8)
    shifts = shift * (1 + 0.7 * rng.normal(size=(MADE, 1)))
    level = -1 + 0.5 * rng.normal(size=(MADE, 1))
    values = (np.arange(256) + 0.5) / 256

    def counts(middle: Floats, pixels: Floats) -> Floats:
        density = np.exp(-(((np.log(values / (1 - values)) - middle) / 1.3) ** 2) / 2) / (values * (1 - values))
        return np.asarray(pixels * density / density.sum(axis=1, keepdims=True))

    return np.concatenate([counts(level + shifts, PIXELS * share), counts(level, PIXELS * (1 - share))], axis=1)


def simulated(population: Population, n_images: int, trials: int, seed: int) -> Iterator[dict[str, object]]:
    """Yield coverage and width of the interval of every explainer's score, and of its difference to the next one's."""
    truths = population.truths()
    count = len(population.explainers)
    scores: list[list[tuple[Interval, float]]] = [[] for _ in range(count)]
    gaps: list[list[tuple[Interval, float]]] = [[] for _ in range(count - 1)]
    rng = generator(seed, population.source, population.metric.text, n_images)
    for trial in range(trials):
        if trial % PER_DRAW == 0:
            resampling = Resampling(seed + trial, RESAMPLES)
        drawn = scores_of(population.metric, population.numbers[rng.integers(len(population.numbers), size=n_images)])
        means = drawn.means()
        for explainer, interval in enumerate(drawn.intervals(resampling)):
            scores[explainer].append((interval, float(means[explainer])))
        for explainer in range(count - 1):
            family = drawn.family(resampling, np.array([[explainer, explainer + 1]]))
            ends = (float(family.low[0]), float(family.high[0]))
            interval = Interval(*ends, None) if np.isfinite(ends).all() else Interval(None, None, None)
            gaps[explainer].append((interval, float(means[explainer] - means[explainer + 1])))
    for explainer, found in enumerate(scores):
        yield _row(population, n_images, "score", population.explainers[explainer], truths[explainer], found)
    for explainer, found in enumerate(gaps):
        name = f"{population.explainers[explainer]} - {population.explainers[explainer + 1]}"
        yield _row(population, n_images, "difference", name, truths[explainer] - truths[explainer + 1], found)


def _row(
    population: Population, n_images: int, what: str, name: str, truth: float, found: Sequence[tuple[Interval, float]]
) -> dict[str, object]:
    """Return one line: how many intervals contain the truth, where there is one, and the bias and its estimate."""
    bounds = [(one.low, one.high) for one, _ in found if one.low is not None and one.high is not None]
    covered = [low - 1e-9 <= truth <= high + 1e-9 for low, high in bounds]
    return {
        "source": population.source,
        "metric": population.metric.text,
        "n": n_images,
        "of": what,
        "name": name,
        "truth": truth,
        "coverage": float(np.mean(covered)) if covered else None,
        "intervals": len(covered),
        "width": float(np.mean([high - low for low, high in bounds])) if bounds else None,
        "bias": float(np.mean([score for _, score in found])) - truth,
        "estimated": float(np.mean([one.bias for one, _ in found if one.bias is not None] or [np.nan])),
    }


def show(rows: Sequence[Mapping[str, object]]) -> None:
    """Print the smallest and the mean coverage for each metric and number of images."""
    table = Table("of", "metric", "n", "explainers", "smallest", "of which", "mean", "width", "bias", "estimated")
    groups = dict.fromkeys((row["of"], row["metric"], row["n"]) for row in rows)
    for of, metric, n_images in groups:
        cells = [
            row
            for row in rows
            if (row["of"], row["metric"], row["n"]) == (of, metric, n_images) and row["coverage"] is not None
        ]
        worst = min(cells, key=lambda row: row["coverage"])  # type: ignore[arg-type, return-value]
        columns = {key: np.array([row[key] for row in cells], dtype=float) for key in _COLUMNS}
        table.add_row(
            *(str(of), str(metric), str(n_images), str(len(cells)), f"{100 * columns['coverage'].min():.1f} %"),
            f"{worst['source']} {worst['name']}",
            f"{100 * columns['coverage'].mean():.1f} %",
            f"{columns['width'].mean():.3f}",
            f"{columns['bias'].min():+.3f} to {columns['bias'].max():+.3f}",
            f"{columns['estimated'].min():+.3f} to {columns['estimated'].max():+.3f}",
        )
    Console(width=160).print(table)


_COLUMNS = ("coverage", "width", "bias", "estimated")


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print a table, and with ``--json`` every line of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of finished runs, beside the made populations")
    parser.add_argument("--trials", type=int, default=300, help="samples for each cell (default 300)")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of images")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--json", type=Path, help="write every line to this file")
    given = parser.parse_args(arguments)
    populations = [*(one for folder in given.runs for one in of_run(folder)), *made(given.seed)]
    rows = []
    for n_images in map(int, given.sizes.split(",")):
        for population in populations:
            print(f"{population.source} {population.metric.text}, n = {n_images}", file=sys.stderr)
            rows += list(simulated(population, n_images, given.trials, given.seed))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    show(rows)


if __name__ == "__main__":
    main()
