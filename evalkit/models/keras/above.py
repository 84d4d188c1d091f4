"""The part of a model above one layer: logits of many changed outputs of that layer, without the part below it.

Tensors that by-pass the layer, e.g. of a residual connection or a second branch, are computed once for a photo and
repeated. The graph is walked twice: once over the photo, which tells the calls that depend on the layer and what they
read besides, and once from the layer's output on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.models.find_head import probe_images
from evalkit.models.keras import ends, graph
from evalkit.models.keras.precision import has_fewer_digits
from evalkit.models.keras.source import KerasSource
from evalkit.models.keras.tokens import Grid, Grids
from evalkit.models.runner import Runner

__all__ = ["AbovePass", "Part"]

_AGREEING = (1e-3, 2e-2)  # of the largest output: float32, float16 or bfloat16
_NONE_REMOVED = -1

Floats = NDArray[np.float64]
Tensor = Any


class AbovePass:
    """Passes through the part of one classifier's model that is above a layer."""

    def __init__(self, runner: Runner, source: KerasSource, grids: Grids) -> None:
        """Prepare; nothing is computed yet.

        Args:
            runner: the runner, which counts the passes and knows the head.
            source: its graph.
            grids: where its tokens are in the photo.
        """
        self._runner, self._source, self._grids = runner, source, grids
        self._parts: dict[str, Part] = {}

    def part(self, layer: str) -> Part:
        """Return the part above a layer.

        Args:
            layer: the layer's path, from ``Classifier.resolve_layer``.

        Raises:
            ModelError: the part cannot be run alone.
        """
        if layer not in self._parts:
            self._parts[layer] = Part(self._source, layer, self._grids.grid(graph.TensorAt(layer)))
        return self._parts[layer]

    def without_channels(self, image: NDArray[np.floating], layer: str) -> tuple[NDArray[np.float32], Floats]:
        """Return a layer's output on a photo, and the class logits with each of its channels set to 0.

        Of a transformer's layer the channels of the tokens of patches are set to 0, and other tokens are not changed.
        It is counted as the forward passes that have as many multiplications.

        Args:
            image: the photo, (H, W, C) in 0..255.
            layer: the layer's path, from ``Classifier.resolve_layer``.

        Returns:
            float32 (h, w, K), and float64 (1 + K, C): first the logits of the unchanged output.
        """
        part, count = self.part(layer), self._runner.count
        features, inputs = part.below(image)
        count.forward += 1
        before = count.forward
        removed = np.arange(_NONE_REMOVED, features.shape[-1], dtype=np.int32)
        logits = self._runner.logits_in_batches(
            len(removed), lambda start, stop: part.above(inputs, removed[start:stop])
        )
        count.forward = before + part.passes  # the runner counts every row as a pass of the whole model
        return features, logits


class _NotComputed:
    """Stands for a tensor below the layer, which the part above does not compute."""

    def __init__(self, shape: Sequence[int | None]) -> None:
        self.shape = tuple(shape)


@dataclass
class _Call:
    """One call of an operation.

    Attributes:
        depends: whether it depends on the layer's output.
        read: which of its arguments are by-passing tensors, by the number of the argument: the number of the tensor.
        shapes: the shapes of its outputs.
    """

    depends: bool
    read: dict[int, int]
    shapes: list[tuple[int | None, ...]]


@dataclass
class _Walk:
    """One pass over a photo.

    Attributes:
        given: the shape of the input of the graph.
        calls: the calls of operations, in order.
        layer: which of them is that of the layer.
        tensors: the tensors that by-pass the layer.
        work: the multiplications of all calls.
        work_above: those of the calls that depend on the layer's output.
    """

    given: tuple[int | None, ...] = ()
    calls: list[_Call] = field(default_factory=list)
    layer: int | None = None
    tensors: list[Tensor] = field(default_factory=list)
    work: float = 0.0
    work_above: float = 0.0


