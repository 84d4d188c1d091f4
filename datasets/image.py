"""One labelled image: the noun that explainers and metrics work on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNLABELLED", "LabelledImage"]

UNLABELLED = -1


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """A photo, its class and, where known, the place of the object.

    ``region is None`` means that nobody said where the object is. A region without a True pixel means that it was
    said, but that nothing of it is left at this size or in this crop; ``boxes`` may then have no row.

    Attributes:
        id: unique within the set; for files the path as written in the manifest or relative to the folder, posix.
        pixels: uint8 (H, W, 3), RGB, 0..255.
        class_index: the model's output that the label stands for; -1 when unlabelled.
        label: the class in words; may be empty.
        region: bool (H, W), the object's pixels if ``exact``, else the pixels whose centers lie in a box.
        boxes: float64 (K, 4), x0, y0, x1, y1 in pixels, half-open; None exactly where ``region`` is None.
        exact: the region is the object's own pixels, not the union of its boxes.
        pixel_size: how many of the photo's own pixels one pixel of ``pixels`` spans, (down, across).
        sha256: of the photo's file contents; for arrays of the shape and the pixels.
        ignore: bool (H, W), pixels that are neither the object nor its surroundings, none of them in ``region``; None
            where there are none.
        outputs: the model's outputs that the label stands for, where they are several; ``class_index`` is the first.
    """

    id: str
    pixels: NDArray[np.uint8]
    class_index: int
    label: str
    region: NDArray[np.bool_] | None = None
    boxes: NDArray[np.float64] | None = None
    exact: bool = False
    pixel_size: tuple[float, float] = (1.0, 1.0)
    sha256: str = ""
    ignore: NDArray[np.bool_] | None = None
    outputs: tuple[int, ...] = ()

    @property
    def targets(self) -> tuple[int, ...]:
        """Every output of the model that the label stands for: one, unless a class map says otherwise."""
        return self.outputs or (self.class_index,)

    @property
    def place(self) -> str:
        """Where the object is said to be, as 16 hexadecimal digits of boxes, mask and ignored pixels; may be empty."""
        if self.boxes is None or self.region is None:
            return ""
        digest = hashlib.sha256(repr(self.boxes.tolist()).encode())
        if self.exact:
            digest.update(_packed(self.region))
        if self.ignore is not None:
            digest.update(b"ignore" + _packed(self.ignore))
        return digest.hexdigest()[:16]

    @property
    def object_share(self) -> float | None:
        """The share of the image that its largest box takes, 0..1; None without a region."""
        if self.boxes is None:
            return None
        height, width = self.pixels.shape[:2]
        sides = np.clip(self.boxes, 0, [width, height, width, height]).reshape(-1, 2, 2)
        return float((sides[:, 1] - sides[:, 0]).prod(axis=1).max(initial=0.0) / (height * width))


def _packed(pixels: NDArray[np.bool_]) -> bytes:
    return repr(pixels.shape).encode() + np.packbits(pixels).tobytes()
