"""Populations of per-image scores: those of finished runs, and smooth ones of equally shaped explainers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evalkit.analysis.facts import typical_of
from evalkit.analysis.load import metrics_of, read_run
from evalkit.store.manifest import ExplainerFacts

__all__ = ["SMOOTH", "Population", "Rare", "Real", "Smooth", "from_run", "make_run", "normal_scores_to"]

Floats = NDArray[np.float64]
_GRID = np.linspace(-6.0, 6.0, 12_001)
_RARE_LOSS = 0.5


class Population(Protocol):
    """A population that images are drawn from.

    Attributes:
        source: where the scores come from.
        metric: text of the metric.
        n_explainers: number of explainers.
        sign: 1 if higher scores are better, else -1.
        typical: which explainers are no controls, bool (E,); None = all.
    """

    @property
    def source(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def n_explainers(self) -> int: ...
    @property
    def sign(self) -> float: ...
    @property
    def typical(self) -> NDArray[np.bool_] | None: ...

    def draw(self, rng: np.random.Generator, n_images: int) -> Floats:
        """Return scores of images, float64 (n, E)."""

    def worsen(self, rng: np.random.Generator, scores: Floats, loss: Floats) -> Floats:
        """Return scores whose true mean is worse by ``loss`` (E,)."""


@dataclass(frozen=True, eq=False)
class Real:
    """The scores of a finished run, drawn with replacement.

    Attributes:
        source: name of the run.
        metric: text of the metric.
        values: float64 (N, E); the controls are the last explainers.
        facts: the explainers.
        sign: 1 if higher scores are better, else -1.
    """

    source: str
    metric: str
    values: Floats
    facts: tuple[ExplainerFacts, ...]
    sign: float

    @property
    def n_explainers(self) -> int:
        return self.values.shape[1]

    @property
    def typical(self) -> NDArray[np.bool_] | None:
        return typical_of([one.text for one in self.facts], self.facts)

    @property
    def means(self) -> Floats:
        """The true means, (E,)."""
        return np.asarray(self.values.mean(axis=0))

    def draw(self, rng: np.random.Generator, n_images: int) -> Floats:
        return self.values[rng.integers(len(self.values), size=n_images)]

    def worsen(self, rng: np.random.Generator, scores: Floats, loss: Floats) -> Floats:  # noqa: ARG002
        return scores - self.sign * loss

    def centered(self) -> Real:
        """Return the population with equal true means: explainers that differ only in the shape of their scores."""
        return replace(self, values=self.values - self.means + self.means.mean())

    def first(self, count: int) -> Real:
        """Return the population of the first explainers."""
        return replace(self, values=self.values[:, :count], facts=self.facts[:count])

    def sweep(self) -> Real:
        """Return the population of the patch-size sweep, the most expensive size first."""
        columns = [index for index, facts in enumerate(self.facts) if facts.swept_by or facts.name == "occlusion"]
        columns = sorted(columns, key=lambda index: -self.facts[index].forward_passes)
        return replace(self, values=self.values[:, columns], facts=tuple(self.facts[index] for index in columns))


def from_run(folder: Path) -> Iterator[Real]:
    """Yield the population of each per-image metric of a run, by the images that all explainers scored."""
    run = read_run(folder)
    table = run.table.by_photo()
    order = sorted(range(len(table.explainers)), key=lambda index: run.manifest.explainers[index].control)
    for metric in metrics_of(run.manifest):
        if metric.set_level:
            continue
        values = table.values[:, order, table.metrics.index(metric.text)]
        values = values[np.isfinite(values).all(axis=1)]
        if len(values) >= 2:
            sign = 1.0 if metric.spec.direction == "higher" else -1.0
            facts = tuple(run.manifest.explainers[index] for index in order)
            yield Real(folder.name, metric.text, values, facts, sign)


def make_run(folder: Path) -> Path:
    """Run evalkit on 24 scenes, and return the run folder."""
    command = [sys.executable, "-m", "evalkit", "run", "--data", "scenes", "--limit", "24", "--output", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def _pointing(uniform: Floats) -> Floats:
    """Return misses, hits, and in between the fraction of the tied maxima that hit."""
    between = np.clip((uniform - 0.12) / 0.18, 0.0, 1.0)
    return np.asarray(np.round(between * 4) / 4)


# By metric: the standard deviation of the difference of two explainers on a real photo, and the quantiles of a score.
_SHAPES: dict[str, tuple[float, Callable[[Floats], Floats]]] = {
    "deletion": (0.16, partial(stats.beta.ppf, a=1.2, b=2.0)),
    "insertion": (0.06, partial(stats.beta.ppf, a=9.0, b=1.0)),
    "pointing_game": (0.24, _pointing),
    "relevance_rank_accuracy": (0.10, partial(stats.beta.ppf, a=5.0, b=4.0)),
}


@dataclass(frozen=True)
class Smooth:
    """Simulated scores of exchangeable explainers, bounded, skewed, correlated between explainers on an image.

    Attributes:
        metric: text of the metric.
        n_explainers: number of explainers.
    """

    metric: str
    n_explainers: int
    source: str = "smooth"
    typical: None = None

    @property
    def sign(self) -> float:
        return -1.0 if self.metric == "deletion" else 1.0

    @cached_property
    def means(self) -> Floats:
        """The true means, (E,)."""
        return np.full(self.n_explainers, _SHAPES[self.metric][1]((np.arange(1_000_000) + 0.5) / 1_000_000).mean())

    def draw(self, rng: np.random.Generator, n_images: int) -> Floats:
        image, own = rng.normal(size=(n_images, 1)), rng.normal(size=(n_images, self.n_explainers))
        return _smooth(self.metric, image, own, _likeness(self.metric))

    def worsen(self, rng: np.random.Generator, scores: Floats, loss: Floats) -> Floats:
        if self.metric == "pointing_game":  # hits turn into misses
            return scores * (rng.random(scores.shape) >= loss / self.means)
        return scores - self.sign * loss


@dataclass(frozen=True)
class Rare:
    """Equal explainers of which a worse one fails on few images, by 0.5, with noise elsewhere.

    Attributes:
        n_explainers: number of explainers.
        noise: standard deviation of the differences on the other images.
    """

    n_explainers: int
    noise: float
    source: str = "rare losses"
    metric: str = "symmetric_relevance_gain"
    sign: float = 1.0
    typical: None = None

    def draw(self, rng: np.random.Generator, n_images: int) -> Floats:
        return np.repeat(0.3 + 0.5 * rng.beta(2.0, 2.0, size=(n_images, 1)), self.n_explainers, axis=1)

    def worsen(self, rng: np.random.Generator, scores: Floats, loss: Floats) -> Floats:
        fails = rng.random(scores.shape) < loss / _RARE_LOSS
        return scores - np.where(fails, _RARE_LOSS, rng.normal(0.0, self.noise, scores.shape))


SMOOTH: Sequence[str] = tuple(_SHAPES)


def normal_scores_to(quantile: Callable[[Floats], Floats], normal: Floats) -> Floats:
    """Return normal scores as scores with this quantile function, by a table."""
    return np.interp(normal, _GRID, _table(quantile))


@lru_cache
def _table(quantile: Callable[[Floats], Floats]) -> Floats:
    return np.asarray(quantile(stats.norm.cdf(_GRID)))


def _smooth(metric: str, image: Floats, own: Floats, likeness: float) -> Floats:
    return normal_scores_to(_SHAPES[metric][1], np.sqrt(likeness) * image + np.sqrt(1 - likeness) * own)


@lru_cache
def _likeness(metric: str) -> float:
    """Return the fraction of an image's normal score that all explainers have in common, by bisection."""
    image, first, second = np.random.default_rng(0).normal(size=(3, 100_000))
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        gap = _smooth(metric, image, first, middle) - _smooth(metric, image, second, middle)
        low, high = (middle, high) if gap.std() > _SHAPES[metric][0] else (low, middle)
    return low
