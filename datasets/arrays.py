"""Images in memory: their arrays are checked, and copied into no file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.core.boxes import rasterize
from evalkit.core.errors import DataError, ImageError
from evalkit.core.names import escaped
from evalkit.datasets.array_labels import ArrayLabels, read_class_indices
from evalkit.datasets.box_units import BoxUnits, fraction_box, pixel_box, units_of
from evalkit.datasets.channels import checked_pixels, require_whole_range
from evalkit.datasets.entry import Box, Entry
from evalkit.datasets.files import require_inside
from evalkit.datasets.geometry import tight_box
from evalkit.datasets.image import UNLABELLED, LabelledImage, Pixels

__all__ = ["array_entries"]


def array_entries(
    pixels: NDArray[np.generic] | Sequence[ArrayLike],
    class_indices: ArrayLike | None,
    regions: NDArray[np.bool_] | Sequence[NDArray[np.bool_] | None] | None,
    boxes: Sequence[ArrayLike | None] | NDArray[np.floating] | None,
    class_names: Sequence[str] | None,
    ids: Sequence[str] | None,
    ignores: NDArray[np.bool_] | Sequence[NDArray[np.bool_] | None] | None = None,
    set_name: str = "arrays",
) -> tuple[list[Entry], Callable[[Entry], LabelledImage], ArrayLabels, tuple[str, ...]]:
    """Check the arguments of ``ImageSet.from_arrays``, which documents them.

    Returns:
        One entry for each image and class, the reader that makes an entry's image, the labels, and sentences about the
        boxes.

    Raises:
        DataError: a wrong shape, dtype or value.
    """
    try:
        count = len(pixels)
    except TypeError as error:
        raise DataError(
            f"pixels is {type(pixels).__name__}; give uint8 (N, H, W, C), or a list of (H, W, C)"
        ) from error
    if count == 0:
        raise DataError("pixels holds no image; give one or more")
    names = _ids(ids, count)
    photos = _photos(pixels, names)
    labels = read_class_indices(class_indices, class_names, count)
    all_regions = _one_each("regions", regions, count)
    all_boxes = _one_each("boxes", boxes, count)
    given_boxes = [_boxes(of_image, f"image '{name}'") for name, of_image in zip(names, all_boxes, strict=True)]
    named = ((f"image '{name}'", box) for name, of_image in zip(names, given_boxes, strict=True) for box in of_image)
    units = units_of(named, set_name)
    all_ignores = _one_each("ignores", ignores, count)
    entries, arrays = [], {}
    for position, name in enumerate(names):
        where = f"image '{name}'"
        photo = photos[position]
        size = (photo.shape[0], photo.shape[1])
        region = _pixels_of("region", all_regions[position], size, where)
        if region is not None and not region.any():
            raise DataError(f"{where}: the region has no True pixel; give None if the region is unknown")
        ignore = _pixels_of("ignore mask", all_ignores[position], size, where)
        given = _inside(given_boxes[position], units, size, where)
        if region is not None and given:
            raise DataError(f"{where}: both a region and boxes; give one of them")
        unsigned = _Arrays(photo, region, _digest(photo), ignore)
        contents = unsigned.digest()
        for entry_id, index in labels.entries(position, name, class_names):
            label = "" if class_names is None or index is None else class_names[index]
            arrays[entry_id] = replace(unsigned, contents=contents)
            entries.append(
                Entry(entry_id, None, index, label, given, size_bytes=photo.nbytes, where=where, contents=contents)
            )
    return entries, _ArrayReader(arrays), labels, units.notes


@dataclass(frozen=True, eq=False)
class _Arrays:
    """The arrays of one image, with their digest when the set was created."""

    pixels: Pixels
    region: NDArray[np.bool_] | None
    sha256: str
    ignore: NDArray[np.bool_] | None
    contents: str = ""

    def digest(self) -> str:
        """Return the sha256 of pixels, region and ignored pixels as they are now."""
        region = "" if self.region is None else _digest(self.region)
        ignore = "" if self.ignore is None else f"ignore{_digest(self.ignore)}"
        return f"{_digest(self.pixels)}{region}{ignore}"


@dataclass(frozen=True, eq=False)
class _ArrayReader:
    """Reads images from memory. It is pickled with all of them, because they are nowhere else."""

    arrays: dict[str, _Arrays]

    def __call__(self, entry: Entry) -> LabelledImage:
        arrays = self.arrays[entry.id]
        if arrays.digest() != arrays.contents:
            raise ImageError("an array was changed after the set was created; create the set again")
        region, boxes = arrays.region, None
        if region is not None:
            boxes = np.array([tight_box(region)], dtype=np.float64)
        elif entry.boxes:
            boxes = np.array(entry.boxes, dtype=np.float64)
            region = rasterize(boxes, (arrays.pixels.shape[0], arrays.pixels.shape[1]))
        return LabelledImage(
            id=entry.id,
            pixels=arrays.pixels,
            class_index=UNLABELLED if entry.class_index is None else entry.class_index,
            label=entry.label,
            region=region,
            boxes=boxes,
            exact=arrays.region is not None,
            sha256=arrays.sha256,
            ignore=arrays.ignore if arrays.ignore is None or region is None else arrays.ignore & ~region,
        )


def _ids(ids: Sequence[str] | None, count: int) -> list[str]:
    if ids is None:
        return [f"{position:0{len(str(count - 1))}d}" for position in range(count)]
    if len(ids) != count:
        raise DataError(f"ids has length {len(ids)} for {count} images; give one id per image")
    return [escaped(str(name)) for name in ids]


def _one_each(name: str, given: Sequence[ArrayLike | None] | NDArray[np.generic] | None, count: int) -> list[object]:
    if given is None:
        return [None] * count
    if len(given) != count:
        raise DataError(f"{name} has length {len(given)} for {count} images; give one per image, None if it has none")
    return list(given)


def _photos(pixels: NDArray[np.generic] | Sequence[ArrayLike], names: Sequence[str]) -> list[Pixels]:
    shape: tuple[int, ...] = getattr(pixels, "shape", ())
    if len(shape) == 3 and shape[2] in (1, 3, 4):  # its rows would be read as gray images, one to four pixels wide
        raise DataError(
            f"pixels has shape {shape}, which is one image (H, W, C), or images (N, H, W) that are {shape[2]} wide; "
            "give (N, H, W, C), for one image pixels[None], for gray images pixels[..., None]"
        )
    photos = [checked_pixels(pixels[position], f"image '{name}'") for position, name in enumerate(names)]
    for name, photo in zip(names, photos, strict=True):
        if photo.shape[2] != photos[0].shape[2]:
            raise DataError(
                f"images '{names[0]}' and '{name}' have {photos[0].shape[2]} and {photo.shape[2]} channels; give all "
                "images the same number"
            )
    require_whole_range(photos, f"{len(photos)} images")
    return photos


def _pixels_of(noun: str, given: object, size: tuple[int, int], where: str) -> NDArray[np.bool_] | None:
    if given is None:
        return None
    pixels = np.asarray(given)
    if pixels.dtype != np.bool_ or pixels.shape != size:
        raise DataError(
            f"{where}: the {noun} is {pixels.dtype} of shape {pixels.shape}; give bool of the image's shape {size}"
        )
    return pixels


def _boxes(given: object, where: str) -> tuple[Box, ...]:
    if given is None:
        return ()
    try:
        boxes = np.atleast_2d(np.asarray(given, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: boxes are not numbers ({error}); give x0, y0, x1, y1") from error
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
        raise DataError(f"{where}: boxes have shape {boxes.shape}; give (K, 4), x0, y0, x1, y1, or None")
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in boxes.tolist())


def _inside(boxes: tuple[Box, ...], units: BoxUnits, size: tuple[int, int], where: str) -> tuple[Box, ...]:
    """Return boxes in pixels that lie inside the photo."""
    if units.normalized:
        checked = [fraction_box(box) for box in boxes]
        for fraction in checked:
            if isinstance(fraction, str):
                raise DataError(f"{where}: {fraction}")
        return tuple(pixel_box(fraction, size) for fraction in checked if not isinstance(fraction, str))
    for x0, y0, x1, y1 in boxes:
        if problem := units.problem((x0, y0, x1, y1)):
            raise DataError(f"{where}: {problem}")
        if not (0 <= x0 < x1 < np.inf and 0 <= y0 < y1 < np.inf):
            raise DataError(
                f"{where}: box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is not allowed; give 0 <= x0 < x1 and 0 <= y0 < y1"
            )
    try:
        require_inside(boxes, size)
    except ImageError as error:
        raise DataError(f"{where}: {error}") from error
    return boxes


def _digest(array: NDArray[np.generic]) -> str:
    """Return the sha256 of an array's shape and bytes."""
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
