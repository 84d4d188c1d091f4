"""The parts of an element of a dataset: which of them is the image, the label, the boxes; and the order of a box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, DataError, nearest
from evalkit.core.names import shown

__all__ = [
    "BOX_FORMATS",
    "BoxFormat",
    "Part",
    "classes_beside",
    "corners",
    "found_in",
    "named_part",
    "require_box_format",
]

Part = tuple[str | int, ...]
"""The keys that lead to a part, from the outside in; empty = the element itself."""

_CLASSES = ("category", "categories", "category_id", "class", "classes", "class_id", "label", "labels")

BoxFormat = Literal["xyxy", "yxyx", "xywh", "cxcywh"]
BOX_FORMATS: tuple[BoxFormat, ...] = ("xyxy", "yxyx", "xywh", "cxcywh")


def named_part(given: str | int, structure: Any, argument: str, name: str) -> Part:  # noqa: ANN401 - nested parts
    """Return the part that an argument names, such as ``1``, ``"label"`` or ``"objects/bbox"``.

    Args:
        given: the argument.
        structure: an element, or what describes one: tuples, lists and dictionaries.
        argument: the name of the argument.
        name: the name of the set.

    Raises:
        DataError: there is no such part.
    """
    allowed = {"/".join(map(str, part)): part for part in _parts(structure)}
    if str(given) not in allowed:
        raise DataError(f"{name}: {argument}={given!r} is no part of its elements; {nearest(str(given), allowed)}")
    return allowed[str(given)]


def _parts(structure: Any, before: Part = ()) -> Iterator[Part]:  # noqa: ANN401 - nested parts
    if isinstance(structure, Mapping):
        inner: Any = structure.items()
    elif isinstance(structure, tuple | list):
        inner = enumerate(structure)
    else:
        yield before
        return
    for key, value in inner:
        yield from _parts(value, (*before, key))


def found_in(element: Any, part: Part) -> Any:  # noqa: ANN401 - nested parts
    """Return a part of an element."""
    for key in part:
        element = element[key]
    return element


def classes_beside(objects: Any, outer: Sequence[str | int], name: str) -> list[str]:  # noqa: ANN401 - nested parts
    """Return a note if objects have classes of their own beside their boxes.

    Args:
        objects: the part that holds the boxes: a dictionary, or anything else without names.
        outer: the keys that lead to it.
        name: the name of the set.
    """
    known = [key for key in _CLASSES if isinstance(objects, Mapping) and key in objects]
    if not known:
        return []
    part = "/".join(map(str, (*outer, known[0])))
    note = (
        f"{name}: the region of an image holds all of its boxes, whatever '{part}' says; keep those of the image's "
        "class if others are among them"
    )
    return [note]


def require_box_format(given: str) -> BoxFormat:
    """Return the order of a box's four numbers.

    Raises:
        ConfigError: it is unknown.
    """
    for known in BOX_FORMATS:
        if given == known:
            return known
    raise ConfigError(f"box_format={given!r} is unknown; {nearest(str(given), BOX_FORMATS)}")


def corners(given: object, box_format: BoxFormat, where: str) -> NDArray[np.float64] | None:
    """Return boxes as x0, y0, x1, y1, without rows of zeros, which fill batches; None if there is none.

    Args:
        given: numbers (K, 4) or (4,).
        box_format: their order: ``xyxy`` (corners), ``yxyx`` (corners, as TensorFlow Datasets has them), ``xywh``
            (corner and size, as COCO) or ``cxcywh`` (center and size, as YOLO).
        where: what messages call the image.

    Raises:
        DataError: they are not four numbers each.
    """
    try:
        boxes = np.atleast_2d(np.asarray(given, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: boxes are {shown(given)}, not numbers (K, 4)") from error
    if boxes.size == 0:
        return None
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"{where}: boxes have shape {boxes.shape}; (K, 4) is needed, four numbers a box")
    boxes = boxes[(boxes != 0).any(axis=1)]
    if not len(boxes):
        return None
    first, second, third, fourth = boxes.T
    edges = {
        "xyxy": (first, second, third, fourth),
        "yxyx": (second, first, fourth, third),
        "xywh": (first, second, first + third, second + fourth),
        "cxcywh": (first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2),
    }
    return np.stack(edges[box_format], axis=1)
