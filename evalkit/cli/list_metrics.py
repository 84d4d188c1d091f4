"""The entries of ``list metrics``, of the classes in the catalog."""

from __future__ import annotations

from typing import get_args

import numpy as np

from evalkit.cli.list_components import asked_for, built, description_of, listed, parameter_entries
from evalkit.core.provenance import target_of
from evalkit.core.specs import Spec
from evalkit.metrics.catalog import CUE_METRICS, DEFAULT_METRICS, METRICS
from evalkit.metrics.requirements import passes_of, requirements_of, unscored_reasons
from evalkit.metrics.spec import Family, Metric
from evalkit.report.tables.metric_list import CostEntry, MetricEntry

__all__ = ["METRIC_WORDS", "metric_entries", "metric_entry"]

METRIC_WORDS: tuple[str, ...] = ("default", "all", *get_args(Family))
"""The words that ``list metrics`` takes for several: the sets of ``--metrics``, and the families."""


def metric_entries(word: str = "all") -> list[MetricEntry]:
    """Return the entries of a set or a family of metrics, in the order of the catalog; ``all``: of every one."""
    names = [name for name in METRICS.names() if word != "default" or name in DEFAULT_METRICS]
    return [entry for entry in listed(names, _entry) if word in ("default", "all", entry.family)]


def metric_entry(given: str) -> MetricEntry:
    """Return the entry of one metric.

    Args:
        given: its name, or ``module:Class``; with or without parameters.

    Raises:
        ConfigError: no such metric or parameter, a file that cannot be used, or its class cannot be imported.
    """
    return _entry(asked_for(METRICS, METRIC_WORDS, given))


def _entry(parsed: Spec) -> MetricEntry:
    name, kind = parsed.name, METRICS.get(parsed.name)
    metric = built(METRICS, parsed)
    spec = kind.spec if metric is None else metric.spec
    low, high = (float(bound) if np.isfinite(bound) else None for bound in spec.bounds)
    known = metric or kind
    return MetricEntry(
        name=name if metric is None or not parsed.parameters else metric.text,
        family=spec.family,
        direction=spec.direction,
        descriptive=spec.descriptive,
        bounds=(low, high),
        summary=spec.summary,
        brief=spec.brief,
        description=description_of(kind),
        needs=("unknown",) if metric is None else requirements_of(metric),
        not_scored=() if metric is None else unscored_reasons(metric),
        cost=None if metric is None else _cost(metric),
        sets=_sets(name),
        only_with_cues=name in CUE_METRICS,
        draws=known.draws,
        binary=spec.binary,
        set_level=known.set_level,
        criterion=not (known.set_level or spec.descriptive),  # also of a class that cannot be built
        gated=spec.gated,
        column=(spec.column or spec.name) if spec.is_ranked else "",
        of_model=spec.of_model,
        chance=spec.chance,
        substrate="" if metric is None else metric.substrate,
        version=spec.version,
        reference=spec.reference,
        target=target_of(kind),
        parameters=parameter_entries(METRICS, parsed, metric),
    )


def _sets(name: str) -> tuple[str, ...]:
    return (*(["default"] if name in (*DEFAULT_METRICS, *CUE_METRICS) else []), *(["all"] if ":" not in name else []))


def _cost(metric: Metric) -> CostEntry | None:
    passes = passes_of(metric)
    if passes is None:
        return None
    return CostEntry(passes.per_map, passes.per_image, passes.maps, passes.is_upper_bound)
