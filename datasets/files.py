"""Images in files: their size and time of change for planning, and how they are read."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.boxes import rasterize
from evalkit.core.errors import ImageError
from evalkit.datasets.annotations import clipped_box
from evalkit.datasets.box_units import in_pixels
from evalkit.datasets.decode import DecodedMask, decode_mask, decode_photo
from evalkit.datasets.entry import Box, Entry, PixelSet
from evalkit.datasets.geometry import tight_box
from evalkit.datasets.image import UNLABELLED, LabelledImage
from evalkit.datasets.mask_levels import MaskKind
from evalkit.datasets.segments import decode_segment

__all__ = [
    "EMPTY_MASK",
    "MISSING",
    "SMALLER",
    "contents_of",
    "file_facts",
    "read_annotated",
    "read_from_file",
    "region_share",
    "require_inside",
]

EMPTY_MASK = "mask is empty"
MISSING = "file is missing"
SMALLER = "smaller than its box"
_LARGEST_BYTES = 2 * 1024**3  # Pillow's limit on pixels, at twelve bytes each

Pixels = NDArray[np.bool_]


class _Region(NamedTuple):
    """Region, boxes, the masks' void, and how the masks were read; None where there is none."""

    pixels: Pixels | None = None
    boxes: NDArray[np.float64] | None = None
    void: Pixels | None = None
    kind: MaskKind = ""


