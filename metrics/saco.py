"""SaCo: do groups of pixels take from the score what their relevance says?

Reference: Wu et al., On the Faithfulness of Vision Transformer Explanations, CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Case
from evalkit.metrics.levels import TOLERANCE, level_ranks
from evalkit.metrics.magnitude import NOT_FINITE, Magnitude
from evalkit.metrics.requests import Cost, Masked, Request
from evalkit.metrics.spec import Answer, MetricSpec

__all__ = ["Saco", "saco"]

Map = NDArray[np.floating]
Floats = NDArray[np.float64]


def saco(relevance: Floats, drops: Floats) -> float:
    """Return the salience-guided faithfulness coefficient.

    Over all pairs of groups, the difference of their relevance counts for the map where the more relevant group drops
    the score further, against it where it drops it less; equal drops count for neither.

    Args:
        relevance: float64 (K,), the mean relevance of each group.
        drops: float64 (K,), how far the score drops when the group is replaced.

    Returns:
        -1..1; NaN if all groups are equally relevant.
    """
    first, second = np.triu_indices(len(relevance), k=1)
    apart = relevance[first] - relevance[second]
    largest = np.maximum(np.abs(relevance[first]), np.abs(relevance[second]))
    apart = np.where(np.abs(apart) > TOLERANCE * largest, apart, 0.0)
    weight = float(np.abs(apart).sum())
    return float((apart * np.sign(drops[first] - drops[second])).sum()) / weight if weight > 0 else np.nan


@dataclass(frozen=True)
class Saco(Magnitude):
    """Salience-guided faithfulness coefficient: do groups of pixels drop the score as far as their relevance says?

    Attributes:
        groups: groups of equally many pixels, by descending relevance, 2 to 100; each costs one pass. Equal pixels are
            put in random order, seeded by the photo, because any order among them is arbitrary.
    """

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="saco",
        version=1,
        direction="higher",
        bounds=(-1.0, 1.0),
        family="faithfulness",
        summary="whether groups of pixels take from the score what their relevance says, weighed by the difference",
        brief="do drops of groups follow relevance?",
        reference="Wu et al., CVPR 2024 (SaCo)",
        nan_reason="all groups of pixels are equally relevant" + NOT_FINITE,
    )
    groups: int = 10

    def __post_init__(self) -> None:
        """Check the range."""
        if not 2 <= self.groups <= 100:
            raise ConfigError(f"{self.name}: groups={self.groups} is not allowed; 2 to 100")

    def unscored_reason(self, case: Case) -> str | None:
        """Return why there are no groups: the photo has fewer pixels."""
        height, width = case.pixels.shape[:2]
        few = f"the photo has {height * width} pixels, fewer than {self.groups} groups"
        return super().unscored_reason(case) or (few if height * width < self.groups else None)

    def cost(self) -> Cost:
        """Return one image a group."""
        return Cost(images=self.groups)

    def members(self, saliency_map: Map, case: Case) -> list[NDArray[np.intp]]:
        """Return the pixels of each group by their index in raster order, the most relevant first."""
        rank = level_ranks(saliency_map)[0].ravel()
        order = np.lexsort((case.rng("saco").permutation(rank.size), rank))
        return np.array_split(order, self.groups)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return the photo with each group hidden."""
        hidden = np.zeros((self.groups, saliency_map.size), dtype=np.bool_)
        for group, members in enumerate(self.members(saliency_map, case)):
            hidden[group, members] = True
        return [Masked(hidden.reshape(self.groups, *saliency_map.shape))]

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return ``saco``, -1..1; NaN if all groups are equally relevant."""
        values = np.asarray(saliency_map, dtype=np.float64).ravel()
        relevance = np.array([values[members].mean() for members in self.members(saliency_map, case)])
        return saco(relevance, self.drops(case, answers[0]))
