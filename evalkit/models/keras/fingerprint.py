"""The fingerprint of a model: architecture, weights and preprocessing, without Keras' generated names."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import keras
import numpy as np

__all__ = ["fingerprint"]


def fingerprint(model: keras.Model, preprocess: str) -> str:
    """Return the sha256 of architecture, weights and preprocessing as 64 hexadecimal digits.

    Layers are named by their order, because Keras names the same layer ``conv2d_3`` or ``conv2d_17``, depending on
    how many it created before.

    Args:
        model: the given model.
        preprocess: the identity of the preprocessing.
    """
    architecture = json.loads(model.to_json())
    order = {name: f"#{index}" for index, name in enumerate(dict.fromkeys(_names(architecture)))}
    digest = hashlib.sha256(f"{preprocess}|".encode())
    digest.update(json.dumps(_renamed(architecture, order), sort_keys=True).encode())
    for weight in model.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)  # no copy: VGG16 holds 0.5 GB
    return digest.hexdigest()


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
