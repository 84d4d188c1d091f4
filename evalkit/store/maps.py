"""Saliency maps on disk: ``maps/<explainer>/<image>.npy``, float32, checked by a sum kept in the database."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.signature import digest
from evalkit.store.files import sha256_of, write_bytes

__all__ = ["load_map", "map_path", "save_map"]

_NAME_LIMIT = 80


def map_path(explainer: str, image_id: str) -> str:
    """Return where a map lies inside the run folder: legible, and unique for any text.

    >>> map_path("occlusion(patch_size=40)", "cats/a b.jpg")
    'maps/occlusion(patch_size=40)/cats_a_b.jpg-c297773c.npy'
    """
    return f"maps/{_safe(explainer)}/{_safe(image_id)}-{digest(image_id, 8)}.npy"


def _safe(text: str) -> str:
    cleaned = re.sub(r"[^\w.,=()-]+", "_", text).strip("._") or "_"
    return cleaned if len(cleaned) <= _NAME_LIMIT else f"{cleaned[:_NAME_LIMIT]}-{digest(text, 8)}"


def save_map(root: Path, relative: str, saliency_map: NDArray[np.floating]) -> str:
    """Write one map as float32 (H, W) and return the sha256 of the file."""
    buffer = io.BytesIO()
    np.save(buffer, saliency_map.astype(np.float32), allow_pickle=False)
    write_bytes(root / relative, buffer.getvalue())
    return sha256_of(buffer.getvalue())


def load_map(root: Path, relative: str, sha256: str) -> NDArray[np.float32] | None:
    """Read one map, float32 (H, W); None if the file is gone or is not the one that was written."""
    try:
        data = (root / relative).read_bytes()
    except OSError:
        return None
    if sha256_of(data) != sha256:
        return None
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False), dtype=np.float32)
