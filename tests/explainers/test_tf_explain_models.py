"""tf-explain's entrants on kinds of models that the library cannot explain by itself, beside its method by hand."""

from __future__ import annotations

import warnings

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError
from evalkit.explainers.tf_explain import TfExplainGradCam, TfExplainOcclusion
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier

layers = keras.layers
SIDE = 16


class Augmentation(layers.Layer):
    """Augmentation inside a layer of one's own, which does not take ``training`` itself."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.flip, self.zoom = layers.RandomFlip(), layers.RandomZoom(0.4)

    def call(self, images):
        return self.zoom(self.flip(images))


def convolutions(tensor, **options):
    tensor = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv_a", **options)(tensor)
    return layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="conv_b", **options)(tensor)


def scores(tensor, units=3, activation="softmax", **options):
    spread = keras.initializers.RandomNormal(stddev=0.05)
    return layers.Dense(units, activation=activation, kernel_initializer=spread, name="scores", **options)(
        layers.Flatten(**options)(tensor)
    )


def plain(units=3, activation="softmax", **options):
    inputs = keras.Input((SIDE, SIDE, 3))
    features = convolutions(layers.Rescaling(1 / 127.5, -1.0)(inputs), **options)
    return keras.Model(inputs, scores(features, units, activation, **options))


def nested(pooling=False):
    inner = keras.Input((SIDE, SIDE, 3))
    features = convolutions(inner)
    backbone = keras.Model(inner, layers.GlobalAveragePooling2D()(features) if pooling else features, name="backbone")
    inputs = keras.Input((SIDE, SIDE, 3))
    return keras.Model(inputs, scores(backbone(layers.Rescaling(1 / 127.5, -1.0)(inputs))))


def augmented():
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)), layers.RandomRotation(0.3), Augmentation(), layers.Rescaling(1 / 127.5, -1.0),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="conv_b"), layers.Dropout(0.5), layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )  # fmt: skip


def in_structure(structure):
    model = plain()
    return keras.Model(model.inputs, structure(model.outputs[0]))


def built(make, *arguments, **options):
    keras.utils.set_random_seed(8)
    return make(*arguments, **options)


def photo():
    return np.random.default_rng(4).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)


def gradcam_by_hand(features, output, image):
    """The library's method, of a function from an image to features and to the output explained from features."""
    with tf.GradientTape() as tape:
        values = tf.cast(features(tf.constant(image, tf.float32)), tf.float32)
        tape.watch(values)
        explained = output(values)
    gradient = tape.gradient(explained, values).numpy()
    values = values.numpy()
    guided = (values > 0) * (gradient > 0) * gradient
    coarse = (guided.mean(axis=(1, 2), keepdims=True) * values).sum(axis=-1)[0]
    return cv2.resize(coarse.astype(np.float64), (SIDE, SIDE))


def split(model, layer):
    """A model as two functions: up to a layer, and from there to the outputs."""
    index = [one.name for one in model.layers].index(layer)

    def run(tensor, chosen):
        for one in chosen:
            tensor = one(tensor, training=False)
        return tensor

    first = [one for one in model.layers[: index + 1] if not isinstance(one, layers.InputLayer)]
    return lambda image: run(image, first), lambda values: run(values, model.layers[index + 1 :])


