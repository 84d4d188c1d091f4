"""Gradients of a target's logit with respect to the pixels of an image in 0..255, through the preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import ModelError, NotScored
from evalkit.models.keras.ends import has_half_precision
from evalkit.models.keras.features import SATURATED, digest, objective
from evalkit.models.keras.source import KerasSource, as_tensor
from evalkit.models.memory import OUT_OF_MEMORY, fitting_batch
from evalkit.models.probabilities import Outputs, outputs_of
from evalkit.models.runner import Pixels, Runner

__all__ = ["InputGradients"]

_HALF_SCALE = 1024.0  # float16 has no numbers below 6e-8, and gradients of single pixels are of that size
_GUIDED = {"Relu": "EvalkitGuidedRelu", "Relu6": "EvalkitGuidedRelu6"}


class InputGradients:
    """Backward passes of images through one classifier down to the pixels."""

    def __init__(self, runner: Runner, source: KerasSource) -> None:
        """Prepare; nothing is computed yet.

        Args:
            runner: the runner, which counts the passes and knows the head.
            source: its graph.
        """
        self._runner, self._source = runner, source
        self._images = source.batch_spec()
        self._chosen = tf.TensorSpec([None, runner.n_classes], tf.bool)
        self._scale = _HALF_SCALE if has_half_precision(source.computed) else 1.0
        self._largest_batch = fitting_batch(source.shapes, backward=True)
        self._traced: dict[bool, Any] = {}

    def reload(self, positions: Sequence[int]) -> None:
        """As ``KerasSource.reload``, for a graph of its own."""
        if self._source is not self._runner.source:
            self._source.reload(positions)

    def __call__(self, images: Pixels, targets: Sequence[Outputs], *, guided: bool = False) -> NDArray[np.float32]:
        """Return the gradient of each image's target logit with respect to its pixels.

        What is differentiated is that of ``FeaturePass.activations_and_gradients``.

        Args:
            images: the images, (N, H, W, C) in 0..255.
            targets: the output or outputs of each image, (N,).
            guided: True = at every ReLU only positive gradients are passed on, as guided backpropagation does.

        Returns:
            float32 (N, H, W, C), logit per step of a pixel's value. It may be shared: nobody may write to it.

        Raises:
            ModelError: no gradient reaches the pixels, see ``reason_against``.
            NotScored: there is no logit, and the target's probability is 0 or 1 in float32.
        """
        key = ("input", self, guided, digest(images), tuple(tuple(outputs_of(target)) for target in targets))
        found: NDArray[np.float32] = self._runner.memo.get(key, lambda: self._of_all(images, targets, guided))
        return found

    def _of_all(self, images: Pixels, targets: Sequence[Outputs], guided: bool) -> NDArray[np.float32]:
        found = np.empty(images.shape, dtype=np.float32)

        def keep(start: int, gradients: NDArray[np.float32]) -> None:
            found[start : start + len(gradients)] = gradients

        self._run(lambda start, stop: images[start:stop], self._mask(targets), keep, guided)
        return found

    def at_each(
        self,
        count: int,
        make: Callable[[int, int], Pixels],
        target: Outputs,
        use: Callable[[int, NDArray[np.float32]], None],
    ) -> NDArray[np.float64]:
        """Compute the gradients of one target at many images, at most one batch of them at a time.

        Args:
            count: the number of images.
            make: the function from the first index and the last + 1 to these images; it may be called again.
            target: the output or outputs whose logit is differentiated.
            use: a function of the first index and the gradients of one batch, float32 (n, H, W, C).

        Returns:
            The logits that were differentiated, float64 (count,).

        Raises:
            ModelError: no gradient reaches the pixels.
            NotScored: there is no logit, and the target's probability is 0 or 1 in float32 at one of the images.
        """
        return self._run(make, np.repeat(self._mask([target]), count, axis=0), use, guided=False)

    def reason_against(self, *, guided: bool = False) -> str:
        """Return why these gradients cannot be computed, to follow the model's name; empty if they can."""
        try:
            function = self._function(guided)
        except _NoGradientError as error:
            return str(error)
        if not guided:
            return ""
        definition = function.graph.as_graph_def()
        if any(node.op in _GUIDED for part in definition.library.function for node in part.node_def):
            return "calls a tf.function with a ReLU inside, where its gradient cannot be replaced"
        guided_units = [op for op in function.graph.get_operations() if op.type in _GUIDED and not _is_mirrored(op)]
        return "" if guided_units else "has no ReLU, so that guided gradients would be plain gradients"

    def _run(
        self,
        make: Callable[[int, int], Pixels],
        chosen: NDArray[np.bool_],
        use: Callable[[int, NDArray[np.float32]], None],
        guided: bool,
    ) -> NDArray[np.float64]:
        try:
            function = self._function(guided)
        except _NoGradientError as error:
            raise ModelError(f"model '{self._runner.name}' {error}") from error
        logits, start = np.empty(len(chosen)), 0
        while start < len(chosen):
            size = min(self._runner.batch_size, self._largest_batch)
            stop = min(start + size, len(chosen))
            try:
                gradients, values = function(as_tensor(make(start, stop)), tf.constant(chosen[start:stop]))
                computed, logits[start:stop] = gradients.numpy(), values.numpy()
            except OUT_OF_MEMORY as error:
                if size == 1:
                    raise ModelError(
                        f"model '{self._runner.name}' runs out of memory in the backward pass of a single image; use "
                        "occlusion, which needs only scores"
                    ) from error
                self._largest_batch = size // 2
                continue
            self._runner.count.forward += stop - start
            self._runner.count.backward += stop - start
            if not self._runner.head.from_logits and not np.isfinite(logits[start:stop]).all():
                raise NotScored(SATURATED)
            use(start, computed)
            start = stop
        return logits

    def _mask(self, targets: Sequence[Outputs]) -> NDArray[np.bool_]:
        chosen = np.zeros((len(targets), self._runner.n_classes), dtype=np.bool_)
        for row, target in zip(chosen, targets, strict=True):
            row[outputs_of(target)] = True
        return chosen

    def _function(self, guided: bool) -> Any:  # noqa: ANN401 - a concrete function
        if guided not in self._traced:
            self._traced[guided] = tf.function(
                self._tracer(guided), autograph=False, input_signature=[self._images, self._chosen]
            ).get_concrete_function()
        return self._traced[guided]

    def _tracer(self, guided: bool) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        def trace(images: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # tf.gradients, unlike a tape, takes the gradients of operations from the graph that is built here.
            with tf.compat.v1.get_default_graph().gradient_override_map(_GUIDED if guided else {}):
                outputs = self._source.run_graph(self._source.preprocess_tensor(images))
            target = objective(self._runner.head, outputs, chosen)
            try:
                (gradient,) = tf.gradients(target * self._scale, [images])
            except LookupError as error:  # an operation without a registered gradient
                raise _NoGradientError(self._reason()) from error
            if gradient is None:
                raise _NoGradientError(self._reason())
            return gradient / self._scale, tf.cast(target, tf.float32)

        return trace

    def _reason(self) -> str:
        with tf.Graph().as_default():
            images = tf.compat.v1.placeholder(tf.float32, [1, *self._source.input_size, self._source.channels])
            passed = tf.gradients(self._source.preprocess_tensor(images), [images])[0] is not None
        if not passed:
            return (
                f"has the preprocessing '{self._source.preprocess}', a function that runs outside TensorFlow, so no "
                "gradient reaches the pixels; if a built-in value of --preprocess is the same, e.g. mean=...,std=..., "
                "give that"
            )
        return "has an operation between pixels and scores that has no gradient, e.g. a cast to whole numbers"


class _NoGradientError(Exception):
    """No gradient reaches the pixels, for this reason."""


def _is_mirrored(operation: tf.Operation) -> bool:
    """Return whether a ReLU is the negative half of an activation such as PReLU, relu(x) - a relu(-x)."""
    return bool(operation.inputs[0].op.type == "Neg")


def _guided_gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    passed = gradient if _is_mirrored(operation) else tf.nn.relu(gradient)
    through = tf.raw_ops.ReluGrad if operation.type == "Relu" else tf.raw_ops.Relu6Grad
    return through(gradients=passed, features=operation.outputs[0])


for _name in _GUIDED.values():
    tf.RegisterGradient(_name)(_guided_gradient)
