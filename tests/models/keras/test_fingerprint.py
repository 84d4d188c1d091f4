"""Fingerprints of models with layers that have no configuration."""

from __future__ import annotations

import keras
import pytest

from evalkit.models.classifier import Classifier

LAYERS = keras.layers


class Applied(LAYERS.Layer):
    """A layer of a function, which Keras cannot write into a configuration."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, tensor):
        return self.function(tensor)


def network(function):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((None, None, 3))
    tensor = Applied(function)(LAYERS.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, LAYERS.Dense(3, "softmax")(LAYERS.GlobalAveragePooling2D()(tensor)))


def test_a_layer_without_configuration_is_known_by_what_the_model_puts_out():
    with pytest.raises(NotImplementedError):
        network(abs).to_json()
    first, again, other = (Classifier(network(function)).fingerprint for function in (abs, abs, lambda t: t**2))
    assert first == again != other
