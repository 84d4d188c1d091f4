"""Images of a ``tf.data.Dataset``, read by its own methods: TensorFlow is not imported here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from evalkit.core.errors import DataError, ImageError
from evalkit.core.imports import first_line
from evalkit.core.names import escaped
from evalkit.datasets.entry import Entry
from evalkit.datasets.image import Pixels
from evalkit.datasets.mask_levels import object_pixels
from evalkit.datasets.parts import BoxFormat, Part, classes_beside, corners, found_in, named_part
from evalkit.datasets.value_range import ValueRange, known_range

__all__ = ["DatasetParts", "ReadDataset", "TfData", "tf_data_of"]

_INFINITE = -1  # cardinality() of a dataset without end
_LOOKED_AT = 64  # images whose order is compared before all are read
_MOST = 1_000_000  # images of a dataset that does not know how many it has
_SHARE = 0.5  # of the free memory
_CHANNELS = (None, 1, 3, 4)
_UNSTEADY = (
    "gives other images, or another order, in every pass, so no image would be found again; leave out shuffle() and "
    "random layers (image_dataset_from_directory takes shuffle=False)"
)


Draw = Callable[[Sequence[Entry]], Sequence[Entry]]


@dataclass(frozen=True)
class DatasetParts:
    """Which parts of an element are what; None = there is none.

    Attributes:
        image: the pixels.
        label: the class.
        boxes: the boxes of the object.
        region: the mask of the object.
    """

    image: Part
    label: Part | None = None
    boxes: Part | None = None
    region: Part | None = None


class ReadDataset(NamedTuple):
    """What was read, one of each for every image; None where the dataset has none.

    Attributes:
        pixels: uint8 or float32 (H, W, C) in 0..255.
        labels: the labels as they are.
        boxes: float64 (K, 4), x0, y0, x1, y1; or None.
        regions: bool (H, W); or None.
        ids: the names.
        notes: sentences on what was decided.
    """

    pixels: list[Pixels]
    labels: list[NDArray[Any]] | None
    boxes: list[NDArray[np.float64] | None] | None
    regions: list[NDArray[np.bool_] | None] | None
    ids: list[str]
    notes: list[str]


class _Element(NamedTuple):
    pixels: NDArray[Any]
    label: NDArray[Any] | None
    boxes: NDArray[Any] | None
    region: NDArray[Any] | None

    def digest(self) -> bytes:
        digest = hashlib.sha256()
        for part in self:
            if part is not None:
                digest.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        return digest.digest()


@dataclass(frozen=True, eq=False)
class TfData:
    """A dataset and what its elements hold.

    Attributes:
        dataset: the dataset, batched or not.
        parts: which parts of an element are what.
        name: the name of the set.
    """

    dataset: Any
    parts: DatasetParts
    name: str

    def read(self, value_range: ValueRange | None, box_format: BoxFormat, draw: Draw) -> ReadDataset:
        """Read the dataset in two passes: the first sees all labels and values, the second keeps the images.

        Args:
            value_range: the values of black and white; None = known from the type and the values.
            box_format: the order of a box's numbers.
            draw: a function from one entry for each image, with its label as text, to those that are kept.

        Raises:
            DataError: the dataset has no end, gives other images in every pass, needs too much memory, or an element is
                not what its parts say.
        """
        if int(self.dataset.cardinality()) == _INFINITE:
            raise DataError(f"{self.name} has no end; leave out repeat(), or give dataset.take(number of its images)")
        self._require_steady()
        seen = _Seen()
        for element in self._elements():
            seen.add(element)
            if len(seen.digests) > _MOST:
                raise DataError(f"{self.name} has more than {_MOST:,} images and may have no end; give dataset.take(N)")
        if not seen.digests:
            raise DataError(f"{self.name} holds no image")
        known, note = (value_range, "") if value_range else known_range(seen.dtype, seen.low, seen.high, self.name)
        ids = self._ids(len(seen.digests))
        texts = ["" if label is None else repr(label.tolist()) for label in seen.labels]
        entries = [Entry(name, None, None, text) for name, text in zip(ids, texts, strict=True)]
        wanted = frozenset(entry.id for entry in draw(entries))
        notes = [note] if note else []
        if self.parts.boxes is not None:
            *outer, _ = self.parts.boxes
            beside = found_in(self.dataset.element_spec, tuple(outer)) if outer else ()
            notes += [f"{self.name}: boxes are read as {box_format}", *classes_beside(beside, outer, self.name)]
        return self._kept(seen, ids, wanted, known, box_format, notes)

    def _kept(
        self,
        seen: _Seen,
        ids: Sequence[str],
        wanted: frozenset[str],
        value_range: ValueRange,
        box_format: BoxFormat,
        notes: list[str],
    ) -> ReadDataset:
        parts, budget = self.parts, psutil.virtual_memory().available * _SHARE
        read = ReadDataset(
            [], [] if parts.label else None, [] if parts.boxes else None, [] if parts.region else None, [], notes
        )
        elements = self._elements()
        for name, digest in zip(ids, seen.digests, strict=True):
            element = next(elements, None)
            if element is None or element.digest() != digest:
                raise DataError(f"{self.name} {_UNSTEADY} (the first that differs: image {name})")
            if name not in wanted:
                continue
            where = f"{self.name}, image '{name}'"
            try:
                pixels = value_range.to_pixels(element.pixels)
            except DataError as error:
                raise DataError(f"{where}: {error}") from error
            budget -= pixels.nbytes
            if budget < 0:
                raise DataError(
                    f"{self.name} needs more than half of the free memory: {len(read.ids)} of {len(wanted)} images "
                    f"({pixels.shape[0]} x {pixels.shape[1]}, {pixels.dtype}) fill it; give limit=N, or photos in files"
                )
            read.ids.append(name)
            read.pixels.append(pixels)
            if read.labels is not None and element.label is not None:
                read.labels.append(element.label)
            if read.boxes is not None:
                read.boxes.append(corners(element.boxes, box_format, where))
            if read.regions is not None:
                read.regions.append(_mask(element.region, where))
            if len(read.ids) == len(wanted):
                break
        return read

    def _elements(self) -> Iterator[_Element]:
        """Yield every image, with its parts."""
        parts = self.parts
        dataset = self.dataset.unbatch() if self._is_batched() else self.dataset
        iterator = iter(dataset.as_numpy_iterator())
        for position in range(_MOST + 1):
            try:
                element = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                raise DataError(f"{self.name}: image {position} cannot be read: {first_line(error)}") from error
            optional = [
                None if part is None else _array(found_in(element, part))
                for part in (parts.label, parts.boxes, parts.region)
            ]
            label, boxes, region = optional
            pixels = _array(found_in(element, parts.image))
            if pixels.dtype.kind not in "biuf" or pixels.size == 0:
                raise DataError(
                    f"{self.name}: image {position} is {pixels.dtype} of shape {pixels.shape}; numbers (H, W, C) are "
                    "needed; decode files first, or name the part with image="
                )
            yield _Element(pixels, label, boxes, region)

    def _is_batched(self) -> bool:
        """Return whether an element holds several images, by the shapes that the dataset states."""
        spec = self.dataset.element_spec
        shape = _shape(found_in(spec, self.parts.image))
        label = None if self.parts.label is None else _shape(found_in(spec, self.parts.label))
        if shape is None:
            raise DataError(
                f"{self.name} does not say how many axes its images have; state them, e.g. with tf.ensure_shape, or "
                "tf.io.decode_image(..., expand_animations=False)"
            )
        if len(shape) == 3 and label and shape[2] not in _CHANNELS:  # gray images, if there are as many labels
            return label[0] == shape[0]
        return len(shape) == 4

    def _require_steady(self) -> None:
        """Compare the beginnings of two passes, so that a shuffled dataset is refused before all of it is read."""
        first, second = ([element.digest() for element in islice(self._elements(), _LOOKED_AT)] for _ in range(2))
        if first != second:
            raise DataError(f"{self.name} {_UNSTEADY}")

    def _ids(self, count: int) -> list[str]:
        """Return the last two parts of the images' paths, which Keras' datasets of folders know; else positions."""
        files = getattr(self.dataset, "file_paths", None) or ()
        names = ["/".join(str(path).replace("\\", "/").split("/")[-2:]) for path in files]
        if len(names) == count == len(set(names)):
            return [escaped(name) for name in names]
        return [f"{position:0{len(str(count - 1))}d}" for position in range(count)]


class _Seen:
    """What the first pass saw."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.labels: list[NDArray[Any] | None] = []
        self.low, self.high, self.dtype = np.inf, -np.inf, np.dtype(np.uint8)

    def add(self, element: _Element) -> None:
        self.digests.append(element.digest())
        self.labels.append(element.label)
        self.dtype = element.pixels.dtype
        if element.pixels.size:
            self.low = min(self.low, float(element.pixels.min()))
            self.high = max(self.high, float(element.pixels.max()))


