"""Which part of every layer a patch can change, and what must be read to compute that part. Pure arithmetic.

All windows of one layer have one size, so that they fit into one batch; near a border a window is shifted inward and
holds some pixels that did not change. Source of the idea: Krypton (Nakandala et al., SIGMOD 2019), section 3.
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
        size: of the axis.
        kernel: dilation included.
        stride: pixels.
    """
    return max((-(-size // stride) - 1) * stride + kernel - size, 0) // 2


@dataclass(frozen=True, eq=False)
class Windows:
    """One window a position along one axis.

    Attributes:
        starts: int64 (N,), the first pixel of each; below 0 where a window reaches over the border.
        length: pixels, of all.
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
        kernel: pixels that one output reads, dilation included.
        stride: pixels between neighbors' first pixels.
        before: padding before the first pixel.
        size_in: pixels of the input.
        size_out: pixels of the output.
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
        """Return the inputs that the outputs in the windows are made from; over the border where padding is read."""
        return Windows(windows.starts * self.stride - self.before, (windows.length - 1) * self.stride + self.kernel)
