"""Complexity metrics: how concentrated a map is, whether or not it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.case import Case
from evalkit.metrics.levels import is_constant
from evalkit.metrics.spec import Answer, Metric, MetricSpec

__all__ = ["Sparseness", "gini_index"]


def gini_index(saliency_map: NDArray[np.floating]) -> float:
    """Return the Gini index of the map's magnitudes: 0 = spread evenly, near 1 = all in one pixel.

    With magnitudes v sorted ascending, n of them: 1 - 2 * sum(v_k / sum(v) * (n - k + 1/2) / n), k from 1.

    Args:
        saliency_map: float (H, W).

    Returns:
        0..1 - 1/n; 0 for a constant map, also for zeros; NaN if the map is not finite.

    Reference: Hurley & Rickard, IEEE Trans. Information Theory 2009; Chalasani et al., ICML 2020.
    """
    values = np.ravel(saliency_map)
    if not np.isfinite(values).all():
        return np.nan
    if is_constant(values):
        return 0.0
    magnitudes = np.sort(np.abs(values)).astype(np.float64)  # float32 is sorted in half the time
    count = magnitudes.size
    weights = (count - np.arange(1, count + 1) + 0.5) / count
    # A sum, not a product of vectors, whose last digits depend on the threads of the linear algebra library.
    return float(1.0 - 2.0 * (magnitudes / magnitudes.sum() * weights).sum())


@dataclass(frozen=True)
class Sparseness(Metric):
    """Sparseness: the Gini index of the map's magnitudes."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="sparseness",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="other",
        summary="Gini index of the map's magnitudes: how few pixels carry it",
        brief="Gini index: how few pixels carry the map",
        reference="Hurley & Rickard, 2009; Chalasani et al., ICML 2020",
        descriptive=True,
    )

    def score(self, saliency_map: NDArray[np.floating], case: Case, answers: Sequence[Answer]) -> float:
        """Return ``gini_index``."""
        return gini_index(saliency_map)
