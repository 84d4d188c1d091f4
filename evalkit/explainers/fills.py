"""What explainers put in the place of a photo or of its parts, and what they compare it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["Baseline", "Fill", "filled", "require_fill"]

Fill = Literal["black", "mean", "gray", "blur"]
Baseline = Literal["mean", "black", "white", "gray", "blur"]

_COLORS = {"black": 0.0, "white": 255.0, "gray": 127.5}


def filled(fill: Fill | Baseline, photo: NDArray[np.float32], classifier: Classifier) -> NDArray[np.float32]:
    """Return the substrate of a photo, float32 (H, W, C) in 0..255.

    Args:
        fill: black, white, the mean color, gray (127.5), or the photo under RISE's blur.
        photo: the photo, float32 (H, W, C) in 0..255.
        classifier: the classifier, which knows the mean color.
    """
    from evalkit.models.inference.perturbation import blurred

    if fill == "blur":
        return blurred(photo, classifier.required_mean_color())
    if fill == "mean":
        return np.full_like(photo, classifier.required_mean_color())
    return np.full_like(photo, _COLORS[fill])


def require_fill(fill: Fill, classifier: Classifier) -> None:
    """Raise ModelError if the fill needs a mean color and none is known."""
    if fill in ("mean", "blur"):
        classifier.required_mean_color()
