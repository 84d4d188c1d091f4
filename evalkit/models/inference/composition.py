"""Logits of images that show one canvas where a pixel's rank is below a cut and another elsewhere.

Composed on the device, in batches of one shape: no image is made twice, none is traced anew, and rows of different
maps share a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.models.keras.runner import Runner

__all__ = ["ComposedPass"]

Floats = NDArray[np.float64]


class ComposedPass:
    """Asks one classifier about composed images."""

    def __init__(self, runner: Runner) -> None:
        """Prepare; nothing is computed yet."""
        self._runner = runner
        height, width = runner.input_size
        self._preprocess = tf.function(
            runner.preprocess_tensor, input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32)]
        )
        self._logits = tf.function(
            self._trace,
            input_signature=[
                tf.TensorSpec([None, height, width, 3], tf.float32),
                tf.TensorSpec([None, height, width], tf.int32),
                tf.TensorSpec([None, 4], tf.int32),
            ],
        )

    def _trace(self, canvases: tf.Tensor, ranks: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        start, end, rank, cut = tf.unstack(rows, axis=1)
        turned = tf.gather(ranks, rank) < cut[:, None, None]
        images = tf.where(turned[..., None], tf.gather(canvases, end), tf.gather(canvases, start))
        return self._runner.run_graph(images)

    def logits(
        self,
        canvases: NDArray[np.float32],
        ranks: NDArray[np.int32],
        rows: NDArray[np.int32],
        tick: Callable[[int], None] = lambda _: None,
    ) -> Floats:
        """Return the logits of every composition.

        Args:
            canvases: float32 (K, H, W, 3) RGB in 0..255.
            ranks: int32 (R, H, W).
            rows: int32 (N, 4): canvas at first, canvas it turns into, rank, and cut; a pixel has turned where its rank
                is below the cut.
            tick: called after each batch with the number of its images.

        Returns:
            float64 (N, C).
        """
        # Preprocessing looks at single pixels, so it may come before the choice between two of them.
        prepared, all_ranks = self._preprocess(tf.constant(canvases)), tf.constant(ranks)

        def run(start: int, stop: int) -> NDArray[np.floating]:
            # The last batch is filled up, so that all have one shape.
            size = self._runner.batch_size
            chosen = np.minimum(np.arange(start, start + size), len(rows) - 1)
            found: NDArray[np.floating] = self._logits(prepared, all_ranks, tf.constant(rows[chosen])).numpy()
            tick(stop - start)
            return found[: stop - start]

        return self._runner.in_batches(len(rows), run)
