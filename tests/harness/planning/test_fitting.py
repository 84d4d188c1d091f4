"""Alternatives and sets of explainers: what a spec stands for, and what is left out."""

from __future__ import annotations

import pytest

from evalkit.core.errors import ConfigError, ModelError
from evalkit.explainers.catalog import EXPLAINERS, FAMILIES, SETS, expand, expand_listed, names_in
from evalkit.harness.planning.fitting import fitting
from evalkit.metrics.catalog import METRICS


def texts(given, said=None):
    return [one.text for one in expand(given, [16, 32], 0, say=(said if said is not None else []).append)]


def test_alternatives_stand_for_one_explainer_each():
    assert texts("gradcam(layer=a|b/c|d)") == ["gradcam(layer=a)", "gradcam(layer=b/c)", "gradcam(layer=d)"]


def test_several_parameters_with_alternatives_are_combined():
    assert texts("occlusion(patch_size=16|32, fill=black|blur)") == [
        "occlusion(patch_size=16)",
        "occlusion(patch_size=16, fill=blur)",
        "occlusion(patch_size=32)",
        "occlusion(patch_size=32, fill=blur)",
    ]


def test_alternatives_of_another_parameter_still_take_the_patch_sizes():
    assert texts("occlusion(fill=mean|gray)") == [
        f"occlusion(patch_size={size}, fill={fill})" for fill in ("mean", "gray") for size in (16, 32)
    ]


def test_plus_in_a_layer_is_no_alternative():
    assert texts("gradcam(layer=a+b|c)") == ["gradcam(layer=a+b)", "gradcam(layer=c)"]


def test_equal_alternatives_are_one_explainer():
    assert texts("occlusion(patch_size=16|16)") == ["occlusion(patch_size=16)"]


def test_alternative_that_is_not_allowed_is_left_out():
    said = []
    assert texts("occlusion(patch_size=0|16)", said) == ["occlusion(patch_size=16)"]
    assert said == ["left out: occlusion: patch_size=0 is not allowed; at least 1 pixel"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("occlusion(patch_size=0|-1)", "patch_size=0 is not allowed"),
        ("occlusion(patch_size=16|)", "neither a number nor a word"),
        ("occlusion(patchsize=16|32)", "has no parameter 'patchsize'"),
        ("gradcam(layer=a, layer=b|c)", "layer is given twice"),
    ],
)
def test_spec_with_no_possible_alternative_is_refused(spec, message):
    with pytest.raises(ConfigError, match=message):
        texts(spec)


def test_metrics_take_no_alternatives():
    with pytest.raises(ConfigError, match=r"steps=14\|28 names several values .* list the metric once for each"):
        METRICS.build("deletion(steps=14|28)")


def test_alternative_that_the_model_lacks_is_left_out(tiny):
    said = []
    listed = expand_listed("gradcam(layer=conv_b|nope), edges", None, 0)
    kept = fitting(listed, tiny, {"gradcam", "edges"}, sized=False, say=said.append)
    assert [one.text for one in kept] == ["gradcam(layer=conv_b)", "edges"]
    assert len(said) == 1
    assert said[0].startswith("left out: gradcam(layer=nope): model 'tiny' has no layer 'nope'")


def test_no_alternative_fits_the_model(tiny):
    listed = expand_listed("gradcam(layer=nope|neither), edges", None, 0)
    with pytest.raises(ModelError, match="has no layer 'nope'"):
        fitting(listed, tiny, {"gradcam", "edges"}, sized=False, say=lambda _: None)


def test_explainer_named_itself_is_refused(tiny):
    with pytest.raises(ModelError, match="has no layer 'nope'"):
        fitting(expand_listed("gradcam(layer=nope), edges", None, 0), tiny, {"gradcam"}, sized=False, say=print)


@pytest.mark.parametrize("word", [*FAMILIES])
def test_families_are_sets(word):
    assert [EXPLAINERS.get(name).family for name in FAMILIES[word]] == [word] * len(FAMILIES[word])
    if word != "masks":  # occlusion is expanded over the patch sizes
        assert texts(word) == [EXPLAINERS.build(name).text for name in FAMILIES[word]]


def test_every_built_in_explainer_is_in_one_family():
    members = [name for names in FAMILIES.values() for name in names]
    assert sorted(members) == sorted(EXPLAINERS.names())


def test_words_are_not_names():
    assert names_in("default, cams, gradcam(layer=a|b), all") == {"gradcam"}
    assert not set(SETS) & set(EXPLAINERS.names())


def test_sets_together_name_no_explainer_twice():
    assert len(texts("default, cams, tf_explain")) == len(set(texts("default, cams, tf_explain")))