def file_facts(path: Path) -> tuple[int, int, str]:
    """Return the facts about a file that need no reading.

    Returns:
        Its size in bytes, its time of change in nanoseconds, and the reason why it cannot be read (empty if it can).
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0, MISSING
    except (OSError, ValueError) as error:
        return 0, 0, f"cannot be read: {_system_reason(error)}"
    return status.st_size, status.st_mtime_ns, "" if stat.S_ISREG(status.st_mode) else "not a file"


def read_annotated(entry: Entry) -> LabelledImage:
    """Read an image as ``read_from_file``, but clip boxes that exceed the photo by a pixel of rounding."""
    return read_from_file(entry, rounded=True)


def read_from_file(entry: Entry, *, rounded: bool = False) -> LabelledImage:
    """Read a photo and its region at the photo's own size.

    With masks or outlines the region is their union and exact, and the boxes are their tight boxes; otherwise the
    region is rasterized from the boxes by pixel centers. Pixels of the region are never ignored.

    Args:
        entry: entry of a set whose photos are files.
        rounded: whether boxes may exceed the photo by a pixel; it is cut off.

    Raises:
        ImageError: the photo or a mask is missing, damaged, empty or has the wrong size, or the photo is smaller than
            its box.
    """
    if entry.path is None:
        raise ImageError("no file is known")
    data = contents_of(entry.path)
    pixels, own_channels = decode_photo(data)
    size = (pixels.shape[0], pixels.shape[1])
    if entry.size not in (None, size):
        stated = f"{entry.size[1]} x {entry.size[0]}" if entry.size else ""
        raise ImageError(f"the photo is {size[1]} x {size[0]} (width x height, upright), its annotation says {stated}")
    class_index = UNLABELLED if entry.class_index is None else entry.class_index
    entry = in_pixels(entry, size)
    if rounded:
        entry = replace(entry, boxes=tuple(_clipped(box, size) for box in entry.boxes))
    region = _region(entry, size)
    return LabelledImage(
        id=entry.id,
        pixels=pixels,
        class_index=class_index,
        label=entry.label,
        region=region.pixels,
        boxes=region.boxes,
        exact=bool(entry.masks or entry.segments),
        sha256=hashlib.sha256(data).hexdigest(),
        ignore=_ignored(entry.ignore, region, size),
        mask_kind=region.kind,
        own_channels=own_channels,
    )


def region_share(entry: Entry, read: Callable[[Entry], LabelledImage]) -> float | None:
    """Return the fraction of the photo that the object covers, 0..1; None if there is no region.

    Args:
        entry: entry of any set.
        read: function that reads an image; called only if the region needs the photo's size or a mask.

    Raises:
        ImageError: the image cannot be used.
    """
    if entry.problem:
        raise ImageError(entry.problem)
    if entry.path is not None and not entry.has_region:
        return None
    undecoded = entry.size is not None and not entry.masks
    region = (
        _region(in_pixels(entry, entry.size), entry.size).pixels if entry.size and undecoded else read(entry).region
    )
    return None if region is None else float(region.mean())


def require_inside(boxes: tuple[Box, ...], size: tuple[int, int]) -> None:
    """Raise ImageError if a box exceeds a photo of this height and width."""
    height, width = size
    for x0, y0, x1, y1 in boxes:
        if x1 > width or y1 > height:
            raise ImageError(f"the photo is {width} x {height}, {SMALLER} ({x0:g}, {y0:g}, {x1:g}, {y1:g})")


def _clipped(box: Box, size: tuple[int, int]) -> Box:
    clipped = clipped_box(box, size)
    if isinstance(clipped, str):
        raise ImageError(clipped)
    return clipped


def _region(entry: Entry, size: tuple[int, int]) -> _Region:
    if entry.masks or entry.segments:
        # One at a time, to save memory: there may be many outlines, and large photos.
        region, void = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
        tight = []
        kinds: set[MaskKind] = set()
        for path in entry.masks:
            mask = _mask(path, size)
            if not mask.object.any():
                raise ImageError(EMPTY_MASK)
            region |= mask.object
            void |= mask.void
            kinds.add(mask.kind)
            tight.append(tight_box(mask.object))
        for number, text in enumerate(entry.segments, start=1):
            drawn = _drawn(text, size, f"outline {number} of {len(entry.segments)}")
            if drawn.any():
                region |= drawn
                tight.append(tight_box(drawn))
        if not tight:
            raise ImageError(EMPTY_MASK)
        kind: MaskKind = "soft" if "soft" in kinds else "labels" if "labels" in kinds else ""
        return _Region(region, np.array(tight, dtype=np.float64), void if entry.masks else None, kind)
    if entry.boxes:
        require_inside(entry.boxes, size)
        boxes = np.array(entry.boxes, dtype=np.float64)
        return _Region(rasterize(boxes, size), boxes)
    return _Region()


def _ignored(given: PixelSet, region: _Region, size: tuple[int, int]) -> Pixels | None:
    """Return the ignored pixels, or None if there are none."""
    ignored = np.zeros(size, dtype=np.bool_) if region.void is None else region.void.copy()
    for path in given.masks:
        ignored |= _mask(path, size).object
    for number, text in enumerate(given.segments, start=1):
        ignored |= _drawn(text, size, f"crowd {number} of {len(given.segments)}")
    if given.boxes:
        ignored |= rasterize(np.array(given.boxes, dtype=np.float64), size)
    if region.pixels is not None:
        ignored &= ~region.pixels
    return ignored if ignored.any() else None


def _drawn(text: str, size: tuple[int, int], where: str) -> Pixels:
    try:
        return decode_segment(text, size)
    except ImageError as error:
        raise ImageError(f"{where}: {error}") from error


def _mask(path: Path, size: tuple[int, int]) -> DecodedMask:
    try:
        mask = decode_mask(contents_of(path))
    except ImageError as error:
        raise ImageError(f"mask: {error}") from error
    if mask.object.shape != size:
        height, width = mask.object.shape
        raise ImageError(f"the mask is {width} x {height}, the photo {size[1]} x {size[0]} (width x height, upright)")
    return mask


def contents_of(path: Path) -> bytes:
    """Return the contents of a file of at most 2 GB.

    Raises:
        ImageError: the file is missing, larger, no regular file, or cannot be read.
    """
    size_bytes, _, problem = file_facts(path)
    if problem:
        raise ImageError(problem)
    if size_bytes > _LARGEST_BYTES:
        raise ImageError(f"the file has {size_bytes:,} bytes; 2 GB at most are read")
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot be read: {_system_reason(error)}") from error


def _system_reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
