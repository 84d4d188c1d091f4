"""The gradient family: identities on models whose attribution is known, twins from the definitions, refusals."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from evalkit.core.errors import ConfigError, ModelError
from evalkit.core.randomness import generator
from evalkit.datasets.scenes.scenes import make_scene
from evalkit.explainers.base import Passes
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.explainers.controls import image_digest
from evalkit.explainers.gradients import Gradient, GradientTimesInput, GuidedBackprop, SmoothGrad
from evalkit.explainers.path import ExpectedGradients, IntegratedGradients
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier
from evalkit.models.inference.perturbation import MEAN_COLOR, blurred
from evalkit.models.zoo.vgg16_mini import load_vgg16_mini

NAMES = [
    "gradient", "gradient_x_input", "guided_backprop", "smoothgrad(samples=5)", "integrated_gradients(steps=5)",
    "expected_gradients(samples=5)",
]  # fmt: skip


@pytest.fixture
def linear(rng):
    """Two classes; the logit of class 1 is a known weighting of all values, that of class 0 is 0."""
    weights = rng.normal(0, 0.01, (6, 9, 3))
    model = keras.Sequential([keras.Input((6, 9, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    kernel = np.stack([np.zeros(weights.size), weights.ravel()], axis=1)
    model.set_weights([kernel.astype(np.float32), np.array([0.0, 3.0], dtype=np.float32)])
    return Classifier(model), weights


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (3, 6, 9, 3), dtype=np.uint8)


def of_set(classifier, references):
    return classifier.with_references(references)


@pytest.mark.parametrize("baseline", ["mean", "black", "white", "gray", "blur"])
def test_a_linear_model_gets_its_true_attribution(linear, images, baseline):
    classifier, weights = linear
    colors = {"mean": MEAN_COLOR, "black": 0.0, "white": 255.0, "gray": 127.5}
    starts = [blurred(image) if baseline == "blur" else np.full(image.shape, colors[baseline]) for image in images]
    expected = (weights * (images - np.array(starts))).sum(axis=-1)
    for explainer in (GradientTimesInput(baseline=baseline), IntegratedGradients(baseline=baseline, steps=3)):
        explainer.check(classifier)
        assert explainer.substrate == baseline
        np.testing.assert_allclose(explainer.explain(classifier, images, [1] * 3), expected, rtol=1e-4, atol=1e-5)
    one = of_set(classifier, np.array(starts[:1], dtype=np.float32))
    found = ExpectedGradients(samples=4).explain(one, images[:1], [1])
    np.testing.assert_allclose(found, expected[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("reduce", "by_hand"),
    [
        ("abs_max", lambda values: np.abs(values).max(axis=-1)),
        ("abs_sum", lambda values: np.abs(values).sum(axis=-1)),
        ("sum", lambda values: values.sum(axis=-1)),
    ],
)
def test_channels_are_reduced_as_named(linear, images, reduce, by_hand):
    classifier, weights = linear
    found = Gradient(reduce=reduce).explain(classifier, images[:1], [1])[0]
    np.testing.assert_allclose(found, by_hand(weights), rtol=1e-5, atol=1e-7)
    product = weights * (images[0] - np.array(MEAN_COLOR))
    found = GradientTimesInput(reduce=reduce).explain(classifier, images[:1], [1])[0]
    np.testing.assert_allclose(found, by_hand(product), rtol=1e-4, atol=1e-5)


def test_default_reductions_are_those_of_the_issue():
    reductions = {EXPLAINERS.build(name).name: EXPLAINERS.build(name).reduce for name in NAMES}
    assert reductions == {
        "gradient": "abs_max", "guided_backprop": "abs_max", "smoothgrad": "abs_max",
        "gradient_x_input": "sum", "integrated_gradients": "sum", "expected_gradients": "sum",
    }  # fmt: skip


def test_integrated_gradients_equal_a_twin(tiny, photos):
    twin, mean = np.zeros(photos.shape), np.array(MEAN_COLOR)
    for step in range(6):
        points = (mean + (photos - mean) * step / 5).astype(np.float32)
        twin += tiny.input_gradients(points, [0, 1, 2, 1]) * (0.5 if step in (0, 5) else 1.0) / 5
    expected = ((photos - mean) * twin).sum(axis=-1)
    found = IntegratedGradients(steps=6).explain(tiny, photos, [0, 1, 2, 1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_add_up_on_vgg16_mini():
    classifier = Classifier(load_vgg16_mini(), preprocess="vgg16")
    scene = make_scene(0, 0)
    images, targets = scene.pixels[None], [scene.class_index]
    maps, facts = IntegratedGradients(steps=128).explain_with_facts(classifier, images, targets)
    ends = [classifier.logits(pixels)[[0], targets] for pixels in (images, np.full(images.shape, MEAN_COLOR))]
    change = ends[0] - ends[1]
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), change, rtol=0.01)
    by_hand = np.abs(maps.sum(axis=(1, 2)) / change - 1)
    np.testing.assert_allclose([one.values["residual"] for one in facts], by_hand, rtol=1e-5, atol=1e-5)


def test_residual_is_of_all_channels_whatever_the_reduction(tiny, photos):
    facts = [
        IntegratedGradients(steps=4, reduce=reduce).explain_with_facts(tiny, photos, [0] * 4)[1]
        for reduce in ("sum", "abs_max")
    ]
    assert [one.values for one in facts[0]] == [one.values for one in facts[1]]
    assert all(one.passes is None for one in facts[0])


def test_residual_is_undefined_where_the_logit_does_not_change(linear):
    black = np.zeros((1, 6, 9, 3), dtype=np.uint8)
    explainer = IntegratedGradients(steps=2, baseline="black")
    maps, facts = explainer.explain_with_facts(linear[0], black, [1])
    assert not maps.any()
    assert np.isnan(facts[0].values["residual"])
    (sentence,) = explainer.sentences([facts[0].values, {"residual": 0.05}])
    assert "undefined on 1 of 2 images, where photo and baseline have the same logit" in sentence


def test_a_residual_above_five_percent_is_said_with_the_steps_wanted():
    explainer = IntegratedGradients(steps=40)
    assert explainer.sentences([{"residual": 0.0}, {"residual": 0.05}]) == []
    (sentence,) = explainer.sentences([{"residual": 0.01}, {"residual": 0.12}, {"residual": 0.051}])
    assert sentence == (
        "the attributions do not add up to the change of the logit within 5 % on 2 of 3 images (largest residual "
        "12 %); about steps=100 would do"
    )
    (unbounded,) = explainer.sentences([{"residual": 40.0}])
    assert unbounded.endswith("nearly the same logit, no number of steps is known to do")


def test_expected_gradients_add_up_over_many_samples(tiny, photos):
    classifier = of_set(tiny, photos[1:])
    target, explainer = 1, ExpectedGradients(samples=600)
    total = explainer.explain(classifier, photos[:1], [target]).sum()
    logits = tiny.logits(photos)[:, target]
    spread = np.abs(logits[0] - logits[1:]).mean()
    assert abs(total - (logits[0] - logits[1:].mean())) < 0.02 * spread


def test_expected_gradients_equal_a_twin(tiny, photos):
    classifier, explainer = of_set(tiny, photos[1:]), ExpectedGradients(samples=5, seed=3)
    draw = generator(3, image_digest(photos[0]), "expected_gradients")
    order, moves = draw.permutation(3), draw.random(5)
    expected = np.zeros((32, 32))
    for index in range(5):
        difference = photos[0].astype(np.float64) - photos[1:][order[index % 3]]
        point = photos[0] - (1 - (index + moves[index]) / 5) * difference
        expected += (difference * tiny.input_gradients(point[None].astype(np.float32), [2])[0]).sum(axis=-1) / 5
    found = explainer.explain(classifier, photos[:1], [2])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_smoothgrad_without_noise_is_the_gradient(tiny, photos):
    found = SmoothGrad(samples=3, noise=0).explain(tiny, photos, [0, 1, 2, 1])
    np.testing.assert_allclose(found, Gradient().explain(tiny, photos, [0, 1, 2, 1]), rtol=1e-5, atol=1e-9)


def test_smoothgrad_averages_before_it_reduces(tiny, photos):
    noisy = [
        photos[0] + 40 * generator(5, image_digest(photos[0]), "smoothgrad", index).standard_normal((32, 32, 3), "f4")
        for index in range(4)
    ]
    mean = tiny.input_gradients(np.stack(noisy), [1] * 4).mean(axis=0, dtype=np.float64)
    assert np.stack(noisy).min() < 0  # not clipped
    found = SmoothGrad(samples=4, noise=40, seed=5).explain(tiny, photos[:1], [1])[0]
    np.testing.assert_allclose(found, np.abs(mean).max(axis=-1), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_batches_do_not_matter(name, tiny_model, photos):
    explainer, targets = EXPLAINERS.build(name), [0, 1, 2, 1]
    expected = explainer.explain(of_set(Classifier(tiny_model, batch_size=7), photos), photos, targets)
    one_at_a_time = of_set(Classifier(tiny_model, batch_size=1), photos)
    np.testing.assert_allclose(explainer.explain(one_at_a_time, photos, targets), expected, rtol=1e-4, atol=1e-7)
    alone = explainer.explain(one_at_a_time, photos[2:3].astype(np.float32), [2])
    np.testing.assert_allclose(alone, expected[2:3], rtol=1e-4, atol=1e-7)
    passes = explainer.passes(one_at_a_time)
    assert Passes(one_at_a_time.count.forward / 5, one_at_a_time.count.backward / 5) == passes


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_other_numbers_of_channels_are_explained(name, channels, rng):
    model = keras.Sequential(
        [
            keras.Input((8, 12, channels)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    images = rng.integers(0, 256, (2, 8, 12, channels), dtype=np.uint8)
    classifier = of_set(Classifier(model, mean_color=[100.0] * channels), images)
    explainer = EXPLAINERS.build(name)
    explainer.check(classifier)
    maps = explainer.explain(classifier, images, [0, 1])
    assert maps.shape == (2, 8, 12)
    assert np.isfinite(maps).all()


def test_gradient_and_its_product_share_one_pass(tiny_model, photos):
    classifier = Classifier(tiny_model)
    alone = [explainer.explain(classifier, photos[:1], [1]) for explainer in (Gradient(), GradientTimesInput())]
    before = replace(classifier.count)
    with classifier.sharing():
        shared = [explainer.explain(classifier, photos[:1], [1]) for explainer in (Gradient(), GradientTimesInput())]
    np.testing.assert_array_equal(shared, alone)
    assert (classifier.count.forward - before.forward, classifier.count.backward - before.backward) == (1, 1)


def test_what_a_model_lacks_is_said(tiny, tiny_model, photos):
    with pytest.raises(ModelError, match="expected_gradients: its baselines are other images of the set, and there is"):
        ExpectedGradients().check(tiny)
    box = Classifier(BlackBox(lambda batch: tiny_model(batch).numpy(), (32, 32)))
    for name in NAMES:
        with pytest.raises(ModelError, match=r"needs gradients, which model .* does not offer; use occlusion"):
            EXPLAINERS.build(name).check(box)
    outside = Classifier(tiny_model, preprocess="numpy:negative")
    with pytest.raises(ModelError, match=r"gradient: model 'tiny' has the preprocessing .*; use occlusion, which"):
        Gradient().check(outside)
    smooth = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2)], name="smooth")
    with pytest.raises(ModelError, match=r"guided_backprop: model 'smooth' has no ReLU, .*; use gradient"):
        GuidedBackprop().check(Classifier(smooth))
    gray = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(2)], name="gray")
    for explainer in (GradientTimesInput(), IntegratedGradients(baseline="blur")):
        with pytest.raises(ModelError, match=r"baseline=\w+ needs the mean color.*use baseline=black, white or gray"):
            explainer.check(Classifier(gray))
    GradientTimesInput(baseline="black").check(Classifier(gray))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("smoothgrad(samples=0)", "smoothgrad: samples=0 is not allowed; a number of at least 1 is needed"),
        ("smoothgrad(noise=-1)", "smoothgrad: noise=-1 is not allowed; a number of at least 0 is needed"),
        ("smoothgrad(noise=inf)", "smoothgrad: noise=inf is not allowed"),
        ("smoothgrad(noise=nan)", "smoothgrad: noise=nan is not allowed"),
        ("integrated_gradients(steps=1)", "integrated_gradients: steps=1 is not allowed; a number of at least 2"),
        ("expected_gradients(samples=0)", "expected_gradients: samples=0 is not allowed; a number of at least 1"),
        ("gradient(reduce=mean)", "reduce=mean is not allowed; it takes abs_max or abs_sum or sum"),
        ("integrated_gradients(baseline=red)", "it takes mean or black or white or gray or blur"),
    ],
)
def test_a_parameter_out_of_range_is_refused(spec, words):
    with pytest.raises(ConfigError, match=words):
        EXPLAINERS.build(spec)


def test_equal_noise_has_one_spelling():
    assert EXPLAINERS.build("smoothgrad(noise=10)").signature == EXPLAINERS.build("smoothgrad(noise=10.0)").signature
    assert EXPLAINERS.build("smoothgrad(noise=25)").text == "smoothgrad"
