"""Random logit and MPRT of the output layer: values by hand, their twins, and what the engine makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import keras
import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.metrics.case import Case
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.randomization import RandomLogit, rank_correlation, structural_similarity
from evalkit.metrics.reinitialized import Mprt
from evalkit.metrics.requests import Variant
from evalkit.models.classifier import Classifier

from . import twins

SIZE = (9, 11)
RAMP = np.arange(32.0 * 32).reshape(32, 32)
OUTPUT = "mprt(layers=output)"
BOTH = f"random_logit, {OUTPUT}"


@dataclass(frozen=True)
class ByClass(Explainer):
    """One map for the target 0, ``answer`` of that map for every other; remembers the targets."""

    name: ClassVar[str] = "by_class"
    answer: ClassVar[object] = None
    seen: ClassVar[list] = []

    def explain(self, classifier, images, targets):
        self.seen.extend(targets)
        return np.stack([RAMP if 0 in np.atleast_1d(target) else type(self).answer(RAMP) for target in targets])

    def forward_passes(self, input_size):
        return 0


@dataclass(frozen=True)
class ByModel(ByClass):
    """One map on the model itself, ``answer`` of that map on each changed one; remembers the classifiers."""

    name: ClassVar[str] = "by_model"
    base: ClassVar[object] = None

    def explain(self, classifier, images, targets):
        self.seen.append(classifier)
        return (RAMP if classifier is self.base else type(self).answer(RAMP))[None]


def by(cls, answer, **more):
    return type(cls.__name__, (cls,), {"answer": staticmethod(answer), "__module__": __name__, "seen": [], **more})()


def case_of(target=(0,), scores=(0.5, 0.1, 0.3, 0.1), seed=3, content=b"photo"):
    scores = np.array(scores)
    return Case("photo", np.zeros((9, 9, 3), np.uint8), target, scores, scores[list(target)].sum(), seed=seed,
                content=content)  # fmt: skip


def maps_of(rng, size=SIZE):
    noise = rng.normal(size=size)
    levels = rng.integers(-2, 4, size).astype(float)
    flat = np.full(size, 3.0)
    return {
        "noise": noise,
        "float32": noise.astype(np.float32),
        "heavy tails": np.exp(4 * rng.normal(size=size)),
        "heavier tails": np.exp(9 * rng.normal(size=size)).astype(np.float32),
        "sparse": np.maximum(noise, 0) * (rng.random(size) < 0.3),
        "levels": levels,
        "nearly tied": levels * (1 + rng.uniform(-2e-7, 2e-7, size)) + rng.uniform(-1e-14, 1e-14, size),
        "one pixel": (np.arange(flat.size) == 40).reshape(size).astype(float),
        "flat": flat,
        "nearly flat": flat + rng.uniform(-1e-7, 1e-7, size),
        "zero": np.zeros(size),
        "not finite": np.where(noise > 2, np.nan, noise),
    }


KINDS = list(maps_of(np.random.default_rng(0)))
UNSCORED = ("flat", "nearly flat", "zero", "not finite")
VARYING = [kind for kind in KINDS if kind not in UNSCORED]


@pytest.fixture(params=range(3))
def two(request):
    """Two sets of maps of every kind."""
    return maps_of(np.random.default_rng(request.param)), maps_of(np.random.default_rng(100 + request.param))


def test_similarity_of_one_window_by_hand():
    first, second = np.zeros((2, 7, 7))
    first[2, 3] = second[4, 4] = 1.0
    # Means 1/49; variances (1 - 1/49)/48 = 1/49; covariance (0 - 49/49^2)/48 = -1/(48 * 49).
    expected = (-2 / (48 * 49) + 0.03**2) / (2 / 49 + 0.03**2)
    assert structural_similarity(first, second) == pytest.approx(expected, abs=1e-12)
    # The inverted map: mean 48/49, the same variance, covariance -1/49.
    luminance = (2 * 48 / 49**2 + 0.01**2) / ((1 + 48**2) / 49**2 + 0.01**2)
    contrast = (-2 / 49 + 0.03**2) / (2 / 49 + 0.03**2)
    assert structural_similarity(first, -first) == pytest.approx(luminance * contrast, abs=1e-12)


def test_similarity_is_the_mean_of_all_windows_inside_the_map():
    first, second = np.zeros((2, 7, 8))
    first[2, 0] = second[2, 0] = 1.0  # in the first of the two windows only
    second[5, 7] = 1.0  # in the second only
    # First window: equal. Second: 0 everywhere against one pixel: mean 1/49, variance 1/49, covariance 0.
    other = (0.01**2 / (1 / 49**2 + 0.01**2)) * (0.03**2 / (1 / 49 + 0.03**2))
    assert structural_similarity(first, second) == pytest.approx((1 + other) / 2, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_similarity_agrees_with_its_twin(kind, two):
    for second in two[1].values():
        found = structural_similarity(two[0][kind], second)
        assert found == pytest.approx(twins.random_logit(two[0][kind], second), abs=1e-9, nan_ok=True)
        assert structural_similarity(second, two[0][kind]) == pytest.approx(found, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("kind", VARYING)
def test_similarity_of_equal_maps_is_1_whatever_their_scale(kind, two):
    saliency_map = two[0][kind].astype(np.float64)
    assert structural_similarity(saliency_map, saliency_map) == pytest.approx(1.0, abs=1e-12)
    assert structural_similarity(saliency_map, 7 * saliency_map) == pytest.approx(1.0, abs=1e-9)
    assert structural_similarity(saliency_map, -saliency_map) < 0.9
    assert structural_similarity(saliency_map, -saliency_map) >= -1


@pytest.mark.parametrize("kind", UNSCORED)
@pytest.mark.parametrize("compare", [structural_similarity, rank_correlation])
def test_constant_and_broken_maps_are_not_compared(kind, compare, two):
    for second in two[1].values():
        assert np.isnan(compare(two[0][kind], second))
        assert np.isnan(compare(second, two[0][kind]))


@pytest.mark.parametrize("size", [(6, 20), (20, 6)])
def test_map_smaller_than_the_window_has_no_similarity(size, rng):
    assert np.isnan(structural_similarity(*rng.normal(size=(2, *size))))
    assert np.isfinite(rank_correlation(*rng.normal(size=(2, *size))))


def test_rank_correlation_by_hand():
    first = np.array([[1.0, 2.0], [3.0, 3.0]])  # ranks 4, 3, 1.5, 1.5: from their mean 1.5, 0.5, -1, -1
    second = np.array([[1.0, 9.0], [2.0, 2.0]])  # ranks 4, 1, 2.5, 2.5: from their mean 1.5, -1.5, 0, 0
    # (2.25 - 0.75) / sqrt((2.25 + 0.25 + 2) * (2.25 + 2.25)) = 1.5 / 4.5
    assert rank_correlation(first, second) == pytest.approx(1 / 3, abs=1e-12)
    # Values within a millionth are ties, as everywhere.
    nearly = np.array([[1.0, 2.0], [3.0, 3.000002]])
    assert rank_correlation(nearly, second) == rank_correlation(first, second)
    assert rank_correlation(np.array([[1.0, 2.0], [3.0, 3.00001]]), second) != rank_correlation(first, second)


@pytest.mark.parametrize("kind", KINDS)
def test_rank_correlation_agrees_with_its_twin(kind, two):
    for second in two[1].values():
        found = rank_correlation(two[0][kind], second)
        assert found == pytest.approx(twins.rank_correlation(two[0][kind], second), abs=1e-9, nan_ok=True)
        assert rank_correlation(second, two[0][kind]) == pytest.approx(found, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("kind", VARYING)
def test_rank_correlation_of_equal_and_negated_maps(kind, two):
    saliency_map = two[0][kind]
    assert rank_correlation(saliency_map, saliency_map) == pytest.approx(1.0, abs=1e-12)
    assert rank_correlation(saliency_map, -saliency_map) == pytest.approx(-1.0, abs=1e-12)


def test_only_the_order_of_pixels_counts(rng):
    first, second = rng.normal(size=(2, *SIZE))
    assert rank_correlation(np.exp(first), second) == pytest.approx(rank_correlation(first, second), abs=1e-12)
    assert rank_correlation(*rng.normal(size=(2, 200, 200))) == pytest.approx(0.0, abs=0.02)


def test_mprt_is_the_mean_over_the_changed_models(two):
    saliency_map, maps = two[0]["levels"], [two[1][kind] for kind in VARYING]
    found = Mprt("output", draws_per_map=len(maps)).score(saliency_map, case_of(), maps)
    assert found == pytest.approx(twins.mprt(saliency_map, maps), abs=1e-9)
    assert np.isnan(Mprt("output", draws_per_map=2).score(saliency_map, case_of(), [maps[0], two[1]["flat"]]))


@pytest.mark.parametrize("target", [(0,), (3,), (1, 2), (0, 1, 3)])
def test_the_other_class_is_never_an_output_of_the_target(target):
    metric, found = RandomLogit(), set()
    for number in range(200):
        case = case_of(target, content=str(number).encode())
        (request,) = metric.requests(np.ones((9, 9)), case)
        assert request.pixels is None
        assert request.target == (metric.other_class(case),)
        found.add(request.target[0])
    assert found == {0, 1, 2, 3} - set(target)


def test_every_other_class_is_drawn_as_often():
    cases = [case_of((2,), content=str(number).encode()) for number in range(3000)]
    counts = np.bincount([RandomLogit().other_class(case) for case in cases], minlength=4)
    assert counts[2] == 0
    assert np.abs(counts[[0, 1, 3]] - 1000).max() < 100  # four standard deviations


def test_the_other_class_depends_on_seed_and_content_alone():
    metric = RandomLogit()

    def drawn(**given):
        return [metric.other_class(case_of((0,), content=str(number).encode(), **given)) for number in range(50)]

    assert drawn() == drawn()
    assert drawn() == drawn(scores=(0.1, 0.2, 0.3, 0.4))
    assert drawn() != drawn(seed=4)
    case = case_of()
    assert metric.other_class(replace(case, image_id="other")) == metric.other_class(case)


@pytest.mark.parametrize(
    ("target", "scores", "second"),
    [
        ((0,), (0.5, 0.1, 0.3, 0.1), 2),
        ((2,), (0.5, 0.1, 0.3, 0.1), 0),  # of a misclassified photo it is the model's choice
        ((0, 2), (0.5, 0.1, 0.3, 0.15), 3),
        ((0,), (0.4, 0.2, 0.2, 0.2), 1),  # of equally good ones the first
    ],
)
def test_runner_up_is_the_best_other_class(target, scores, second):
    (request,) = RandomLogit(other="runner_up").requests(np.ones((9, 9)), case_of(target, scores))
    assert request.target == (second,)


def test_runner_up_by_the_engine(run_photos, tiny, photos):
    order = tiny.probabilities(photos).argsort(axis=1)[:, ::-1]
    for labels, expected in ((order[:, 0], order[:, 1]), (order[:, 2], order[:, 0])):
        explainer = by(ByClass, lambda ramp: ramp)
        run_photos([explainer], "random_logit(other=runner_up)", labels=labels)
        assert [np.atleast_1d(target).tolist() for target in explainer.seen[1::2]] == [[one] for one in expected]


@pytest.mark.parametrize("other", ["random", "runner_up"])
def test_model_without_another_class_is_refused_in_words(other, run_photos, photos):
    outcome = run_photos(
        "edges, gradcam", f"random_logit(other={other}), sparseness", outputs=(0, 1, 2), pixels=photos[:1]
    )[0]
    reasons = {cell.reason for cell in outcome.cells if cell.metric.startswith("random_logit")}
    assert reasons == {"the model has no other class"}
    assert not any(cell.failed for cell in outcome.cells)
    assert RandomLogit(other=other).unscored_reason(case_of((0, 1, 2, 3))) == "the model has no other class"
    assert RandomLogit(other=other).unscored_reason(case_of((0, 1, 3))) is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda ramp: ramp, pytest.approx(1.0, abs=1e-9)),
        (lambda ramp: 3 * ramp - 7, pytest.approx(1.0, abs=1e-6)),
        (lambda ramp: -ramp, pytest.approx(twins.random_logit(RAMP, -RAMP), abs=1e-6)),
        (lambda ramp: 0 * ramp + 2, "a map is constant, not finite or under 7 px"),
        (lambda ramp: ramp * np.inf, "a map is constant, not finite or under 7 px"),
    ],
)
def test_random_logit_extremes_by_the_engine(answer, expected, score_photos, photos):
    with np.errstate(invalid="ignore"):
        cells = score_photos([by(ByClass, answer)], "random_logit", pixels=photos[:1])[0]
    assert cells["ByClass", "random_logit"] == expected


def test_random_logit_of_gradcam_agrees_with_its_twin(score_photos, tiny, photos):
    order = tiny.probabilities(photos).argsort(axis=1)[:, ::-1]
    explainer = EXPLAINERS.build("gradcam")
    found = score_photos("gradcam", "random_logit(other=runner_up)", labels=order[:, 0])
    for number, cells in enumerate(found):
        first, second = (
            explainer.explain(tiny, photos[number : number + 1], [order[number, rank]])[0].astype(np.float32)
            for rank in (0, 1)
        )
        expected = twins.random_logit(first, second)
        value = cells["gradcam", "random_logit(other=runner_up)"]
        if np.isnan(expected):
            assert value == RandomLogit.spec.nan_reason
        else:
            assert value == pytest.approx(expected, abs=1e-6)


def test_changed_models_are_those_of_the_run():
    metric = Mprt("output", draws_per_map=5)
    seeds = metric.variant_seeds(case_of())
    assert len(set(seeds)) == 5
    assert [request.variant for request in metric.requests(np.ones((9, 9)), case_of())] == [
        Variant("output", seed) for seed in seeds
    ]
    assert metric.variant_seeds(case_of((2,), content=b"other photo")) == seeds
    assert Mprt("output").variant_seeds(case_of()) == seeds[:3]
    assert not set(metric.variant_seeds(case_of(seed=4))) & set(seeds)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda ramp: ramp, pytest.approx(1.0, abs=1e-12)),
        (lambda ramp: ramp**3, pytest.approx(1.0, abs=1e-2)),
        (lambda ramp: -ramp, pytest.approx(-1.0, abs=1e-12)),
        (lambda ramp: 0 * ramp, "a map is constant or not finite"),
        (lambda ramp: ramp * np.nan, "a map is constant or not finite"),
    ],
)
def test_mprt_extremes_by_the_engine(answer, expected, score_photos, tiny, photos):
    explainer = by(ByModel, answer, base=tiny)
    assert score_photos([explainer], OUTPUT, pixels=photos[:1])[0]["ByModel", OUTPUT] == expected
    assert len({id(classifier) for classifier in explainer.seen}) == 2  # the model and its changed copy
    assert len(explainer.seen) == 4


def test_mprt_of_gradcam_agrees_with_its_twin(score_photos, tiny, photos):
    explainer, seeds = EXPLAINERS.build("gradcam"), Mprt("output").variant_seeds(case_of(seed=6))
    found = score_photos("gradcam", OUTPUT, seed=6, labels=[1] * 4)
    for number, cells in enumerate(found):
        maps = [
            explainer.explain(changed(), photos[number : number + 1], [1])[0].astype(np.float32)
            for changed in (lambda: tiny, *(partial(tiny.variant, Variant("output", seed)) for seed in seeds))
        ]
        expected = twins.mprt(maps[0], maps[1:])
        value = cells["gradcam", OUTPUT]
        assert value == (Mprt.spec.nan_reason if np.isnan(expected) else pytest.approx(expected, abs=1e-6))


def test_model_that_cannot_be_changed_is_not_scored_in_words(run_photos, photos):
    keras.utils.set_random_seed(4)
    images = keras.Input((32, 32, 3))
    tensor = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(images))
    scores = keras.layers.Average()([keras.layers.Dense(3)(tensor) for _ in range(2)])
    classifier = Classifier(keras.Model(images, scores, name="pair"))
    outcome = run_photos("edges", f"{BOTH}, sparseness", classifier=classifier, pixels=photos[:1])[0]
    reasons = [cell.reason for cell in outcome.cells]
    assert reasons == [
        None,
        "model 'pair' has no single output layer with weights; leave out mprt(layers=output)",
        None,
    ]
    assert not any(cell.failed for cell in outcome.cells)


def test_controls_depend_on_neither_class_nor_weights(score_photos):
    for cells in score_photos("uniform, random, center, edges", BOTH):
        for control in ("random", "center", "edges"):
            assert cells[control, "random_logit"] == pytest.approx(1.0, abs=1e-9)
            assert cells[control, OUTPUT] == pytest.approx(1.0, abs=1e-12)
        assert cells["uniform", "random_logit"] == "a map is constant, not finite or under 7 px"
        assert cells["uniform", OUTPUT] == "a map is constant or not finite"


def test_fresh_noise_scores_about_0(score_photos):
    rng = np.random.default_rng(8)

    def noise(ramp):
        return rng.random(ramp.shape)

    for cells in score_photos([by(ByClass, noise), by(ByModel, noise)], BOTH):
        assert cells["ByClass", "random_logit"] == pytest.approx(0.0, abs=0.05)
        assert cells["ByModel", OUTPUT] == pytest.approx(0.0, abs=0.1)


def test_scores_depend_on_seed_and_content_alone(score_photos, tiny_model, photos):
    plain = score_photos("gradcam", BOTH)

    def same(found):
        for before, after in zip(plain, found, strict=True):
            assert all(after["gradcam", metric] == before["gradcam", metric] for metric in ("random_logit", OUTPUT))

    order = [2, 0, 3, 1]
    turned = score_photos("gradcam", BOTH, pixels=photos[order], ids=[f"photo {one}" for one in order])
    same([turned[order.index(number)] for number in range(4)])
    same(
        score_photos(
            "center, gradcam",
            f"{OUTPUT}, deletion, mprt(layers=output, draws_per_map=2), random_logit, max_sensitivity",
        )
    )
    same(score_photos("gradcam", BOTH, classifier=Classifier(tiny_model, batch_size=1)))
    others = [score_photos("gradcam", BOTH, seed=seed) for seed in (1, 2, 3)]
    for metric in ("random_logit", OUTPUT):
        values = {tuple(cells["gradcam", metric] for cells in found) for found in (plain, *others)}
        assert len(values) > 1


@pytest.mark.parametrize(
    ("metrics", "maps"),
    [
        ("random_logit", 1),
        ("random_logit, random_logit(other=runner_up)", 1),  # of two classes the other one
        (OUTPUT, 3),
        ("mprt(layers=output, draws_per_map=2), mprt(layers=output), mprt(layers=output, draws_per_map=4)", 4),
        (f"{OUTPUT}, random_logit, max_sensitivity(samples=2)", 6),
    ],
)
def test_equal_requests_are_explained_once(metrics, maps, run_photos, photos, counting):
    outcome = run_photos("gradcam, edges", metrics, classifier=counting.classifier, pixels=photos[:1])[0]
    # One clean pass, Grad-CAM's own map, the maps requested; changed models count as the model.
    assert outcome.forward_passes == counting.counts["forward"].numpy() == 1 + 1 + maps
    assert outcome.backward_passes == counting.counts["backward"].numpy() == 1 + maps
    assert not any(cell.failed for cell in outcome.cells)


@pytest.mark.parametrize("explainer", ["gradcam", "occlusion(patch_size=16)", "edges"])
def test_passes_are_those_that_the_explainer_declares(explainer, run_photos, photos, counting):
    metrics = f"{OUTPUT}, random_logit, max_sensitivity"
    outcome = run_photos(explainer, metrics, classifier=counting.classifier, pixels=photos[:1])[0]
    built, maps = EXPLAINERS.build(explainer), 1 + 3 + 1 + 10
    assert outcome.forward_passes == counting.counts["forward"].numpy() == 1 + maps * built.forward_passes((32, 32))
    assert outcome.backward_passes == maps * built.backward_passes((32, 32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mprt(draws_per_map=0)", r"mprt: draws_per_map=0 is not allowed; 1 to 10"),
        ("mprt(draws_per_map=11)", r"mprt: draws_per_map=11 is not allowed; 1 to 10"),
        ("mprt(layers=all)", "layers"),
        ("random_logit(other=best)", "other"),
    ],
)
def test_parameters_that_are_not_allowed_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        METRICS.build(text)
