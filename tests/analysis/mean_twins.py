"""Slow twins of the tests of means, written from their definitions: one resample at a time, weights drawn."""

from __future__ import annotations

import numpy as np


def standard_error(values):
    return np.std(values, ddof=1) / np.sqrt(len(values))


def studentized(values, counts):
    """(Resampled mean - mean) / its own standard error, of each resample; the data's where a resample has none."""
    drawn = []
    for row in counts:
        resample = np.repeat(values, row)
        error = standard_error(resample)
        if error < 1e-12:
            error = standard_error(values)
        drawn.append((resample.mean() - values.mean()) / error)
    return np.array(drawn)


def bootstrap_p(values, limit, counts):
    """P-value of "the mean is at least the limit"."""
    if values.mean() >= limit:
        return 1.0
    observed = (values.mean() - limit) / standard_error(values)
    return (1 + sum(t <= observed for t in studentized(values, counts))) / (1 + len(counts))


def weighted_means(values, unseen, n_draws=200_000):
    """Means of the values and one unseen value, weighted at random (Dirichlet)."""
    rng = np.random.default_rng(7)
    weights = rng.standard_exponential((n_draws, len(values) + 1))
    return weights @ np.append(values, unseen) / weights.sum(axis=1)


def holm(p_values):
    """Corrected p-values, by Holm: of the k smallest, the largest of each times the number that are left."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, (len(p_values) - place) * p_values[index])
        corrected[index] = min(largest, 1.0)
    return corrected
