"""The facts about an image that are known before it is read."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Box", "Entry", "PixelSet"]

Box = tuple[float, float, float, float]
_MASK_LEVELS = 2  # raised when masks are read otherwise, so that runs look at theirs again; 2: soft ones at half


@dataclass(frozen=True)
class PixelSet:
    """A set of pixels of a photo: the union of boxes, masks and outlines.

    Attributes:
        boxes: x0, y0, x1, y1 in pixels of the upright photo, half-open.
        masks: files whose non-zero pixels belong to the set.
        segments: outlines, each as compact JSON: COCO's list of polygons or run-length encoding in pixels, or the text
            of ``segments.fraction_segment``.
    """

    boxes: tuple[Box, ...] = ()
    masks: tuple[Path, ...] = ()
    segments: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is any box, mask or outline."""
        return bool(self.boxes or self.masks or self.segments)


@dataclass(frozen=True)
class Entry:
    """The facts about an image that are known before it is read.

    Attributes:
        id: unique within the set.
        path: path of the photo; None for images in memory.
        class_index: index of the model's output; None if only the label is known, or neither.
        label: name of the class; may be empty.
        boxes: boxes of the object: x0, y0, x1, y1 in pixels of the upright photo, half-open; if ``normalized``, as
            fractions of its width and height.
        masks: files whose non-zero pixels belong to the object.
        size_bytes: size of the photo's file; of the pixels for images in memory.
        mtime_ns: time when the photo's file was last changed; 0 for images in memory.
        where: origin of the entry for messages, e.g. ``"labels.csv line 7"``.
        problem: reason why the image cannot be read, if already known; else empty.
        contents: sha256 of pixels and region of images in memory, which have no time of change; else empty.
        segments: outlines of the object, as in ``PixelSet``.
        ignore: pixels that are neither object nor background, e.g. crowds.
        size: height and width in pixels of the upright photo as the annotations give them; None if they do not.
        outputs: the model's outputs for the class if there are several; ``class_index`` is the first; else empty.
        normalized: whether ``boxes`` and those of ``ignore`` are fractions of the photo's width and height.
        has_cue: whether a shortcut is known to be in the image.
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
    ignore: PixelSet = PixelSet()
    size: tuple[int, int] | None = None
    outputs: tuple[int, ...] = ()
    normalized: bool = False
    has_cue: bool = False

    @property
    def has_region(self) -> bool:
        """Whether the entry gives a region by boxes, masks or outlines; the masks of images in memory are not here."""
        return bool(self.boxes or self.masks or self.segments)

    @property
    def file(self) -> str:
        """The photo's absolute path, in a form that can be stored as text; empty for images in memory."""
        return "" if self.path is None else _storable(self.path)

    @property
    def truth_digest(self) -> str:
        """The sha256 of class and region: all that can change a score besides the photo's pixels.

        It includes the size and time of change of mask files, which are not read.
        """
        facts: list[Any] = [self.class_index, self.label, *_facts(PixelSet(self.boxes, self.masks)), self.contents]
        if self.segments or self.ignore:  # added only if present, so that digests of older runs stay valid
            facts += [self.segments, *_facts(self.ignore), self.ignore.segments]
        if self.size:
            facts.append({"size": self.size})
        if self.outputs:
            facts.append({"outputs": self.outputs})
        if self.normalized:
            facts.append({"normalized": True})
        if self.masks or self.ignore.masks:
            facts.append({"mask_levels": _MASK_LEVELS})
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _facts(pixel_set: PixelSet) -> tuple[list[list[float]], list[tuple[str, int, int]]]:
    return [list(map(float, box)) for box in pixel_set.boxes], [_mask_stamp(mask) for mask in pixel_set.masks]


def _mask_stamp(mask: Path) -> tuple[str, int, int]:
    try:
        status = mask.stat()
    except (OSError, ValueError):
        return _storable(mask), -1, 0
    return _storable(mask), status.st_size, status.st_mtime_ns


def _storable(path: Path) -> str:
    # Bytes that are not text in the system's encoding are escaped, so that different names stay different.
    return os.path.abspath(path).encode("utf-8", "backslashreplace").decode()  # noqa: PTH100 - ten times as fast
