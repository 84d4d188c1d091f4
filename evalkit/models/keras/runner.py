"""Passes of images through a Keras model: preprocessing, logits in float64, batches that fit into memory, counts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import ModelError, nearest
from evalkit.core.names import escaped
from evalkit.models.keras import graph
from evalkit.models.keras.applications import PREPROCESS_FAMILIES
from evalkit.models.keras.memory import OUT_OF_MEMORY, fitting_batch
from evalkit.models.keras.precision import in_bfloat16
from evalkit.models.probabilities import softmax

__all__ = ["PassCount", "Pixels", "Runner", "as_tensor"]

_DEFAULT_SIDE = 224

Floats = NDArray[np.float64]
Pixels = NDArray[np.floating] | NDArray[np.uint8]


@dataclass
class PassCount:
    """The passes through a model so far, in images.

    Attributes:
        forward: the number of forward passes.
        backward: the number of backward passes.
    """

    forward: int = 0
    backward: int = 0


def as_tensor(images: Pixels) -> tf.Tensor:
    """Return images as a float32 tensor."""
    return tf.constant(np.asarray(images, dtype=np.float32))


class Runner:
    """A Keras image classifier that takes RGB pixels in 0..255 and returns logits.

    Attributes:
        model: the given Keras model; it is never changed.
        name: the model's name in tables.
        preprocess: the ``keras.applications`` family whose ``preprocess_input`` is applied, or ``none``.
        input_size: (height, width) in pixels.
        n_classes: the number of outputs.
        precision: the dtype of the computation; ``bfloat16`` uses a copy of the model.
        computed: the Keras model of the passes: ``model`` itself, or its copy in bfloat16.
        batch_size: the largest number of images in one pass; halved when memory runs out.
        count: the passes so far.
        shapes: the output shapes by layer path, the batch dimension first.
        work: the multiplications of one pass, from the shapes of kernels and outputs.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        name: str | None,
        preprocess: str,
        batch_size: int | None,
        precision: Literal["float32", "bfloat16"],
        count: PassCount | None = None,
    ) -> None:
        """See the class. With ``float32`` a model of another dtype keeps its own dtype.

        Raises:
            ModelError: not a functional or Sequential model over (H, W, 3) images with one row of class scores, a
                sigmoid end, or an unknown preprocessing family.
        """
        self.model = model
        self.name = escaped(name or model.name)
        self.preprocess = preprocess
        self.count = count or PassCount()
        self.input_size = _input_size(model)
        self.n_classes = _n_classes(model)
        self.computed = in_bfloat16(model, graph.scoring_operations(model)) if precision == "bfloat16" else model
        self.precision = precision if precision == "bfloat16" else str(model.compute_dtype)
        self._replaced = graph.linear_end(self.computed)
        self._preprocess = _preprocess_function(preprocess)
        self._logits = tf.function(self._trace_logits, autograph=False, input_signature=[self._batch_spec()])
        self.shapes = self._layer_shapes()
        self.batch_size = batch_size or fitting_batch(self.shapes)
        self.work = graph.work(self.computed, self.shapes)

    @property
    def passes(self) -> int:
        """The number of forward passes so far."""
        return self.count.forward

    def _batch_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, *self.input_size, 3], tf.float32)

    def _trace_logits(self, images: tf.Tensor) -> tf.Tensor:
        return self.run_graph(self._preprocess(images))

    @property
    def replaced(self) -> Collection[int]:
        """The ``id`` of the operations of ``computed`` that are replaced, because they contain the last softmax."""
        return self._replaced.keys()

    def preprocess_tensor(self, images: tf.Tensor) -> tf.Tensor:
        """Return the input of the Keras model itself; pixelwise, for any height and width."""
        return self._preprocess(images)

    def run_graph(
        self,
        preprocessed: tf.Tensor,
        skipped: dict[int, Callable[[tf.Tensor], tf.Tensor]] | None = None,
        look: Callable[[graph.TensorAt, Any], None] | None = None,
    ) -> tf.Tensor:
        """Return the logits of preprocessed images, as a tensor.

        Args:
            preprocessed: the images, from ``preprocess_tensor``.
            skipped: the replacements of operations, by ``id``.
            look: a function that is called with every layer's input and output.
        """
        return graph.run(self.computed, preprocessed, {**self._replaced, **(skipped or {})}, look)

    def _layer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        shapes: dict[str, tuple[int | None, ...]] = {}

        def look(at: graph.TensorAt, tensor: Any) -> None:  # noqa: ANN401 - a tensor or a list of them
            if not at.entering and hasattr(tensor, "shape"):
                shapes[at.path] = tuple(tensor.shape)

        def trace(images: tf.Tensor) -> tf.Tensor:
            return self.run_graph(self._preprocess(images), look=look)

        tf.function(trace, autograph=False).get_concrete_function(tf.TensorSpec([1, *self.input_size, 3], tf.float32))
        return shapes

    def in_batches(self, count: int, run: Callable[[int, int], NDArray[np.floating]]) -> Floats:
        """Return ``count`` rows, computed in batches; when memory runs out, ``batch_size`` is halved permanently.

        Args:
            count: the number of rows.
            run: the function from the first index and the last + 1 to these rows.

        Returns:
            float64, the rows in order.

        Raises:
            ModelError: too little memory for a single image.
        """
        parts, start = [], 0
        while start < count:
            stop = min(start + self.batch_size, count)
            try:
                parts.append(run(start, stop).astype(np.float64))
            except OUT_OF_MEMORY as error:
                self.halve_batch(error)
                continue
            self.count.forward += stop - start
            start = stop
        return np.concatenate(parts) if parts else np.empty((0, self.n_classes))

    def halve_batch(self, error: BaseException) -> None:
        """Halve the batch size permanently.

        Raises:
            ModelError: the batch size is 1 already.
        """
        if self.batch_size == 1:
            raise ModelError(f"model '{self.name}' runs out of memory on a single image") from error
        self.batch_size //= 2

    def logits(self, images: Pixels) -> Floats:
        """Return the scores before the softmax.

        Args:
            images: the images, RGB (N, H, W, 3) in 0..255, any numeric dtype, H and W = ``input_size``.

        Returns:
            float64 (N, C).
        """
        return self.in_batches(len(images), lambda start, stop: self._logits(as_tensor(images[start:stop])).numpy())

    def logits_from(self, count: int, make: Callable[[int], NDArray[np.floating]]) -> Floats:
        """Return the logits of images that are created when needed, at most one batch at a time.

        Args:
            count: the number of images.
            make: the function from an index to an image, RGB (H, W, 3) in 0..255.

        Returns:
            float64 (N, C).
        """
        return self.in_batches(
            count, lambda start, stop: self._logits(as_tensor(np.stack([*map(make, range(start, stop))]))).numpy()
        )

    def probabilities(self, images: Pixels) -> Floats:
        """Return the softmax scores, float64 (N, C), from float64 logits; arguments as ``logits``."""
        return softmax(self.logits(images))

    def preprocessed(self, images: Pixels) -> NDArray[np.float32]:
        """Return the input of the Keras model itself, float32 (N, H, W, 3), for libraries that run the model."""
        return np.asarray(self._preprocess(as_tensor(images)))


