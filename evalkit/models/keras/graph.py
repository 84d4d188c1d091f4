"""Runs a Keras model's graph without its last softmax or sigmoid; its tensors are accessible, the model not changed.

Nested models (a backbone used as a layer) are entered, so a layer inside one can be named ``vgg16/block5_conv3``.
Calling layers on real tensors adds nothing to the user's graph; the layer whose activation is removed is replaced by
a copy with the same weights and no activation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from evalkit.core.errors import ModelError
from evalkit.models.keras.inside import inner_layers, outputs_inside

__all__ = [
    "CONVOLUTIONS",
    "TensorAt",
    "chain_up",
    "find_target_layer",
    "functional_graph",
    "functional_of",
    "is_graph",
    "layer_paths",
    "operations_by_path",
    "operations_in",
    "producer_of",
    "rebuild",
    "repeated",
    "run",
    "straight_operations",
    "work",
]

Operation = Any
Tensor = Any

CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
)
_NOT_FEATURES = ("Pooling", "Dropout", "Padding", "InputLayer")


@dataclass(frozen=True)
class TensorAt:
    """A tensor of the graph: the output or the input of a layer.

    Attributes:
        path: the layer's name, ``outer/inner`` inside a nested model.
        entering: True = the layer's input instead of its output.
    """

    path: str
    entering: bool = False


def functional_of(model: Operation) -> Operation:
    """Return the functional graph of a model; None for a plain layer, and for a class with a ``call`` of its own."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    own_call = type(model).call.__module__.partition(".")[0] != "keras" if hasattr(model, "call") else False
    return graph if hasattr(graph, "_run_through_graph") and not own_call else None


def is_graph(model: Operation) -> bool:
    """Return whether a model is its graph: functional or Sequential, without a ``call`` of its own class."""
    return functional_of(model) is not None


def functional_graph(model: keras.Model) -> Operation:
    """Return the functional graph of a model with one input and one output.

    Raises:
        ModelError: any other model.
    """
    graph = functional_of(model)
    if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"model '{model.name}': a functional or Sequential Keras model with one input and one output is needed; "
            "wrap yours in keras.Model(inputs, outputs)"
        )
    return graph


def operations_in(model: Operation, prefix: str = "") -> Iterator[tuple[str, Operation]]:
    """Yield every operation with its path, nested models entered, in the order computed."""
    graph = functional_of(model)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            operation = node.operation
            if operation is None or node.is_input:
                continue
            if functional_of(operation) is not None:
                yield from operations_in(operation, f"{prefix}{operation.name}/")
            else:
                yield prefix + operation.name, operation


def operations_by_path(model: keras.Model) -> dict[str, Operation]:
    """Return every operation by its path, and the layers inside layers of one's own."""
    found = {}
    for path, operation in operations_in(functional_graph(model)):
        found[path] = operation
        found.update(inner_layers(operation, path))
    return found


def straight_operations(model: keras.Model) -> list[Operation]:
    """Return the operations from the input up to the first branch of the graph.

    Nested models are entered. An operation that is used twice ends the chain.
    """
    chain: list[Operation] = []
    times = Counter(id(operation) for _, operation in operations_in(functional_graph(model)))
    _follow(functional_graph(model), chain)
    once = [times[id(operation)] == 1 for operation in chain]
    return chain[: once.index(False)] if False in once else chain


