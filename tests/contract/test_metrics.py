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

from evalkit.datasets.image import LabelledImage
from evalkit.explainers.cam import GradCam
from evalkit.harness.engine.answers import Answers
from evalkit.metrics.case import Case, Cue, Partner, Region
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.requirements import needs_of
from evalkit.models.classifier import Classifier

SIDE = 16
CURVES = ("deletion", "insertion", "symmetric_relevance_gain")
SUBSTRATES = [
    METRICS.build(f"{name}(substrate={substrate})").text
    for name in CURVES
    for substrate in ("mean", "blur", "road", "noise", "black")
]
LOG_ODDS = [f"{name}(score=log_odds)" for name in (*CURVES, "road")]
VARIANTS = [*LOG_ODDS, "deletion(score=log_odds, substrate=road)", *(text for text in SUBSTRATES if "(" in text)]
TEXTS = [*METRICS.names(), *VARIANTS]
METRIC = pytest.mark.parametrize("name", TEXTS)


def build(name):
    return METRICS.build(name, steps=6)


NEEDS = {name: needs_of(build(name)) for name in TEXTS}
LOCALIZATION = [name for name, needs in NEEDS.items() if needs == ("region",)]
MAP_ONLY = [name for name, needs in NEEDS.items() if needs in ((), ("region",))]
WITH_MODEL = [name for name in TEXTS if name not in MAP_ONLY]
NOT_OF_CONSTANT_MAPS = ("average_drop", "increase_in_confidence", "mu_fidelity", "sensitivity_n", "saco")
OF_OTHER_MAPS = [name for name, needs in NEEDS.items() if set(needs) & {"maps", "models"}]


@pytest.fixture(scope="module")
def region():
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[3:9, 5:13] = True
    return Region(mask, np.array([[5.0, 3, 13, 9]]), exact=True)


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


@pytest.fixture(scope="module")
def classifiers(small):
    """One classifier for each batch size."""
    return {batch_size: Classifier(small[0], batch_size=batch_size) for batch_size in (1, 3, 4, 64)}


def case_of(metric, classifier, photo, region):
    scores = classifier.probabilities(photo[None])[0]
    seed = 3 if metric.draws else None
    partners = tuple(Partner(f"other{number}", photo[::-1], 1.0) for number in range(metric.n_partners))
    cue, around = np.zeros((SIDE, SIDE), dtype=bool), np.ones((SIDE, SIDE), dtype=bool)
    cue[:3, :3] = True
    around[:9, :13] = False
    without, without_object, target = photo.copy(), photo.copy(), 1
    without[:3, :3] = without_object[3:9, 5:13] = 0
    if metric.name == "cue_missed":  # scored only where the target's score falls without the cue
        without, target = np.full_like(photo, 128), 2
    clean = 1.0 if partners else float(scores[target])  # of a model that is sure of its class
    return Case(
        "photo",
        photo,
        (target,),
        scores,
        clean,
        region=region,
        cue=Cue(cue, around, without, without_object, output=2, agrees=False),
        seed=seed,
        content=b"photo",
        partners=partners,
        n_layers=classifier.n_layers,
    )


@pytest.fixture
def score(small, region, classifiers):
    """Score a map by any metric through the engine; of set-level metrics, a set of this one photo."""

    def call(metric, saliency_map, batch_size=4, region=region):
        classifier, photo = classifiers[batch_size], small[1]
        case = case_of(metric, classifier, photo, region)
        image = LabelledImage("photo", photo, 1, "")
        requests = metric.requests(saliency_map, case)
        engine = Answers(classifier, image, (1,), classifier.logits(photo[None])[0], lambda _images: None)
        answers = engine.answer([(GradCam(), request) for request in requests])
        found = metric.score(saliency_map, case, answers)
        return float(metric.aggregate(found)) if metric.set_level else found

    return call


MAPS = arrays(
    np.float32,
    (SIDE, SIDE),
    elements=st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-100, 100, width=32)),
    fill=st.sampled_from([0.0, 1.0]),
)


@METRIC
def test_spec_is_complete(name):
    metric = build(name)
    spec = metric.spec
    assert metric.name == spec.name == metric.spec_name() == name.partition("(")[0]
    assert metric.text == name
    assert spec.version >= 1
    assert spec.direction in ("higher", "lower")
    assert spec.bounds[0] < spec.bounds[1]
    assert spec.summary
    assert spec.reference


@METRIC
def test_needs_a_region_or_says_why(name, small, classifiers, region):
    metric = build(name)
    case = case_of(metric, classifiers[4], small[1], None)
    assert (metric.unscored_reason(case) == "no region") == ("region" in NEEDS[name])
    assert metric.unscored_reason(replace(case, region=region)) is None
    boxes_only = replace(region, exact=False)
    assert metric.unscored_reason(replace(case, region=boxes_only)) in (None, "only boxes, no exact mask")


@METRIC
def test_a_map_that_varies_can_be_scored(name, rng):
    assert build(name).unscored_map_reason(rng.normal(size=(SIDE, SIDE)).astype(np.float32)) is None


@METRIC
def test_random_numbers_are_declared(name, small, classifiers, region, rng):
    metric = build(name)
    case = replace(case_of(metric, classifiers[4], small[1], region), seed=None)
    saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    if metric.draws:
        with pytest.raises(TypeError, match="draws = True"):
            metric.requests(saliency_map, case)
    else:
        metric.requests(saliency_map, case)


def image_count(request):
    """Return the images of a request that is no curve; 0 of a curve or a map."""
    return len(request.hidden) if request.kind == "masked" else int(request.kind in ("blend", "shown"))


