"""Paired tests between explainers of scores of a whole set: bootstrap of the difference, max-T within one metric."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.paired_tests import (
    ALPHA,
    FEWEST_IMAGES,
    Family,
    Pairs,
    all_pairs,
    p_values_of,
    sharing,
)
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.analysis.statistics.set_intervals import RESAMPLES, SetBootstrap

__all__ = ["compare_sets"]

Floats = NDArray[np.float64]
_ROUNDING = 1e-12


def compare_sets(
    statistics: Floats, aggregate: Callable[[Floats], Floats], resampling: Resampling, *, pairs: Pairs | None = None
) -> Family:
    """Test pairs of columns of a set-level metric, paired by image.

    The statistic is the difference in standard errors, which have room for unseen images like the most influential one
    (``set_intervals``); it is compared with the largest resampled difference of all pairs, each in standard deviations.

    Args:
        statistics: float64 (n, E, K), rows of NaN = not scored.
        aggregate: mean statistics (..., K) to the statistic (...).
        resampling: resampling of the images; the first ``RESAMPLES`` are used.
        pairs: int64 (P, 2), which columns to compare; None = all with all.
    """
    pairs = all_pairs(statistics.shape[1]) if pairs is None else pairs
    resampling = resampling.first(RESAMPLES)
    scored = np.asarray(np.isfinite(statistics).all(axis=2))
    n_images = np.zeros(len(pairs), dtype=np.int64)
    differences, errors = np.full((2, len(pairs)), np.nan)
    highest = np.zeros(resampling.n_resamples)
    for rows, members in sharing(scored, pairs):
        n_images[members] = np.count_nonzero(rows)
        if np.count_nonzero(rows) < 2:
            continue
        scores = {
            column: SetBootstrap.of(statistics[rows, column], aggregate, resampling)
            for column in np.unique(pairs[members])
        }
        for pair in members:
            difference = scores[pairs[pair, 0]].minus(scores[pairs[pair, 1]])
            differences[pair] = difference.score
            spread = float(difference.resampled.std()) if difference.finite else 0.0
            if spread > _ROUNDING and n_images[pair] >= FEWEST_IMAGES:
                errors[pair] = difference.error
                highest = np.maximum(highest, np.abs(difference.resampled - difference.score) / spread)
    testable = np.isfinite(errors)
    observed = np.where(testable, np.abs(differences) / np.where(testable, errors, 1.0), 0.0)
    p_values = np.where(testable, p_values_of(observed, highest), 1.0)
    reach = float(np.quantile(highest, 1 - ALPHA)) * errors
    return Family(
        pairs, differences, p_values, differences - reach, differences + reach, n_images, resampling.n_resamples
    )
