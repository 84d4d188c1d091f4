"""Labels of a dataset as class indices, or as names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.core.errors import DataError, nearest
from evalkit.core.names import escaped
from evalkit.datasets.class_names import read_classes

__all__ = ["class_indices_of", "positions_of"]


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


def positions_of(
    texts: Sequence[str], indices: ArrayLike, class_names: Sequence[str] | Mapping[Any, Any], name: str
) -> NDArray[np.int64]:
    """Return the positions of labels that are names among the names of the classes.

    Args:
        texts: the names that labels have.
        indices: (N,), the position of each label in ``texts``.
        class_names: names in the order of the class indices; or a dictionary of names and indices.
        name: the name of the set.

    Raises:
        DataError: a label is none of the names.
    """
    known = list(read_classes(class_names)[0] or ())
    missing = [text for text in texts if text not in known]
    if missing:
        raise DataError(f"{name}: label '{missing[0]}' is not among class_names; {nearest(missing[0], known)}")
    positions: NDArray[np.int64] = np.array([known.index(text) for text in texts], dtype=np.int64)
    return np.take(positions, np.asarray(indices))


def _text(label: object) -> str:
    return escaped(label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label))
