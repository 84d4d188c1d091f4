"""MaxBoxAcc and PxAP as in the WSOL evaluation: the threshold is chosen over the whole set, so the set has one score.

Reference: Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020, and its code
(wsolevaluation). Constants are the code's: maps scaled to 0..1 and quantized to 8 bits, contours of OpenCV, boxes
that end one pixel late, and an intersection over union that counts both ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core import signature
from evalkit.metrics.case import Case, Region
from evalkit.metrics.contours import THRESHOLDS, boxes_at, quantized
from evalkit.metrics.levels import is_constant
from evalkit.metrics.spec import Answer, MetricSpec, RegionMetric, SetMetric
from evalkit.metrics.thresholds import NO_THRESHOLD, StoredThresholds, read_thresholds

__all__ = ["MaxBoxAccV1", "MaxBoxAccV2", "PxAP", "intersection_over_union", "pixel_histograms"]

Map = NDArray[np.floating]
_IOU_LEVELS = (0.3, 0.5, 0.7)
_BINS = 256
_ROUNDING = 1e-12


def intersection_over_union(boxes: NDArray[np.float64], truths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of every pair of boxes, both ends counted.

    Args:
        boxes: float64 (K, 4).
        truths: float64 (L, 4).

    Returns:
        float64 (K, L) in 0..1.
    """
    first, second = boxes[:, None], truths[None]
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    sides = np.maximum(high - low + 1, 0)
    common = sides[..., 0] * sides[..., 1]
    areas = [(one[..., 2] - one[..., 0] + 1) * (one[..., 3] - one[..., 1] + 1) for one in (first, second)]
    return np.asarray(common / (areas[0] + areas[1] - common))


def _best_overlaps(saliency_map: Map, region: Region, *, largest_only: bool) -> NDArray[np.float64]:
    """Return the best intersection over union at each threshold, float64 (100,); NaN if the map is not finite.

    Values below 0.3, the smallest overlap used here, may be returned as 0.
    """
    if not np.isfinite(region.counted(saliency_map)).all():
        return np.full(len(THRESHOLDS), np.nan)
    truths = np.trunc(region.boxes)
    least_area = min(_IOU_LEVELS) * float(np.prod(truths[:, 2:] - truths[:, :2] + 1, axis=1).min(initial=np.inf))
    found = [*boxes_at(saliency_map, largest_only=largest_only, least_area=least_area, ignore=region.ignore)]
    threshold = np.repeat(np.arange(len(found)), [*map(len, found)])
    best = np.zeros(len(found))
    np.maximum.at(best, threshold, intersection_over_union(np.concatenate(found), truths).max(axis=1, initial=0.0))
    return best


