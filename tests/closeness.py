"""When two computations of one gradient count as equal."""

from __future__ import annotations

import numpy as np

__all__ = ["require_equal_gradients"]


def require_equal_gradients(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Compare gradients of a network of ReLUs within a share of the largest value.

    A ReLU whose input is zero but for rounding is on with one processor or batch size and off with another, which moves
    the pixels that it looks at and no others: few pixels may differ more, and together by little.
    """
    assert found.shape == expected.shape
    difference, largest = np.abs(found - expected), np.abs(expected).max()
    assert largest > 0
    assert (difference > tolerance * largest).mean() <= 0.15
    assert difference.sum() <= max(tolerance, 1e-2) * np.abs(expected).sum()
