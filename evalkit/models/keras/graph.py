"""Runs a Keras model's graph without its last softmax or sigmoid; its tensors are accessible, the model not changed.

Nested models (a backbone used as a layer) are entered, so a layer inside one can be named ``vgg16/block5_conv3``.
Calling layers on real tensors adds nothing to the user's graph; the layer whose activation is removed is replaced by
a copy with the same weights and no activation.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from evalkit.core.errors import ModelError
from evalkit.models.keras.inside import inner_layers, outputs_inside

__all__ = [
    "End",
    "Pooled",
    "TensorAt",
    "beginning",
    "end_of",
    "find_target_layer",
    "has_half_precision",
    "is_graph",
    "layer_paths",
    "operations_by_path",
    "operations_of_float32",
    "pooled_end",
    "rebuild",
    "repeated",
    "run",
    "scoring_operations",
    "straight_operations",
    "work",
]

Operation = Any
Tensor = Any

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
)
_ACTIVATIONS = ("softmax", "sigmoid", "linear", "log_softmax", "hard_sigmoid", "relu", "softplus", "tanh")
# Layers that may follow the scores without changing their order or meaning.
_PASSING = ("Dropout", "Flatten", "Reshape", "Identity", "Cast")
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


@dataclass(frozen=True)
class Pooled:
    """The end of a model with global average pooling and one dense layer, which CAM needs.

    Attributes:
        features: the tensor that enters the pooling.
        dense: the dense layer after it; ``kernel`` is (K, C).
        of_tokens: True if the tensor is (N, T, K); False if it is (N, h, w, K).
    """

    features: TensorAt
    dense: keras.layers.Dense
    of_tokens: bool = False


@dataclass(frozen=True, eq=False)
class End:
    """The end of a model by its last operations.

    Attributes:
        activation: its activation; ``linear`` after a dense layer or a convolution without one; empty if unknown.
        name: the name of the operation with the activation, or of the last one.
        replaced: for softmax and sigmoid: the operation's ``id``, and its replacement that returns logits.
        before_the_end: True if two outputs are made of this one sigmoid unit by further operations; whether they are p
            and 1 - p has to be looked at.
    """

    activation: str
    name: str
    replaced: dict[int, Callable[[Tensor], Tensor]]
    before_the_end: bool = False


def _functional(model: Operation) -> Operation:
    """Return the functional graph of a model; None for a plain layer, and for a class with a ``call`` of its own."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    own_call = type(model).call.__module__.partition(".")[0] != "keras" if hasattr(model, "call") else False
    return graph if hasattr(graph, "_run_through_graph") and not own_call else None


def is_graph(model: Operation) -> bool:
    """Return whether a model is its graph: functional or Sequential, without a ``call`` of its own class."""
    return _functional(model) is not None


def _graph(model: keras.Model) -> Operation:
    graph = _functional(model)
    if graph is None or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"model '{model.name}': a functional or Sequential Keras model with one input and one output is needed; "
            "wrap yours in keras.Model(inputs, outputs)"
        )
    return graph


def _operations(model: Operation, prefix: str = "") -> Iterator[tuple[str, Operation]]:
    """Yield every operation with its path, nested models entered, in the order computed."""
    graph = _functional(model)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            operation = node.operation
            if operation is None or node.is_input:
                continue
            if _functional(operation) is not None:
                yield from _operations(operation, f"{prefix}{operation.name}/")
            else:
                yield prefix + operation.name, operation


def operations_by_path(model: keras.Model) -> dict[str, Operation]:
    """Return every operation by its path, and the layers inside layers of one's own."""
    found = {}
    for path, operation in _operations(_graph(model)):
        found[path] = operation
        found.update(inner_layers(operation, path))
    return found


def straight_operations(model: keras.Model) -> list[Operation]:
    """Return the operations from the input up to the first branch of the graph.

    Nested models are entered. An operation that is used twice ends the chain.
    """
    chain: list[Operation] = []
    times = Counter(id(operation) for _, operation in _operations(_graph(model)))
    _follow(_graph(model), chain)
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
        if _functional(operation) is None:
            chain.append(operation)
        elif not _follow(_functional(operation), chain):
            return False
        tensor = readers[0].output_tensors[0]


def _producer(tensor: Tensor) -> Operation:
    return tensor._keras_history.operation


