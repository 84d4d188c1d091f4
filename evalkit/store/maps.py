"""Saliency maps on disk: ``maps/<explainer>/<image>.npy``, float32, with their sha256 in the database."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.signature import digest
from evalkit.store.files import sha256_of, write_bytes

__all__ = ["PARTIAL", "SavedMap", "as_float32", "is_map_name", "load_map", "map_is_there", "map_path", "save_map"]

PARTIAL = ".partial"  # folder of files being written, the only ones that a killed process leaves behind
_NAME_LIMIT = 80
_SMALL, _LARGE = 1e-30, 1e30  # well inside the range of float32


class SavedMap(NamedTuple):
    """A map's file, its sha256, and its size in bytes."""

    file: str
    sha256: str
    size_bytes: int


def as_float32(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return a map as float32; values far outside the range of float32 are divided by the largest.

    Rounding to zero or infinity would change the map; scaling changes no metric.
    """
    if values.dtype.kind == "f" and values.dtype.itemsize > np.dtype(np.float32).itemsize:
        wide = values.astype(np.longdouble)
        largest = np.abs(wide[np.isfinite(wide)]).max(initial=0)
        if largest and not _SMALL <= largest <= _LARGE:
            values = wide / largest
    return values.astype(np.float32)


def map_path(explainer: str, image_id: str) -> str:
    """Return a map's path inside the run folder, which is readable and unique for any text.

    >>> map_path("occlusion(patch_size=40)", "cats/a b.jpg")
    'maps/occlusion(patch_size=40)/cats_a_b.jpg-c297773c.npy'
    """
    folder = _safe(explainer)
    if folder != explainer.replace(", ", ",_"):  # other texts may have the same safe form
        folder = f"{folder}-{digest(explainer, 8)}"
    return f"maps/{folder}/{_safe(image_id)}-{digest(image_id, 8)}.npy"


def is_map_name(name: str) -> bool:
    """Return whether a file name has the form of evalkit's maps."""
    return re.search(r"-[0-9a-f]{8}\.npy$", name) is not None


def _safe(text: str) -> str:
    return (re.sub(r"[^\w.,=()-]+", "_", text).strip("._") or "_")[:_NAME_LIMIT]


def save_map(root: Path, relative: str, saliency_map: NDArray[np.floating]) -> SavedMap:
    """Write one map as float32 (H, W), atomically."""
    buffer = io.BytesIO()
    np.save(buffer, saliency_map.astype(np.float32), allow_pickle=False)
    data = buffer.getvalue()
    write_bytes(root / relative, data, by_way_of=root / PARTIAL)
    return SavedMap(relative, sha256_of(data), len(data))


def map_is_there(root: Path, relative: str, size_bytes: int) -> bool:
    """Return whether a map's file exists and has its full size; its contents are checked when it is read."""
    try:
        return os.stat(root / relative).st_size == size_bytes  # noqa: PTH116 - twice as fast, a hundred thousand times
    except OSError:
        return False


def load_map(root: Path, relative: str, sha256: str) -> NDArray[np.float32] | None:
    """Read one map, float32 (H, W); None if the file is missing or damaged."""
    try:
        data = (root / relative).read_bytes()
    except OSError:
        return None
    if sha256_of(data) != sha256:
        return None
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False), dtype=np.float32)
