"""bfloat16 where the processor has units for it: half the bits, several times the speed, checked against float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["Agreement", "agreement", "has_bfloat16_units", "in_bfloat16"]

# A change of a score by the margin of the patch-size choice (0.02) or more could turn a decision; a map whose order
# is kept to a rank correlation of 0.95 moves the curves less than that (docs/performance.md has the measurements).
_SCORE_CHANGE = 0.02
_RANK_CORRELATION = 0.95
_PATCHES_A_SIDE = 4


@cache
def has_bfloat16_units() -> bool:
    """Tell whether the processor multiplies bfloat16 itself (``amx_bf16`` or ``avx512_bf16``); Linux only."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags.split())


def in_bfloat16(model: keras.Model, kept: Sequence[Any]) -> keras.Model:
    """Return a copy of a model that computes in bfloat16.

    Weights are rounded once. What makes the scores stays as it is: bfloat16 keeps three digits, too few for logits
    whose differences are the result. So do layers that are not of float32.

    Args:
        model: functional or Sequential.
        kept: the operations that make the scores.

    Raises:
        ModelError: a layer cannot be copied.
    """

    def copied(layer: Any) -> Any:  # noqa: ANN401
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operator such as x / 255: it has no weights and takes what it is given
        config = layer.get_config()
        own = isinstance(layer, keras.layers.InputLayer) or any(layer is one for one in kept)
        if not own and layer.compute_dtype == "float32":
            config["dtype"] = "bfloat16"
        return type(layer).from_config(config)

    try:
        copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
        for own, given in zip(copy.weights, model.weights, strict=True):  # one by one, or all exist three times
            own.assign(given)
    except Exception as error:
        raise ModelError(
            f"model '{model.name}' cannot be copied to bfloat16 ({type(error).__name__}); use --precision float32"
        ) from error
    return copy


@dataclass(frozen=True)
class Agreement:
    """How a classifier in bfloat16 compares with itself in float32 on a few images.

    Attributes:
        n_images: asked.
        score_change: the largest change of the first choice's softmax score.
        rank_correlation: the least Spearman correlation of a photo's occlusion map.
        same_choice: the first choice is the same in every image.
    """

    n_images: int
    score_change: float
    rank_correlation: float
    same_choice: bool

    @property
    def close_enough(self) -> bool:
        """Whether bfloat16 may stand for float32."""
        return self.same_choice and self.score_change < _SCORE_CHANGE and self.rank_correlation >= _RANK_CORRELATION

    def __str__(self) -> str:
        """Say what was seen and what is allowed."""
        choice = "the same first choice" if self.same_choice else "another first choice"
        return (
            f"{choice}, scores up to {self.score_change:.3f} apart (allowed: under {_SCORE_CHANGE}), occlusion maps' "
            f"rank correlation down to {self.rank_correlation:.3f} (allowed: {_RANK_CORRELATION} or more)"
        )


def agreement(exact: Classifier, fast: Classifier, images: Sequence[NDArray[np.uint8]]) -> Agreement:
    """Compare two precisions of one model on images: scores, and the order of a coarse occlusion map.

    Args:
        exact: in float32.
        fast: the same model in bfloat16.
        images: uint8 (H, W, 3) each, at the classifiers' input size; one or more.
    """
    from scipy.stats import spearmanr

    changes, correlations, same = [], [], True
    for image in images:
        first, second = (one.probabilities(image[None])[0] for one in (exact, fast))
        choice = int(first.argmax())
        same = same and int(second.argmax()) == choice
        changes.append(abs(float(first[choice] - second[choice])))
        first, second = (_occluded(one, image)[:, choice] for one in (exact, fast))
        constant = 0.0 in (np.ptp(first), np.ptp(second))
        kept = float(np.allclose(first, second)) if constant else float(spearmanr(first, second).statistic)
        correlations.append(kept)
    # NumPy's extremes, unlike Python's, keep a NaN wherever it stands.
    return Agreement(len(images), float(np.max(changes)), float(np.min(correlations)), same)


def _occluded(classifier: Classifier, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the logits under each of 4 x 4 black patches."""
    down, across = (side // _PATCHES_A_SIDE for side in image.shape[:2])
    images = np.stack([image] * _PATCHES_A_SIDE**2)
    for number, (row, column) in enumerate(product(range(_PATCHES_A_SIDE), repeat=2)):
        images[number, row * down : (row + 1) * down, column * across : (column + 1) * across] = 0
    return classifier.logits(images)
