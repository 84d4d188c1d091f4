"""Slow, obvious twins of the metrics of single pixels and of mosaics, written from docs/metrics.md alone."""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from . import twins

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


def level_numbers(saliency_map: Floats, ignore: Bools | None) -> dict[tuple[int, int], int]:
    """Number of each counted pixel's level, 0 for the highest."""
    levels = twins.levels(saliency_map, ignore)
    return {pixel: number for number, level in enumerate(levels) for pixel in level}


def pixel_average_precision(saliency_map: Floats, region: Bools, ignore: Bools | None) -> float:
    """Sum over thresholds, one a level, of gained recall times precision."""
    numbers = level_numbers(saliency_map, ignore)
    objects = sum(1 for pixel in numbers if region[pixel])
    total, recall_before = Fraction(0), Fraction(0)
    for threshold in range(max(numbers.values()) + 1):
        found = [pixel for pixel, number in numbers.items() if number <= threshold]
        right = sum(1 for pixel in found if region[pixel])
        recall = Fraction(right, objects)
        total += (recall - recall_before) * Fraction(right, len(found))
        recall_before = recall
    return float(total)


def pixel_auc(saliency_map: Floats, region: Bools, ignore: Bools | None) -> float:
    """Share of pairs of a pixel inside and one outside where the one inside is higher; ties half; NaN without pairs."""
    numbers = level_numbers(saliency_map, ignore)
    inside = [number for pixel, number in numbers.items() if region[pixel]]
    outside = [number for pixel, number in numbers.items() if not region[pixel]]
    if not inside or not outside:
        return math.nan
    halves = 0
    for one in inside:
        for other in outside:
            halves += 2 if one < other else 1 if one == other else 0
    return float(Fraction(halves, 2 * len(inside) * len(outside)))


def half_size(image: Floats) -> Floats:
    """Half the height and width, bilinear and antialiased: a triangle as wide as two pixels of the result."""

    def weights(length: int) -> Floats:
        half = length // 2
        scale = length / half
        table = np.zeros((half, length))
        for new in range(half):
            center = (new + 0.5) * scale
            for old in range(length):
                table[new, old] = max(0.0, 1 - abs(old + 0.5 - center) / scale)
            table[new] /= table[new].sum()
        return table

    down, across = weights(image.shape[0]), weights(image.shape[1])
    result = np.zeros((len(down), len(across), image.shape[2]))
    for channel in range(image.shape[2]):
        result[:, :, channel] = down @ np.asarray(image[:, :, channel], dtype=np.float64) @ across.T
    return result


def cells(height: int, width: int) -> list[tuple[slice, slice]]:
    """The four cells of a mosaic, row by row; the middle row or column of an odd side is in none."""
    tall, wide = height // 2, width // 2
    rows, columns = (slice(0, tall), slice(height - tall, height)), (slice(0, wide), slice(width - wide, width))
    return [(row, column) for row in rows for column in columns]


def grid_pointing_game(saliency_map: Floats, cell: int) -> float:
    """Share of the positive part of the four cells that is in one; 0.25 for a constant map, NaN if positive nowhere."""
    all_cells = cells(*saliency_map.shape)
    counted = np.zeros(saliency_map.shape, dtype=bool)
    for each in all_cells:
        counted[each] = True
    if twins.is_constant(saliency_map, ~counted):
        return 0.25
    sums = []
    for rows, columns in all_cells:
        part = 0.0
        for value in saliency_map[rows, columns].ravel().tolist():
            part += max(0.0, value)
        sums.append(part)
    return math.nan if sum(sums) == 0 else sums[cell] / sum(sums)
