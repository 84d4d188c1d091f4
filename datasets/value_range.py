"""The range of pixels in a dataset: stated, or known for certain; and their conversion to 0..255."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, DataError
from evalkit.datasets.image import Pixels

__all__ = ["ValueRange", "checked_range", "known_range"]

_WHOLE = 1e-3  # how far from a whole number rounding of x / 255 leaves it
_SURELY_ABOVE_1 = 16.0  # images in 0..1 exceed 1 after bicubic resizing or a change of brightness
_SLACK = 1e-3  # of the range; resizing can exceed it by rounding


class ValueRange(NamedTuple):
    """The values of black and white."""

    black: float
    white: float

    def to_pixels(self, values: NDArray[Any]) -> Pixels:
        """Return values as pixels in 0..255: uint8 if all are whole numbers then, else float32.

        Raises:
            DataError: a value is outside the range.
        """
        low, high = float(values.min()), float(values.max())
        slack = _SLACK * (self.white - self.black)
        if not (self.black - slack <= low and high <= self.white + slack):
            raise DataError(
                f"values from {low:g} to {high:g} are outside value_range=({self.black:g}, {self.white:g}); give the "
                "values of black and white"
            )
        scaled = np.asarray((values.astype(np.float32) - self.black) * (255 / (self.white - self.black)), np.float32)
        scaled = scaled.clip(0, 255)
        whole = np.rint(scaled)
        return whole.astype(np.uint8) if float(np.abs(scaled - whole).max()) < _WHOLE else scaled


def checked_range(given: object) -> ValueRange | None:
    """Return the argument ``value_range``; None if it is not given.

    Raises:
        ConfigError: not two numbers, black before white.
    """
    if given is None:
        return None
    try:
        black, white = (float(value) for value in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        black = white = np.nan
    if not (np.isfinite([black, white]).all() and black < white):
        raise ConfigError(f"value_range={given!r} is not allowed; give the values of black and white, e.g. (0, 1)")
    return ValueRange(black, white)


def known_range(dtype: np.dtype[Any], low: float, high: float, name: str) -> tuple[ValueRange, str]:
    """Return the range of pixels of which the smallest and the largest value are known, and a sentence about it.

    Args:
        dtype: their type.
        low: the smallest value.
        high: the largest value.
        name: the name of the set.

    Raises:
        DataError: the range cannot be known for certain.
    """
    if dtype == np.uint8:
        return ValueRange(0, 255), ""
    if low >= 0 and _SURELY_ABOVE_1 < high <= 255:
        return ValueRange(0, 255), f"{name}: pixels are {dtype} from {low:g} to {high:g}, taken as 0..255"
    raise DataError(
        f"{name}: pixels are {dtype} from {low:g} to {high:g}, which does not say what black and white are; give "
        "value_range=(0, 1), (-1, 1) or (0, 255)"
    )
