"""Models that run a layer twice, put out (N, 1, 1, C), draw random numbers, or bend what CAM reads."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from evalkit.core.errors import ModelError
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.models.classifier import Classifier

LAYERS = keras.layers
SIDE = 12


def features(inputs):
    tensor = LAYERS.Conv2D(4, 3, activation="relu", name="conv")(LAYERS.Rescaling(1 / 255)(inputs))
    return LAYERS.GlobalAveragePooling2D(name="pool")(tensor)


def network(*end):
    keras.utils.set_random_seed(5)
    tensor = features(inputs := keras.Input((SIDE, SIDE, 3)))
    for layer in end:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor, name="net")


def mirrored():
    inner = network(LAYERS.Dense(3, "softmax"))
    inputs = keras.Input((SIDE, SIDE, 3))
    return keras.Model(inputs, (inner(inputs) + inner(keras.ops.flip(inputs, axis=2))) / 2, name="mirrored")


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gradcam", "has no convolution larger than 1 x 1 that runs only once; use occlusion"),
        ("gradcam(layer=conv)", "'conv' of model 'mirrored' runs more than once in one pass.* use occlusion"),
        ("tf_explain.gradcam", "has no layer with a 4-D output that runs only once"),
    ],
)
def test_a_layer_that_runs_twice_has_no_single_map(spec, words):
    """Its last run is on the mirror image, and so would the map be."""
    with pytest.raises(ModelError, match=words):
        EXPLAINERS.build(spec).check(Classifier(mirrored()))


def test_a_layer_before_one_that_runs_twice_is_taken(images):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((SIDE, SIDE, 3))
    again = LAYERS.Conv2D(3, 3, padding="same", name="again")
    tensor = again(again(LAYERS.Conv2D(3, 3, name="first")(inputs)))
    model = keras.Model(inputs, LAYERS.Dense(2, "softmax")(LAYERS.GlobalAveragePooling2D()(tensor)))
    assert Classifier(model).target_layer == "first"


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 1), (1, 3)])
def test_scores_in_another_shape_are_a_row(shape, images):
    plain = network(LAYERS.Dense(3, "softmax"))
    shaped = Classifier(keras.Model(plain.inputs[0], LAYERS.Reshape(shape)(plain.outputs[0])))
    assert (shaped.n_classes, shaped.head.text) == (3, "softmax")
    np.testing.assert_allclose(shaped.probabilities(images), plain(images.astype(np.float32)), rtol=1e-5, atol=1e-6)
    for spec in (
        "gradcam",
        "cam",
        "occlusion(patch_size=4)",
        "tf_explain.gradcam(layer=conv)",
        "tf_explain.occlusion(patch_size=4)",
    ):
        explainer = EXPLAINERS.build(spec)
        expected = explainer.explain(Classifier(plain), images, [1, 2])
        np.testing.assert_allclose(explainer.explain(shaped, images, [1, 2]), expected, rtol=1e-5, atol=1e-6)


def test_a_map_of_scores_is_refused():
    inputs = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(inputs, LAYERS.Conv2D(3, 1, activation="softmax")(inputs))
    with pytest.raises(ModelError, match=r"outputs of shape \(None, 12, 12, 3\); one row of scores an image"):
        Classifier(model)


class AlwaysDropping(LAYERS.Dropout):
    def call(self, tensor):
        return super().call(tensor, training=True)


class Counting(LAYERS.Layer):
    def build(self, shape):
        self.passes = self.add_weight(shape=(), trainable=False, initializer="zeros")

    def call(self, tensor):
        self.passes.assign_add(1.0)
        return tensor + self.passes * [1.0, 0.0, 0.0]


@pytest.mark.parametrize("end", [[AlwaysDropping(0.5), LAYERS.Dense(3)], [LAYERS.Dense(3), Counting()]])
def test_a_model_that_scores_an_image_anew_each_time_is_named(end):
    sentence = Classifier(network(*end, LAYERS.Softmax())).doubt
    assert sentence.startswith("model 'net' gives the same image other scores in every pass (they differ by up to ")


def test_dropout_that_keras_turns_off_raises_no_doubt():
    steady = network(lambda tensor: LAYERS.Dropout(0.5)(tensor, training=True), LAYERS.Dense(3, "softmax"))
    assert Classifier(steady).doubt == ""


def test_cam_is_refused_where_an_activation_bends_the_pooled_features():
    bent = Classifier(network(LAYERS.Activation("tanh"), LAYERS.Dense(3, "softmax")))
    with pytest.raises(ModelError, match="does not end in global average pooling and one dense layer"):
        EXPLAINERS.build("cam").check(bent)
    assert Classifier(network(LAYERS.Dropout(0.5), LAYERS.Dense(3), LAYERS.Softmax())).pooled_end() is not None
