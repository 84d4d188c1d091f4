"""Per-image scores as arrays: what analysis reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ScoreTable"]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Every score of a run.

    Attributes:
        image_ids: N of them, in the set's order.
        explainers: E texts, in the order asked for.
        metrics: M texts, in the order asked for.
        values: float64 (N, E, M), NaN = not scored; all NaN for dataset-level metrics.
        statistics: for each dataset-level metric float64 (N, E, K), a row of NaN = not scored.
        reasons: (explainer, metric) to {reason: number of images not scored for it}.
        object_shares: float64 (N,), the share of the image that its largest box takes, NaN = no region; None if
            nothing is known of the objects.
    """

    image_ids: tuple[str, ...]
    explainers: tuple[str, ...]
    metrics: tuple[str, ...]
    values: NDArray[np.float64]
    statistics: Mapping[str, NDArray[np.float64]]
    reasons: Mapping[tuple[str, str], Mapping[str, int]]
    object_shares: NDArray[np.float64] | None = None
