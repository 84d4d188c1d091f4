"""The batch size that fits into memory, and the errors of too little memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import psutil
import tensorflow as tf

from evalkit.models.devices import gpu_bytes

__all__ = ["OUT_OF_MEMORY", "fitting_batch"]

OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)
_LARGEST_BATCH, _LARGEST_ON_GPU = 32, 256  # more gain little, and the last batch of a photo is padded
_MOST_BYTES = 1e9  # of a machine's memory
_COPIES = 4  # of a pass's largest tensor: input, output, and temporary ones
_SHARE = 0.25


def fitting_batch(shapes: Mapping[str, tuple[int | None, ...]], *, backward: bool = False) -> int:
    """Return the largest batch, a power of two, that fits.

    On a GPU it needs at most a quarter of the GPU's memory and is at most 256; else at most 1 GB and a quarter of the
    free memory, and at most 32.

    Args:
        shapes: the output shapes by layer, the batch dimension first.
        backward: True = of a pass forward and back, which keeps the outputs of all layers.
    """
    sizes = [math.prod(side or 1 for side in shape[1:]) for shape in shapes.values()] or [1]
    numbers = max(sizes) * _COPIES + (sum(sizes) if backward else 0)
    on_gpu = gpu_bytes()
    budget = on_gpu * _SHARE if on_gpu else min(psutil.virtual_memory().available * _SHARE, _MOST_BYTES)
    fitting = min(max(budget / (numbers * 4), 1), _LARGEST_ON_GPU if on_gpu else _LARGEST_BATCH)
    return int(2 ** math.floor(math.log2(fitting)))
