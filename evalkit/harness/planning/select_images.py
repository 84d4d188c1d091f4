"""Which images a run takes: those that are wanted, evenly over the classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evalkit.core.errors import DataError, ImageError
from evalkit.core.settings import RunOptions
from evalkit.datasets.entry import Entry
from evalkit.datasets.files import region_share
from evalkit.datasets.geometry import Geometry, fit
from evalkit.datasets.image_set import ImageSet
from evalkit.models.classifier import Classifier

__all__ = ["chosen_by", "is_correct", "select"]

Say = Callable[[str], None]
Wanted = Callable[[Entry], bool]


def chosen_by(options: RunOptions) -> dict[str, str]:
    """Return the options besides the limit that choose among the images, for the signature."""
    found = {}
    if options.region_area is not None:
        found["region_area"] = str(options.region_area)
    if options.only_correct:
        found["only_correct"] = "yes"
    return found


def select(images: ImageSet, options: RunOptions, classifier: Classifier, geometry: Geometry, say: Say) -> ImageSet:
    """Return the images that the options want: by the object's area, by the model's being right, by the limit.

    Photos are looked at in the order in which the limit draws them, and no more of them than it takes. One that cannot
    be read is taken, so that it is named with its reason.

    Args:
        images: with class indices.
        options: ``region_area``, ``only_correct``, ``limit`` and ``seed``.
        classifier: asked about each photo with ``only_correct``.
        geometry: how photos are fitted to its input.
        say: told how many were left out.

    Raises:
        DataError: none is left.
    """
    tests: dict[str, Wanted] = {}
    area = options.region_area
    if area is not None:
        tests[f"--region-area {area}"] = lambda entry: _within(images, entry, area)
    if options.only_correct:
        tests["--only-correct"] = lambda entry: is_correct(images, entry, classifier, geometry) is not False
    asked, refused = dict.fromkeys(tests, 0), dict.fromkeys(tests, 0)

    def wanted(entry: Entry) -> bool:
        for option, test in tests.items():
            asked[option] += 1
            if not test(entry):
                refused[option] += 1
                return False
        return True

    if options.limit is None and not tests:
        return images
    found = images.draw(options.limit, options.seed or 0, wanted)
    for option in tests:
        said = f"{option}: {refused[option]} of {asked[option]} images looked at are left out"
        if not len(found):
            raise DataError(f"{images.name}: {said}, and none is left")
        say(said)
    return found


def _within(images: ImageSet, entry: Entry, area: tuple[float, float]) -> bool:
    try:
        share = region_share(entry, images.read)
    except ImageError:
        return True
    return share is not None and area[0] <= share <= area[1]


def is_correct(images: ImageSet, entry: Entry, classifier: Classifier, geometry: Geometry) -> bool | None:
    """Tell whether the model's first choice is what the label stands for; None if the photo cannot be read."""
    try:
        image = fit(images.read(entry), classifier.input_size, geometry)
    except ImageError:
        return None
    scores = classifier.probabilities(image.pixels[None])[0]
    return bool(np.isfinite(scores).all()) and int(scores.argmax()) in image.targets
