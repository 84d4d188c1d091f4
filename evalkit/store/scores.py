"""The per-image scores of a run as arrays, the input of the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evalkit.store.statistics import Statistics

__all__ = ["ScoreTable", "first_rows", "mean_of_units", "unscored_photos"]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Every score of a run.

    Attributes:
        image_ids: N ids, in the set's order.
        explainers: E specs, in the order of the options.
        metrics: M specs, in the order of the options.
        values: float64 (N, E, M), NaN = not scored; all NaN for dataset-level metrics.
        statistics: (N, E, K) of each dataset-level metric; indexed, they are float64 with rows of NaN = not scored.
        reasons: by (explainer, metric), the number of photos not scored for each reason; a photo is scored if one of
            its entries is.
        object_shares: float64 (N,), fraction of the image that the object's largest box covers, NaN = no region; None
            if the fractions are unknown.
        photos: N texts, equal for entries of one photo; None if every image is a photo of its own.
    """

    image_ids: tuple[str, ...]
    explainers: tuple[str, ...]
    metrics: tuple[str, ...]
    values: NDArray[np.float64]
    statistics: Mapping[str, Statistics]
    reasons: Mapping[tuple[str, str], Mapping[str, int]]
    object_shares: NDArray[np.float64] | None = None
    photos: tuple[str, ...] | None = None

    def by_photo(self) -> ScoreTable:
        """Return the table with one row per photo, because entries of one photo are not independent.

        Scores and statistics are means over the photo's entries that are scored; the object share is the largest of
        its entries.
        """
        if self.photos is None or len(set(self.photos)) == len(self.photos):
            return self
        first, unit = first_rows(self.photos)
        shares = self.object_shares
        if shares is not None:
            largest = np.full(len(first), -np.inf)
            np.maximum.at(largest, unit, np.nan_to_num(shares, nan=-np.inf))
            shares = np.where(np.isfinite(largest), largest, np.nan)
        return replace(
            self,
            image_ids=tuple(self.image_ids[row] for row in first),
            values=mean_of_units(self.values, unit),
            statistics={text: _by_unit(of_metric, unit) for text, of_metric in self.statistics.items()},
            object_shares=shares,
            photos=None,
        )


def unscored_photos(codes: NDArray[np.int32], photos: Sequence[str], n_codes: int) -> NDArray[np.int64]:
    """Count the photos of which no entry is scored, by reason: int64 (E, M, n_codes).

    Args:
        codes: int32 (N, E, M), from 1 the code of the reason why a cell is not scored; -1 = scored, 0 = no such cell.
        photos: N texts, equal for entries of one photo, which counts once, by the reason of its first entry.
        n_codes: number of codes.
    """
    first, unit = first_rows(photos)
    of_photo = np.zeros((len(first), *codes.shape[1:]), dtype=np.int32)
    for row in reversed(range(len(unit))):
        current = of_photo[unit[row]]
        of_photo[unit[row]] = np.where((codes[row] == 0) | (current == -1), current, codes[row])
    counts = np.zeros((*codes.shape[1:], n_codes), dtype=np.int64)
    for code in range(n_codes):
        counts[..., code] = (of_photo == code + 1).sum(axis=0)
    return counts


def first_rows(photos: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of every photo, in order, and (N,) the index of each row's photo among these."""
    _, first, unit = np.unique(np.array(photos, dtype=str), return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[unit]


def _by_unit(statistics: Statistics, unit: NDArray[np.int64]) -> Statistics:
    """Return ``mean_of_units`` of statistics, one explainer after another: as float64 all may need gigabytes."""
    n_explainers = statistics.shape[1]
    return Statistics.of(
        np.stack([mean_of_units(statistics[:, column], unit) for column in range(n_explainers)], axis=1)
    )


def mean_of_units(values: NDArray[np.float64], unit: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean over the rows of each unit that are not NaN, float64 (U, ...), NaN if all are."""
    scored = np.isfinite(values)
    sums = np.zeros((int(unit.max(initial=-1)) + 1, *values.shape[1:]))
    counts = np.zeros_like(sums)
    np.add.at(sums, unit, np.where(scored, values, 0.0))
    np.add.at(counts, unit, scored)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
