"""Saliency maps on disk: ``maps/<image>.npz``, one file of all maps that were computed of an image together.

The file is a zip archive that ``numpy.load`` opens; each map is float32 (H, W) under its explainer's text, or float16
if maps are kept for pictures only. The database has the sha256 of every map's float32 ``.npy`` form. Older runs have
one file a map, ``maps/<explainer>/<image>.npy``; they are read, and ``save_map`` writes them for other programs.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.signature import digest
from evalkit.store.files import sha256_of, write_bytes

__all__ = [
    "PARTIAL",
    "SavedMap",
    "as_float16",
    "as_float32",
    "image_file",
    "is_map_name",
    "load_map",
    "map_is_there",
    "map_path",
    "npy_bytes",
    "remove_file",
    "save_map",
    "save_maps",
]

PARTIAL = ".partial"  # folder of files being written, the only ones that a killed process leaves behind
_MAPS = "maps"
_NAME_LIMIT = 80
_SMALL, _LARGE = 1e-30, 1e30  # well inside the range of float32
# Maps of noise take half a millisecond to compress by a tenth; those of patches become forty times smaller.
_LEVEL, _SAMPLE, _WORTH = 1, 4096, 0.6


class SavedMap(NamedTuple):
    """A map's file, its sha256, and the file's size in bytes."""

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


def as_float16(saliency_map: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return a map as float16, divided by a power of two so that the largest value is 0.5 to 1: enough for pictures."""
    largest = float(np.abs(saliency_map[np.isfinite(saliency_map)]).max(initial=0))
    return np.ldexp(saliency_map, -int(np.frexp(largest)[1])).astype(np.float16)


def image_file(image_id: str, used: Collection[str] = ()) -> str:
    """Return the path, inside the run folder, of a new file for maps of an image.

    Args:
        image_id: any text; the path is readable and unique for it.
        used: the files that hold other maps of the image, which stay.

    >>> image_file("cats/a b.jpg")
    'maps/cats_a_b.jpg-c297773c.npz'
    >>> image_file("cats/a b.jpg", used=["maps/cats_a_b.jpg-c297773c.npz"])
    'maps/cats_a_b.jpg-c297773c-2.npz'
    """
    stem = f"{_MAPS}/{_safe(image_id)}-{digest(image_id, 8)}"
    names = (f"{stem}.npz" if number == 1 else f"{stem}-{number}.npz" for number in range(1, len(used) + 2))
    return next(name for name in names if name not in used)


def map_path(explainer: str, image_id: str) -> str:
    """Return the path of a single map, which is readable and unique for any texts.

    >>> map_path("occlusion(patch_size=40)", "cats/a b.jpg")
    'maps/occlusion(patch_size=40)/cats_a_b.jpg-c297773c.npy'
    """
    folder = _safe(explainer)
    if folder != explainer.replace(", ", ",_"):  # other texts may have the same safe form
        folder = f"{folder}-{digest(explainer, 8)}"
    return f"{_MAPS}/{folder}/{_safe(image_id)}-{digest(image_id, 8)}.npy"


def is_map_name(name: str) -> bool:
    """Return whether a file name has the form of evalkit's maps."""
    return re.search(r"-[0-9a-f]{8}(-[0-9]+\.npz|\.np[yz])$", name) is not None


def _safe(text: str) -> str:
    return (re.sub(r"[^\w.,=()-]+", "_", text).strip("._") or "_")[:_NAME_LIMIT]


def npy_bytes(saliency_map: NDArray[np.generic]) -> bytes:
    """Return a map as the contents of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, saliency_map, allow_pickle=False)
    return buffer.getvalue()


def save_map(root: Path, relative: str, saliency_map: NDArray[np.floating]) -> SavedMap:
    """Write one map as a ``.npy`` file, float32 (H, W), atomically."""
    data = npy_bytes(saliency_map.astype(np.float32))
    write_bytes(root / relative, data, by_way_of=root / PARTIAL)
    return SavedMap(relative, sha256_of(data), len(data))


def save_maps(root: Path, relative: str, maps: Mapping[str, bytes]) -> int:
    """Write the maps of an image as one ``.npz`` file, atomically and with one sync; return its size in bytes.

    Args:
        root: the run folder.
        relative: path of the file inside it, from ``image_file``.
        maps: ``npy_bytes`` of each map, by its explainer's text.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for explainer, data in maps.items():
            middle = len(data) // 2
            sample = data[middle : middle + _SAMPLE]
            worth = len(zlib.compress(sample, _LEVEL)) < _WORTH * len(sample)
            entry = zipfile.ZipInfo(_entry(explainer))  # of no date, so that equal maps give equal files
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED if worth else zipfile.ZIP_STORED, _LEVEL)
    contents = buffer.getvalue()
    write_bytes(root / relative, contents, by_way_of=root / PARTIAL)
    return len(contents)


def _entry(explainer: str) -> str:
    return f"{explainer}.npy"


def map_is_there(root: Path, relative: str, size_bytes: int) -> bool:
    """Return whether a file of maps exists and has its full size; its contents are checked when it is read."""
    try:
        return os.stat(root / relative).st_size == size_bytes  # noqa: PTH116 - twice as fast, a hundred thousand times
    except OSError:
        return False


def load_map(
    root: Path, relative: str, sha256: str, explainer: str, *, exact: bool = False
) -> NDArray[np.float32] | None:
    """Read one map, float32 (H, W).

    Args:
        root: the run folder.
        relative: its file; empty = it was not kept.
        sha256: sha256 of its float32 ``.npy`` form; one in float16 is checked by the archive's own sum.
        explainer: its explainer's text.
        exact: whether a map that is kept in float16, for pictures, counts as not kept.

    Returns:
        None if the map was not kept, or its file is missing or damaged.
    """
    data = _contents(root / relative, explainer) if relative else None
    if data is None:
        return None
    whole = sha256_of(data) == sha256
    try:
        saliency_map = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError):
        return None
    usable = whole or (saliency_map.dtype == np.float16 and not exact)
    return np.asarray(saliency_map, dtype=np.float32) if usable else None


def _contents(path: Path, explainer: str) -> bytes | None:
    """Return the ``.npy`` form of a stored map; None if it is missing or damaged."""
    try:
        if path.suffix == ".npy":
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            return archive.read(_entry(explainer))
    except UnicodeEncodeError:  # the system's encoding lacks a letter of the name: not damaged, and said
        raise
    except (OSError, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None  # a flipped bit of an archive can raise any of these


def remove_file(root: Path, relative: str) -> None:
    """Remove a file whose maps have all been replaced; never through a link, nor a file of another name."""
    path, maps = root / relative, (root / _MAPS).resolve()
    parent = path.resolve().parent
    if is_map_name(path.name) and maps in (parent, parent.parent):
        path.unlink(missing_ok=True)
