"""Show which weights Quantus 0.6.0 gives a Keras model at each stage of MPRT.

``python -m venv qtf && qtf/bin/pip install quantus "tensorflow-cpu==2.15.1" "keras<3" "numpy<2"``, then
``qtf/bin/python benchmarks/peers/quantus_keras.py``.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from quantus.helpers.model.tf_model import TensorFlowModel


def main() -> None:
    """Print the layers that still have the model's weights at each stage, and whether the changed one is permuted."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((16, 16, 3)),
            keras.layers.Conv2D(8, 3, activation="relu", name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.Dense(4, activation="softmax", name="scores"),
        ]
    )
    before = {layer.name: np.array(layer.get_weights()[0]) for layer in model.layers if layer.get_weights()}
    wrapped = TensorFlowModel(model, channel_first=False)
    for order in ("bottom_up", "independent"):
        for stage, changed in wrapped.get_random_layer_generator(order=order, seed=42):
            kernels = {name: changed.get_layer(name).get_weights()[0] for name in before}
            own = [name for name, kernel in kernels.items() if np.array_equal(kernel, before[name])]
            permuted = np.array_equal(np.sort(kernels[stage], axis=0), np.sort(before[stage], axis=0))
            print(f"{order}, {stage} changed: layers with the model's own weights: {own}; {stage} permuted: {permuted}")


if __name__ == "__main__":
    main()
