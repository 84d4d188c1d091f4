"""Score-CAM: its definition in loops, channels that are no masks, its cost and its refusals."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError, NotScored
from evalkit.explainers.base import Passes, enlarge
from evalkit.explainers.scorecam import ScoreCam
from evalkit.models.classifier import Classifier
from evalkit.models.inference.perturbation import MEAN_COLOR
from evalkit.models.probabilities import log_sum_exp, softmax


def by_definition(classifier, image, target, layer):
    """The map of one photo, (H, W), with a loop over channels."""
    features = classifier.features.activations_and_gradients(image[None], [0], layer)[0][0].astype(np.float64)
    height, width = image.shape[:2]
    mean = np.asarray(MEAN_COLOR)
    scores = []
    used = [k for k in range(features.shape[-1]) if np.ptp(features[..., k]) > 0]
    for k in used:
        mask = cv2.resize(features[..., k], (width, height), interpolation=cv2.INTER_LINEAR)
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        blended = mean + (image.astype(np.float64) - mean) * mask[:, :, None]
        logits = classifier.logits(blended[None].astype(np.float32))[0]
        scores.append(classifier.head.target_logits(logits)[target] if np.isscalar(target) else
                      log_sum_exp(logits[list(target)]))  # fmt: skip
    weights = softmax(np.array(scores))
    coarse = np.maximum(features[..., used] @ weights, 0)
    return enlarge(coarse[None], (height, width))[0]


@pytest.fixture
def images():
    return np.random.default_rng(8).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)


def small(units=3, activation="softmax", dead=False, name="small"):
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input((24, 32, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.Conv2D(5, 3, strides=2, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation=activation),
        ],
        name=name,
    )
    if dead:
        kernel, bias = model.layers[1].get_weights()
        chosen = [1, 3] if dead == "some" else list(range(5))
        kernel[..., chosen] = 0
        bias[chosen] = 0.7
        model.layers[1].set_weights([kernel, bias])
    return Classifier(model, batch_size=4)


@pytest.mark.parametrize("target", [1, (0, 2)])
def test_maps_equal_their_definition_in_loops(target, images):
    classifier = small()
    found = ScoreCam().explain(classifier, images, [target] * 2)
    for one, image in zip(found, images, strict=True):
        expected = by_definition(classifier, image, target, "conv")
        np.testing.assert_allclose(one, expected, atol=1e-5 * expected.max())


def test_one_unit_explains_either_class(images):
    classifier = small(1, "sigmoid")
    for target in (0, 1):
        expected = by_definition(classifier, images[0], target, "conv")
        found = ScoreCam().explain(classifier, images[:1], [target])[0]
        np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


def test_constant_channels_are_left_out_counted_and_said(images):
    classifier, explainer = small(dead="some"), ScoreCam()
    before = classifier.count.forward
    maps, facts = explainer.explain_with_facts(classifier, images, [0, 1])
    assert [one.values for one in facts] == [{"constant_channels": pytest.approx(0.4)}] * 2
    assert [one.passes for one in facts] == [Passes(4)] * 2
    assert classifier.count.forward - before == 8
    assert explainer.passes(classifier) == Passes(6)
    expected = by_definition(classifier, images[1], 1, "conv")
    np.testing.assert_allclose(maps[1], expected, atol=1e-5 * expected.max())
    assert explainer.sentences([one.values for one in facts]) == [
        (
            "feature maps that are constant are no masks and are left out, on 2 of 2 images, up to 40.0% of "
            "an image's channels"
        )
    ]
    assert explainer.sentences([{"constant_channels": 0.0}]) == []


def test_a_layer_without_a_mask_is_not_scored(images):
    with pytest.raises(NotScored, match="every feature map of layer 'conv' is constant, so scorecam has no mask"):
        ScoreCam().explain(small(dead="all"), images, [0, 1])


def test_memory_that_is_too_small_halves_the_batch_and_then_is_an_error(images, monkeypatch):
    classifier = small()
    expected = ScoreCam().explain(classifier, images[:1], [0])
    most = 2
    whole = classifier.blended._outputs

    def short(photo, substrate, weights):
        if len(weights) > most:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return whole(photo, substrate, weights)

    monkeypatch.setattr(classifier.blended, "_outputs", short)
    np.testing.assert_allclose(ScoreCam().explain(classifier, images[:1], [0]), expected, rtol=1e-5, atol=1e-6)
    assert classifier.batch_size == 2
    most = 0
    with pytest.raises(ModelError, match="model 'small' runs out of memory on a single image"):
        ScoreCam().explain(classifier, images[:1], [0])


def test_a_model_without_a_mean_color_is_refused():
    model = keras.Sequential(
        [keras.Input((24, 32, 1)), keras.layers.Conv2D(3, 3), keras.layers.Flatten(), keras.layers.Dense(2)],
        name="gray",
    )
    classifier = Classifier(model)
    with pytest.raises(ModelError, match="mean color"):
        ScoreCam().check(classifier)
    known = classifier.with_mean_color([90.0])
    ScoreCam().check(known)
    image = np.random.default_rng(0).integers(0, 256, (1, 24, 32, 1), dtype=np.uint8)
    assert ScoreCam().explain(known, image, [1]).shape == (1, 24, 32)
    assert ScoreCam().substrate == "mean"
