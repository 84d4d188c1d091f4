"""Finds preprocessing inside a model: layers and operations that change pixels before the first layer with weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from evalkit.models.keras import ends, graph
from evalkit.models.preprocessing import Preprocessing

__all__ = ["attached_preprocessing", "doubt", "own_preprocessing"]

_SIDE = 224  # of models that take any size
_UNCHANGED = 0.7  # smallest share of values that a model without preprocessing leaves as they are; borders may be mixed
_EQUAL = 1e-2
_NAMED = 4
_LAYERS = (keras.layers.Rescaling, keras.layers.Normalization)


class _ReachedError(Exception):
    """The first layer with weights was reached, with this tensor."""

    def __init__(self, tensor: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.tensor = tensor


def own_preprocessing(model: keras.Model) -> str:
    """Return what changes the pixels' values before the first layer with weights, in words; empty if nothing does.

    ``Rescaling`` and ``Normalization`` layers are known by their class. Everything else, such as ``x / 255``, a
    ``Lambda`` layer or keras-hub's converters, is judged by its outputs: one image goes through the beginning of the
    model. Cropping, resizing, padding and augmentation, which is off outside training, keep values.

    Raises:
        ModelError: not a functional or Sequential model with one input and one output.
    """
    operations = ends.beginning(model)
    if any(isinstance(operation, _LAYERS) for _, operation in operations):
        return "a Rescaling or Normalization layer"
    weighted = [index for index, (_, operation) in enumerate(operations) if getattr(operation, "weights", None)]
    if not weighted or weighted[0] == 0:
        return ""
    before = [operation for _, operation in operations[: weighted[0]]]
    changes = _changes_values(model, operations[weighted[0]][0])
    hub = [type(operation).__name__ for operation in before if _is_hub_converter(operation)]
    if hub and changes is not False:
        return f"keras-hub's {hub[0]}"
    if not changes:
        return ""
    names = list(dict.fromkeys(type(operation).__name__ for operation in before))
    more = ", ..." if len(names) > _NAMED else ""
    return f"operations on pixels ({', '.join(names[:_NAMED])}{more})"


def _is_hub_converter(operation: Any) -> bool:  # noqa: ANN401
    """Return whether an operation is one of keras-hub's preprocessing layers; keras-hub need not be installed."""
    kinds = [kind for kind in type(operation).__mro__ if kind.__module__.partition(".")[0] in ("keras_hub", "keras_cv")]
    return any(kind.__name__.endswith(("ImageConverter", "Preprocessor")) for kind in kinds)


def _changes_values(model: keras.Model, path: str) -> bool | None:
    """Return whether an image of one color enters the layer of this path with other values; None if it cannot run."""
    height, width, channels = (side or _SIDE for side in model.input_shape[1:])
    color = np.linspace(40, 220, channels).round().astype(np.float32)
    try:
        entered = _entering(model, path, np.broadcast_to(color, (1, height, width, channels)))
    except Exception:  # whatever a layer of the user's raises
        return None
    values = entered[entered != 0]  # without the padding
    kept = np.abs(values.reshape(-1, 1) - color).min(axis=1) < _EQUAL
    return bool(kept.size and kept.mean() < _UNCHANGED)


def _entering(model: keras.Model, path: str, image: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    def look(at: graph.TensorAt, tensor: Any) -> None:  # noqa: ANN401
        if at == graph.TensorAt(path, entering=True):
            raise _ReachedError(tensor)

    try:
        graph.run(model, tf.constant(image), {}, look)
    except _ReachedError as reached:
        return np.asarray(tf.cast(reached.tensor, tf.float32))
    return np.zeros(1, dtype=np.float32)


def doubt(preprocessing: Preprocessing, model: keras.Model, name: str, shape: tuple[int, int, int]) -> str:
    """Return a sentence if pixels are preprocessed by an option and by the model itself; empty if not.

    Args:
        preprocessing: the preprocessing of the options.
        model: the Keras model.
        name: the model's name in tables.
        shape: (height, width, channels) of an image.
    """
    probe = np.linspace(0, 255, int(np.prod(shape)), dtype=np.float32).reshape((1, *shape))
    if np.array_equal(preprocessing(tf.constant(probe)), probe):
        return ""
    own = own_preprocessing(model)
    if not own:
        return ""
    return (
        f"--preprocess {preprocessing.text} is applied before model '{name}', which begins with {own} of its own; "
        "leave the option out if that is all that it needs"
    )


def attached_preprocessing(model: keras.Model) -> str:
    """Return the value of ``--preprocess`` for the preprocessor that keras-hub keeps beside a model; empty if none.

    Such a preprocessor is applied by the model's own ``predict``, but is no part of its graph.
    """
    converter = getattr(getattr(model, "preprocessor", None), "image_converter", None)
    if converter is None or not _is_hub_converter(converter):
        return ""
    try:
        scale, offset = (
            np.atleast_1d(np.asarray(default if value is None else value, dtype=np.float64))
            for value, default in ((converter.scale, 1.0), (converter.offset, 0.0))
        )
        std = 1 / (255 * scale)
        return Preprocessing.parse(f"mean={_numbers(-offset * std)},std={_numbers(std)}").text
    except (AttributeError, TypeError, ValueError):
        return ""


def _numbers(values: np.ndarray[Any, Any]) -> str:
    return ",".join(f"{value:.6g}" for value in values.ravel())
