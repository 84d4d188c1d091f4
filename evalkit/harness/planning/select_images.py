"""Selection of the images of a run: by the options, and evenly over the classes."""

from __future__ import annotations

from collections.abc import Callable

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
    """Return the options besides the limit that select images or their classes, for the signature."""
    chosen: dict[str, str] = {}
    if options.class_order is not None:
        chosen["class_order"] = options.class_order
    if options.region_area is not None:
        chosen["region_area"] = str(options.region_area)
    if options.only_correct:
        chosen["only_correct"] = "yes"
    return chosen


def select(images: ImageSet, options: RunOptions, classifier: Classifier, geometry: Geometry, say: Say) -> ImageSet:
    """Select images by the object's area, by whether the model is right, and by the limit.

    Photos are examined in the order in which the limit draws them, and only as many as needed. A photo that cannot be
    read is selected, so that the run reports it with its reason.

    Args:
        images: the images, with class indices.
        options: the options; ``region_area``, ``only_correct``, ``limit`` and ``seed`` are used.
        classifier: the model, for ``only_correct``.
        geometry: how photos are fitted to its input.
        say: a function that prints how many images are left out.

    Raises:
        DataError: no image is left.
    """
    tests: dict[str, Wanted] = {}
    area = options.region_area
    if area is not None:
        tests[f"--region-area {area}"] = lambda entry: _within(images, entry, area)
    if options.only_correct:
        tests["--only-correct"] = lambda entry: is_correct(images, entry, classifier, geometry) is not False
    examined, refused = dict.fromkeys(tests, 0), dict.fromkeys(tests, 0)

    def wanted(entry: Entry) -> bool:
        for option, test in tests.items():
            examined[option] += 1
            if not test(entry):
                refused[option] += 1
                return False
        return True

    if options.limit is None and not tests:
        return images
    selected = images.draw(options.limit, options.seed or 0, wanted)
    for option in tests:
        note = f"{option}: {refused[option]} of {examined[option]} examined images are left out"
        if not len(selected):
            raise DataError(f"{images.name}: {note}, and none is left")
        say(note)
    return selected


def _within(images: ImageSet, entry: Entry, area: tuple[float, float]) -> bool:
    try:
        share = region_share(entry, images.read)
    except ImageError:
        return True
    return share is not None and area[0] <= share <= area[1]


def is_correct(images: ImageSet, entry: Entry, classifier: Classifier, geometry: Geometry) -> bool | None:
    """Return whether the model is right, as its head says; None if the photo cannot be read."""
    try:
        image = fit(images.read(entry), classifier.input_size, geometry, classifier.channels)
    except ImageError:
        return None
    scores = classifier.probabilities(image.pixels[None])[0]
    return classifier.head.is_right(scores, image.targets)
