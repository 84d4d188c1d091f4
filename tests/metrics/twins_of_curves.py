"""Slow, obvious twins of the curves on five substrates and of ROAD, written from docs/metrics.md alone.

Noise images are given, because the engine draws them; everything else is computed here.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from . import twins

Floats = npt.NDArray[np.floating]
Model = Callable[[Floats], float]
Pixels = Sequence[tuple[int, int]]

DIRECT = ((-1, 0), (1, 0), (0, -1), (0, 1))
DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def imputed(image: Floats, hidden: Pixels, mean_color: Sequence[float]) -> Floats:
    """The image with hidden pixels as the weighted means of their neighbors, by one dense system; without noise."""
    height, width, channels = image.shape
    shown = np.array(image, dtype=np.float64)
    if len(hidden) == height * width:
        return twins.plain(image, mean_color)
    number = {pixel: index for index, pixel in enumerate(hidden)}
    left, right = np.zeros((len(hidden), len(hidden))), np.zeros((len(hidden), channels))
    for (y, x), index in number.items():
        for offsets, weight in ((DIRECT, 1 / 6), (DIAGONAL, 1 / 12)):
            for down, across in offsets:
                neighbor = (y + down, x + across)
                if not (0 <= neighbor[0] < height and 0 <= neighbor[1] < width):
                    continue
                left[index, index] += weight
                if neighbor in number:
                    left[index, number[neighbor]] -= weight
                else:
                    right[index] += weight * shown[neighbor]
    if hidden:
        solution = np.linalg.solve(left, right)
        for pixel, index in number.items():
            shown[pixel] = solution[index]
    return shown


def replaced(
    image: Floats, hidden: Pixels, substrate: str, mean_color: Sequence[float], given: dict[str, Floats]
) -> Floats:
    """The image whose hidden pixels show a substrate; ``given`` holds blur, noise, and ROAD's noise."""
    if substrate == "road":
        shown = imputed(image, hidden, mean_color)
        for pixel in hidden:
            shown[pixel] += given["road"][pixel]
        return shown
    source = twins.plain(image, mean_color) if substrate == "mean" else given.get(substrate)
    shown = np.array(image, dtype=np.float64)
    for pixel in hidden:
        shown[pixel] = 0.0 if source is None else source[pixel]
    return shown


def hiding_curve(
    model: Model,
    image: Floats,
    saliency_map: Floats,
    steps: int,
    order: str,
    substrate: str,
    mean_color: Sequence[float],
    given: dict[str, Floats],
) -> tuple[list[float], list[float]]:
    """Shares hidden, and the score there; ``order``: most or least relevant first. Cuts only between levels."""
    ordered = [pixel for level in twins.levels(saliency_map) for pixel in level]
    size = len(ordered)
    counts = twins.cut_counts(saliency_map, steps)
    if order == "least":
        # Of the cuts of the reversed order: nearest to each target from that end, the lower one of two.
        boundaries = [0]
        for level in reversed(twins.levels(saliency_map)):
            boundaries.append(boundaries[-1] + len(level))
        targets = [Fraction(k * size, steps) for k in range(steps + 1)]
        counts = sorted({min(boundaries, key=lambda b, t=target: (abs(b - t), b)) for target in targets})
        ordered.reverse()
    shares, scores = [], []
    for count in counts:
        shares.append(count / size)
        scores.append(float(model(replaced(image, ordered[:count], substrate, mean_color, given))))
    return shares, scores


def deletion(
    model: Model,
    image: Floats,
    saliency_map: Floats,
    steps: int,
    substrate: str,
    mean_color: Sequence[float],
    given: dict[str, Floats],
) -> float:
    """Area under the score while the most relevant pixels are hidden."""
    shares, scores = hiding_curve(model, image, saliency_map, steps, "most", substrate, mean_color, given)
    return twins.curve_area(shares, scores)


def insertion(
    model: Model,
    image: Floats,
    saliency_map: Floats,
    steps: int,
    substrate: str,
    mean_color: Sequence[float],
    given: dict[str, Floats],
) -> float:
    """Area under the score while the most relevant pixels appear in an image that is all hidden."""
    ordered = [pixel for level in twins.levels(saliency_map) for pixel in level]
    shares, scores = [], []
    for count in twins.cut_counts(saliency_map, steps):
        shares.append(count / len(ordered))
        scores.append(float(model(replaced(image, ordered[count:], substrate, mean_color, given))))
    return twins.curve_area(shares, scores)


def gain(
    model: Model,
    image: Floats,
    saliency_map: Floats,
    steps: int,
    substrate: str,
    mean_color: Sequence[float],
    given: dict[str, Floats],
) -> float:
    """Insertion minus deletion on one substrate."""
    both = (saliency_map, steps, substrate, mean_color, given)
    return insertion(model, image, *both) - deletion(model, image, *both)


def on_the_line(shares: Sequence[float], scores: Sequence[float], share: float) -> float:
    """The score at a share, on the straight line between the cuts beside it."""
    for i in range(len(shares) - 1):
        if shares[i] <= share <= shares[i + 1]:
            part = (share - shares[i]) / (shares[i + 1] - shares[i])
            return scores[i] + part * (scores[i + 1] - scores[i])
    return math.nan


def road(
    model: Model, image: Floats, saliency_map: Floats, mean_color: Sequence[float], given: dict[str, Floats]
) -> float:
    """Mean over the shares 0.1 ... 0.9 of half of least minus most relevant first, on imputed colors."""
    curves = {
        order: hiding_curve(model, image, saliency_map, 10, order, "road", mean_color, given)
        for order in ("most", "least")
    }
    differences = [
        (on_the_line(*curves["least"], tenth / 10) - on_the_line(*curves["most"], tenth / 10)) / 2
        for tenth in range(1, 10)
    ]
    return sum(differences) / len(differences)
