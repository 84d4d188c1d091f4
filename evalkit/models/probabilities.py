"""Scores from logits, in float64 and without cancellation.

In float32 the drops of a confident model vanish: with p = 1 - 1e-9 before and after, p - p' is 0 and an occlusion map
is constant. All functions here take float64 logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outputs", "log_complement", "log_odds", "log_sum_exp", "outputs_of", "score_of", "sigmoid", "softmax"]

Floats = NDArray[np.float64]
Outputs = int | Sequence[int]
"""A target: one output of the model, or the several outputs of one class."""


def log_sum_exp(values: Floats) -> Floats:
    """Return log(sum(exp(value))) over the last axis, float64 (...); -inf if all are."""
    highest = values.max(axis=-1, keepdims=True, initial=-np.inf)
    highest = np.where(np.isinf(highest), 0.0, highest)  # inf - inf would be NaN where the sum is 0 or infinite
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.log(np.exp(values - highest).sum(axis=-1)) + highest[..., 0])


def softmax(logits: Floats) -> Floats:
    """Return probabilities, float64 (..., C), each row summing to 1.

    Args:
        logits: the logits, float64 (..., C).
    """
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-z)) of each logit, float64 (...) in 0..1."""
    from scipy.special import expit

    return np.asarray(expit(logits))


def outputs_of(target: Outputs) -> list[int]:
    """Return the outputs of a target as a list."""
    return [int(target)] if isinstance(target, int | np.integer) else [int(output) for output in target]


def score_of(probabilities: Floats, target: Outputs) -> Floats:
    """Return a target's score: the probability of its output, or the sum over its outputs.

    Args:
        probabilities: the probabilities, float64 (..., C).
        target: the output or outputs, 0..C-1.

    Returns:
        float64 (...).
    """
    return np.asarray(np.take(probabilities, outputs_of(target), axis=-1).sum(axis=-1))


def log_complement(logits: Floats, target: Outputs) -> Floats:
    """Return log(1 - p) of a target: log-sum-exp over the other outputs minus log-sum-exp over all.

    Args:
        logits: the logits, float64 (..., C), C >= 2.
        target: the output or outputs, 0..C-1, not all of them.

    Returns:
        float64 (...), at most 0; exact where ``1 - p`` itself would round to 0.
    """
    others = np.delete(logits, outputs_of(target), axis=-1)
    return np.asarray(log_sum_exp(others) - log_sum_exp(logits))


def log_odds(logits: Floats, target: Outputs) -> Floats:
    """Return log p - log(1 - p) of a target: log-sum-exp over its outputs minus log-sum-exp over the others.

    Args:
        logits: the logits, float64 (..., C).
        target: the output or outputs, 0..C-1.

    Returns:
        float64 (...), exact where p itself would round to 0 or 1; infinite where p is 0 or 1.
    """
    outputs = outputs_of(target)
    others = np.delete(logits, outputs, axis=-1)
    with np.errstate(invalid="ignore"):  # NaN if target and others are both infinite
        return np.asarray(log_sum_exp(np.take(logits, outputs, axis=-1)) - log_sum_exp(others))
