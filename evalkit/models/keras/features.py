"""Tensors inside a model, and gradients of logits with respect to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.models.keras import graph
from evalkit.models.keras.runner import Pixels, Runner, as_tensor
from evalkit.models.probabilities import Outputs, outputs_of

__all__ = ["FeaturePass"]


class FeaturePass:
    """Passes of images through one classifier that return tensors inside it."""

    def __init__(self, runner: Runner) -> None:
        """Prepare; nothing is computed yet."""
        self._runner = runner
        self._images = tf.TensorSpec([None, *runner.input_size, 3], tf.float32)
        self._gradients: dict[str, Any] = {}
        self._activations: dict[graph.TensorAt, Any] = {}

    def activations(self, images: Pixels, at: graph.TensorAt) -> NDArray[np.float32]:
        """Return one tensor of the graph, float32 (N, h, w, K); ``images`` as for ``logits``."""
        if at not in self._activations:
            self._activations[at] = tf.function(
                self._feature_tracer(at), autograph=False, input_signature=[self._images]
            )
        features = self._runner.in_batches(
            len(images), lambda start, stop: self._activations[at](as_tensor(images[start:stop])).numpy()
        )
        return features.astype(np.float32)

    def _feature_tracer(self, wanted: graph.TensorAt) -> Callable[[tf.Tensor], tf.Tensor]:
        def trace(images: tf.Tensor) -> tf.Tensor:
            seen: list[tf.Tensor] = []

            def look(at: graph.TensorAt, tensor: tf.Tensor) -> None:
                if at == wanted:
                    seen.append(tensor)

            self._runner.run_graph(self._runner.preprocess_tensor(images), look=look)
            return tf.cast(seen[-1], tf.float32)

        return trace

    def activations_and_gradients(
        self, images: Pixels, targets: Sequence[Outputs] | NDArray[np.integer], layer: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a layer's output and the gradient of each image's target **logit** with respect to it.

        The logit of several outputs is their log-sum-exp: its softmax score is the sum of their probabilities.

        Args:
            images: the images, RGB (N, H, W, 3) in 0..255.
            targets: the output or outputs of each image whose logit is differentiated, (N,).
            layer: the layer's path, from ``resolve_layer``.

        Returns:
            Two float32 arrays (N, h, w, K).
        """
        if layer not in self._gradients:
            signature = [self._images, tf.TensorSpec([None, self._runner.n_classes], tf.bool)]
            self._gradients[layer] = tf.function(
                self._gradient_tracer(layer), autograph=False, input_signature=signature
            )
        chosen = np.zeros((len(images), self._runner.n_classes), dtype=np.bool_)
        for row, target in zip(chosen, targets, strict=True):
            row[outputs_of(target)] = True
        both = self._runner.in_batches(
            len(images),
            lambda start, stop: np.stack(
                self._gradients[layer](as_tensor(images[start:stop]), chosen[start:stop]), axis=1
            ),
        ).astype(np.float32)
        self._runner.count.backward += len(images)
        return both[:, 0], both[:, 1]

    def _gradient_tracer(self, layer: str) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        wanted = graph.TensorAt(layer)

        def trace(images: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            seen: list[tf.Tensor] = []
            # Only operations after the layer are recorded: those before it need no gradient.
            with tf.GradientTape(watch_accessed_variables=False) as tape:

                def look(at: graph.TensorAt, tensor: tf.Tensor) -> None:
                    if at == wanted:
                        tape.watch(tensor)
                        seen.append(tensor)

                logits = self._runner.run_graph(self._runner.preprocess_tensor(images), look=look)
                # For one output this is its logit itself, and the gradient is exactly 1 there and 0 elsewhere.
                target = tf.reduce_logsumexp(tf.where(chosen, logits, -np.inf), axis=1)
            gradient = tape.gradient(target, seen[-1], unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return tf.cast(seen[-1], tf.float32), tf.cast(gradient, tf.float32)

        return trace
