"""Slow, obvious twins of the metrics, written from their definitions by someone who had not seen the fast code.

Ignored pixels came later, from docs/metrics.md.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Model = Callable[[Floats], float]
Box = tuple[int, int, int, int]

THRESHOLDS = [hundredth / 100 for hundredth in range(100)]


def counted_pixels(saliency_map: Floats, ignore: Bools | None = None) -> list[tuple[int, int]]:
    """Row and column of every pixel that is not ignored."""
    height, width = saliency_map.shape
    return [
        (row, column) for row in range(height) for column in range(width) if ignore is None or not ignore[row, column]
    ]


def is_finite(saliency_map: Floats, ignore: Bools | None = None) -> bool:
    """Whether no counted pixel is NaN or infinite."""
    return all(math.isfinite(saliency_map[pixel]) for pixel in counted_pixels(saliency_map, ignore))


def levels(saliency_map: Floats, ignore: Bools | None = None) -> list[list[tuple[int, int]]]:
    """Groups of equal pixels, highest first: at most 1e-6 of a group's first value below that value.

    What is less than 1e-14 of the largest magnitude is 0.
    """
    pixels = counted_pixels(saliency_map, ignore)
    value = {pixel: float(saliency_map[pixel]) for pixel in pixels}
    largest_magnitude = max(abs(number) for number in value.values())
    for pixel in pixels:
        if abs(value[pixel]) < 1e-14 * largest_magnitude:
            value[pixel] = 0.0
    groups: list[list[tuple[int, int]]] = []
    for pixel in sorted(pixels, key=lambda pixel: value[pixel], reverse=True):
        first = value[groups[-1][0]] if groups else math.inf
        if groups and value[pixel] >= first - 1e-6 * abs(first):
            groups[-1].append(pixel)
        else:
            groups.append([pixel])
    return groups


def is_constant(saliency_map: Floats, ignore: Bools | None = None) -> bool:
    """Whether all pixels are equal, that is, share one level."""
    return len(levels(saliency_map, ignore)) == 1


def min_max_scaled(saliency_map: Floats, ignore: Bools | None = None) -> Floats:
    """The map, which must not be constant, its counted pixels stretched to 0..1; ignored ones are 0."""
    values = [float(saliency_map[pixel]) for pixel in counted_pixels(saliency_map, ignore)]
    stretched = np.zeros(saliency_map.shape)
    for pixel in counted_pixels(saliency_map, ignore):
        stretched[pixel] = (float(saliency_map[pixel]) - min(values)) / (max(values) - min(values))
    return stretched


def cut_counts(saliency_map: Floats, steps: int) -> list[int]:
    """Pixel counts of the cuts: the boundary between levels nearest to each k/steps of the pixels."""
    boundaries = [0]
    for group in levels(saliency_map):
        boundaries.append(boundaries[-1] + len(group))
    chosen = set()
    for k in range(steps + 1):
        wanted = Fraction(k * saliency_map.size, steps)
        chosen.add(min(boundaries, key=lambda boundary, wanted=wanted: (abs(boundary - wanted), boundary)))
    return sorted(chosen)


def curve_area(fractions: Sequence[float], scores: Sequence[float]) -> float:
    """Area under the curve, by the trapezoid rule over the actual fractions."""
    area = 0.0
    for i in range(len(scores) - 1):
        area += (fractions[i + 1] - fractions[i]) * (scores[i] + scores[i + 1]) / 2
    return float(area)


def replacement_area(model: Model, start: Floats, finish: Floats, saliency_map: Floats, steps: int) -> float:
    """Area under the score while start's pixels become finish's, most relevant first."""
    if not is_finite(saliency_map):
        return math.nan
    most_relevant_first = [pixel for group in levels(saliency_map) for pixel in group]
    fractions, scores = [], []
    for count in cut_counts(saliency_map, steps):
        current = np.array(start, dtype=np.float64)
        for row, column in most_relevant_first[:count]:
            current[row, column, :] = finish[row, column, :]
        fractions.append(count / saliency_map.size)
        scores.append(float(model(current)))
    return curve_area(fractions, scores)


def plain(image: Floats, mean_color: Sequence[float]) -> Floats:
    """An image of the mean color everywhere."""
    painted = np.zeros(image.shape, dtype=np.float64)
    for channel in range(3):
        painted[:, :, channel] = mean_color[channel]
    return painted


def deletion(model: Model, image: Floats, saliency_map: Floats, mean_color: Sequence[float], steps: int) -> float:
    """Pixels go to the mean color, most relevant first."""
    return replacement_area(model, image, plain(image, mean_color), saliency_map, steps)


def insertion(model: Model, image: Floats, saliency_map: Floats, blurred: Floats, steps: int) -> float:
    """Pixels of the image appear in the blurred one, most relevant first."""
    return replacement_area(model, blurred, image, saliency_map, steps)


def symmetric_relevance_gain(
    model: Model, image: Floats, saliency_map: Floats, mean_color: Sequence[float], steps: int
) -> float:
    """Insertion minus deletion, both with the mean color as the substrate."""
    inserted = insertion(model, image, saliency_map, plain(image, mean_color), steps)
    return inserted - deletion(model, image, saliency_map, mean_color, steps)


def blended_score(model: Model, image: Floats, saliency_map: Floats, mean_color: Sequence[float]) -> float:
    """O: the score of the image blended toward the mean color by the min-max scaled map."""
    height, width = saliency_map.shape
    weights = min_max_scaled(saliency_map)
    blended = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            w = weights[row, column]
            for channel in range(3):
                blended[row, column, channel] = w * image[row, column, channel] + (1 - w) * mean_color[channel]
    return float(model(blended))


def average_drop(model: Model, image: Floats, saliency_map: Floats, mean_color: Sequence[float]) -> float:
    """max(0, Y - O) / Y in 0..1; NaN where Y is 0 and for a constant map."""
    if not is_finite(saliency_map) or is_constant(saliency_map):
        return math.nan
    y = float(model(np.array(image, dtype=np.float64)))
    if y == 0:
        return math.nan
    o = blended_score(model, image, saliency_map, mean_color)
    return max(0.0, y - o) / y


def increase_in_confidence(model: Model, image: Floats, saliency_map: Floats, mean_color: Sequence[float]) -> float:
    """1 where O > Y, else 0; NaN for a constant map."""
    if not is_finite(saliency_map) or is_constant(saliency_map):
        return math.nan
    y = float(model(np.array(image, dtype=np.float64)))
    o = blended_score(model, image, saliency_map, mean_color)
    return 1.0 if o > y else 0.0


def pointing_game(
    saliency_map: Floats,
    region: Bools,
    tolerance_px: float,
    pixel_size: tuple[float, float] = (1.0, 1.0),
    ignore: Bools | None = None,
) -> float:
    """Share of the tied maxima strictly nearer to the region than the tolerance."""
    height, width = saliency_map.shape
    inside = [(row, column) for row in range(height) for column in range(width) if region[row, column]]
    if not is_finite(saliency_map, ignore) or not inside:
        return math.nan
    maxima = levels(saliency_map, ignore)[0]
    hits = 0
    for row, column in maxima:
        squared_distances = []
        for region_row, region_column in inside:
            down = (row - region_row) * pixel_size[0]
            across = (column - region_column) * pixel_size[1]
            squared_distances.append(down**2 + across**2)
        if min(squared_distances) < tolerance_px**2:
            hits += 1
    return hits / len(maxima)


def mass_inside(saliency_map: Floats, region: Bools, ignore: Bools | None = None) -> float:
    """Share of the positive part that is inside the region; ignored pixels are not there."""
    if not is_finite(saliency_map, ignore):
        return math.nan
    pixels = counted_pixels(saliency_map, ignore)
    if is_constant(saliency_map, ignore):
        return sum(1 for pixel in pixels if region[pixel]) / len(pixels)
    inside, everywhere = 0.0, 0.0
    for pixel in pixels:
        positive_part = max(0.0, float(saliency_map[pixel]))
        everywhere += positive_part
        if region[pixel]:
            inside += positive_part
    return math.nan if everywhere == 0 else inside / everywhere


def box_union(boxes: Floats, size: tuple[int, int]) -> Bools:
    """Pixels whose center is inside a half-open box."""
    height, width = size
    union = np.zeros((height, width), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        for row in range(height):
            for column in range(width):
                if x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1:
                    union[row, column] = True
    return union


def relevance_rank_accuracy(saliency_map: Floats, region: Bools, ignore: Bools | None = None) -> float:
    """Share of the top K counted pixels, K = region size, in the region; ties in proportion."""
    k = int(region.sum())
    if not is_finite(saliency_map, ignore) or k == 0:
        return math.nan
    inside = Fraction(0)
    places_left = k
    for group in levels(saliency_map, ignore):
        taken = min(places_left, len(group))
        group_inside = sum(1 for pixel in group if region[pixel])
        inside += Fraction(taken, len(group)) * group_inside
        places_left -= taken
    return float(inside / k)


def gini(saliency_map: Floats) -> float:
    """Gini index of the magnitudes, from the mean absolute difference."""
    if not is_finite(saliency_map):
        return math.nan
    if is_constant(saliency_map):
        return 0.0
    values = [abs(value) for value in saliency_map.ravel().tolist()]
    n = len(values)
    mean = sum(values) / n
    differences = 0.0
    for v_i in values:
        for v_j in values:
            differences += abs(v_i - v_j)
    return differences / (2 * n**2 * mean)


def gray_values(saliency_map: Floats, ignore: Bools | None = None) -> npt.NDArray[np.uint8]:
    """The map min-max scaled, times 255, cast to uint8; zeros for a constant map and for ignored pixels."""
    if is_constant(saliency_map, ignore):
        return np.zeros(saliency_map.shape, dtype=np.uint8)
    return (min_max_scaled(saliency_map, ignore) * 255).astype(np.uint8)


def contour_boxes(saliency_map: Floats, largest_only: bool, ignore: Bools | None = None) -> list[list[Box]]:
    """For each threshold the boxes of the binarized map's contours, both ends counted; ignored pixels stay below."""
    height, width = saliency_map.shape
    if is_constant(saliency_map, ignore):
        rows = [row for row, _ in counted_pixels(saliency_map, ignore)]
        columns = [column for _, column in counted_pixels(saliency_map, ignore)]
        whole = (min(columns), min(rows), min(max(columns) + 1, width - 1), min(max(rows) + 1, height - 1))
        return [[whole] for _ in THRESHOLDS]
    gray = gray_values(saliency_map, ignore)
    found = []
    for threshold in THRESHOLDS:
        binary = np.zeros((height, width), dtype=np.uint8)
        binary[gray > int(threshold * int(gray.max()))] = 255
        contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        contours = list(contours)
        if largest_only and contours:
            contours = [max(contours, key=cv2.contourArea)]
        boxes = []
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            boxes.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
        found.append(boxes)
    return found


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, both ends counted."""
    across = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    down = max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return across * down / (area_a + area_b - across * down)


def best_iou(boxes: Sequence[Box], truth: Floats) -> float:
    """The best overlap of any box with any truth box, truncated to ints; 0 without a box."""
    best = 0.0
    for box in boxes:
        for x0, y0, x1, y1 in truth:
            best = max(best, box_iou(box, (int(x0), int(y0), int(x1), int(y1))))
    return best


def best_share_right(
    maps: Sequence[Floats],
    truths: Sequence[Floats],
    least_iou: float,
    largest_only: bool,
    ignores: Sequence[Bools | None],
) -> float:
    """Maximum over the thresholds of the share of right images; max outside the mean."""
    scored = [(m, t, i) for m, t, i in zip(maps, truths, ignores, strict=True) if is_finite(m, i) and len(t) > 0]
    if not scored:
        return math.nan
    right = [0] * len(THRESHOLDS)
    for saliency_map, truth, ignore in scored:
        for at, boxes in enumerate(contour_boxes(saliency_map, largest_only, ignore)):
            right[at] += best_iou(boxes, truth) >= least_iou
    return max(right) / len(scored)


def max_box_acc_v1(maps: Sequence[Floats], truths: Sequence[Floats], ignores: Sequence[Bools | None]) -> float:
    """MaxBoxAcc: the box of the largest contour, right where IoU >= 0.5."""
    return best_share_right(maps, truths, 0.5, True, ignores)


def max_box_acc_v2(maps: Sequence[Floats], truths: Sequence[Floats], ignores: Sequence[Bools | None]) -> float:
    """MaxBoxAccV2: the best of all contours; mean over IoU >= 0.3, 0.5, 0.7, each at its best."""
    return sum(best_share_right(maps, truths, least_iou, False, ignores) for least_iou in (0.3, 0.5, 0.7)) / 3


def pxap(maps: Sequence[Floats], regions: Sequence[Bools], ignores: Sequence[Bools | None]) -> float:
    """PxAP in 0..1: all images' counted pixels pooled, sum of precision times gained recall."""
    pooled = []
    for saliency_map, region, ignore in zip(maps, regions, ignores, strict=True):
        if is_finite(saliency_map, ignore):
            gray = gray_values(saliency_map, ignore)
            pooled += [(int(gray[pixel]), bool(region[pixel])) for pixel in counted_pixels(saliency_map, ignore)]
    objects = sum(1 for _, is_object in pooled if is_object)
    if objects == 0:
        return math.nan
    area, recall_before = 0.0, 0.0
    for t in range(255, -1, -1):
        found = [is_object for gray, is_object in pooled if gray >= t]
        if found:
            precision = sum(found) / len(found)
            recall = sum(found) / objects
            area += precision * (recall - recall_before)
            recall_before = recall
    return area


