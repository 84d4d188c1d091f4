"""Compares the model's accuracy under the chosen preprocessing with that under common others, on a few images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import cast

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import EvalkitError, ImageError, ModelError
from evalkit.core.settings import RunOptions
from evalkit.core.specs import simplify
from evalkit.datasets.class_map import ClassMap
from evalkit.datasets.classes import match_classes
from evalkit.datasets.entry import Entry
from evalkit.datasets.geometry import Geometry, fit, geometry_of
from evalkit.datasets.image_set import ImageSet
from evalkit.models.applications import APPLICATIONS, MINI
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier
from evalkit.models.preprocessing import Preprocessing, PreprocessingMissingError
from evalkit.models.zoo.model_function import Preprocessed

__all__ = ["Look", "is_known", "loaded", "look_at"]

_COMMON = ("none", "0..1", "-1..1", "vgg16", "imagenet-torch")
_N_IMAGES = 32
_ALPHA = 0.02  # of one comparison: six images gained and none lost are enough
_FAR = 0.2

Right = NDArray[np.bool_]
Load = Callable[[Mapping[str, str]], Classifier]


@dataclass(frozen=True)
class _Probe:
    """Labelled images, fitted to a model's input, with the outputs of their classes."""

    pixels: NDArray[np.float32]
    targets: Sequence[Sequence[int]]


def is_known(options: RunOptions) -> bool:
    """Return whether the options name a model whose preprocessing is known, with its own weights."""
    named = simplify(options.model or "") in (simplify(MINI), *APPLICATIONS)
    return named and options.preprocess is None and options.weights is None


@dataclass(frozen=True)
class Look:
    """How often a model is right on some labelled images.

    Attributes:
        n_images: the number of images; 0 if none is labelled.
        n_right: the number of these on which the model is right.
        better: a sentence if the model is right far more often under another common preprocessing; empty if not.
    """

    n_images: int = 0
    n_right: int = 0
    better: str = ""

    def __str__(self) -> str:
        """Return the accuracy in words; empty without labelled images."""
        return f"right on {self.n_right} of {self.n_images} images looked at" if self.n_images else ""


def look_at(classifier: Classifier, images: ImageSet, geometry: Geometry, *, compare: bool = True) -> Look:
    """Return how often the model is right on up to 32 images, drawn evenly over the classes.

    Right far more often under another preprocessing: on at least 20 % more of the images, and significantly in an exact
    one-sided McNemar test at 2 %. The passes are not counted as the run's.

    Args:
        classifier: the model, with the chosen preprocessing.
        images: the images, with class indices.
        geometry: how photos are fitted to the model's input.
        compare: look for a better preprocessing, too.
    """
    probe = _probe(images, classifier, geometry)
    if probe is None:
        return Look()
    before = classifier.count.forward
    scores = classifier.probabilities(probe.pixels)
    classifier.count.forward = before
    pairs = zip(scores, probe.targets, strict=True)
    right = np.array([classifier.head.is_right(row, targets) for row, targets in pairs])
    # A function preprocesses on its own; labels that are not exclusive may all be right by chance.
    comparable = compare and _is_preprocessed(classifier) and classifier.head.is_exclusive
    return Look(len(right), int(right.sum()), _better(classifier, probe, right) if comparable else "")


def _better(classifier: Classifier, probe: _Probe, chosen: Right) -> str:
    if not _is_better(np.ones_like(chosen), chosen):
        return ""  # too good for any other to be far better, or too few images for any difference
    count = _counter(classifier, probe)
    better: dict[str, int] = {}
    for text in filter(lambda text: text != classifier.preprocess, _fitting(classifier)):
        right = count(Preprocessing.parse(text))
        # A model that gives every image the same class is right by the set's imbalance alone.
        labels = {tuple(targets) for targets, is_right in zip(probe.targets, right, strict=True) if is_right}
        if len(labels) > 1 and _is_better(right, chosen):
            better[text] = int(right.sum())
    if not better:
        return ""
    most = max(better.values())
    best = [text for text, right in better.items() if right == most]
    return (
        f"on {len(chosen)} of these images the model is right {_share(int(chosen.sum()), len(chosen))} with "
        f"--preprocess {classifier.preprocess}, but {_share(most, len(chosen))} with --preprocess "
        f"{' or '.join(best)}: give that option if the model was trained with it; nothing has been changed"
    )


