"""The fingerprint of a model: architecture, weights and preprocessing, without Keras' generated names."""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import Any

import keras
import numpy as np

__all__ = ["fingerprint"]

_SIDE = 64  # of probe images, where the model takes any size


def fingerprint(model: keras.Model, preprocess: str) -> str:
    """Return the sha256 of architecture, weights and preprocessing as 64 hexadecimal digits.

    Layers are named by their order, because Keras names the same layer ``conv2d_3`` or ``conv2d_17``, depending on
    how many it created before.

    Args:
        model: the given model.
        preprocess: the identity of the preprocessing.
    """
    architecture = _architecture(model)
    order = {name: f"#{index}" for index, name in enumerate(dict.fromkeys(_names(architecture)))}
    digest = hashlib.sha256(f"{preprocess}|".encode())
    digest.update(json.dumps(_renamed(architecture, order), sort_keys=True).encode())
    for weight in model.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)  # no copy: VGG16 holds 0.5 GB
    return digest.hexdigest()


def _architecture(model: keras.Model) -> Any:  # noqa: ANN401 - what JSON holds
    """Return the configuration of a model; where a layer of the user's has none, its layers and outputs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras, of layers that hold a lambda
            return json.loads(model.to_json())
    except Exception:  # whatever a layer of the user's raises
        shape = [side or _SIDE for side in model.inputs[0].shape[1:]]
        images = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.float32)
        outputs = keras.tree.flatten(model(images, training=False))
        layers = [{"class_name": type(layer).__qualname__, "name": layer.name} for layer in model.layers]
        seen = [np.round(np.asarray(values, dtype=np.float64), 4).tolist() for values in outputs]
        return {"layers": layers, "outputs": seen}


def _names(node: Any) -> list[str]:  # noqa: ANN401 - whatever JSON holds
    if isinstance(node, dict):
        own = [node["name"]] if isinstance(node.get("name"), str) else []
        return own + [name for value in node.values() for name in _names(value)]
    if isinstance(node, list):
        return [name for value in node for name in _names(value)]
    return []


def _renamed(node: Any, order: dict[str, str]) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Replace names only where a layer is named or referred to: a layer may have the name ``relu``."""
    if isinstance(node, dict):
        # Keras numbers shared objects by their address in memory.
        return {
            key: order.get(value, value) if key == "name" and isinstance(value, str) else _renamed(value, order)
            for key, value in node.items()
            if key != "shared_object_id"
        }
    if isinstance(node, list):
        if [type(value) for value in node] == [str, int, int]:  # layer, node, output
            return [order.get(node[0], node[0]), *node[1:]]
        return [_renamed(value, order) for value in node]
    return node
