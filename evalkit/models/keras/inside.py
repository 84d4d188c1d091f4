"""Layers inside layers of one's own, such as the blocks of an encoder that is one layer of the graph.

They are named by the attributes that hold them, e.g. ``encoder/blocks/3/norm``: names that Keras gives by counting
differ from process to process. Keras' own layers are not entered: what is inside them is not meant to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

__all__ = ["inner_layers", "outputs_inside"]

# Where Keras and TensorFlow themselves keep a layer's sublayers.
_NOT_ATTRIBUTES = ("_layers", "_functional", "_self_")


def inner_layers(layer: Any, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:  # noqa: ANN401 - an operation
    """Yield the layers inside a layer with their paths, those that hold others before them.

    Args:
        layer: a layer or an operation of the graph.
        prefix: its path.
    """
    yield from _inner(layer, prefix, {id(layer)})


def _inner(layer: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:  # noqa: ANN401
    for name, inner in _held(layer):
        if id(inner) not in seen:
            seen.add(id(inner))
            path = f"{prefix}/{name}"
            yield path, inner
            yield from _inner(inner, path, seen)


def _held(layer: Any) -> Iterator[tuple[str, keras.layers.Layer]]:  # noqa: ANN401
    """Yield the layers that a layer holds itself, with the name of the attribute."""
    if isinstance(layer, keras.Sequential) or hasattr(layer, "_run_through_graph"):
        yield from ((str(index), inner) for index, inner in enumerate(layer.layers))
    elif isinstance(layer, keras.layers.Layer) and not type(layer).__module__.startswith("keras.src."):
        for name, value in vars(layer).items():
            if not name.startswith(_NOT_ATTRIBUTES):
                yield from _layers_in(value, name)


def _layers_in(value: Any, name: str) -> Iterator[tuple[str, keras.layers.Layer]]:  # noqa: ANN401
    if isinstance(value, keras.layers.Layer):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _layers_in(item, f"{name}/{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _layers_in(item, f"{name}/{key}")


@contextmanager
def outputs_inside(layer: Any, path: str, look: Callable[[str, Any], None]) -> Iterator[None]:  # noqa: ANN401
    """Call a function with the path and the output of every layer inside a layer, each time that it is called.

    Args:
        layer: a layer or an operation of the graph.
        path: its path.
        look: the function.
    """
    watched = list(inner_layers(layer, path))
    try:
        for inner_path, inner in watched:
            object.__setattr__(inner, "call", _looking(inner.call, inner_path, look))
        yield
    finally:
        for _, inner in watched:
            vars(inner).pop("call", None)


def _looking(call: Callable[..., Any], path: str, look: Callable[[str, Any], None]) -> Callable[..., Any]:
    def looking(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the layer takes and returns
        output = call(*args, **kwargs)
        look(path, output)
        return output

    return looking
