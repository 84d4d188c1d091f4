"""Classifier: honest answers of a Keras model, whatever its end, and the model left as it was."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError
from evalkit.models.classifier import Classifier
from evalkit.models.keras import graph
from evalkit.models.probabilities import log_complement, softmax


def network(*end, side=16):
    inputs = keras.Input((side, side, 3))
    hidden = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    hidden = keras.layers.Flatten()(hidden)
    for layer in end:
        hidden = layer(hidden)
    return keras.Model(inputs, hidden, name="network")


ENDS = {
    "dense with softmax": lambda: [keras.layers.Dense(3, activation="softmax")],
    "softmax layer": lambda: [keras.layers.Dense(3), keras.layers.Softmax()],
    "activation layer": lambda: [keras.layers.Dense(3), keras.layers.Activation("softmax")],
    "softmax operation": lambda: [keras.layers.Dense(3), keras.ops.softmax],
    "softmax, then a cast": lambda: [keras.layers.Dense(3, activation="softmax"), keras.layers.Activation("linear")],
    "softmax, then a reshape": lambda: [keras.layers.Dense(3, activation="softmax"), keras.layers.Reshape((3,))],
}


@pytest.mark.parametrize("end", ENDS)
def test_softmax_of_the_logits_is_what_the_model_itself_puts_out(end, rng):
    model = network(*ENDS[end]())
    images = rng.uniform(0, 255, (5, 16, 16, 3)).astype("float32")
    classifier = Classifier(model, batch_size=2)
    expected = model(images).numpy()
    # float32 holds a logit of some hundreds to 1e-5; other batch sizes differ by that, as a share of a probability.
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=2e-4, atol=1e-6)
    assert np.abs(classifier.logits(images)).max() > 1.5  # not probabilities taken for logits
    assert classifier.logits(images).dtype == np.float64


def test_a_model_without_softmax_gives_its_own_output_as_logits(rng):
    model = network(keras.layers.Dense(3))
    images = rng.uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(Classifier(model).logits(images), model(images).numpy(), rtol=1e-5)


def test_a_convolutional_head_loses_only_its_softmax(rng):
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(3, 8, activation="softmax")(inputs)
    model = keras.Model(inputs, keras.layers.Flatten()(hidden))
    images = rng.uniform(0, 2, (2, 8, 8, 3)).astype("float32")
    classifier = Classifier(model)
    np.testing.assert_allclose(classifier.probabilities(images), model(images).numpy(), rtol=1e-5, atol=1e-6)
    assert not np.allclose(classifier.logits(images).sum(axis=1), 1)


def test_the_users_model_is_not_touched(tiny_model, photos):
    before = tiny_model.to_json(), [np.copy(weight) for weight in tiny_model.get_weights()]
    nodes = [len(layer._inbound_nodes) for layer in tiny_model.layers]
    classifier = Classifier(tiny_model)
    classifier.logits(photos)
    classifier.features.activations_and_gradients(photos, [0, 1, 2, 0], "conv_b")
    assert tiny_model.to_json() == before[0]
    for weight, kept in zip(tiny_model.get_weights(), before[1], strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert [len(layer._inbound_nodes) for layer in tiny_model.layers] == nodes
    assert tiny_model.layers[-1].activation is keras.activations.softmax


def test_gradient_is_of_the_logit_not_of_the_softmax(tiny, photos):
    features, gradients = tiny.features.activations_and_gradients(photos[:1], [1], "conv_b")
    kernel = np.asarray(tiny.model.get_layer("predictions").kernel)[:, 1]
    # conv_b -> max pooling -> average -> dense: a winner of its 2 x 2 window weighs kernel / 64.
    winners = gradients[0] != 0
    assert 0 < winners.sum() <= 8 * 8 * 8
    np.testing.assert_allclose(gradients[0].sum(axis=(0, 1)), kernel, rtol=1e-5)
    assert features.shape == gradients.shape == (1, 16, 16, 8)


def test_batch_size_does_not_move_the_logits(tiny_model, photos):
    one, many = Classifier(tiny_model, batch_size=1), Classifier(tiny_model, batch_size=3)
    np.testing.assert_allclose(one.logits(photos), many.logits(photos), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        one.logits(photos), many.logits_from(4, lambda number: photos[number]), rtol=1e-5, atol=1e-6
    )
    assert one.passes == 8
    assert one.logits_from(0, None).shape == (0, 3)


def test_out_of_memory_halves_the_batch(tiny_model, photos, monkeypatch):
    classifier, reference = Classifier(tiny_model, batch_size=4), Classifier(tiny_model).logits(photos)
    original, sizes = classifier.source._outputs, []

    def narrow(batch, *, most):
        sizes.append(len(batch))
        if len(batch) > most:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return original(batch)

    monkeypatch.setattr(classifier.source, "_outputs", lambda batch: narrow(batch, most=1))
    np.testing.assert_allclose(classifier.logits(photos), reference, rtol=1e-5, atol=1e-6)
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert classifier.batch_size == 1
    assert classifier.passes == 4
    monkeypatch.setattr(classifier.source, "_outputs", lambda batch: narrow(batch, most=0))
    with pytest.raises(ModelError, match="runs out of memory on a single image"):
        classifier.logits(photos)


def test_work_is_every_weight_of_a_kernel_once_an_output_pixel(tiny):
    assert tiny.graph.work == 32 * 32 * (3 * 3 * 3 * 6) + 16 * 16 * (3 * 3 * 6 * 8) + 8 * 3


def test_the_same_model_built_twice_has_one_fingerprint():
    def build(filters=4):
        keras.utils.set_random_seed(3)
        images = keras.Input((16, 16, 3))
        branch = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(images)
        joined = keras.layers.Add()([branch, keras.layers.Conv2D(filters, 1)(images)])
        pooled = keras.layers.GlobalAveragePooling2D()(joined)
        return keras.Model(images, keras.layers.Dense(2, activation="softmax")(pooled))

    first, again = build(), build()
    assert [layer.name for layer in first.layers] != [layer.name for layer in again.layers]
    assert Classifier(first).fingerprint == Classifier(again).fingerprint
    assert Classifier(build(filters=5)).fingerprint != Classifier(first).fingerprint


def test_a_layer_called_like_its_activation_hides_nothing():
    def build(activation):
        keras.utils.set_random_seed(3)
        images = keras.Input((16, 16, 3))
        inside = keras.layers.Activation(activation, name=activation)(keras.layers.Conv2D(4, 3)(images))
        pooled = keras.layers.GlobalAveragePooling2D()(inside)
        return keras.Model(images, keras.layers.Dense(2, activation="softmax")(pooled))

    assert Classifier(build("relu")).fingerprint != Classifier(build("tanh")).fingerprint
    assert Classifier(build("relu")).fingerprint == Classifier(build("relu")).fingerprint


def test_fingerprint_depends_on_weights_and_preprocessing(tiny_model):
    first = Classifier(tiny_model).fingerprint
    assert Classifier(tiny_model).fingerprint == first
    assert Classifier(tiny_model, preprocess="vgg16").fingerprint != first
    other = keras.models.clone_model(tiny_model)
    other.set_weights([weight + 1e-3 for weight in tiny_model.get_weights()])
    assert Classifier(other).fingerprint != first


def test_preprocessing_is_inside(rng):
    model = network(keras.layers.Dense(3))
    images = rng.uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    fed = keras.applications.vgg16.preprocess_input(images.copy())
    classifier = Classifier(model, preprocess="vgg16")
    np.testing.assert_allclose(classifier.graph.preprocessed(images), fed, rtol=1e-6)
    np.testing.assert_allclose(classifier.logits(images), model(fed).numpy(), rtol=1e-4)


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        ("VGG16", "block5_conv3"),
        ("ResNet50", "conv5_block3_out"),
        ("MobileNetV2", "out_relu"),
        ("EfficientNetB0", "top_activation"),
    ],
)
def test_target_layer_of_well_known_models(build, layer):
    arguments = {"weights": None, "input_shape": (64, 64, 3), "classes": 3}
    assert Classifier(getattr(keras.applications, build)(**arguments)).target_layer == layer


def test_a_layer_inside_a_nested_model_is_found_and_explained(rng):
    inner_input = keras.Input((16, 16, 3))
    inner = keras.Model(inner_input, keras.layers.Conv2D(4, 3, name="deep")(inner_input), name="backbone")
    outer_input = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inner(outer_input))
    model = keras.Model(outer_input, keras.layers.Dense(2, activation="softmax")(pooled))
    classifier = Classifier(model)
    assert classifier.target_layer == "backbone/deep"
    assert classifier.resolve_layer("deep") == "backbone/deep"
    images = rng.uniform(0, 255, (1, 16, 16, 3)).astype("float32")
    features, gradients = classifier.features.activations_and_gradients(images, [1], "backbone/deep")
    np.testing.assert_allclose(features[0], inner(images).numpy()[0], rtol=1e-4)
    kernel = np.asarray(model.layers[-1].kernel)[:, 1]
    np.testing.assert_allclose(gradients[0], np.broadcast_to(kernel / 14**2, (14, 14, 4)), rtol=1e-4)
    np.testing.assert_allclose(classifier.probabilities(images), model(images).numpy(), rtol=1e-5, atol=1e-6)
    assert classifier.pooled_end().features == graph.TensorAt(pooled._keras_history.operation.name, entering=True)


def test_dropout_and_batch_normalization_run_as_in_inference(rng):
    model = network(
        keras.layers.BatchNormalization(), keras.layers.Dropout(0.9), keras.layers.Dense(3, activation="softmax")
    )
    images = rng.uniform(0, 255, (3, 16, 16, 3)).astype("float32")
    classifier = Classifier(model)
    np.testing.assert_array_equal(classifier.logits(images), classifier.logits(images))
    np.testing.assert_allclose(
        classifier.probabilities(images), model(images, training=False).numpy(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]), "height, width, channels"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]), "one row of scores an image"),
    ],
)
def test_models_that_are_no_image_classifiers_are_refused(model, message):
    with pytest.raises(ModelError, match=message):
        Classifier(model())


def test_an_unknown_layer_suggests_the_nearest(tiny):
    with pytest.raises(ModelError, match="has no layer 'conv_c': did you mean 'conv_"):
        tiny.resolve_layer("conv_c")
    with pytest.raises(ModelError, match="a feature map"):
        tiny.resolve_layer("gap")


def test_a_model_without_convolution_has_no_target_layer():
    flat = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    assert Classifier(flat).target_layer is None


def test_complement_keeps_what_one_minus_p_loses():
    logits = np.array([[60.0, 0.0, 0.0]])
    assert 1.0 - softmax(logits)[0, 0] == 0.0
    np.testing.assert_allclose(log_complement(logits, 0), np.log(2) - 60.0, rtol=1e-12)
    moderate = np.array([[1.0, 2.0, -0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(np.exp(log_complement(moderate, 2)), 1 - softmax(moderate)[:, 2], rtol=1e-12)


def test_preprocessing_on_top_of_the_models_own_is_doubted(tiny_model):
    assert Classifier(tiny_model).doubt == ""
    assert Classifier(tiny_model, preprocess="efficientnet").doubt == ""  # Keras' does nothing
    said = Classifier(tiny_model, preprocess="vgg16").doubt
    assert "--preprocess vgg16 is applied before model 'tiny', which begins with a Rescaling" in said
    plain = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    assert Classifier(plain, preprocess="vgg16").doubt == ""


def test_a_pass_is_filled_to_a_multiple_of_eight_at_most_a_batch(tiny_model):
    classifier = Classifier(tiny_model, batch_size=20)
    assert [classifier.padded(count) for count in (1, 2, 8, 9, 17, 20)] == [8, 8, 8, 16, 20, 20]
