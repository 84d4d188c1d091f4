"""The test of the order of classes: does the model agree with another order far more often than with the one taken?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from evalkit.core.errors import ImageError
from evalkit.datasets.class_order import described
from evalkit.datasets.classes import Match
from evalkit.datasets.geometry import Geometry, fit
from evalkit.datasets.image_set import ImageSet
from evalkit.harness.planning.preprocess_check import look_at
from evalkit.models.classifier import Classifier
from evalkit.models.heads import Head

__all__ = ["order_notes"]

_SAMPLE = 64  # images, evenly over the classes
_FAR = 0.2  # difference of accuracies
_P = 0.01  # of a one-sided sign test on the images on which two orders differ
_NAMED = 5
_UNKNOWN = -1

Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]


def order_notes(match: Match, classifier: Classifier, geometry: Geometry, *, compare: bool = True) -> list[str]:
    """Return a sentence if another order of the classes fits the model's predictions far better, else nothing.

    Far better: on a sample of at most 64 images the accuracy is higher by at least 0.2, and a one-sided sign test on
    the images on which only one of the two orders is right gives p < 0.01. Where the classes are all outputs of the
    model, at most 32, every order is possible: the best one is chosen on one half of the sample and counted on the
    other. The order taken is never changed. Nothing is returned if the accuracy is 0.2 higher still with another
    preprocessing: predictions with a wrong preprocessing say little about the order.

    Args:
        match: the images with their outputs.
        classifier: the model.
        geometry: how photos are fitted to its input.
        compare: whether the preprocessing may be wrong.
    """
    found = _better_order(match, classifier, geometry) if match.others or match.complete else None
    if found is None:
        return []
    accuracy, note = found
    look = look_at(classifier, match.images, geometry, compare=compare, orders=match.others)
    return [] if look.n_better >= (accuracy + _FAR) * look.n_images else [note]


def _better_order(match: Match, classifier: Classifier, geometry: Geometry) -> tuple[float, str] | None:
    """Return the accuracy of the best of the far better orders, and a sentence; None if no order is far better."""
    sample = _sample(match.images, classifier, geometry)
    if not sample.taken:
        return None
    right = sample.right(sample.taken)
    better: list[tuple[float, str]] = []
    for order, outputs in match.others.items():
        other = sample.right([outputs.get(output, _UNKNOWN) for output in sample.taken])
        if _far_better(other, right):
            way = f"give --class-order {order} if that is the order of the model's outputs"
            better.append((float(other.mean()), _sentence(match, right, other, described(order), way)))
    if better:
        return max(better)
    if match.complete and classifier.n_classes <= _SAMPLE // 2:  # with fewer images of a class, no half has it
        other = sample.right(_in_halves(sample))
        if _far_better(other, right):
            best = _best_order(sample, np.ones(len(sample.taken), np.bool_))
            return float(other.mean()), _sentence(match, right, other, *_named(match.images, best))
    return None


@dataclass(frozen=True)
class _Sample:
    """Some images.

    Attributes:
        taken: the output of each image's class, in the order taken.
        scores: the model's scores, float64 (N, C).
        head: the model's head, which says when it is right.
    """

    taken: list[int]
    scores: NDArray[np.float64]
    head: Head

    @property
    def predicted(self) -> Whole:
        """The output with the highest score; -1 if scores are not finite."""
        return np.array([int(row.argmax()) if np.isfinite(row).all() else _UNKNOWN for row in self.scores])

    def right(self, outputs: Sequence[int]) -> Flags:
        """Return where the model is right if the images have these outputs; -1 = none."""
        pairs = zip(self.scores, outputs, strict=True)
        return np.array([output != _UNKNOWN and self.head.is_right(scores, [output]) for scores, output in pairs])


def _sample(images: ImageSet, classifier: Classifier, geometry: Geometry) -> _Sample:
    """Return the scores of some images, evenly over the classes; photos that cannot be read are passed over."""
    taken, pixels = [], []
    for entry in images.limit(_SAMPLE, 0).entries:
        if entry.class_index is None or entry.class_index < 0:
            continue
        try:
            pixels.append(fit(images.read(entry), classifier.input_size, geometry, classifier.channels).pixels)
        except ImageError:
            continue
        taken.append(entry.class_index)
    before = classifier.count.forward
    scores = classifier.probabilities(np.stack(pixels)) if pixels else np.zeros((0, classifier.n_classes))
    classifier.count.forward = before  # a check is not part of the run
    return _Sample(taken, scores, classifier.head)


def _far_better(other: Flags, taken: Flags) -> bool:
    """Return whether the accuracy of another order is higher by much, and by more than chance."""
    if float(other.mean() - taken.mean()) < _FAR:
        return False
    gained, lost = int((other & ~taken).sum()), int((taken & ~other).sum())
    n = gained + lost
    tail = sum(math.comb(n, k) for k in range(gained, n + 1))
    return bool(tail < _P * 2**n)


def _best_order(sample: _Sample, chosen: Flags) -> dict[int, int]:
    """Return the one-to-one order that agrees most with the predictions for the chosen images.

    Returns:
        The output by the output of the order taken, of the classes of these images.
    """
    n_outputs = sample.scores.shape[1]
    counts = np.zeros((n_outputs, n_outputs))
    taken, known = np.array(sample.taken), chosen & (sample.predicted != _UNKNOWN)
    np.add.at(counts, (taken[known], sample.predicted[known]), 1.0)
    rows, columns = linear_sum_assignment(counts + 1e-6 * np.eye(n_outputs), maximize=True)  # ties: as taken
    present = set(taken[chosen].tolist())
    return {row: column for row, column in zip(rows.tolist(), columns.tolist(), strict=True) if row in present}


def _in_halves(sample: _Sample) -> list[int]:
    """Return each image's output in the best order of the other half of the sample; -1 if its class is not there."""
    seen: Counter[int] = Counter()
    halves = []
    for output in sample.taken:
        halves.append(seen[output] % 2)
        seen[output] += 1
    half = np.array(halves)
    orders = [_best_order(sample, half == other) for other in (1, 0)]
    return [orders[halves[position]].get(output, _UNKNOWN) for position, output in enumerate(sample.taken)]


def _named(images: ImageSet, order: dict[int, int]) -> tuple[str, str]:
    """Return an order, and the option that gives it, in words."""
    labels = {entry.class_index: entry.label for entry in images.entries}
    by_output = {output: labels[taken] for taken, output in order.items()}
    moved = [f"{labels[taken]} = {output}" for taken, output in order.items() if taken != output]
    more = f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
    names = [by_output[output] for output in sorted(by_output)]
    short = len(names) <= _NAMED and [*sorted(by_output)] == [*range(len(names))] and not any("," in n for n in names)
    given = ",".join(names) if short else "FILE"
    way = f"if that is the order of the model's outputs, name them with --class-names {given}"
    return f"another order ({', '.join(moved[:_NAMED])}{more})", way


def _sentence(match: Match, right: Flags, other: Flags, order: str, way: str) -> str:
    taken = "by name" if match.taken is None else described(match.taken)
    return (
        f"{match.images.name}: the model is right on {int(right.sum())} of {len(right)} images with the order taken "
        f"({taken}), but on {int(other.sum())} with {order}; nothing was changed: {way}"
    )
