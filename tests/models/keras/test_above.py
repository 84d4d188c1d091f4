"""The part of a model above one layer, compared with full passes of a model in which the channel is set to 0."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError
from evalkit.models.classifier import Classifier

SIDE = 16


@keras.saving.register_keras_serializable("evalkit_tests")
class Own(keras.layers.Layer):
    """A layer of one's own with a convolution inside."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.inner = keras.layers.Conv2D(4, 3, padding="same")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, images):
        return keras.ops.relu(self.inner(images))


class WithoutChannel(keras.layers.Layer):
    """Sets one channel to 0; -1 = none."""

    def __init__(self, axis, **arguments):
        super().__init__(**arguments)
        self.axis = axis
        self.channel = tf.Variable(-1)

    def call(self, tensor):
        shape = [1] * len(tensor.shape)
        shape[self.axis] = tensor.shape[self.axis]
        keep = tf.reshape(tf.range(tensor.shape[self.axis]) != self.channel, shape)
        return tf.where(keep, tensor, tf.zeros_like(tensor))


def convolution(filters, **options):
    return keras.layers.Conv2D(filters, 3, padding="same", activation="relu", **options)


def chain(zero, end):
    inputs = keras.Input((SIDE, SIDE + 8, 3))
    features = keras.layers.MaxPooling2D()(zero(convolution(6)(keras.layers.Rescaling(1 / 255)(inputs))))
    return inputs, end(keras.layers.Flatten()(convolution(4)(features)))


def residual(zero, end):
    """A tensor by-passes the layer twice, once from before it and once around the part above it."""
    inputs = keras.Input((SIDE, SIDE, 3))
    stem = convolution(5)(keras.layers.Rescaling(1 / 255)(inputs))
    branch = zero(convolution(5)(stem))
    joined = keras.layers.Add()([convolution(5)(branch), stem])
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Concatenate()([joined, convolution(3)(stem)]))
    beside = keras.layers.GlobalMaxPooling2D()(stem)
    return inputs, end(keras.layers.Concatenate()([pooled, beside]))


