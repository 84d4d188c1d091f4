"""Facts about a run's metrics and explainers: from its manifest, completed for older runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.core.specs import parse_spec
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.facts import facts_of_metric
from evalkit.store.manifest import ExplainerFacts, Manifest, MetricFacts

__all__ = [
    "cost_in_passes",
    "direction_of",
    "line_name",
    "metric_facts_of",
    "origin_of",
    "same_substrate",
    "sweep_columns",
    "swept_by",
    "typical_of",
    "variant_of",
    "width_of",
]

_OLDER_SWEPT_BY = ("patch_size", "stride")
_FEWEST_TYPICAL = 4


def metric_facts_of(manifest: Manifest) -> tuple[MetricFacts, ...]:
    """Return the facts of a run's metrics, in its order; what an older run lacks, from the metrics themselves.

    Raises:
        ConfigError: an older run has a metric that is not known.
    """
    if manifest.metric_facts:
        return tuple(map(_with_columns, manifest.metric_facts))
    return tuple(facts_of_metric(METRICS.build(text, steps=manifest.settings.steps)) for text in manifest.metrics)


def _with_columns(facts: MetricFacts) -> MetricFacts:
    """Add the column's title and position, which manifests of evalkit 0.1 do not store."""
    if facts.column or facts.name not in METRICS.names():
        return facts
    spec = METRICS.get(facts.name).spec
    return msgspec.structs.replace(facts, column=spec.column or spec.name, screen_column=spec.screen_column)


def same_substrate(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Return, by metric, the explainers that replace pixels with what the metric replaces pixels with.

    Empty for older runs, whose manifests do not say what their explainers replace pixels with.
    """
    return {
        metric.text: alike
        for metric in metric_facts_of(manifest)
        if metric.substrate
        and (alike := tuple(one.text for one in manifest.explainers if one.substrate == metric.substrate))
    }


def sweep_columns(facts: Sequence[MetricFacts]) -> list[MetricFacts]:
    """Return the metrics that the patch-size table shows first, one of each name, in the order of its columns."""
    first = {one.name: one for one in reversed(facts) if one.sweep_column}
    return sorted(first.values(), key=lambda one: one.sweep_column)


def direction_of(metric: str) -> str:
    """Return which direction is better for the metric of this text.

    Raises:
        ConfigError: the metric is not known.
    """
    return METRICS.get(parse_spec(metric).name).spec.direction


def width_of(metric: str) -> float:
    """Return the difference between the largest and the smallest possible value of the metric of this text.

    Raises:
        ConfigError: the metric is not known.
    """
    low, high = METRICS.build(metric).spec.bounds
    return high - low


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


def typical_of(texts: Sequence[str], explainers: Sequence[ExplainerFacts]) -> NDArray[np.bool_] | None:
    """Return which explainers say how far the scores of an unseen image may lie apart, bool (E,); None = all.

    Without the controls, which range further than explainers do, if four others are left.

    Args:
        texts: texts of the explainers.
        explainers: explainers of the run.
    """
    controls = {one.text for one in explainers if one.control}
    typical = np.array([text not in controls for text in texts])
    return typical if np.count_nonzero(typical) >= _FEWEST_TYPICAL else None


def swept_by(explainer: ExplainerFacts) -> tuple[str, ...]:
    """Return the names of the parameters that a sweep of this explainer compares; empty if it is not swept."""
    # Runs of evalkit 0.1 do not say it; only explainers that were swept had both parameters.
    has_both = all(name in explainer.parameters for name in _OLDER_SWEPT_BY)
    return explainer.swept_by or (_OLDER_SWEPT_BY if has_both else ())


def cost_in_passes(explainer: ExplainerFacts) -> int | float:
    """Return what a map costs in passes, a backward pass as two; a float, to one decimal, if it is a mean over images.

    >>> facts = ExplainerFacts("gradcam", "gradcam", {}, False, None, 1, "full pass", backward_passes=1)
    >>> cost_in_passes(facts)
    3
    """
    if explainer.mean_passes is None:
        return explainer.forward_passes + 2 * explainer.backward_passes
    forward, backward = explainer.mean_passes
    return round(float(forward + 2 * backward), 1)


def origin_of(explainer: ExplainerFacts) -> str:
    """Return where an explainer comes from: ``built-in``, ``precomputed`` or a module."""
    # Runs of evalkit 0.1 do not say it; only maps from files had a folder.
    return "precomputed" if set(explainer.parameters) == {"folder"} else explainer.origin