def length(values: Sequence[float]) -> float:
    """L2 norm."""
    return math.sqrt(sum(value * value for value in values))


def max_sensitivity(saliency_map: Floats, noisy_maps: Sequence[Floats]) -> float:
    """Largest L2 distance of a map of a noisy image to the map, over the map's L2 norm; NaN for a zero map."""
    if not is_finite(saliency_map) or not all(is_finite(noisy_map) for noisy_map in noisy_maps):
        return math.nan
    norm = length([float(saliency_map[pixel]) for pixel in counted_pixels(saliency_map)])
    if norm == 0:
        return math.nan
    ratios = []
    for noisy_map in noisy_maps:
        changes = [float(noisy_map[pixel]) - float(saliency_map[pixel]) for pixel in counted_pixels(saliency_map)]
        ratios.append(length(changes) / norm)
    return max(ratios)


def structural_similarity(a: Floats, b: Floats) -> float:
    """SSIM with a uniform window of 7 x 7, data range 1 and sample covariance; mean over windows inside the image."""
    c1, c2 = (0.01 * 1) ** 2, (0.03 * 1) ** 2
    height, width = a.shape
    similarities = []
    for row in range(3, height - 3):
        for column in range(3, width - 3):
            window = [(r, c) for r in range(row - 3, row + 4) for c in range(column - 3, column + 4)]
            n = len(window)
            mean_a = sum(float(a[pixel]) for pixel in window) / n
            mean_b = sum(float(b[pixel]) for pixel in window) / n
            variance_a = sum((float(a[pixel]) - mean_a) ** 2 for pixel in window) / (n - 1)
            variance_b = sum((float(b[pixel]) - mean_b) ** 2 for pixel in window) / (n - 1)
            covariance = sum((float(a[pixel]) - mean_a) * (float(b[pixel]) - mean_b) for pixel in window) / (n - 1)
            luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            similarities.append(luminance * (2 * covariance + c2) / (variance_a + variance_b + c2))
    return sum(similarities) / len(similarities)