def loaded(load: Load, images: ImageSet, options: RunOptions, class_map: ClassMap | None) -> Classifier:
    """Load a model; if its preprocessing is not known, the error says the accuracy under each common one.

    Args:
        load: the function from model options that replace those given to the classifier.
        images: the images, not yet matched with the model's outputs.
        options: the options; ``geometry`` and ``class_order`` are used.
        class_map: outputs of the set's classes.

    Raises:
        ModelError: as ``load_classifier``.
    """
    try:
        return load({})
    except PreprocessingMissingError as error:
        accuracies = _accuracies(load, images, options, class_map)
        raise ModelError(f"{error}{accuracies}") from error


def _accuracies(load: Load, images: ImageSet, options: RunOptions, class_map: ClassMap | None) -> str:
    try:
        classifier = load({"preprocess": "none"})
        names, ids, n_classes = classifier.class_names, classifier.class_ids, classifier.n_classes
        match = match_classes(
            images,
            names,
            n_classes,
            require_labels=False,
            class_ids=ids,
            class_map=class_map,
            class_order=options.class_order,
        )
    except EvalkitError:
        return ""
    if not (_is_preprocessed(classifier) and classifier.head.is_exclusive):
        return ""
    probe = _probe(match.images, classifier, geometry_of(options.geometry))
    if probe is None:
        return ""
    count = _counter(classifier, probe)
    right = {text: int(count(Preprocessing.parse(text)).sum()) for text in _fitting(classifier)}
    ordered = sorted(right, key=lambda text: -right[text])
    listed = ", ".join(f"{text} {right[text]}" for text in ordered)
    return f". Images that the model gets right, of {len(probe.targets)}, by preprocessing: {listed}"


def _is_preprocessed(classifier: Classifier) -> bool:
    """Return whether a preprocessing can be exchanged for another: before a graph, or before a model from a file."""
    function = classifier.model.function if isinstance(classifier.model, BlackBox) else None
    return function is None or (isinstance(function, Preprocessed) and not function.model.takes_bytes)


def _fitting(classifier: Classifier) -> list[str]:
    return [text for text in _COMMON if Preprocessing.parse(text).n_channels in (None, classifier.channels)]


def _probe(images: ImageSet, classifier: Classifier, geometry: Geometry) -> _Probe | None:
    """Return up to 32 labelled images that can be read, drawn evenly over the classes; None without any."""
    pixels: list[NDArray[np.float32]] = []
    targets: list[Sequence[int]] = []

    def is_labelled(entry: Entry) -> bool:
        if entry.class_index is None or entry.class_index < 0:
            return False
        try:
            image = fit(images.read(entry), classifier.input_size, geometry, classifier.channels)
        except ImageError:
            return False
        pixels.append(image.pixels.astype(np.float32))
        targets.append(entry.outputs or (entry.class_index,))
        return True

    images.draw(_N_IMAGES, 0, is_labelled)
    return _Probe(np.stack(pixels), targets) if pixels else None


def _counter(classifier: Classifier, probe: _Probe) -> Callable[[Preprocessing], Right]:
    """Return a function from a preprocessing to the images that the model gets right; a graph is traced once."""
    if isinstance(classifier.model, BlackBox):
        box: BlackBox = classifier.model

        def right_of(preprocessing: Preprocessing) -> Right:
            changed = replace(box, function=replace(cast(Preprocessed, box.function), preprocessing=preprocessing))
            scores = Classifier(changed, head=classifier.head).probabilities(probe.pixels)
            return np.array([*map(classifier.head.is_right, scores, probe.targets)])

        return right_of
    spec = tf.TensorSpec([None, *probe.pixels.shape[1:]], tf.float32)
    head = classifier.head
    outputs = tf.function(classifier.graph.run_graph, autograph=False, input_signature=[spec])

    def count(preprocessing: Preprocessing) -> Right:
        right: list[bool] = []
        for start in range(0, len(probe.targets), classifier.batch_size):
            batch = preprocessing(tf.constant(probe.pixels[start : start + classifier.batch_size]))
            scores = head.scores(head.class_logits(np.asarray(outputs(batch), dtype=np.float64)))
            right += map(head.is_right, scores, probe.targets[start : start + len(scores)])
        return np.array(right)

    return count


def _is_better(right: Right, chosen: Right) -> bool:
    """Return whether a preprocessing is far better than the chosen one on the same images."""
    gained, lost = int((right & ~chosen).sum()), int((chosen & ~right).sum())
    differing = gained + lost
    p = sum(comb(differing, k) for k in range(gained, differing + 1)) / 2**differing
    return p < _ALPHA and gained - lost >= _FAR * len(right)


def _share(right: int, count: int) -> str:
    return f"{right} time{'' if right == 1 else 's'} ({right / count:.0%})"
