"""What images add to set-level metrics: packed in the database, in the smallest type in memory.

A packed array is one byte for its type, four for its length (little-endian), and its numbers: flags as bits, others
compressed by zlib if that is shorter. A zero byte is added where the length would be a multiple of eight. Older runs
hold plain float64, whose length always is one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Statistics", "pack", "unpack"]

Floats = NDArray[np.float64]
Indices = Sequence[int] | NDArray[np.int64]
_TYPES = tuple(np.dtype(text) for text in ("<u1", "<u2", "<u4", "<f8"))  # the position is in the packed byte
_FLOAT = _TYPES[-1]
_BITS = len(_TYPES)  # the position of flags, which are uint8 in memory
_COMPRESSED = 16  # added to the position
_HEADER = struct.Struct("<BI")
_LEVEL = 1  # of zlib: higher ones save a tenth and take three times as long


def pack(numbers: Floats) -> bytes:
    """Pack numbers without loss, whole numbers in the smallest type that holds all of them.

    Args:
        numbers: float64 (K,); NaN, infinity and -0.0 are kept.
    """
    kind = _smallest(numbers)
    if kind == 0 and numbers.max() <= 1:
        return _padded(_HEADER.pack(_BITS, numbers.size) + np.packbits(numbers.astype(np.bool_)).tobytes())
    plain = numbers.astype(_TYPES[kind]).tobytes()
    packed = zlib.compress(plain, _LEVEL)
    if len(packed) < len(plain):
        kind, plain = kind + _COMPRESSED, packed
    return _padded(_HEADER.pack(kind, numbers.size) + plain)


def _padded(blob: bytes) -> bytes:
    return blob if len(blob) % 8 else blob + b"\0"


def _smallest(numbers: Floats) -> int:
    """Return the position of the smallest type that holds the numbers exactly."""
    whole = numbers.size and not np.signbit(numbers).any() and numbers.max() < 2**32
    if whole and (np.trunc(numbers) == numbers).all():  # NaN is not below 2**32
        return int(np.searchsorted([2.0**8, 2.0**16], numbers.max(), side="right"))
    return len(_TYPES) - 1


def unpack(blobs: Sequence[bytes]) -> NDArray[Any]:
    """Return the numbers of packed arrays of one length, (n, K), in the smallest type that all of them have.

    Raises:
        ValueError: bytes are damaged, or arrays have other lengths than the first.
    """
    if not all(len(blob) % 8 and blob[0] == _BITS for blob in blobs):
        return _of_types(blobs)
    counts = {_HEADER.unpack_from(blob)[1] for blob in set(blobs)} if min(map(len, blobs)) > _HEADER.size else set()
    rows = np.frombuffer(b"".join(blobs), dtype=np.uint8)
    size = len(blobs[0])
    if len(counts) != 1 or len(rows) != size * len(blobs) or (size - _HEADER.size) * 8 < max(counts):
        raise ValueError("flags of several lengths")
    return np.unpackbits(rows.reshape(-1, size)[:, _HEADER.size :], axis=1, count=counts.pop())


def _of_types(blobs: Sequence[bytes]) -> NDArray[Any]:
    """Return ``unpack`` of arrays that are not all flags."""
    kinds, parts = zip(*map(_opened, blobs), strict=True)
    widest = _TYPES[max(kinds)]
    sizes = {*zip(kinds, map(len, parts), strict=True)}
    if len({size // _TYPES[kind].itemsize for kind, size in sizes}) > 1:
        raise ValueError("arrays of several lengths")
    if len(set(kinds)) == 1:
        numbers = np.frombuffer(b"".join(parts), dtype=widest)
    else:
        arrays = [np.frombuffer(part, dtype=_TYPES[kind]) for kind, part in zip(kinds, parts, strict=True)]
        numbers = np.concatenate([array.astype(widest, copy=False) for array in arrays])
    return numbers.reshape(len(blobs), -1)


def _opened(blob: bytes) -> tuple[int, bytes]:
    """Return the position of a packed array's type, uint8 for flags, and its plain bytes."""
    if not len(blob) % 8:
        return len(_TYPES) - 1, blob
    try:
        kind, count = _HEADER.unpack_from(blob)
        body = memoryview(blob)[_HEADER.size :]
        if kind == _BITS:
            return 0, np.unpackbits(np.frombuffer(body, dtype=np.uint8))[:count].tobytes()
        size = count * _TYPES[kind % _COMPRESSED].itemsize
        plain = zlib.decompress(body, bufsize=size) if kind >= _COMPRESSED else bytes(body[:size])
    except (struct.error, zlib.error, IndexError) as error:
        raise ValueError(str(error)) from error
    if len(plain) != size:
        raise ValueError(f"{len(plain)} bytes instead of {size}")
    return kind % _COMPRESSED, plain


