"""Krippendorff's alpha of rankings: images are the raters, explainers what they rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ordinal_alpha", "ordinal_values", "ranks_of"]

Floats = NDArray[np.float64]
_ROUNDING = 1e-12
_BLOCK = 1_000  # images at once


def ranks_of(values: Floats) -> Floats:
    """Return the ranks of the explainers on each image, scaled to 0..1; equal scores share the mean of their ranks.

    A rank r of k scored explainers is (r - 0.5) / k, so that images which lack explainers have ranks on one scale.

    Args:
        values: float64 (n, E), NaN = not scored.

    Returns:
        float64 (n, E), NaN where a score is missing, and on images with fewer than two scores.
    """
    ranks = np.empty(values.shape)
    for start in range(0, len(values), _BLOCK):
        ranks[start : start + _BLOCK] = _ranks_of(values[start : start + _BLOCK])
    return ranks


def _ranks_of(values: Floats) -> Floats:
    known = np.isfinite(values)
    counts = known.sum(axis=1, keepdims=True)
    filled = np.where(known, values, 0.0)
    both = known[:, :, None] & known[:, None, :]
    gaps = filled[:, :, None] - filled[:, None, :]
    below = (both & (gaps > _ROUNDING)).sum(axis=2)
    equal = (both & (np.abs(gaps) <= _ROUNDING)).sum(axis=2)
    return np.asarray(np.where(known & (counts > 1), (below + equal / 2) / np.maximum(counts, 1), np.nan))


def ordinal_values(ranks: Floats) -> Floats:
    """Return numbers (n, E) whose squared differences are Krippendorff's ordinal differences of the ranks.

    The ordinal difference of two ranks is the number of ranks between them, half of either's own included: the
    difference of the numbers of ranks below, half of the equal ones included. NaN where a rank is
    missing, or has no other to agree with.
    """
    known = np.isfinite(ranks)
    known &= known.sum(axis=0) > 1  # one ranking alone agrees with none
    _, level, counts = np.unique(np.round(ranks[known], 9), return_inverse=True, return_counts=True)
    values = np.full(ranks.shape, np.nan)
    values[known] = (np.cumsum(counts) - counts / 2)[level.reshape(-1)] / max(counts.sum(), 1)
    return values


def ordinal_alpha(values: Floats) -> float:
    """Return Krippendorff's alpha, 1 - observed / expected disagreement; NaN where nothing disagrees in either.

    Args:
        values: float64 (n, E), from ``ordinal_values``.

    Reference: Krippendorff, Content Analysis, 2004, chapter 11; for metrics: Tomsett et al., AAAI 2020.
    """
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    paired = counts > 1
    known, counts, numbers = known[:, paired], counts[paired], np.where(known, values, 0.0)[:, paired]
    total = counts.sum()
    if total < 2:
        return float("nan")
    sums, squares = numbers.sum(axis=0), (numbers**2).sum(axis=0)
    observed = ((counts * squares - sums**2) / (counts - 1)).sum() / total
    expected = (total * squares.sum() - sums.sum() ** 2) / (total * (total - 1))
    return float(1 - observed / expected) if expected > _ROUNDING else float("nan")
