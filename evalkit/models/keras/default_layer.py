"""The default layer of CAM methods: the last feature map of a convolutional network, or of a transformer's tokens.

In a transformer it is the last tensor of tokens on which the class score depends through the tokens of patches. Where a
class token is read at the end, that is what enters the last attention: behind it the gradient with respect to every
other token is exactly 0. Dependence is seen on a probe image, not guessed from names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from evalkit.models.keras import graph
from evalkit.models.keras.graph import TensorAt
from evalkit.models.keras.inside import inner_layers
from evalkit.models.keras.source import KerasSource
from evalkit.models.keras.tokens import Grid, Grids

__all__ = ["DefaultLayer", "depends_on", "find_default_layer"]

_SEED = 7
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
# Operations that only move or drop values, or have none of their own.
_MOVING = ("Reshape", "Flatten", "Permute", "Transpose", "Concatenate", "GetItem", "Cast", "Identity")
_NOT_FEATURES = ("Pooling", "Dropout", "DropPath", "Padding", "InputLayer", *_MOVING)
# What tells the tokens of a transformer from the steps of a recurrent network.
_TRANSFORMING = ("LayerNorm", "RMSNorm", "Attention", "Transformer", "Encoder")
_PROJECTIONS = ("Dense", "EinsumDense")
_BYPASS = 1e-3  # the largest share of a gradient that may pass beside a tensor through which everything passes


@dataclass(frozen=True)
class DefaultLayer:
    """The default layer of CAM methods.

    Attributes:
        path: its path; None if there is none.
        of_tokens: True if its outputs are tokens, or if there is none because no tokens are a grid.
        reason: what the model is or lacks that there is none; empty if there is one.
    """

    path: str | None
    of_tokens: bool = False
    reason: str = ""


def find_default_layer(source: KerasSource, grids: Grids) -> DefaultLayer:
    """Return the default layer of CAM methods.

    Args:
        source: the graph of the model.
        grids: its tensors that may be grids.
    """
    last_map = graph.find_target_layer(source.model, source.shapes)
    operations = graph.operations_by_path(source.model)
    if not _has_tokens_after(last_map, source, operations):
        which = " that runs only once" if graph.repeated(source.model) else ""
        return DefaultLayer(last_map, reason="" if last_map else f"has no convolution larger than 1 x 1{which}")
    path = _last_tokens(source, grids, operations)
    if path is not None:
        return DefaultLayer(path, len(grids.seen[TensorAt(path)].shape) == 2)
    shapes = ", ".join(str(shape) for shape in dict.fromkeys(source.shapes.values()) if len(shape) == 3)
    if not shapes:
        return DefaultLayer(None, reason="has no feature maps larger than 1 x 1 on which the class score depends")
    return DefaultLayer(
        None,
        True,
        f"has tokens (outputs of shapes {shapes}) that are no grid of patches on which the class score depends",
    )


def depends_on(source: KerasSource, path: str, grid: Grid) -> bool:
    """Return whether the outputs depend on a layer's features, the tokens of no patch left out."""
    gradients = _Gradients(source, [path])
    return path not in gradients.tensors or gradients.is_read(path, grid)


def _has_tokens_after(last_map: str | None, source: KerasSource, operations: dict[str, Any]) -> bool:
    """Return whether a transformer reads the last feature map, or there is none but something to look into."""
    paths = list(source.shapes)
    later = paths[paths.index(last_map) + 1 :] if last_map in source.shapes else paths
    has_tokens = any(len(source.shapes[path]) == 3 and (source.shapes[path][1] or 0) > 1 for path in later)
    transforms = any(
        word in type(operation).__name__
        for path, operation in operations.items()
        if any(path == held or path.startswith(f"{held}/") for held in later)
        for word in _TRANSFORMING
    )
    if last_map is None:
        # Layers of one's own may hold convolutions.
        return has_tokens or any(next(inner_layers(operations[path], path), None) for path in later)
    return has_tokens and (transforms or _is_patch_embedding(last_map, paths, operations))


def _is_patch_embedding(last_map: str, paths: list[str], operations: dict[str, Any]) -> bool:
    """Return whether a feature map is that of the only convolution, whose windows do not overlap."""
    before = [operations[path] for path in paths[: paths.index(last_map) + 1]]
    convolutions = [operation for operation in before if isinstance(operation, _CONVOLUTIONS)]
    wide = [operation for operation in convolutions if max(operation.kernel_size) > 1]
    return len(wide) == 1 and tuple(wide[0].kernel_size) == tuple(wide[0].strides)


