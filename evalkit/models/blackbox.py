"""Black boxes: any function from images to the outputs of a classifier, of which nothing else is known."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.core.names import escaped
from evalkit.models.find_head import probe_images
from evalkit.models.memory import OUT_OF_MEMORY

__all__ = ["BlackBox", "BlackBoxSource"]

_BATCH = 32
# Largest differences of outputs, of the largest output: of one batch computed twice; of an image in two batches.
_AGAIN, _BESIDE, _BESIDE_HALF = 1e-5, 1e-3, 2e-2


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

    def __post_init__(self) -> None:
        """Check the attributes; an input size of one number is that of a square.

        Raises:
            ModelError: an attribute that is not allowed.
        """
        object.__setattr__(self, "input_size", _size(self.input_size, self.name))
        object.__setattr__(self, "channels", _count(self.channels, "channels", self.name))
        if self.n_classes is not None:
            object.__setattr__(self, "n_classes", _count(self.n_classes, "n_classes", self.name))
        if not callable(self.function):
            raise ModelError(
                f"model '{self.name}': function is {type(self.function).__name__}; a function of images, float32 "
                "(N, H, W, C) in 0..255, is needed"
            )


def _size(size: Any, name: str) -> tuple[int, int]:  # noqa: ANN401 - whatever its author wrote
    sides = tuple(size) if isinstance(size, Sequence | np.ndarray) and not isinstance(size, str) else (size, size)
    if len(sides) != 2:
        raise ModelError(f"model '{name}': input_size {size!r} is not (height, width) in pixels, e.g. (224, 224)")
    return _count(sides[0], "the height in input_size", name), _count(sides[1], "the width in input_size", name)


def _count(value: Any, what: str, name: str) -> int:  # noqa: ANN401 - whatever its author wrote
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ModelError(f"model '{name}': {what} is {value!r}; a whole number of at least 1 is needed")
    return number


class BlackBoxSource:
    """A black box as the source of its outputs; attributes as in ``Source``.

    Attributes:
        probes: its outputs on the probe images, float64 (N, R).
        is_half: whether its outputs have fewer digits than float32.
        n_outputs: the number of outputs.
        fingerprint: the sha256 of its identity, and of its outputs on the probe images.
    """

    def __init__(self, box: BlackBox, name: str | None) -> None:
        """See the class.

        Raises:
            ModelError: the function fails, does not return one row of scores for each image, or returns other scores
                for the same images.
        """
        self.name = escaped(name or box.name)
        self.input_size, self.channels = box.input_size, box.channels
        self.precision = "own"
        self._function = box.function
        self.n_outputs = box.n_classes
        self.is_half = False
        self.probes = self.outputs(probe_images(box.input_size, box.channels)).astype(np.float64)
        self.n_outputs = self.probes.shape[1]
        self._require_repeatable(box)
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
            outputs = self._as_rows(self._function(images.copy()), len(images))  # a copy: it may write into it
        except (KeyboardInterrupt, ModelError, *OUT_OF_MEMORY):
            raise
        except Exception as error:
            raise ModelError(
                f"model '{self.name}' failed on images of shape {images.shape}, float32 in 0..255: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        wanted = self.n_outputs
        is_rows = outputs.ndim == 2 and len(outputs) == len(images) and outputs.shape[1] > 0
        # One unit stands for two classes.
        fits = is_rows and (wanted is None or outputs.shape[1] == wanted or (outputs.shape[1] == 1 and wanted == 2))
        if not fits or outputs.dtype.kind not in "fiu":
            expected = f"({len(images)}, {'classes' if wanted is None else wanted})"
            raise ModelError(
                f"model '{self.name}' returned {outputs.dtype} of shape {outputs.shape} for {len(images)} images; "
                f"numbers of shape {expected} are needed: one row of logits or probabilities for each image"
            )
        return outputs.astype(np.float64) if outputs.dtype.kind in "iu" else outputs

    def _as_rows(self, returned: Any, n_images: int) -> NDArray[Any]:  # noqa: ANN401 - what the function returned
        """Return an array of what was returned: of a list, or of a tensor of TensorFlow, PyTorch or JAX."""
        if hasattr(returned, "detach"):  # PyTorch
            returned = returned.detach().cpu()
            returned = returned.float() if str(returned.dtype) == "torch.bfloat16" else returned
        outputs = np.asarray(returned)
        if outputs.dtype.name in ("float16", "bfloat16"):
            self.is_half = True
            outputs = outputs.astype(np.float32)
        if outputs.ndim == 1 and len(outputs) == n_images and self.n_outputs in (None, 1, 2):
            return outputs[:, None]
        if outputs.ndim > 2 and outputs.size:  # (N, C, 1, 1) and (N, 1, 1, C), the ends of fully convolutional models
            sides = [side for side in outputs.shape[1:] if side != 1]
            outputs = outputs.reshape(len(outputs), *(sides or [1]))
        return outputs

    def _require_repeatable(self, box: BlackBox) -> None:
        """Raise ModelError if images get other outputs in a second pass, or in another order and beside others.

        Two images are bright in one half, so that flipping or rotating them shows.
        """
        height, width = box.input_size
        noise = probe_images(box.input_size, box.channels)[-1]
        left, top = np.zeros_like(noise), np.zeros_like(noise)
        left[:, : (width + 1) // 2], top[: (height + 1) // 2] = 255, 255
        images = np.stack([left, top, noise])
        first, again, turned = (
            self.outputs(images[order]).astype(np.float64) for order in ([0, 1, 2], [0, 1, 2], [2, 0])
        )
        largest = float(np.abs(first[np.isfinite(first)]).max(initial=0))
        beside = _BESIDE_HALF if self.is_half else _BESIDE
        if np.allclose(first, again, rtol=0, atol=_AGAIN * largest, equal_nan=True) and np.allclose(
            first[[2, 0]], turned, rtol=0, atol=beside * largest, equal_nan=True
        ):
            return
        raise ModelError(
            f"model '{self.name}' returns other outputs for the same images in a second pass, so no score of it could "
            "be repeated; turn off dropout, augmentation and batch statistics (training=False in Keras, whose "
            "model.export() leaves augmentation layers on: docs/models.md; model.eval() in PyTorch), and treat each "
            "image of a batch on its own"
        )
