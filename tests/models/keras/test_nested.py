"""Graphs with nested models of several inputs and outputs, and inputs in a list or dictionary."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import evalkit
from evalkit.core.errors import ModelError
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.models.zoo.load import as_classifier

LAYERS = keras.layers
SIDE, AGE = 16, 0.42


def convolved(inputs):
    tensor = LAYERS.Conv2D(4, 3, activation="relu", name="conv", bias_initializer="random_normal")(inputs)
    return LAYERS.GlobalAveragePooling2D()(tensor)


def dense(activation="softmax"):
    return LAYERS.Dense(3, activation, kernel_initializer=keras.initializers.RandomNormal(stddev=3, seed=1))


def image_and_age(structure):
    """A model of an image and a number; its inputs are in a list or dictionary."""
    keras.utils.set_random_seed(2)
    image, age = keras.Input((SIDE, SIDE, 3), name="image"), keras.Input((1,), name="age")
    tensor = LAYERS.Concatenate()([convolved(image), LAYERS.Dense(4, activation="tanh")(age)])
    inputs = {"image": image, "age": age} if structure == "dictionary" else [image, age]
    return keras.Model(inputs, dense(None)(tensor), name="both")


def of_the_image(model, structure):
    """The documented wrapper: a model of the image alone, with the age fixed."""
    image = keras.Input((SIDE, SIDE, 3))
    age = keras.ops.zeros_like(image[:, 0, 0, :1]) + AGE
    given = {"image": image, "age": age} if structure == "dictionary" else [image, age]
    return keras.Model(image, model(inputs=given) if structure == "keyword" else model(given))


@pytest.fixture
def images(rng):
    return rng.uniform(0, 1, (3, SIDE, SIDE, 3)).astype(np.float32)


@pytest.mark.parametrize("structure", ["list", "dictionary", "keyword"])
def test_other_inputs_may_be_fixed_in_a_graph(images, structure):
    model = image_and_age(structure)
    with pytest.raises(ModelError, match=r"'both' has 2 inputs: .*age \(None, 1\).*; give a model or function"):
        as_classifier(model, preprocess="none")
    ages = np.full((len(images), 1), AGE, np.float32)
    given = {"image": images, "age": ages} if structure == "dictionary" else [images, ages]
    expected = model(given).numpy()
    classifier = as_classifier(of_the_image(model, structure), preprocess="none")
    np.testing.assert_allclose(classifier.logits(images), expected, rtol=1e-5, atol=1e-6)
    assert (classifier.head.text, classifier.target_layer) == ("softmax, of logits", "both/conv")
    conv = model.get_layer("conv").output
    age = next(tensor for tensor in model.inputs if tensor.shape[1:] == (1,))
    behind = keras.Model([conv, age], model.outputs[0])
    features = tf.constant(keras.Model(model.inputs, conv)(given))
    with tf.GradientTape() as tape:
        tape.watch(features)
        logit = behind([features, tf.constant(ages)])[:, 1]
    found, gradient = classifier.features.activations_and_gradients(images, [1] * 3, "both/conv")
    np.testing.assert_allclose(found, features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, tape.gradient(logit, features), rtol=1e-4, atol=1e-6)
    box = evalkit.BlackBox(lambda batch: model([batch, ages[:1].repeat(len(batch), 0)]), SIDE)
    if structure == "list":
        photos, occlusion = (images * 255).astype(np.uint8), EXPLAINERS.build("occlusion(patch_size=8)")
        expected = occlusion.explain(classifier, photos, [0, 1, 2])
        np.testing.assert_allclose(
            occlusion.explain(as_classifier(box), photos, [0, 1, 2]), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("kind", ["list", "dictionary"])
def test_a_nested_model_may_have_several_outputs(images, kind):
    keras.utils.set_random_seed(4)
    inner_input = keras.Input((SIDE, SIDE, 3))
    features = convolved(inner_input)
    scores = dense()(features)
    outputs = [features, scores] if kind == "list" else {"features": features, "scores": scores}
    inner = keras.Model(inner_input, outputs, name="inner")
    image = keras.Input((SIDE, SIDE, 3))
    both = inner(image)
    used = keras.Model(image, both[1] if kind == "list" else both["scores"])
    classifier = as_classifier(used, preprocess="none")
    np.testing.assert_allclose(classifier.probabilities(images), used(images), rtol=1e-5, atol=1e-6)
    assert classifier.head.text == "softmax"  # of the second output, not of the first
    last = keras.Model(image, dense(None)(both[0] if kind == "list" else both["features"]))
    np.testing.assert_allclose(
        as_classifier(last, preprocess="none").logits(images), last(images), rtol=1e-5, atol=1e-6
    )


def test_a_model_used_twice_in_a_graph(images):
    shared_input = keras.Input((SIDE, SIDE, 3))
    shared = keras.Model(shared_input, convolved(shared_input), name="shared")
    image = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(image, dense()(LAYERS.Concatenate()([shared(image), shared(image[:, ::-1] * 0.5)])))
    classifier = as_classifier(model, preprocess="none")
    np.testing.assert_allclose(classifier.probabilities(images), model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda image: [image], lambda image: {"photo": image}, lambda image: (image,)])
def test_one_input_may_stand_in_a_list_or_dictionary(images, wrap):
    image = keras.Input((SIDE, SIDE, 3), name="photo")
    model = keras.Model(wrap(image), [dense()(convolved(image))])
    expected = keras.tree.flatten(model(wrap(images)))[0]
    classifier = as_classifier(model, preprocess="none")
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=1e-5, atol=1e-6)
    outer_image = keras.Input((SIDE, SIDE, 3))
    outer = keras.Model(outer_image, keras.tree.flatten(model(wrap(outer_image)))[0])
    np.testing.assert_allclose(
        as_classifier(outer, preprocess="none").probabilities(images), expected, rtol=1e-5, atol=1e-6
    )
    maps = [
        EXPLAINERS.build("gradcam").explain(as_classifier(one, preprocess="none"), images, [0, 1, 2])
        for one in (model, outer)
    ]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-7)
