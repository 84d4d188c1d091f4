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
from evalkit.datasets.class_order import ClassOrder
from evalkit.datasets.classes import match_classes
from evalkit.datasets.entry import Entry
from evalkit.datasets.geometry import Geometry, fit, geometry_of
from evalkit.datasets.image_set import ImageSet
from evalkit.models.applications import APPLICATIONS, IN_PACKAGE
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
Scores = NDArray[np.float64]
Targets = Sequence[Sequence[int]]
Orders = Mapping[ClassOrder, Mapping[int, int]]
Load = Callable[[Mapping[str, str]], Classifier]


@dataclass(frozen=True)
class _Probe:
    """Labelled images, fitted to a model's input, with the outputs of their classes."""

    pixels: NDArray[np.float32]
    targets: Targets


def is_known(options: RunOptions) -> bool:
    """Return whether the options name a model whose preprocessing is known, with its own weights."""
    named = simplify(options.model or "") in (*IN_PACKAGE, *APPLICATIONS)
    return named and options.preprocess is None and options.weights is None


@dataclass(frozen=True)
class Look:
    """How often a model is right on some labelled images.

    Attributes:
        n_images: the number of images; 0 if none is labelled.
        n_right: the number of these on which the model is right.
        better: a sentence if the model is right far more often under another common preprocessing; empty if not.
        n_better: the number of images on which it is right then.
    """

    n_images: int = 0
    n_right: int = 0
    better: str = ""
    n_better: int = 0

    def __str__(self) -> str:
        """Return the accuracy in words; empty without labelled images."""
        return f"right on {self.n_right} of {self.n_images} images looked at" if self.n_images else ""


def look_at(
    classifier: Classifier, images: ImageSet, geometry: Geometry, *, compare: bool = True, orders: Orders | None = None
) -> Look:
    """Return how often the model is right on up to 32 images, drawn evenly over the classes.

    Right far more often under another preprocessing: on at least 20 % more of the images, and significantly in an exact
    one-sided McNemar test at 2 %. If the classes may have another order, the other preprocessing must be that much
    better than any order with the chosen one; it is tried with the other orders if it is not so with the order taken.
    The passes are not counted as the run's.

    Args:
        classifier: the model, with the chosen preprocessing.
        images: the images, with class indices.
        geometry: how photos are fitted to the model's input.
        compare: look for a better preprocessing, too.
        orders: other possible orders of the classes, as ``Match.others`` has them.
    """
    probe = _probe(images, classifier, geometry)
    if probe is None:
        return Look()
    before = classifier.count.forward
    scores = classifier.probabilities(probe.pixels)
    classifier.count.forward = before
    right = _right(classifier, scores, probe.targets)
    # A function preprocesses on its own; labels that are not exclusive may all be right by chance.
    comparable = compare and _is_preprocessed(classifier) and classifier.head.is_exclusive
    better = _better(classifier, probe, scores, orders or {}) if comparable else ("", 0)
    return Look(len(right), int(right.sum()), *better)


def _better(classifier: Classifier, probe: _Probe, scores: Scores, orders: Orders) -> tuple[str, int]:
    chosen = _right(classifier, scores, probe.targets)
    if not _is_better(np.ones_like(chosen), chosen):
        return "", 0  # too good for any other to be far better, or too few images for any difference
    targets = {order: _moved(probe.targets, outputs) for order, outputs in orders.items()}
    with_chosen = [chosen, *(_right(classifier, scores, moved) for moved in targets.values())]
    score = _scorer(classifier, probe)
    others = {text: score(Preprocessing.parse(text)) for text in _fitting(classifier) if text != classifier.preprocess}
    for order, in_order in ((None, probe.targets), *targets.items()):
        rights = {text: _right(classifier, other, in_order) for text, other in others.items()}
        better = {
            f"--preprocess {text}": int(right.sum())
            for text, right in rights.items()
            # A model that gives every image the same class is right by the set's imbalance alone.
            if len({tuple(each) for each, is_right in zip(in_order, right, strict=True) if is_right}) > 1
            and all(_is_better(right, known) for known in with_chosen)
        }
        if better:
            option = f" and --class-order {order}" if order else ""
            return _sentence(classifier, chosen, better, option), max(better.values())
    return "", 0


def _sentence(classifier: Classifier, chosen: Right, better: Mapping[str, int], order: str) -> str:
    most = max(better.values())
    best = " or ".join(option for option, right in better.items() if right == most)
    advice = "both if the model was trained so" if order else "that option if the model was trained with it"
    return (
        f"on {len(chosen)} of these images the model is right {_share(int(chosen.sum()), len(chosen))} with "
        f"--preprocess {classifier.preprocess}, but {_share(most, len(chosen))} with {best}{order}: give {advice}; "
        "nothing has been changed"
    )


def _right(classifier: Classifier, scores: Scores, targets: Targets) -> Right:
    pairs = zip(scores, targets, strict=True)
    return np.array([classifier.head.is_right(row, each) for row, each in pairs], np.bool_)


def _moved(targets: Targets, outputs: Mapping[int, int]) -> Targets:
    """Return targets in another order of the classes; a class that it lacks has the output -1, which is never right."""
    return [[outputs.get(target, -1) for target in each] for each in targets]


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
    score = _scorer(classifier, probe)
    scores = {text: score(Preprocessing.parse(text)) for text in _fitting(classifier)}
    right = {text: int(_right(classifier, of_text, probe.targets).sum()) for text, of_text in scores.items()}
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


def _scorer(classifier: Classifier, probe: _Probe) -> Callable[[Preprocessing], Scores]:
    """Return a function from a preprocessing to the model's scores of the images; a graph is traced once."""
    if isinstance(classifier.model, BlackBox):
        box: BlackBox = classifier.model

        def scores_of(preprocessing: Preprocessing) -> Scores:
            changed = replace(box, function=replace(cast(Preprocessed, box.function), preprocessing=preprocessing))
            return Classifier(changed, head=classifier.head).probabilities(probe.pixels)

        return scores_of
    spec = tf.TensorSpec([None, *probe.pixels.shape[1:]], tf.float32)
    head = classifier.head
    outputs = tf.function(classifier.graph.run_graph, autograph=False, input_signature=[spec])

    def score(preprocessing: Preprocessing) -> Scores:
        parts: list[Scores] = []
        for start in range(0, len(probe.targets), classifier.batch_size):
            batch = preprocessing(tf.constant(probe.pixels[start : start + classifier.batch_size]))
            parts.append(head.scores(head.class_logits(np.asarray(outputs(batch), dtype=np.float64))))
        return np.concatenate(parts)

    return score


def _is_better(right: Right, chosen: Right) -> bool:
    """Return whether a preprocessing is far better than the chosen one on the same images."""
    gained, lost = int((right & ~chosen).sum()), int((chosen & ~right).sum())
    differing = gained + lost
    p = sum(comb(differing, k) for k in range(gained, differing + 1)) / 2**differing
    return p < _ALPHA and gained - lost >= _FAR * len(right)


def _share(right: int, count: int) -> str:
    return f"{right} time{'' if right == 1 else 's'} ({right / count:.0%})"