def _chain_up(model: Operation, output: int = 0) -> Iterator[Operation]:
    """Yield the operations from an output backwards, for as long as each has one input."""
    graph = _functional(model)
    tensor = graph.outputs[output]
    while True:
        operation = _producer(tensor)
        if isinstance(operation, keras.layers.InputLayer):
            return
        if _functional(operation) is not None:
            yield from _chain_up(operation, tensor._keras_history.tensor_index)
        else:
            yield operation
        node = operation._inbound_nodes[tensor._keras_history.node_index]
        if len(node.input_tensors) != 1:
            return
        tensor = node.input_tensors[0]


def _activation(operation: Operation) -> str:
    """Return the name of the activation that an operation ends in; ``linear`` if it has none."""
    if type(operation).__name__ in ("Softmax", "Sigmoid"):
        return type(operation).__name__.lower()
    activation = getattr(operation, "activation", None)
    if activation is None:
        return "linear"
    name = str(getattr(activation, "__name__", type(activation).__name__)).lower()
    return name if callable(getattr(keras.activations, name, None)) else _what_it_computes(activation)


def _what_it_computes(function: Callable[[Tensor], Tensor]) -> str:
    """Return the name of Keras' activation that a function computes, e.g. ``tf.nn.softmax``; empty if it is none."""
    probe = keras.ops.reshape(keras.ops.linspace(-7.0, 7.0, 20), (4, 5))
    try:
        outputs = np.asarray(function(probe))
    except Exception:  # whatever a function of the user's raises on numbers of another shape
        return ""
    same = (
        name
        for name in _ACTIVATIONS
        if np.shape(outputs) == (4, 5) and np.allclose(outputs, getattr(keras.activations, name)(probe), atol=1e-5)
    )
    return next(same, "")


def end_of(model: keras.Model) -> End:
    """Return the end of a model by its last operations; what it puts out has to be looked at as well."""
    for operation in _chain_up(_graph(model)):
        activation = _activation(operation)
        if activation in ("softmax", "sigmoid"):
            return _end_at(operation, activation)
        passing = isinstance(operation, keras.layers.Activation) or type(operation).__name__ in _PASSING
        if activation != "linear" or not passing:
            unit = _unit_behind(model)
            if unit is not None:
                return replace(_end_at(unit, "sigmoid"), before_the_end=True)
            is_linear = (
                activation == "linear" and getattr(operation, "kernel", None) is not None and _is_keras(operation)
            )
            return End("linear" if is_linear else activation if activation != "linear" else "", operation.name, {})
    return End("", model.name, {})


def _is_keras(operation: Operation) -> bool:
    """Return whether an operation is of Keras: a layer of the user's may hold a sigmoid that nobody sees."""
    return type(operation).__module__.partition(".")[0] in ("keras", "keras_hub")


def _end_at(operation: Operation, activation: str) -> End:
    """Return the end at an operation with a softmax or sigmoid; unknown if a copy cannot do without it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras, where the activation is a lambda
            return End(activation, operation.name, {id(operation): _without_activation(operation)})
    except Exception:  # whatever a layer of the user's raises that is made with other arguments
        return End("", operation.name, {})


def _unit_behind(model: keras.Model) -> Operation | None:
    """Return the sigmoid unit that both of two outputs are made of, as in ``Concatenate()([1 - p, p])``, if any."""
    if tuple(model.output_shape)[-1] != 2:
        return None
    graph = _functional(model)
    tensors = [graph.outputs[0]]
    while True:
        operations = {id(_producer(tensor)): _producer(tensor) for tensor in tensors}
        if len(operations) == 1 and _activation(*operations.values()) == "sigmoid":
            return next(iter(operations.values())) if tensors[0].shape[1:] == (1,) else None
        if any(getattr(one, "weights", None) and _activation(one) != "sigmoid" for one in operations.values()):
            return None
        before = [one for tensor in tensors for one in _inputs_of(tensor)]
        if not before or len(before) > 2 or any(_functional(operation) for operation in operations.values()):
            return None
        tensors = before


def _inputs_of(tensor: Tensor) -> list[Tensor]:
    """Return what an operation reads; one that is a sigmoid itself is not passed."""
    operation = _producer(tensor)
    if _activation(operation) == "sigmoid":
        return [tensor]
    return list(operation._inbound_nodes[tensor._keras_history.node_index].input_tensors)


def scoring_operations(model: keras.Model) -> list[Operation]:
    """Return the operations that compute the scores: from the last one with weights to the output.

    If branches of the graph join after it, only the operations after the join.
    """
    chain = []
    for operation in _chain_up(_graph(model)):
        chain.append(operation)
        if getattr(operation, "weights", None):
            break
    return chain


def operations_of_float32(model: keras.Model) -> list[Operation]:
    """Return the operations that keep float32 in a copy in bfloat16: those that compute the scores."""
    unit = _unit_behind(model)
    return scoring_operations(model) + ([] if unit is None else [unit])


def has_half_precision(model: keras.Model) -> bool:
    """Return whether a layer computes in float16 or bfloat16."""
    dtypes = {getattr(operation, "compute_dtype", None) for _, operation in _operations(_graph(model))}
    return not dtypes.isdisjoint({"float16", "bfloat16"})


def work(model: keras.Model, shapes: dict[str, tuple[int | None, ...]]) -> float:
    """Return the multiplications of one pass: every weight of a kernel once per output pixel.

    Args:
        model: functional or Sequential.
        shapes: layer path to output shape.
    """
    total = 0.0
    for path, operation in _operations(_graph(model)):
        kernel = getattr(operation, "kernel", None)
        if kernel is not None:
            pixels = math.prod(side or 1 for side in shapes.get(path, ())[1:-1])
            total += float(math.prod(kernel.shape)) * pixels
    return total


def _without_activation(operation: Operation) -> Callable[[Tensor], Tensor]:
    if _is_activation(operation):
        return lambda tensor: tensor
    copy: Any = type(operation).from_config({**operation.get_config(), "activation": "linear"})
    copy.build(operation.input.shape)
    copy.set_weights(operation.get_weights())
    replacement: Callable[[Tensor], Tensor] = copy
    return replacement


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
        replaced: the replacements, from ``end_of``.
        look: a function that is called with every layer's input and output tensor.
        inside: True = ``look`` is also called with the outputs of layers inside layers of one's own.
    """
    return keras.tree.flatten(_run(_graph(model), images, replaced, look, "", inside))[0]


