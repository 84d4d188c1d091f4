"""MPRT bottom-up and eMPRT: values by hand, slow twins, and what the engine makes of them."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.reinitialized import BINS, Emprt, Mprt, cascade_of, histogram_entropy, stage_layers
from evalkit.metrics.requests import Variant
from evalkit.models.classifier import Classifier

from . import twins
from .test_randomization import ByModel, by, case_of, maps_of

REASON = "a map is constant or not finite"


def layered(n_layers, **more):
    return replace(case_of(**more), n_layers=n_layers)


@pytest.mark.parametrize(
    ("n_layers", "stages", "expected"),
    [
        (1, 8, (1,)),
        (3, 8, (1, 2, 3)),
        (8, 8, tuple(range(1, 9))),
        (16, 8, tuple(range(2, 17, 2))),
        (21, 4, (5, 11, 16, 21)),  # 5.25, 10.5, 15.75, 21
        (107, 1, (107,)),
        (0, 8, (0,)),  # refused by the model, in its words
    ],
)
def test_stages_are_spread_evenly_and_end_with_all(n_layers, stages, expected):
    assert stage_layers(n_layers, stages) == expected


def test_entropy_by_hand():
    # Two of eight pixels at the top, the rest at the bottom: -(1/4 log 1/4 + 3/4 log 3/4).
    two = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert histogram_entropy(two) == pytest.approx(expected, abs=1e-12)
    # One pixel in each of the 100 bins.
    assert histogram_entropy(np.arange(100.0).reshape(10, 10)) == pytest.approx(math.log(BINS), abs=1e-12)
    # The bins span the map's own range, and the sign counts: scale and offset mean nothing.
    assert histogram_entropy(-5 * two + 3) == pytest.approx(expected, abs=1e-12)
    assert histogram_entropy(np.array([[-1.0, 0.0, 1.0]])) == pytest.approx(math.log(3), abs=1e-12)


@pytest.mark.parametrize("kind", ["flat", "nearly flat", "zero", "not finite"])
def test_entropy_of_a_constant_map_is_undefined(kind, rng):
    assert np.isnan(histogram_entropy(maps_of(rng)[kind]))


def entropy_twin(saliency_map):
    """The entropy counted bin by bin."""
    values = [float(value) for value in np.asarray(saliency_map, dtype=np.float64).ravel()]
    low, high = min(values), max(values)
    edges = np.linspace(low, high, 101)
    total = 0.0
    for number in range(100):
        last = number == 99
        count = sum(edges[number] <= value < edges[number + 1] or (last and value == high) for value in values)
        total -= count / len(values) * math.log(count / len(values)) if count else 0.0
    return total


@pytest.mark.parametrize("kind", ["noise", "float32", "heavy tails", "sparse", "levels", "one pixel"])
def test_entropy_agrees_with_its_twin(kind, rng):
    saliency_map = maps_of(rng, (7, 9))[kind]
    assert histogram_entropy(saliency_map) == pytest.approx(entropy_twin(saliency_map), abs=1e-9)


def test_emprt_by_hand():
    two = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    half = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    own, risen = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), math.log(2)
    metric = Emprt(draws_per_map=3)
    found = metric.score(two, layered(2), [half, two, np.ones((2, 4))])
    assert found == pytest.approx((risen - own) / own / 2, abs=1e-12)  # the constant map is left out
    assert np.isnan(metric.score(two, layered(2), [np.ones((2, 4))] * 3))
    assert np.isnan(metric.score(np.ones((2, 4)), layered(2), [half] * 3))


def cascade_twin(saliency_map, by_seed):
    """Means over seeds of rank correlations, each counted pixel by pixel."""
    rows = [[], [], []]
    for stage in range(len(by_seed[0])):
        maps = [maps[stage] for maps in by_seed]
        with_own = [twins.rank_correlation(saliency_map, one) for one in maps]
        with_last = [twins.rank_correlation(maps[-1], one) for maps, one in zip(by_seed, maps, strict=True)]
        for row, numbers in zip(rows, (with_own, with_last), strict=False):
            known = [number for number in numbers if not math.isnan(number)]
            row.append(sum(known) / len(known) if known else math.nan)
        rows[2].append(sum(not twins.is_finite(one) or bool(twins.is_constant(one)) for one in maps) / len(maps))
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_cascade_agrees_with_its_twin(seed):
    rng = np.random.default_rng(seed)
    own = maps_of(rng, (6, 7))["levels"]
    kinds = ["noise", "levels", "zero", "nearly tied", "not finite", "sparse", "float32", "heavy tails", "one pixel"]
    maps = [maps_of(np.random.default_rng(50 + seed), (6, 7))[kind] for kind in kinds]
    by_seed = [maps[:3], maps[3:6], maps[6:]]
    np.testing.assert_allclose(cascade_of(own, by_seed), cascade_twin(own, by_seed), atol=1e-9)
    answers = [one for maps in by_seed for one in maps]
    metric = Mprt(draws_per_map=3)
    expected = np.mean(cascade_twin(own, by_seed)[0])
    assert metric.score(own, layered(3), answers) == pytest.approx(expected, abs=1e-9)
    layers, numbers = metric.kept_curve(own, layered(3), answers)
    assert layers.tolist() == [1, 2, 3] * 3
    np.testing.assert_allclose(numbers.reshape(3, 3), cascade_twin(own, by_seed), atol=1e-9)


def test_extremes():
    ramp = np.arange(20.0).reshape(4, 5)
    for changed, expected in ((ramp, 1.0), (ramp**3, 1.0), (-ramp, -1.0)):
        cascade = cascade_of(ramp, [[changed] * 4] * 2)
        np.testing.assert_allclose(cascade, [[expected] * 4, [1.0] * 4, [0.0] * 4], atol=1e-12)
    nothing = cascade_of(ramp, [[ramp, np.zeros((4, 5))]])
    np.testing.assert_allclose(nothing, [[1.0, np.nan], [np.nan, np.nan], [0.0, 1.0]])
    metric = Mprt(draws_per_map=1)
    assert np.isnan(metric.score(ramp, layered(2), [ramp, np.zeros((4, 5))]))  # a stage without any map to compare
    assert np.isnan(metric.score(np.zeros((4, 5)), layered(2), [ramp, ramp]))


def test_a_seed_whose_map_is_constant_is_left_out():
    ramp = np.arange(20.0).reshape(4, 5)
    metric = Mprt(draws_per_map=2)
    answers = [ramp, np.zeros((4, 5)), -ramp, -ramp]  # two stages of the first seed, then of the second
    assert metric.score(ramp, layered(2), answers) == pytest.approx((0 - 1) / 2, abs=1e-12)
    np.testing.assert_allclose(metric.kept_curve(ramp, layered(2), answers)[1], [0, -1, 1, 1, 0, 0.5], atol=1e-12)


def test_requests_go_stage_by_stage_for_each_seed():
    metric = Mprt(draws_per_map=2, stages=2)
    first, second = metric.variant_seeds(layered(5))
    requested = [request.variant for request in metric.requests(np.ones((9, 9)), layered(5))]
    assert requested == [Variant("first", seed, count) for seed in (first, second) for count in (3, 5)]
    assert metric.variant_seeds(layered(5, content=b"other photo", target=(2,))) == [first, second]
    assert not set(metric.variant_seeds(layered(5, seed=4))) & {first, second}
    # The models of eMPRT are those of the last stage.
    last = [request.variant for request in Emprt(draws_per_map=2).requests(np.ones((9, 9)), layered(5))]
    assert last == requested[1::2]


@pytest.mark.parametrize(
    ("answer", "mprt", "emprt"),
    [
        (lambda ramp: ramp, pytest.approx(1.0, abs=1e-12), pytest.approx(0.0, abs=1e-12)),
        (lambda ramp: -ramp, pytest.approx(-1.0, abs=1e-12), pytest.approx(0.0, abs=1e-9)),
        (lambda ramp: 0 * ramp, REASON, REASON),
        (lambda ramp: ramp * np.nan, REASON, REASON),
    ],
)
def test_extremes_by_the_engine(answer, mprt, emprt, score_photos, tiny, photos):
    explainer = by(ByModel, answer, base=tiny)
    cells = score_photos([explainer], "mprt, emprt", pixels=photos[:1])[0]
    assert cells["ByModel", "mprt"] == mprt
    assert cells["ByModel", "emprt"] == emprt
    assert len(explainer.seen) == 1 + 3 * min(8, tiny.n_layers)  # eMPRT needs no map of its own


def test_gradcam_agrees_with_maps_of_fresh_models(score_photos, tiny, tiny_model, photos):
    """Each changed model is built anew, and its maps are compared by the twins."""
    metric, explainer = Mprt(draws_per_map=2), EXPLAINERS.build("gradient")
    seeds, layers = metric.variant_seeds(layered(tiny.n_layers, seed=6)), stage_layers(tiny.n_layers, 8)
    found = score_photos("gradient, edges", "mprt(draws_per_map=2), emprt(draws_per_map=2)", seed=6, labels=[1] * 4)
    changed = {}  # (seed, layers): maps of both photos
    for seed, count in itertools.product(seeds, layers):
        copy = keras.models.clone_model(tiny_model)
        copy.set_weights(tiny.variant(Variant("first", seed, count)).model.get_weights())
        fresh = Classifier(copy, head=tiny.head)
        changed[seed, count] = explainer.explain(fresh, photos[:2], [1, 1]).astype(np.float32)
    for number, cells in enumerate(found[:2]):
        own = explainer.explain(tiny, photos[number : number + 1], [1])[0].astype(np.float32)
        by_seed = [[changed[seed, count][number] for count in layers] for seed in seeds]
        expected = np.mean(cascade_of(own, by_seed)[0])
        assert cells["gradient", "mprt(draws_per_map=2)"] == pytest.approx(expected, abs=1e-5)
        assert cells["edges", "mprt(draws_per_map=2)"] == pytest.approx(1.0, abs=1e-12)
        risen = [(entropy_twin(maps[-1]) - entropy_twin(own)) / entropy_twin(own) for maps in by_seed]
        assert cells["gradient", "emprt(draws_per_map=2)"] == pytest.approx(np.mean(risen), abs=1e-3)
        assert cells["edges", "emprt(draws_per_map=2)"] == 0.0


def test_scores_do_not_depend_on_the_other_metrics_and_explainers(score_photos, photos):
    plain = score_photos("gradcam", "mprt, emprt", pixels=photos[:2])
    others = score_photos("gradient, gradcam, hirescam, occlusion(patch_size=16)",
                          "mprt(stages=2), emprt, mprt(layers=output), mprt, deletion", pixels=photos[:2])  # fmt: skip
    for before, after in zip(plain, others, strict=True):
        assert all(before["gradcam", metric] == after["gradcam", metric] for metric in ("mprt", "emprt"))


def test_maps_of_one_changed_model_share_their_passes(run_photos, photos, counting):
    outcome = run_photos("gradcam, hirescam, layercam", "mprt(draws_per_map=1)", classifier=counting.classifier,
                         pixels=photos[:1])[0]  # fmt: skip
    stages = counting.classifier.n_layers
    assert outcome.backward_passes == counting.counts["backward"].numpy() == 1 + stages


def test_model_without_weights_is_refused_in_words(run_photos, photos):
    layers = [keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Softmax()]
    classifier = Classifier(keras.Sequential(layers, name="bare"))
    outcome = run_photos("edges", "mprt, emprt", classifier=classifier, pixels=photos[:1])[0]
    assert {cell.reason for cell in outcome.cells} == {
        "model 'bare' has no layer with weights; leave out mprt and emprt"
    }
    assert not any(cell.failed for cell in outcome.cells)


def test_weights_that_cannot_be_made_cost_these_scores_alone(run_photos, photos, tiny_model, monkeypatch):
    def fail(_self, _variant):
        raise MemoryError("no room")

    monkeypatch.setattr("evalkit.models.keras.variant.ChangedWeights.apply", fail)
    outcome = run_photos("edges", "mprt, sparseness", classifier=Classifier(tiny_model), pixels=photos[:1])[0]
    mprt, sparseness = outcome.cells
    assert mprt.failed
    assert "a changed copy of the model" in mprt.reason
    assert sparseness.value is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mprt(stages=0)", r"mprt: stages=0 is not allowed; 1 to 100"),
        ("mprt(stages=101)", r"mprt: stages=101 is not allowed; 1 to 100"),
        ("mprt(draws_per_map=0)", r"mprt: draws_per_map=0 is not allowed; 1 to 10"),
        ("emprt(draws_per_map=11)", r"emprt: draws_per_map=11 is not allowed; 1 to 10"),
        ("mprt(layers=top_down)", "layers"),
    ],
)
def test_parameters_that_are_not_allowed_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        METRICS.build(text)
