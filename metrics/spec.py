"""What a metric is: a frozen spec, pure functions on NumPy arrays, and the plans that perturbation metrics hand back.

Polarity everywhere: a saliency map is float (H, W), higher = more important.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.core.registry import Component

__all__ = [
    "Blend",
    "Composition",
    "DatasetMetric",
    "MapMetric",
    "Metric",
    "MetricSpec",
    "Perturbation",
    "PerturbationMetric",
    "RegionMetric",
    "Truth",
]

Direction = Literal["higher", "lower"]
Family = Literal["faithfulness", "localization", "other"]
Needs = Literal["map", "map+region", "perturbation"]
Canvas = Literal["image", "mean", "blur"]


@dataclass(frozen=True)
class MetricSpec:
    """What is declared about a metric, so that no table has to know it by name.

    Attributes:
        name: the standard term, e.g. ``"energy_pointing_game"``.
        version: grows when the meaning of the number changes.
        direction: which way is better.
        bounds: the smallest and largest value that can occur.
        needs: what the metric is computed from.
        family: which leaderboard it stands in.
        summary: one line for ``list metrics``.
        reference: where the definition comes from.
        nan_reason: why a finite map can still go unscored; empty if it cannot.
        exact_region: the region must be the object's own pixels, not boxes.
        binary: every value is 0 or 1.
    """

    name: str
    version: int
    direction: Direction
    bounds: tuple[float, float]
    needs: Needs
    family: Family
    summary: str
    reference: str
    nan_reason: str = ""
    exact_region: bool = False
    binary: bool = False


@dataclass(frozen=True, eq=False)
class Truth:
    """Where the object is, on the map's own grid.

    Attributes:
        region: bool (H, W), the object's pixels if ``exact``, else the union of its boxes; at least one is True.
        boxes: float (K, 4), x0, y0, x1, y1 half-open pixels, K >= 1.
        exact: the region is the object's own pixels.
        pixel_size: how many of the photo's own pixels one map pixel spans, (down, across).
        ignore: bool (H, W), pixels that no metric looks at, none of them in ``region``; None = every pixel counts.
    """

    region: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    exact: bool
    pixel_size: tuple[float, float] = (1.0, 1.0)
    ignore: NDArray[np.bool_] | None = None

    def counted(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return what is not ignored of an array (H, W): the array itself, or its counted pixels in a row, (N,)."""
        return pixels if self.ignore is None else pixels[~self.ignore]


@dataclass(frozen=True, eq=False)
class Perturbation:
    """Which pixels turn from ``start`` into ``end``, in which order, and where to look.

    Composition k shows ``end`` where ``rank < cuts[k]`` and ``start`` elsewhere; all channels together. With
    ``cuts[0] == 0`` and ``cuts[-1] == H * W`` both ends are pure, and the model is asked for them once an image.

    Attributes:
        start: what every pixel shows at first: the image, the mean color, or RISE's blur of the image.
        end: what it turns into.
        rank: int64 (H, W), how many pixels turn strictly before the level that the pixel belongs to.
        cuts: int64 (S,), strictly ascending numbers of turned pixels.
    """

    start: Canvas
    end: Canvas
    rank: NDArray[np.int64]
    cuts: NDArray[np.int64]

    @property
    def fractions(self) -> NDArray[np.float64]:
        """Share of the pixels that have turned at each cut, float64 (S,) in 0..1."""
        return np.asarray(self.cuts / self.rank.size, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Blend:
    """One composition: ``weight * start + (1 - weight) * end``, pixel by pixel, all channels together.

    Attributes:
        start: shown where the weight is 1.
        end: shown where the weight is 0.
        weight: float64 (H, W) in 0..1.
    """

    start: Canvas
    end: Canvas
    weight: NDArray[np.float64]


Composition = Perturbation | Blend


@dataclass(frozen=True)
class Metric(Component, ABC):
    """Base of every metric: its fields are its parameters, its ``spec`` says what the number means."""

    spec: ClassVar[MetricSpec]

    def __init_subclass__(cls) -> None:
        """Let the component's name and version be those of the spec."""
        if "spec" in cls.__dict__:
            cls.name = cls.spec.name
            cls.version = cls.spec.version


@dataclass(frozen=True)
class MapMetric(Metric):
    """Scored from the map alone."""

    @abstractmethod
    def score(self, saliency_map: NDArray[np.floating]) -> float:
        """Return the score of one finite map (H, W); NaN for ``spec.nan_reason``."""


@dataclass(frozen=True)
class RegionMetric(Metric):
    """Scored from the map and the truth about where the object is."""

    @abstractmethod
    def score(self, saliency_map: NDArray[np.floating], truth: Truth) -> float:
        """Return the score of one finite map (H, W); NaN for ``spec.nan_reason``."""


@dataclass(frozen=True)
class DatasetMetric(Metric):
    """Scored over the whole set, from what each image adds: the mean is not where the metric ends."""

    @abstractmethod
    def statistics(self, saliency_map: NDArray[np.floating], truth: Truth) -> NDArray[np.float64]:
        """Return what one image contributes, float64 (K,), K the same for every image."""

    @abstractmethod
    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score sets from the sums or means of their images' statistics.

        Args:
            statistics: float64 (..., K), the **mean** of the images' statistics over each set.

        Returns:
            float64 (...), NaN where the set cannot be scored.
        """


@dataclass(frozen=True)
class PerturbationMetric(Metric):
    """Scored from the model's answers to perturbed images; the model is asked elsewhere."""

    @abstractmethod
    def plan(self, saliency_map: NDArray[np.floating]) -> Sequence[Composition]:
        """Return what to show the model for one finite map (H, W)."""

    @abstractmethod
    def integrate(self, plan: Sequence[Composition], scores: Sequence[NDArray[np.float64]], clean: float) -> float:
        """Turn the target's softmax scores into the metric.

        Args:
            plan: what ``plan`` returned.
            scores: for each composition the scores in its order: (S,) for a Perturbation, (1,) for a Blend.
            clean: the score of the untouched image.
        """
