"""Paired tests between explainers of scores of a whole set: bootstrap of the difference, max-T within one metric."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.statistics.bounded_means import bounded_quantile, p_at_most_zero
from evalkit.analysis.statistics.paired_tests import (
    ALPHA,
    FEWEST_IMAGES,
    Family,
    Pairs,
    all_pairs,
    critical_of,
    p_values_of,
    sharing,
)
from evalkit.analysis.statistics.set_intervals import SetBootstrap

__all__ = ["compare_sets"]

Floats = NDArray[np.float64]
_ROUNDING = 1e-12


def compare_sets(
    scored: NDArray[np.bool_],
    bootstrap: Callable[[int, NDArray[np.bool_]], SetBootstrap],
    n_resamples: int,
    width: float,
    *,
    pairs: Pairs | None = None,
) -> Family:
    """Test pairs of columns of a set-level metric, paired by image.

    The statistic is the difference in standard errors, which have room for unseen images like the most influential one
    (``set_intervals``); it is compared with the largest resampled difference of all pairs, each in standard deviations.
    A difference that no resample changes is bounded by one unseen image (``bounded_means``).

    Args:
        scored: bool (n, E), which images are scored in which column.
        bootstrap: the column and which images (n,), all of them scored, to the resampled score of these images.
        n_resamples: number of resamples.
        width: difference between the metric's largest and smallest possible value.
        pairs: int64 (P, 2), which columns to compare; None = all with all.
    """
    pairs = all_pairs(scored.shape[1]) if pairs is None else pairs
    n_images = np.zeros(len(pairs), dtype=np.int64)
    differences, errors = np.full((2, len(pairs)), np.nan)
    highest = np.zeros(n_resamples)
    constant = np.zeros(len(pairs), dtype=np.bool_)
    for rows, members in sharing(scored, pairs):
        n_images[members] = np.count_nonzero(rows)
        if np.count_nonzero(rows) < 2:
            continue
        scores = {column: bootstrap(column, rows) for column in np.unique(pairs[members]).tolist()}
        for pair in members:
            difference = scores[pairs[pair, 0]].minus(scores[pairs[pair, 1]])
            differences[pair] = difference.score
            spread = float(difference.resampled.std()) if difference.finite else 0.0
            constant[pair] = difference.finite and spread <= _ROUNDING and abs(difference.score) > _ROUNDING
            if spread > _ROUNDING and n_images[pair] >= FEWEST_IMAGES:
                errors[pair] = difference.error
                highest = np.maximum(highest, np.abs(difference.resampled - difference.score) / spread)
    testable = np.isfinite(errors)
    observed = np.where(testable, np.abs(differences) / np.where(testable, errors, 1.0), 0.0)
    p_values = np.where(testable, p_values_of(observed, highest), 1.0)
    reach = critical_of(highest) * errors
    low, high = np.maximum(differences - reach, -width), np.minimum(differences + reach, width)
    for pair in np.flatnonzero(constant & (n_images >= FEWEST_IMAGES)):
        equal = np.full((n_images[pair], 1), differences[pair])
        sides = [p_at_most_zero(sign * equal, -width)[0] for sign in (1.0, -1.0)]
        p_values[pair] = min(1.0, max(2 * min(sides), 1 / (1 + n_resamples)))
        low[pair] = bounded_quantile(equal, -width, ALPHA / 2)[0]
        high[pair] = bounded_quantile(equal, width, 1 - ALPHA / 2)[0]
    return Family(pairs, differences, p_values, low, high, n_images, n_resamples)
