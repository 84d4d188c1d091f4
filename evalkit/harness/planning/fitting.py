"""Which explainers and metrics of a run fit the model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from evalkit.core.errors import EvalkitError, ModelError
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import Listed
from evalkit.metrics.catalog import metric_names_in
from evalkit.metrics.requirements import needs_of
from evalkit.metrics.spec import Metric
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier

__all__ = ["fitting", "fitting_metrics", "shared_layers"]

Say = Callable[[str], None]


def fitting(
    listed: Sequence[Listed], classifier: Classifier, named: Collection[str], *, sized: bool, say: Say
) -> list[Explainer]:
    """Return the explainers that fit the model; members of a set, and alternatives, are left out with a sentence.

    Args:
        listed: the explainers.
        classifier: the model.
        named: the names that are listed themselves, not as members of a set.
        sized: True if the patch sizes are given, which are then as good as named.
        say: a function that prints a sentence for each one that is left out.

    Raises:
        EvalkitError: an explainer that is named does not fit, or none of its alternatives does.
    """
    explainers: list[Explainer] = []
    errors: dict[str, EvalkitError] = {}
    for one in listed:
        try:
            one.explainer.check(classifier)
        except EvalkitError as error:
            is_named = one.explainer.spec_name() in named or (sized and bool(one.explainer.swept_by))
            if is_named and not one.is_alternative:
                raise
            if is_named:
                errors.setdefault(one.spec, error)
            message = str(error)
            about = "" if message.startswith(one.explainer.spec_name()) else f"{one.explainer.text}: "
            say(f"left out: {about}{message}")
        else:
            explainers.append(one.explainer)
    left = {one.spec for one in listed if one.explainer in explainers}
    for spec, first in errors.items():
        if spec not in left:
            raise first
    return explainers


def fitting_metrics(metrics: Sequence[Metric], classifier: Classifier, given: object, say: Say) -> list[Metric]:
    """Leave out the metrics of a set that need changed models, which a black box has not; refuse those named.

    Args:
        metrics: the metrics.
        classifier: the model.
        given: the metrics as listed by the user.
        say: a function that prints a sentence for each one that is left out.

    Raises:
        ModelError: a metric that is named does not fit.
    """
    if not isinstance(classifier.model, BlackBox):
        return list(metrics)
    unfit = [metric for metric in metrics if "models" in needs_of(metric)]
    for metric in unfit:
        why = (
            f"{metric.text} needs changed copies of the model, and model '{classifier.name}' is a black box, whose "
            "weights cannot be changed"
        )
        if metric.spec_name() in metric_names_in(given):
            raise ModelError(f"{why}; leave it out of --metrics")
        say(f"left out: {why}")
    return [metric for metric in metrics if metric not in unfit]


def shared_layers(classifier: Classifier, explainers: Sequence[Explainer]) -> set[str]:
    """Return the layers whose activations and gradients the explainers read.

    Args:
        classifier: the classifier.
        explainers: the explainers of one photo.
    """
    return {layer for explainer in explainers for layer in explainer.shared_layers(classifier)}