def random_logit(saliency_map: Floats, other_map: Floats) -> float:
    """SSIM of the min-max scaled maps of two classes; NaN where one of them is constant."""
    if not is_finite(saliency_map) or not is_finite(other_map):
        return math.nan
    if is_constant(saliency_map) or is_constant(other_map):
        return math.nan
    return structural_similarity(min_max_scaled(saliency_map), min_max_scaled(other_map))


def mean_ranks(saliency_map: Floats) -> list[float]:
    """Rank of each pixel, 1 for the highest; pixels of one level share the mean of their ranks."""
    rank = {}
    ranked = 0
    for group in levels(saliency_map):
        ranks_of_group = range(ranked + 1, ranked + len(group) + 1)
        for pixel in group:
            rank[pixel] = sum(ranks_of_group) / len(group)
        ranked += len(group)
    return [rank[pixel] for pixel in counted_pixels(saliency_map)]


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation: Pearson's of the mean ranks; NaN where one map is constant."""
    if not is_finite(a) or not is_finite(b) or is_constant(a) or is_constant(b):
        return math.nan
    ranks_a, ranks_b = mean_ranks(a), mean_ranks(b)
    n = len(ranks_a)
    mean = (n + 1) / 2
    product = sum((rank_a - mean) * (rank_b - mean) for rank_a, rank_b in zip(ranks_a, ranks_b, strict=True))
    spread_a = sum((rank_a - mean) ** 2 for rank_a in ranks_a)
    spread_b = sum((rank_b - mean) ** 2 for rank_b in ranks_b)
    return product / math.sqrt(spread_a * spread_b)


def mprt(saliency_map: Floats, maps_of_new_weights: Sequence[Floats]) -> float:
    """Mean rank correlation of the map with those of models with new weights; NaN where one map is constant."""
    correlations = [rank_correlation(saliency_map, other_map) for other_map in maps_of_new_weights]
    return sum(correlations) / len(correlations)
