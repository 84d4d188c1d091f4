"""MaxBoxAcc and PxAP as in the WSOL evaluation: the threshold is chosen over the whole set, so the set has one score.

Reference: Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020, and its code
(wsolevaluation). Constants are the code's: maps scaled to 0..1 and quantized to 8 bits, contours of OpenCV, boxes
that end one pixel late, and an intersection over union that counts both ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.case import Region
from evalkit.metrics.levels import is_constant
from evalkit.metrics.spec import MetricSpec, RegionMetric, SetMetric

__all__ = ["MaxBoxAccV1", "MaxBoxAccV2", "PxAP", "boxes_at", "intersection_over_union", "pixel_histograms"]

Map = NDArray[np.floating]
Sides = NDArray[np.integer]
Flags = NDArray[np.bool_]
Contour = Any
THRESHOLDS = np.arange(100) / 100
_IOU_LEVELS = (0.3, 0.5, 0.7)
_BINS = 256
_SPECKLED = 4  # changes from pixel to pixel, as often as the sides are long, that make a map noise


def _quantized(saliency_map: Map) -> NDArray[np.uint8]:
    values = np.asarray(saliency_map, dtype=np.float64)
    return np.asarray(255 * ((values - values.min()) / (values.max() - values.min())), dtype=np.uint8)


def boxes_at(
    saliency_map: Map, *, largest_only: bool, least_area: float = 0.0, ignore: Flags | None = None
) -> Iterator[NDArray[np.float64]]:
    """Yield the boxes of the pixels above each threshold 0, 0.01 ... 0.99 of the maximum.

    Args:
        saliency_map: finite float (H, W). A constant map has one box, the whole image, because its pixels are equal.
        largest_only: whether to yield only the box of the contour with the largest area.
        least_area: boxes with a smaller area, both ends counted, may be left out; for pixel noise, nearly all are.
        ignore: bool (H, W), pixels that exceed no threshold and do not affect the scaling of the map; a constant map
            has the box around all other pixels.

    Yields:
        float64 (K, 4), x0, y0, x0 + width, y0 + height; K may be 0.
    """
    counted = np.ones(saliency_map.shape, dtype=np.bool_) if ignore is None else ~ignore
    if is_constant(saliency_map[counted]):
        yield from [_box_around(counted)] * len(THRESHOLDS)
        return
    gray = np.zeros(saliency_map.shape, dtype=np.uint8)
    gray[counted] = _quantized(saliency_map[counted])
    boxes = _boxes_of(gray.tobytes(), gray.shape, least_area)
    for threshold in THRESHOLDS:
        found, largest = boxes[int(threshold * gray.max())]
        yield found[largest : largest + 1] if largest_only else found


def _box_around(pixels: Flags) -> NDArray[np.float64]:
    """Return the box around pixels in the convention of contours: it ends one pixel late, but inside the image."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    last_row, last_column = min(rows[-1] + 1, pixels.shape[0] - 1), min(columns[-1] + 1, pixels.shape[1] - 1)
    return np.array([[columns[0], rows[0], last_column, last_row]], dtype=np.float64)


# MaxBoxAccV1 and V2 score the same map one after the other; finding its contours is most of their work.
@lru_cache(maxsize=1)
def _boxes_of(data: bytes, shape: tuple[int, int], least_area: float) -> Mapping[int, tuple[NDArray[np.float64], int]]:
    """Return, for every gray level of a threshold, the boxes of the pixels above it and the index of the largest.

    The index is past the end if the box of the largest contour was left out.
    """
    import cv2

    gray = np.frombuffer(data, dtype=np.uint8).reshape(shape)
    last = [shape[1] - 1, shape[0] - 1]  # the code clips boxes to the last pixel
    found = {}
    for level in sorted({int(threshold * gray.max()) for threshold in THRESHOLDS}):
        contours = _contours((gray > level).astype(np.uint8), least_area)
        corners = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, contours)]
        boxes = np.minimum(np.array(corners, dtype=np.float64).reshape(-1, 4), [*last, *last])
        boxes.setflags(write=False)
        found[level] = boxes, int(np.argmax([*map(cv2.contourArea, contours), -1.0]))
    return found


