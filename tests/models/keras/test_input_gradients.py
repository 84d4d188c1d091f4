"""Gradients with respect to the pixels: of what, through what, and at which cost."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError, NotScored
from evalkit.models.classifier import Classifier


def dense_model(*weights, relu=keras.layers.ReLU, activation=None):
    """Dense layers over 2 x 3 pixels of one channel, a ReLU between each two."""
    layers = [keras.Input((2, 3, 1)), keras.layers.Flatten()]
    for number, kernel in enumerate(weights, start=1):
        is_last = number == len(weights)
        layers.append(keras.layers.Dense(kernel.shape[1], use_bias=False, activation=activation if is_last else None))
        layers += [] if is_last else [relu()]
    model = keras.Sequential(layers)
    for layer, kernel in zip([one for one in model.layers if hasattr(one, "kernel")], weights, strict=True):
        layer.set_weights([kernel.astype(np.float32)])
    return model


@pytest.fixture
def weights(rng):
    return [rng.normal(0, 0.1, shape) for shape in ((6, 8), (8, 8), (8, 3))]


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 2, 3, 1), dtype=np.uint8)


def guided_by_hand(image, weights, target, top=np.inf):
    """Guided backpropagation of one image from its definition."""
    values, kept = image.astype(np.float64).ravel(), []
    for kernel in weights[:-1]:
        values = values @ kernel
        kept.append((values > 0) & (values < top))
        values = values.clip(0, top)
    back = weights[-1][:, target]
    for kernel, active in zip(weights[-2::-1], kept[::-1], strict=True):
        back = kernel @ np.where(active & (back > 0), back, 0.0)
    return back.reshape(image.shape)


def test_gradient_equals_a_tape_through_the_preprocessing(photos):
    keras.utils.set_random_seed(1)
    body = [
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01)),
    ]
    with_softmax = keras.Sequential([keras.Input((32, 32, 3)), *body, keras.layers.Softmax()])
    logits, targets = keras.Sequential([keras.Input((32, 32, 3)), *body]), [0, 2, 1, 1]
    with tf.GradientTape() as tape:
        pixels = tf.constant(photos.astype(np.float32))
        tape.watch(pixels)
        chosen = tf.gather(logits(keras.applications.vgg16.preprocess_input(pixels)), targets, axis=1, batch_dims=1)
    classifier = Classifier(with_softmax, preprocess="vgg16", batch_size=3)
    found = classifier.input_gradients(photos, targets)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tape.gradient(chosen, pixels), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("relu", "top"),
    [
        (keras.layers.ReLU, np.inf),
        (lambda: keras.layers.Activation("relu"), np.inf),
        (lambda: keras.layers.ReLU(max_value=6), 6.0),
        (lambda: keras.layers.ReLU(max_value=20.0), 20.0),
        (lambda: keras.Sequential([keras.Input((8,)), keras.layers.ReLU()]), np.inf),
        (lambda: keras.layers.Lambda(tf.nn.relu), np.inf),
    ],
    ids=["layer", "activation", "relu6", "clipped", "nested", "lambda"],
)
def test_guided_gradient_equals_a_twin(weights, images, relu, top):
    classifier = Classifier(dense_model(*weights, relu=relu))
    targets = [0, 1, 2, 1, 0]
    expected = [guided_by_hand(image, weights, target, top) for image, target in zip(images, targets, strict=True)]
    found = classifier.input_gradients(images, targets, guided=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert not np.allclose(found, classifier.input_gradients(images, targets), rtol=0.1)


def test_guided_leaves_the_negative_half_of_prelu_alone(weights, images):
    slopes = keras.initializers.Constant(0.3)
    classifier = Classifier(dense_model(*weights, relu=lambda: keras.layers.PReLU(slopes)))
    assert "has no ReLU" not in classifier.input_gradients.reason_against(guided=True)
    values, back = images[0].astype(np.float64).ravel(), weights[-1][:, 1]
    signs = []
    for kernel in weights[:-1]:
        values = values @ kernel
        signs.append(values > 0)
        values = np.where(values > 0, values, 0.3 * values)
    for kernel, positive in zip(weights[-2::-1], signs[::-1], strict=True):
        back = kernel @ np.where(positive, back.clip(min=0), 0.3 * back)
    found = classifier.input_gradients(images[:1], [1], guided=True)[0]
    np.testing.assert_allclose(found.ravel(), back, rtol=1e-4, atol=1e-7)


def test_guided_does_not_change_later_gradients(weights, images):
    model = dense_model(*weights)
    classifier, untouched = Classifier(model), Classifier(model).input_gradients(images, [0] * 5)
    classifier.input_gradients(images, [0] * 5, guided=True)
    np.testing.assert_array_equal(classifier.input_gradients(images, [0] * 5), untouched)


def test_guided_needs_a_relu_that_it_can_see(weights):
    without = Classifier(dense_model(*weights, relu=lambda: keras.layers.Activation("gelu")))
    assert without.input_gradients.reason_against() == ""
    assert without.input_gradients.reason_against(guided=True).startswith("has no ReLU")
    hidden = Classifier(dense_model(*weights, relu=lambda: keras.layers.Lambda(tf.function(tf.nn.relu))))
    assert hidden.input_gradients.reason_against() == ""
    assert "tf.function with a ReLU" in hidden.input_gradients.reason_against(guided=True)


def test_several_outputs_are_explained_as_their_log_sum_exp(weights, images):
    classifier = Classifier(dense_model(*weights, activation="softmax"))
    logits = classifier.logits(images)[:, [0, 2]]
    shares = np.exp(logits - np.logaddexp(*logits.T)[:, None])
    singly = [classifier.input_gradients(images, [target] * 5) for target in (0, 2)]
    expected = sum(shares[:, at, None, None, None] * singly[at] for at in (0, 1))
    np.testing.assert_allclose(classifier.input_gradients(images, [(0, 2)] * 5), expected, rtol=1e-4, atol=1e-6)


def test_one_sigmoid_unit_has_opposite_gradients(weights, images):
    kernels = [*weights[:-1], weights[-1][:, :1]]
    classifier = Classifier(dense_model(*kernels, activation="sigmoid"))
    linear = Classifier(dense_model(*weights)).input_gradients(images, [0] * 5)
    np.testing.assert_allclose(classifier.input_gradients(images, [1] * 5), linear, rtol=1e-5)
    np.testing.assert_allclose(classifier.input_gradients(images, [0] * 5), -linear, rtol=1e-5)


def test_probabilities_without_a_logit_use_log_odds_or_are_not_scored(weights, images):
    def model_of(scale):
        inputs = keras.Input((2, 3, 1))
        logits = dense_model(*weights)(inputs * scale)
        exponentials = keras.ops.exp(logits)
        return keras.Model(inputs, exponentials / keras.ops.sum(exponentials, axis=1, keepdims=True))

    classifier = Classifier(model_of(0.01), head="probabilities")
    assert not classifier.head.from_logits
    found = classifier.input_gradients(images, [1] * 5)
    plain = Classifier(dense_model(*weights))
    logits, others = plain.logits(images * np.float32(0.01)), []
    shares = np.exp(logits[:, [0, 2]] - np.logaddexp(logits[:, 0], logits[:, 2])[:, None])
    for at, other in enumerate((0, 2)):
        others.append(shares[:, at, None, None, None] * plain.input_gradients(images, [other] * 5))
    expected = 0.01 * (plain.input_gradients(images, [1] * 5) - sum(others))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    with pytest.raises(NotScored, match="saturated"):
        Classifier(model_of(100.0), head="probabilities").input_gradients(images, [1] * 5)


def test_channels_first_gives_channels_last():
    keras.utils.set_random_seed(2)
    last = keras.Sequential(
        [keras.Input((8, 10, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(2)]
    )
    first = keras.Sequential(
        [
            keras.Input((3, 8, 10)),
            keras.layers.Conv2D(4, 3, data_format="channels_first"),
            keras.layers.GlobalMaxPooling2D(data_format="channels_first"),
            keras.layers.Dense(2),
        ]
    )
    first.set_weights(last.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 10, 3), dtype=np.uint8)
    expected, found = (Classifier(model).input_gradients(images, [0, 1, 1]) for model in (last, first))
    assert found.shape == images.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_a_model_in_bfloat16_is_differentiated_in_float32(tiny, photos):
    fast = tiny.in_precision("bfloat16")
    targets = [0, 1, 2, 0]
    np.testing.assert_array_equal(fast.input_gradients(photos, targets), tiny.input_gradients(photos, targets))
    assert (fast.count.forward, fast.count.backward) == (4, 4)


def test_small_gradients_do_not_vanish_in_float16(rng):
    def model_of(dtype):
        return keras.Sequential(
            [
                keras.Input((40, 40, 3), dtype=dtype),
                keras.layers.Conv2D(4, 3, dtype=dtype),
                keras.layers.GlobalAveragePooling2D(dtype=dtype),
                keras.layers.Dense(2, dtype="float32"),
            ]
        )

    exact, half = model_of("float32"), model_of("float16")
    weights = [
        rng.normal(0, scale, weight.shape) for scale, weight in zip((2e-3, 0, 0.05, 0), exact.weights, strict=True)
    ]
    for model in (exact, half):
        model.set_weights(weights)
    images = rng.integers(0, 256, (1, 40, 40, 3), dtype=np.uint8)
    expected, found = (Classifier(model).input_gradients(images, [1]) for model in (exact, half))
    assert 0 < np.abs(expected).max() < 1e-6
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_batches_do_not_matter_and_are_halved_when_memory_runs_out(tiny_model, photos, monkeypatch):
    targets, expected = [0, 1, 2, 0], Classifier(tiny_model, batch_size=7).input_gradients(photos, [0, 1, 2, 0])
    singly = Classifier(tiny_model, batch_size=1)
    np.testing.assert_allclose(singly.input_gradients(photos, targets), expected, rtol=1e-5, atol=1e-9)
    short = Classifier(tiny_model, batch_size=4)
    function = short.input_gradients._function(False)

    def with_little_memory(images, chosen):
        if len(images) > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")
        return function(images, chosen)

    monkeypatch.setattr(short.input_gradients, "_function", lambda _: with_little_memory)
    np.testing.assert_allclose(short.input_gradients(photos, targets), expected, rtol=1e-5, atol=1e-9)
    assert (short.count.forward, short.count.backward, short.batch_size) == (4, 4, 4)

    def without_memory(images, chosen):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(short.input_gradients, "_function", lambda _: without_memory)
    with pytest.raises(ModelError, match="memory in the backward pass of a single image; use occlusion"):
        short.input_gradients(photos, targets)


def test_no_gradient_is_refused_with_its_reason(tiny_model, photos):
    outside = Classifier(tiny_model, preprocess="numpy:negative")
    assert "'numpy:negative', a function that runs outside TensorFlow" in outside.input_gradients.reason_against()
    with pytest.raises(ModelError, match="so no gradient reaches the pixels"):
        outside.input_gradients(photos, [0] * 4)
    inputs = keras.Input((32, 32, 3))
    whole = Classifier(keras.Model(inputs, tiny_model(keras.ops.cast(keras.ops.cast(inputs, "int32"), "float32"))))
    assert "cast to whole numbers" in whole.input_gradients.reason_against()


def test_gradients_are_shared_inside_a_block(tiny_model, photos):
    classifier = Classifier(tiny_model)
    with classifier.sharing():
        first, second = (classifier.input_gradients(photos[:1], [1]) for _ in range(2))
        assert first is second
        classifier.input_gradients(photos[:1], [2])
        classifier.input_gradients(photos[:1], [1], guided=True)
    assert classifier.count.backward == 3
    classifier.input_gradients(photos[:1], [1])
    assert classifier.count.backward == 4
