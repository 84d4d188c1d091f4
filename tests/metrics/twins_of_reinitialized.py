"""Slow, obvious twins of mprt and emprt, written from docs/metrics.md by someone who had not seen their code."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import twins

Floats = npt.NDArray[np.floating]


def mean_correlation(saliency_map: Floats, maps_of_seeds: Sequence[Floats]) -> float:
    """Mean over seeds of the rank correlation; constant maps left out, NaN if all are."""
    correlations = [twins.rank_correlation(saliency_map, other) for other in maps_of_seeds]
    known = [each for each in correlations if not math.isnan(each)]
    return sum(known) / len(known) if known else math.nan


def mprt(saliency_map: Floats, maps_of_stages: Sequence[Sequence[Floats]]) -> float:
    """Mean over stages of the mean over seeds; NaN if all seeds' maps of one stage are constant."""
    means = [mean_correlation(saliency_map, maps_of_seeds) for maps_of_seeds in maps_of_stages]
    return sum(means) / len(means)


def curve(saliency_map: Floats, maps_of_stages: Sequence[Sequence[Floats]]) -> list[float]:
    """Stage by stage: correlation with the own map; then with the last stage's of the same seed; share of constant."""
    own = [mean_correlation(saliency_map, maps_of_seeds) for maps_of_seeds in maps_of_stages]
    last, constant = [], []
    for maps_of_seeds in maps_of_stages:
        pairs = [twins.rank_correlation(*pair) for pair in zip(maps_of_seeds, maps_of_stages[-1], strict=True)]
        known = [each for each in pairs if not math.isnan(each)]
        last.append(sum(known) / len(known) if known else math.nan)
        constant.append(sum(twins.is_constant(each) for each in maps_of_seeds) / len(maps_of_seeds))
    return own + last + constant


def entropy(saliency_map: Floats) -> float:
    """Entropy of the histogram of the values, 100 equal bins from the smallest to the largest."""
    values = [float(value) for value in saliency_map.ravel()]
    low, high = min(values), max(values)
    counts = [0] * 100
    for value in values:
        counts[min(99, math.floor((value - low) / (high - low) * 100))] += 1
    return -sum(count / len(values) * math.log(count / len(values)) for count in counts if count)


def emprt(saliency_map: Floats, maps_of_seeds: Sequence[Floats]) -> float:
    """Mean over seeds of the relative rise of the entropy; constant maps left out, NaN if all are."""
    if twins.is_constant(saliency_map):
        return math.nan
    own = entropy(saliency_map)
    rises = [(entropy(other) - own) / own for other in maps_of_seeds if not twins.is_constant(other)]
    return sum(rises) / len(rises) if rises else math.nan
