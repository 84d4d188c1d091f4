"""The scores of one metric, ready to be summarized and tested: one number an image, or statistics of a whole set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.intervals import Interval, Resampling, bca_means, bca_statistic, wilson_interval
from evalkit.analysis.statistics.permutation_tests import Family, Pairs, compare_means, compare_sets, sign_flips
from evalkit.core.randomness import generator
from evalkit.metrics.spec import Metric
from evalkit.store.scores import ScoreTable

__all__ = ["Scores", "numbers_of", "scores_of"]

Floats = NDArray[np.float64]
# A set-level metric is computed again for each flip and pair, and for each resample.
_SET_FLIPS_OF_ALL_PAIRS, _SET_FLIPS, _SET_RESAMPLES = 500, 1_000, 1_000


@dataclass(frozen=True, eq=False)
class Scores(ABC):
    """The scores of one metric.

    Attributes:
        name: the metric's name, which seeds the sign flips.
        numbers: float64 (n, E, K), what each image adds in each column; K is 1 for a score an image; NaN = not scored.
    """

    name: str
    numbers: Floats

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which images are scored in which column, bool (n, E)."""
        return np.asarray(np.isfinite(self.numbers).all(axis=2))

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
    def difference_interval(self, later: Floats, earlier: Floats, resampling: Resampling) -> Interval:
        """Return the 95 % interval of a paired difference of scores.

        Args:
            later: float64 (n, K), finite.
            earlier: float64 (n, K), of the same images.
            resampling: of the images.
        """

    @abstractmethod
    def family(self, seed: int, n_flips: int, pairs: Pairs | None = None) -> Family:
        """Test pairs of columns by paired sign flips.

        Args:
            seed: random seed.
            n_flips: number of sign flips; a set-level metric takes fewer.
            pairs: int64 (P, 2), which columns to compare; None = all with all.
        """

    def _flips(self, seed: int, n_flips: int) -> tuple[NDArray[np.int8], bool]:
        # Seeded by the metric alone, so that another explainer in the run draws the same signs.
        return sign_flips(generator(seed, "sign flips", self.name), len(self.numbers), n_flips)


@dataclass(frozen=True, eq=False)
class _ImageScores(Scores):
    """One number an image: the score is their mean.

    Attributes:
        binary: every number is 0 or 1.
    """

    binary: bool

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
        patterns, group = np.unique(self.scored, axis=1, return_inverse=True)
        for index in range(patterns.shape[1]):
            columns = np.flatnonzero(group.reshape(-1) == index)
            rows = values[patterns[:, index]][:, columns]
            if self.binary and np.isin(rows, (0.0, 1.0)).all():  # the mean of a photo's entries lies between
                of_columns = [wilson_interval(int(column.sum()), len(rows)) for column in rows.T]
            else:
                of_columns = bca_means(rows, resampling.counts(max(len(rows), 1)))
            for column, interval in zip(columns, of_columns, strict=True):
                intervals[column] = interval
        return intervals

    def difference_interval(self, later: Floats, earlier: Floats, resampling: Resampling) -> Interval:
        return bca_means(later - earlier, resampling.counts(max(len(later), 1)))[0]

    def family(self, seed: int, n_flips: int, pairs: Pairs | None = None) -> Family:
        signs, exact = self._flips(seed, n_flips)
        return compare_means(self.numbers[..., 0], signs, exact=exact, pairs=pairs)


@dataclass(frozen=True, eq=False)
class _SetScores(Scores):
    """Statistics of each image: the score is a function of their mean.

    Attributes:
        metric: the metric, whose ``aggregate`` scores mean statistics.
    """

    metric: Metric

    def aggregate(self, means: Floats) -> Floats:
        return self.metric.aggregate(means)

    def means(self) -> Floats:
        columns = [self._column(index) for index in range(self.numbers.shape[1])]
        return np.array([float(self.aggregate(rows.mean(axis=0))) if len(rows) else np.nan for rows in columns])

    def intervals(self, resampling: Resampling) -> list[Interval]:
        columns = [self._column(index) for index in range(self.numbers.shape[1])]
        return [bca_statistic(rows, self._resamples(len(rows), resampling), self.aggregate) for rows in columns]

    def difference_interval(self, later: Floats, earlier: Floats, resampling: Resampling) -> Interval:
        size = later.shape[1]
        return bca_statistic(
            np.concatenate([later, earlier], axis=1),
            self._resamples(len(later), resampling),
            lambda means: self.aggregate(means[..., :size]) - self.aggregate(means[..., size:]),
        )

    def family(self, seed: int, n_flips: int, pairs: Pairs | None = None) -> Family:
        limit = _SET_FLIPS_OF_ALL_PAIRS if pairs is None else _SET_FLIPS
        signs, exact = self._flips(seed, min(n_flips, limit))
        return compare_sets(self.numbers, self.aggregate, signs, exact=exact, pairs=pairs)

    def _column(self, index: int) -> Floats:
        return np.asarray(self.numbers[self.scored[:, index], index])

    @staticmethod
    def _resamples(n_images: int, resampling: Resampling) -> NDArray[np.uint16]:
        return resampling.counts(max(n_images, 1))[:_SET_RESAMPLES]


def numbers_of(metric: Metric, table: ScoreTable) -> Floats:
    """Return what each image adds to a metric for each explainer, float64 (n, E, K); see ``Scores.numbers``."""
    if not metric.set_level:
        return table.values[:, :, table.metrics.index(metric.text)][..., None]
    statistics = table.statistics.get(metric.text)
    if statistics is not None:
        return np.asarray(statistics)
    return np.full((len(table.image_ids), len(table.explainers), 1), np.nan)


def scores_of(metric: Metric, numbers: Floats) -> Scores:
    """Return the scores of a metric from numbers (n, E, K); see ``numbers_of``."""
    if metric.set_level:
        return _SetScores(metric.name, numbers, metric)
    return _ImageScores(metric.name, numbers, metric.spec.binary)
