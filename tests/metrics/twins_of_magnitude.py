"""Slow, obvious twins of the metrics by magnitude, written from docs/metrics.md by someone who had not seen their code.

Masks and groups are given, because the metrics draw them; everything else is computed here.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Model = Callable[[Floats], float]


def hidden_pixels(cells: Bools, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Pixels whose cell is hidden: pixel (y, x) of (H, W) belongs to cell (floor(y h / H), floor(x w / W))."""
    height, width = size
    rows, columns = cells.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if cells[math.floor(y * rows / height), math.floor(x * columns / width)]
    ]


def drop(model: Model, image: Floats, color: Sequence[float], pixels: Sequence[tuple[int, int]]) -> float:
    """How far the score falls when these pixels get a color."""
    shown = np.array(image, dtype=np.float64)
    for y, x in pixels:
        for channel in range(3):
            shown[y, x, channel] = color[channel]
    return float(model(np.array(image, dtype=np.float64))) - float(model(shown))


def sums_and_drops(
    model: Model, image: Floats, saliency_map: Floats, color: Sequence[float], masks: Sequence[Bools]
) -> tuple[list[float], list[float]]:
    """Sum of the map, and drop of the score, under each mask."""
    sums, drops = [], []
    for mask in masks:
        pixels = hidden_pixels(mask, saliency_map.shape)
        sums.append(math.fsum(float(saliency_map[pixel]) for pixel in pixels))
        drops.append(drop(model, image, color, pixels))
    return sums, drops


def shared_ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value, 1 for the highest; equal ones, by the tolerance of levels, share the mean of their ranks."""
    largest = max(abs(value) for value in values)
    cleaned = [0.0 if abs(value) < 1e-14 * largest else value for value in values]
    order = sorted(range(len(values)), key=lambda index: cleaned[index], reverse=True)
    groups: list[list[int]] = []
    for index in order:
        if groups:
            first = cleaned[groups[-1][0]]
            if first - cleaned[index] <= 1e-6 * abs(first):
                groups[-1].append(index)
                continue
        groups.append([index])
    ranks = [0.0] * len(values)
    before = 0
    for group in groups:
        for index in group:
            ranks[index] = before + (1 + len(group)) / 2
        before += len(group)
    return ranks


def varies(values: Sequence[float]) -> bool:
    """Whether not all values are equal, by the tolerance of levels."""
    return len(set(shared_ranks(values))) > 1


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation."""
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    product = math.fsum((one - mean_a) * (other - mean_b) for one, other in zip(a, b, strict=True))
    spread_a = math.fsum((one - mean_a) ** 2 for one in a)
    spread_b = math.fsum((other - mean_b) ** 2 for other in b)
    return product / math.sqrt(spread_a * spread_b)


def mu_fidelity(
    model: Model, image: Floats, saliency_map: Floats, color: Sequence[float], masks: Sequence[Bools]
) -> float:
    """Spearman's correlation of sums and drops; NaN where one of them does not vary."""
    sums, drops = sums_and_drops(model, image, saliency_map, color, masks)
    if not varies(sums) or not varies(drops):
        return math.nan
    return pearson(shared_ranks(sums), shared_ranks(drops))


def sensitivity_n(
    model: Model,
    image: Floats,
    saliency_map: Floats,
    color: Sequence[float],
    masks_of_each_n: Sequence[Sequence[Bools]],
) -> float:
    """Mean over n of Pearson's correlation of sums and drops; NaN where one of them does not vary for one n."""
    correlations = []
    for masks in masks_of_each_n:
        sums, drops = sums_and_drops(model, image, saliency_map, color, masks)
        if not varies(sums) or not varies(drops):
            return math.nan
        correlations.append(pearson(sums, drops))
    return sum(correlations) / len(correlations)


def infidelity(
    model: Model, image: Floats, saliency_map: Floats, color: Sequence[float], masks: Sequence[Bools]
) -> float:
    """Mean of (b sum - drop)^2, b = mean(sum drop) / mean(sum^2); NaN where the map is 0 under every mask."""
    sums, drops = sums_and_drops(model, image, saliency_map, color, masks)
    n = len(masks)
    mean_square = math.fsum(one * one for one in sums) / n
    if mean_square == 0:
        return math.nan
    factor = math.fsum(one * other for one, other in zip(sums, drops, strict=True)) / n / mean_square
    return math.fsum((factor * one - other) ** 2 for one, other in zip(sums, drops, strict=True)) / n


def saco(model: Model, image: Floats, saliency_map: Floats, color: Sequence[float], groups: Sequence[Bools]) -> float:
    """Over pairs of groups, signed difference of mean relevance over its size; NaN where no groups differ."""
    relevance, drops = [], []
    for group in groups:
        pixels = hidden_pixels(group, saliency_map.shape)
        relevance.append(math.fsum(float(saliency_map[pixel]) for pixel in pixels) / len(pixels))
        drops.append(drop(model, image, color, pixels))
    agreed, weight = 0.0, 0.0
    for i in range(len(groups)):
        for j in range(i + 1, len(groups)):
            difference = relevance[i] - relevance[j]
            if abs(difference) <= 1e-6 * max(abs(relevance[i]), abs(relevance[j])):
                continue
            weight += difference
            if drops[i] > drops[j]:
                agreed += difference
            elif drops[i] < drops[j]:
                agreed -= difference
    return math.nan if weight == 0 else agreed / weight
