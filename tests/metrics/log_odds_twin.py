"""The curve metrics on log-odds, slow and from the definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from . import twins

Floats = npt.NDArray[np.floating]
Logits = Callable[[Floats], Sequence[float]]


def log_of_sum(logits: Sequence[float]) -> float:
    """Natural logarithm of the sum of the exponentials, the largest taken out."""
    largest = max(logits)
    return largest + math.log(math.fsum(math.exp(logit - largest) for logit in logits))


def log_odds(logits: Sequence[float], target: Sequence[int]) -> float:
    """log p - log(1 - p), where p is the sum of the softmax over the target's outputs."""
    inside = [logit for output, logit in enumerate(logits) if output in target]
    outside = [logit for output, logit in enumerate(logits) if output not in target]
    everything = log_of_sum(logits)
    return (log_of_sum(inside) - everything) - (log_of_sum(outside) - everything)


def of_model(model: Logits, target: Sequence[int]) -> Callable[[Floats], float]:
    """An image's log-odds, from its logits."""
    return lambda image: log_odds(model(image), target)


def deletion(
    model: Logits, target: Sequence[int], image: Floats, saliency_map: Floats, mean: Sequence[float], steps: int
) -> float:
    """Area of the log-odds while pixels go to the mean color, most relevant first."""
    return twins.deletion(of_model(model, target), image, saliency_map, mean, steps)


def insertion(
    model: Logits, target: Sequence[int], image: Floats, saliency_map: Floats, blur: Floats, steps: int
) -> float:
    """Area of the log-odds while the photo's pixels appear in its blur, most relevant first."""
    return twins.insertion(of_model(model, target), image, saliency_map, blur, steps)


def gain(
    model: Logits, target: Sequence[int], image: Floats, saliency_map: Floats, mean: Sequence[float], steps: int
) -> float:
    """Area of the log-odds from the mean color to the photo, minus the area from the photo to the mean color."""
    return twins.symmetric_relevance_gain(of_model(model, target), image, saliency_map, mean, steps)
