"""``Classifier``: a Keras model plus what is needed to ask it honest questions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.errors import ModelError, nearest
from evalkit.models import graph
from evalkit.models.applications import PREPROCESS_FAMILIES
from evalkit.models.probabilities import softmax

__all__ = ["DEFAULT_BATCH_SIZE", "Classifier"]

DEFAULT_BATCH_SIZE = 16
_DEFAULT_SIDE = 224

Floats = NDArray[np.float64]
Pixels = NDArray[np.floating] | NDArray[np.uint8]


class Classifier:
    """A Keras image classifier that takes RGB pixels in 0..255.

    Preprocessing is inside, so a color is a color. Logits leave the model in its own precision, go to float64, and
    only then through the softmax. The user's model is never changed.

    Attributes:
        model: the Keras model as given.
        name: what the model is called in tables.
        input_size: (height, width) in pixels.
        n_classes: number of outputs.
        class_names: names in output order, or None if unknown.
        target_layer: the layer that CAM methods look at by default; None without a convolution.
        preprocess: the ``keras.applications`` family whose ``preprocess_input`` is applied, or ``none``.
        precision: the dtype that the model computes in.
        batch_size: the most images in one pass.
        passes: images sent through the model so far, backward passes not counted.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        name: str | None = None,
        preprocess: str = "none",
        class_names: Sequence[str] | None = None,
        target_layer: str | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """See the class.

        Raises:
            ModelError: not a functional or Sequential model over (H, W, 3) images with one row of class scores, a
                sigmoid end, an unknown preprocessing family or layer, or class names that do not fit the outputs.
        """
        self.model = model
        self.name = name or model.name
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.passes = 0
        self.input_size = _input_size(model)
        self.n_classes = _n_classes(model)
        self.class_names = _checked_names(class_names, self.n_classes, self.name)
        self.precision = str(model.compute_dtype)
        self._replaced = graph.linear_end(model)
        self._preprocess = _preprocess_function(preprocess)
        self._logits = tf.function(self._trace_logits, input_signature=[self._batch_spec()])
        self._gradients: dict[str, Any] = {}
        self._features: dict[graph.TensorAt, Any] = {}
        self._shapes = self._layer_shapes()
        self.target_layer = (
            self.resolve_layer(target_layer) if target_layer else graph.find_target_layer(model, self._shapes)
        )
        self.fingerprint = self._fingerprint()

    def _batch_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, *self.input_size, 3], tf.float32)

    def _trace_logits(self, images: tf.Tensor) -> tf.Tensor:
        return graph.run(self.model, self._preprocess(images), self._replaced)

    def _layer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        shapes: dict[str, tuple[int | None, ...]] = {}

        def look(at: graph.TensorAt, tensor: Any) -> None:  # noqa: ANN401 - a tensor or a list of them
            if not at.entering and hasattr(tensor, "shape"):
                shapes[at.path] = tuple(tensor.shape)

        def trace(images: tf.Tensor) -> tf.Tensor:
            return graph.run(self.model, self._preprocess(images), self._replaced, look)

        tf.function(trace).get_concrete_function(tf.TensorSpec([1, *self.input_size, 3], tf.float32))
        return shapes

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.preprocess}|{self.precision}|".encode())
        digest.update(self.model.to_json().encode())
        for weight in self.model.weights:
            array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _batches(self, images: Pixels) -> Iterator[tf.Tensor]:
        for start in range(0, len(images), self.batch_size):
            batch = np.asarray(images[start : start + self.batch_size], dtype=np.float32)
            self.passes += len(batch)
            yield tf.constant(batch)

    def logits(self, images: Pixels) -> Floats:
        """Return the scores before the softmax.

        Args:
            images: RGB (N, H, W, 3) in 0..255, any numeric dtype, H and W = ``input_size``.

        Returns:
            float64 (N, C).
        """
        parts = [self._logits(batch).numpy().astype(np.float64) for batch in self._batches(images)]
        return np.concatenate(parts) if parts else np.empty((0, self.n_classes))

    def logits_of(self, images: Iterable[NDArray[np.floating]]) -> Floats:
        """Return the logits of images that are made one at a time: never more than a batch of them exists.

        Args:
            images: RGB (H, W, 3) in 0..255 each.

        Returns:
            float64 (N, C).
        """
        parts: list[Floats] = []
        batch: list[NDArray[np.floating]] = []
        for image in images:
            batch.append(image)
            if len(batch) == self.batch_size:
                parts.append(self.logits(np.stack(batch)))
                batch.clear()
        if batch:
            parts.append(self.logits(np.stack(batch)))
        return np.concatenate(parts) if parts else np.empty((0, self.n_classes))

    def probabilities(self, images: Pixels) -> Floats:
        """Return the softmax scores, float64 (N, C), from float64 logits; arguments as ``logits``."""
        return softmax(self.logits(images))

    def preprocessed(self, images: Pixels) -> NDArray[np.float32]:
        """Return what the Keras model itself is fed, float32 (N, H, W, 3): for libraries that want its own space."""
        return np.asarray(self._preprocess(tf.constant(np.asarray(images, dtype=np.float32))))

    def activations(self, images: Pixels, at: graph.TensorAt) -> NDArray[np.float32]:
        """Return one tensor of the graph, float32 (N, h, w, K); ``images`` as for ``logits``."""
        if at not in self._features:
            self._features[at] = tf.function(self._feature_tracer(at), input_signature=[self._batch_spec()])
        return np.concatenate([self._features[at](batch).numpy() for batch in self._batches(images)])

    def _feature_tracer(self, wanted: graph.TensorAt) -> Callable[[tf.Tensor], tf.Tensor]:
        def trace(images: tf.Tensor) -> tf.Tensor:
            seen: list[tf.Tensor] = []

            def look(at: graph.TensorAt, tensor: tf.Tensor) -> None:
                if at == wanted:
                    seen.append(tensor)

            graph.run(self.model, self._preprocess(images), self._replaced, look)
            return tf.cast(seen[-1], tf.float32)

        return trace

    def activations_and_gradients(
        self, images: Pixels, class_indices: Sequence[int] | NDArray[np.integer], layer: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a layer's output and the gradient of each image's class **logit** with respect to it.

        Args:
            images: RGB (N, H, W, 3) in 0..255.
            class_indices: (N,), the class whose logit is differentiated.
            layer: a layer's path, from ``resolve_layer``.

        Returns:
            Two float32 arrays (N, h, w, K).
        """
        if layer not in self._gradients:
            signature = [self._batch_spec(), tf.TensorSpec([None], tf.int32)]
            self._gradients[layer] = tf.function(self._gradient_tracer(layer), input_signature=signature)
        classes = np.asarray(class_indices, dtype=np.int32)
        outputs, gradients = [], []
        for index, batch in enumerate(self._batches(images)):
            start = index * self.batch_size
            output, gradient = self._gradients[layer](batch, classes[start : start + self.batch_size])
            outputs.append(output.numpy())
            gradients.append(gradient.numpy())
        return np.concatenate(outputs), np.concatenate(gradients)

    def _gradient_tracer(self, layer: str) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        wanted = graph.TensorAt(layer)

        def trace(images: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            seen: list[tf.Tensor] = []
            # Only what lies behind the layer is recorded: the convolutions before it need no gradient.
            with tf.GradientTape(watch_accessed_variables=False) as tape:

                def look(at: graph.TensorAt, tensor: tf.Tensor) -> None:
                    if at == wanted:
                        tape.watch(tensor)
                        seen.append(tensor)

                logits = graph.run(self.model, self._preprocess(images), self._replaced, look)
                chosen = tf.gather(logits, classes, axis=1, batch_dims=1)
            gradient = tape.gradient(chosen, seen[-1], unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return tf.cast(seen[-1], tf.float32), tf.cast(gradient, tf.float32)

        return trace

    def resolve_layer(self, layer: str) -> str:
        """Return the full path of a layer given by path, or by name where only one has it.

        Raises:
            ModelError: no such layer, several of that name, or one whose output is not (N, h, w, K).
        """
        paths = [path for path in self._shapes if path == layer or path.rpartition("/")[2] == layer]
        if len(paths) != 1:
            spatial = [path for path, shape in self._shapes.items() if len(shape) == 4]
            problem = "has no layer" if not paths else f"has {len(paths)} layers called"
            raise ModelError(f"model '{self.name}' {problem} '{layer}': {nearest(layer, spatial)}")
        if len(self._shapes[paths[0]]) != 4:
            shape = self._shapes[paths[0]]
            raise ModelError(
                f"layer '{layer}' of model '{self.name}' puts out {shape}; a feature map (N, h, w, K) is needed"
            )
        return paths[0]

    def pooled_end(self) -> graph.Pooled | None:
        """Return what CAM needs, or None if the model does not end in global average pooling and one dense layer."""
        return graph.pooled_end(self.model)

    @cached_property
    def functional(self) -> keras.Model:
        """The model as a plain functional one: a Sequential keeps its graph to itself, so a copy of it is made."""
        if not isinstance(self.model, keras.Sequential):
            return self.model
        images = keras.Input((*self.input_size, 3))
        tensor = images
        for layer in self.model.layers:
            copy = type(layer).from_config(layer.get_config())
            tensor = copy(tensor)
            copy.set_weights(layer.get_weights())
        return keras.Model(images, tensor, name=self.model.name)

    def last_4d_layer(self) -> str | None:
        """Return the last of the model's own layers with a 4-D output, pooling included: tf-explain's rule."""
        for layer in reversed(self.model.layers):
            shape = getattr(getattr(layer, "output", None), "shape", ())
            if len(shape) == 4:
                return str(layer.name)
        return None


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
            f"model '{model.name}' puts out {shape}; one score for each of at least two classes, (N, C), is needed"
        )
    return int(shape[1])


def _checked_names(names: Sequence[str] | None, n_classes: int, model: str) -> tuple[str, ...] | None:
    if names is not None and len(names) != n_classes:
        raise ModelError(f"{len(names)} class names were given, but model '{model}' has {n_classes} outputs")
    return None if names is None else tuple(names)


def _preprocess_function(family: str) -> Callable[[tf.Tensor], tf.Tensor]:
    if family not in PREPROCESS_FAMILIES:
        raise ModelError(f"unknown preprocessing '{family}': {nearest(family, PREPROCESS_FAMILIES)}")
    function: Callable[[tf.Tensor], tf.Tensor]
    function = tf.identity if family == "none" else getattr(keras.applications, family).preprocess_input
    return function
