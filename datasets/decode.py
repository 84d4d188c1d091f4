"""From file contents to pixels, by Pillow. Every failure is an ImageError whose message can be stored."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ImageError
from evalkit.datasets.image import Pixels
from evalkit.datasets.mask_levels import MaskKind, object_pixels

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Decoded", "DecodedMask", "decode_labels", "decode_mask", "decode_photo", "pixels_of"]

# Pillow reads many more; some of them start other programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_LONGEST_REASON = 200
_JPEG = b"\xff\xd8\xff"
_BRIGHT, _HUE_STEPS = 64, 2  # a mask's colors are compared where they are bright, channel by channel, in halves
_OWN_HUE = 0.05  # share of the bright pixels; at edges, a JPEG's colors run
_VOID_INDEX, _VOID_COLOR = 255, (224, 224, 192)  # as in Pascal VOC


class Decoded(NamedTuple):
    """A decoded photo.

    Attributes:
        pixels: uint8 (H, W, 3), C-contiguous, RGB, 0..255.
        own_channels: what RGB cannot hold: gray of 16 bits as float32 (H, W, 1), divided by 257 and not rounded; or,
            where a pixel is not opaque, RGBA as uint8 (H, W, 4); else None.
    """

    pixels: NDArray[np.uint8]
    own_channels: Pixels | None


def decode_photo(data: bytes) -> Decoded:
    """Decode a photo.

    The photo is turned upright by its EXIF orientation, as viewers show it; boxes and masks refer to the upright photo.
    Transparent pixels are blended with white. Gray becomes RGB, 16-bit gray is divided by 257 and rounded, CMYK is
    converted without a color profile. Only the first frame of an animation is read.

    Args:
        data: contents of a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file.

    Raises:
        ImageError: the file is damaged, has another format, or has more pixels than Pillow's limit.
    """
    with _image_errors():
        return _decoded(_open_upright(data))


def pixels_of(image: Image.Image) -> Decoded:
    """Return the pixels of a Pillow image, converted as ``decode_photo`` converts those of its file.

    Args:
        image: image of any mode.

    Raises:
        ImageError: the image's pixels cannot be converted, or its file cannot be decoded.
    """
    with _image_errors():
        return _decoded(_upright(image.copy()))


class DecodedMask(NamedTuple):
    """A mask's pixels.

    Attributes:
        object: bool (H, W), the pixels of the object.
        void: bool (H, W), pixels that are neither object nor background.
        kind: how its values were read.
    """

    object: NDArray[np.bool_]
    void: NDArray[np.bool_]
    kind: MaskKind


def decode_mask(data: bytes) -> DecodedMask:
    """Decode a mask: every pixel that is neither zero (black) nor fully transparent belongs to the object.

    Masks with soft edges and lossy ones, whose zeros do not stay zero, are thresholded at half of white:
    ``object_pixels`` tells them from masks of labels. Of a color, the largest channel counts; several colors are
    labels. In a palette image, index 0 and black must mark the same pixels; a colored palette has labels.

    The void is what Pascal VOC marks so: palette index 255 in the color (224, 224, 192). Any other 255, such as white
    in a gray mask, belongs to the object.

    Args:
        data: contents of a file of a format that ``decode_photo`` reads.

    Raises:
        ImageError: as ``decode_photo``; or the palette or the gray values are ambiguous, or nothing in a lossy mask
            reaches half of white.
    """
    with _image_errors():
        image = _open_upright(data)
        lossy = data[:3] == _JPEG or (data[8:12] == b"WEBP" and b"VP8L" not in data)
        if image.mode == "P":
            return _palette_mask(image, lossy=lossy)
        if image.mode not in ("1", "L", "LA", "RGB", "RGBA") and not _is_wide(image):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        colorful = _is_colorful(image)
        pixels, kind = object_pixels(_levels(image), lossy=lossy, labels=colorful)
        return DecodedMask(pixels, np.zeros(pixels.shape, dtype=np.bool_), "labels" if colorful else kind)


def decode_labels(data: bytes) -> NDArray[np.uint8]:
    """Return the label of each pixel, uint8 (H, W): the values of a gray image, the indices of a palette image.

    Args:
        data: contents of a file of a format that ``decode_photo`` reads, of 8 bits.

    Raises:
        ImageError: as ``decode_photo``; or the image is in color or has more than 8 bits.
    """
    with _image_errors():
        image = _open_upright(data)
        if image.mode not in ("1", "L", "P"):
            raise ImageError(f"has pixels of mode {image.mode}; one label of 8 bits a pixel is needed")
        return np.array(image, dtype=np.uint8)


def _palette_mask(image: Image.Image, *, lossy: bool) -> DecodedMask:
    colors = np.asarray(image.convert("RGB"))
    by_index, by_color = np.asarray(image) != 0, (colors != 0).any(axis=2)
    if not np.array_equal(by_index, by_color):
        raise ImageError("the mask's palette is ambiguous: index 0 is not its only black; save the mask as gray")
    gray = bool((colors == colors[..., :1]).all())
    pixels, kind = object_pixels(colors.max(axis=2), lossy=lossy, labels=not gray)
    void = _void(image)
    return DecodedMask(pixels & ~void, void, kind)


def _is_colorful(image: Image.Image) -> bool:
    """Return whether a mask has several colors, as masks of colored labels and cut-outs of photos have."""
    if image.mode not in ("RGB", "RGBA"):
        return False
    colors = np.asarray(image)[..., :3].reshape(-1, 3)
    bright = colors[colors.max(axis=1) >= _BRIGHT].astype(np.int64)
    if not bright.size:
        return False
    hues = (bright * _HUE_STEPS + bright.max(axis=1, keepdims=True) // 2) // bright.max(axis=1, keepdims=True)
    counts = np.bincount(hues @ [1, _HUE_STEPS + 1, (_HUE_STEPS + 1) ** 2])
    return bool((counts > _OWN_HUE * len(hues)).sum() > 1)


def _levels(image: Image.Image) -> NDArray[np.generic]:
    """Return one value a pixel: the largest channel, less by transparency, zero only if black or fully transparent."""
    values = np.asarray(image)
    if values.ndim == 2:
        return values
    if image.mode not in ("LA", "RGBA"):
        return np.asarray(values.max(axis=2))
    shades, opacity = values[..., :-1].max(axis=2).astype(np.int64), values[..., -1].astype(np.int64)
    if not shades.any() and opacity.min() < opacity.max():
        raise ImageError("the mask is black, and only its transparency varies; save that as gray if it is the mask")
    return np.asarray(-(-shades * opacity // 255))


def _void(image: Image.Image) -> NDArray[np.bool_]:
    if image.mode != "P":
        return np.zeros((image.height, image.width), dtype=np.bool_)
    palette = image.getpalette("RGB") or []
    marked = tuple(palette[3 * _VOID_INDEX : 3 * _VOID_INDEX + 3]) == _VOID_COLOR
    return np.asarray((np.asarray(image) == _VOID_INDEX) & marked, dtype=np.bool_)


@contextmanager
def _image_errors() -> Iterator[None]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"cannot be decoded: not a file of the formats {', '.join(_FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"cannot be decoded: more pixels than Pillow's limit of {Image.MAX_IMAGE_PIXELS}") from error
    except Exception as error:
        # Damaged files raise errors of nearly every class, from SyntaxError to struct.error.
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ImageError(f"cannot be decoded: {reason[:_LONGEST_REASON]}") from error


def _open_upright(data: bytes) -> Image.Image:
    from PIL import Image

    return _upright(Image.open(io.BytesIO(data), formats=_FORMATS))


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    for key in ("xmp", "XML:com.adobe.xmp"):  # Pillow reads an orientation here too, viewers do not
        image.info.pop(key, None)
    return ImageOps.exif_transpose(image)


def _is_wide(image: Image.Image) -> bool:
    """Return whether a pixel is one number of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def _decoded(image: Image.Image) -> Decoded:
    from PIL import Image

    own_channels: Pixels | None = None
    if _is_wide(image):
        values = _wide_values(image)
        gray = ((values + 128) // 257).astype(np.uint8)
        return Decoded(np.repeat(gray[..., None], 3, axis=2), (values / 257).astype(np.float32)[..., None])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        own_channels = np.array(image, dtype=np.uint8, order="C")
        own_channels = own_channels if (own_channels[..., 3] < 255).any() else None
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return Decoded(np.array(image.convert("RGB"), dtype=np.uint8, order="C"), own_channels)


def _wide_values(image: Image.Image) -> NDArray[np.int64]:
    values = np.asarray(image)
    if image.mode == "F":
        raise ImageError("cannot be decoded: floating-point pixels have no known range; save it with 8 or 16 bits")
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("cannot be decoded: gray values outside 0..65535; save it with 8 or 16 bits")
    return np.asarray(values, dtype=np.int64)
