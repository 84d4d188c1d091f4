"""MaxBoxAcc and PxAP on the WSOL contract: the threshold is chosen over the whole set, so scores belong to the set.

Reference: Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020, and its code
(wsolevaluation). Constants are the code's: maps scaled to 0..1 and quantized to 8 bits, contours of OpenCV, boxes
that end one pixel late, and an intersection over union that counts both ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.levels import is_constant
from evalkit.metrics.spec import DatasetMetric, MetricSpec, Truth

__all__ = ["MaxBoxAccV1", "MaxBoxAccV2", "PxAP", "boxes_at", "intersection_over_union", "pixel_histograms"]

Map = NDArray[np.floating]
THRESHOLDS = np.arange(100) / 100
_IOU_LEVELS = (0.3, 0.5, 0.7)
_BINS = 256


def _quantized(saliency_map: Map) -> NDArray[np.uint8]:
    values = np.asarray(saliency_map, dtype=np.float64)
    return np.asarray(255 * ((values - values.min()) / (values.max() - values.min())), dtype=np.uint8)


def boxes_at(saliency_map: Map, *, largest_only: bool) -> Iterator[NDArray[np.float64]]:
    """Yield for each threshold 0, 0.01 ... 0.99 of the maximum the boxes of what exceeds it.

    Args:
        saliency_map: finite float (H, W). A constant map has one box, the whole image: its pixels are equal.
        largest_only: only the box of the contour with the largest area.

    Yields:
        float64 (K, 4), x0, y0, x0 + width, y0 + height; K may be 0.
    """
    import cv2

    height, width = saliency_map.shape
    if is_constant(saliency_map):
        for _ in THRESHOLDS:
            yield np.array([[0, 0, width - 1, height - 1]], dtype=np.float64)
        return
    gray = _quantized(saliency_map)
    known: dict[int, NDArray[np.float64]] = {}
    for threshold in THRESHOLDS:
        level = int(threshold * gray.max())
        if level not in known:
            contours, _ = cv2.findContours((gray > level).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            if largest_only and contours:
                contours = [max(contours, key=cv2.contourArea)]
            corners = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, contours)]
            # The code clips boxes to the last pixel.
            boxes = np.array(corners, dtype=np.float64).reshape(-1, 4)
            known[level] = np.minimum(boxes, [width - 1, height - 1, width - 1, height - 1])
        yield known[level]


def intersection_over_union(boxes: NDArray[np.float64], truths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return every pair's intersection over union, both ends counted.

    Args:
        boxes: float64 (K, 4).
        truths: float64 (L, 4).

    Returns:
        float64 (K, L) in 0..1.
    """
    first, second = boxes[:, None], truths[None]
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    common = np.prod(np.maximum(high - low + 1, 0), axis=-1)
    areas = [np.prod(one[..., 2:] - one[..., :2] + 1, axis=-1) for one in (first, second)]
    return np.asarray(common / (areas[0] + areas[1] - common))


def _best_overlaps(saliency_map: Map, truth: Truth, *, largest_only: bool) -> NDArray[np.float64]:
    """Return the best intersection over union at each threshold, float64 (100,); NaN if the map is not finite."""
    if not np.isfinite(saliency_map).all():
        return np.full(len(THRESHOLDS), np.nan)
    truths = np.trunc(truth.boxes)
    return np.array(
        [
            intersection_over_union(boxes, truths).max(initial=0.0)
            for boxes in boxes_at(saliency_map, largest_only=largest_only)
        ]
    )


def _right(overlaps: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    return np.where(np.isnan(overlaps), np.nan, overlaps >= level)


@dataclass(frozen=True)
class MaxBoxAccV1(DatasetMetric):
    """MaxBoxAcc: share of images whose box is right, at the best threshold for the whole set."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="max_box_acc_v1",
        version=1,
        direction="higher",
        bounds=(0.0, 1.0),
        needs="map+region",
        family="localization",
        summary="share of images whose largest box overlaps the object by half, at the set's best threshold",
        reference="Choe et al., CVPR 2020 (MaxBoxAcc); wsolevaluation",
    )

    def statistics(self, saliency_map: Map, truth: Truth) -> NDArray[np.float64]:
        """Return for each threshold 1 if the largest contour's box is right, else 0, float64 (100,)."""
        return _right(_best_overlaps(saliency_map, truth, largest_only=True), 0.5)

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the best threshold's share, 0..1."""
        return np.asarray(statistics.max(axis=-1))


@dataclass(frozen=True)
class MaxBoxAccV2(DatasetMetric):
    """MaxBoxAccV2: any contour's box may be right; mean over three overlaps, each at its best threshold."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="max_box_acc_v2",
        version=1,
        direction="higher",
        bounds=(0.0, 1.0),
        needs="map+region",
        family="localization",
        summary="as v1 with every contour's box, mean over overlaps of 0.3, 0.5 and 0.7",
        reference="Choe et al., TPAMI 2022 (MaxBoxAccV2); wsolevaluation",
    )

    def statistics(self, saliency_map: Map, truth: Truth) -> NDArray[np.float64]:
        """Return for each overlap and threshold 1 if some box is right, else 0, float64 (300,)."""
        best = _best_overlaps(saliency_map, truth, largest_only=False)
        return np.concatenate([_right(best, level) for level in _IOU_LEVELS])

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over the overlaps of the best threshold's share, 0..1."""
        levels = statistics.reshape(*statistics.shape[:-1], len(_IOU_LEVELS), len(THRESHOLDS))
        return np.asarray(levels.max(axis=-1).mean(axis=-1))


def pixel_histograms(saliency_map: Map, region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count the object's and the other pixels at each of 256 values of the scaled map.

    Args:
        saliency_map: float (H, W). A constant map stands in one bin.
        region: bool (H, W).

    Returns:
        float64 (512,): the object's 256 counts, then the others'; NaN if the map is not finite.
    """
    if not np.isfinite(saliency_map).all():
        return np.full(2 * _BINS, np.nan)
    gray = np.zeros(region.shape, dtype=np.uint8) if is_constant(saliency_map) else _quantized(saliency_map)
    return np.concatenate([np.bincount(gray[where], minlength=_BINS) for where in (region, ~region)]).astype(np.float64)


@dataclass(frozen=True)
class PxAP(DatasetMetric):
    """PxAP: average precision of the set's pixels, ranked by their scaled value."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="pxap",
        version=1,
        direction="higher",
        bounds=(0.0, 1.0),
        needs="map+region",
        family="localization",
        summary="average precision of the object's pixels, all images pooled",
        reference="Choe et al., CVPR 2020 (PxAP); wsolevaluation",
        exact_region=True,
    )

    def statistics(self, saliency_map: Map, truth: Truth) -> NDArray[np.float64]:
        """Return ``pixel_histograms``."""
        return pixel_histograms(saliency_map, truth.region)

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over the 256 thresholds of precision x gained recall, 0..1; NaN without object pixels."""
        # From the highest value down: what a threshold at that value would select.
        counts = statistics.reshape(*statistics.shape[:-1], 2, _BINS)[..., ::-1]
        hits = counts[..., 0, :]
        selected = np.cumsum(counts.sum(axis=-2), axis=-1)
        total = hits.sum(axis=-1)
        precision = np.divide(np.cumsum(hits, axis=-1), selected, out=np.zeros_like(selected), where=selected > 0)
        gained = (precision * hits).sum(axis=-1)
        return np.asarray(np.divide(gained, total, out=np.full_like(total, np.nan), where=total > 0))
