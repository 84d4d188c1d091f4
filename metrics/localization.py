"""Localization metrics: how well a map agrees with the object's region or boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.boxes import rasterize
from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Region
from evalkit.metrics.levels import is_constant, level_ranks, top_level
from evalkit.metrics.spec import MetricSpec, RegionMetric

__all__ = [
    "EnergyPointingGame",
    "PointingGame",
    "RelevanceMassAccuracy",
    "RelevanceRankAccuracy",
    "mass_inside",
    "pointing_game",
    "relevance_rank_accuracy",
]

Map = NDArray[np.floating]
Mask = NDArray[np.bool_]


def pointing_game(
    saliency_map: Map,
    region: Mask,
    *,
    tolerance_px: float = 15.0,
    pixel_size: tuple[float, float] = (1.0, 1.0),
    ignore: Mask | None = None,
) -> float:
    """Return the share of the tied maxima that are in the region or closer to it than the tolerance.

    Args:
        saliency_map: float (H, W).
        region: bool (H, W), at least one pixel.
        tolerance_px: tolerance in the photo's own pixels, exclusive.
        pixel_size: number of photo pixels in one map pixel, (down, across).
        ignore: bool (H, W), pixels that are not used; None = all are used.

    Returns:
        0..1; NaN if the map is not finite or the region is empty.

    Reference: Zhang et al., IJCV 2018; TorchRay's pointing game. All tied maxima count, in any order.
    """
    counted = slice(None) if ignore is None else ~ignore
    values = saliency_map[counted]
    if not (np.isfinite(values).all() and region.any()):
        return np.nan
    from scipy.ndimage import distance_transform_edt

    distance_px = distance_transform_edt(~region, sampling=pixel_size)[counted]
    return float((distance_px[top_level(values)] < tolerance_px).mean())


def mass_inside(saliency_map: Map, region: Mask) -> float:
    """Return the share of the map's positive part that is inside the region.

    A constant map, of any sign, scores the region's share of the area.

    Args:
        saliency_map: float (H, W), or the counted pixels, (N,).
        region: bool of the same shape.

    Returns:
        0..1; NaN if the map is not finite or varies without being positive anywhere.

    Reference: Wang et al., Score-CAM, CVPRW 2020, section 4.3; Arras et al., CLEVR-XAI, Information Fusion 2022.
    """
    values = np.asarray(saliency_map, dtype=np.float64)
    if not np.isfinite(values).all():
        return np.nan
    if is_constant(values):
        return float(region.mean())
    positive = np.maximum(values, 0.0)
    total = float(positive.sum())
    return float(positive[region].sum()) / total if total > 0 else np.nan


def relevance_rank_accuracy(saliency_map: Map, region: Mask) -> float:
    """Return the share of the K highest pixels that are in the region, K being its size.

    The level that contains rank K counts in proportion, because its pixels are equal.

    Args:
        saliency_map: float (H, W), or the counted pixels, (N,).
        region: bool of the same shape.

    Returns:
        0..1; NaN if the map is not finite or the region is empty.

    Reference: Arras et al., CLEVR-XAI, Information Fusion 2022, section 3.2.
    """
    wanted = int(region.sum())
    if not (np.isfinite(saliency_map).all() and wanted):
        return np.nan
    rank, boundaries = level_ranks(saliency_map)
    straddling = int(np.searchsorted(boundaries, wanted, side="left")) - 1
    begin, end = int(boundaries[straddling]), int(boundaries[straddling + 1])
    whole = int(region[rank < begin].sum())
    shared = int(region[rank == begin].sum())
    return (whole + shared * (wanted - begin) / (end - begin)) / wanted


@dataclass(frozen=True)
class PointingGame(RegionMetric):
    """Pointing game.

    Attributes:
        tolerance_px: tolerance in the photo's own pixels before resizing, exclusive.
    """

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="pointing_game",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="share of the map's maxima in the object or less than 15 photo pixels from it",
        brief="share of the maxima in or near the object",
        reference="Zhang et al., IJCV 2018; TorchRay",
        sweep_column=6,
        chance="uniform",
        column="pointing",
        screen_column=3,
    )
    tolerance_px: float = 15.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 < self.tolerance_px < np.inf:
            raise ConfigError(f"{self.name}: tolerance_px={self.tolerance_px} is not allowed; more than 0 pixels")

    def score_region(self, saliency_map: Map, region: Region) -> float:
        """Return ``pointing_game``."""
        return pointing_game(
            saliency_map,
            region.mask,
            tolerance_px=self.tolerance_px,
            pixel_size=region.pixel_size,
            ignore=region.ignore,
        )


@dataclass(frozen=True)
class EnergyPointingGame(RegionMetric):
    """Energy-based pointing game: share of the positive part inside the boxes."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="energy_pointing_game",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="share of the map's positive part inside the boxes",
        brief="share of the positive part in the boxes",
        reference="Wang et al., Score-CAM, CVPRW 2020, section 4.3",
        nan_reason="the map is positive nowhere",
        gated=True,
        sweep_column=4,
        chance="uniform",
        column="energy",
        screen_column=4,
    )

    def score_region(self, saliency_map: Map, region: Region) -> float:
        """Return ``mass_inside`` of the union of the boxes."""
        inside = rasterize(region.boxes, saliency_map.shape)
        return mass_inside(region.counted(saliency_map), region.counted(inside))


@dataclass(frozen=True)
class RelevanceMassAccuracy(RegionMetric):
    """Relevance mass accuracy: share of the positive part inside the exact mask."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="relevance_mass_accuracy",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="share of the map's positive part inside the object's exact mask",
        brief="share of the positive part in the mask",
        reference="Arras et al., CLEVR-XAI, Information Fusion 2022, section 3.2",
        nan_reason="the map is positive nowhere",
        chance="uniform",
        column="mass",
    )
    exact_region: ClassVar[bool] = True

    def score_region(self, saliency_map: Map, region: Region) -> float:
        """Return ``mass_inside`` of the region."""
        return mass_inside(region.counted(saliency_map), region.counted(region.mask))


@dataclass(frozen=True)
class RelevanceRankAccuracy(RegionMetric):
    """Relevance rank accuracy: share of the K highest pixels inside the region, K being its size."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="relevance_rank_accuracy",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="of the K highest pixels, K the size of the region, the share inside it",
        brief="share of the K highest pixels in the region",
        reference="Arras et al., CLEVR-XAI, Information Fusion 2022, section 3.2",
        sweep_column=5,
        chance="uniform",
        column="rank",
    )

    def score_region(self, saliency_map: Map, region: Region) -> float:
        """Return ``relevance_rank_accuracy``."""
        return relevance_rank_accuracy(region.counted(saliency_map), region.counted(region.mask))
