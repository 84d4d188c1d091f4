"""The reference images of expected gradients: drawn once from the whole image set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np

from evalkit.core.errors import DataError, ImageError
from evalkit.core.randomness import generator
from evalkit.core.settings import RunOptions
from evalkit.core.signature import with_digest
from evalkit.datasets.geometry import fit
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.base import Explainer
from evalkit.models.classifier import Classifier
from evalkit.models.runner import Pixels

__all__ = ["references_text", "with_references"]

_COUNT = 100


def with_references(
    classifier: Classifier,
    images: ImageSet,
    explainers: Sequence[Explainer],
    options: RunOptions,
    say: Callable[[str], None],
) -> Classifier:
    """Return a classifier with the reference images, if an explainer needs them that the model may fit.

    They depend on the seed and on the whole set, not on the limit: up to 100 photos that can be read.

    Args:
        classifier: the model.
        images: the set as it was opened, before any selection.
        explainers: the explainers of the run.
        options: the options; ``seed`` and ``geometry`` are used.
        say: a function that prints one sentence on stderr.

    Raises:
        DataError: no photo of the set can be read.
    """
    # A member of a set that needs more than the model offers is left out of the run.
    if not any(explainer.uses_references and explainer.needs <= classifier.offers for explainer in explainers):
        return classifier
    entries = list({entry.file or entry.id: entry for entry in images.entries}.values())
    order = generator(options.seed, "references").permutation(len(entries))
    pixels: list[Pixels] = []
    for index in order.tolist():
        try:
            photo = fit(images.read(entries[index]), classifier.input_size, options.geometry, classifier.channels)
        except ImageError:
            continue  # the run names it, if it is among its images
        pixels.append(photo.pixels)
        if len(pixels) == _COUNT:
            break
    if not pixels:
        raise DataError(f"--data '{images.name}': none of its {len(entries)} photos can be read")
    say(f"the references of expected_gradients are {len(pixels)} of the {len(entries)} images, drawn by the seed")
    return classifier.with_references(np.stack(pixels))


def references_text(references: Pixels) -> str:
    """Return the number of reference images and a digest of their pixels, for signatures."""
    return with_digest(str(len(references)), sha256(np.ascontiguousarray(references).tobytes()).hexdigest())
