"""Randomization: does the map change when the explained class changes?

A map that stays the same does not explain the class. A map of fresh noise would pass this test best, so it is
descriptive, and to be read beside the controls, which do not depend on the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.case import Case
from evalkit.metrics.levels import is_constant, level_ranks, scaled
from evalkit.metrics.requests import Cost, Explain, Request
from evalkit.metrics.spec import Answer, Metric, MetricSpec

__all__ = ["RandomLogit", "rank_correlation", "structural_similarity"]

Map = NDArray[np.floating]
_WINDOW_PX = 7


def structural_similarity(first: Map, second: Map) -> float:
    """Return the structural similarity (SSIM) of two maps, each scaled to 0..1 by its minimum and maximum.

    Args:
        first: float (H, W), H and W at least 7.
        second: float (H, W).

    Returns:
        -1..1, 1 for equal maps; NaN if either map is constant, not finite, or smaller than the window.

    Reference: Wang et al., IEEE TIP 2004; ``structural_similarity`` of scikit-image with a
    uniform window of 7 px and data range 1.
    """
    if min(first.shape) < _WINDOW_PX or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.nan
    if is_constant(first) or is_constant(second):
        return np.nan
    from skimage.metrics import structural_similarity as ssim

    return float(ssim(scaled(first), scaled(second), win_size=_WINDOW_PX, data_range=1.0))


def rank_correlation(first: Map, second: Map) -> float:
    """Return Spearman's rank correlation of two maps; the pixels of one level share their mean rank.

    Args:
        first: float (H, W).
        second: float (H, W).

    Returns:
        -1..1; NaN if either map is constant or not finite.
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all()) or is_constant(first) or is_constant(second):
        return np.nan
    from scipy.stats import spearmanr

    return float(spearmanr(level_ranks(first)[0].ravel(), level_ranks(second)[0].ravel()).statistic)


@dataclass(frozen=True)
class RandomLogit(Metric):
    """Random logit: how alike the maps of the target and of another class are.

    Attributes:
        other: ``random`` draws the other class, seeded for each image; ``runner_up`` takes the model's best other one.

    Reference: Sixt et al., "When Explanations Lie", ICML 2020, section 4 (random logit test).
    """

    draws: ClassVar[bool] = True
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="random_logit",
        version=2,
        direction="lower",
        bounds=(-1.0, 1.0),
        family="other",
        summary="structural similarity of the maps of the target and of another class: 1 = the class does not matter",
        brief="similarity of the maps of two classes",
        reference="Sixt et al., ICML 2020, section 4; Wang et al., IEEE TIP 2004 (SSIM)",
        nan_reason="a map is constant, not finite or under 7 px",
        descriptive=True,
        column="logit",
    )
    other: Literal["random", "runner_up"] = "random"

    def unscored_reason(self, case: Case) -> str | None:
        """Return why there is no other class to compare with."""
        if case.not_finite:
            return case.not_finite
        return None if len(case.clean_scores) > len(set(case.target)) else "the model has no other class"

    def cost(self) -> Cost:
        """Return one map."""
        return Cost(maps=1)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return the map of the other class."""
        return [Explain(target=(self.other_class(case),))]

    def other_class(self, case: Case) -> int:
        """Return the output whose map is compared."""
        others = np.setdiff1d(np.arange(len(case.clean_scores)), case.target)
        if self.other == "runner_up":
            return int(others[np.argmax(case.clean_scores[others])])
        return int(case.rng("random_logit").choice(others))

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return ``structural_similarity`` of the two maps."""
        return structural_similarity(saliency_map, answers[0])
