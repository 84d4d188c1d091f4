"""Classifiers that are kept with the Keras model they belong to, so that many calls with one model compile once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from evalkit.models.classifier import Classifier
from evalkit.models.zoo.load import as_classifier

__all__ = ["layers_of", "reused_classifier", "same_layers", "same_values"]

_ATTRIBUTE = "_evalkit_classifiers"
_MOST = 4  # kept per model, for calls that alternate between options
_OF_TRAINING = frozenset(
    {
        *("compiled", "history", "loss", "optimizer", "predict_function", "steps_per_execution", "stop_training"),
        *("test_function", "train_function"),
    }
)  # attributes of a Keras model that move no score
_lock = Lock()


@dataclass(frozen=True, eq=False)
class _Kept:
    """A classifier, and what it was built from.

    Attributes:
        options: the options of ``as_classifier``.
        classifier: the classifier.
        layers: the model's layers and their attributes, from ``layers_of``.
        weights: the values of the model's weights, which share the memory of the variables until these change.
    """

    options: dict[str, object]
    classifier: Classifier
    layers: object
    weights: tuple[tf.Tensor, ...]


@dataclass(eq=False)
class _Shelf:
    """The classifiers of one model; an object of no type that Keras tracks or saves."""

    kept: list[_Kept] = field(default_factory=list)


@contextmanager
def reused_classifier(model: keras.Model | Classifier, **options: Any) -> Iterator[Classifier]:  # noqa: ANN401 - as given
    """Yield the classifier of ``as_classifier``; a Keras model's is kept as long as the model lives.

    It is built anew when the options, the weights, the layers or their attributes have changed. It is used by one
    caller at a time: a second thread gets its own.

    Args:
        model: the model; the classifiers are stored in an attribute of it, and freed with it.
        options: the options of ``as_classifier``.

    Raises:
        ModelError: as ``as_classifier``.
    """
    if not isinstance(model, keras.Model):
        yield as_classifier(model, **options)
        return
    shelf: _Shelf = vars(model).setdefault(_ATTRIBUTE, _Shelf())  # not by setattr, which Keras would track
    key = _comparable(options)
    layers, weights = layers_of(model), tuple(tf.convert_to_tensor(weight.value) for weight in model.weights)
    with _lock:
        shelf.kept = [kept for kept in shelf.kept if same_layers(kept.layers, layers) and _equal(kept.weights, weights)]
        found = next((kept for kept in shelf.kept if kept.options == key), None)
        if found:
            shelf.kept.remove(found)
    classifier = found.classifier if found else as_classifier(model, **options)
    yield classifier
    with _lock:
        shelf.kept = [_Kept(key, classifier, layers, weights), *shelf.kept][:_MOST]


def _comparable(options: Mapping[str, Any]) -> dict[str, object]:
    return {
        name: value if value is None or isinstance(value, str | int | float) else tuple(value)
        for name, value in options.items()
    }


def _equal(kept: tuple[tf.Tensor, ...], now: tuple[tf.Tensor, ...]) -> bool:
    """Return whether weights are unchanged; those that share their memory with the kept ones are not compared.

    A tensor is never changed: TensorFlow gives a variable new memory if a tensor uses the memory of its last value.
    """
    if len(kept) != len(now):
        return False
    return all(map(same_values, kept, now))


def same_values(first: tf.Tensor, second: tf.Tensor) -> bool:
    """Return whether two tensors are equal; those that share their memory are not compared."""
    return _share_memory(first, second) or (
        first.dtype == second.dtype and first.shape == second.shape and bool(tf.reduce_all(first == second))
    )


def _share_memory(first: tf.Tensor, second: tf.Tensor) -> bool:
    if not all(tensor.backing_device.rpartition("/device:")[2].startswith("CPU") for tensor in (first, second)):
        return False
    try:
        # Both views exist at once, so that equal addresses mean the same memory.
        views = np.asarray(memoryview(first)), np.asarray(memoryview(second))
    except (TypeError, ValueError, BufferError):  # a dtype without a buffer, e.g. bfloat16
        return False
    first_view, second_view = views
    return bool(first_view.__array_interface__["data"][0] == second_view.__array_interface__["data"][0])


def layers_of(value: Any) -> object:  # noqa: ANN401 - a layer, or an attribute of one
    """Return a layer, or a model, and its public attributes, recursively, for ``same_layers``."""
    if isinstance(value, keras.layers.Layer):
        attributes = [
            (name, layers_of(attribute))
            for name, attribute in vars(value).items()
            if not name.startswith("_") and name not in _OF_TRAINING
        ]
        return (value, *attributes, *map(layers_of, getattr(value, "layers", ())))
    if isinstance(value, list | tuple):
        return tuple(map(layers_of, value))
    if isinstance(value, dict):
        return tuple((name, layers_of(item)) for name, item in value.items())
    return value


def same_layers(first: object, second: object) -> bool:
    """Return whether layers and attributes, from ``layers_of``, are unchanged; weights are not compared."""
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(same_layers, first, second))
    if isinstance(first, bool | int | float | str | bytes):
        return type(first) is type(second) and first == second
    return first is second
