"""Localization of one image as detection of the object's pixels: precision, recall and false alarms at every level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.case import Region
from evalkit.metrics.levels import level_ranks
from evalkit.metrics.spec import MetricSpec, RegionMetric

__all__ = ["PixelAuc", "PixelAveragePrecision", "pixel_auc", "pixel_average_precision"]

Map = NDArray[np.floating]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def _counts(saliency_map: Map, region: Mask) -> tuple[Floats, Floats] | None:
    """Return how many pixels inside and outside the region each level has, highest first; None if not finite."""
    if not np.isfinite(saliency_map).all():
        return None
    rank, boundaries = level_ranks(saliency_map)
    level = np.searchsorted(boundaries, np.ravel(rank))

    def per_level(chosen: NDArray[Any]) -> Floats:
        return np.bincount(level[np.ravel(chosen)], minlength=boundaries.size - 1).astype(np.float64)

    return per_level(region), per_level(~region)


def pixel_average_precision(saliency_map: Map, region: Mask) -> float:
    """Return the average precision of a map as a detector of the region's pixels, with one threshold a level.

    The sum over levels, from the highest down, of the gained recall times the precision of all pixels down to it.

    Args:
        saliency_map: float (H, W), or the counted pixels, (N,).
        region: bool of the same shape.

    Returns:
        0..1, the region's share of the area for a constant map; NaN if the map is not finite or the region is empty.
    """
    counts = _counts(saliency_map, region)
    if counts is None or not region.any():
        return np.nan
    inside, outside = counts
    precision = np.cumsum(inside) / np.cumsum(inside + outside)
    return float((inside * precision).sum() / inside.sum())


def pixel_auc(saliency_map: Map, region: Mask) -> float:
    """Return the area under the ROC curve of a map as a detector of the region's pixels.

    The share of pairs of a pixel inside and one outside in which the one inside is higher; a pair of one level is half.

    Args:
        saliency_map: float (H, W), or the counted pixels, (N,).
        region: bool of the same shape.

    Returns:
        0..1, 0.5 for a constant map; NaN if the map is not finite, or no pixel is inside or none outside.
    """
    counts = _counts(saliency_map, region)
    if counts is None or region.all() or not region.any():
        return np.nan
    inside, outside = counts
    lower = outside.sum() - np.cumsum(outside)
    return float((inside * (lower + outside / 2.0)).sum() / (inside.sum() * outside.sum()))


@dataclass(frozen=True)
class PixelAveragePrecision(RegionMetric):
    """Average precision of the map's pixels against the exact mask. See docs/metrics.md."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="pixel_average_precision",
        version=1,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="average precision of the map's levels as detectors of the object's pixels, per image",
        brief="average precision of the object's pixels",
        reference="Everingham et al., IJCV 2015 (average precision); of pixels: Choe et al., CVPR 2020",
        chance="uniform",
        column="pixel_ap",
    )
    exact_region: ClassVar[bool] = True

    def score_region(self, saliency_map: Map, region: Region) -> float:
        """Return ``pixel_average_precision`` of the pixels that are not ignored."""
        return pixel_average_precision(region.counted(saliency_map), region.counted(region.mask))


@dataclass(frozen=True)
class PixelAuc(RegionMetric):
    """Area under the ROC curve of the map's pixels against the exact mask. See docs/metrics.md."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="pixel_auc",
        version=1,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="area under the ROC curve: how often a pixel of the object is above one beside it",
        brief="area under the ROC curve of the pixels",
        reference="Fawcett, Pattern Recognition Letters 2006 (ROC); of saliency maps: Quantus' AUC",
        nan_reason="the object covers every pixel",
        chance=0.5,
    )
    exact_region: ClassVar[bool] = True

    def score_region(self, saliency_map: Map, region: Region) -> float:
        """Return ``pixel_auc`` of the pixels that are not ignored."""
        return pixel_auc(region.counted(saliency_map), region.counted(region.mask))