def _input_size(model: keras.Model) -> tuple[int, int]:
    shape = tuple(model.input_shape) if isinstance(getattr(model, "input_shape", None), tuple) else ()
    if len(shape) != 4 or shape[3] != 3:
        raise ModelError(
            f"model '{model.name}' takes inputs of shape {shape}; RGB images (N, height, width, 3) are needed"
        )
    return (shape[1] or _DEFAULT_SIDE, shape[2] or _DEFAULT_SIDE)


def _n_classes(model: keras.Model) -> int:
    shape = tuple(model.output_shape) if isinstance(getattr(model, "output_shape", None), tuple) else ()
    if len(shape) != 2 or not shape[1] or shape[1] < 2:
        raise ModelError(
            f"model '{model.name}' has outputs of shape {shape}; "
            "one score for each of at least two classes, (N, C), is needed"
        )
    return int(shape[1])


def _preprocess_function(family: str) -> Callable[[tf.Tensor], tf.Tensor]:
    if family not in PREPROCESS_FAMILIES:
        raise ModelError(f"unknown preprocessing '{family}': {nearest(family, PREPROCESS_FAMILIES)}")
    function: Callable[[tf.Tensor], tf.Tensor]
    function = tf.identity if family == "none" else getattr(keras.applications, family).preprocess_input
    return function
