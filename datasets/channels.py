"""The channels of images: arrays that are checked, conversion to a model's channels, and colors for pictures."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.image import LabelledImage, Pixels

__all__ = ["GRAY", "RGB", "RGBA", "blended", "checked_pixels", "in_channels", "require_whole_range", "shown"]

GRAY, RGB, RGBA = 1, 3, 4
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow's mode L
_FORM = "give (height, width, channels) in 0..255 (RGB, not preprocessed), or (height, width) for gray"


def checked_pixels(given: object, where: str) -> Pixels:
    """Return an array as an image, uint8 or float32 (H, W, C) in 0..255; uint8 is not copied.

    Args:
        given: uint8, other whole numbers, or floats; (H, W, C), or (H, W) for gray.
        where: what messages call it.

    Raises:
        DataError: another shape or type, or values that are not in 0..255.
    """
    photo: NDArray[Any] = np.asarray(given)
    shape = photo.shape
    if photo.ndim == 2:
        photo = photo[..., None]
    if photo.ndim != 3 or photo.size == 0:
        raise DataError(f"{where}: pixels have shape {shape}; {_FORM}")
    if photo.dtype.kind not in "uif":
        raise DataError(f"{where}: pixels are {photo.dtype}; give uint8 or float32 in 0..255 (not preprocessed)")
    if photo.dtype != np.uint8:
        low, high = float(photo.min()), float(photo.max())
        if not (low >= 0 and high <= 255):
            raise DataError(
                f"{where}: pixels are {photo.dtype} from {low:g} to {high:g}; give 0..255 (not preprocessed), for "
                f"example {_scaled(photo, low)}"
            )
        photo = photo.astype(np.uint8 if photo.dtype.kind in "ui" else np.float32, copy=False)
    view = np.ascontiguousarray(photo).view()
    view.flags.writeable = False
    return view


def _scaled(photo: NDArray[Any], low: float) -> str:
    if photo.dtype.kind in "ui":
        return f"x / {np.iinfo(photo.dtype).max} * 255 as float32"
    return "(x + 1) * 127.5 if x is in -1..1" if low < 0 else "x / x.max() * 255"


def require_whole_range(images: list[Pixels], where: str) -> None:
    """Raise DataError if the images are floats that all lie in 0..1: they are hardly meant as 0..255."""
    floats = [image for image in images if image.dtype == np.float32]
    highest = max((float(image.max()) for image in floats), default=255.0)
    if len(floats) == len(images) and highest <= 1:
        raise DataError(
            f"{where}: the pixels are floats that all lie in 0..1, and evalkit takes 0..255: give x * 255, and the "
            "model's preprocessing with --preprocess; if they are nearly black images in 0..255, give uint8"
        )


def in_channels(image: LabelledImage, channels: int) -> Pixels:
    """Return an image's pixels in a model's channels, at the image's own size.

    Gray is repeated; RGB becomes gray by the luminance of ITU-R 601; RGB gets an alpha of 255; RGBA is blended with
    white where a model takes no alpha. Photos from files keep gray of 16 bits and alpha for models that take them.

    Args:
        image: the image.
        channels: the number of channels of the model's input.

    Returns:
        uint8 or float32 (H, W, channels), 0..255.

    Raises:
        ImageError: the image cannot be converted.
    """
    pixels = image.pixels
    if image.own_channels is not None and image.own_channels.shape[2] == channels:
        return image.own_channels
    given = pixels.shape[2]
    if given == channels:
        return pixels
    if (given, channels) == (GRAY, RGB):
        return np.repeat(pixels, 3, axis=2)
    if (given, channels) == (RGB, GRAY):
        return _luminance(pixels)
    if (given, channels) == (RGBA, RGB):
        return blended(pixels)
    if (given, channels) == (RGB, RGBA):
        return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, dtype=pixels.dtype)], axis=2)
    raise ImageError(f"the image has {_counted(given)}, the model takes {channels}{_hint(pixels.shape)}")


def blended(pixels: Pixels) -> Pixels:
    """Return RGBA pixels blended with white, (H, W, 3), of the same type."""
    if pixels.dtype == np.uint8:
        from PIL import Image

        image = Image.fromarray(pixels)
        white = Image.new("RGBA", image.size, "white")
        return np.array(Image.alpha_composite(white, image).convert("RGB"), dtype=np.uint8, order="C")
    alpha = pixels[..., 3:] / np.float32(255)
    return np.asarray(pixels[..., :3] * alpha + 255 * (1 - alpha), dtype=np.float32)


def shown(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels as a picture, uint8 (H, W, 3).

    Gray is repeated, RGBA is blended with white, and of any other number of channels the mean is shown as gray.

    Args:
        pixels: uint8 or float32 (H, W, C), 0..255.
    """
    whole = pixels if pixels.dtype == np.uint8 else np.rint(pixels).clip(0, 255).astype(np.uint8)
    channels = whole.shape[2]
    if channels == RGB:
        return cast("NDArray[np.uint8]", whole)
    if channels == RGBA:
        return cast("NDArray[np.uint8]", blended(np.ascontiguousarray(whole)))
    gray = np.rint(pixels.mean(axis=2, keepdims=True, dtype=np.float64)).clip(0, 255).astype(np.uint8)
    return np.repeat(gray, 3, axis=2)


def _luminance(pixels: Pixels) -> Pixels:
    if pixels.dtype == np.uint8:
        from PIL import Image

        return np.array(Image.fromarray(pixels).convert("L"), dtype=np.uint8)[..., None]
    return np.asarray(pixels @ np.array(_LUMINANCE, dtype=np.float32), dtype=np.float32)[..., None]


def _counted(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


def _hint(shape: tuple[int, ...]) -> str:
    first = shape[0] in (GRAY, RGB, RGBA) and shape[2] not in (GRAY, RGB, RGBA)
    return f" (its shape {shape} looks like channels first: move that axis to the end)" if first else ""
