"""The note on explainers that replace pixels with a metric's own substrate: in every format, from what a run stores."""

from __future__ import annotations

import json

import msgspec
import pytest

import evalkit as package
from evalkit.analysis.facts import metric_facts_of
from evalkit.metrics.catalog import DEFAULT_METRICS
from evalkit.report import render
from evalkit.store.manifest import Manifest

from .conftest import explainer, made_up, scored

BLUR = "occlusion(patch_size=16, fill=blur)"
NOTE = f"insertion may favor {BLUR}: it replaces pixels with the metric's own substrate, the blurred photo."
METRICS_OF_MEAN = ["symmetric_relevance_gain", "deletion", "average_drop", "increase_in_confidence"]


def filled(*fills, sizes=(16,)):
    """Describe a run of occlusion with these fills, and a control."""
    return made_up(
        [
            msgspec.structs.replace(explainer(f"occlusion(patch_size={size}, fill={fill})"), substrate=fill)
            for fill in fills
            for size in sizes
        ]
        + [explainer("random", control=True)],
        (*DEFAULT_METRICS, *METRICS_OF_MEAN[2:]),
    )


def rendered(manifest, form):
    return render(manifest, scored(manifest), form, width=200, wide=False, color=False)


def shown(manifest, form):
    return " ".join(rendered(manifest, form).replace("\\", "").split())


def listed(manifest):
    return json.loads(rendered(manifest, "json"))["same_substrate"]


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_note_names_the_explainer_whose_fill_is_the_substrate(form):
    text = shown(filled("black", "blur"), form)
    assert text.count(NOTE) == 1
    assert text.count("may favor") == 1
    assert "may favor" not in shown(filled("black", "gray"), form)


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_one_note_for_each_metric_however_many_explainers(form):
    text = shown(filled("mean", sizes=(8, 16, 24, 32, 40)), form)
    named = ", ".join(f"occlusion(patch_size={size}, fill=mean)" for size in (8, 16, 24))
    for metric in METRICS_OF_MEAN:
        line = f"{metric} may favor {named} and 2 more: they replace pixels with the metric's own substrate, the mean"
        assert text.count(line) == 1
    assert text.count("may favor") == len(METRICS_OF_MEAN)


def test_json_lists_them_by_metric():
    assert listed(filled("black", "blur")) == {"insertion": [BLUR]}
    assert listed(filled("black")) == {}


def test_manifests_without_the_facts_are_shown_without_the_note():
    stored = msgspec.to_builtins(filled("blur"))
    for one in stored["explainers"]:
        del one["substrate"]
    older = msgspec.convert(stored, Manifest)
    assert "may favor" not in shown(older, "table")
    assert listed(older) == {}


def test_a_substrate_of_another_module_is_named_as_it_is():
    manifest = filled("noise")
    facts = [
        msgspec.structs.replace(one, substrate="noise" if one.text == "deletion" else one.substrate)
        for one in metric_facts_of(manifest)
    ]
    text = shown(msgspec.structs.replace(manifest, metric_facts=tuple(facts)), "table")
    assert "deletion may favor occlusion(patch_size=16, fill=noise): it replaces" in text
    assert "the metric's own substrate, noise." in text


@pytest.mark.parametrize("fill", ["black", "blur"])
def test_a_run_stores_what_the_note_needs(fill, tiny_model, images, tmp_path):
    explainer_text = f"occlusion(patch_size=16, fill={fill})"
    run = package.evaluate(
        tiny_model, images, explainers=[explainer_text, "random"], metrics=["insertion", "insertion(score=log_odds)"],
        steps=2, target="predicted", progress=False, output=tmp_path / "run",
    )  # fmt: skip
    stored = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert [one["substrate"] for one in stored["explainers"]] == [fill, ""]
    assert [one["substrate"] for one in stored["metric_facts"]] == ["blur", "blur"]
    page = run.report(images=images).read_text(encoding="utf-8")
    assert page.count(f"may favor {explainer_text}: it replaces pixels") == (2 if fill == "blur" else 0)
    assert "Where the axis shows log-odds" in page
    assert "log-odds of the class" in page
