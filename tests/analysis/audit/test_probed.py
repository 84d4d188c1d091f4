"""Which explainers are probed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from evalkit.analysis.audit.probed import explainers_to_probe
from evalkit.core.errors import ConfigError
from evalkit.metrics.catalog import METRICS

GAIN, DELETION = METRICS.build("symmetric_relevance_gain"), METRICS.build("deletion")


def run_of(*explainers):
    """A run of explainers by (text, family, score)."""
    facts = [SimpleNamespace(text=text, family=family, control=family == "controls") for text, family, _ in explainers]
    scores = np.array([[[score, score] for _, _, score in explainers]])
    texts = [one.text for one in facts]
    table = SimpleNamespace(values=scores, explainers=texts, metrics=[GAIN.text, DELETION.text])
    return SimpleNamespace(table=table, manifest=SimpleNamespace(explainers=facts))


ALL = [
    ("gradcam", "cams", 0.5),
    ("layercam", "cams", 0.6),
    ("gradient", "gradients", 0.1),
    ("rise", "masks", 0.55),
    ("random", "controls", 0.9),
    ("tf_explain.gradcam", "tf_explain", 0.05),
]


def test_the_best_of_each_family_is_probed():
    assert explainers_to_probe(run_of(*ALL), GAIN) == ["layercam", "rise", "gradient"]


def test_a_lower_score_is_better_where_the_metric_says_so():
    assert explainers_to_probe(run_of(*ALL), DELETION) == ["tf_explain.gradcam", "gradient", "gradcam"]


def test_one_family_gives_several():
    assert explainers_to_probe(run_of(*ALL[:2], ALL[4]), GAIN) == ["layercam", "gradcam"]
    unscored = [*ALL[:1], ("occlusion", "masks", np.nan)]
    assert explainers_to_probe(run_of(*unscored), GAIN) == ["gradcam", "occlusion"]


def test_without_a_metric_the_order_is_that_of_the_run():
    assert explainers_to_probe(run_of(*ALL), None) == ["gradcam", "gradient", "rise"]


def test_explainers_may_be_named():
    assert explainers_to_probe(run_of(*ALL), GAIN, "random,gradcam") == ["random", "gradcam"]


def test_an_unknown_explainer_or_none_is_refused():
    with pytest.raises(ConfigError, match="--probe-explainers 'gradcamm' is not in the run"):
        explainers_to_probe(run_of(*ALL), GAIN, "gradcamm")
    with pytest.raises(ConfigError, match="--probe-explainers is empty"):
        explainers_to_probe(run_of(*ALL), GAIN, "")
    with pytest.raises(ConfigError, match="no explainer besides controls"):
        explainers_to_probe(run_of(ALL[4]), GAIN)