def _follow(graph: Operation, chain: list[Operation]) -> bool:
    """Append a graph's operations in order; return whether its output was reached."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return False
    nodes = [node for nodes in graph._nodes_by_depth.values() for node in nodes if not node.is_input]
    tensor = graph.inputs[0]
    while True:
        readers = [node for node in nodes if any(read is tensor for read in node.input_tensors)]
        if not readers:
            return tensor is graph.outputs[0]
        if tensor is graph.outputs[0] or len(readers) != 1 or len(readers[0].input_tensors) != 1:
            return False
        operation = readers[0].operation
        if functional_of(operation) is None:
            chain.append(operation)
        elif not _follow(functional_of(operation), chain):
            return False
        tensor = readers[0].output_tensors[0]


def producer_of(tensor: Tensor) -> Operation:
    """Return the operation that makes a tensor of a graph."""
    return tensor._keras_history.operation


def chain_up(model: Operation, output: int = 0) -> Iterator[Operation]:
    """Yield the operations from an output backwards, for as long as each has one input."""
    graph = functional_of(model)
    tensor = graph.outputs[output]
    while True:
        operation = producer_of(tensor)
        if isinstance(operation, keras.layers.InputLayer):
            return
        if functional_of(operation) is not None:
            yield from chain_up(operation, tensor._keras_history.tensor_index)
        else:
            yield operation
        node = operation._inbound_nodes[tensor._keras_history.node_index]
        if len(node.input_tensors) != 1:
            return
        tensor = node.input_tensors[0]


def work(model: keras.Model, shapes: dict[str, tuple[int | None, ...]]) -> float:
    """Return the multiplications of one pass: every weight of a kernel once per output pixel.

    Args:
        model: functional or Sequential.
        shapes: layer path to output shape.
    """
    total = 0.0
    for path, operation in operations_in(functional_graph(model)):
        kernel = getattr(operation, "kernel", None)
        if kernel is not None:
            pixels = math.prod(side or 1 for side in shapes.get(path, ())[1:-1])
            total += float(math.prod(kernel.shape)) * pixels
    return total


def run(
    model: keras.Model,
    images: Tensor,
    replaced: dict[int, Callable[[Tensor], Tensor]],
    look: Callable[[TensorAt, Tensor], None] | None = None,
    inside: bool = False,
) -> Tensor:
    """Compute the model's output on real tensors.

    Args:
        model: functional or Sequential.
        images: the preprocessed images, float32 (N, H, W, 3).
        replaced: the replacements, from ``ends.end_of``.
        look: a function that is called with every layer's input and output tensor.
        inside: True = ``look`` is also called with the outputs of layers inside layers of one's own.
    """
    return keras.tree.flatten(_run(functional_graph(model), images, replaced, look, "", inside))[0]


def _run(
    graph: Operation,
    given: Tensor,
    replaced: dict[int, Callable[[Tensor], Tensor]],
    look: Callable[[TensorAt, Tensor], None] | None,
    prefix: str,
    inside: bool,
) -> Tensor:
    def wrap(operation: Operation) -> Callable[..., Tensor]:
        inner = functional_of(operation)
        if inner is not None:
            return lambda *args, **kwargs: _run(
                inner, args[0] if args else kwargs["inputs"], replaced, look, f"{prefix}{operation.name}/", inside
            )

        def call(*args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - whatever the layer takes
            path = prefix + operation.name
            if look is not None and args:
                look(TensorAt(path, entering=True), args[0])
            if id(operation) in replaced:
                output = replaced[id(operation)](args[0])
            else:
                if isinstance(operation, keras.layers.Layer):
                    kwargs["training"] = False  # also for the layers inside one that does not take it itself
                if inside and look is not None:
                    with outputs_inside(operation, path, lambda inner, tensor: look(TensorAt(inner), tensor)):
                        output = operation(*args, **kwargs)
                else:
                    output = operation(*args, **kwargs)
            if look is not None:
                look(TensorAt(path), output)
            return output

        return call

    return graph._run_through_graph(_flat_inputs(graph, given), operation_fn=wrap)


def _flat_inputs(graph: Operation, given: Any) -> list[Tensor]:  # noqa: ANN401 - a tensor, or tensors in any structure
    """Return the inputs of a graph in the order of its own, which a call may give by name."""
    if isinstance(given, dict):
        names = graph._inputs_struct if isinstance(graph._inputs_struct, dict) else [one.name for one in graph.inputs]
        given = {name: given[name] for name in names} if isinstance(names, dict) else [given[name] for name in names]
    tensors: list[Tensor] = graph._adjust_input_rank(keras.tree.flatten(given))
    return tensors


def rebuild(model: keras.Model, images: Tensor, make: Callable[[str, Operation], Callable[..., Tensor]]) -> Tensor:
    """Call a replacement of every operation, nested models entered, and return the first output.

    Args:
        model: functional or Sequential.
        images: the symbolic input.
        make: the function from an operation and its path to its replacement.
    """

    def through(graph: Operation, tensors: Tensor, prefix: str) -> Tensor:
        def wrap(operation: Operation) -> Callable[..., Tensor]:
            inner, path = functional_of(operation), prefix + operation.name
            if inner is None:
                return make(path, operation)
            return lambda *args, **kwargs: through(inner, args[0] if args else kwargs["inputs"], f"{path}/")

        return graph._run_through_graph(_flat_inputs(graph, tensors), operation_fn=wrap)

    return keras.tree.flatten(through(functional_graph(model), [images], ""))[0]


def layer_paths(model: keras.Model) -> list[str]:
    """Return the paths of all layers in the order in which models list them, nested models entered."""

    def listed(model: Operation, prefix: str) -> Iterator[str]:
        for layer in model.layers:
            if functional_of(layer) is not None:
                yield from listed(layer, f"{prefix}{layer.name}/")
            elif not isinstance(layer, keras.layers.InputLayer):
                yield prefix + layer.name

    return list(listed(model, ""))


def repeated(model: keras.Model) -> set[str]:
    """Return the paths of the operations that run more than once in one pass."""
    times = Counter(path for path, _ in operations_in(functional_graph(model)))
    return {path for path, count in times.items() if count > 1}


def find_target_layer(model: keras.Model, shapes: dict[str, tuple[int | None, ...]]) -> str | None:
    """Return the default layer of CAM methods; None if the model has no convolution that runs once.

    It is the last 4-D output larger than 1 x 1 that is not pooling, dropout or padding, at or after a convolution. A
    layer that runs more than once, e.g. on a photo and its mirror image, has no single feature map.

    Args:
        model: functional or Sequential.
        shapes: layer path to output shape.
    """
    last, convolved, again = None, False, repeated(model)
    for path, operation in operations_in(functional_graph(model)):
        convolved = convolved or isinstance(operation, CONVOLUTIONS)
        shape = shapes.get(path, ())
        spatial = len(shape) == 4 and min(shape[1] or 2, shape[2] or 2) > 1
        if (
            convolved
            and spatial
            and path not in again
            and not any(word in type(operation).__name__ for word in _NOT_FEATURES)
        ):
            last = path
    return last
