"""The scores of one metric, ready to be summarized and tested: one number an image, or statistics of a whole set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.intervals import Interval, mean_intervals
from evalkit.analysis.statistics.paired_tests import Family, Pairs, compare_means, distinct_columns
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.analysis.statistics.set_intervals import RESAMPLES, SetBootstrap, set_interval
from evalkit.analysis.statistics.set_tests import compare_sets
from evalkit.metrics.spec import Metric
from evalkit.store.scores import ScoreTable
from evalkit.store.statistics import Statistics

__all__ = ["Scores", "numbers_of", "scores_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores(ABC):
    """The scores of one metric.

    Attributes:
        numbers: (n, E, K), what each image adds in each column; K is 1 for a score an image; NaN = not scored.
    """

    numbers: Floats | Statistics

    @property
    @abstractmethod
    def scored(self) -> NDArray[np.bool_]:
        """Which images are scored in which column, bool (n, E)."""

    @abstractmethod
    def mean_numbers(self, rows: NDArray[np.bool_]) -> Floats:
        """Return the mean numbers of some images (n,), float64 (E, K), undefined in columns that lack one of them."""

    def counts(self) -> NDArray[np.int64]:
        """Return the number of scored images of every column, (E,)."""
        return np.asarray(self.scored.sum(axis=0))

    @abstractmethod
    def aggregate(self, means: Floats) -> Floats:
        """Return the scores (...) of mean numbers (..., K)."""

    @abstractmethod
    def means(self) -> Floats:
        """Return the score of every column, float64 (E,), NaN = no image was scored."""

    @abstractmethod
    def intervals(self, resampling: Resampling) -> list[Interval]:
        """Return the 95 % interval of every column's score."""

    @abstractmethod
    def family(
        self, resampling: Resampling, pairs: Pairs | None = None, typical: NDArray[np.bool_] | None = None
    ) -> Family:
        """Test pairs of columns, paired by image.

        Args:
            resampling: resampling of the images; a set-level metric takes the first of its resamples.
            pairs: int64 (P, 2), which columns to compare; None = all with all. Only chosen pairs get intervals of their
                differences, because those of all pairs take long and nothing shows them.
            typical: bool (E,), see ``compare_means``; a set-level metric does not use it.
        """


@dataclass(frozen=True, eq=False)
class _ImageScores(Scores):
    """One number an image: the score is their mean.

    Attributes:
        bounds: the smallest and largest number that can occur.
    """

    numbers: Floats
    bounds: tuple[float, float]

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.numbers).all(axis=2))

    def mean_numbers(self, rows: NDArray[np.bool_]) -> Floats:
        return np.asarray(np.mean(self.numbers, axis=0, where=rows[:, None, None]))

    def aggregate(self, means: Floats) -> Floats:
        return np.asarray(means[..., 0])

    def means(self) -> Floats:
        values, counts = self.numbers[..., 0], self.counts()
        return np.asarray(
            np.where(self.scored, values, 0.0).sum(axis=0) / np.where(counts > 0, counts, np.nan), dtype=np.float64
        )

    def intervals(self, resampling: Resampling) -> list[Interval]:
        values = self.numbers[..., 0]
        intervals: list[Interval] = [Interval(None, None, None)] * values.shape[1]
        # Columns with the same scored images share one product.
        patterns, group = distinct_columns(self.scored)
        for index in range(patterns.shape[1]):
            columns = np.flatnonzero(group == index)
            rows = values[patterns[:, index]][:, columns]
            of_columns = mean_intervals(rows, self.bounds, resampling)
            for column, interval in zip(columns, of_columns, strict=True):
                intervals[column] = interval
        return intervals

    def family(
        self, resampling: Resampling, pairs: Pairs | None = None, typical: NDArray[np.bool_] | None = None
    ) -> Family:
        low, high = self.bounds
        chosen = pairs is not None
        return compare_means(
            self.numbers[..., 0], resampling, high - low, pairs=pairs, typical=typical, intervals=chosen
        )


@dataclass(frozen=True, eq=False)
class _SetScores(Scores):
    """Statistics of each image: the score is a function of their mean.

    Attributes:
        metric: the metric, whose ``aggregate`` scores mean statistics.
        known: resampled scores by column and images: intervals and tests resample the same ones.
    """

    numbers: Statistics
    metric: Metric
    known: dict[tuple[int, bytes], SetBootstrap] = field(default_factory=dict)

    @property
    def scored(self) -> NDArray[np.bool_]:
        return self.numbers.scored

    def mean_numbers(self, rows: NDArray[np.bool_]) -> Floats:
        return self.numbers.mean(rows)

    def aggregate(self, means: Floats) -> Floats:
        return self.metric.aggregate(means)

    def means(self) -> Floats:
        columns = [self._column(index) for index in range(self.numbers.shape[1])]
        return np.array([float(self.aggregate(rows.mean(axis=0))) if len(rows) else np.nan for rows in columns])

    def intervals(self, resampling: Resampling) -> list[Interval]:
        intervals = []
        for column in range(self.numbers.shape[1]):
            rows = self.scored[:, column]
            known = self._bootstrap(column, rows, resampling) if np.count_nonzero(rows) > 1 else None
            bounds = self.metric.spec.bounds
            intervals.append(set_interval(self._column(column), self.aggregate, bounds, resampling, known))
        return intervals

    def family(
        self,
        resampling: Resampling,
        pairs: Pairs | None = None,
        typical: NDArray[np.bool_] | None = None,  # noqa: ARG002 - sets have no single scores to range over
    ) -> Family:
        resampling = resampling.first(RESAMPLES)
        low, high = self.metric.spec.bounds
        return compare_sets(
            self.scored,
            lambda column, rows: self._bootstrap(column, rows, resampling),
            resampling.n_resamples,
            high - low,
            pairs=pairs,
        )

    def _bootstrap(self, column: int, rows: NDArray[np.bool_], resampling: Resampling) -> SetBootstrap:
        key = (column, rows.tobytes())
        if key not in self.known:
            self.known[key] = SetBootstrap.of(self.numbers.rows_of(column, rows), self.aggregate, resampling)
        return self.known[key]

    def _column(self, index: int) -> NDArray[Any]:
        return self.numbers.rows_of(index, self.scored[:, index])


def numbers_of(metric: Metric, table: ScoreTable) -> Floats | Statistics:
    """Return what each image adds to a metric for each explainer, (n, E, K); see ``Scores.numbers``."""
    if not metric.set_level:
        return table.values[:, :, table.metrics.index(metric.text)][..., None]
    statistics = table.statistics.get(metric.text)
    if statistics is not None:
        return statistics
    return np.full((len(table.image_ids), len(table.explainers), 1), np.nan)


def scores_of(metric: Metric, numbers: Floats | Statistics) -> Scores:
    """Return the scores of a metric from numbers (n, E, K); see ``numbers_of``."""
    if metric.set_level:
        return _SetScores(Statistics.of(numbers), metric)
    return _ImageScores(np.asarray(numbers), metric.spec.bounds)
