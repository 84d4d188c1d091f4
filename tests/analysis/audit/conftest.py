"""A run made up of scores: explainers and controls, one or several metrics."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from evalkit.analysis.audit.service import audit_scores
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.spec import Metric, MetricSpec
from tests.builders import explainer_facts, score_table

CONTROLS = ("uniform", "random", "smooth_noise", "center", "edges")


@pytest.fixture
def facts_of():
    """Return the facts of explainers by name; the five controls are marked."""
    return lambda names: [explainer_facts(name, control=name.partition("(")[0] in CONTROLS) for name in names]


@pytest.fixture
def audited(facts_of):
    """Audit made-up scores: ``audited({"deletion": {"gradcam": scores, ...}, ...})``."""

    def audit(scores, metrics=None, seed=0, **changes):
        texts = list(scores)
        names = list(dict.fromkeys(name for of_metric in scores.values() for name in of_metric))
        n_images = max(len(column) for of_metric in scores.values() for column in of_metric.values())
        values = np.full((n_images, len(names), len(texts)), np.nan)
        for at, of_metric in enumerate(scores.values()):
            for name, column in of_metric.items():
                values[: len(column), names.index(name), at] = column
        built = [(metrics or {}).get(text) or METRICS.build(text) for text in texts]
        table = score_table(values, names, [metric.text for metric in built], **changes)
        return audit_scores(table, built, facts_of(names), seed=seed, n_resamples=400)

    return audit


class Planted(Metric):
    """A metric whose scores are made up."""

    spec: ClassVar[MetricSpec] = MetricSpec("planted", 1, "higher", (0.0, 1.0), "other", "", "")

    def score(self, saliency_map, case, answers):
        """Return the share of the map above half of its range."""
        return float((saliency_map > (saliency_map.min() + saliency_map.max()) / 2).mean())
