"""Black boxes: any function from images to the outputs of a classifier, of which nothing else is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.core.names import escaped
from evalkit.models.find_head import probe_images

__all__ = ["BlackBox", "BlackBoxSource"]

_BATCH = 32


@dataclass(frozen=True, eq=False)
class BlackBox:
    """A classifier given as a function.

    Attributes:
        function: the function from images, float32 (N, H, W, C) in 0..255, to logits or probabilities, (N, R). It
            includes the preprocessing, and returns the same outputs for the same images.
        input_size: (height, width) of its images in pixels.
        channels: the number of channels of its images.
        name: the model's name in tables.
        identity: what its author names, e.g. a version or a checksum of its weights; part of the fingerprint.
        n_classes: the number of outputs that it must have; None = as many as it returns.
    """

    function: Callable[[NDArray[np.float32]], Any]
    input_size: tuple[int, int]
    channels: int = 3
    name: str = "black box"
    identity: str = ""
    n_classes: int | None = None


class BlackBoxSource:
    """A black box as the source of its outputs; attributes as in ``Source``.

    Attributes:
        probes: its outputs on the probe images, float64 (N, R).
        n_outputs: the number of outputs.
        fingerprint: the sha256 of its identity, and of its outputs on the probe images.
    """

    def __init__(self, box: BlackBox, name: str | None) -> None:
        """See the class.

        Raises:
            ModelError: the function fails, or does not return one row of scores for each image.
        """
        self.name = escaped(name or box.name)
        self.input_size, self.channels = box.input_size, box.channels
        self.precision = "own"
        self._function = box.function
        self.n_outputs = box.n_classes
        self.probes = self.outputs(probe_images(box.input_size, box.channels)).astype(np.float64)
        self.n_outputs = self.probes.shape[1]
        digest = hashlib.sha256(f"{box.identity}|{box.input_size}|{box.channels}|".encode())
        digest.update(np.ascontiguousarray(self.probes).tobytes())
        self.fingerprint = digest.hexdigest()

    @property
    def fitting_batch(self) -> int:
        """The number of images in one pass; what fits into memory is not known."""
        return _BATCH

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return the function's outputs, float (N, R).

        Raises:
            ModelError: the function fails, or does not return one row of scores for each image.
        """
        try:
            outputs = np.asarray(self._function(images))
        except (KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:
            raise ModelError(
                f"model '{self.name}' failed on images of shape {images.shape}, float32 in 0..255: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        wanted = self.n_outputs
        is_rows = outputs.ndim == 2 and len(outputs) == len(images) and outputs.shape[1] > 0
        if not is_rows or outputs.dtype.kind not in "fiu" or (wanted is not None and outputs.shape[1] != wanted):
            expected = f"({len(images)}, {'classes' if wanted is None else wanted})"
            raise ModelError(
                f"model '{self.name}' returned {outputs.dtype} of shape {outputs.shape} for {len(images)} images; "
                f"numbers of shape {expected} are needed: one row of logits or probabilities for each image"
            )
        return outputs.astype(np.float64) if outputs.dtype.kind in "iu" else outputs
