"""The arithmetic of windows: the part of a layer that a patch can change, and the inputs of that part.

All windows of one layer have one size, so that they fit into one batch; near a border a window is shifted inward and
contains some unchanged pixels. Source: Krypton (Nakandala et al., SIGMOD 2019), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "Windows", "same_padding"]

Starts = NDArray[np.int64]


def same_padding(size: int, kernel: int, stride: int) -> int:
    """Return the pixels that ``padding="same"`` puts before an axis.

    Args:
        size: the size of the axis in pixels.
        kernel: the size of the kernel in pixels, dilation included.
        stride: the stride in pixels.
    """
    return max((-(-size // stride) - 1) * stride + kernel - size, 0) // 2


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows along one axis, one for each position.

    Attributes:
        starts: the first pixel of each window, int64 (N,); below 0 where it reaches over the border.
        length: the length of each window in pixels.
    """

    starts: Starts
    length: int

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Every window's pixels, int64 (N, length)."""
        return self.starts[:, None] + np.arange(self.length)


@dataclass(frozen=True)
class Axis:
    """How a layer maps one axis of its input to its output.

    Attributes:
        kernel: the number of pixels that one output reads, dilation included.
        stride: the distance between the first pixels of neighbors.
        before: the padding before the first pixel.
        size_in: the size of the input in pixels.
        size_out: the size of the output in pixels.
    """

    kernel: int
    stride: int
    before: int
    size_in: int
    size_out: int

    def changed(self, windows: Windows) -> Windows:
        """Return the outputs that can change when the inputs in the windows do; never over the border."""
        first = -(-(windows.starts + self.before - self.kernel + 1) // self.stride)
        last = (windows.starts + windows.length - 1 + self.before) // self.stride
        first, last = np.clip(first, 0, self.size_out - 1), np.clip(last, 0, self.size_out - 1)
        length = max(int((last - first).max()) + 1, 1)  # a patch between sampled pixels changes nothing
        return Windows(np.minimum(first, self.size_out - length), length)

    def read(self, windows: Windows) -> Windows:
        """Return the inputs of the outputs in the windows; they reach over the border where padding is read."""
        return Windows(windows.starts * self.stride - self.before, (windows.length - 1) * self.stride + self.kernel)
