"""Models given as Python objects: Keras models, black boxes, functions of images, and functions that return these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line, import_object
from evalkit.models.blackbox import BlackBox
from evalkit.models.keras.graph import is_graph
from evalkit.models.zoo.model_function import ModelFunction, one_of, sized
from evalkit.models.zoo.saved_model import from_loaded

__all__ = ["Described", "from_function", "from_keras", "from_object", "load_weights", "with_output"]

_NEEDED = (
    "a Keras model, or a function of images (float32 (N, H, W, C) in 0..255 to logits or probabilities) with the "
    "attributes input_size and n_classes (docs/models.md has examples)"
)


@dataclass(frozen=True, eq=False)
class Described:
    """A function of images, and what its author says of its outputs.

    Attributes:
        box: the function as a black box.
        class_names: the names of the outputs; None if its author names none.
        head: the kind of its head; None if its author names none.
    """

    box: BlackBox
    class_names: Sequence[str] | None = None
    head: str | None = None


def from_function(source: str) -> keras.Model | ModelFunction | Described:
    """Return the model of ``module:function``.

    An object with ``input_size`` that is no class is itself the function of images, and a model is itself the model;
    anything else is called without arguments and returns one of these.

    Raises:
        ModelError: it cannot be imported, fails, or is and returns something else.
    """
    what = f"--model '{source}'"
    found = import_object(source, what, ModelError)
    if not _is_model(found):
        if not callable(found):
            raise ModelError(f"{what} is {type(found).__name__}; write MODULE:FUNCTION, which returns {_NEEDED}")
        try:
            found = found()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ModelError(f"{what} failed: {type(error).__name__}: {first_line(error)}") from error
        what += " returned"
    else:
        what += " is"
    return from_object(found, what, source)


def _is_model(found: object) -> bool:
    if isinstance(found, type):
        return False
    kinds = (keras.layers.Layer, BlackBox)
    return isinstance(found, kinds) or hasattr(found, "input_size") or _is_loaded(found) or _is_of("tf_keras", found)


def _is_loaded(found: object) -> bool:
    """Return whether an object is what ``tf.saved_model.load`` returns."""
    return hasattr(found, "signatures") and hasattr(found, "graph_debug_info")


def from_object(found: Any, what: str, name: str = "") -> keras.Model | ModelFunction | Described:  # noqa: ANN401 - any object
    """Return the model that a Python object is.

    Args:
        found: the object.
        what: its place and a verb, at the beginning of a message.
        name: the model's name in tables, if the object has none.

    Raises:
        ModelError: the object is no model.
    """
    if isinstance(found, keras.Model):
        return found
    if isinstance(found, keras.layers.TFSMLayer):
        return from_loaded(found._reloaded_obj, name or found.name)
    if isinstance(found, BlackBox):
        return Described(found)
    if _is_loaded(found):
        return from_loaded(found, name or "SavedModel")
    if _is_of("tf_keras", found):
        return _legacy(found)
    if _is_of("torch", found):
        raise ModelError(
            f"{what} {type(found).__name__} of PyTorch; {_NEEDED} is needed: docs/models.md has ten lines that wrap it"
        )
    if not callable(found):
        raise ModelError(f"{what} {type(found).__name__}; {_NEEDED} is needed")
    size = getattr(found, "input_size", None)
    if size is None:
        raise ModelError(
            f"{what} {type(found).__name__} without input_size; {_NEEDED} is needed: set f.input_size = (height, "
            "width) and f.n_classes"
        )
    own = getattr(found, "name", None) or getattr(found, "__name__", type(found).__name__)
    names = getattr(found, "class_names", None)
    box = BlackBox(
        found,
        size,
        getattr(found, "channels", 3),
        str(name or own),
        str(getattr(found, "identity", "")),
        getattr(found, "n_classes", None),
    )
    return Described(box, None if names is None else [str(one) for one in names], getattr(found, "head", None))


def _is_of(package: str, found: object) -> bool:
    return any(kind.__module__.partition(".")[0] == package for kind in type(found).__mro__)


def _legacy(model: Any) -> ModelFunction:  # noqa: ANN401 - a model of Keras 2, which need not be installed
    """Return a model of ``tf_keras`` as a function of its own input."""
    shape = _built_for(model)
    size, channels = ((shape[1], shape[2]), shape[3]) if len(shape) == 4 else ((None, None), None)
    return ModelFunction(_KerasFunction(model), str(model.name), size, channels, _digest(model))


@dataclass(frozen=True, eq=False)
class _WithOutput:
    """A function of images with several outputs, reduced to one of them."""

    function: Callable[[NDArray[np.float32]], Any]
    output_name: str
    name: str

    def __call__(self, images: NDArray[np.float32]) -> Any:  # noqa: ANN401 - what the function returns
        return one_of(self.function(images), self.output_name, self.name)


def with_output(box: BlackBox, output_name: str | None) -> BlackBox:
    """Return a black box of one of the outputs of a function that returns several."""
    if output_name is None:
        return box
    function = _WithOutput(box.function, output_name, box.name)
    return BlackBox(function, box.input_size, box.channels, box.name, box.identity, box.n_classes)


@dataclass(frozen=True, eq=False)
class _KerasFunction:
    """A Keras model that is no graph, or of Keras 2, as a function of its own input."""

    model: Any

    def __call__(self, images: NDArray[np.float32]) -> Any:  # noqa: ANN401 - arrays in the structure of its outputs
        outputs = self.model(images, training=False)
        return keras.tree.map_structure(_array, outputs)


def _array(tensor: Any) -> NDArray[Any]:  # noqa: ANN401 - a tensor of Keras' backend
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def from_keras(
    model: keras.Model, name: str, input_size: tuple[int, int] | None, weights: Path | None
) -> ModelFunction | None:
    """Return a Keras model that is no graph as a function; None for a graph.

    Args:
        model: any Keras model with one input; it is built if it is not yet.
        name: the model's name in tables.
        input_size: the value of ``--input-size``.
        weights: the file of ``--weights``, read once the model is built.

    Raises:
        ModelError: the input size is not known, or the model fails.
    """
    if is_graph(model):
        return None
    shape = _built_for(model)
    size, channels = ((shape[1], shape[2]), shape[3]) if len(shape) == 4 else ((None, None), None)
    function = ModelFunction(_KerasFunction(model), name, size, channels)
    height, width = sized(function, input_size)
    images = np.zeros((1, height, width, channels or 3), dtype=np.float32)
    try:
        if isinstance(model, keras.Sequential):
            model.build((None, *images.shape[1:]))
        model(images, training=False)
    except Exception as error:
        raise ModelError(
            f"model '{name}' failed on an image of shape {images.shape}: {type(error).__name__}: {first_line(error)}; "
            "a model with several inputs is given as a function of the images alone, --model module:function"
        ) from error
    if is_graph(model):  # a Sequential without an input shape
        return None
    if weights is not None:
        load_weights(model, weights)
    return ModelFunction(_KerasFunction(model), name, (height, width), channels or 3, _digest(model))


def _built_for(model: Any) -> tuple[int | None, ...]:  # noqa: ANN401 - a Keras model of any version
    """Return the shape of input that a model was built or trained with; empty if it is not known."""
    shape = getattr(model, "input_shape", None)
    if shape is None and model.built:
        shape = (model.get_build_config() or {}).get("input_shape")
    known = isinstance(shape, tuple | list) and all(side is None or isinstance(side, int) for side in shape)
    return tuple(shape) if known and shape else ()


def _digest(model: Any) -> str:  # noqa: ANN401 - a Keras model of any version
    """Return the sha256 of a model's class and weights."""
    digest = hashlib.sha256(f"{type(model).__name__}|".encode())
    for weight in model.weights:
        values = np.ascontiguousarray(_array(weight))
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def load_weights(model: keras.Model, path: Path) -> None:
    """Load the file of ``--weights`` into a model.

    Raises:
        ModelError: there is no such file, or it does not fit.
    """
    if not path.is_file():
        raise ModelError(f"--weights '{path}': there is no such file")
    try:
        model.load_weights(path)
    except Exception as error:
        raise ModelError(f"--weights '{path}' do not fit model '{model.name}': {first_line(error)}") from error
