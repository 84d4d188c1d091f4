"""The partners of an image: read, fitted to the model's input, and scored once for all maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from evalkit.core.errors import ImageError
from evalkit.core.names import escaped
from evalkit.datasets.entry import Entry
from evalkit.datasets.image import LabelledImage
from evalkit.harness.engine.answers import Answers
from evalkit.harness.planning.partners import Draw
from evalkit.metrics.case import Case, Partner
from evalkit.metrics.requests import Shown
from evalkit.metrics.spec import Metric
from evalkit.models.classifier import Classifier
from evalkit.models.probabilities import score_of

__all__ = ["case_for", "with_partners"]


def with_partners(
    case: Case,
    draw: Draw,
    count: int,
    read: Callable[[Entry], LabelledImage],
    classifier: Classifier,
    answers: Answers,
) -> Case:
    """Return the case with the partners of its image.

    Args:
        case: the case without partners.
        draw: the partners that were drawn.
        count: the largest number of partners that a metric of the job needs.
        read: the function that returns the image of an entry, fitted to the model's input.
        classifier: the model.
        answers: the engine, which scores each partner once.
    """
    fitted, reason, failed = [], draw.reason, False
    for entry in draw.entries[:count]:
        try:
            fitted.append(read(entry))
        except ImageError as error:
            reason, failed = f"the partner image '{escaped(entry.id)}' cannot be used: {error}", True
            break
    scores = answers.scores([Shown(image.pixels) for image in fitted])
    partners = tuple(
        Partner(
            image.id,
            image.pixels,
            float(score_of(of_image, image.targets)),
            classifier.head.is_right(of_image, image.targets),
        )
        for image, of_image in zip(fitted, scores, strict=True)
    )
    return replace(case, partners=partners, partners_reason=reason or case.partners_reason, partners_failed=failed)


def case_for(metric: Metric, case: Case, explained: Sequence[int], labelled: Sequence[int]) -> Case:
    """Return the case with as many partners as a metric needs; none if there are fewer.

    Args:
        metric: the metric.
        case: the case with the partners of its image.
        explained: the outputs that are explained.
        labelled: the outputs of the image's label; partners are of other classes than these.
    """
    if metric.n_partners and case.partners and not set(explained) <= set(labelled):
        reason = "the class explained is not the label's"
        return replace(case, partners=(), partners_reason=reason, partners_failed=False)
    enough = len(case.partners) >= metric.n_partners
    return replace(case, partners=case.partners[: metric.n_partners] if enough else ())