def _contours(above: NDArray[np.uint8], least_area: float) -> Sequence[Contour]:
    """Return the contours of the pixels above a threshold, without specks and holes whose box is too small.

    The contour with the largest area is among them, unless its own box is too small.
    """
    import cv2

    if least_area <= 0 or np.count_nonzero(above[:, 1:] != above[:, :-1]) < _SPECKLED * sum(above.shape):
        return _followed(above)
    labels, width, height, _ = _components(above, connectivity=8)
    kept = (width + 1) * (height + 1) >= least_area  # a box ends one pixel late
    kept[0] = False  # what is not above
    if not kept.any():
        return []
    contours = _followed(_without_small_holes(kept[labels].astype(np.uint8), least_area))
    most = max(map(cv2.contourArea, contours))
    rivals = ~kept & ((width - 1) * (height - 1) >= most)
    rivals[0] = False
    if not rivals.any():
        return contours
    return _followed(_without_small_holes((kept | rivals)[labels].astype(np.uint8), least_area))


def _followed(mask: NDArray[np.uint8]) -> Sequence[Contour]:
    import cv2

    return cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]


def _components(mask: NDArray[np.uint8], connectivity: int) -> tuple[NDArray[np.int32], Sides, Sides, Flags]:
    """Return labels, each component's width and height, and whether it touches the border of the image."""
    import cv2

    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    left, top, width, height = statistics[:, :4].T
    touches = (left == 0) | (top == 0) | (left + width == mask.shape[1]) | (top + height == mask.shape[0])
    return np.asarray(labels), width, height, touches


def _without_small_holes(mask: NDArray[np.uint8], least_area: float) -> NDArray[np.uint8]:
    """Fill holes whose contour has too small a box; other contours do not change."""
    labels, width, height, touches = _components(1 - mask, connectivity=4)
    filled = ~touches & ((width + 3) * (height + 3) < least_area)
    filled[0] = True  # what is no hole
    return filled[labels].astype(np.uint8)


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
    common = np.prod(np.maximum(high - low + 1, 0), axis=-1)
    areas = [np.prod(one[..., 2:] - one[..., :2] + 1, axis=-1) for one in (first, second)]
    return np.asarray(common / (areas[0] + areas[1] - common))


def _best_overlaps(saliency_map: Map, region: Region, *, largest_only: bool) -> NDArray[np.float64]:
    """Return the best intersection over union at each threshold, float64 (100,); NaN if the map is not finite.

    Values below 0.3, the smallest overlap used here, may be returned as 0.
    """
    if not np.isfinite(region.counted(saliency_map)).all():
        return np.full(len(THRESHOLDS), np.nan)
    truths = np.trunc(region.boxes)
    least_area = min(_IOU_LEVELS) * float(np.prod(truths[:, 2:] - truths[:, :2] + 1, axis=1).min(initial=np.inf))
    return np.array(
        [
            intersection_over_union(boxes, truths).max(initial=0.0)
            for boxes in boxes_at(saliency_map, largest_only=largest_only, least_area=least_area, ignore=region.ignore)
        ]
    )


def _right(overlaps: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    return np.where(np.isnan(overlaps), np.nan, overlaps >= level)


@dataclass(frozen=True)
class MaxBoxAccV1(SetMetric, RegionMetric):
    """MaxBoxAcc: share of images with a correct box, at the best threshold for the whole set."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="max_box_acc_v1",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="share of images whose largest box overlaps the object by half, at the set's best threshold",
        reference="Choe et al., CVPR 2020 (MaxBoxAcc); wsolevaluation",
    )

    def score_region(self, saliency_map: Map, region: Region) -> NDArray[np.float64]:
        """Return 1 for each threshold at which the largest contour's box is correct, else 0, float64 (100,)."""
        return _right(_best_overlaps(saliency_map, region, largest_only=True), 0.5)

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the best threshold's share, 0..1."""
        return np.asarray(statistics.max(axis=-1))


@dataclass(frozen=True)
class MaxBoxAccV2(SetMetric, RegionMetric):
    """MaxBoxAccV2: any contour's box may be correct; mean over three overlaps, each at its best threshold."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="max_box_acc_v2",
        version=2,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="as v1 with every contour's box, mean over overlaps of 0.3, 0.5 and 0.7",
        reference="Choe et al., TPAMI 2022 (MaxBoxAccV2); wsolevaluation",
    )

    def score_region(self, saliency_map: Map, region: Region) -> NDArray[np.float64]:
        """Return 1 for each overlap and threshold at which any box is correct, else 0, float64 (300,)."""
        best = _best_overlaps(saliency_map, region, largest_only=False)
        return np.concatenate([_right(best, level) for level in _IOU_LEVELS])

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over the overlaps of the best threshold's share, 0..1."""
        levels = statistics.reshape(*statistics.shape[:-1], len(_IOU_LEVELS), len(THRESHOLDS))
        return np.asarray(levels.max(axis=-1).mean(axis=-1))


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
    gray = np.zeros(region.shape, dtype=np.uint8) if is_constant(saliency_map) else _quantized(saliency_map)
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
