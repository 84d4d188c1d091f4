"""The graph of a Keras model as the source of its outputs: preprocessing, the end removed, access to its tensors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.core.names import escaped
from evalkit.models.devices import allow_tf32
from evalkit.models.keras import ends, graph
from evalkit.models.keras.layout import layout_of
from evalkit.models.keras.precision import Precision, in_half, is_half
from evalkit.models.keras.variant import assign_weights
from evalkit.models.memory import fitting_batch
from evalkit.models.preprocessing import Preprocessing
from evalkit.models.runner import Pixels

__all__ = ["KerasSource", "as_tensor"]

_FAR = np.float32(100)  # how much more contrast than any photo has


def as_tensor(images: Pixels) -> tf.Tensor:
    """Return images as a float32 tensor."""
    return tf.constant(np.asarray(images, dtype=np.float32))


class KerasSource:
    """A functional or Sequential Keras model.

    Attributes:
        model: the given Keras model; it is never changed.
        name: the model's name in tables.
        preprocess: the preprocessing, as the value of ``--preprocess``.
        preprocessing: the function that it stands for.
        layout: its input, and the order of axes inside it.
        input_size: (height, width) in pixels.
        channels: the number of channels of its input.
        n_outputs: the number of outputs.
        precision: the dtype of the computation; ``bfloat16`` and ``float16`` use a copy of the model, ``tf32`` is
            float32 whose products a GPU rounds.
        computed: the Keras model of the passes: ``model`` itself, or its copy in 16 bits.
        end: the end of ``computed``.
        shapes: the output shapes by layer path, the batch dimension first.
        work: the multiplications of one pass, from the shapes of kernels and outputs.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        name: str | None,
        preprocess: str,
        precision: Precision,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        """See the class. With ``float32`` a model of another dtype keeps its own dtype.

        Raises:
            ModelError: not a functional or Sequential model over (H, W, 3) images with one row of class scores, or an
                preprocessing that is unknown or does not fit.
        """
        self.model = model
        self.name = escaped(name or model.name)
        self.layout = layout_of(model, input_size, self.name)
        self.input_size, self.channels = self.layout.size, self.layout.channels
        self.preprocessing = Preprocessing.parse(preprocess).fitted((*self.input_size, self.channels))
        self.preprocess = self.preprocessing.text
        self.n_outputs = _n_outputs(model)
        self.computed, self.precision = model, str(model.compute_dtype)
        if is_half(precision):
            self.computed, self.precision = in_half(model, ends.operations_of_float32(model), precision), precision
        elif precision == "tf32" and self.precision == "float32":
            allow_tf32()
            self.precision = precision
        self.end = ends.end_of(self.computed)
        self._replaced: dict[int, Callable[[tf.Tensor], tf.Tensor]] = {}
        self._outputs = self._compiled_outputs()
        self.shapes = self._layer_shapes()
        self.work = graph.work(self.computed, self.shapes)

    def remove_end(self, *, removed: bool) -> None:
        """Let ``outputs`` return the logits before the softmax or sigmoid at the end, if any; else its own outputs."""
        replaced = self.end.replaced if removed else {}
        if replaced.keys() != self._replaced.keys():
            self._replaced = replaced
            self._outputs = self._compiled_outputs()

    def reload(self, positions: Sequence[int]) -> None:
        """Give the copies of the model's layers its weights again, after these were changed in place.

        Args:
            positions: which weights of ``model`` were changed.
        """
        if self.computed is not self.model:
            assign_weights(self.computed, self.model, positions)
        for _, operation in graph.operations_in(graph.functional_graph(self.computed)):
            replacement = self.end.replaced.get(id(operation))
            if isinstance(replacement, keras.layers.Layer):  # the last layer without its activation
                replacement.set_weights(operation.get_weights())

    def own_outputs(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float64], bool]:
        """Return what the model itself puts out, float64 (N, R), and whether it computes in less than float32."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras, on a model that was made with a list of one input
            given = self.layout.to_model(self.preprocessing(tf.constant(images)))
            outputs = self.computed(given, training=False)
        outputs = self.in_rows(keras.tree.flatten(outputs)[0])
        is_half = outputs.dtype not in (tf.float32, tf.float64) or ends.has_half_precision(self.computed)
        return outputs.numpy().astype(np.float64), is_half

    def own_logits(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what enters the softmax or sigmoid at the end, float64 (N, R).

        It is not compiled, as ``own_outputs`` is not: a compiled pass rounds, and on a processor even computes some
        channels_first layers, in another way, and both are to be compared.
        """
        outputs = self.run_graph(self.preprocessing(tf.constant(images)), self.end.replaced)
        return np.asarray(tf.cast(outputs, tf.float64))

    def is_bounded(self, images: NDArray[np.float32]) -> bool:
        """Return whether all outputs lie in 0..1 even of images far outside 0..255, as those of a sigmoid do.

        Args:
            images: any images, float32 (N, H, W, C) in 0..255.
        """
        outputs, _ = self.own_outputs((images - np.float32(127.5)) * _FAR)
        return bool((np.abs(outputs - 0.5) <= 0.5 + 1e-3).all(where=np.isfinite(outputs)))

    def unit_of_two(self, image: NDArray[np.float32]) -> int | None:
        """Return which of two outputs is p and the other 1 - p, if both are made of one sigmoid unit; else None.

        Args:
            image: any image, float32 (1, H, W, C) in 0..255.
        """
        if not self.end.before_the_end or not self.end.replaced:
            return None
        columns = {self._column_of(image, p) for p in (0.25, 0.9)}
        return columns.pop() if len(columns) == 1 else None

    def _column_of(self, image: NDArray[np.float32], p: float) -> int | None:
        """Return which output is p, and the other 1 - p, where the unit at the end puts out p."""
        ((unit, linear),) = self.end.replaced.items()
        prepared = self.layout.to_model(self.preprocessing(tf.constant(image)))
        outputs = graph.run(self.computed, prepared, {unit: lambda tensor: tf.zeros_like(linear(tensor)) + p})
        row = np.asarray(outputs, dtype=np.float64)[0]
        fitting = [column for column in (0, 1) if np.allclose(row[[column, 1 - column]], [p, 1 - p], atol=1e-2)]
        return fitting[0] if fitting else None

    @property
    def fitting_batch(self) -> int:
        """The largest number of images in one pass that fits into memory."""
        return fitting_batch(self.shapes)

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return the outputs of images (N, H, W, C) in 0..255, float (N, R): logits after ``remove_end``."""
        outputs: NDArray[np.floating] = self._outputs(tf.constant(images)).numpy()
        return outputs

    def batch_spec(self) -> tf.TensorSpec:
        """Return the type of a batch of images."""
        return tf.TensorSpec([None, *self.input_size, self.channels], tf.float32)

    @cached_property
    def input_dtype(self) -> tf.DType:
        """The dtype of preprocessed images that ``run_graph`` takes: the one that its first layer casts them to."""
        first = next(iter(graph.straight_operations(self.computed)), None)
        if isinstance(first, keras.layers.Layer) and first.autocast and is_half(first.compute_dtype):
            return tf.as_dtype(first.compute_dtype)
        return tf.float32

    def _compiled_outputs(self) -> Callable[[tf.Tensor], tf.Tensor]:
        compiled: Callable[[tf.Tensor], tf.Tensor] = tf.function(
            lambda images: self.run_graph(self.preprocessing(images)),
            autograph=False,
            input_signature=[self.batch_spec()],
        )
        return compiled

    @property
    def has_repeated_layers(self) -> bool:
        """Whether a layer runs more than once in one pass."""
        return bool(graph.repeated(self.model))

    @property
    def replaced(self) -> Collection[int]:
        """The ``id`` of the operations of ``computed`` that are replaced, because they contain the activation."""
        return self._replaced.keys()

    def preprocess_tensor(self, images: tf.Tensor) -> tf.Tensor:
        """Return the input of the Keras model itself."""
        return self.preprocessing(images)

    def preprocessed(self, images: Pixels) -> NDArray[np.float32]:
        """Return the input of the Keras model itself, float32 (N, H, W, C), for libraries that run the model."""
        return np.asarray(self.preprocessing(as_tensor(images)))

    def run_graph(
        self,
        preprocessed: tf.Tensor,
        skipped: dict[int, Callable[[tf.Tensor], tf.Tensor]] | None = None,
        look: Callable[[graph.TensorAt, Any], None] | None = None,
        inside: bool = False,
    ) -> tf.Tensor:
        """Return the outputs of preprocessed images, as a tensor.

        Args:
            preprocessed: the images, from ``preprocess_tensor``.
            skipped: the replacements of operations, by ``id``.
            look: a function that is called with every layer's input and output.
            inside: True = ``look`` is also called with the outputs of layers inside layers of one's own.
        """
        given = self.layout.to_model(preprocessed)
        return self.in_rows(graph.run(self.computed, given, {**self._replaced, **(skipped or {})}, look, inside))

    def applied(self, operation: graph.Operation) -> Callable[..., Any]:
        """Return how the passes compute an operation: in inference, and without the activation at the end."""
        replacement = self._replaced.get(id(operation))
        if replacement is not None:
            return lambda *args, **_: replacement(args[0])
        if isinstance(operation, keras.layers.Layer):
            return lambda *args, **kwargs: operation(*args, **{**kwargs, "training": False})
        call: Callable[..., Any] = operation
        return call

    def in_rows(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return outputs such as (N, 1, 1, C), of a last convolution, as rows (N, C)."""
        return outputs if len(outputs.shape) == 2 else tf.reshape(outputs, [-1, self.n_outputs])

    def _layer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        shapes: dict[str, tuple[int | None, ...]] = {}

        def look(at: graph.TensorAt, tensor: Any) -> None:  # noqa: ANN401 - a tensor or a list of them
            if not at.entering and hasattr(tensor, "shape"):
                shapes[at.path] = self.layout.shape(tuple(tensor.shape))

        def trace(images: tf.Tensor) -> tf.Tensor:
            return self.run_graph(self.preprocessing(images), self.end.replaced, look)

        one = tf.TensorSpec([1, *self.input_size, self.channels], tf.float32)
        try:
            tf.function(trace, autograph=False).get_concrete_function(one)
        except Exception as error:  # what a layer raises for an image that is too small is of no common class
            if not self.layout.chosen:
                raise
            height, width = self.input_size
            raise ModelError(
                f"model '{self.name}' cannot be run on images of {height} x {width}: {first_line(error)}; give another "
                "--input-size"
            ) from error
        return shapes


def _n_outputs(model: keras.Model) -> int:
    shape = tuple(model.output_shape) if isinstance(getattr(model, "output_shape", None), tuple) else ()
    if len(shape) < 2 or None in shape[1:] or sum(side > 1 for side in shape[1:]) > 1:
        raise ModelError(
            f"model '{model.name}' has outputs of shape {shape}; one row of scores an image, (N, C), is needed: one "
            "for each class, or one for two classes"
        )
    return math.prod(shape[1:])
