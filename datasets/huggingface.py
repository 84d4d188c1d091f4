"""Images of a ``datasets.Dataset`` of Hugging Face, read by its own methods: the library is not imported here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evalkit.core.boxes import rasterize
from evalkit.core.errors import DataError, ImageError, nearest
from evalkit.core.names import escaped
from evalkit.datasets.annotations import clipped_box
from evalkit.datasets.box_units import BoxUnits, fraction_box, in_pixels, units_of
from evalkit.datasets.channels import checked_pixels
from evalkit.datasets.decode import pixels_of
from evalkit.datasets.entry import Box, Entry
from evalkit.datasets.image import UNLABELLED, LabelledImage
from evalkit.datasets.parts import BoxFormat, classes_beside, corners

__all__ = ["Rows", "huggingface_set"]


class Rows(NamedTuple):
    """The images of a dataset.

    Attributes:
        entries: one for each row.
        reader: the function that reads the image of an entry.
        class_names: names in the order of the class indices; None if they are not known.
        notes: sentences on what was decided.
    """

    entries: list[Entry]
    reader: RowReader
    class_names: list[str] | None
    notes: list[str]


@dataclass(frozen=True, eq=False)
class RowReader:
    """Reads the image of a row; it can be pickled if the dataset can.

    Attributes:
        dataset: the dataset, with the column of the images alone.
        column: the name of that column.
        rows: the number of the row of each entry, by its id.
    """

    dataset: Any
    column: str
    rows: Mapping[str, int]

    def __call__(self, entry: Entry) -> LabelledImage:
        """Return the image of an entry.

        Raises:
            ImageError: it cannot be decoded, or a box exceeds it.
        """
        try:
            given = self.dataset[self.rows[entry.id]][self.column]
        except Exception as error:  # whatever a decoder raises
            raise ImageError(f"cannot be decoded: {error}") from error
        if given is None:
            raise ImageError("the row has no image")
        own = None
        if hasattr(given, "convert") and hasattr(given, "mode"):  # a Pillow image
            pixels, own = pixels_of(given)
        else:
            try:
                pixels = checked_pixels(given, "image")  # type: ignore[assignment]
            except DataError as error:
                raise ImageError(str(error)) from error
        size = (pixels.shape[0], pixels.shape[1])
        boxes = np.array([_inside(box, size) for box in in_pixels(entry, size).boxes], dtype=np.float64)
        digest = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
        return LabelledImage(
            id=entry.id,
            pixels=pixels,
            class_index=UNLABELLED if entry.class_index is None else entry.class_index,
            label=entry.label,
            region=rasterize(boxes, size) if len(boxes) else None,
            boxes=boxes if len(boxes) else None,
            sha256=digest.hexdigest(),
            own_channels=own,
        )


def _inside(box: Box, size: tuple[int, int]) -> Box:
    clipped = clipped_box(box, size)
    if isinstance(clipped, str):
        raise ImageError(clipped)
    return clipped


def huggingface_set(
    dataset: Any,  # noqa: ANN401 - a datasets.Dataset
    image: str | None,
    label: str | None,
    boxes: str | None,
    box_format: BoxFormat,
    name: str,
) -> Rows:
    """Return the images of a dataset; arguments and errors as ``ImageSet.from_huggingface``, which describes them."""
    for argument, given in (("image", image), ("label", label), ("boxes", boxes)):
        if given is not None and not isinstance(given, str):
            raise DataError(f"{name}: {argument}={given!r} is not allowed; write the name of a column")
    features = _features(dataset, name)
    dataset = _as_stored(dataset, features, name)
    image = _column(image, "Image", features, "image", name)
    label = _label_column(label, features, name)
    labels, class_names = _labels(dataset, label, features)
    edges = [None] * len(dataset) if boxes is None else list(_boxes(dataset, boxes, features, box_format, name))
    ids = [f"{row:0{len(str(max(len(dataset) - 1, 0)))}d}" for row in range(len(dataset))]
    named = ((f"row {row}", box) for row, of_row in enumerate(edges) for box in of_row or ())
    units = units_of(named, name)
    stamp = str(getattr(dataset, "_fingerprint", ""))  # changes when the dataset does
    files = _file_stamps(dataset, image, features[image])
    entries = [
        _entry(ids[row], row, labels[row], class_names, edges[row] or (), units, f"{stamp}|{image}|{row}{files[row]}")
        for row in range(len(dataset))
    ]
    notes = [*units.notes, *([f"{name}: boxes are read as {box_format}"] if boxes is not None else [])]
    if boxes is not None:
        column, *inner = _keys(boxes, features)
        notes += classes_beside(_objects(dataset, column) if inner else (), (column, *inner[:-1]), name)
    if label is None:
        notes.append(f"{name}: no column of classes, so its images are unlabelled; label='COLUMN' names one")
    reader = RowReader(dataset.select_columns([image]), image, {entry.id: row for row, entry in enumerate(entries)})
    return Rows(entries, reader, class_names, notes)


def _features(dataset: Any, name: str) -> Mapping[str, Any]:  # noqa: ANN401 - any object
    if isinstance(dataset, Mapping):
        splits = ", ".join(map(str, dataset)) or "none"
        first = next(iter(dataset), "test")
        raise DataError(f"{name} is a dictionary of splits ({splits}); give one of them, e.g. dataset['{first}']")
    features = getattr(dataset, "features", None)
    if hasattr(dataset, "take") and not hasattr(dataset, "__len__"):
        raise DataError(
            f"{name} is streamed, so none of its images could be found again; load it without streaming=True, or give "
            "Dataset.from_list(list(dataset.take(N)), features=dataset.features)"
        )
    if not isinstance(features, Mapping) or not hasattr(dataset, "select_columns"):
        raise DataError(
            f"dataset is {type(dataset).__name__}; a datasets.Dataset of Hugging Face is needed; ImageSet.from_dataset "
            "takes a tf.data.Dataset, ImageSet.from_arrays arrays"
        )
    if not len(dataset):
        raise DataError(f"{name} holds no image")
    return features


def _as_stored(dataset: Any, features: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - a datasets.Dataset
    """Return the dataset with every column as it is stored.

    Raises:
        DataError: it has a transform.
    """
    form = getattr(dataset, "format", None) or {}
    if form.get("type") == "custom":
        raise DataError(
            f"{name} has a transform (with_transform), which may change images in every reading; give "
            "dataset.with_format(None)"
        )
    if form.get("type") is None and set(form.get("columns") or features) == set(features):
        return dataset
    return dataset.with_format(None)


def _file_stamps(dataset: Any, column: str, feature: Any) -> list[str]:  # noqa: ANN401 - a datasets.Dataset
    """Return size and time of each row's file, where the dataset holds paths: no fingerprint tells of their changes."""
    none = [""] * len(dataset)
    if type(feature).__name__ != "Image" or not hasattr(dataset, "cast_column"):
        return none
    stored = dataset.select_columns([column]).cast_column(column, type(feature)(decode=False))
    first = stored[0][column]
    if not first or first.get("bytes") is not None:
        return none
    return [_file_stamp(row[column]) for row in stored]


