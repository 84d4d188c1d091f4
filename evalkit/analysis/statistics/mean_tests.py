"""One-sided tests of means against a limit, and their intervals: studentized bootstrap and one unseen image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.bounded_means import bounded_quantile, p_at_most_zero
from evalkit.analysis.statistics.resampling import Resampling

__all__ = ["MeanTests"]

Floats = NDArray[np.float64]
_BLOCK = 512
_ROUNDING = 1e-12
_DEGENERATE = 1e-12  # share of the squares below which the spread of a resample is rounding error
_TAIL = 0.025


@dataclass(frozen=True, eq=False)
class MeanTests:
    """The means of several columns over the same images.

    Attributes:
        values: float64 (n, C).
        means: float64 (C,).
        errors: float64 (C,), standard errors of the means.
        drawn: float64 (R, C), (resampled mean - mean) / its standard error; 0 in a column that does not vary.
    """

    values: Floats
    means: Floats
    errors: Floats
    drawn: Floats

    @classmethod
    def of(cls, values: Floats, resampling: Resampling) -> MeanTests:
        """Resample the images of float64 (n, C), finite, n at least 2."""
        groups = resampling.grouped(values)
        units = groups.sums / groups.sizes[:, None]
        units, count = units - units.mean(axis=0), len(units)
        errors = units.std(axis=0, ddof=1) / np.sqrt(count)
        varying = errors > _ROUNDING
        drawn = np.zeros((resampling.n_resamples, values.shape[1]))
        for block, counts in resampling.blocks(len(values), _BLOCK):
            resampled = counts @ units / count
            squares = counts @ units**2 / count
            variances = np.maximum(squares - resampled**2, 0.0) / (count - 1)
            # A resample without spread says nothing of the error: the error of the data is used instead.
            spread = np.where(squares - resampled**2 > _DEGENERATE * squares, np.sqrt(variances), errors)
            drawn[block] = np.where(varying, resampled / np.where(varying, spread, 1.0), 0.0)
        return cls(values, values.mean(axis=0), errors, drawn)

    def opposite(self) -> MeanTests:
        """Return the tests of the values with the opposite sign."""
        return MeanTests(-self.values, -self.means, self.errors, -self.drawn)

    def p_not_below(self, limits: Floats) -> Floats:
        """Return the bootstrap's p-value of "the mean is at least the limit", (C,); small = it is shown to be below."""
        distance = self.means - limits
        with np.errstate(divide="ignore", invalid="ignore"):
            observed = np.where(self.errors > _ROUNDING, distance / self.errors, np.sign(distance) * np.inf)
        reached = (self.drawn <= np.nan_to_num(observed, nan=np.inf)).sum(axis=0)
        return np.asarray(np.where(distance >= 0, 1.0, (1 + reached) / (1 + len(self.drawn))))

    def p_not_below_with_unseen(self, limits: Floats, unseen: Floats) -> Floats:
        """Return the p-value with one unseen image of value ``unseen`` (C,), which is above the limit."""
        return p_at_most_zero(limits - self.values, np.minimum(limits - unseen, 0.0))

    def intervals(self) -> tuple[Floats, Floats]:
        """Return the ends of each 95 % interval; one unseen image is as extreme as the column's largest value."""
        reach = np.quantile(np.abs(self.drawn), 1 - 2 * _TAIL, axis=0) * self.errors
        largest = np.abs(self.values).max(axis=0)
        low, high = bounded_quantile(self.values, -largest, _TAIL), bounded_quantile(self.values, largest, 1 - _TAIL)
        return np.minimum(self.means - reach, low), np.maximum(self.means + reach, high)
