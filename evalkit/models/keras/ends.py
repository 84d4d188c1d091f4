"""What stands at the two ends of a Keras model's graph: preprocessing and first layer, scores and activation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from evalkit.models.keras.graph import (
    CONVOLUTIONS,
    TensorAt,
    chain_up,
    functional_graph,
    functional_of,
    operations_in,
    producer_of,
)

__all__ = [
    "End",
    "Pooled",
    "beginning",
    "end_of",
    "has_half_precision",
    "operations_of_float32",
    "pooled_end",
    "scoring_operations",
]

Operation = Any
Tensor = Any

_ACTIVATIONS = ("softmax", "sigmoid", "linear", "log_softmax", "hard_sigmoid", "relu", "softplus", "tanh")
# Layers that may follow the scores without changing their order or meaning.
_PASSING = ("Dropout", "Flatten", "Reshape", "Identity", "Cast")


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
    for operation in chain_up(functional_graph(model)):
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
    graph = functional_of(model)
    tensors = [graph.outputs[0]]
    while True:
        operations = {id(producer_of(tensor)): producer_of(tensor) for tensor in tensors}
        if len(operations) == 1 and _activation(*operations.values()) == "sigmoid":
            return next(iter(operations.values())) if tensors[0].shape[1:] == (1,) else None
        if any(getattr(one, "weights", None) and _activation(one) != "sigmoid" for one in operations.values()):
            return None
        before = [one for tensor in tensors for one in _inputs_of(tensor)]
        if not before or len(before) > 2 or any(functional_of(operation) for operation in operations.values()):
            return None
        tensors = before


def _inputs_of(tensor: Tensor) -> list[Tensor]:
    """Return what an operation reads; one that is a sigmoid itself is not passed."""
    operation = producer_of(tensor)
    if _activation(operation) == "sigmoid":
        return [tensor]
    return list(operation._inbound_nodes[tensor._keras_history.node_index].input_tensors)


def scoring_operations(model: keras.Model) -> list[Operation]:
    """Return the operations that compute the scores: from the last one with weights to the output.

    If branches of the graph join after it, only the operations after the join.
    """
    chain = []
    for operation in chain_up(functional_graph(model)):
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
    dtypes = {getattr(operation, "compute_dtype", None) for _, operation in operations_in(functional_graph(model))}
    return not dtypes.isdisjoint({"float16", "bfloat16"})


def _without_activation(operation: Operation) -> Callable[[Tensor], Tensor]:
    if _is_activation(operation):
        return lambda tensor: tensor
    copy: Any = type(operation).from_config({**operation.get_config(), "activation": "linear"})
    copy.build(operation.input.shape)
    copy.set_weights(operation.get_weights())
    replacement: Callable[[Tensor], Tensor] = copy
    return replacement


def pooled_end(model: keras.Model) -> Pooled | None:
    """Return the end of a model for CAM; None unless it is global average pooling and one dense layer."""
    paths = {id(operation): path for path, operation in operations_in(functional_graph(model))}
    dense: keras.layers.Dense | None = None
    for operation in chain_up(functional_graph(model)):
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
    for path, operation in operations_in(functional_graph(model)):
        operations.append((path, operation))
        if isinstance(operation, (*CONVOLUTIONS, keras.layers.Dense)):
            break
    return operations
