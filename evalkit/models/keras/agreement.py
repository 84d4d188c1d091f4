"""The comparison of a model in bfloat16 with itself in float32 on a few images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from evalkit.models.runner import Runner

__all__ = ["Agreement", "agreement"]

# A change of a score by the margin of the patch-size choice (0.02) or more could turn a decision; a map whose order
# is kept to a rank correlation of 0.95 moves the curves less than that (docs/performance.md has the measurements).
_SCORE_CHANGE = 0.02
_RANK_CORRELATION = 0.95
_PATCHES_A_SIDE = 4


@dataclass(frozen=True)
class Agreement:
    """The agreement of a model in bfloat16 with itself in float32 on a few images.

    Attributes:
        n_images: the number of images.
        score_change: the largest change of the predicted class's softmax score.
        rank_correlation: the smallest Spearman correlation of an image's occlusion map.
        same_choice: True if the predicted class is the same for every image.
    """

    n_images: int
    score_change: float
    rank_correlation: float
    same_choice: bool

    @property
    def close_enough(self) -> bool:
        """Whether bfloat16 may replace float32."""
        return self.same_choice and self.score_change < _SCORE_CHANGE and self.rank_correlation >= _RANK_CORRELATION

    def __str__(self) -> str:
        """Return the measured and the allowed values."""
        choice = "the same predicted class" if self.same_choice else "another predicted class"
        return (
            f"{choice}, scores up to {self.score_change:.3f} apart (allowed: under {_SCORE_CHANGE}), occlusion maps' "
            f"rank correlation down to {self.rank_correlation:.3f} (allowed: {_RANK_CORRELATION} or more)"
        )


def agreement(exact: Runner, fast: Runner, images: Sequence[NDArray[np.uint8 | np.float32]]) -> Agreement:
    """Compare two precisions of one model on images: scores, and the order of a coarse occlusion map.

    Args:
        exact: the model in float32.
        fast: the same model in bfloat16.
        images: one or more images, uint8 or float32 (H, W, C), at the model's input size.
    """
    from scipy.stats import spearmanr

    changes, correlations, same = [], [], True
    for image in images:
        first, second = (runner.probabilities(image[None])[0] for runner in (exact, fast))
        choice = int(first.argmax())
        same = same and int(second.argmax()) == choice
        changes.append(abs(float(first[choice] - second[choice])))
        first, second = (_occluded(runner, image)[:, choice] for runner in (exact, fast))
        constant = 0.0 in (np.ptp(first), np.ptp(second))
        correlation = float(np.allclose(first, second)) if constant else float(spearmanr(first, second).statistic)
        correlations.append(correlation)
    # NumPy's max and min, unlike Python's, always return NaN if there is one.
    return Agreement(len(images), float(np.max(changes)), float(np.min(correlations)), same)


def _occluded(runner: Runner, image: NDArray[np.uint8 | np.float32]) -> NDArray[np.float64]:
    """Return the target logits of each class under each of 4 x 4 black patches."""
    down, across = (side // _PATCHES_A_SIDE for side in image.shape[:2])
    images = np.stack([image] * _PATCHES_A_SIDE**2)
    for number, (row, column) in enumerate(product(range(_PATCHES_A_SIDE), repeat=2)):
        images[number, row * down : (row + 1) * down, column * across : (column + 1) * across] = 0
    return runner.head.target_logits(runner.logits(images))