def _run(
    graph: Operation,
    given: Tensor,
    replaced: dict[int, Callable[[Tensor], Tensor]],
    look: Callable[[TensorAt, Tensor], None] | None,
    prefix: str,
    inside: bool,
) -> Tensor:
    def wrap(operation: Operation) -> Callable[..., Tensor]:
        inner = _functional(operation)
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
            inner, path = _functional(operation), prefix + operation.name
            if inner is None:
                return make(path, operation)
            return lambda *args, **kwargs: through(inner, args[0] if args else kwargs["inputs"], f"{path}/")

        return graph._run_through_graph(_flat_inputs(graph, tensors), operation_fn=wrap)

    return keras.tree.flatten(through(_graph(model), [images], ""))[0]


def layer_paths(model: keras.Model) -> list[str]:
    """Return the paths of all layers in the order in which models list them, nested models entered."""

    def listed(model: Operation, prefix: str) -> Iterator[str]:
        for layer in model.layers:
            if _functional(layer) is not None:
                yield from listed(layer, f"{prefix}{layer.name}/")
            elif not isinstance(layer, keras.layers.InputLayer):
                yield prefix + layer.name

    return list(listed(model, ""))


def repeated(model: keras.Model) -> set[str]:
    """Return the paths of the operations that run more than once in one pass."""
    times = Counter(path for path, _ in _operations(_graph(model)))
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
    for path, operation in _operations(_graph(model)):
        convolved = convolved or isinstance(operation, _CONVOLUTIONS)
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


def pooled_end(model: keras.Model) -> Pooled | None:
    """Return the end of a model for CAM; None unless it is global average pooling and one dense layer."""
    paths = {id(operation): path for path, operation in _operations(_graph(model))}
    dense: keras.layers.Dense | None = None
    for operation in _chain_up(_graph(model)):
        if isinstance(operation, keras.layers.Dense) and dense is None:
            dense = operation
        elif isinstance(operation, (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalAveragePooling1D)):
            of_tokens = isinstance(operation, keras.layers.GlobalAveragePooling1D)
            if dense is None or (of_tokens and operation.data_format != "channels_last"):
                return None
            return Pooled(TensorAt(paths[id(operation)], entering=True), dense, of_tokens)
        elif type(operation).__name__ not in _PASSING and (dense is not None or not _is_activation(operation)):
            return None
    return None


def _is_activation(operation: Operation) -> bool:
    return isinstance(operation, keras.layers.Activation) or type(operation).__name__ in ("Softmax", "Sigmoid")


def beginning(model: keras.Model) -> list[tuple[str, Operation]]:
    """Return the operations up to the first convolution or dense layer, which is the last, with their paths."""
    operations: list[tuple[str, Operation]] = []
    for path, operation in _operations(_graph(model)):
        operations.append((path, operation))
        if isinstance(operation, (*_CONVOLUTIONS, keras.layers.Dense)):
            break
    return operations
