"""Logits to scores in float64, without cancellation.

In float32 a confident model's drops vanish: with p = 1 - 1e-9 before and after, p - p' is 0 and a whole occlusion
map comes out flat. Everything here starts from float64 logits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_complement", "softmax"]

Floats = NDArray[np.float64]


def _log_sum_exp(values: Floats) -> Floats:
    highest = values.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(values - highest).sum(axis=-1)) + highest[..., 0])


def softmax(logits: Floats) -> Floats:
    """Return probabilities, float64 (..., C), each row summing to 1.

    Args:
        logits: float64 (..., C).
    """
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def log_complement(logits: Floats, class_index: int) -> Floats:
    """Return log(1 - p) of one class: log-sum-exp over the others minus log-sum-exp over all.

    Args:
        logits: float64 (..., C), C >= 2.
        class_index: the class, 0..C-1.

    Returns:
        float64 (...), at most 0; exact where ``1 - p`` itself would round to 0.
    """
    others = np.delete(logits, class_index, axis=-1)
    return np.asarray(_log_sum_exp(others) - _log_sum_exp(logits))
