"""What images add to set-level metrics: packed in the database, in the smallest type in memory.

A packed array is one byte for its type, four for its length (little-endian), and its numbers, compressed by zlib if
that is shorter; a zero byte is added where the length would be a multiple of eight. Older runs hold plain float64,
whose length always is one.
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
_TYPES = tuple(np.dtype(text) for text in ("<u1", "<u2", "<u4", "<f8"))  # the position is in the packed byte
_FLOAT = _TYPES[-1]
_COMPRESSED = 16  # added to the position
_HEADER = struct.Struct("<BI")
_LEVEL = 1  # of zlib: higher ones save a tenth and take three times as long


def pack(numbers: Floats) -> bytes:
    """Pack numbers without loss, whole numbers in the smallest type that holds all of them.

    Args:
        numbers: float64 (K,); NaN, infinity and -0.0 are kept.
    """
    kind = _smallest(numbers)
    plain = numbers.astype(_TYPES[kind]).tobytes()
    packed = zlib.compress(plain, _LEVEL)
    if len(packed) < len(plain):
        kind, plain = kind + _COMPRESSED, packed
    blob = _HEADER.pack(kind, numbers.size) + plain
    return blob if len(blob) % 8 else blob + b"\0"


def _smallest(numbers: Floats) -> int:
    """Return the position of the smallest type that holds the numbers exactly."""
    whole = numbers.size and not np.signbit(numbers).any() and numbers.max() < 2**32
    if whole and (np.trunc(numbers) == numbers).all():  # NaN is not below 2**32
        return int(np.searchsorted([2.0**8, 2.0**16], numbers.max(), side="right"))
    return len(_TYPES) - 1


def unpack(blob: bytes) -> NDArray[Any]:
    """Return the numbers of ``pack``, or plain float64 of older runs, as uint8, uint16, uint32 or float64 (K,).

    Raises:
        ValueError: the bytes are damaged.
    """
    if not len(blob) % 8:
        return np.frombuffer(blob, dtype=_FLOAT)
    try:
        kind, count = _HEADER.unpack_from(blob)
        plain = blob[_HEADER.size :]
        if kind >= _COMPRESSED:
            plain = zlib.decompressobj().decompress(plain)
        return np.frombuffer(plain, dtype=_TYPES[kind % _COMPRESSED], count=count)
    except (struct.error, zlib.error, IndexError) as error:
        raise ValueError(str(error)) from error


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

    def put(self, image: int, explainer: int, numbers: NDArray[Any]) -> None:
        """Set the numbers (K,) of one cell; the array takes a larger type if it must.

        Raises:
            ValueError: another length.
        """
        if numbers.size != self.numbers.shape[2]:
            raise ValueError(f"{numbers.size} numbers instead of {self.numbers.shape[2]}")
        if numbers.dtype.itemsize > self.numbers.itemsize:
            self.numbers = self.numbers.astype(numbers.dtype)
        self.numbers[image, explainer] = numbers
        self.scored[image, explainer] = bool(np.isfinite(numbers).all())

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
