"""The part of a model that windowed inference can run: a chain of layers that each read a small neighborhood.

Convolution, pooling and zero padding read a neighborhood; activation, batch normalization and rescaling read one pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from evalkit.models.inference.windows import Axis, same_padding
from evalkit.models.keras import graph

__all__ = ["Spatial", "spatial_layers"]

Tensor = Any
Operation = Any

_PIXELWISE = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.BatchNormalization,
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.Identity,
)


_ACTIVATIONS = (
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign",
    "tanh", "sigmoid", "log_sigmoid", "hard_sigmoid", "hard_silu", "hard_tanh", "exponential",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Spatial:
    """One layer that reads a neighborhood, and the pixelwise layers after it.

    Attributes:
        operations: the Keras operations, in order.
        rows: the mapping of the height.
        columns: the mapping of the width.
        channels_in: the number of input channels.
        channels_out: the number of output channels.
        pad_value: the value beyond the border.
        work: the multiplications for one output pixel.
        valid: the function from windows, which include all pixels read, to windows.
        full: the function from the activation of a whole image to the next.
        copied: the copy of the first operation that ``valid`` runs; None if it runs no copy with weights.
    """

    operations: tuple[Any, ...]
    rows: Axis
    columns: Axis
    channels_in: int
    channels_out: int
    pad_value: float
    work: float
    valid: Callable[[Tensor], Tensor]
    full: Callable[[Tensor], Tensor]
    copied: Operation | None = None


def spatial_layers(
    model: keras.Model, size: tuple[int, int], channels: int, replaced: Collection[int] = ()
) -> tuple[Callable[[Tensor], Tensor], list[Spatial]]:
    """Return the function before the first spatial layer, and the chain of spatial layers.

    The chain ends where the graph forks, or at a layer of another kind or a replaced one. A subclass of a known layer
    is of another kind, because its behavior is unknown.

    Args:
        model: the model, functional or Sequential, channels last.
        size: (height, width) of its input.
        channels: the number of channels of its input.
        replaced: the ``id`` of the operations that are replaced.
    """
    first: list[Any] = []
    groups: list[tuple[Any, list[Any]]] = []
    for operation in graph.straight_operations(model):
        if id(operation) in replaced or not _has_known_activation(operation):
            break
        # Before the first window, a layer may depend on a pixel's position.
        if type(operation) in _PIXELWISE and (not groups or _is_alike_everywhere(operation)):
            (groups[-1][1] if groups else first).append(operation)
        elif type(operation) in _SPATIAL and _is_channels_last(operation):
            groups.append((operation, []))
        else:
            break
    layers: list[Spatial] = []
    for operation, behind in groups:
        layer = _SPATIAL[type(operation)](operation, behind, size, channels)
        if layer is None:
            break
        layers.append(layer)
        size, channels = (layer.rows.size_out, layer.columns.size_out), layer.channels_out
    return _through(first), layers


def _has_known_activation(operation: Operation) -> bool:
    """Return whether an operation has no activation, or an elementwise one of Keras."""
    activation = getattr(operation, "activation", None)
    return activation is None or any(activation is getattr(keras.activations, name) for name in _ACTIVATIONS)


def _is_alike_everywhere(operation: Operation) -> bool:
    """Return whether a pixelwise layer treats all pixels alike, so that it can run on windows."""
    if isinstance(operation, keras.layers.BatchNormalization):
        return operation.axis in (-1, 3)
    if isinstance(operation, keras.layers.Normalization):
        return all(axis in (-1, 3) for axis in operation.axis)
    if isinstance(operation, keras.layers.Rescaling):
        return np.ndim(operation.scale) <= 1 and np.ndim(operation.offset) <= 1
    return True


def _is_channels_last(operation: Operation) -> bool:
    return getattr(operation, "data_format", "channels_last") == "channels_last"


def _through(operations: list[Any]) -> Callable[[Tensor], Tensor]:
    def run(tensor: Tensor) -> Tensor:
        for operation in operations:
            training = {"training": False} if getattr(operation, "_call_has_training_arg", False) else {}
            tensor = operation(tensor, **training)
        return tensor

    return run


def _axes(operation: Operation, kernel: tuple[int, int], size: tuple[int, int]) -> tuple[Axis, Axis]:
    axes = []
    for side, length, stride in zip(size, kernel, operation.strides, strict=True):
        if operation.padding == "same":
            axes.append(Axis(length, stride, same_padding(side, length, stride), side, -(-side // stride)))
        else:
            axes.append(Axis(length, stride, 0, side, (side - length) // stride + 1))
    return axes[0], axes[1]


def _convolution(operation: Operation, behind: list[Any], size: tuple[int, int], channels: int) -> Spatial | None:
    if operation.padding not in ("same", "valid"):
        return None
    down, across = (
        (length - 1) * step + 1 for length, step in zip(operation.kernel_size, operation.dilation_rate, strict=True)
    )
    rows, columns = _axes(operation, (down, across), size)
    weights = operation.kernel.shape
    depthwise = isinstance(operation, keras.layers.DepthwiseConv2D)
    out = weights[2] * weights[3] if depthwise else weights[3]
    work = float(np.prod(weights))  # each weight is used once per output pixel
    padded = _with_valid_padding(operation)
    valid, full = _through([padded, *behind]), _through([operation, *behind])
    copied = None if padded is operation else padded
    return Spatial((operation, *behind), rows, columns, channels, out, 0.0, work, valid, full, copied)


def _with_valid_padding(operation: Operation) -> Operation:
    if operation.padding == "valid":
        return operation
    # Constraints, regularizers and initializers have no effect here, and may not be copyable.
    building = {key: None for key in operation.get_config() if key.endswith(("_constraint", "_regularizer"))}
    zeros = {key: "zeros" for key in operation.get_config() if key.endswith("_initializer")}
    copy = type(operation).from_config({**operation.get_config(), **building, **zeros, "padding": "valid"})
    copy.build((None, None, None, operation.kernel.shape[2] * getattr(operation, "groups", 1)))
    copy.set_weights(operation.get_weights())
    return copy


def _pooling(operation: Operation, behind: list[Any], size: tuple[int, int], channels: int) -> Spatial | None:
    rows, columns = _axes(operation, operation.pool_size, size)
    highest = isinstance(operation, keras.layers.MaxPooling2D)
    if not highest and operation.padding == "same" and not (_fits(rows) and _fits(columns)):
        return None  # a mean over fewer pixels at the border
    config = {**operation.get_config(), "padding": "valid"}
    valid = _through([type(operation).from_config(config), *behind])
    pad_value = -np.inf if highest else 0.0
    work = float(rows.kernel * columns.kernel * channels)
    return Spatial(
        (operation, *behind), rows, columns, channels, channels, pad_value, work, valid, _through([operation, *behind])
    )


def _fits(axis: Axis) -> bool:
    return (axis.size_out - 1) * axis.stride + axis.kernel == axis.size_in


def _zero_padding(operation: Operation, behind: list[Any], size: tuple[int, int], channels: int) -> Spatial:
    rows, columns = (
        Axis(1, 1, before, side, side + before + after)
        for side, (before, after) in zip(size, operation.padding, strict=True)
    )
    full = _through([operation, *behind])
    return Spatial(
        (operation, *behind), rows, columns, channels, channels, 0.0, float(channels), _through(behind), full
    )


_SPATIAL: dict[type, Callable[[Any, list[Any], tuple[int, int], int], Spatial | None]] = {
    keras.layers.Conv2D: _convolution,
    keras.layers.DepthwiseConv2D: _convolution,
    keras.layers.MaxPooling2D: _pooling,
    keras.layers.AveragePooling2D: _pooling,
    keras.layers.ZeroPadding2D: _zero_padding,
}
