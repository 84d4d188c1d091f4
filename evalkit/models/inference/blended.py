"""Logits of a photo blended toward a substrate by many masks of weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.models.keras.source import KerasSource
from evalkit.models.runner import Runner

__all__ = ["BlendedPass", "DirectBlendedPass", "Weights"]

Floats = NDArray[np.float64]
Weights = Callable[[int, int], NDArray[np.float32]]
"""The function from the first index and the last + 1 to the masks, float32 (n, H, W) in 0..1; 1 shows the photo."""


class BlendedPass:
    """Passes of blended photos through one Keras model; images are composed on the device, in batches of few shapes."""

    def __init__(self, runner: Runner, source: KerasSource) -> None:
        """Prepare; nothing is computed yet.

        Args:
            runner: the runner, which counts the passes and knows the head.
            source: its graph.
        """
        self._runner, self._source = runner, source
        height, width = runner.input_size
        image = tf.TensorSpec([height, width, runner.channels], tf.float32)
        self._outputs = tf.function(
            self._trace,
            autograph=False,
            input_signature=[image, image, tf.TensorSpec([None, height, width], tf.float32)],
        )

    def _trace(self, photo: tf.Tensor, substrate: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        images = substrate + (photo - substrate) * weights[..., None]
        return self._source.run_graph(self._source.preprocess_tensor(images))

    def logits(self, photo: NDArray[np.float32], substrate: NDArray[np.float32], count: int, make: Weights) -> Floats:
        """Return the logits of every blend, substrate + (photo - substrate) * weight.

        Args:
            photo: the photo, float32 (H, W, C) in 0..255.
            substrate: what shows where a weight is 0, float32 (H, W, C) in 0..255.
            count: the number of masks.
            make: the function that makes masks; it may be called twice for a range, if memory runs out.

        Returns:
            float64 (count, C).
        """
        on_device = tf.constant(photo), tf.constant(substrate)

        def run(start: int, stop: int) -> NDArray[np.floating]:
            weights = make(start, stop)
            missing = self._runner.padded(stop - start) - (stop - start)
            padded = np.concatenate([weights, np.repeat(weights[-1:], missing, axis=0)]) if missing else weights
            outputs: NDArray[np.floating] = self._outputs(*on_device, tf.constant(padded)).numpy()
            return outputs[: stop - start]

        return self._runner.logits_in_batches(count, run)


class DirectBlendedPass:
    """The same for a black box: images are composed in NumPy, before its own preprocessing."""

    def __init__(self, runner: Runner) -> None:
        """Prepare; nothing is computed yet."""
        self._runner = runner

    def logits(self, photo: NDArray[np.float32], substrate: NDArray[np.float32], count: int, make: Weights) -> Floats:
        """Return the logits of every blend, as ``BlendedPass.logits``."""

        def run(start: int, stop: int) -> NDArray[np.floating]:
            return self._runner.source.outputs(substrate + (photo - substrate) * make(start, stop)[..., None])

        return self._runner.logits_in_batches(count, run)