def close(found, expected):
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("structure", [lambda one: [one], lambda one: {"scores": one}, lambda one: one])
def test_one_output_in_a_list_or_a_dictionary(structure):
    model = built(in_structure, structure)
    classifier, image = Classifier(model), photo()
    TfExplainGradCam().check(classifier)
    features, rest = split(built(plain), "conv_b")
    close(
        TfExplainGradCam().explain(classifier, image, [2])[0], gradcam_by_hand(features, lambda v: rest(v)[:, 2], image)
    )
    expected = TfExplainOcclusion(patch_size=8).explain(Classifier(built(plain)), image, [2])
    np.testing.assert_allclose(
        TfExplainOcclusion(patch_size=8).explain(classifier, image, [2]), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("layer", [None, "backbone/conv_a", "conv_b"])
def test_layers_inside_a_nested_model_are_read(layer):
    model = built(nested)
    classifier, image = Classifier(model), photo()
    explainer = TfExplainGradCam(layer=layer)
    explainer.check(classifier)
    flat = built(plain)
    flat.set_weights(model.get_weights())
    features, rest = split(flat, (layer or "conv_b").rpartition("/")[2])
    close(explainer.explain(classifier, image, [1])[0], gradcam_by_hand(features, lambda v: rest(v)[:, 1], image))
    assert len(model.get_layer("backbone")._inbound_nodes) == 1  # the user's layers are not called symbolically


def test_a_backbone_that_ends_in_pooling_is_entered():
    classifier = Classifier(built(nested, pooling=True))
    assert classifier.given.last_spatial_layer() == "backbone/conv_b"
    assert np.ptp(TfExplainGradCam().explain(classifier, photo(), [0])) > 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_models_of_mixed_precision(policy):
    model = built(plain, dtype=policy)
    classifier, image = Classifier(model), photo()
    TfExplainGradCam().check(classifier)
    found = TfExplainGradCam().explain(classifier, image, [1])[0]
    exact = built(plain)
    exact.set_weights(model.get_weights())
    expected = TfExplainGradCam().explain(Classifier(exact), image, [1])[0]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97
    occluded = TfExplainOcclusion(patch_size=8).explain(classifier, image, [1])
    exactly = TfExplainOcclusion(patch_size=8).explain(Classifier(exact), image, [1])
    np.testing.assert_allclose(occluded, exactly, atol=0.02)


def test_augmentation_is_off():
    model = built(augmented)
    classifier, image = Classifier(model), photo()
    found = TfExplainGradCam().explain(classifier, image, [0])
    np.testing.assert_array_equal(found, TfExplainGradCam().explain(classifier, image, [0]))
    features, rest = split(model, "conv_b")
    close(found[0], gradcam_by_hand(features, lambda values: rest(values)[:, 0], image))
    np.testing.assert_allclose(
        classifier.probabilities(image), model.predict(image.astype("float32"), verbose=0), atol=1e-5
    )


def test_one_sigmoid_unit_is_two_classes():
    model = built(plain, units=1, activation="sigmoid")
    classifier, image = Classifier(model), photo()
    features, rest = split(model, "conv_b")
    for target, output in ((1, lambda values: rest(values)[:, 0]), (0, lambda values: 1 - rest(values)[:, 0])):
        close(TfExplainGradCam().explain(classifier, image, [target])[0], gradcam_by_hand(features, output, image))
    ones, zeros = (TfExplainOcclusion(patch_size=8).explain(classifier, image, [target]) for target in (1, 0))
    np.testing.assert_allclose(ones, 1 - zeros, rtol=1e-5, atol=1e-6)  # 1 - p and p
    assert 0 < zeros.min() < zeros.max() < 1


def test_a_layer_that_the_scores_do_not_depend_on_is_refused():
    inner = keras.Input((SIDE, SIDE, 3))
    features = convolutions(inner)
    backbone = keras.Model(inner, [features, layers.Conv2D(2, 1, name="other")(features)], name="backbone")
    inputs = keras.Input((SIDE, SIDE, 3))
    classifier = Classifier(keras.Model(inputs, scores(backbone(inputs)[0])))
    with pytest.raises(ModelError, match="no layer with a single 4-D output, 'other': "):
        TfExplainGradCam(layer="other").check(classifier)
    assert classifier.given.last_spatial_layer() == "backbone/conv_b"


def test_the_photo_itself_is_no_layer():
    """The last 4-D layer of a model without convolutions is its input, or what only rescales it."""
    inputs = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(inputs, scores(layers.Rescaling(1 / 255)(inputs)))
    with pytest.raises(ModelError, match="has no layer with a 4-D output; use occlusion"):
        TfExplainGradCam().check(Classifier(model))


def test_a_transformer_is_left_out_with_the_reason():
    inputs = keras.Input((SIDE, SIDE, 3))
    tokens = layers.Reshape((16, 8))(layers.Conv2D(8, 4, 4, name="patches")(inputs))
    tokens = layers.LayerNormalization()(layers.Add()([tokens, layers.MultiHeadAttention(2, 4)(tokens, tokens)]))
    classifier = Classifier(keras.Model(inputs, scores(tokens)))
    with pytest.raises(ModelError, match="'patches', is before the tokens of patches, which tf-explain cannot read"):
        TfExplainGradCam().check(classifier)
    TfExplainGradCam(layer="patches").check(classifier)
    TfExplainOcclusion(patch_size=8).check(classifier)


def test_a_black_box_is_occluded():
    model, image = built(plain), photo()
    box = Classifier(BlackBox(lambda images: model(images).numpy(), (SIDE, SIDE)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = TfExplainOcclusion(patch_size=8).explain(box, image, [1])
    expected = TfExplainOcclusion(patch_size=8).explain(Classifier(model), image, [1])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match="does not offer"):
        TfExplainGradCam().check(box)
