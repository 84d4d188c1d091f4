"""Facts about metrics and explainers: from the manifest, or completed for older runs."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from evalkit.analysis.facts import metric_facts_of, origin_of, same_substrate, sweep_columns, swept_by, variant_of
from evalkit.core.errors import ConfigError
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.facts import facts_of_metric, metric_of_facts
from evalkit.store.manifest import DataFacts, Manifest, MetricFacts, ModelFacts, Settings, Signatures


@pytest.fixture
def manifest(facts):
    """A manifest as older versions wrote it: without facts of its metrics."""
    return Manifest(
        schema_version=1,
        signature=Signatures("run", {}, {}),
        model=ModelFacts("m", "f" * 64, "none", (32, 32), 3, None, "float32"),
        data=DataFacts("d", "csv", 4),
        settings=Settings("label", "squash", 14, 0, 8, None),
        explainers=(facts("gradcam"),),
        metrics=("pxap", "deletion", "deletion(steps=7)", "pointing_game"),
        versions={},
        created="2026-11-23T00:00:00Z",
    )


def test_facts_of_an_older_run_come_from_its_metrics(manifest):
    pxap, deletion, shorter, pointing = metric_facts_of(manifest)
    assert [one.text for one in (pxap, deletion, shorter, pointing)] == list(manifest.metrics)
    assert (pxap.set_level, pxap.criterion, deletion.set_level, deletion.criterion) == (True, False, False, True)
    assert (deletion.direction, deletion.bounds, deletion.family) == ("lower", (0.0, 1.0), "faithfulness")
    assert (deletion.parameters["steps"], shorter.parameters["steps"], shorter.name) == (14, 7, "deletion")
    assert (deletion.draws_curve, pointing.draws_curve) == ("removal", "")
    assert deletion.summary


def test_facts_in_the_manifest_come_first(manifest):
    known = MetricFacts("mine:Metric", "Metric", "higher", (0.0, 2.0), "other", {}, gated=True)
    assert metric_facts_of(msgspec.structs.replace(manifest, metric_facts=(known,))) == (known,)


def test_facts_follow_the_specs():
    facts = {text: facts_of_metric(METRICS.build(text)) for text in METRICS.names()}
    assert {text for text, one in facts.items() if one.gated} == {
        "symmetric_relevance_gain",
        "insertion",
        "energy_pointing_game",
    }
    assert {text: one.draws_curve for text, one in facts.items() if one.draws_curve} == {
        "deletion": "removal",
        "insertion": "insertion",
    }
    assert {text for text, one in facts.items() if one.set_level} == {"max_box_acc_v1", "max_box_acc_v2", "pxap"}
    described = {text for text, one in facts.items() if one.descriptive}
    cues = {"cue_drop", "cue_false_alarm", "cue_followed", "cue_missed", "cue_pixel_auc", "object_drop"}
    assert described == {"sparseness", "max_sensitivity", "random_logit", "mprt", "emprt", *cues}
    assert not any(facts[text].criterion for text in described)
    assert facts["max_sensitivity"].bounds == (0.0, None)


def test_a_metric_of_another_module_is_known_by_its_facts():
    facts = MetricFacts("no_such_module:Mine(k=2)", "no_such_module:Mine", "lower", (0.0, None), "other", {"k": 2})
    metric = metric_of_facts(facts, 28)
    assert (metric.text, metric.spec.direction, metric.spec.bounds) == (facts.text, "lower", (0.0, np.inf))
    with pytest.raises(ConfigError, match="module 'no_such_module' cannot be imported"):
        metric_of_facts(msgspec.structs.replace(facts, set_level=True), 28)


def test_a_metric_of_a_class_inside_a_function_is_known_by_its_facts():
    facts = MetricFacts("__main__:f.<locals>.Mine", "__main__:f.<locals>.Mine", "lower", (0.0, None), "other", {})
    assert metric_of_facts(facts, 28).text == facts.text


def test_explainers_are_beside_the_metrics_that_replace_pixels_as_they_do(manifest, facts):
    def with_fills(*fills):
        explainers = [msgspec.structs.replace(facts(f"e{fill}"), substrate=fill) for fill in fills]
        return msgspec.structs.replace(manifest, explainers=(*explainers, facts("gradcam")))

    assert same_substrate(with_fills("mean", "blur")) == {"deletion": ("emean",), "deletion(steps=7)": ("emean",)}
    assert same_substrate(with_fills("black", "gray", "")) == {}
    assert same_substrate(manifest) == {}


def test_substrates_are_declared_and_not_known_by_name():
    substrates = {text: facts_of_metric(METRICS.build(text)).substrate for text in METRICS.names()}
    assert {text: substrate for text, substrate in substrates.items() if substrate} == {
        "deletion": "mean",
        "insertion": "blur",
        "symmetric_relevance_gain": "mean",
        "average_drop": "mean",
        "increase_in_confidence": "mean",
        "road": "road",
        "mu_fidelity": "mean",
        "sensitivity_n": "mean",
        "infidelity": "mean",
        "saco": "mean",
    }
    for fill in ("black", "mean", "gray", "blur"):
        assert EXPLAINERS.build(f"occlusion(fill={fill})").substrate == fill
    others = {name: EXPLAINERS.build(name).substrate for name in EXPLAINERS.names() if name != "occlusion"}
    assert {name: substrate for name, substrate in others.items() if substrate} == dict.fromkeys(
        ("gradient_x_input", "integrated_gradients", "rise", "scorecam", "lime", "kernel_shap"), "mean"
    )


def test_sweep_columns_are_one_of_each_name_in_order(manifest):
    columns = sweep_columns(metric_facts_of(manifest))
    assert [one.text for one in columns] == ["deletion", "pointing_game"]
    new = MetricFacts("mine", "mine", "higher", (0.0, 1.0), "other", {}, sweep_column=9)
    assert sweep_columns([new, *columns])[-1] is new


def test_older_explainers_are_swept_and_supplied_by_name(facts):
    assert swept_by(facts("occlusion", 16)) == ("patch_size", "stride")
    assert swept_by(facts("gradcam")) == ()
    assert swept_by(msgspec.structs.replace(facts("rise"), swept_by=("cells",))) == ("cells",)
    older_maps = msgspec.structs.replace(facts("maps"), parameters={"folder": "x"})
    assert (origin_of(older_maps), origin_of(facts("gradcam"))) == ("precomputed", "built-in")
    assert origin_of(msgspec.structs.replace(facts("mine"), origin="mine")) == "mine"


def test_a_variant_is_the_parameters_of_a_text():
    assert variant_of("deletion(steps=14, ties=raster)") == "steps=14, ties=raster"


def test_chance_is_declared_and_kept_in_the_manifest():
    known = {text: METRICS.build(text).spec.chance for text in METRICS.names()}
    assert {text: chance for text, chance in known.items() if chance is not None} == {
        "symmetric_relevance_gain": 0.0,
        "road": 0.0,
        "pixel_auc": 0.5,
        "grid_pointing_game": 0.25,
        "cue_pixel_auc": 0.5,
        "pointing_game": "uniform",
        "energy_pointing_game": "uniform",
        "relevance_mass_accuracy": "uniform",
        "relevance_rank_accuracy": "uniform",
        "pixel_average_precision": "uniform",
    }
    assert {text: facts_of_metric(METRICS.build(text)).chance for text in METRICS.names()} == known
    for chance in (0.5, "uniform", None):
        facts = MetricFacts("mod:Mine", "mod:Mine", "higher", (0.0, 1.0), "other", {}, chance=chance)
        stored = msgspec.json.decode(msgspec.json.encode(facts), type=MetricFacts)
        assert metric_of_facts(stored, steps=7).spec.chance == chance