def _last_tokens(source: KerasSource, grids: Grids, operations: dict[str, Any]) -> str | None:
    again = graph.repeated(source.model)
    once = [at for at in grids.seen if not at.entering and at.path in operations and at.path not in again]
    found = {at.path: grids.grid(at) for at in once}
    fitting = {path: grid for path, grid in found.items() if grid is not None}
    kinds = {path: type(operations[path]).__name__ for path in fitting}
    candidates = [path for path in fitting if not any(word in kinds[path] for word in _NOT_FEATURES)]
    embedding = _embedding(found, operations)
    if embedding is not None and any(len(grids.seen[TensorAt(path)].shape) == 2 for path in found):
        # Neither what is before the embedding of patches, nor itself, nor a layer that holds it.
        order = list(found)
        candidates = [
            path
            for path in candidates
            if order.index(path) > order.index(embedding) and not embedding.startswith(f"{path}/")
        ]
    gradients = _Gradients(source, list(fitting))
    read = [path for path in fitting if path in gradients.tensors and gradients.is_read(path, fitting[path])]
    wanted = [path for path in candidates if path in read]
    if not wanted:
        return None
    if wanted[-1] != candidates[-1]:
        # Only a class token is read at the end: what enters an attention, not one of its projections.
        wanted = [path for path in wanted if kinds[path] not in _PROJECTIONS] or wanted
    for path in reversed(wanted):
        earlier = read[: read.index(path)]
        if not earlier or gradients.passes_through(path, earlier[-1], fitting[earlier[-1]]):
            return path
    return wanted[-1]


def _embedding(paths: Iterable[str], operations: dict[str, Any]) -> str | None:
    """Return the first layer with a kernel, in the order computed, if it may embed patches."""
    for path in paths:
        operation = operations[path]
        weights = getattr(operation, "weights", None) or ()
        is_whole = next(inner_layers(operation, path), None) is None
        if is_whole and "Norm" not in type(operation).__name__ and any(len(weight.shape) > 1 for weight in weights):
            return path if isinstance(operation, (*_CONVOLUTIONS, keras.layers.Dense)) else None
    return None


class _Gradients:
    """Gradients of a random mixture of the outputs with respect to tensors inside the model, on two probe images."""

    def __init__(self, source: KerasSource, paths: list[str]) -> None:
        wanted = set(paths)
        random = np.random.default_rng(_SEED)
        noise = random.uniform(0, 255, (*source.input_size, source.channels))
        images = np.stack([noise, 96 + noise / 4]).astype(np.float32)  # of high and of low contrast
        self.tensors: dict[str, tf.Tensor] = {}
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:

            def look(at: TensorAt, tensor: Any) -> None:  # noqa: ANN401 - a tensor or a list of them
                if not at.entering and at.path in wanted and not tf.is_symbolic_tensor(tensor):
                    tape.watch(tensor)
                    self.tensors[at.path] = tensor

            outputs = source.run_graph(source.preprocess_tensor(tf.constant(images)), look=look, inside=True)
            mixture = tf.constant(random.normal(size=outputs.shape), outputs.dtype)
            total = tf.reduce_sum(outputs * mixture)
        self._tape = tape
        names = list(self.tensors)
        gradients = tape.gradient(total, [self.tensors[name] for name in names], unconnected_gradients="zero")
        self._of = dict(zip(names, map(tf.convert_to_tensor, gradients), strict=True))

    def is_read(self, path: str, grid: Grid) -> bool:
        """Return whether the outputs depend on a tensor's grid."""
        return bool(tf.reduce_any(grid.of(self._of[path]) != 0))

    def passes_through(self, path: str, earlier: str, grid: Grid) -> bool:
        """Return whether all that the outputs take from an earlier tensor's grid passes through a tensor."""
        through = self._tape.gradient(
            self.tensors[path], self.tensors[earlier], self._of[path], unconnected_gradients="zero"
        )
        whole = grid.of(self._of[earlier])
        beside = whole - grid.of(tf.convert_to_tensor(through))
        return bool(tf.norm(tf.cast(beside, tf.float32)) <= _BYPASS * tf.norm(tf.cast(whole, tf.float32)))
