"""The substrates of curves: what was signed before stays as it was, and each substrate is what it says."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.harness.planning.cache_keys import metric_line
from evalkit.metrics.case import Case
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.facts import facts_of_metric, metric_of_facts
from evalkit.metrics.perturbation import Deletion, Insertion, SymmetricRelevanceGain, perturbation
from evalkit.metrics.requests import Blend, Masked, Perturbation, draws

DEFAULTS = {
    "deletion": "deletion|v:2|substrate:mean|steps:28|ties:levels|score:softmax|target:label",
    "insertion": "insertion|v:2|substrate:blur|steps:28|ties:levels|score:softmax|target:label",
    "symmetric_relevance_gain":
        "symmetric_relevance_gain|v:2|substrate:mean|steps:28|ties:levels|score:softmax|target:label",
}  # fmt: skip
OTHERS = [
    (name, substrate)
    for name, line in DEFAULTS.items()
    for substrate in ("mean", "blur", "road", "noise", "black")
    if f"substrate:{substrate}" not in line
]


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_keeps_text_signature_and_summary(name):
    metric = METRICS.build(name)
    usual = metric.substrate
    assert metric_line(metric, "label", 3) == DEFAULTS[name]
    assert METRICS.build(f"{name}(substrate={usual})") == metric
    assert (metric.text, metric.draws, metric.spec) == (name, False, type(metric).spec)
    assert metric_line(type(metric)(steps=14, score_kind="log_odds"), "label", 3) == (
        DEFAULTS[name].replace("28", "14").replace("score:softmax", "score:log_odds")
    )


@pytest.mark.parametrize(("name", "substrate"), OTHERS)
def test_another_substrate_is_in_text_and_signature(name, substrate):
    metric = METRICS.build(f"{name}(substrate={substrate})")
    usual = METRICS.get(name).substrate
    drawn = "|seed:3" if substrate in ("road", "noise") else ""
    assert metric.text == f"{name}(substrate={substrate})"
    assert metric_line(metric, "label", 3) == DEFAULTS[name].replace(f":{usual}", f":{substrate}") + drawn
    assert metric.draws == bool(drawn)
    assert not type(metric).draws
    assert metric.substrate == facts_of_metric(metric).substrate == substrate
    assert metric.spec.summary != type(metric).spec.summary
    assert metric_of_facts(facts_of_metric(metric), 28) == metric
    assert pickle.loads(pickle.dumps(metric)).draws == metric.draws  # noqa: S301 - our own


@pytest.mark.parametrize(("name", "substrate"), OTHERS)
def test_curves_run_between_the_photo_and_the_substrate(name, substrate, rng):
    metric = METRICS.build(f"{name}(substrate={substrate})", steps=4)
    case = Case("image", np.zeros((4, 4, 3), np.uint8), (0,), np.array([0.9, 0.1]), 0.9, seed=3)
    ends = [(one.start, one.end) for one in metric.requests(rng.random((4, 4)), case)]
    toward, away = ("image", substrate), (substrate, "image")
    assert ends == {"deletion": [toward], "insertion": [away], "symmetric_relevance_gain": [away, toward]}[name]


def test_insertion_from_the_mean_color_is_half_of_the_gain(ask, rng):
    image, saliency_map, weights = np.ones((3, 4, 3)), rng.random((3, 4)), rng.random((3, 4))

    def model(shown):
        return float((weights * shown.mean(axis=-1)).sum() / 12) ** 2

    inserted, deleted, gain = (
        ask(metric, model, image, saliency_map, mean=(0.0, 0.0, 0.0), blur=image * 0.5)
        for metric in (Insertion(steps=6, substrate="mean"), Deletion(steps=6), SymmetricRelevanceGain(steps=6))
    )
    assert inserted - deleted == gain
    blurred = ask(
        SymmetricRelevanceGain(substrate="blur"), model, image, saliency_map, mean=(0, 0, 0), blur=image * 0.5
    )
    assert 0 < abs(blurred) < abs(gain)


def test_summaries_name_the_substrate():
    assert Deletion(substrate="black").spec.summary.endswith("while the most relevant pixels turn into black")
    assert "imputed from the pixels that are left" in SymmetricRelevanceGain(substrate="road").spec.summary
    assert Insertion(substrate="noise", score_kind="log_odds").spec.summary.endswith("in uniform noise, in log-odds")


@pytest.mark.parametrize("given", ["gray", "image", 3])
def test_a_substrate_that_does_not_exist(given):
    with pytest.raises(
        ConfigError, match=f"substrate={given} is not allowed; it takes mean or blur or road or noise or"
    ):
        METRICS.build(f"deletion(substrate={given})")
    with pytest.raises(ConfigError, match=f"substrate={given} is not allowed"):
        Deletion(substrate=given)


def test_substrates_in_one_run_share_passes(run_photos, tiny, photos):
    found = tiny.probabilities(photos).argmax(axis=1)
    gain = "symmetric_relevance_gain(substrate=road)"
    alone, shared = (
        run_photos("random", metrics, labels=found) for metrics in (gain, f"{gain},deletion(substrate=road)")
    )
    assert [one.forward_passes for one in shared] == [one.forward_passes for one in alone]
    for first, second in zip(alone, shared, strict=True):
        values = {cell.metric: cell.value for cell in second.cells}
        assert [values[cell.metric] for cell in first.cells] == [cell.value for cell in first.cells]


def test_drawn_substrates_depend_on_the_seed_and_others_do_not(score_photos, tiny, photos):
    found = tiny.probabilities(photos).argmax(axis=1)
    metrics = [f"deletion(substrate={substrate})" for substrate in ("road", "noise", "black", "blur")]
    first, again, other = (score_photos("edges", ",".join(metrics), labels=found, seed=seed)[0] for seed in (0, 0, 1))
    assert first == again
    changed = {metric for metric in metrics if first["edges", metric] != other["edges", metric]}
    assert changed == set(metrics[:2])


class Undeclared(Deletion):
    """Requests a drawn substrate without saying so, so that its signature lacks the seed."""

    def requests(self, saliency_map, case):
        return [perturbation(saliency_map, "image", "noise", 4, "levels")]


def test_a_metric_that_hides_what_is_drawn_is_not_scored(run_photos, tiny, photos):
    found = tiny.probabilities(photos).argmax(axis=1)
    (cell,) = run_photos("edges", [Undeclared()], labels=found)[0].cells
    assert cell.value is None
    assert "must declare draws = True" in cell.reason


def test_requests_say_whether_they_are_drawn():
    rank, cuts, cells = np.arange(4).reshape(2, 2), np.array([0, 4]), np.ones((1, 2, 2), dtype=bool)
    assert draws(Perturbation("image", "road", rank, cuts))
    assert draws(Perturbation("noise", "image", rank, cuts))
    assert draws(Masked(cells, "noise"))
    assert not draws(Perturbation("image", "mean", rank, cuts))
    assert not draws(Masked(cells))
    assert not draws(Blend("image", "blur", np.ones((2, 2))))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_black_boxes_of_any_shape_see_at_most_a_batch(score_photos, channels, rng):
    from evalkit.models.blackbox import BlackBox
    from evalkit.models.classifier import Classifier
    from evalkit.models.heads import Head

    sizes = []

    def logits(images):
        sizes.append(len(images))
        bright = images.astype(np.float64).mean(axis=(1, 2, 3)) / 50
        return np.stack([bright, 2 - bright], axis=1)

    box = Classifier(
        BlackBox(logits, (12, 20), channels), head=Head("softmax", 2, ending=False), mean_color=(90.0,) * channels,
        batch_size=4,
    )  # fmt: skip
    pixels = rng.integers(90, 256, (2, 12, 20, channels), dtype=np.uint8)
    curves = [f"{name}(substrate={substrate}, steps=5)" for name, substrate in OTHERS]
    sizes.clear()  # of the probe
    found = score_photos("edges,uniform", ",".join(["road", *curves]), classifier=box, pixels=pixels)
    assert max(sizes) <= 4
    for one in found:
        assert all(np.isfinite(value) for value in one.values())
        assert one["uniform", "road"] == 0.0
        assert -0.5 <= one["edges", "road"] <= 0.5
