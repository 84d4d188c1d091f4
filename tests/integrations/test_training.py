"""A training on scenes: the quality of the explanations rises, and early stopping works on it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from evalkit.datasets.scenes.scenes import scenes
from evalkit.integrations.keras import ExplanationQuality
from evalkit.models.zoo.vgg16_mini import load_vgg16_mini

NAME = "explanation/symmetric_relevance_gain/gradcam"


@pytest.mark.slow
def test_quality_rises_while_a_model_learns_and_stops_it():
    """A new last layer on vgg16-mini, whose other layers are frozen."""
    keras.utils.set_random_seed(0)
    train = list(scenes(120))
    pixels, labels = np.stack([image.pixels for image in train]), np.array([image.class_index for image in train])
    mini = load_vgg16_mini()
    mini.trainable = False
    outputs = keras.layers.Dense(10, activation="softmax", name="new")(mini.layers[-2].output)
    model = keras.Model(mini.inputs, outputs)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    quality = ExplanationQuality(scenes(20, seed=1), limit=10, steps=8, target="predicted", preprocess="vgg16")
    stop = keras.callbacks.EarlyStopping(NAME, mode="max", patience=1, min_delta=0.03)
    history = model.fit(pixels, labels, epochs=12, batch_size=16, verbose=0, callbacks=[quality, stop]).history
    gains = history[NAME]
    assert 3 <= len(gains) < 12
    assert gains[2] > gains[0] + 0.05
    assert stop.stopped_epoch == len(gains) - 1
