"""Images that stand in files: what planning looks at, and how one is read."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.decode import decode_mask, decode_photo
from evalkit.datasets.geometry import rasterize, tight_box
from evalkit.datasets.image import UNLABELLED, LabelledImage
from evalkit.datasets.image_set import Box, Entry
from evalkit.errors import ImageError

__all__ = ["file_facts", "read_from_file", "require_inside"]


def file_facts(path: Path) -> tuple[int, int, str]:
    """Look at a photo's file without reading it.

    Returns:
        Its size in bytes, its time of change in nanoseconds, and why it cannot be read (empty if it can).
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0, "file is missing"
    except (OSError, ValueError) as error:
        return 0, 0, f"cannot be read: {_system_reason(error)}"
    return found.st_size, found.st_mtime_ns, "" if stat.S_ISREG(found.st_mode) else "not a file"


def read_from_file(entry: Entry) -> LabelledImage:
    """Read a photo and its truth at the photo's own size.

    With masks the region is their union and exact, and the boxes are the masks' tight boxes; else the region is drawn
    from the boxes by pixel centers.

    Raises:
        ImageError: the photo or a mask is missing, damaged, empty or of the wrong size, or the photo is smaller than
            its box.
    """
    if entry.path is None:
        raise ImageError("no file is known")
    data = _contents(entry.path)
    pixels = decode_photo(data)
    size = (pixels.shape[0], pixels.shape[1])
    class_index = UNLABELLED if entry.class_index is None else entry.class_index
    region, boxes = _truth(entry, size)
    return LabelledImage(
        id=entry.id,
        pixels=pixels,
        class_index=class_index,
        label=entry.label,
        region=region,
        boxes=boxes,
        exact=bool(entry.masks),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def require_inside(boxes: tuple[Box, ...], size: tuple[int, int]) -> None:
    """Raise ImageError if a box reaches beyond a photo of this height and width."""
    height, width = size
    for x0, y0, x1, y1 in boxes:
        if x1 > width or y1 > height:
            raise ImageError(f"the photo is {width} x {height}, smaller than its box ({x0:g}, {y0:g}, {x1:g}, {y1:g})")


def _truth(entry: Entry, size: tuple[int, int]) -> tuple[NDArray[np.bool_] | None, NDArray[np.float64] | None]:
    if entry.masks:
        masks = [_mask(path, size) for path in entry.masks]
        return np.logical_or.reduce(masks), np.array([tight_box(mask) for mask in masks], dtype=np.float64)
    if entry.boxes:
        require_inside(entry.boxes, size)
        boxes = np.array(entry.boxes, dtype=np.float64)
        return rasterize(boxes, size), boxes
    return None, None


def _mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        mask = decode_mask(_contents(path))
    except ImageError as error:
        raise ImageError(f"mask: {error}") from error
    if mask.shape != size:
        raise ImageError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]}, the photo {size[1]} x {size[0]} (width x height, upright)"
        )
    if not mask.any():
        raise ImageError("mask is empty")
    return mask


def _contents(path: Path) -> bytes:
    _, _, problem = file_facts(path)
    if problem:
        raise ImageError(problem)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {_system_reason(error)}") from error


def _system_reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
