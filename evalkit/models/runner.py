"""Passes of images through a model: logits of classes in float64, batches that fit into memory, counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.models.heads import Head
from evalkit.models.memo import PassMemo
from evalkit.models.memory import OUT_OF_MEMORY

__all__ = ["PassCount", "Pixels", "Runner", "Source"]

Floats = NDArray[np.float64]
Pixels = NDArray[np.floating | np.uint8]
_FILLED_TO = 8  # the numbers of images in a pass are its multiples, so that few shapes occur and little is wasted


@dataclass
class PassCount:
    """The passes through a model so far, in images.

    Attributes:
        forward: the number of forward passes.
        backward: the number of backward passes.
    """

    forward: int = 0
    backward: int = 0


class Source(Protocol):
    """What computes the outputs of a model: the graph of a Keras model, or any function.

    Attributes:
        name: the model's name in tables.
        input_size: (height, width) in pixels.
        channels: the number of channels of its input.
        precision: the dtype of the computation.
        fitting_batch: the largest number of images in one pass that fits into memory.
    """

    name: str
    input_size: tuple[int, int]
    channels: int
    precision: str

    @property
    def fitting_batch(self) -> int:
        """The largest number of images in one pass that fits into memory."""

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return logits where they can be reached, else probabilities, float (N, R).

        Args:
            images: the images, float32 (N, H, W, C) in 0..255.
        """


class Runner:
    """Passes of images in 0..255 through a model.

    Attributes:
        source: what computes the model's outputs.
        head: how outputs become scores of classes.
        name: the model's name in tables.
        input_size: (height, width) in pixels.
        channels: the number of channels of the model's input.
        n_classes: the number of classes.
        precision: the dtype of the computation.
        batch_size: the largest number of images in one pass; halved when memory runs out.
        count: the passes so far.
        memo: results that several explainers of one photo share.
    """

    def __init__(self, source: Source, head: Head, batch_size: int | None, count: PassCount | None) -> None:
        """See the class."""
        self.source = source
        self.head = head
        self.name, self.input_size, self.channels = source.name, source.input_size, source.channels
        self.n_classes, self.precision = head.n_classes, source.precision
        self.batch_size = batch_size or source.fitting_batch
        self.count = count or PassCount()
        self.memo = PassMemo()

    @property
    def passes(self) -> int:
        """The number of forward passes so far."""
        return self.count.forward

    def padded(self, count: int) -> int:
        """Return the number of images of the pass that computes ``count`` of them, at most ``batch_size``."""
        return min(-(-count // _FILLED_TO) * _FILLED_TO, self.batch_size)

    def in_batches(self, count: int, run: Callable[[int, int], NDArray[np.floating]]) -> Floats:
        """Return ``count`` rows, computed in batches; when memory runs out, ``batch_size`` is halved permanently.

        Args:
            count: the number of rows, 1 or more.
            run: the function from the first index and the last + 1 to these rows.

        Returns:
            float64, the rows in order.

        Raises:
            ModelError: too little memory for a single image.
        """
        parts, start = [], 0
        while start < count:
            stop = min(start + self.batch_size, count)
            try:
                parts.append(run(start, stop).astype(np.float64))
            except OUT_OF_MEMORY as error:
                self.halve_batch(error)
                continue
            self.count.forward += stop - start
            start = stop
        return np.concatenate(parts)

    def halve_batch(self, error: BaseException) -> None:
        """Halve the batch size permanently.

        Raises:
            ModelError: the batch size is 1 already.
        """
        if self.batch_size == 1:
            raise ModelError(f"model '{self.name}' runs out of memory on a single image") from error
        self.batch_size //= 2

    def logits_in_batches(self, count: int, run: Callable[[int, int], NDArray[np.floating]]) -> Floats:
        """Return class logits, float64 (``count``, C), of outputs computed as in ``in_batches``."""
        if count == 0:
            return np.empty((0, self.n_classes))
        return self.head.class_logits(self.in_batches(count, run))

    def logits(self, images: Pixels) -> Floats:
        """Return the class logits, as ``Head.class_logits`` makes them.

        Args:
            images: the images, (N, H, W, C) in 0..255, any numeric dtype, H and W = ``input_size``.

        Returns:
            float64 (N, C).
        """
        return self.logits_in_batches(
            len(images), lambda start, stop: self.source.outputs(np.asarray(images[start:stop], dtype=np.float32))
        )

    def logits_from(self, count: int, make: Callable[[int], NDArray[np.floating]]) -> Floats:
        """Return the class logits of images that are created when needed, at most one batch at a time.

        Args:
            count: the number of images.
            make: the function from an index to an image, (H, W, C) in 0..255.

        Returns:
            float64 (N, C).
        """
        return self.logits_in_batches(
            count,
            lambda start, stop: self.source.outputs(np.stack([*map(make, range(start, stop))]).astype(np.float32)),
        )

    def probabilities(self, images: Pixels) -> Floats:
        """Return the scores of all classes, float64 (N, C) in 0..1; arguments as ``logits``."""
        return self.head.scores(self.logits(images))
