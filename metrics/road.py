"""ROAD: what the model's score does when pixels are replaced by colors that are imputed from the others.

Reference: Rong et al., A consistent and efficient evaluation strategy for attribution methods, ICML 2022; half the
difference of its two orders as in pytorch-grad-cam's ``ROADCombined``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.case import Case
from evalkit.metrics.curves import ScoredAlongCurves
from evalkit.metrics.perturbation import perturbation
from evalkit.metrics.requests import Cost, Request, ScoreKind
from evalkit.metrics.spec import Answer, MetricSpec

__all__ = ["SHARES", "Road"]

_STEPS = 10
SHARES = tuple(step / _STEPS for step in range(1, _STEPS))
"""Hidden shares of the pixels at which the two orders are compared."""


@dataclass(frozen=True)
class Road(ScoredAlongCurves):
    """Half of what the score loses more when the most relevant pixels are hidden. See docs/metrics.md.

    Attributes:
        score_kind: the model's score on the imputed images, the parameter ``score``: ``softmax``, or ``log_odds``,
            which a saturated softmax does not flatten.
    """

    draws: ClassVar[bool] = True
    always_signed: ClassVar[Mapping[str, str]] = MappingProxyType({"substrate": "road", "ties": "levels"})
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="road",
        version=1,
        direction="higher",
        bounds=(-0.5, 0.5),
        family="faithfulness",
        summary="half the difference of the class's scores with the least and with the most relevant pixels imputed",
        brief="half the gain, with imputed pixels",
        reference="Rong et al., ROAD, ICML 2022; (LeRF - MoRF) / 2 as pytorch-grad-cam",
        chance=0.0,
    )
    score_kind: ScoreKind = field(default="softmax", metadata={"name": "score", "signed_default": False})

    def cost(self) -> Cost:
        """Return nine images for each of the two orders; the ends are shared by all maps of an image."""
        return Cost(images=2 * len(SHARES))

    def requests(self, saliency_map: NDArray[np.floating], case: Case) -> Sequence[Request]:
        """Return two curves: the most relevant pixels hidden first, and the most relevant shown first."""
        self.require_seed(case)
        return [
            perturbation(saliency_map, "image", "road", _STEPS, "levels", self.score_kind),
            perturbation(saliency_map, "road", "image", _STEPS, "levels", self.score_kind),
        ]

    def score(self, saliency_map: NDArray[np.floating], case: Case, answers: Sequence[Answer]) -> float:
        """Return half the mean difference, -0.5..0.5, of log-odds any number; 0 for a constant map."""
        if not all(np.isfinite(answer).all() for answer in answers):
            return np.nan
        hidden, most_relevant_first = answers[0]
        # Read backward, what appears last is hidden first.
        hidden_least, least_relevant_first = 1.0 - answers[1][0][::-1], answers[1][1][::-1]
        least = np.interp(SHARES, hidden_least, least_relevant_first)
        most = np.interp(SHARES, hidden, most_relevant_first)
        return float((least - most).mean() / 2.0)