class Statistics:
    """What each image adds to a set-level metric, of every explainer.

    Indexed by image and explainer it is float64, with rows of NaN where nothing was scored.

    Attributes:
        numbers: (N, E, K) in the smallest type; any numbers where nothing was scored.
        scored: bool (N, E).
    """

    def __init__(self, numbers: NDArray[Any], scored: NDArray[np.bool_]) -> None:
        """See the class."""
        self.numbers, self.scored = numbers, scored

    @classmethod
    def of(cls, numbers: Floats | Statistics) -> Statistics:
        """Return the statistics of float64 (N, E, K), NaN = not scored."""
        if isinstance(numbers, Statistics):
            return numbers
        return cls(numbers, np.asarray(np.isfinite(numbers).all(axis=2)))

    @classmethod
    def empty(cls, n_images: int, n_explainers: int, size: int) -> Self:
        """Return statistics of which nothing is scored."""
        scored = np.zeros((n_images, n_explainers), dtype=np.bool_)
        return cls(np.zeros((*scored.shape, size), dtype=_TYPES[0]), scored)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of images, explainers and numbers."""
        n_images, n_explainers, size = self.numbers.shape
        return n_images, n_explainers, size

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.numbers)

    def put(self, images: Indices, explainers: Indices, numbers: NDArray[Any]) -> None:
        """Set the numbers (n, K) of some cells; the array takes a larger type if it must.

        Raises:
            ValueError: another length.
        """
        if numbers.shape[1] != self.numbers.shape[2]:
            raise ValueError(f"{numbers.shape[1]} numbers instead of {self.numbers.shape[2]}")
        if numbers.dtype.itemsize > self.numbers.itemsize:
            self.numbers = self.numbers.astype(numbers.dtype)
        self.numbers[images, explainers] = numbers
        self.scored[images, explainers] = True if numbers.dtype != _FLOAT else np.isfinite(numbers).all(axis=1)

    def rows_of(self, explainer: int, rows: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the numbers of one explainer on some images, all of them scored, (n, K) as they are in memory."""
        return np.asarray(self.numbers[rows, explainer])

    def __getitem__(self, index: Any) -> Floats:  # noqa: ANN401 - any index of NumPy
        """Return numbers as float64, NaN where nothing was scored."""
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) > 2 or any(part is Ellipsis or part is None for part in parts):
            return np.asarray(np.asarray(self)[index])
        return _as_floats(self.numbers[parts], self.scored[parts])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401 - NumPy's protocol
        """Return all numbers as float64 (N, E, K), NaN where nothing was scored."""
        return _as_floats(self.numbers, self.scored).astype(dtype or _FLOAT, copy=False)

    def columns(self, explainers: Sequence[int]) -> Statistics:
        """Return those of some explainers, without a copy if they are adjacent."""
        first, beyond = min(explainers, default=0), max(explainers, default=-1) + 1
        adjacent = list(explainers) == list(range(first, beyond))
        chosen = slice(first, beyond) if adjacent else list(explainers)
        return Statistics(self.numbers[:, chosen], self.scored[:, chosen])

    def mean(self, rows: NDArray[np.bool_]) -> Floats:
        """Return the mean over some images, float64 (E, K), without a copy; undefined where one is not scored."""
        return np.asarray(np.mean(self.numbers, axis=0, where=rows[:, None, None]))


def _as_floats(numbers: NDArray[Any], scored: NDArray[np.bool_]) -> Floats:
    floats = numbers.astype(np.float64)
    floats[~scored] = np.nan
    return floats
