"""The text lines that cell keys are made of: model, libraries, protocol, metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from evalkit.core import signature
from evalkit.core.component import Component
from evalkit.core.errors import ConfigError
from evalkit.core.provenance import DISTRIBUTION, distribution_of, is_built_in
from evalkit.metrics.catalog import needs_scores
from evalkit.metrics.spec import Metric
from evalkit.models.classifier import Classifier
from evalkit.models.heads import HeadKind
from evalkit.models.keras.layout import DEFAULT_SIDE

__all__ = ["libraries", "metric_line", "protocol", "subject", "versions"]

# Name in keys and manifests, and name on the package index.
_VERSIONED = {"evalkit": DISTRIBUTION} | {
    name: name
    for name in (
        "tensorflow",
        "keras",
        "tf-explain",
        "numpy",
        "opencv-python",
        "pillow",
        "pycocotools",
        "scipy",
        "scikit-image",
    )
}
# The same modules come in other distributions, e.g. tensorflow-cpu and opencv-python-headless.
_MODULES = {"tensorflow": "tensorflow", "opencv-python": "cv2"}


def versions(components: Iterable[Component] = ()) -> dict[str, str]:
    """Return the version of every package that can change a number.

    Args:
        components: the explainers and metrics of the run; the distributions of classes outside evalkit are added.
    """
    foreign = {type(component) for component in components if not is_built_in(type(component))}
    return dict(_versions()) | dict(filter(None, map(distribution_of, foreign)))


@cache  # used by every cell's key; reading a package's metadata takes a millisecond
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, _version(distribution)) for name, distribution in _VERSIONED.items())


def _version(distribution: str) -> str:
    """Return the version of a distribution, or of another one that has its module.

    Raises:
        ConfigError: neither is installed.
    """
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        others = packages_distributions().get(_MODULES.get(distribution, ""), ())
        if not others:
            raise ConfigError(f"package '{distribution}' is not installed; pip install {distribution}") from error
        return version(others[0])


def libraries() -> str:
    """Return the packages and their versions in one line."""
    return "|".join(f"{name}:{number}" for name, number in _versions())


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