def _shape(spec: Any) -> tuple[int | None, ...] | None:  # noqa: ANN401 - a tf.TensorSpec
    shape = spec.shape
    return None if shape.rank is None else tuple(shape.as_list())


def _array(value: Any) -> NDArray[Any]:  # noqa: ANN401 - an array, a number, or a ragged tensor
    array = np.asarray(value.to_list() if hasattr(value, "to_list") else value)
    # The bytes of an array of objects are addresses, other ones in every pass.
    is_text = array.dtype == object and all(isinstance(one, bytes) for one in array.flat)
    return array.astype(np.bytes_) if is_text else array


def _mask(values: NDArray[Any] | None, where: str) -> NDArray[np.bool_] | None:
    """Return a mask, (H, W) or (H, W, 1), in which every value above zero belongs to the object; None if none does."""
    if values is None:
        return None
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise DataError(f"{where}: the region is {values.dtype} of shape {values.shape}; (height, width) is needed")
    try:
        mask, _ = object_pixels(values)
    except ImageError as error:
        raise DataError(f"{where}: {error}") from error
    return mask if mask.any() else None


def tf_data_of(dataset: Any, given: Mapping[str, str | int | None], name: str) -> tuple[TfData, list[str]]:  # noqa: ANN401
    """Return a dataset with its parts, and sentences on parts that are not used.

    Args:
        dataset: a ``tf.data.Dataset``.
        given: the parts that the user names: image, label, boxes, regions.
        name: the name of the set.

    Raises:
        DataError: it is no such dataset, or has no such part.
    """
    if not (hasattr(dataset, "as_numpy_iterator") and hasattr(dataset, "element_spec")):
        raise DataError(
            f"dataset is {type(dataset).__name__}; a tf.data.Dataset is needed; ImageSet.from_arrays takes arrays, "
            "ImageSet.from_huggingface a dataset of the library datasets"
        )
    spec = dataset.element_spec
    known = [*spec] if isinstance(spec, Mapping) else [*range(len(spec))] if isinstance(spec, tuple) else []
    first, second = ("image", "label") if isinstance(spec, Mapping) else (0, 1)
    found = {key: None if value is None else named_part(value, spec, key, name) for key, value in given.items()}
    image = found["image"]
    if image is None:
        image = named_part(first, spec, "image", name) if known else ()
    taken = any(part and part[0] == second for part in (image, *found.values()))
    if found["label"] is None and second in known and not taken:
        found["label"] = named_part(second, spec, "label", name)
    parts = DatasetParts(image, found["label"], found["boxes"], found["regions"])
    unused = [key for key in known if isinstance(key, int) and (key,) not in (image, *found.values())]
    notes = [
        f"{name}: part {key} of its elements is not used; boxes={key} or regions={key} says what it is"
        for key in unused
    ]
    return TfData(dataset, parts, name), notes