def nested(zero, end):
    inner = keras.Input((SIDE, SIDE, 3))
    features = zero(convolution(6)(inner))
    backbone = keras.Model(inner, keras.layers.MaxPooling2D()(features), name="backbone")
    inputs = keras.Input((SIDE, SIDE, 3))
    head = keras.Sequential([keras.Input((SIDE // 2, SIDE // 2, 6)), convolution(4)], name="head")
    features = head(backbone(keras.layers.Rescaling(1 / 255)(inputs)))
    return inputs, end(keras.layers.GlobalAveragePooling2D()(features))


def shared(zero, end):
    """A layer above is called twice, once on a changed and once on a by-passing tensor."""
    inputs = keras.Input((SIDE, SIDE, 3))
    stem = convolution(5)(keras.layers.Rescaling(1 / 255)(inputs))
    twice = convolution(4)
    both = keras.layers.Subtract()([twice(zero(convolution(5)(stem))), twice(stem)])
    return inputs, end(keras.layers.Flatten()(both))


def operators(zero, end):
    """Arithmetic without layers, and a constant."""
    inputs = keras.Input((SIDE, SIDE, 3))
    features = zero(convolution(5)(inputs / 255.0))
    scaled = features * keras.ops.mean(inputs, axis=(1, 2, 3), keepdims=True) / 100.0 + 0.5
    return inputs, end(keras.ops.mean(scaled * features, axis=(1, 2)))


ENDS = {
    "softmax": (keras.layers.Dense, {"units": 3, "activation": "softmax"}),
    "sigmoid": (keras.layers.Dense, {"units": 1, "activation": "sigmoid"}),
    "logits": (keras.layers.Dense, {"units": 3}),
}


def made(make, end="softmax"):
    """Return a model, and the same model with a channel of the layer set to 0; the layer's path and the switch."""
    kind, options = ENDS[end]

    def build(zero):
        keras.utils.set_random_seed(5)
        return keras.Model(*make(zero, kind(**options, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5))))

    found = []
    plain = build(lambda tensor: found.append(tensor) or tensor)
    switch = WithoutChannel(-1)
    other = build(switch)
    other.set_weights(plain.get_weights())
    path = found[0]._keras_history.operation.name
    return plain, other, f"backbone/{path}" if make is nested else path, switch


def photo(classifier):
    size = (*classifier.input_size, classifier.channels)
    return np.random.default_rng(3).integers(0, 256, size, dtype=np.uint8)


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("make", [chain, residual, nested, shared, operators])
def test_logits_equal_full_passes_without_the_channel(make, end):
    plain, other, layer, switch = made(make, end)
    classifier, full = Classifier(plain, batch_size=4), Classifier(other)
    image = photo(classifier)
    features, logits = classifier.above.without_channels(image, layer)
    expected = []
    for channel in range(-1, features.shape[-1]):
        switch.channel.assign(channel)
        expected.append(full.logits(image[None])[0])
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(expected, axis=0).max() > 0.01
    at = classifier.features.activations_and_gradients(image[None], [0], layer)[0]
    np.testing.assert_allclose(features, at[0], rtol=1e-5, atol=1e-6)


def test_a_pass_below_and_the_share_of_work_above_are_counted():
    """Convolution of 6 x 3 x 9 numbers on 16 x 24 pixels below; above it 4 x 6 x 9 on 8 x 12, and 3 x 384 once."""
    plain, _, layer, _ = made(chain)
    classifier = Classifier(plain, batch_size=4)
    part = classifier.above.part(layer)
    below, above = 162 * 384, 216 * 96 + 1152
    assert part.share == pytest.approx(above / (above + below))
    assert part.channels == 6
    assert part.passes == 2  # 7 x 0.26
    before = classifier.count.forward
    classifier.above.without_channels(photo(classifier), layer)
    assert classifier.count.forward - before == 1 + part.passes


def test_the_part_below_does_not_run_for_every_channel():
    plain, _, layer, _ = made(residual)
    classifier = Classifier(plain, batch_size=2)
    classifier.above.part(layer)
    functions = classifier.above.part(layer)._above.get_concrete_function().graph
    kernels = [operation for operation in functions.get_operations() if operation.type == "Conv2D"]
    assert len(kernels) == 1  # of four


def test_memory_that_is_too_small_halves_the_batch(monkeypatch):
    plain, _, layer, _ = made(chain)
    classifier = Classifier(plain, batch_size=8)
    image = photo(classifier)
    expected = classifier.above.without_channels(image, layer)[1]
    part = classifier.above.part(layer)
    above = part.above

    def short(inputs, removed):
        if len(removed) > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return above(inputs, removed)

    monkeypatch.setattr(part, "above", short)
    np.testing.assert_allclose(classifier.above.without_channels(image, layer)[1], expected, rtol=1e-5, atol=1e-6)
    assert classifier.batch_size == 2


def test_bfloat16_and_channels_of_other_numbers():
    plain, _, layer, _ = made(chain)
    classifier = Classifier(plain, precision="bfloat16", batch_size=4)
    exact = Classifier(plain)
    image = photo(exact)
    found, expected = (one.above.without_channels(image, layer)[1] for one in (classifier, exact))
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def test_a_layer_inside_a_layer_of_ones_own_is_refused():
    inputs = keras.Input((SIDE, SIDE, 3))
    features = Own(name="own")(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(features))
    classifier = Classifier(keras.Model(inputs, outputs, name="closed"))
    with pytest.raises(ModelError) as refusal:
        classifier.above.part("own/inner")
    assert str(refusal.value) == (
        "layer 'own/inner' of model 'closed' is inside a layer of the model's own, which cannot be run from its "
        "middle; name a layer of the graph, or use gradcam"
    )
    assert classifier.above.part("own").channels == 4


def test_a_part_that_gives_other_outputs_is_refused():
    """Scores that depend on the number of images in a batch cannot be computed for many channels at once."""

    @keras.saving.register_keras_serializable("evalkit_tests")
    class OfTheBatch(keras.layers.Layer):
        def call(self, tensor):
            return tensor * tf.cast(tf.shape(tensor)[0], tensor.dtype)

        def compute_output_shape(self, shape):
            return shape

    inputs = keras.Input((SIDE, SIDE, 3))
    features = convolution(4, name="conv")(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Dense(3)(OfTheBatch()(keras.layers.GlobalAveragePooling2D()(features)))
    classifier = Classifier(keras.Model(inputs, outputs, name="batched"), batch_size=1)
    with pytest.raises(ModelError, match="above layer 'conv' cannot be run alone: its outputs differ"):
        classifier.above.part("conv")
