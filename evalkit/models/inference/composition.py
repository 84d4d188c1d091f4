"""Logits of composed images: one substrate where a pixel's rank is below a cut, another elsewhere.

Images are composed on the device, in batches of one shape: none is composed twice, nothing is traced again, and rows of
different maps share a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.models.keras.source import KerasSource
from evalkit.models.runner import Runner

__all__ = ["ComposedPass", "DirectComposedPass"]

Floats = NDArray[np.float64]


class ComposedPass:
    """Passes of composed images through one classifier."""

    def __init__(self, runner: Runner, source: KerasSource) -> None:
        """Prepare; nothing is computed yet.

        Args:
            runner: the runner, which counts the passes and knows the head.
            source: its graph.
        """
        self._runner, self._source = runner, source
        height, width = runner.input_size
        # Pixelwise preprocessing may come before the composition, and is then done once for each canvas.
        first, self._then = (tf.identity, source.preprocess_tensor)
        if source.preprocessing.pixelwise:
            first, self._then = self._then, first
        self._first = tf.function(first, autograph=False, input_signature=[source.batch_spec()])
        self._logits = tf.function(
            self._trace,
            autograph=False,
            input_signature=[
                source.batch_spec(),
                tf.TensorSpec([None, height, width], tf.int32),
                tf.TensorSpec([None, 4], tf.int32),
            ],
        )

    def _trace(self, canvases: tf.Tensor, ranks: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        start, end, rank, cut = tf.unstack(rows, axis=1)
        turned = tf.gather(ranks, rank) < cut[:, None, None]
        images = tf.where(turned[..., None], tf.gather(canvases, end), tf.gather(canvases, start))
        return self._source.run_graph(self._then(images))

    def logits(
        self,
        canvases: NDArray[np.float32],
        ranks: NDArray[np.int32],
        rows: NDArray[np.int32],
        tick: Callable[[int], None] = lambda _: None,
    ) -> Floats:
        """Return the logits of every composition.

        Args:
            canvases: the substrates, float32 (K, H, W, 3) RGB in 0..255.
            ranks: the ranks of the pixels, int32 (R, H, W).
            rows: the compositions, int32 (N, 4): index of the first and of the second substrate, index of the rank, and
                cut; pixels whose rank is below the cut show the second substrate.
            tick: a function of the number of images of each finished batch.

        Returns:
            float64 (N, C).
        """
        prepared, all_ranks = self._first(tf.constant(canvases)), tf.constant(ranks)

        def run(start: int, stop: int) -> NDArray[np.floating]:
            # The last batch is padded, so that all have one shape.
            size = self._runner.batch_size
            chosen = np.minimum(np.arange(start, start + size), len(rows) - 1)
            logits: NDArray[np.floating] = self._logits(prepared, all_ranks, tf.constant(rows[chosen])).numpy()
            tick(stop - start)
            return logits[: stop - start]

        return self._runner.logits_in_batches(len(rows), run)


class DirectComposedPass:
    """The same for a black box: images are composed in NumPy, before its own preprocessing."""

    def __init__(self, runner: Runner) -> None:
        """Prepare; nothing is computed yet."""
        self._runner = runner

    def logits(
        self,
        canvases: NDArray[np.float32],
        ranks: NDArray[np.int32],
        rows: NDArray[np.int32],
        tick: Callable[[int], None] = lambda _: None,
    ) -> Floats:
        """Return the logits of every composition, as ``ComposedPass.logits``."""

        def run(start: int, stop: int) -> NDArray[np.floating]:
            first, second, rank, cut = rows[start:stop].T
            turned = ranks[rank] < cut[:, None, None]
            outputs = self._runner.source.outputs(np.where(turned[..., None], canvases[second], canvases[first]))
            tick(stop - start)
            return outputs

        return self._runner.logits_in_batches(len(rows), run)
