"""The case of an image: what metrics may know of it beside a map."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.image import LabelledImage
from evalkit.metrics.case import NO_CUE, NO_REGION, Case, Cue, Region
from evalkit.models.classifier import Classifier
from evalkit.models.probabilities import score_of

__all__ = ["case_of"]

_NOTHING_OF_CUE = "nothing of the cue is left at the model's input size, or nothing but it"


def case_of(
    image: LabelledImage,
    classifier: Classifier,
    clean: NDArray[np.float64],
    targets: Sequence[int],
    *,
    misclassified: bool,
) -> Case:
    """Return the case of an image, for any metric and explainer.

    Args:
        image: the image at the size of the model's input.
        classifier: the model.
        clean: score of each class on the image, float64 (C,).
        targets: indices of the classes explained.
        misclassified: whether the label is explained and the model is wrong.
    """
    clean_score = float(score_of(clean, targets))
    region, reason = _region(image, targets)
    return Case(
        image_id=image.id,
        pixels=image.pixels,
        target=tuple(targets),
        clean_scores=clean,
        clean_score=clean_score,
        not_finite="" if np.isfinite(clean_score) else f"the score of model '{classifier.name}' is not finite",
        misclassified=misclassified,
        region=region,
        region_reason=reason,
        cue=_cue(image, classifier),
        cue_reason=NO_CUE if image.cue is None else _NOTHING_OF_CUE,
        content=sha256(image.pixels.tobytes()).digest(),
        n_layers=classifier.n_layers,
    )


def _region(image: LabelledImage, targets: Sequence[int]) -> tuple[Region | None, str]:
    """Return where the object is, or why metrics may not use it."""
    if image.region is None or image.boxes is None:
        return None, NO_REGION
    if not set(targets) <= set(image.targets):
        return None, "the class explained is not the region's"
    if not image.region.any():
        return None, "nothing of the region is left at the model's input size"
    return Region(image.region, image.boxes, image.exact, image.pixel_size, image.ignore), ""


def _cue(image: LabelledImage, classifier: Classifier) -> Cue | None:
    """Return the cue that is known to be in the image; None where nothing of it, or nothing beside it, is left."""
    cue = image.cue
    if cue is None:
        return None
    background = ~cue.mask
    for taken in (image.region, image.ignore):
        background &= True if taken is None else ~taken
    if not (cue.mask.any() and background.any()):
        return None
    names = classifier.class_names or ()
    return Cue(
        mask=cue.mask,
        background=background,
        without=cue.without,
        without_object=cue.without_object,
        output=names.index(cue.label) if cue.label in names else None,
        agrees=cue.label == image.label if cue.label else None,
    )
