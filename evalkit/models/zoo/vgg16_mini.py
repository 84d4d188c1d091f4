"""``vgg16-mini`` and ``vgg16-mini-shortcut``: VGG16's graph at an eighth of the width, trained on scenes.

Their weights are in the package. The trainings are in training/, the measurements are in docs/vgg16-mini.md.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import keras
import numpy as np

from evalkit.datasets.scenes.scenes import CLASS_NAMES, SIZE_PX
from evalkit.models.applications import MINI

__all__ = ["CONVOLUTIONS", "DENSE_WIDTH", "WIDTHS", "build_vgg16_mini", "load_vgg16_mini", "save_weights"]

WIDTHS: tuple[int, ...] = (8, 16, 32, 64, 64)  # channels of each block
CONVOLUTIONS: tuple[int, ...] = (2, 2, 3, 3, 3)  # in each block, as in VGG16
DENSE_WIDTH = 256


def build_vgg16_mini(name: str = MINI) -> keras.Model:
    """Build the network without its weights.

    Args:
        name: name of the model.

    Graph and layer names are those of ``keras.applications.VGG16``. It takes (N, 224, 224, 3) after VGG16's own
    preprocessing (BGR, minus the mean color) and returns the softmax over the ten classes of scenes.
    """
    # Named, because a generated name would change the fingerprint of a second copy in one process.
    tensor = images = keras.Input((SIZE_PX, SIZE_PX, 3), name="images")
    for block, (width, convolutions) in enumerate(zip(WIDTHS, CONVOLUTIONS, strict=True), start=1):
        for number in range(1, convolutions + 1):
            layer = f"block{block}_conv{number}"
            tensor = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=layer)(tensor)
        tensor = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(tensor)
    tensor = keras.layers.Flatten(name="flatten")(tensor)
    for layer in ("fc1", "fc2"):
        tensor = keras.layers.Dense(DENSE_WIDTH, activation="relu", name=layer)(tensor)
    scores = keras.layers.Dense(len(CLASS_NAMES), activation="softmax", name="predictions")(tensor)
    return keras.Model(images, scores, name=name)


def load_vgg16_mini(weights: Path | None = None, name: str = MINI) -> keras.Model:
    """Return the trained network, float32; its weights are stored as float16.

    Args:
        weights: the ``.npz`` file, from ``save_weights``; None = the one of this name in the package.
        name: name of the model.
    """
    model = build_vgg16_mini(name)
    source = files("evalkit.models.zoo").joinpath(f"weights/{name}.npz") if weights is None else weights
    with source.open("rb") as stream, np.load(stream) as arrays:
        for layer in model.layers:
            if layer.weights:
                layer.set_weights([arrays[f"{layer.name}/{part}"].astype(np.float32) for part in ("kernel", "bias")])
    return model


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the weights of a ``vgg16-mini`` as float16, in the form that ``load_vgg16_mini`` reads.

    Args:
        model: the trained model, from ``build_vgg16_mini``.
        path: the ``.npz`` file.
    """
    arrays = {
        f"{layer.name}/{part}": array.astype(np.float16)
        for layer in model.layers
        if layer.weights
        for part, array in zip(("kernel", "bias"), layer.get_weights(), strict=True)
    }
    np.savez_compressed(path, **arrays)
