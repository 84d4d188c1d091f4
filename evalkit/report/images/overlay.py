"""A map over its photo: colors, outline of the object, frame of the model's input, the maximum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.channels import shown
from evalkit.datasets.geometry import Geometry, seen_window
from evalkit.datasets.image import Pixels
from evalkit.report.images.colormap import Scale, colored, peak_of, scale_of

__all__ = ["Overlay", "outlined", "overlay", "point_in_photo", "resized_map"]

Picture = NDArray[np.uint8]
_SMALLEST_PX, _LARGEST_PX = 480, 1024  # of the longer side; marks are readable at half the size
_DIMMED = 0.45
_WHITE, _BLACK, _FRAME = (255, 255, 255), (0, 0, 0), (150, 150, 150)


class Overlay(NamedTuple):
    """A finished overlay.

    Attributes:
        pixels: uint8 (H, W, 3), RGB.
        photo: the photo at the same size, uint8 (H, W, 3), RGB.
        scale: the color scale of the map.
        peak: (x, y) of the maximum in ``pixels``; None if there is none.
        cropped: whether the model saw only a part of the photo, which is framed.
    """

    pixels: Picture
    photo: Picture
    scale: Scale
    peak: tuple[float, float] | None
    cropped: bool


def overlay(
    photo: Pixels,
    saliency_map: NDArray[np.floating],
    *,
    geometry: Geometry = "squash",
    region: NDArray[np.bool_] | None = None,
    sides: tuple[int, int] = (_SMALLEST_PX, _LARGEST_PX),
    mark: bool = True,
) -> Overlay:
    """Draw a map over its photo.

    Args:
        photo: uint8 or float32 (H, W, C) in 0..255, at its own size; drawn as ``shown`` says.
        saliency_map: float (h, w), at the model's input size.
        geometry: how the photo was fitted to the model's input; with ``center-crop`` the map covers the middle only,
            and the rest is dim.
        region: bool (H, W), the object; outlined; None = not known.
        sides: smallest and largest longer side of the image in pixels.
        mark: whether to draw a ring around the maximum.
    """
    import cv2

    height, width = photo.shape[:2]
    factor = np.clip(max(height, width), *sides) / max(height, width)
    size = max(1, round(height * factor)), max(1, round(width * factor))
    ground = _resized(shown(photo), size)
    gray = cv2.cvtColor(ground, cv2.COLOR_RGB2GRAY)
    scale = scale_of(saliency_map)
    rows, columns = _window(photo.shape[:2], saliency_map.shape, geometry, size)
    pixels = np.repeat((gray * _DIMMED).astype(np.uint8)[..., None], 3, axis=2)
    resized = resized_map(saliency_map, (rows.stop - rows.start, columns.stop - columns.start))
    pixels[rows, columns] = colored(resized, scale, gray[rows, columns].astype(np.float64))
    cropped = (rows.stop - rows.start, columns.stop - columns.start) != size
    if cropped:
        # Drawn outside, so that no pixel of the map is hidden.
        corners = (columns.start - 1, rows.start - 1), (columns.stop, rows.stop)
        cv2.rectangle(pixels, *corners, _FRAME, 1)
    if region is not None:
        pixels = outlined(pixels, region)
    peak = peak_of(saliency_map)
    peak_at = None
    if peak is not None:
        x, y = point_in_photo(peak, saliency_map.shape, photo.shape[:2], geometry)
        peak_at = (x * size[1] / width, y * size[0] / height)
        if mark:
            _ring(pixels, peak_at)
    return Overlay(pixels, ground, scale, peak_at, cropped)


def resized_map(saliency_map: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """Resize a map without interpolation.

    Enlarged pixels keep their value; where several pixels become one, the largest is taken, so that no peak is lost.

    Args:
        saliency_map: float (h, w); may have NaN.
        size: height and width of the result.
    """
    import cv2

    kernel = [
        2 * int(np.ceil(have / want / 2)) + 1 if have > want else 1
        for have, want in zip(saliency_map.shape, size, strict=True)
    ]
    values = saliency_map.astype(np.float64)
    if max(kernel) > 1:
        broken = ~np.isfinite(values)
        values = np.asarray(cv2.dilate(np.where(broken, -np.inf, values), np.ones(kernel)), dtype=np.float64)
        values[broken] = np.nan
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT))


def point_in_photo(
    pixel: tuple[int, int], map_size: tuple[int, ...], photo_size: tuple[int, ...], geometry: Geometry
) -> tuple[float, float]:
    """Return (x, y) of the center of a map's pixel, in the photo's own pixels."""
    (top, bottom), (left, right) = seen_window(photo_size, map_size, geometry)
    return (
        left + (pixel[1] + 0.5) * (right - left) / map_size[1],
        top + (pixel[0] + 0.5) * (bottom - top) / map_size[0],
    )


def outlined(pixels: Picture, region: NDArray[np.bool_]) -> Picture:
    """Draw the outline of a region, white on black so that it is visible on any background.

    Args:
        pixels: uint8 (H, W, 3).
        region: bool, of any size.
    """
    import cv2

    height, width = pixels.shape[:2]
    mask = cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    line = max(2, round(max(height, width) / 240))
    drawn = np.ascontiguousarray(pixels)
    cv2.drawContours(drawn, contours, -1, _BLACK, line + 2)
    cv2.drawContours(drawn, contours, -1, _WHITE, line)
    return drawn


def _ring(pixels: Picture, position: tuple[float, float]) -> None:
    """Draw a ring that leaves the maximum itself free."""
    import cv2

    side = max(pixels.shape[:2])
    center = (int(position[0]), int(position[1]))
    radius, line = max(8, round(side / 40)), max(2, round(side / 240))
    cv2.circle(pixels, center, radius, _BLACK, line + 2, cv2.LINE_AA)
    cv2.circle(pixels, center, radius, _WHITE, line, cv2.LINE_AA)


def _window(
    photo_size: tuple[int, ...], map_size: tuple[int, ...], geometry: Geometry, size: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the rows and columns of the image that the model saw, at least one of each."""
    slices = []
    for (start, end), have, want in zip(seen_window(photo_size, map_size, geometry), photo_size, size, strict=True):
        first = min(round(start * want / have), want - 1)
        slices.append(slice(first, max(first + 1, round(end * want / have))))
    return slices[0], slices[1]


def _resized(photo: Picture, size: tuple[int, int]) -> Picture:
    from PIL import Image

    if photo.shape[:2] == size:
        return photo
    return np.array(Image.fromarray(photo).resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.uint8)
