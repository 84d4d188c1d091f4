"""Labels of a dataset as class indices, or as names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import DataError
from evalkit.core.names import escaped

__all__ = ["class_indices_of"]


def class_indices_of(labels: Sequence[NDArray[Any]], name: str) -> tuple[NDArray[Any], list[str] | None]:
    """Return class indices, as ``ImageSet.from_arrays`` takes them, and the names of the classes if labels are names.

    Args:
        labels: one for each image: a number, a text, or a row of 0 and 1.
        name: the name of the set.

    Raises:
        DataError: labels of different shapes.
    """
    shapes = {label.shape for label in labels}
    if len(shapes) > 1:
        first, second = sorted(shapes, key=str)[:2]
        raise DataError(f"{name}: labels have the shapes {first} and {second}; give every image one of the same shape")
    stacked = np.stack(labels)
    if stacked.dtype.kind not in "SUO":
        return stacked, None
    texts = [_text(label) for label in stacked.reshape(-1).tolist()]
    if len(texts) != len(labels):
        raise DataError(f"{name}: labels are texts of shape {labels[0].shape}; give one for each image")
    names = sorted(set(texts))
    return np.array([names.index(text) for text in texts]), names


def _text(label: object) -> str:
    return escaped(label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label))
