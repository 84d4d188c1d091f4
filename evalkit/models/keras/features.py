"""Tensors inside a model, and gradients of logits with respect to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import ModelError, NotScored
from evalkit.models.heads import Head
from evalkit.models.keras import ends, graph
from evalkit.models.keras.source import KerasSource, as_tensor
from evalkit.models.keras.tokens import Grids
from evalkit.models.probabilities import Outputs, outputs_of
from evalkit.models.runner import Pixels, Runner

__all__ = ["SATURATED", "FeaturePass", "digest", "objective"]

SATURATED = "saturated: the class's probability is 0 or 1 in float32, and the model has no reachable logit"


class FeaturePass:
    """Passes of images through one classifier that return tensors inside it."""

    def __init__(self, runner: Runner, source: KerasSource, grids: Grids) -> None:
        """Prepare; nothing is computed yet.

        Args:
            runner: the runner, which counts the passes and knows the head.
            source: its graph.
            grids: where its tokens are in the photo.
        """
        self._runner, self._source, self._grids = runner, source, grids
        self._images = source.batch_spec()
        self._gradients: dict[str, Any] = {}
        self._activations: dict[graph.TensorAt, Any] = {}
        self._same: dict[graph.TensorAt, graph.TensorAt] = {}

    def activations(
        self, images: Pixels, at: graph.TensorAt, targets: Sequence[Outputs] | None = None
    ) -> NDArray[np.float32]:
        """Return one tensor of the graph, float32 (N, h, w, K), tokens as their grid.

        Args:
            images: the images, as for ``logits``.
            at: the tensor.
            targets: the outputs that are explained; if another explainer reads gradients of their logits in the same
                ``Classifier.sharing`` block, with respect to this tensor, or to any if this tensor enters the global
                average pooling at the end, both share one pass.
        """
        layers = self._runner.memo.layers
        if targets is not None and layers:
            try:
                if at == self._pooled:
                    return self._pass_of(images, targets, min(layers))[2]
                at = self._canonical(at)
                if not at.entering and at.path in layers:
                    return self._pass_of(images, targets, at.path)[0]
            except NotScored:
                pass  # there is no gradient, but there are features
        at = self._canonical(at)
        key = ("activations", self, at, digest(images))
        found: NDArray[np.float32] = self._runner.memo.get(key, lambda: self._activations_of(images, at))
        return found

    def _canonical(self, at: graph.TensorAt) -> graph.TensorAt:
        """Return a tensor that enters a layer as the output of the layer before it, if that is the same tensor."""
        if at.entering and at not in self._same:
            self._same[at] = self._output_that_enters(at)
        return self._same.get(at, at)

    def _output_that_enters(self, wanted: graph.TensorAt) -> graph.TensorAt:
        outputs: list[tuple[Any, graph.TensorAt]] = []
        found: list[graph.TensorAt] = []

        def look(at: graph.TensorAt, tensor: Any) -> None:  # noqa: ANN401 - a tensor or a list of them
            if not at.entering:
                outputs.append((tensor, at))
            elif at == wanted:
                found.extend(output for same, output in reversed(outputs) if same is tensor)

        def trace(images: tf.Tensor) -> tf.Tensor:
            return self._source.run_graph(self._source.preprocess_tensor(images), look=look)

        tf.function(trace, autograph=False).get_concrete_function(self._images)
        return found[0] if found else wanted

    def _activations_of(self, images: Pixels, at: graph.TensorAt) -> NDArray[np.float32]:
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

            self._source.run_graph(self._source.preprocess_tensor(images), look=look, inside=True)
            return tf.cast(self._as_grid(wanted, seen[-1])[0], tf.float32)

        return trace

    def activations_and_gradients(
        self, images: Pixels, targets: Sequence[Outputs] | NDArray[np.integer], layer: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a layer's output and the gradient of each image's target **logit** with respect to it.

        The logit of several outputs is their log-sum-exp: its softmax score is the sum of their probabilities. Where
        no logit can be reached, the gradient is that of log p - log(1 - p), 1 - p being the sum of the others.

        Args:
            images: the images, RGB (N, H, W, 3) in 0..255.
            targets: the output or outputs of each image whose logit is differentiated, (N,).
            layer: the layer's path, from ``resolve_layer``.

        Returns:
            Two float32 arrays (N, h, w, K); tokens as the grid of their patches.

        Raises:
            NotScored: there is no logit, and the target's probability is 0 or 1 in float32.
        """
        return self._pass_of(images, targets, layer)[:2]

    def _pass_of(
        self, images: Pixels, targets: Sequence[Outputs] | NDArray[np.integer], layer: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the output, the gradient, and what enters the pooling at the end (empty without one)."""
        key = ("gradients", self, layer, digest(images), tuple(tuple(outputs_of(target)) for target in targets))
        found: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] = self._runner.memo.get(
            key, lambda: self._compute_pass(images, targets, layer)
        )
        return found

    def _compute_pass(
        self, images: Pixels, targets: Sequence[Outputs] | NDArray[np.integer], layer: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        if layer not in self._gradients:
            signature = [self._images, tf.TensorSpec([None, self._runner.n_classes], tf.bool)]
            self._gradients[layer] = tf.function(
                self._gradient_tracer(layer), autograph=False, input_signature=signature
            )
        chosen = np.zeros((len(images), self._runner.n_classes), dtype=np.bool_)
        for row, target in zip(chosen, targets, strict=True):
            row[outputs_of(target)] = True
        explained: list[NDArray[np.float32]] = []
        pooled: list[NDArray[np.float32]] = []

        def run(start: int, stop: int) -> NDArray[np.floating]:
            *both, target, entering = self._gradients[layer](as_tensor(images[start:stop]), chosen[start:stop])
            explained.append(target.numpy())
            pooled.append(entering.numpy())
            return np.stack(both, axis=1)

        both = self._runner.in_batches(len(images), run).astype(np.float32)
        self._runner.count.backward += len(images)
        if not self._runner.head.from_logits and not np.isfinite(np.concatenate(explained)).all():
            raise NotScored(SATURATED)
        return both[:, 0], both[:, 1], np.concatenate(pooled)

    @cached_property
    def _pooled(self) -> graph.TensorAt | None:
        """The feature map that enters the global average pooling at the end, which CAM reads."""
        end = ends.pooled_end(self._source.model)
        return None if end is None or end.of_tokens else end.features

    def _gradient_tracer(self, layer: str) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
        wanted = graph.TensorAt(layer)

        def trace(images: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, ...]:
            seen: list[tf.Tensor] = []
            entering = [tf.zeros([0])]
            # Only operations after the layer are recorded: those before it need no gradient.
            with tf.GradientTape(watch_accessed_variables=False) as tape:

                def look(at: graph.TensorAt, tensor: tf.Tensor) -> None:
                    if at == wanted:
                        tape.watch(tensor)
                        seen.append(tensor)
                    if at == self._pooled:
                        entering.append(self._source.layout.from_model(tensor))

                outputs = self._source.run_graph(self._source.preprocess_tensor(images), look=look, inside=True)
                target = objective(self._runner.head, outputs, chosen)
            gradient = tape.gradient(target, seen[-1], unconnected_gradients=tf.UnconnectedGradients.ZERO)
            features, gradient = self._as_grid(wanted, seen[-1], gradient)
            return tuple(tf.cast(tensor, tf.float32) for tensor in (features, gradient, target, entering[-1]))

        return trace

    def _as_grid(self, at: graph.TensorAt, *tensors: tf.Tensor) -> Sequence[tf.Tensor]:
        """Return a tensor of the graph, and its gradient, as (N, h, w, K)."""
        if len(tensors[0].shape) == 4:
            return [self._source.layout.from_model(tensor) for tensor in tensors]
        with tf.init_scope():  # a pass of probe images, which is no part of the function that is traced here
            grid = self._grids.grid(at)
        if grid is None:
            raise ModelError(f"the outputs of layer '{at.path}', {tuple(tensors[0].shape)}, are no grid of features")
        return [grid.of(tensor) for tensor in tensors]


def digest(images: Pixels) -> bytes:
    """Return a digest of images in 0..255: equal numbers of another dtype have another one, which costs a pass."""
    values = np.ascontiguousarray(images)
    return sha256(f"{values.dtype}{values.shape}".encode() + values.tobytes()).digest()


def objective(head: Head, outputs: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Return the number of each image that is differentiated: the target's logit, or its log odds if there is none.

    Args:
        head: how outputs become scores of classes.
        outputs: what the passes return, (N, R).
        chosen: the classes of the target, bool (N, C).

    Returns:
        (N,); infinite where the target's probability is 0 or 1 and there is no logit.
    """
    if head.kind == "sigmoid":
        sign = tf.where(chosen[:, 0 if head.unit == 0 else 1], 1, -1)
        logit = outputs if head.from_logits else tf.math.log(outputs) - tf.math.log(1 - outputs)
        return logit[:, head.unit or 0] * tf.cast(sign, outputs.dtype)
    if head.from_logits:
        # For one class this is its logit itself, and the gradient is exactly 1 there and 0 elsewhere.
        return tf.reduce_logsumexp(tf.where(chosen, outputs, -np.inf), axis=1)
    nothing = tf.zeros_like(outputs)
    own = tf.reduce_sum(tf.where(chosen, outputs, nothing), axis=1)
    others = tf.reduce_sum(tf.where(chosen, nothing, outputs), axis=1) if head.is_exclusive else 1 - own
    return tf.math.log(own) - tf.math.log(others)
