"""Ablation-CAM: weights by hand, by full passes, its cost and what it says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from evalkit.core.errors import ModelError, NotScored
from evalkit.explainers.ablationcam import AblationCam
from evalkit.explainers.base import Passes, enlarge
from evalkit.models.classifier import Classifier
from evalkit.models.probabilities import log_odds, log_sum_exp

SIDE = 12


def pooled(bias=0.0, units=2, activation="softmax"):
    """A model whose logits are known: convolution 1 x 1 to two channels, mean, dense."""
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(2, 1, name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(units, activation=activation),
        ]
    )
    kernel = np.array([[0.01, 0.0], [0.0, 0.02], [0.0, 0.0]], dtype=np.float32)
    dense = np.array([[1.0, -1.0], [0.5, 2.0]], dtype=np.float32)[:, -units:]
    model.set_weights([kernel[None, None], np.zeros(2, np.float32), dense, np.full(units, bias, np.float32)])
    return Classifier(model)


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)


def channels(images):
    return images[..., :2] * np.array([0.01, 0.02])


def test_weights_are_the_falls_of_the_logit_over_the_logit(images):
    """Class 1: z = -a + 2 b of the means a and b, so the weights are -a / z and 2 b / z."""
    features = channels(images)
    a, b = np.moveaxis(features.mean(axis=(1, 2)), -1, 0)[:, :, None, None]
    z = 2 * b - a
    assert (z > 0).all()
    expected = np.maximum((-a * features[..., 0] + 2 * b * features[..., 1]) / z, 0)
    maps, facts = AblationCam().explain_with_facts(pooled(), images, [1, 1])
    np.testing.assert_allclose(maps, expected, rtol=1e-5)
    assert [one.values for one in facts] == [{"undivided": 0.0}] * 2


def test_a_logit_that_is_not_positive_does_not_divide(images):
    explainer, classifier = AblationCam(), pooled(bias=-50.0)
    features = channels(images)
    a, b = np.moveaxis(features.mean(axis=(1, 2)), -1, 0)[:, :, None, None]
    expected = np.maximum(-a * features[..., 0] + 2 * b * features[..., 1], 0)
    maps, facts = explainer.explain_with_facts(classifier, images, [1, 1])
    np.testing.assert_allclose(maps, expected, rtol=1e-4)
    assert explainer.sentences([one.values for one in facts]) == [
        "the logit is not positive on 2 of 2 images, so the falls there are not divided by it"
    ]
    assert explainer.sentences([{"undivided": 0.0}]) == []


def test_one_unit_explains_either_class(images):
    classifier = pooled(units=1, activation="sigmoid")
    features = channels(images)
    a, b = np.moveaxis(features.mean(axis=(1, 2)), -1, 0)[:, :, None, None]
    z = 2 * b - a
    signed = -a * features[..., 0] + 2 * b * features[..., 1]
    np.testing.assert_allclose(
        AblationCam().explain(classifier, images, [1, 1]), np.maximum(signed / z, 0), rtol=1e-5, atol=1e-9
    )
    np.testing.assert_allclose(
        AblationCam().explain(classifier, images, [0, 0]), np.maximum(-signed, 0), rtol=1e-4, atol=1e-6
    )


def test_probabilities_without_a_logit_use_log_odds(images):
    """A softmax that is divided by its sum once more hides its logits."""
    inputs = keras.Input((SIDE, SIDE, 3))
    features = keras.layers.Conv2D(2, 1, name="conv")(inputs)
    p = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(features))
    outputs = p / keras.ops.sum(p, axis=1, keepdims=True)
    keras.utils.set_random_seed(3)
    model = keras.Model(inputs, outputs)
    for weight in model.weights:
        weight.assign(np.random.default_rng(2).normal(0, 0.1, weight.shape))
    classifier = Classifier(model)
    assert classifier.head.kind == "probabilities"
    at, logits = classifier.above.without_channels(images[0], "conv")
    z = log_odds(logits, 1)
    weights = (z[0] - z[1:]) / (z[0] if z[0] > 0 else 1)
    expected = enlarge(np.maximum(at.astype(np.float64) @ weights, 0)[None], (SIDE, SIDE))
    np.testing.assert_allclose(AblationCam().explain(classifier, images[:1], [1]), expected, rtol=1e-9)
    model.layers[3].kernel.assign(np.full((2, 3), 1e4) * [[1, -1, -1]])
    with pytest.raises(NotScored, match="saturated"):
        AblationCam().explain(Classifier(model, head=classifier.head), images[:1], [1])


def test_several_outputs_fall_together(tiny, photos):
    features, logits = tiny.above.without_channels(photos[0], "conv_b")
    z = log_sum_exp(logits[:, [0, 2]])
    np.testing.assert_allclose(np.exp(z), np.exp(logits[:, [0, 2]]).sum(axis=1))
    weights = (z[0] - z[1:]) / (z[0] if z[0] > 0 else 1)
    expected = enlarge(np.maximum(features.astype(np.float64) @ weights, 0)[None], (32, 32))
    np.testing.assert_allclose(AblationCam().explain(tiny, photos[:1], [(0, 2)]), expected, rtol=1e-9)
    assert tiny.head.explained(logits, (1,))[0] == logits[0, 1]


def test_the_cost_is_that_of_the_part_above(tiny, photos):
    explainer = AblationCam(layer="conv_a+conv_b")
    explainer.check(tiny)
    parts = [tiny.above.part(layer) for layer in ("conv_a", "conv_b")]
    assert parts[0].share > 0.3 > parts[1].share
    assert explainer.passes(tiny) == Passes(2 + sum(part.passes for part in parts))
    assert explainer.method_on(tiny).startswith("one pass, 7 above conv_a (")
    before = tiny.count.forward
    explainer.explain(tiny, photos[:1], [0])
    assert tiny.count.forward - before == explainer.passes(tiny).forward


def test_tokens_of_patches_are_ablated_and_the_class_token_kept():
    keras.utils.set_random_seed(6)
    inputs = keras.Input((16, 16, 3))
    patches = keras.layers.Conv2D(8, 4, strides=4)(keras.layers.Rescaling(1 / 255)(inputs))
    tokens = keras.layers.Reshape((16, 8))(patches)
    mixed = keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)
    normed = keras.layers.LayerNormalization(name="last")(keras.layers.Add()([tokens, mixed]))
    outputs = keras.layers.Dense(3, kernel_initializer="normal")(keras.layers.GlobalAveragePooling1D()(normed))
    classifier = Classifier(keras.Model(inputs, outputs, name="vit"))
    image = np.random.default_rng(4).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    features, logits = classifier.above.without_channels(image, classifier.resolve_layer("last"))
    assert features.shape == (4, 4, 8)
    kernel, bias = (np.asarray(weight, dtype=np.float64) for weight in classifier.model.layers[-1].get_weights())
    means = features.mean(axis=(0, 1), dtype=np.float64)
    expected = [means @ kernel + bias] + [np.where(np.arange(8) == k, 0, means) @ kernel + bias for k in range(8)]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    AblationCam().check(classifier)
    assert np.isfinite(AblationCam().explain(classifier, image[None], [0])).all()


def test_what_a_model_lacks_is_refused(tiny):
    with pytest.raises(ModelError, match="has no layer 'conv_c'"):
        AblationCam(layer="conv_c").check(tiny)
