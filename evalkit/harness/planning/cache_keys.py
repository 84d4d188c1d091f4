"""The text lines that cell keys are made of: model, libraries, protocol, metrics."""

from __future__ import annotations

from collections.abc import Mapping

from evalkit.core import signature
from evalkit.core.versions import versions
from evalkit.metrics.catalog import needs_scores
from evalkit.metrics.spec import Metric
from evalkit.models.classifier import Classifier
from evalkit.models.heads import HeadKind
from evalkit.models.keras.layout import DEFAULT_SIDE

__all__ = ["metric_line", "protocol", "subject"]


def subject(model: Classifier) -> str:
    """Return the line of model, weights, versions and precision."""
    known = versions()
    head = {} if model.head.kind == "softmax" else {"head": model.head.kind}
    return signature.line(
        "subject",
        {
            "model": model.name,
            "weights": model.fingerprint[:16],
            "preprocess": model.preprocess,
            **head,
            **_chosen_size(model),
            "precision": model.precision,
            "tensorflow": known["tensorflow"],
            "keras": known["keras"],
        },
    )


def _chosen_size(model: Classifier) -> dict[str, str]:
    """Return the input size of a model that leaves it open; 224 x 224 is the default, which older lines do not name."""
    if not model.size_is_chosen or model.input_size == (DEFAULT_SIDE, DEFAULT_SIDE):
        return {}
    return {"input_size": "x".join(map(str, model.input_size))}


def protocol(settings: Mapping[str, str | int | None]) -> str:
    """Return the line of the settings that must match between comparable runs."""
    return signature.line("protocol", {"evalkit": versions()["evalkit"], **settings})


def metric_line(metric: Metric, target: str, seed: int, head: HeadKind = "softmax", mean: str = "") -> str:
    """Return a metric's signature, with score and target if it uses the model's scores, the seed if it draws.

    Args:
        metric: the metric.
        target: the target.
        seed: Random seed.
        head: how outputs become scores of classes.
        mean: the mean color of the set, for metrics that use scores; empty if it is ImageNet's.
    """
    if metric.score_kind == "softmax":
        score = f"|score:{head}"
    else:
        # A metric whose parameter it is signs another score than the head's itself.
        is_signed = "score" in metric.parameters()
        own = "" if is_signed else f"|score:{metric.score_kind}"
        score = own if head == "softmax" else f"{own}|head:{head}"
    substrate = f"|mean:{mean}" if mean else ""
    scored = f"{score}|target:{target}{substrate}" if needs_scores(metric) else ""
    drawn = f"|seed:{seed}" if metric.draws else ""
    return f"{metric.signature}{scored}{drawn}"
