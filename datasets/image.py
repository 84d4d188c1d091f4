"""One labelled image, the input of explainers and metrics."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.mask_levels import MaskKind

__all__ = ["UNLABELLED", "Cue", "LabelledImage", "Pixels"]

Pixels = NDArray[np.uint8 | np.float32]

UNLABELLED = -1


@dataclass(frozen=True, eq=False)
class Cue:
    """A shortcut in an image: pixels outside the object that tell a class.

    Attributes:
        mask: bool (H, W), the pixels of the cue, none of them in the object; none is True if nothing of it is left.
        without: the image without the cue, of the shape and type of the image's ``pixels``.
        label: name of the class that the cue tells; empty if unknown.
        without_object: the image with the cue and without the object; None if there is no such image.
    """

    mask: NDArray[np.bool_]
    without: Pixels
    label: str = ""
    without_object: Pixels | None = None


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image, its class and, if known, the region of the object.

    ``region is None`` means that the region is unknown. A region without a True pixel means that nothing of a known
    region is left at this size or in this crop; ``boxes`` may then have no row.

    Attributes:
        id: unique within the set; for files the path as written in the manifest or relative to the folder, posix.
        pixels: uint8 or float32 (H, W, C), 0..255; of a photo from a file uint8 (H, W, 3), RGB.
        class_index: index of the model's output for the label; -1 if unlabelled.
        label: name of the class; may be empty.
        region: bool (H, W), an exact mask if ``exact``, else the pixels whose centers lie in a box.
        boxes: float64 (K, 4), x0, y0, x1, y1 in pixels, half-open; None if and only if ``region`` is None.
        exact: whether the region is a mask or an outline, not the union of its boxes; also of a mask that was
            thresholded, see ``mask_kind``.
        pixel_size: number of the photo's own pixels in one pixel of ``pixels``, (down, across).
        sha256: sha256 of the photo's file contents; for arrays of shape and pixels.
        ignore: bool (H, W), pixels that are neither object nor background, none of them in ``region``; None if there
            are none.
        outputs: the model's outputs for the label if there are several; ``class_index`` is the first; else empty.
        mask_kind: how the gray values of the mask's file were read: ``soft`` if they were thresholded at half,
            ``labels`` if all of several values belong to the object; else empty.
        own_channels: what RGB cannot hold of a photo, for models that take these channels: gray of 16 bits as float32
            (H, W, 1) in 0..255, or RGBA as uint8 (H, W, 4); None if nothing is lost.
        cue: a shortcut that is known to be in the image; None without one.
    """

    id: str
    pixels: Pixels
    class_index: int
    label: str
    region: NDArray[np.bool_] | None = None
    boxes: NDArray[np.float64] | None = None
    exact: bool = False
    pixel_size: tuple[float, float] = (1.0, 1.0)
    sha256: str = ""
    ignore: NDArray[np.bool_] | None = None
    outputs: tuple[int, ...] = ()
    mask_kind: MaskKind = ""
    own_channels: Pixels | None = None
    cue: Cue | None = None

    @property
    def targets(self) -> tuple[int, ...]:
        """The model's outputs for the label: one, unless a class map gives several."""
        return self.outputs or (self.class_index,)

    @property
    def place(self) -> str:
        """The digest of boxes, mask and ignored pixels, 16 hexadecimal digits; empty without a region."""
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
        """The fraction of the image that the object's largest box covers, 0..1; None without a region."""
        if self.boxes is None:
            return None
        height, width = self.pixels.shape[:2]
        sides = np.clip(self.boxes, 0, [width, height, width, height]).reshape(-1, 2, 2)
        return float((sides[:, 1] - sides[:, 0]).prod(axis=1).max(initial=0.0) / (height * width))


def _packed(pixels: NDArray[np.bool_]) -> bytes:
    return repr(pixels.shape).encode() + np.packbits(pixels).tobytes()
