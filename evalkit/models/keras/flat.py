"""The model as libraries are given it: a flat functional model that computes what it computes in inference.

Nested models are entered, so that a layer inside one is a layer of the flat model; nothing is ever in training mode;
outputs are one float32 row of scores an image. The layers of the given model are called, not copied, and not changed.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.models.heads import Head
from evalkit.models.keras import graph
from evalkit.models.keras.source import KerasSource
from evalkit.models.runner import Pixels, Source

__all__ = ["GivenModel"]

_PREDICTED = 32  # images in a batch of Keras' predict


class GivenModel:
    """A model as libraries are given it, with the outputs that it has itself, one for each class.

    Attributes:
        source: what computes its outputs.
        head: how they become scores; the single unit of two classes is given as two outputs.
    """

    def __init__(self, source: Source, head: Head) -> None:
        """See the class."""
        self.source, self.head = source, head
        self._flat: dict[tuple[str, bool], tuple[keras.Model, dict[str, str]]] = {}
        self._class_models: dict[tuple[bool, tuple[int, ...]], keras.Model] = {}

    @property
    def channels_first(self) -> bool:
        """Whether the model's input is (N, C, H, W), or its feature maps are (N, K, h, w)."""
        layout = self.source.layout if isinstance(self.source, KerasSource) else None
        return layout is not None and (layout.input_first or layout.maps_first)

    def preprocessed(self, images: Pixels) -> NDArray[np.float32]:
        """Return the model's own input, float32 (N, H, W, C); ``images`` in 0..255."""
        pixels = np.asarray(images, dtype=np.float32)
        return self.source.preprocessed(pixels) if isinstance(self.source, KerasSource) else pixels

    def predict(self, images: NDArray[np.float32], batch_size: int | None) -> NDArray[np.floating]:
        """Return the outputs of preprocessed images, (N, C), as the model's own ``predict`` makes them, in silence."""
        if isinstance(self.source, KerasSource):
            model = self.source.model
            if type(model).predict is not keras.Model.predict:
                model = self.flat_for("")[0]  # a predict of its own may preprocess once more
            with warnings.catch_warnings():
                # Keras, on a model that was made with a list or dictionary of one input
                warnings.simplefilter("ignore")
                # predict itself sets up a pipeline of data in every call: a quarter of a small model's time
                starts = range(0, len(images), batch_size or _PREDICTED)
                parts = [model.predict_on_batch(images[at : at + starts.step]) for at in starts]
            rows = [np.asarray(keras.tree.flatten(part)[0]) for part in parts]
            outputs = np.concatenate(rows).reshape(len(images), -1)
            if outputs.dtype.kind != "f":  # bfloat16, of which NumPy knows little
                outputs = outputs.astype(np.float32)
        else:
            outputs = self.source.outputs(images)
        if self.head.kind != "sigmoid" or outputs.shape[1] == 2:
            return outputs
        is_probability = self.head.ending or not self.head.from_logits
        return np.concatenate([_other(outputs, is_probability), outputs], axis=1)

    def flat_for(self, read: str, *, activated: bool = True) -> tuple[keras.Model, str]:
        """Return the flat model, and its own name of the layer that is read.

        Args:
            read: the path of a layer whose output is needed in float32, from ``spatial_layers``; empty = none.
            activated: False = without the last layer, which must be an activation, from ``last_layer``.

        Raises:
            ModelError: a layer cannot be called on symbolic tensors.
        """
        key = (read, activated)
        if key not in self._flat:
            if not isinstance(self.source, KerasSource):
                raise TypeError("a black box has no layers")
            size = (*self.source.input_size, self.source.channels)
            removed = "" if activated else self.source.model.layers[-1].name
            is_probability = activated and (self.head.ending or not self.head.from_logits)
            end = (lambda output: _both(output, is_probability)) if self.head.kind == "sigmoid" else None
            try:
                self._flat[key] = flat_model(self.source.model, size, read, end, removed)
            except Exception as error:  # layers of one's own may fail in any way on symbolic tensors
                raise ModelError(
                    f"model '{self.source.name}' cannot be given to a library: {type(error).__name__}: "
                    f"{first_line(error)}"
                ) from error
        model, names = self._flat[key]
        return model, names.get(read, "")

    def class_model(self, outputs: Sequence[int], *, activated: bool = True) -> tuple[keras.Model, int]:
        """Return a flat model, and the index of its output that is the score of a class.

        Several outputs of one class are summed; the model then has two outputs, the second the sum of the others.

        Args:
            outputs: the outputs of the class.
            activated: as for ``flat_for``.
        """
        flat, _ = self.flat_for("", activated=activated)
        if len(outputs) == 1:
            return flat, outputs[0]
        key = (activated, tuple(outputs))
        if key not in self._class_models:
            scores = flat.outputs[0]
            others = [index for index in range(scores.shape[1]) if index not in outputs]
            sums = [
                keras.ops.sum(keras.ops.take(scores, list(chosen), axis=1), axis=1, keepdims=True)
                for chosen in (outputs, others)
            ]
            self._class_models[key] = keras.Model(flat.inputs, keras.ops.concatenate(sums, axis=1))
        return self._class_models[key], 0

    @property
    def last_layer(self) -> Any | None:  # noqa: ANN401 - a layer
        """The last layer of the given model; None if the outputs are not its own, or if it runs more than once."""
        if not isinstance(self.source, KerasSource):
            return None
        model = self.source.model
        last = model.layers[-1]
        is_end = graph.producer_of(graph.functional_graph(model).outputs[0]) is last
        return last if is_end and last.name not in graph.repeated(model) else None

    def spatial_layers(self) -> list[str]:
        """Return the paths of the layers with one 4-D output on which the model's output depends, and that run once.

        They are in the order in which the model lists its layers.
        """
        if not isinstance(self.source, KerasSource):
            return []
        self.flat_for("")
        shapes, used = self.source.shapes, self._flat["", True][1]
        paths, again = graph.layer_paths(self.source.model), graph.repeated(self.source.model)
        return [path for path in paths if path in used and path not in again and len(shapes.get(path, ())) == 4]

    def last_spatial_layer(self) -> str | None:
        """Return the last layer with a 4-D output, pooling included, which is the rule of tf-explain.

        What is before the first weights is the photo itself, and is not taken.
        """
        spatial = self.spatial_layers()
        if not isinstance(self.source, KerasSource) or not spatial:
            return None
        operations = graph.operations_by_path(self.source.model)
        paths = graph.layer_paths(self.source.model)
        first = next((path for path in paths if _has_kernel(operations[path])), paths[-1])
        return spatial[-1] if paths.index(spatial[-1]) >= paths.index(first) else None


