"""Logits of composed images: one substrate where a pixel's rank is below a cut, another elsewhere.

Images are composed in batches of a few shapes: none is composed twice, and rows of different maps share a batch. On a
processor they are composed in memory that the model reads directly, which costs a twentieth of a pass; with a GPU they
are composed there, because sending them would cost more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.models.keras.source import KerasSource
from evalkit.models.runner import Runner

__all__ = ["ComposedPass", "DirectComposedPass", "compose"]

Floats = NDArray[np.float64]
_ALIGNMENT = 64  # bytes; TensorFlow reads an array in place only where it begins at a multiple


def compose(canvases: NDArray[Any], ranks: NDArray[np.int32], rows: NDArray[np.int32], images: NDArray[Any]) -> None:
    """Write compositions into ``images``, (N, H, W, C) of the canvases' dtype; other arguments as ``logits``."""
    import cv2

    for image, (start, end, rank, cut) in zip(images, rows.tolist(), strict=True):
        np.copyto(image, canvases[start])
        cv2.copyTo(canvases[end], (ranks[rank] < cut).view(np.uint8), image)


class ComposedPass:
    """Passes of composed images through one classifier."""

    def __init__(self, runner: Runner, source: KerasSource, *, on_device: bool | None = None) -> None:
        """Prepare; nothing is computed yet.

        Args:
            runner: the runner, which counts the passes and knows the head.
            source: its graph.
            on_device: whether images are composed by TensorFlow; None = if there is a GPU.
        """
        self._runner, self._source = runner, source
        self._on_device = bool(tf.config.list_logical_devices("GPU")) if on_device is None else on_device
        height, width = runner.input_size
        # Pixelwise preprocessing may come before the composition, and is then done once for each canvas; so is the
        # cast to the dtype of the first layer, since a composition only selects.
        self._dtype, first, self._then = tf.float32, tf.identity, source.preprocess_tensor
        if source.preprocessing.pixelwise:
            self._dtype, first, self._then = source.input_dtype, self._then, first
        self._first = tf.function(
            lambda images: tf.cast(first(images), self._dtype), autograph=False, input_signature=[source.batch_spec()]
        )
        # Neither NumPy nor the exchange of arrays knows bfloat16: its bits are composed.
        self._bits = tf.uint16 if self._dtype == tf.bfloat16 else self._dtype
        self._batch = np.empty((0, height, width, runner.channels), self._bits.as_numpy_dtype)
        self._composed = tf.function(
            lambda images: self._run(tf.bitcast(images, self._dtype)),
            autograph=False,
            input_signature=[tf.TensorSpec([None, height, width, runner.channels], self._bits)],
        )
        self._logits = tf.function(
            self._trace,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, height, width, runner.channels], self._dtype),
                tf.TensorSpec([None, height, width], tf.int32),
                tf.TensorSpec([None, 4], tf.int32),
            ],
        )

    def _run(self, images: tf.Tensor) -> tf.Tensor:
        return self._source.run_graph(self._then(images))

    def _trace(self, canvases: tf.Tensor, ranks: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        start, end, rank, cut = tf.unstack(rows, axis=1)
        turned = tf.gather(ranks, rank) < cut[:, None, None]
        images = tf.where(turned[..., None], tf.gather(canvases, end), tf.gather(canvases, start))
        return self._run(images)

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
        prepared = self._first(tf.constant(canvases))
        on_device = tf.constant(ranks) if self._on_device else None
        bits = prepared.numpy().view(self._bits.as_numpy_dtype)

        def run(start: int, stop: int) -> NDArray[np.floating]:
            chosen = rows[np.minimum(np.arange(start, start + self._runner.padded(stop - start)), len(rows) - 1)]
            if on_device is None:
                outputs = self._composed(self._composed_batch(bits, ranks, chosen))
            else:
                outputs = self._logits(prepared, on_device, tf.constant(chosen))
            logits: NDArray[np.floating] = outputs.numpy()
            tick(stop - start)
            return logits[: stop - start]

        return self._runner.logits_in_batches(len(rows), run)

    def _composed_batch(self, canvases: NDArray[Any], ranks: NDArray[np.int32], rows: NDArray[np.int32]) -> tf.Tensor:
        """Return the compositions as a tensor that is valid until the next call: its memory is used again."""
        if len(self._batch) < len(rows):
            self._batch = _aligned((len(rows), *self._batch.shape[1:]), self._batch.dtype)
        images = self._batch[: len(rows)]
        compose(canvases, ranks, rows, images)
        return tf.experimental.dlpack.from_dlpack(images.__dlpack__())


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array, not initialized, whose memory TensorFlow can read in place."""
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(n_bytes + _ALIGNMENT, dtype=np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT
    return memory[offset : offset + n_bytes].view(dtype).reshape(shape)


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
            images = np.empty((stop - start, *canvases.shape[1:]), canvases.dtype)
            compose(canvases, ranks, rows[start:stop], images)
            outputs = self._runner.source.outputs(images)
            tick(stop - start)
            return outputs

        return self._runner.logits_in_batches(len(rows), run)