def _right(overlaps: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    return np.where(np.isnan(overlaps), np.nan, overlaps >= level)


@dataclass(frozen=True)
class _BoxAccuracy(SetMetric, RegionMetric):
    """MaxBoxAcc; with ``threshold_from`` the threshold is given, and every image has a score of its own.

    Attributes:
        threshold_from: a file of thresholds that were chosen on other images, written by ``evalkit thresholds``; none =
            the best threshold is chosen on the images that are scored.
    """

    levels: ClassVar[tuple[float, ...]]
    largest_only: ClassVar[bool]
    threshold_from: str | None = None

    def __post_init__(self) -> None:
        """Make it a metric with a score per image if the threshold is given."""
        if self.threshold_from is not None:
            object.__setattr__(self, "set_level", False)
            object.__setattr__(self, "spec", replace(self.spec, binary=len(self.levels) == 1))

    @cached_property
    def stored(self) -> StoredThresholds:
        """The given thresholds; read when they are first needed, since stored scores can be shown without the file.

        Raises:
            ConfigError: the file cannot be used.
        """
        return read_thresholds(str(self.threshold_from), self.name, len(self.levels))

    @property
    def signature(self) -> str:
        """Name and version; given thresholds by the digest of their file, wherever it is."""
        given = {} if self.threshold_from is None else {"threshold_from": self.stored.digest}
        return signature.line(self.spec_name(), {"v": self.version, **given})

    def unscored_reason(self, case: Case) -> str | None:
        """Return why there is no region, or that the file has no threshold for the explainer."""
        reason = super().unscored_reason(case)
        if reason is not None or self.threshold_from is None or case.explainer in self.stored.by_explainer:
            return reason
        return NO_THRESHOLD

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float | NDArray[np.float64]:
        """Return ``score_region``; with given thresholds, the share of the overlaps at which the box is correct."""
        flags = super().score(saliency_map, case, answers)
        if self.threshold_from is None:
            return flags
        thresholds = self.stored.by_explainer[case.explainer]
        at = [round(threshold * len(THRESHOLDS)) for threshold in thresholds]
        return float(np.mean(self._by_level(np.asarray(flags))[range(len(at)), at]))

    def score_region(self, saliency_map: Map, region: Region) -> NDArray[np.float64]:
        """Return 1 for each overlap and threshold at which a box is correct, else 0, float64 (overlaps x 100,)."""
        best = _best_overlaps(saliency_map, region, largest_only=self.largest_only)
        return np.concatenate([_right(best, level) for level in self.levels])

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over the overlaps of the best threshold's share, 0..1; of scores per image, their mean."""
        if not self.set_level:
            return np.asarray(statistics[..., 0])
        return np.asarray(self._by_level(statistics).max(axis=-1).mean(axis=-1))

    def chosen_thresholds(self, statistics: NDArray[np.float64]) -> tuple[float, ...]:
        """Return the best threshold of each overlap, the middle one of several."""
        chosen = []
        for shares in self._by_level(statistics):
            best = np.flatnonzero(shares >= shares.max() - _ROUNDING)
            chosen.append(float(THRESHOLDS[best[len(best) // 2]]))
        return tuple(chosen)

    def _by_level(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        return statistics.reshape(*statistics.shape[:-1], len(self.levels), len(THRESHOLDS))


@dataclass(frozen=True)
class MaxBoxAccV1(_BoxAccuracy):
    """MaxBoxAcc: share of images with a correct box, at the best threshold for the whole set."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="max_box_acc_v1",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="share of images whose largest box overlaps the object by half, at the set's best threshold",
        brief="share of images whose largest box is right",
        reference="Choe et al., CVPR 2020 (MaxBoxAcc); wsolevaluation",
        column="box_v1",
    )
    levels: ClassVar[tuple[float, ...]] = (0.5,)
    largest_only: ClassVar[bool] = True


@dataclass(frozen=True)
class MaxBoxAccV2(_BoxAccuracy):
    """MaxBoxAccV2: any contour's box may be correct; mean over three overlaps, each at its best threshold."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="max_box_acc_v2",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="as v1 with every contour's box, mean over overlaps of 0.3, 0.5 and 0.7",
        brief="the same of any box, over three overlaps",
        reference="Choe et al., TPAMI 2022 (MaxBoxAccV2); wsolevaluation",
        column="box_v2",
    )
    levels: ClassVar[tuple[float, ...]] = _IOU_LEVELS
    largest_only: ClassVar[bool] = False


def pixel_histograms(saliency_map: Map, region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count the object's and the other pixels at each of 256 values of the scaled map.

    Args:
        saliency_map: float (H, W), or the counted pixels, (N,). A constant map is in one bin.
        region: bool of the same shape.

    Returns:
        float64 (512,): the object's 256 counts, then the others'; NaN if the map is not finite.
    """
    if not np.isfinite(saliency_map).all():
        return np.full(2 * _BINS, np.nan)
    gray = np.zeros(region.shape, dtype=np.uint8) if is_constant(saliency_map) else quantized(saliency_map)
    return np.concatenate([np.bincount(gray[where], minlength=_BINS) for where in (region, ~region)]).astype(np.float64)


@dataclass(frozen=True)
class PxAP(SetMetric, RegionMetric):
    """PxAP: average precision of the set's pixels, ranked by their scaled value."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="pxap",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="average precision of the object's pixels, all images pooled",
        brief="average precision, all images pooled",
        reference="Choe et al., CVPR 2020 (PxAP); wsolevaluation",
    )
    exact_region: ClassVar[bool] = True

    def score_region(self, saliency_map: Map, region: Region) -> NDArray[np.float64]:
        """Return ``pixel_histograms``."""
        return pixel_histograms(region.counted(saliency_map), region.counted(region.mask))

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over the 256 thresholds of precision x gained recall, 0..1; NaN without object pixels."""
        # From the highest value down: what a threshold at that value would select.
        hits = np.ascontiguousarray(statistics[..., _BINS - 1 :: -1])
        found = np.cumsum(hits, axis=-1)
        selected = np.cumsum(statistics[..., : _BINS - 1 : -1], axis=-1)
        selected += found
        total = found[..., -1]
        # Where nothing is selected nothing is found: 0 / 1.
        gained = np.einsum("...i,...i->...", found / np.where(selected > 0, selected, 1.0), hits)
        return np.asarray(np.divide(gained, total, out=np.full_like(total, np.nan), where=total > 0))
