"""Photos and labelled sets as Python code has them: files, Pillow images, arrays of several types."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import DataError, ImageError

if TYPE_CHECKING:
    from evalkit.datasets.decode import Decoded
    from evalkit.datasets.image_set import ImageSet

__all__ = ["image_set_of", "photo_of"]

_PHOTO = "a file, a Pillow image, or an array (height, width, channels)"
_SET = "an ImageSet, a pair (images, class indices), or a value of --data"


def photo_of(given: object, name: str = "image") -> Path | NDArray[Any] | Decoded:
    """Return a path, or the pixels of a Pillow image or an array-like object, e.g. a tensor.

    Whole numbers in 0..255 of any type become uint8, gray (H, W) becomes RGB. Pillow images are converted as their
    files would be.

    Args:
        given: the photo.
        name: what messages call it.

    Raises:
        DataError: it is neither a path nor an image, or its numbers are not in 0..255.
    """
    if isinstance(given, str | PathLike):
        return Path(given)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(given, pillow.Image):
        from evalkit.datasets.decode import pixels_of

        try:
            return pixels_of(given)
        except ImageError as error:
            raise DataError(f"{name}: {error}") from error
    if not _is_array(given):
        raise DataError(f"{name} is {type(given).__name__}; {_PHOTO} is needed")
    pixels = _whole_numbers(np.asarray(given), name)
    if pixels.ndim == 4:
        raise DataError(
            f"{name} has shape {pixels.shape}, several photos; give one (height, width, 3), or list(photos) for all"
        )
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 and pixels.dtype == np.uint8 else pixels


def image_set_of(images: object) -> ImageSet | None:
    """Return a labelled set made of arrays, or an ``ImageSet`` unchanged; None for a path or a name.

    Args:
        images: what ``evaluate`` was given.

    Raises:
        DataError: it is nothing of which a set can be made.
    """
    from evalkit.datasets.image_set import ImageSet

    if isinstance(images, ImageSet):
        return images
    if isinstance(images, str | PathLike):
        return None
    if _is_array(images):
        return ImageSet.from_arrays(_pixels(images), None)
    if not isinstance(images, tuple | list) or not images:
        raise DataError(f"images is {type(images).__name__}; give {_SET}")
    if len(images) == 2 and all(isinstance(part, tuple) for part in images):
        raise DataError("images is a pair of pairs, e.g. training and test set; give one of them, e.g. images[1]")
    pair = len(images) == 2 and (isinstance(images, tuple) or np.ndim(images[0]) == 4)
    if pair and _is_labels(images[1]):
        return ImageSet.from_arrays(_pixels(images[0]), _class_indices(images[1]))
    if isinstance(images, list) and all(map(_is_array, images)):
        return ImageSet.from_arrays(_pixels(images), None)
    raise DataError(f"images is a {type(images).__name__} of {len(images)}; give {_SET}")


def _is_array(given: object) -> bool:
    return hasattr(given, "__array__") or hasattr(given, "__array_interface__")


def _is_labels(given: object) -> TypeGuard[Any]:
    if _is_array(given):
        return np.asarray(given).ndim < 3
    return given is None or (isinstance(given, list | tuple) and all(np.ndim(label) < 2 for label in given))


def _pixels(given: Any) -> NDArray[Any] | Sequence[NDArray[Any]]:  # noqa: ANN401 - an array, or a sequence of them
    if not _is_array(given):
        photos = [photo_of(photo, f"image {number}") for number, photo in enumerate(given)]
        if any(isinstance(photo, Path) for photo in photos):
            raise DataError("images holds paths; list them in a CSV manifest with the columns image and class_index")
        return [photo.pixels if isinstance(photo, tuple) else photo for photo in photos]  # type: ignore[misc]
    return _whole_numbers(np.asarray(given), "images")


def _class_indices(given: Any) -> NDArray[Any] | None:  # noqa: ANN401 - labels of any kind
    """Return class indices of shape (N,); (N, 1) and whole numbers of another type are accepted."""
    if given is None:
        return None
    labels = np.asarray(given)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all():
        labels = labels.astype(np.int64)
    return labels


def _whole_numbers(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return whole numbers in 0..255 as uint8, other numbers in 0..255 as float32."""
    if array.dtype == np.uint8 or not array.size or array.dtype.kind not in "iuf":
        return array
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{name} has values that are not finite; pixels in 0..255 are needed")
    if low < 0 or high > 255:
        raise DataError(
            f"{name} has values from {low:g} to {high:g}; give pixels in 0..255, before any preprocessing: evalkit "
            "applies that of --preprocess"
        )
    if array.dtype.kind == "f" and high <= 1:
        raise DataError(
            f"{name} is {array.dtype} with values from {low:g} to {high:g}; give pixels in 0..255: multiply by 255"
        )
    if array.dtype.kind == "f" and (array != np.rint(array)).any():
        return array.astype(np.float32)
    return array.astype(np.uint8)
