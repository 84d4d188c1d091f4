"""What is known of an image before it is read."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Box", "Entry", "Places"]

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Places:
    """Some pixels of a photo, said in up to three ways; all of them together are meant.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels of the upright photo, half-open.
        masks: files whose non-zero pixels are meant.
        segments: outlines as COCO writes them, each as compact JSON: a list of polygons, or a run-length encoding.
    """

    boxes: tuple[Box, ...] = ()
    masks: tuple[Path, ...] = ()
    segments: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether any place is meant."""
        return bool(self.boxes or self.masks or self.segments)


@dataclass(frozen=True)
class Entry:
    """What is known of an image before it is read.

    Attributes:
        id: unique within the set.
        path: the photo's file; None for images in memory.
        class_index: the model's output; None where only the label is known, or nothing.
        label: the class in words; may be empty.
        boxes: x0, y0, x1, y1 in pixels of the upright photo, half-open.
        masks: files whose non-zero pixels are the object.
        size_bytes: of the photo's file; of the pixels for images in memory.
        mtime_ns: when the photo's file was last changed; 0 for images in memory.
        where: the place that names the image, e.g. ``"labels.csv line 7"``, for messages.
        problem: why the photo cannot be read, where that is known already; else empty.
        contents: sha256 of pixels and region of images in memory, which have no time of change; else empty.
        segments: the object's outlines, as in ``Places``.
        ignore: places that are neither the object nor its surroundings, e.g. crowds.
        size: height and width in pixels of the upright photo, as the set says; None where it does not.
        outputs: the model's outputs that the class stands for, where they are several; ``class_index`` is the first.
    """

    id: str
    path: Path | None
    class_index: int | None
    label: str
    boxes: tuple[Box, ...] = ()
    masks: tuple[Path, ...] = ()
    size_bytes: int = 0
    mtime_ns: int = 0
    where: str = ""
    problem: str = ""
    contents: str = ""
    segments: tuple[str, ...] = ()
    ignore: Places = Places()
    size: tuple[int, int] | None = None
    outputs: tuple[int, ...] = ()

    @property
    def has_region(self) -> bool:
        """Whether the place of the object is said, by boxes, masks or outlines; images in memory keep theirs apart."""
        return bool(self.boxes or self.masks or self.segments)

    @property
    def file(self) -> str:
        """The photo's file as an absolute path that can be stored as text; empty for images in memory."""
        return "" if self.path is None else _storable(self.path)

    @property
    def truth_digest(self) -> str:
        """The sha256 of class and place: whatever, besides the photo's pixels, can move a score.

        Mask files are looked at whenever this is asked, but not read.
        """
        facts: list[Any] = [self.class_index, self.label, *_facts(Places(self.boxes, self.masks)), self.contents]
        if self.segments or self.ignore:  # what most sets lack is not in the digest, which older runs hold
            facts += [self.segments, *_facts(self.ignore), self.ignore.segments]
        if self.size:
            facts.append({"size": self.size})
        if self.outputs:
            facts.append({"outputs": self.outputs})
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _facts(places: Places) -> tuple[list[list[float]], list[tuple[str, int, int]]]:
    return [list(map(float, box)) for box in places.boxes], [_mask_stamp(mask) for mask in places.masks]


def _mask_stamp(mask: Path) -> tuple[str, int, int]:
    try:
        found = mask.stat()
    except (OSError, ValueError):
        return _storable(mask), -1, 0
    return _storable(mask), found.st_size, found.st_mtime_ns


def _storable(path: Path) -> str:
    # A name that is no text in the system's encoding keeps what tells it from others.
    return os.path.abspath(path).encode("utf-8", "backslashreplace").decode()  # noqa: PTH100 - ten times as fast
