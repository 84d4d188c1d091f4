"""``Classifier``: a Keras model plus what is needed to ask it honest questions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import ModelError, nearest
from evalkit.core.names import escaped
from evalkit.models.inference.composition import ComposedPass
from evalkit.models.inference.memory import OUT_OF_MEMORY, fitting_batch
from evalkit.models.inference.occlusion import OccludedPass
from evalkit.models.keras import graph
from evalkit.models.keras.features import FeaturePass, as_tensor
from evalkit.models.keras.fingerprint import fingerprint
from evalkit.models.keras.precision import in_bfloat16
from evalkit.models.probabilities import softmax
from evalkit.models.zoo.applications import PREPROCESS_FAMILIES

__all__ = ["Classifier"]

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
        class_ids: WordNet ids in output order, or None if unknown.
        target_layer: the layer that CAM methods look at by default; None without a convolution.
        preprocess: the ``keras.applications`` family whose ``preprocess_input`` is applied, or ``none``.
        precision: the dtype that the model computes in; ``bfloat16`` is a copy of the model.
        computed: the Keras model that is asked: ``model`` itself, or its copy in bfloat16.
        batch_size: the most images in one pass; halved when memory runs out.
        passes: images sent through the model so far, backward passes not counted.
        work: multiplications of one pass, from the shapes of kernels and outputs.
        fingerprint: sha256 of architecture, weights and preprocessing; the same in every precision.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        name: str | None = None,
        preprocess: str = "none",
        class_names: Sequence[str] | None = None,
        class_ids: Sequence[str] | None = None,
        target_layer: str | None = None,
        batch_size: int | None = None,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        """See the class. With ``float32`` a model of another dtype computes in its own.

        Raises:
            ModelError: not a functional or Sequential model over (H, W, 3) images with one row of class scores, a
                sigmoid end, an unknown preprocessing family or layer, or class names that do not fit the outputs.
        """
        self.model = model
        self.name = escaped(name or model.name)
        self.preprocess = preprocess
        self.passes = 0
        self.input_size = _input_size(model)
        self.n_classes = _n_classes(model)
        self.class_names = _checked_names(class_names, self.n_classes, self.name)
        self.class_ids = _checked_names(class_ids, self.n_classes, self.name)
        self.computed = in_bfloat16(model, graph.scoring_operations(model)) if precision == "bfloat16" else model
        self.precision = precision if precision == "bfloat16" else str(model.compute_dtype)
        self._replaced = graph.linear_end(self.computed)
        self._preprocess = _preprocess_function(preprocess)
        self._logits = tf.function(self._trace_logits, input_signature=[self._batch_spec()])
        self._shapes = self._layer_shapes()
        self.batch_size = batch_size or fitting_batch(self._shapes)
        self.target_layer = (
            self.resolve_layer(target_layer) if target_layer else graph.find_target_layer(model, self._shapes)
        )
        self.work = graph.work(self.computed, self._shapes)
        self.fingerprint = fingerprint(model, preprocess)

    @property
    def doubt(self) -> str:
        """What may be wrong with the preprocessing asked for, in a sentence; empty if nothing is."""
        probe = np.linspace(0, 255, 12).reshape(1, 2, 2, 3)
        changed = not np.array_equal(self._preprocess(as_tensor(probe)), probe.astype(np.float32))
        if not (changed and graph.has_own_preprocessing(self.model)):
            return ""
        return (
            f"--preprocess {self.preprocess} is applied before model '{self.name}', which begins with a Rescaling or "
            "Normalization layer of its own; leave the option out if that layer is all that it needs"
        )

    def in_precision(self, precision: Literal["float32", "bfloat16"]) -> Classifier:
        """Return a classifier of the same model that computes in another precision."""
        return Classifier(
            self.model,
            name=self.name,
            preprocess=self.preprocess,
            class_names=self.class_names,
            class_ids=self.class_ids,
            target_layer=self.target_layer,
            batch_size=self.batch_size,
            precision=precision,
        )

    def _batch_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, *self.input_size, 3], tf.float32)

    def _trace_logits(self, images: tf.Tensor) -> tf.Tensor:
        return self.run_graph(self._preprocess(images))

    @property
    def replaced(self) -> Collection[int]:
        """``id`` of the operations of ``computed`` in whose place something else runs: the last softmax."""
        return self._replaced.keys()

    def preprocess_tensor(self, images: tf.Tensor) -> tf.Tensor:
        """Return what the Keras model itself is fed; pixel by pixel, of any height and width."""
        return self._preprocess(images)

    def run_graph(
        self,
        preprocessed: tf.Tensor,
        skipped: dict[int, Callable[[tf.Tensor], tf.Tensor]] | None = None,
        look: Callable[[graph.TensorAt, Any], None] | None = None,
    ) -> tf.Tensor:
        """Return the logits of preprocessed images, as a tensor.

        Args:
            preprocessed: from ``preprocess_tensor``.
            skipped: ``id`` of an operation to what runs in its place.
            look: called with every layer's input and output.
        """
        return graph.run(self.computed, preprocessed, {**self._replaced, **(skipped or {})}, look)

    def _layer_shapes(self) -> dict[str, tuple[int | None, ...]]:
        shapes: dict[str, tuple[int | None, ...]] = {}

        def look(at: graph.TensorAt, tensor: Any) -> None:  # noqa: ANN401 - a tensor or a list of them
            if not at.entering and hasattr(tensor, "shape"):
                shapes[at.path] = tuple(tensor.shape)

        def trace(images: tf.Tensor) -> tf.Tensor:
            return self.run_graph(self._preprocess(images), look=look)

        tf.function(trace).get_concrete_function(tf.TensorSpec([1, *self.input_size, 3], tf.float32))
        return shapes

    def in_batches(self, count: int, run: Callable[[int, int], NDArray[np.floating]]) -> Floats:
        """Ask for ``count`` rows, at most ``batch_size`` at a time; when memory runs out, half as many, for good.

        Args:
            count: of rows.
            run: given first and last + 1, returns these rows.

        Returns:
            float64, the rows in order.

        Raises:
            ModelError: there is too little memory for a single image.
        """
        parts, start = [], 0
        while start < count:
            stop = min(start + self.batch_size, count)
            try:
                parts.append(run(start, stop).astype(np.float64))
            except OUT_OF_MEMORY as error:
                self.halve_batch(error)
                continue
            self.passes += stop - start
            start = stop
        return np.concatenate(parts) if parts else np.empty((0, self.n_classes))

    def halve_batch(self, error: BaseException) -> None:
        """Take half as many images in one pass from now on.

        Raises:
            ModelError: it is one image already.
        """
        if self.batch_size == 1:
            raise ModelError(f"model '{self.name}' runs out of memory on a single image") from error
        self.batch_size //= 2

    def logits(self, images: Pixels) -> Floats:
        """Return the scores before the softmax.

        Args:
            images: RGB (N, H, W, 3) in 0..255, any numeric dtype, H and W = ``input_size``.

        Returns:
            float64 (N, C).
        """
        return self.in_batches(len(images), lambda start, stop: self._logits(as_tensor(images[start:stop])).numpy())

    def logits_from(self, count: int, make: Callable[[int], NDArray[np.floating]]) -> Floats:
        """Return the logits of images that are made when needed: never more than a batch of them exists.

        Args:
            count: of images.
            make: given a number, returns RGB (H, W, 3) in 0..255.

        Returns:
            float64 (N, C).
        """
        return self.in_batches(
            count, lambda start, stop: self._logits(as_tensor(np.stack([*map(make, range(start, stop))]))).numpy()
        )

    @cached_property
    def features(self) -> FeaturePass:
        """Looks at tensors inside the model, and at their gradients."""
        return FeaturePass(self)

    @cached_property
    def composed(self) -> ComposedPass:
        """Asks about images composed of two others, pixel by pixel."""
        return ComposedPass(self)

    @cached_property
    def occluded(self) -> OccludedPass:
        """Asks about an image under many patches."""
        return OccludedPass(self)

    def probabilities(self, images: Pixels) -> Floats:
        """Return the softmax scores, float64 (N, C), from float64 logits; arguments as ``logits``."""
        return softmax(self.logits(images))

    def preprocessed(self, images: Pixels) -> NDArray[np.float32]:
        """Return what the Keras model itself is fed, float32 (N, H, W, 3): for libraries that want its own space."""
        return np.asarray(self._preprocess(as_tensor(images)))

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
        """The model as given, but a plain functional one: a Sequential keeps its graph to itself, so a copy is made."""
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
