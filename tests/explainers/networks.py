"""Small networks, each a Keras model and the same written out in steps, in float64, with its weights."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


class Network:
    """A classifier written out as steps, beside the Keras model that it repeats.

    Attributes:
        model: the user's Keras model, which takes pixels in 0..255 and ends in a softmax or one sigmoid unit.
        steps: pairs of a name and a function from tensors to tensors; the first of them is the output of that name, the
            others are what by-passes it.
        one_unit: True for one sigmoid unit, class 1 being z and class 0 being -z.
    """

    def __init__(self, model, steps, *, one_unit=False):
        self.model, self.steps, self.one_unit = model, steps, one_unit

    @property
    def input_size(self):
        return self.model.input_shape[1:3]

    @property
    def channels(self):
        return self.model.input_shape[3]

    def run(self, tensors, *, after=None, until=None, relu=tf.nn.relu):
        """Return the tensors after step ``until`` (None = last), from those after step ``after`` (None = pixels)."""
        names = [name for name, _ in self.steps]
        first = 0 if after is None else names.index(after) + 1
        last = len(names) if until is None else names.index(until) + 1
        for _, step in self.steps[first:last]:
            tensors = step(tensors, relu)
        return tensors

    def logit(self, outputs, target):
        """Return what is differentiated, of outputs (N, C): a class's logit, log-sum-exp of several, +-z of a unit."""
        if self.one_unit:
            return outputs[:, 0] if target == 1 else -outputs[:, 0]
        return tf.reduce_logsumexp(tf.gather(outputs, np.atleast_1d(target), axis=1), axis=1)

    def outputs(self, images):
        """Return the outputs of images, float64 (N, C)."""
        parts = [np.asarray(images[start : start + 64], dtype=np.float64) for start in range(0, len(images), 64)]
        return np.concatenate([self.run((tf.constant(part),))[0].numpy() for part in parts])

    def logits(self, images, target):
        """Return the target's logit of each image, float64 (N,)."""
        return self.logit(self.outputs(images), target).numpy() if not self.one_unit else self._signed(images, target)

    def scores(self, images, target):
        """Return the target's probability in each image, float64 (N,)."""
        if self.one_unit:
            return 1 / (1 + np.exp(-self._signed(images, target)))
        outputs = self.outputs(images)
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return shifted[:, np.atleast_1d(target)].sum(axis=1) / shifted.sum(axis=1)

    def _signed(self, images, target):
        return self.outputs(images)[:, 0] * (1 if target == 1 else -1)


def pixels(image):
    return tf.constant(np.asarray(image, dtype=np.float64)[None])


def rescaling(scale, offset=0.0):
    return lambda tensors, _: (tensors[0] * scale + offset,)


def convolution(layer):
    """A Conv2D with a ReLU and padding ``same``."""
    kernel, bias = (np.float64(array) for array in layer.get_weights())
    strides = layer.strides

    def step(tensors, relu):
        return (relu(tf.nn.conv2d(tensors[0], kernel, strides, "SAME") + bias), *tensors[1:])

    return step


def dense(layer):
    kernel, bias = (np.float64(array) for array in layer.get_weights())
    return lambda tensors, _: (tensors[0] @ kernel + bias,)


def max_pooling(tensors, relu):
    return (tf.nn.max_pool2d(tensors[0], 2, 2, "VALID"),)


def average_pooling(side):
    return lambda tensors, _: (tf.nn.avg_pool2d(tensors[0], side, side, "VALID"),)


def global_average(tensors, relu):
    return (tf.reduce_mean(tensors[0], axis=(1, 2)),)


def flattened(tensors, relu):
    return (tf.reshape(tensors[0], [tensors[0].shape[0], -1]),)


def keep_beside(tensors, relu):
    return (tensors[0], tensors[0])


def added(tensors, relu):
    return (tensors[0] + tensors[1],)