@METRIC
def test_cost_is_an_upper_bound(name, small, classifiers, region, rng):
    metric = build(name)
    case = case_of(metric, classifiers[4], small[1], region)
    saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    requests = metric.requests(saliency_map, case)
    maps = sum(request.kind in ("explain", "explain with") for request in requests)
    curves = [request for request in requests if request.kind == "perturbation"]
    inside = sum(int(((one.cuts > 0) & (one.cuts < one.rank.size)).sum()) for one in curves)
    own = [image_count(request) for request in requests]
    others = metric.requests(rng.normal(size=(SIDE, SIDE)).astype(np.float32), case)
    shared = [count for count, one, other in zip(own, requests, others, strict=True) if count and one.key == other.key]
    # The stages of a cascade are fewer where the model has fewer layers.
    assert maps == metric.cost().maps or (name == "mprt" and maps == 2 * metric.draws_per_map <= metric.cost().maps)
    assert metric.cost().shared_images == sum(shared) + metric.n_partners
    images = inside + sum(own) - sum(shared)
    assert images <= metric.cost().images <= images + 1 + len(curves)


@METRIC
def test_a_metric_is_pure_and_does_not_touch_its_map(name, score, rng):
    saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    saliency_map.setflags(write=False)
    assert score(build(name), saliency_map) == score(build(name), saliency_map.copy())


@pytest.mark.parametrize("name", [name for name in METRICS.names() if name not in OF_OTHER_MAPS])
def test_a_constant_map_is_treated_alike_whatever_its_value(name, score):
    metric = build(name)
    maps = [np.full((SIDE, SIDE), value, dtype=np.float32) for value in (0.0, 1.0, -2.5, 1e-30)]
    found = [score(metric, constant) for constant in maps]
    if name == "infidelity":  # a map of zeros predicts nothing, and the scale of another one does not matter
        assert np.isnan(found[0])
        assert found[1:] == pytest.approx([found[1]] * 3, rel=1e-6)
    elif name in NOT_OF_CONSTANT_MAPS:
        assert np.isnan(found).all()
        assert {metric.unscored_map_reason(constant) for constant in maps} == {"the map is constant"}
    else:
        assert np.isfinite(found).all()
        assert len(set(found)) == 1
        assert {metric.unscored_map_reason(constant) for constant in maps} == {None}


@pytest.mark.parametrize("name", MAP_ONLY)
@given(saliency_map=MAPS)
@settings(max_examples=30, deadline=None)
def test_the_range_is_kept(name, region, saliency_map):
    metric = build(name)
    case = Case("photo", np.zeros((SIDE, SIDE, 3), np.uint8), (1,), np.array([0.5, 0.5]), 0.5, region=region)
    value = metric.score(saliency_map, case, ())
    value = float(metric.aggregate(value)) if metric.set_level else value
    low, high = metric.spec.bounds
    assert low - 1e-12 <= value <= high + 1e-12 or (np.isnan(value) and metric.spec.nan_reason)


@pytest.mark.parametrize("name", [name for name in TEXTS if name not in OF_OTHER_MAPS])
def test_the_scale_of_a_map_means_nothing(name, score, rng):
    saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    assert score(build(name), saliency_map * 1024) == pytest.approx(score(build(name), saliency_map), abs=1e-6)


@pytest.mark.parametrize("name", WITH_MODEL)
def test_model_metrics_keep_their_range_in_any_batch_size(name, score, rng):
    metric = build(name)
    for _ in range(3):
        saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
        value = score(metric, saliency_map)
        assert metric.spec.bounds[0] <= value <= metric.spec.bounds[1]
        for batch_size in (1, 3, 64):
            assert score(metric, saliency_map, batch_size) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", LOCALIZATION)
def test_localization_prefers_the_object_to_its_surroundings(name, score, region):
    metric = build(name)
    inside = region.mask.astype(np.float32)
    best, chance, worst = (score(metric, one) for one in (inside, np.ones_like(inside), 1 - inside))
    assert best == metric.spec.bounds[1]
    if name == "pointing_game":  # every pixel of this small photo is within 15 of the object
        assert chance == worst == 1.0
    elif name == "max_box_acc_v2":  # a hole has a contour too, so the code it follows finds the object in its absence
        assert chance < worst < best
    else:
        assert worst <= chance < best


@pytest.mark.parametrize("name", LOCALIZATION)
def test_ignored_pixels_do_not_count(name, region, rng):
    metric, ignore = build(name), np.zeros((SIDE, SIDE), dtype=bool)
    ignore[9:, 4:] = ignore[0] = True
    ignoring = replace(region, ignore=ignore)
    for _ in range(3):
        saliency_map = rng.random((SIDE, SIDE)).astype(np.float32)
        for shown in (0.0, 1e6, -1e6, rng.random((SIDE, SIDE)).astype(np.float32)):
            other = np.where(ignore, np.float32(shown), saliency_map)
            np.testing.assert_array_equal(
                metric.score_region(other, ignoring), metric.score_region(saliency_map, ignoring)
            )
        nothing = replace(region, ignore=np.zeros_like(ignore))
        np.testing.assert_array_equal(
            metric.score_region(saliency_map, nothing), metric.score_region(saliency_map, region)
        )


@pytest.mark.parametrize("name", MAP_ONLY)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_not_scored(name, score, bad, rng):
    saliency_map = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    saliency_map[3, 4] = bad
    assert np.isnan(score(build(name), saliency_map))


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric_has_its_entry_in_the_documentation(name):
    text = (Path(__file__).resolve().parent.parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    heading = re.search(rf"^### .*\b{name} \(v(\d+)\)", text, flags=re.MULTILINE)
    assert heading
    assert int(heading[1]) == METRICS.get(name).spec.version
    for parameter, value in METRICS.build(name).parameters().items():
        assert f"`{parameter}={value:g}`" in text if isinstance(value, float) else f"`{parameter}={value}`" in text
