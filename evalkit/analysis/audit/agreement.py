"""How far metrics agree: Kendall's tau-b of the explainers' ranks on each image, and clusters of metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.audit.results import PairAgreement
from evalkit.analysis.statistics.intervals import bounded_intervals
from evalkit.analysis.statistics.paired_tests import all_pairs

__all__ = ["agreement_of", "clusters_of", "taus_of"]

Floats = NDArray[np.float64]
_ROUNDING = 1e-12
_NUMBERS = 4_000_000  # in memory at once


def taus_of(values: Floats, fewest: int = 3) -> Floats:
    """Return Kendall's tau-b of every two metrics on each image, float64 (n, M, M).

    Args:
        values: float64 (n, E, M), higher is better; NaN = not scored.
        fewest: fewest explainers that both metrics scored; NaN on images with fewer, and where a metric has the same
            score for all of them.
    """
    n_images, n_explainers, n_metrics = values.shape
    pairs = all_pairs(n_explainers)
    taus = np.full((n_images, n_metrics, n_metrics), np.nan)
    step = max(1, _NUMBERS // max(len(pairs) * n_metrics, 1))
    for start in range(0, n_images, step):
        block = values[start : start + step]
        known = np.isfinite(block)
        gaps = np.where(known, block, 0.0)
        gaps = gaps[:, pairs[:, 0]] - gaps[:, pairs[:, 1]]
        both = (known[:, pairs[:, 0]] & known[:, pairs[:, 1]]).astype(np.float64)
        signs = np.where(np.abs(gaps) > _ROUNDING, np.sign(gaps), 0.0) * both
        untied = np.swapaxes(np.abs(signs), 1, 2) @ both  # pairs that the row's metric does not tie, known to both
        lengths = np.sqrt(untied * np.swapaxes(untied, 1, 2))
        shared = np.swapaxes(known.astype(np.float64), 1, 2) @ known.astype(np.float64)
        defined = (lengths > 0) & (shared >= fewest)
        products = np.swapaxes(signs, 1, 2) @ signs
        taus[start : start + step] = np.divide(products, lengths, out=np.full_like(lengths, np.nan), where=defined)
    return taus


def agreement_of(
    values: Floats, metrics: Sequence[str], *, fewest_explainers: int, fewest_images: int
) -> tuple[PairAgreement, ...]:
    """Return the agreement of every two metrics.

    Args:
        values: float64 (n, E, M), scores of the explainers without controls, higher is better; NaN = not scored.
        metrics: texts of the metrics.
        fewest_explainers: fewest explainers on an image.
        fewest_images: fewest images with a tau.
    """
    taus = taus_of(values, fewest_explainers)
    found = []
    for first, second in all_pairs(len(metrics)):
        of_pair = taus[:, first, second]
        of_pair = of_pair[np.isfinite(of_pair)]
        texts = metrics[first], metrics[second]
        if len(of_pair) < fewest_images:
            reason = (
                f"{len(of_pair)} images have {fewest_explainers} explainers that both scored and do not all tie, "
                f"fewer than {fewest_images}"
            )
            found.append(PairAgreement(*texts, None, None, None, len(of_pair), reason))
            continue
        (interval,) = bounded_intervals(of_pair[:, None], (-1.0, 1.0))
        found.append(PairAgreement(*texts, float(of_pair.mean()), interval.low, interval.high, len(of_pair)))
    return tuple(found)


def clusters_of(
    agreement: Sequence[PairAgreement], metrics: Sequence[str], smallest_tau: float
) -> tuple[tuple[str, ...], ...]:
    """Return the metrics that rank alike: average linkage of 1 - tau, cut where the mean tau falls below a limit.

    Metrics without any tau are in no cluster. A single missing tau counts as no agreement, 0.

    Args:
        agreement: every pair of metrics.
        metrics: texts of the metrics.
        smallest_tau: mean tau of a cluster's parts.
    """
    taus = {frozenset((pair.first, pair.second)): pair.tau for pair in agreement if pair.tau is not None}
    known = [text for text in metrics if any(text in pair for pair in taus)]
    if not known:
        return ()
    from scipy.cluster.hierarchy import fcluster, linkage

    distances = [1 - (taus.get(frozenset((known[a], known[b]))) or 0.0) for a, b in all_pairs(len(known))]
    labels = fcluster(linkage(distances, "average"), 1 - smallest_tau, criterion="distance")
    clusters: dict[int, list[str]] = {}
    for text, label in zip(known, labels.tolist(), strict=True):
        clusters.setdefault(label, []).append(text)
    return tuple(tuple(texts) for texts in clusters.values())