def _file_stamp(stored: Mapping[str, Any] | None) -> str:
    try:
        status = Path(str((stored or {})["path"])).stat()
    except (KeyError, OSError, ValueError):
        return ""  # not a file; reading it says so
    return f"|{status.st_size}|{status.st_mtime_ns}"


def _column(given: str | None, kind: str, features: Mapping[str, Any], argument: str, name: str) -> str:
    if given is not None:
        if given not in features:
            raise DataError(f"{name}: {argument}='{given}' is no column; {nearest(given, features)}")
        return given
    fitting = [column for column, feature in features.items() if type(feature).__name__ == kind]
    if len(fitting) != 1:
        number = "several columns" if fitting else "no column"
        raise DataError(f"{name}: {number} of type {kind}; name the column with {argument}=: {', '.join(features)}")
    return fitting[0]


def _label_column(given: str | None, features: Mapping[str, Any], name: str) -> str | None:
    fitting = [column for column, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if given is None and not fitting:
        return "label" if "label" in features else None
    return _column(given, "ClassLabel", features, "label", name)


def _labels(
    dataset: Any,  # noqa: ANN401 - a datasets.Dataset
    column: str | None,
    features: Mapping[str, Any],
) -> tuple[list[Any], list[str] | None]:
    """Return the label of each row, and the names of the classes."""
    if column is None:
        return [None] * len(dataset), None
    names = getattr(features[column], "names", None)
    return list(dataset[column]), [escaped(str(text)) for text in names] if names else None


def _boxes(
    dataset: Any,  # noqa: ANN401 - a datasets.Dataset
    part: str,
    features: Mapping[str, Any],
    box_format: BoxFormat,
    name: str,
) -> Iterator[list[Box] | None]:
    """Yield the boxes of each row, x0, y0, x1, y1."""
    column, *keys = _keys(part, features)
    if column not in features:
        raise DataError(f"{name}: boxes='{part}' is no column; {nearest(column, features)}")
    for row, value in enumerate(dataset[column]):
        where = f"{name}, row {row}"
        found = value
        for key in keys:
            found = _inner(found, key, f"{where}: boxes='{part}'")
        boxes = None if found is None else corners(found, box_format, where)
        yield None if boxes is None else [tuple(box) for box in boxes.tolist()]


def _keys(part: str, features: Mapping[str, Any]) -> list[str]:
    """Return a column, and the keys that lead to a part of its values."""
    return [part] if part in features else part.replace(".", "/").split("/")


def _objects(dataset: Any, column: str) -> Any:  # noqa: ANN401 - a datasets.Dataset, and a nested value of a row
    """Return the objects of the first row: a dictionary of lists, or the first of a list of dictionaries."""
    found = dataset.select_columns([column])[0][column]
    return found[0] if isinstance(found, list | tuple) and found else found


def _inner(value: Any, key: str, where: str) -> Any:  # noqa: ANN401 - nested values of a row
    """Return one key of a dictionary of lists, or of each dictionary in a list."""
    try:
        return [item[key] for item in value] if isinstance(value, list | tuple) else value[key]
    except (KeyError, TypeError, IndexError) as error:
        keys = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
        raise DataError(f"{where} is not there; the value holds: {keys}") from error


def _entry(
    entry_id: str,
    row: int,
    label: Any,  # noqa: ANN401 - a number, a text, or None
    class_names: Sequence[str] | None,
    boxes: Sequence[Box],
    units: BoxUnits,
    stamp: str,
) -> Entry:
    where = f"row {row}"
    if label is None or label == UNLABELLED:
        index, text = None, ""
    elif isinstance(label, str):
        index, text = None, escaped(label)
    else:
        try:
            index = label.__index__()
        except AttributeError as error:
            raise DataError(f"{where}: label {label!r} is no whole number and no name") from error
        text = class_names[index] if class_names and 0 <= index < len(class_names) else ""
    checked = [_checked(box, units) for box in boxes]
    problem = next((box for box in checked if isinstance(box, str)), "")
    return Entry(
        entry_id,
        None,
        index,
        text,
        tuple(box for box in checked if not isinstance(box, str)),
        where=where,
        problem=problem,
        contents=hashlib.sha256(json.dumps([stamp]).encode()).hexdigest(),
        normalized=units.normalized,
    )


def _checked(box: Box, units: BoxUnits) -> Box | str:
    if units.normalized:
        return fraction_box(box)
    return units.problem(box) or clipped_box(box, None)
