"""The input of a Keras model: height, width, channels, and which of its axes is the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from evalkit.core.errors import ConfigError, ModelError
from evalkit.models.keras import graph

__all__ = ["DEFAULT_SIDE", "InputLayout", "layout_of"]

DEFAULT_SIDE = 224
_FIRST, _LAST = "channels_first", "channels_last"
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_OF_IMAGES = (1, 3, 4)

Tensor = Any
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class InputLayout:
    """The input of a model, and the order of axes inside it.

    Attributes:
        size: (height, width) in pixels.
        channels: the number of channels.
        chosen: whether the model leaves height or width open.
        input_first: whether the model takes (N, C, H, W).
        maps_first: whether its feature maps are (N, K, h, w).
    """

    size: tuple[int, int]
    channels: int
    chosen: bool
    input_first: bool
    maps_first: bool

    def to_model(self, images: Tensor) -> Tensor:
        """Return images (N, H, W, C) as the model takes them."""
        return tf.transpose(images, _TO_FIRST) if self.input_first else images

    def from_model(self, tensor: Tensor) -> Tensor:
        """Return a tensor inside the model; a feature map as (N, h, w, K)."""
        return tf.transpose(tensor, _TO_LAST) if self.maps_first and len(tensor.shape) == 4 else tensor

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of a tensor inside the model; that of a feature map as (N, h, w, K)."""
        return tuple(shape[axis] for axis in _TO_LAST) if self.maps_first and len(shape) == 4 else shape


def layout_of(model: keras.Model, given: tuple[int, int] | None, name: str) -> InputLayout:
    """Return the input of a model.

    Whether the channels come first is decided by the layers that read neighborhoods, because (3, 224, 224) may also be
    three rows of 224 channels.

    Args:
        model: functional or Sequential.
        given: (height, width) of ``--input-size``; None = the model's own, or 224 where it leaves them open.
        name: the model's name in messages.

    Raises:
        ModelError: not images with a known number of channels, or layers of both orders.
        ConfigError: the given size contradicts the model's own.
    """
    shape = tuple(model.input_shape) if isinstance(getattr(model, "input_shape", None), tuple) else ()
    if len(shape) != 4:
        raise ModelError(
            f"model '{name}' takes inputs of shape {shape}; images (N, height, width, channels) are needed"
        )
    input_first, maps_first = _orders(model, shape, name)
    _, height, width, channels = (shape[axis] for axis in _TO_LAST) if input_first else shape
    if not channels:
        raise ModelError(
            f"model '{name}' takes inputs of shape {shape}; the number of channels must be fixed: build it with "
            "keras.Input((None, None, 3))"
        )
    if given and (given[0] != (height or given[0]) or given[1] != (width or given[1])):
        own = " x ".join("any" if side is None else str(side) for side in (height, width))
        raise ConfigError(
            f"--input-size {given[0]}x{given[1]} contradicts model '{name}', whose input is {own} (height x "
            "width); leave the option out"
        )
    size = given or (height or DEFAULT_SIDE, width or DEFAULT_SIDE)
    return InputLayout(size, int(channels), not (height and width), input_first, maps_first)


def _orders(model: keras.Model, shape: Shape, name: str) -> tuple[bool, bool]:
    """Return whether the channels come first in the input, and in the feature maps."""
    turned, formats = False, []
    for operation in graph.operations_by_path(model).values():
        order = getattr(operation, "data_format", None)
        if order in (_FIRST, _LAST) and _is_over_images(operation):
            formats.append(order)
        elif not formats and _turns(operation):
            turned = True
    if len(set(formats)) > 1:
        raise ModelError(
            f"model '{name}' has layers with channels_first and layers with channels_last, so the order of "
            "its feature maps is not known; use one data_format, or give the model as a function with module:function"
        )
    if not formats:
        looks_first = shape[1] in _OF_IMAGES and shape[3] not in _OF_IMAGES
        if looks_first:
            raise ModelError(
                f"model '{name}' takes inputs of shape {shape} and has no layer that says which axis is the "
                "channels; put keras.layers.Permute((3, 1, 2)) before it, so that it takes (N, height, width, channels)"
            )
        return False, False
    maps_first = formats[0] == _FIRST
    return maps_first != turned, maps_first


def _is_over_images(operation: Any) -> bool:  # noqa: ANN401 - a Keras operation
    """Return whether an operation's data format is that of images: ``Flatten`` has one, and layers over tokens."""
    return not isinstance(operation, keras.layers.Flatten) and "1D" not in type(operation).__name__


def _turns(operation: Any) -> bool:  # noqa: ANN401 - a Keras operation
    """Return whether an operation moves the channels from one end of the axes to the other."""
    if isinstance(operation, keras.layers.Permute):
        return (0, *operation.dims) in (_TO_FIRST, _TO_LAST)
    axes = getattr(operation, "axes", None) if type(operation).__name__ == "Transpose" else None
    return axes is not None and tuple(axes) in (_TO_FIRST, _TO_LAST)
