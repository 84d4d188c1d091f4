"""What holds for every metric, whatever it measures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.metrics.spec import DatasetMetric, MapMetric, PerturbationMetric, RegionMetric, Truth
from evalkit.models.classifier import Classifier
from evalkit.models.inference.perturbation import PhotoScores

SIDE = 16
METRIC = pytest.mark.parametrize("name", METRICS.names())
ON_THE_MAP = [name for name in METRICS.names() if not issubclass(METRICS.get(name), PerturbationMetric)]


def build(name):
    return METRICS.build(name, steps=6)


@pytest.fixture(scope="module")
def truth():
    region = np.zeros((SIDE, SIDE), dtype=bool)
    region[3:9, 5:13] = True
    return Truth(region, np.array([[5.0, 3, 13, 9]]), exact=True)


@pytest.fixture(scope="module")
def small():
    """A network of 16 x 16, and a photo for it."""
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.layers.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=6)),
        ]
    )
    photo = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return model, photo


@pytest.fixture
def score(small, truth):
    """Score a map by any metric; of dataset-level metrics, a set of this one photo."""

    def call(metric, saliency_map, batch_size=4):
        if isinstance(metric, MapMetric):
            return metric.score(saliency_map)
        if isinstance(metric, RegionMetric):
            return metric.score(saliency_map, truth)
        if isinstance(metric, DatasetMetric):
            return float(metric.aggregate(metric.statistics(saliency_map, truth)))
        classifier, photo = Classifier(small[0], batch_size=batch_size), small[1]
        clean = float(classifier.probabilities(photo[None])[0, 1])
        plan = metric.plan(saliency_map)
        return metric.integrate(plan, PhotoScores(classifier, photo, 1, clean).scores(plan), clean)

    return call


MAPS = arrays(
    np.float32,
    (SIDE, SIDE),
    elements=st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-100, 100, width=32)),
    fill=st.sampled_from([0.0, 1.0]),
)


def test_every_metric_stands_in_the_default_leaderboard():
    assert set(DEFAULT_METRICS) == set(METRICS.names())


@METRIC
def test_the_spec_says_who_the_metric_is(name):
    metric = build(name)
    spec = metric.spec
    assert metric.name == spec.name == name
    assert spec.version >= 1
    assert spec.direction in ("higher", "lower")
    assert spec.bounds[0] < spec.bounds[1]
    assert spec.summary
    assert spec.reference
    kinds = {
        MapMetric: "map",
        RegionMetric: "map+region",
        DatasetMetric: "map+region",
        PerturbationMetric: "perturbation",
    }
    assert [needs for kind, needs in kinds.items() if isinstance(metric, kind)] == [spec.needs]


@METRIC
def test_a_metric_is_pure_and_does_not_touch_its_map(name, score, rng):
    saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    saliency_map.setflags(write=False)
    assert score(build(name), saliency_map) == score(build(name), saliency_map.copy())


@METRIC
def test_a_constant_map_is_scored_alike_whatever_its_value(name, score):
    found = {score(build(name), np.full((SIDE, SIDE), value, dtype=np.float32)) for value in (0.0, 1.0, -2.5, 1e-30)}
    assert len(found) == 1
    assert np.isfinite(found.pop())


@pytest.mark.parametrize("name", ON_THE_MAP)
@given(saliency_map=MAPS)
@settings(max_examples=30, deadline=None)
def test_the_range_is_kept(name, truth, saliency_map):
    metric = build(name)
    if isinstance(metric, DatasetMetric):
        value = float(metric.aggregate(metric.statistics(saliency_map, truth)))
    else:
        value = metric.score(saliency_map) if isinstance(metric, MapMetric) else metric.score(saliency_map, truth)
    low, high = metric.spec.bounds
    assert low - 1e-12 <= value <= high + 1e-12 or (np.isnan(value) and metric.spec.nan_reason)


@METRIC
def test_the_scale_of_a_map_means_nothing(name, score, rng):
    saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    assert score(build(name), saliency_map * 1024) == pytest.approx(score(build(name), saliency_map), abs=1e-6)


@pytest.mark.parametrize("name", [name for name in METRICS.names() if name not in ON_THE_MAP])
def test_perturbation_metrics_keep_their_range_and_do_not_depend_on_the_batch(name, score, rng):
    metric = build(name)
    for _ in range(3):
        saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
        value = score(metric, saliency_map)
        assert metric.spec.bounds[0] <= value <= metric.spec.bounds[1]
        for batch_size in (1, 3, 64):
            assert score(metric, saliency_map, batch_size) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in ON_THE_MAP if METRICS.get(name).spec.needs == "map+region"])
def test_localization_prefers_the_object_to_its_surroundings(name, score, truth):
    metric = build(name)
    inside = truth.region.astype(np.float32)
    best, chance, worst = (score(metric, one) for one in (inside, np.ones_like(inside), 1 - inside))
    assert best == metric.spec.bounds[1]
    if name == "pointing_game":  # every pixel of this small photo is within 15 of the object
        assert chance == worst == 1.0
    elif name == "max_box_acc_v2":  # a hole has a contour too, so the code it follows finds the object in its absence
        assert chance < worst < best
    else:
        assert worst <= chance < best


@pytest.mark.parametrize("name", [name for name in ON_THE_MAP if METRICS.get(name).spec.needs == "map+region"])
def test_what_an_ignored_pixel_shows_means_nothing(name, truth, rng):
    metric, ignore = build(name), np.zeros((SIDE, SIDE), dtype=bool)
    ignore[9:, 4:] = ignore[0] = True
    ignoring = replace(truth, ignore=ignore)
    call = metric.statistics if isinstance(metric, DatasetMetric) else metric.score
    for _ in range(3):
        saliency_map = rng.random((SIDE, SIDE)).astype(np.float32)
        for shown in (0.0, 1e6, -1e6, rng.random((SIDE, SIDE)).astype(np.float32)):
            other = np.where(ignore, np.float32(shown), saliency_map)
            np.testing.assert_array_equal(call(other, ignoring), call(saliency_map, ignoring))
        nothing = replace(truth, ignore=np.zeros_like(ignore))
        np.testing.assert_array_equal(call(saliency_map, nothing), call(saliency_map, truth))


@pytest.mark.parametrize("name", ON_THE_MAP)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_not_scored(name, score, bad, rng):
    saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    saliency_map[3, 4] = bad
    assert np.isnan(score(build(name), saliency_map))


@METRIC
def test_every_metric_has_its_entry_in_the_documentation(name):
    text = (Path(__file__).resolve().parent.parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    heading = re.search(rf"^### .*\b{name} \(v(\d+)\)", text, flags=re.MULTILINE)
    assert heading
    assert int(heading[1]) == METRICS.get(name).spec.version
    for parameter, value in METRICS.build(name).parameters().items():
        assert f"`{parameter}={value:g}`" in text if isinstance(value, float) else f"`{parameter}={value}`" in text
