"""Facts about a run's metrics and explainers: from its manifest, completed for older runs."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Protocol, TypedDict, TypeGuard

import numpy as np
from numpy.typing import NDArray

from evalkit.core.registry import parse_spec
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts, Manifest, MetricFacts

__all__ = [
    "OLDER_FACTS",
    "SetLevelMetric",
    "direction_of",
    "facts_of_metric",
    "is_set_level",
    "line_name",
    "metric_facts_of",
    "origin_of",
    "sweep_columns",
    "swept_by",
    "variant_of",
]


class SetLevelMetric(Protocol):
    """A metric that scores the image set as a whole, from the mean of the images' statistics."""

    @property
    def name(self) -> str:
        """The metric's name."""

    @property
    def text(self) -> str:
        """The short spec."""

    def aggregate(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores (...) of mean statistics (..., K)."""


class _OlderFacts(TypedDict, total=False):
    gated: bool
    draws_curve: str
    sweep_column: bool


# What the manifests of older runs lack, by metric name, in the column order of the patch-size table.
OLDER_FACTS: MappingProxyType[str, _OlderFacts] = MappingProxyType(
    {
        "symmetric_relevance_gain": {"gated": True, "sweep_column": True},
        "deletion": {"draws_curve": "removal", "sweep_column": True},
        "insertion": {"gated": True, "draws_curve": "insertion", "sweep_column": True},
        "energy_pointing_game": {"gated": True, "sweep_column": True},
        "relevance_rank_accuracy": {"sweep_column": True},
        "pointing_game": {"sweep_column": True},
    }
)
_OLDER_SWEPT_BY = MappingProxyType({"occlusion": ("patch_size", "stride")})
_OLDER_ORIGIN = MappingProxyType({"maps": "precomputed"})


def is_set_level(metric: Metric) -> TypeGuard[SetLevelMetric]:
    """Tell whether a metric scores the image set as a whole."""
    return bool(getattr(metric, "set_level", hasattr(metric, "aggregate")))


def metric_facts_of(manifest: Manifest) -> tuple[MetricFacts, ...]:
    """Return the facts of a run's metrics, in its order; of an older run, from the metrics themselves.

    Raises:
        ConfigError: an older run has a metric that is not known.
    """
    if manifest.metric_facts:
        return manifest.metric_facts
    return tuple(facts_of_metric(METRICS.build(text, steps=manifest.settings.steps)) for text in manifest.metrics)


def facts_of_metric(metric: Metric) -> MetricFacts:
    """Return the facts of one metric."""
    spec, older = metric.spec, OLDER_FACTS.get(metric.name, {})
    set_level = is_set_level(metric)
    descriptive = bool(getattr(spec, "descriptive", False))
    return MetricFacts(
        text=metric.text,
        name=metric.name,
        direction=spec.direction,
        bounds=spec.bounds,
        family=spec.family,
        parameters=metric.parameters(),
        summary=spec.summary,
        criterion=bool(getattr(spec, "criterion", not set_level and not descriptive)),
        gated=bool(getattr(spec, "gated", older.get("gated", False))),
        draws_curve=str(getattr(spec, "draws_curve", older.get("draws_curve", ""))),
        sweep_column=bool(getattr(spec, "sweep_column", older.get("sweep_column", False))),
        binary=spec.binary,
        exact_region=spec.exact_region,
        set_level=set_level,
        descriptive=descriptive,
    )


def sweep_columns(facts: Sequence[MetricFacts]) -> list[MetricFacts]:
    """Return the metrics that the patch-size table shows first, one of each name, in the order of its columns."""
    first = {one.name: one for one in reversed(facts) if one.sweep_column}
    order = list(OLDER_FACTS)
    names = [one.name for one in facts if first.get(one.name) is one]
    return [first[name] for name in sorted(names, key=lambda name: order.index(name) if name in order else len(order))]


def direction_of(metric: str) -> str:
    """Return which direction is better for the metric of this text.

    Raises:
        ConfigError: the metric is not known.
    """
    return METRICS.get(parse_spec(metric).name).spec.direction


def variant_of(text: str) -> str:
    """Return the parameters in the text of a metric; empty if there are none.

    >>> variant_of("deletion(steps=14)"), variant_of("deletion")
    ('steps=14', '')
    """
    return ", ".join(f"{key}={value}" for key, value in parse_spec(text).parameters.items())


def line_name(line: str) -> str:
    """Return the name at the start of a signature line.

    >>> line_name("occlusion|v:1|fill:black")
    'occlusion'
    """
    return line.partition("|")[0]


def swept_by(explainer: ExplainerFacts) -> tuple[str, ...]:
    """Return the names of the parameters that a sweep of this explainer compares; empty if it is not swept."""
    return explainer.swept_by or _OLDER_SWEPT_BY.get(explainer.name, ())


def origin_of(explainer: ExplainerFacts) -> str:
    """Return where an explainer comes from: ``built-in``, ``precomputed`` or a module."""
    return _OLDER_ORIGIN.get(explainer.name, explainer.origin)
