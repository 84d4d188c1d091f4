"""Ranks of explainers within one metric, by means over images that all of them scored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.scores import Scores

__all__ = ["Ranking", "Shared", "ranking_of", "shared_images"]

Floats = NDArray[np.float64]
# An explainer that lacks more than a fifth of the usual images gets no rank, rather than leave the others these images.
_SMALLEST_SHARE = 0.8
_ROUNDING = 1e-12


class Ranking(NamedTuple):
    """The ranks within one metric.

    Attributes:
        goodness: float64 (E,), score over the shared images, higher is better; NaN = no rank.
        ranks: rank of each explainer, 1 = best; equal scores share a rank; None = no rank.
        reasons: why an explainer with scores has no rank; None otherwise.
        n_images: number of images that all ranked explainers scored.
    """

    goodness: Floats
    ranks: list[int | None]
    reasons: list[str | None]
    n_images: int


class Shared(NamedTuple):
    """The images by which explainers are compared.

    Attributes:
        known: bool (E,), explainers that are scored on any image.
        ranked: bool (E,), those that are compared.
        images: bool (n,), images that all of these scored.
        counts: int64 (E,), numbers of usual images that each explainer scored.
        n_usual: number of images that at least half of the explainers scored.
    """

    known: NDArray[np.bool_]
    ranked: NDArray[np.bool_]
    images: NDArray[np.bool_]
    counts: NDArray[np.int64]
    n_usual: int


def shared_images(scored: NDArray[np.bool_]) -> Shared:
    """Return the images by which explainers are compared, from which scores there are, bool (n, E)."""
    known = np.asarray(scored.any(axis=0))
    usual = scored.sum(axis=1) * 2 >= max(known.sum(), 1)
    n_usual = int(usual.sum())
    counts = scored[usual].sum(axis=0)
    ranked = known & (counts >= _SMALLEST_SHARE * n_usual)
    return Shared(known, ranked, np.asarray(scored[:, ranked].all(axis=1) & ranked.any()), counts, n_usual)


def ranking_of(scores: Scores, sign: float) -> Ranking:
    """Rank explainers by their scores over the images that all ranked explainers scored.

    An explainer that was scored on easy images only would otherwise be the best. It gets no rank if it scored less
    than four fifths of the images that at least half of the explainers scored.

    Args:
        scores: the scores of one metric.
        sign: 1 if higher scores are better, -1 if lower.
    """
    known, ranked, shared, counts, n_usual = shared_images(scores.scored)
    goodness = np.full(len(known), np.nan)
    if shared.any():
        means = scores.mean_numbers(shared)
        goodness[ranked] = sign * scores.aggregate(means[ranked])
    none_shared = "no image was scored by all explainers that would be ranked"
    reasons = [
        None
        if not of_known or np.isfinite(value)
        else none_shared
        if of_ranked
        else f"scored {count} of the {n_usual} images that at least half of the explainers scored"
        for of_known, of_ranked, value, count in zip(known, ranked, goodness, counts, strict=True)
    ]
    return Ranking(goodness, _ranks(goodness), reasons, int(shared.sum()))


def _ranks(goodness: Floats) -> list[int | None]:
    """Rank from 1 = best; means closer than rounding share a rank; None where there is no mean."""
    return [None if np.isnan(value) else 1 + int(np.count_nonzero(goodness > value + _ROUNDING)) for value in goodness]
