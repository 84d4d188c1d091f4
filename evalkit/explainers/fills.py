"""What explainers that hide parts of a photo put there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["Fill", "filled", "require_fill"]

Fill = Literal["black", "mean", "gray", "blur"]


def filled(fill: Fill, photo: NDArray[np.float32], classifier: Classifier) -> NDArray[np.float32]:
    """Return the substrate of a photo, float32 (H, W, C) in 0..255.

    Args:
        fill: black, the mean color, gray (127.5), or the photo under RISE's blur.
        photo: the photo, float32 (H, W, C) in 0..255.
        classifier: the classifier, which knows the mean color.
    """
    from evalkit.models.inference.perturbation import blurred

    if fill == "blur":
        return blurred(photo, classifier.required_mean_color())
    if fill == "mean":
        return np.full_like(photo, classifier.required_mean_color())
    return np.full_like(photo, 0.0 if fill == "black" else 127.5)


def require_fill(fill: Fill, classifier: Classifier) -> None:
    """Raise ModelError if the fill needs a mean color and none is known."""
    if fill in ("mean", "blur"):
        classifier.required_mean_color()
