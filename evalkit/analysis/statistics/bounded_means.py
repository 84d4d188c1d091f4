"""Means of bounded scores: intervals and tests that hold for scores of any shape.

A sample says nothing of the images that are not in it. If one in twenty images is a total failure, a third of all
samples of twenty contain none, and whatever is computed from such a sample alone is too sure. So one image is added at
the end of the range, and the images are weighted at random (Dirichlet): the mean is at most the q quantile of the
weighted mean in q of all samples. For scores of 0 and 1 this is the exact binomial interval.

Reference: Gaffke, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative
variable", Mathematical Methods of Statistics 2005; Learned-Miller and Thomas, "A new confidence interval for the mean
of a bounded random variable", 2019. The tail of the weighted mean is taken from its saddlepoint approximation
(Barndorff-Nielsen, Biometrika 1986), so nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["bounded_quantile", "p_at_most_zero"]

Floats = NDArray[np.float64]
_STEPS = 60
_PRECISION = 1e-6
_NEAR = 1e-4  # of a saddlepoint to zero, where its formula is 0 / 0
_CERTAIN = 1e-4
_ROUNDING = 1e-12  # relative
_TINY = np.finfo(np.float64).tiny
_BLOCK = 2_000_000  # numbers in memory at once


def p_at_most_zero(values: Floats, unseen: Floats | float) -> Floats:
    """Return the p-value of "the mean is at most 0" for each column.

    Args:
        values: float64 (n, P), finite.
        unseen: the lowest value that an image can have; one for each column, or one for all.

    Returns:
        float64 (P,) in 0..1.
    """
    from scipy.special import ndtr

    p_values = np.empty(values.shape[1])
    unseen = np.broadcast_to(unseen, p_values.shape)
    for columns in _blocks(values):
        terms = np.concatenate([values[:, columns], unseen[None, columns]])
        lowest, highest = terms.min(axis=0), terms.max(axis=0)
        # Chernoff's bound at a guess of the saddlepoint; where it is small already, the search would be wasted.
        guess = np.clip(
            -terms.sum(axis=0) / np.maximum((terms**2).sum(axis=0), _TINY), 0.9 / np.minimum(lowest, -_TINY), 0
        )
        bound = np.where(highest <= 0, 1.0, np.exp(-np.log1p(-terms * guess).sum(axis=0)))
        unclear = (lowest < 0) & (highest > 0) & (bound > _CERTAIN)
        bound[unclear] = ndtr(_score(terms[:, unclear], guess[unclear])[0])
        p_values[columns] = np.where(lowest >= 0, np.where(highest > 0, 0.0, 1.0), bound)
    return p_values


def bounded_quantile(values: Floats, unseen: Floats | float, quantile: float) -> Floats:
    """Return a one-sided confidence bound of the mean of each column, float64 (P,).

    Args:
        values: float64 (n, P), finite.
        unseen: the lowest value that an image can have for a lower bound, the highest for an upper bound.
        quantile: 0.025 for the lower end of a 95 % interval, 0.975 for the upper.
    """
    from scipy.special import ndtri

    bounds = np.empty(values.shape[1])
    unseen = np.broadcast_to(unseen, bounds.shape)
    for columns in _blocks(values):
        bounds[columns] = _quantiles(
            np.concatenate([values[:, columns], unseen[None, columns]]), float(ndtri(quantile))
        )
    return bounds


def _blocks(values: Floats) -> Iterator[slice]:
    size = max(1, _BLOCK // max(len(values), 1))
    for start in range(0, values.shape[1], size):
        yield slice(start, start + size)


def _quantiles(terms: Floats, wanted: float) -> Floats:
    """Return where the normal score of the weighted mean is ``wanted``, by safeguarded secant steps."""
    low, high = terms.min(axis=0), terms.max(axis=0)
    found = low.copy()
    # Numbers that differ only by rounding are one number: their span is too small to divide by.
    varying = np.flatnonzero(high - low > _ROUNDING * np.maximum(np.abs(low), np.abs(high)))
    terms, low, high = terms[:, varying], low[varying], high[varying]
    width = high - low
    # The normal approximation; the score is nearly linear in the mean.
    mean, error = terms.mean(axis=0), terms.std(axis=0) / np.sqrt(len(terms))
    before, score_before = mean, np.full(mean.shape, np.nan)
    point = np.zeros(mean.shape)
    now = np.clip(mean + wanted * error, low + 1e-3 * width, high - 1e-3 * width)
    done = np.zeros(mean.shape, dtype=np.bool_)  # a column that is done stays as it is, whatever the others need
    for _ in range(_STEPS):
        score, point = _score(terms - now, point)
        low, high = np.where(score < wanted, now, low), np.where(score > wanted, now, high)
        slope = np.where(
            np.isfinite(score_before), (score - score_before) / np.where(now == before, 1, now - before), 0
        )
        slope = np.where(slope > 0, slope, 1 / error)
        following = now + (wanted - score) / slope
        following = np.where((following <= low) | (following >= high), (low + high) / 2, following)
        following = np.where(done, now, following)
        done |= np.abs(following - now) <= _PRECISION * width
        before, score_before, now = now, score, following
        if done.all():
            break
    found[varying] = now
    return np.asarray(found)


def _score(terms: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Return the normal score of P(sum of E_i x terms_i <= 0), E_i exponential, and the saddlepoints, each (P,).

    Args:
        terms: float64 (n, P), of both signs in each column.
        start: guesses of the saddlepoints.
    """
    point = _saddlepoints(terms, start)
    remaining = 1.0 - terms * point
    variance = ((terms / remaining) ** 2).sum(axis=0)
    # Of the cumulant function K(s) = -sum(log(1 - s x terms)), at its minimum.
    root = np.sign(point) * np.sqrt(np.maximum(2.0 * np.log(remaining).sum(axis=0), 0.0))
    near = np.abs(root) < _NEAR
    safe = np.where(near, 1.0, root)
    far = root + np.log(np.where(near, 1.0, point * np.sqrt(variance) / safe)) / safe
    skewness = 2 * (terms**3).sum(axis=0) / (terms**2).sum(axis=0) ** 1.5
    return np.asarray(np.where(near, skewness / 6, far)), point


def _saddlepoints(terms: Floats, start: Floats) -> Floats:
    """Return the zero of the derivative of the cumulant function of each column, by safeguarded Newton steps."""
    low, high = 1.0 / terms.min(axis=0), 1.0 / terms.max(axis=0)
    width = high - low
    point = np.where((start > low) & (start < high), start, 0.0)
    done = np.zeros(point.shape, dtype=np.bool_)  # as in ``_quantiles``
    for _ in range(_STEPS):
        tilted = terms / (1.0 - terms * point)
        slope = tilted.sum(axis=0)
        low, high = np.where(slope < 0, point, low), np.where(slope > 0, point, high)
        following = point - slope / np.einsum("np,np->p", tilted, tilted)
        following = np.where((following <= low) | (following >= high), (low + high) / 2, following)
        following = np.where(done, point, following)
        done |= np.abs(following - point) <= _PRECISION * width
        point = following
        if done.all():
            break
    return point
