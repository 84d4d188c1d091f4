"""From a photo to the model's input: pixels, boxes and masks are resized together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from evalkit.core.boxes import rasterize
from evalkit.core.errors import ConfigError, nearest
from evalkit.core.resizing import resized
from evalkit.datasets.channels import in_channels
from evalkit.datasets.image import Cue, LabelledImage, Pixels

__all__ = ["DEFAULT_GEOMETRY", "Geometry", "fit", "geometry_of", "seen_window", "tight_box"]

Geometry = Literal["squash", "center-crop"]
DEFAULT_GEOMETRY: Geometry = "squash"


@dataclass(frozen=True)
class _Axis:
    """The affine map of one axis, ``fitted = photo * numerator / denominator - offset``.

    All are whole numbers, so that an edge on a pixel center is computed exactly.

    Attributes:
        source: length of the photo in its own pixels.
        target: length of the fitted image in its pixels.
        numerator: number of fitted pixels that ``denominator`` photo pixels become.
        denominator: number of photo pixels that become ``numerator`` fitted pixels.
        offset: number of fitted pixels cut off at the start.
    """

    source: int
    target: int
    numerator: int
    denominator: int
    offset: int

    @property
    def pixel_size(self) -> float:
        """The number of photo pixels in one fitted pixel."""
        return self.denominator / self.numerator

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes along this axis."""
        return self.source == self.target and self.numerator == self.denominator

    def window(self) -> tuple[float, float]:
        """Return the start and end of the visible part of the photo, in photo pixels."""
        start = self.offset * self.denominator / self.numerator
        end = (self.offset + self.target) * self.denominator / self.numerator
        return start, min(end, self.source)

    def to_fitted(self, photo: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return photo coordinates in the fitted image, clipped to its frame."""
        moved = photo * self.numerator / self.denominator - self.offset
        return np.asarray(np.clip(moved, 0, self.target), dtype=np.float64)

    def sampled(self) -> NDArray[np.int64]:
        """Return for each fitted pixel the photo pixel that contains its center, int64 (target,)."""
        twice_center = 2 * np.arange(self.target, dtype=np.int64) + 1 + 2 * self.offset
        return twice_center * self.denominator // (2 * self.numerator)


def fit(image: LabelledImage, size: tuple[int, int], geometry: Geometry, channels: int | None = None) -> LabelledImage:
    """Resize a labelled image, with its region, to the model's input size, and give it the model's channels.

    ``squash`` resizes height and width independently. ``center-crop`` scales both by ``max(height / H, width / W)`` and
    keeps the middle, from a whole pixel of the result on (as resizing the shorter side and cropping does). The photo is
    resampled once, by Pillow's antialiased bilinear filter, each channel on its own (alpha too); a photo of the right
    size keeps its bytes.

    Boxes are scaled as floats and clipped to the frame; those outside it are dropped. The region is rasterized again
    from the boxes by pixel centers; an exact region, and ignored pixels, are sampled at the pixel centers. If nothing
    of the region is left, ``region`` is all False and ``boxes`` has the rows that are left, or none: neither is None.

    Args:
        image: image of any size.
        size: height and width in pixels.
        geometry: ``squash`` or ``center-crop``.
        channels: the number of channels, see ``in_channels``; None keeps those of ``pixels``.

    Returns:
        The image with pixels uint8 or float32 (height, width, C), its region on the same grid, and ``pixel_size``
        multiplied by the number of photo pixels in one of its pixels.

    Raises:
        ConfigError: an unknown geometry, or a size below 1 x 1.
        ImageError: the image cannot get this number of channels.
    """
    down, across = _axes(image.pixels.shape[:2], size, geometry)
    pixels = _resample(image.pixels if channels is None else in_channels(image, channels), down, across)
    boxes = None if image.boxes is None else _fit_boxes(image.boxes, down, across)
    region = image.region
    if region is not None and (image.exact or boxes is None):
        region = region[np.ix_(down.sampled(), across.sampled())]
    elif boxes is not None:
        region = rasterize(boxes, size)
    ignore = image.ignore
    if ignore is not None:
        ignore = ignore[np.ix_(down.sampled(), across.sampled())]
        # The border of a box can move by a pixel, and ignored pixels must stay outside the region.
        ignore = ignore if region is None else ignore & ~region
    pixel_size = (image.pixel_size[0] * down.pixel_size, image.pixel_size[1] * across.pixel_size)
    return replace(
        image,
        pixels=pixels,
        region=region,
        boxes=boxes,
        pixel_size=pixel_size,
        ignore=ignore,
        own_channels=None,
        cue=None if image.cue is None else _fit_cue(image, image.cue, down, across, channels),
    )


def seen_window(
    photo_size: tuple[int, ...], size: tuple[int, ...], geometry: Geometry
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the part of a photo that the model sees after ``fit``.

    Args:
        photo_size: height and width of the photo in pixels.
        size: height and width of the model's input in pixels.
        geometry: ``squash`` or ``center-crop``.

    Returns:
        (top, bottom), (left, right), in photo pixels, half-open.

    Raises:
        ConfigError: as ``fit``.
    """
    down, across = _axes(photo_size, (size[0], size[1]), geometry)
    return down.window(), across.window()


def geometry_of(name: str | None) -> Geometry:
    """Return the geometry of a name, or the default for None.

    Raises:
        ConfigError: the name is unknown.
    """
    if name is None:
        return DEFAULT_GEOMETRY
    for geometry in get_args(Geometry):
        if name == geometry:
            return cast("Geometry", geometry)
    raise ConfigError(f"unknown geometry '{name}': {nearest(name, get_args(Geometry))}")


def tight_box(region: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the smallest half-open box x0, y0, x1, y1 around the True pixels of a bool (H, W), which has some."""
    rows = np.flatnonzero(region.any(axis=1))
    columns = np.flatnonzero(region.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _axes(photo: tuple[int, ...], size: tuple[int, int], geometry: Geometry) -> tuple[_Axis, _Axis]:
    height, width = size
    if min(height, width) < 1:
        raise ConfigError(f"an image of {height} x {width} pixels is not allowed; give 1 x 1 or more")
    rows, columns = photo
    if geometry_of(geometry) == "squash":
        return _Axis(rows, height, height, rows, 0), _Axis(columns, width, width, columns, 0)
    # The axis with the larger factor is not cropped; compared without division, so that ties are exact.
    numerator, denominator = (height, rows) if height * columns >= width * rows else (width, columns)
    return (
        _centered(rows, height, numerator, denominator),
        _centered(columns, width, numerator, denominator),
    )


def _centered(source: int, target: int, numerator: int, denominator: int) -> _Axis:
    offset = (source * numerator - target * denominator) // (2 * denominator)
    return _Axis(source, target, numerator, denominator, offset)


def _resample(pixels: Pixels, down: _Axis, across: _Axis) -> Pixels:
    if down.is_identity and across.is_identity:
        return pixels
    (top, bottom), (left, right) = down.window(), across.window()
    return resized(pixels, (down.target, across.target), (left, top, right, bottom))


def _fit_cue(image: LabelledImage, cue: Cue, down: _Axis, across: _Axis, channels: int | None) -> Cue:
    def fitted(pixels: Pixels) -> Pixels:
        twin = replace(image, pixels=pixels, own_channels=None)
        return _resample(pixels if channels is None else in_channels(twin, channels), down, across)

    return replace(
        cue,
        mask=cue.mask[np.ix_(down.sampled(), across.sampled())],
        without=fitted(cue.without),
        without_object=None if cue.without_object is None else fitted(cue.without_object),
    )


def _fit_boxes(boxes: NDArray[np.float64], down: _Axis, across: _Axis) -> NDArray[np.float64]:
    moved = np.empty_like(boxes)
    moved[:, 0::2] = across.to_fitted(boxes[:, 0::2])
    moved[:, 1::2] = down.to_fitted(boxes[:, 1::2])
    seen = (moved[:, 0] < moved[:, 2]) & (moved[:, 1] < moved[:, 3])
    return moved[seen]