def _both(output: Any, is_probability: bool) -> Any:  # noqa: ANN401 - a symbolic tensor
    """Return the outputs of both classes of one unit, if the model does not have both already."""
    if output.shape[1] == 2:
        return output
    return keras.ops.concatenate([_other(output, is_probability), output], axis=1)


def _other(outputs: Any, is_probability: bool) -> Any:  # noqa: ANN401 - an array or a symbolic tensor
    """Return the output of class 0 from that of class 1: a probability or a logit."""
    return 1 - outputs if is_probability else -outputs


def _has_kernel(layer: Any) -> bool:  # noqa: ANN401 - a layer
    return any(len(weight.shape) > 1 for weight in layer.weights)


class _LayerStep(keras.layers.Layer):  # type: ignore[misc]
    """A layer of the given model, in inference."""

    def __init__(self, layer: keras.layers.Layer, name: str) -> None:
        super().__init__(name=name, autocast=False)
        # In a function Keras does not see it: a layer that it sees would be counted as part of the flat model.
        self._given: Callable[[], Any] = lambda: layer

    def call(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the layer takes
        return self._given()(*args, **{**kwargs, "training": False})

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as ``call``
        return self._given().compute_output_spec(*args, **kwargs)


class _OperatorStep(keras.Operation):  # type: ignore[misc]
    """An operator of the given model, such as a slice."""

    def __init__(self, operator: keras.Operation, name: str) -> None:
        super().__init__(name=name)
        self._given: Any = operator

    def call(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the operator takes
        return self._given(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as ``call``
        return self._given.compute_output_spec(*args, **kwargs)


def flat_model(
    model: keras.Model,
    input_shape: tuple[int, int, int],
    read: str,
    end: Callable[[Any], Any] | None = None,
    removed: str = "",
) -> tuple[keras.Model, dict[str, str]]:
    """Return the flat model, and its own names of the layers on which its output depends, by path.

    Args:
        model: functional or Sequential.
        input_shape: (height, width, channels) of its images.
        read: the path of a layer whose output is needed in float32; empty = none.
        end: a function of the model's output whose value becomes the output.
        removed: the path of a layer that is left out; empty = none.
    """
    images = keras.Input(input_shape)
    times: Counter[str] = Counter()
    names: dict[str, str] = {}

    def make(path: str, operation: Any) -> Callable[..., Any]:  # noqa: ANN401 - a layer or an operator
        if path == removed:
            return lambda tensor, **_: tensor
        name = path.replace("/", "_")
        times[name] += 1
        kind = _LayerStep if isinstance(operation, keras.layers.Layer) else _OperatorStep
        step = kind(operation, f"{name}_call_{times[name]}")
        names[path] = step.name
        if path != read:
            return step

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the operation takes and returns
            tensor = step(*args, **kwargs)
            if tensor.dtype == "float32":
                return tensor
            whole = keras.layers.Activation("linear", dtype="float32", name=f"{step.name}_float32")
            names[path] = whole.name
            return keras.ops.cast(whole(tensor), tensor.dtype)

        return call

    outputs = graph.rebuild(model, images, make)
    if len(outputs.shape) > 2:  # (N, 1, 1, C), of a last convolution
        outputs = keras.ops.reshape(outputs, (-1, math.prod(outputs.shape[1:])))
    if outputs.dtype != "float32":
        outputs = keras.ops.cast(outputs, "float32")
    if end is not None:
        outputs = end(outputs)
    flat = keras.Model(images, outputs, name=model.name)
    used = {layer.name for layer in flat.layers}
    return flat, {path: name for path, name in names.items() if name in used}
