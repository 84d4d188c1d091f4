"""What a manifest stores of a metric, and a metric again from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.case import Case
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.spec import Answer, Metric, MetricSpec
from evalkit.store.manifest import MetricFacts

__all__ = ["StoredMetric", "facts_of_metric", "metric_of_facts"]


def facts_of_metric(metric: Metric) -> MetricFacts:
    """Return what a manifest stores of a metric."""
    spec = metric.spec
    low, high = (float(bound) if np.isfinite(bound) else None for bound in spec.bounds)
    return MetricFacts(
        text=metric.text,
        name=metric.spec_name(),
        direction=spec.direction,
        bounds=(low, high),
        family=spec.family,
        parameters=metric.parameters(),
        summary=spec.summary,
        criterion=metric.decides,
        gated=spec.gated,
        draws_curve=spec.curve,
        curve_value=spec.curve_value,
        sweep_column=spec.sweep_column,
        column=spec.column or spec.name,
        screen_column=spec.screen_column,
        binary=spec.binary,
        exact_region=metric.exact_region,
        set_level=metric.set_level,
        descriptive=spec.descriptive,
        substrate=metric.substrate,
        chance=spec.chance,
        sentence=spec.sentence,
        note=spec.note.format(**metric.parameters()),
        of_model=spec.of_model,
    )


def metric_of_facts(facts: MetricFacts, steps: int) -> Metric:
    """Return a metric that analysis can use: no module of the user's is imported unless the metric scores whole sets.

    Args:
        facts: from the manifest.
        steps: the run's ``--steps``.

    Raises:
        ConfigError: a set-level metric whose module cannot be imported.
    """
    name = facts.text.partition("(")[0]  # not a spec if the class was defined inside a function
    if ":" not in name or facts.set_level:
        return METRICS.build(facts.text, steps=steps)
    return StoredMetric(facts)


@dataclass(frozen=True)
class StoredMetric(Metric):
    """A metric with a score per image, known by its facts only: its scores are stored, it computes none.

    Attributes:
        facts: from the manifest.
    """

    spec = MetricSpec("stored", 1, "higher", (0.0, 1.0), "other", "", "")  # replaced by the facts
    facts: MetricFacts = field(kw_only=False)

    def __post_init__(self) -> None:
        """Take the spec from the facts."""
        facts = self.facts
        low, high = facts.bounds
        spec = MetricSpec(
            name=facts.name,
            version=1,
            direction="lower" if facts.direction == "lower" else "higher",
            bounds=(-np.inf if low is None else low, np.inf if high is None else high),
            family=facts.family,  # type: ignore[arg-type]
            summary=facts.summary,
            reference="",
            binary=facts.binary,
            descriptive=facts.descriptive,
            chance="uniform" if isinstance(facts.chance, str) else facts.chance,
        )
        object.__setattr__(self, "spec", spec)

    @property
    def text(self) -> str:
        """The short spec, as stored."""
        return self.facts.text

    def score(self, saliency_map: NDArray[np.floating], case: Case, answers: Sequence[Answer]) -> float:
        """Raise TypeError: only stored scores are used."""
        raise TypeError(f"{self.text} is known by its stored scores only")