class Part:
    """The part of a model above one layer.

    Attributes:
        layer: the layer's path.
        channels: the number of channels of its output.
        share: the share of a pass's multiplications that this part makes.
    """

    def __init__(self, source: KerasSource, layer: str, grid: Grid | None) -> None:
        """Find the part, and compare it with full passes of two probe images.

        Args:
            source: the graph.
            layer: the layer's path.
            grid: where its tokens are in the photo.

        Raises:
            ModelError: the layer is inside a layer of the model's own, or the part computes other outputs.
        """
        self._source, self.layer, self._grid = source, layer, grid
        self._walk = _Walk()
        one = tf.TensorSpec([1, *source.input_size, source.channels], tf.float32)
        self._below = tf.function(self._trace_below, autograph=False, input_signature=[one])
        tensors = self._below.get_concrete_function().structured_outputs
        shapes = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
        self._above = tf.function(
            self._trace_above, autograph=False, input_signature=[shapes[1:], tf.TensorSpec([None], tf.int32)]
        )
        self.channels = int(tensors[0].shape[-1])
        self.share = self._walk.work_above / self._walk.work if self._walk.work else 1.0
        self._require_agreement()

    @property
    def passes(self) -> int:
        """The forward passes that have as many multiplications as this part for each channel and the clean output."""
        return math.ceil(self.share * (self.channels + 1))

    def below(self, image: NDArray[np.floating]) -> tuple[NDArray[np.float32], list[tf.Tensor]]:
        """Return the layer's output on a photo, float32 (h, w, K), and what ``above`` needs of it."""
        features, *inputs = self._below(tf.constant(image[None], tf.float32))
        return features[0].numpy(), inputs

    def above(self, inputs: list[tf.Tensor], removed: NDArray[np.int32]) -> NDArray[np.floating]:
        """Return the model's outputs, (N, R), with one channel of the layer's output set to 0 in each row.

        Args:
            inputs: from ``below``.
            removed: the channel of each row; -1 = none.
        """
        outputs: NDArray[np.floating] = self._above(inputs, tf.constant(removed)).numpy()
        return outputs

    def _trace_below(self, images: tf.Tensor) -> list[tf.Tensor]:
        self._walk = walk = _Walk()
        kept: list[Any] = []  # a tensor is known by its id, so all are kept
        changed: set[int] = set()
        numbers: dict[int, int] = {}
        found: list[tf.Tensor] = []

        def make(path: str, operation: Any) -> Callable[..., Tensor]:  # noqa: ANN401 - a Keras operation
            def call(*args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - whatever the operation takes
                output = self._source.applied(operation)(*args, **kwargs)
                arguments = keras.tree.flatten((args, kwargs))
                depends = any(id(argument) in changed for argument in arguments)
                read: dict[int, int] = {}
                if path == self.layer:
                    # A layer may return its input itself, which others read too.
                    output = tf.identity(output)
                    found.append(output)
                    walk.layer = len(walk.calls)
                    changed.add(id(output))
                elif depends:
                    for position, argument in enumerate(arguments):
                        if tf.is_tensor(argument) and id(argument) not in changed:
                            if id(argument) not in numbers:
                                numbers[id(argument)] = len(walk.tensors)
                                walk.tensors.append(argument)
                            read[position] = numbers[id(argument)]
                outputs = keras.tree.flatten(output)
                if depends:
                    changed.update(id(tensor) for tensor in outputs)
                kept.append((arguments, output))
                walk.calls.append(_Call(depends, read, [tuple(getattr(one, "shape", ())) for one in outputs]))
                work = self._work_of(operation, outputs[0]) if outputs else 0.0
                walk.work += work
                walk.work_above += work if depends else 0.0
                return output

            return call

        given = self._source.layout.to_model(self._source.preprocess_tensor(images))
        walk.given = tuple(given.shape)
        graph.rebuild(self._source.computed, given, make)
        if not found:
            raise ModelError(
                f"layer '{self.layer}' of model '{self._source.name}' is inside a layer of the model's own, which "
                "cannot be run from its middle; name a layer of the graph, or use gradcam"
            )
        features = found[0] if self._is_map(found[0]) else self._tokens().of(found[0])
        return [tf.cast(self._source.layout.from_model(features), tf.float32), found[0], *walk.tensors]

    def _trace_above(self, inputs: list[tf.Tensor], removed: tf.Tensor) -> tf.Tensor:
        output, *tensors = inputs
        count = tf.shape(removed)[0]
        repeated = [_repeated(tensor, count) for tensor in tensors]
        calls = iter(enumerate(self._walk.calls))

        def make(_: str, operation: Any) -> Callable[..., Tensor]:  # noqa: ANN401 - a Keras operation
            def call(*args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - whatever the operation takes
                number, recorded = next(calls)
                if number == self._walk.layer:
                    return self._without(output, removed)
                if not recorded.depends:
                    return [_NotComputed(shape) for shape in recorded.shapes]
                arguments = keras.tree.flatten((args, kwargs))
                for position, tensor in recorded.read.items():
                    arguments[position] = repeated[tensor]
                args, kwargs = keras.tree.pack_sequence_as((args, kwargs), arguments)
                return self._source.applied(operation)(*args, **kwargs)

            return call

        return self._source.in_rows(graph.rebuild(self._source.computed, _NotComputed(self._walk.given), make))

    def _without(self, output: tf.Tensor, removed: tf.Tensor) -> tf.Tensor:
        """Return the layer's output once for each removed channel, that channel set to 0."""
        first = self._is_map(output) and self._source.layout.maps_first
        channels = output.shape[1 if first else -1]
        keep = tf.range(channels)[None] != removed[:, None]
        if self._is_map(output):
            keep = keep[:, :, None, None] if first else keep[:, None, None, :]
        else:
            patches = np.isin(np.arange(output.shape[1]), self._tokens().tokens or ())
            keep = keep[:, None, :] | ~patches[None, :, None]
        return tf.where(keep, output, tf.zeros_like(output))

    def _is_map(self, output: tf.Tensor) -> bool:
        return len(output.shape) == 4

    def _tokens(self) -> Grid:
        if self._grid is None:
            raise ModelError(f"the outputs of layer '{self.layer}' are no grid of features")
        return self._grid

    def _work_of(self, operation: Any, output: Any) -> float:  # noqa: ANN401 - a Keras operation and a tensor
        """Return the multiplications of one call: every number of a kernel once for each pixel or token."""
        shape = self._source.layout.shape(tuple(getattr(output, "shape", ())))
        positions = math.prod(side or 1 for side in shape[1:-1])
        kernels = [weight.shape for weight in getattr(operation, "weights", ()) if len(weight.shape) > 1]
        return float(sum(math.prod(kernel) for kernel in kernels) * positions)

    def _require_agreement(self) -> None:
        """Raise ModelError unless the part gives the outputs of full passes."""
        few = has_fewer_digits(self._source.precision) or ends.has_half_precision(self._source.computed)
        tolerance = _AGREEING[few]
        for image in probe_images(self._source.input_size, self._source.channels)[-2:]:
            expected = self._source.outputs(image[None]).astype(np.float64)
            found = self.above(self.below(image)[1], np.full(2, _NONE_REMOVED, np.int32)).astype(np.float64)
            if found.shape != (2, expected.shape[1]) or not np.allclose(
                found, expected, rtol=0, atol=tolerance * np.abs(expected).max(), equal_nan=True
            ):
                raise ModelError(
                    f"the part of model '{self._source.name}' above layer '{self.layer}' cannot be run alone: its "
                    "outputs differ from those of the whole model; use gradcam, which runs the whole model"
                )


def _repeated(tensor: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Return a tensor of one photo for a batch; what has no batch dimension stays as it is."""
    return tf.repeat(tensor, count, axis=0) if tensor.shape.rank and tensor.shape[0] == 1 else tensor