def chain():
    """Three convolutions and a pooling between them; gradients at ``conv_b`` differ from place to place."""
    keras.utils.set_random_seed(3)
    a, b, c = (keras.layers.Conv2D(k, 3, padding="same", activation="relu", name=name, bias_initializer="random_normal")
               for k, name in ((6, "conv_a"), (8, "conv_b"), (8, "conv_c")))  # fmt: skip
    end = scores_layer(3)
    model = keras.Sequential(
        [
            keras.layers.Input((24, 24, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            a,
            b,
            keras.layers.MaxPooling2D(name="pool"),
            c,
            keras.layers.GlobalAveragePooling2D(),
            end,
        ],
        name="chain",
    )
    return Network(
        model,
        [
            ("scaled", rescaling(1 / 127.5, -1.0)),
            ("conv_a", convolution(a)),
            ("conv_b", convolution(b)),
            ("pool", max_pooling),
            ("conv_c", convolution(c)),
            ("gap", global_average),
            ("dense", dense(end)),
        ],
    )


def scores_layer(n_outputs, activation="softmax"):
    """Logits of a few units, so that the model is neither undecided nor certain."""
    spread = keras.initializers.RandomNormal(stddev=1.5)
    return keras.layers.Dense(n_outputs, activation=activation, kernel_initializer=spread, bias_initializer=spread)


def residual():
    """Not square; ``branch`` is by-passed by ``stem``; no global pooling."""
    keras.utils.set_random_seed(4)
    inputs = keras.layers.Input((16, 24, 3))
    stem = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="stem")
    branch = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="branch")
    end = keras.layers.Dense(4, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=0.7))
    first = stem(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs))
    pooled = keras.layers.AveragePooling2D(4)(keras.layers.Add()([branch(first), first]))
    model = keras.Model(inputs, end(keras.layers.Flatten()(pooled)), name="residual")
    return Network(
        model,
        [
            ("scaled", rescaling(1 / 127.5, -1.0)),
            ("stem", convolution(stem)),
            ("beside", keep_beside),
            ("branch", convolution(branch)),
            ("added", added),
            ("pooled", average_pooling(4)),
            ("flat", flattened),
            ("dense", dense(end)),
        ],
    )


def nested():
    """A convolution inside a model inside the model."""
    keras.utils.set_random_seed(5)
    conv = keras.layers.Conv2D(7, 3, padding="same", activation="relu", name="conv", bias_initializer="random_normal")
    inner = keras.layers.Input((20, 20, 3))
    backbone = keras.Model(inner, keras.layers.MaxPooling2D()(conv(inner)), name="backbone")
    end = keras.layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=0.4))
    inputs = keras.layers.Input((20, 20, 3))
    features = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs))
    model = keras.Model(inputs, end(keras.layers.Flatten()(features)), name="nested")
    return Network(
        model,
        [
            ("scaled", rescaling(1 / 127.5, -1.0)),
            ("conv", convolution(conv)),
            ("pool", max_pooling),
            ("flat", flattened),
            ("dense", dense(end)),
        ],
    )


def one_unit():
    """One sigmoid unit over two convolutions; the last feature map enters a global average."""
    keras.utils.set_random_seed(6)
    a, b = (keras.layers.Conv2D(k, 3, padding="same", activation="relu", name=name, bias_initializer="random_normal")
            for k, name in ((5, "conv_a"), (6, "conv_b")))  # fmt: skip
    end = scores_layer(1, "sigmoid")
    model = keras.Sequential(
        [
            keras.layers.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            a,
            b,
            keras.layers.GlobalAveragePooling2D(),
            end,
        ],
        name="one_unit",
    )
    return Network(
        model,
        [
            ("scaled", rescaling(1 / 127.5, -1.0)),
            ("conv_a", convolution(a)),
            ("conv_b", convolution(b)),
            ("gap", global_average),
            ("dense", dense(end)),
        ],
        one_unit=True,
    )
