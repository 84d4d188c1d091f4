"""Names that every tracker takes: safe, stable, and different for different texts."""

from __future__ import annotations

import itertools
import re

import pytest

from evalkit.explainers.catalog import EXPLAINERS
from evalkit.integrations.names import OF_RUN, metric_name, safe_name
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.facts import facts_of_metric
from evalkit.store.manifest import MetricFacts

SAFE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

WORDS = (
    "a",
    "b_1",
    "b",
    "1",
    "0.5",
    "0_5",
    "a.b",
    "_a",
    "b_",
    "a__b",
    "tf_explain",
    "tf_explain.a",
    "tf_explain_a",
    "A",
)
FEW = ("a", "b", "b_1", "1", "a__b", "_")


def texts():
    """Yield every short text of the letters that matter, and specs of words that could be confused."""
    for length in range(5):
        yield from map("".join, itertools.product("a1_.(=, )A", repeat=length))
    yield from WORDS
    yield from itertools.starmap("{}({})".format, itertools.product(WORDS, repeat=2))
    yield from itertools.starmap("{}({}={})".format, itertools.product(WORDS, repeat=3))
    yield from itertools.starmap("{}({}={}, {}={})".format, itertools.product(FEW, repeat=5))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gradcam", "gradcam"),
        ("tf_explain.gradcam", "tf_explain_gradcam"),
        ("occlusion(patch_size=40)", "occlusion__patch_size__40"),
        ("occlusion(patch_size=40, stride=20)", "occlusion__patch_size__40__stride__20"),
        ("gradcam(layer=block5_conv3)", "gradcam__layer__block5_conv3"),
        ("smoothgrad(noise=0.15)", "smoothgrad__noise__0_15"),
        ("maps(my_folder)", "maps__my_folder"),
    ],
)
def test_ordinary_texts_stay_readable(text, name):
    assert safe_name(text) == name


@pytest.mark.parametrize("text", ["m:Mine(a=-1)", "gradcam(layer=Conv)", "maps(a b)", "tf_explain_gradcam", "1e-05"])
def test_other_texts_get_digits_of_their_sha256(text):
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*___[0-9a-f]{8}", safe_name(text))


def test_names_are_safe_and_different_without_case():
    every = set(texts())
    assert len(every) > 20_000
    names = {text: safe_name(text) for text in every}
    assert [name for name in names.values() if not SAFE.fullmatch(name) or len(name) > 100] == []
    plain = [name.casefold() for name in names.values() if "___" not in name]  # the others differ by their digits
    assert len(set(plain)) == len(plain) > 500
    marked = [name for name in names.values() if "___" in name]
    assert all(re.search("[^_]___[0-9a-f]{8}$", name) for name in marked)
    assert len(set(marked)) == len(marked)


def test_long_texts_have_short_names():
    long = [f"occlusion({'a' * 90}={number}, {'b' * 90}=1)" for number in range(2)]
    names = [safe_name(text) for text in long]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 80


def test_names_of_our_own_components_are_readable_and_different():
    assert all("___" not in safe_name(name) for name in EXPLAINERS.names())
    own = [METRICS.build(name) for name in METRICS.names()]
    names = [metric_name(facts_of_metric(metric)) for metric in own]
    assert all("___" not in name for name in names)
    assert len(set(names)) == len(names)
    assert OF_RUN not in names
    assert {"gain", "pointing", "deletion"} <= set(names)


def facts(text):
    return MetricFacts(text, text.partition("(")[0], "higher", (0, 1), "faithfulness", {})


def test_metrics_keep_their_parameters():
    assert metric_name(facts("symmetric_relevance_gain(steps=14)")) == "gain__steps__14"


@pytest.mark.parametrize("text", ["gain", "run", "gain(steps=14)"])
def test_a_metric_of_others_takes_no_name_of_ours(text):
    assert metric_name(facts(text)).startswith(f"{text.partition('(')[0]}")
    assert "___" in metric_name(facts(text))
