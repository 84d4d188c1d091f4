"""The labels of images in memory: indices, one-hot rows, or an indicator matrix with several classes an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.core.errors import DataError

__all__ = ["ArrayLabels", "read_class_indices"]


@dataclass(frozen=True)
class ArrayLabels:
    """The classes of each image.

    Attributes:
        classes: class indices of each image; None for images without labels.
        columns: number of columns of the matrix that gave them; None if indices did.
        several: whether the matrix is an indicator matrix, so that an image may have several classes or none.
    """

    classes: list[tuple[int, ...]] | None
    columns: int | None = None
    several: bool = False

    def entries(self, position: int, name: str, class_names: Sequence[str] | None) -> Iterator[tuple[str, int | None]]:
        """Yield id and class index of each entry of an image.

        Args:
            position: position of the image.
            name: its name.
            class_names: names of the classes; ids have the index of a class without a name.
        """
        if self.classes is None:
            yield name, None
            return
        for index in self.classes[position]:
            yield f"{name}#{class_names[index] if class_names else index}" if self.several else name, index

    def notes(self, name: str) -> list[str]:
        """Return a note that counts the images without a class; ``name`` is that of the set."""
        empty = [position for position, classes in enumerate(self.classes or ()) if not classes]
        if not empty:
            return []
        return [f"{name}: left out: {len(empty)} photos without a class (the first: pixels[{empty[0]}])"]


def read_class_indices(given: ArrayLike | None, class_names: Sequence[str] | None, count: int) -> ArrayLabels:
    """Check the class indices of ``ImageSet.from_arrays``, which documents them.

    Args:
        given: indices (N,) or (N, 1), or a matrix (N, C) of 0 and 1; None if the images are unlabelled.
        class_names: names in the order of the class indices.
        count: number of images.

    Raises:
        DataError: a wrong shape or value.
    """
    if given is None:
        return ArrayLabels(None)
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of several lengths
        raise DataError(
            f"class_indices has rows of different lengths; give {_FORMS.format(count=count)} ({error})"
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    numbers = array.dtype.kind in "biuf"
    if numbers and array.ndim == 2 and len(array) == count and array.shape[1] > 1:
        return _from_matrix(array, class_names)
    if not numbers or array.shape != (count,):
        raise DataError(
            f"class_indices is {array.dtype} of shape {array.shape} for {count} images; give "
            f"{_FORMS.format(count=count)}"
        )
    highest = None if class_names is None else len(class_names) - 1
    classes: list[tuple[int, ...]] = []
    for position, value in enumerate(array.tolist()):
        if not np.isfinite(value) or int(value) != value:
            raise DataError(f"class_indices[{position}] is {value}; give whole numbers from 0")
        index = int(value)
        if index < 0 or (highest is not None and index > highest):
            allowed = "0 and more; class_indices=None if no image has a label" if highest is None else f"0..{highest}"
            raise DataError(f"class_indices[{position}] is {index}; allowed: {allowed}")
        classes.append((index,))
    return ArrayLabels(classes)


_FORMS = "whole numbers of shape ({count},), or a matrix of 0 and 1 of shape ({count}, number of outputs)"


def _from_matrix(matrix: NDArray[np.generic], class_names: Sequence[str] | None) -> ArrayLabels:
    """Return the classes of one-hot rows or of an indicator matrix."""
    wrong = np.argwhere((matrix != 0) & (matrix != 1))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise DataError(
            f"class_indices[{row}, {column}] is {matrix[row, column]:g}; a matrix must be one-hot or have a 1 for each "
            "class present and 0 elsewhere; class_indices.argmax(axis=1) turns scores into indices"
        )
    columns = matrix.shape[1]
    if class_names is not None and len(class_names) != columns:
        raise DataError(f"class_indices has {columns} columns for {len(class_names)} class_names; give one name each")
    classes = [tuple(np.flatnonzero(row).tolist()) for row in matrix]
    if not any(classes):
        raise DataError("class_indices has no 1, so no image has a class; give None if the images are unlabelled")
    return ArrayLabels(classes, columns, several=any(len(present) != 1 for present in classes))
