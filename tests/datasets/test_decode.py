from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import ImageError
from evalkit.datasets.decode import decode_mask, decode_photo


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decoded(image: Image.Image, form: str = "PNG", **options: Any) -> list[Any]:
    pixels = decode_photo(encoded(image, form, **options)).pixels
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels.tolist()


def with_orientation(image: Image.Image, orientation: int, form: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, form, exif=exif)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_is_unchanged(form: str, photo: np.ndarray) -> None:
    assert decoded(Image.fromarray(photo), form) == photo.tolist()


def test_webp_and_jpeg_are_read() -> None:
    gray = Image.new("RGB", (8, 8), (128, 128, 128))
    assert decoded(gray, "JPEG") == decoded(gray, "WEBP", lossless=True) == np.full((8, 8, 3), 128).tolist()


def test_gray_becomes_three_equal_channels() -> None:
    assert decoded(Image.fromarray(np.array([[0, 7, 255]], np.uint8))) == [[[0] * 3, [7] * 3, [255] * 3]]


def test_one_bit_becomes_black_and_white() -> None:
    assert decoded(Image.fromarray(np.array([[True, False]]))) == [[[255] * 3, [0] * 3]]


def test_transparency_is_blended_with_white() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    assert decoded(Image.fromarray(rgba)) == [[[10, 20, 30], [255, 255, 255], [127, 127, 127]]]


def test_gray_transparency_is_blended_with_white() -> None:
    gray = Image.merge("LA", [Image.new("L", (1, 1), 40), Image.new("L", (1, 1), 0)])
    assert decoded(gray) == [[[255, 255, 255]]]


def palette_image() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


def test_palette_becomes_its_colors() -> None:
    assert decoded(palette_image()) == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]


def test_palette_transparency_is_blended_with_white() -> None:
    assert decoded(palette_image(), transparency=1) == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    assert decoded(palette_image(), transparency=b"\x00\xff\x00") == [[[255] * 3, [0, 255, 0], [255] * 3]]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_color_is_blended_with_white(mode: str) -> None:
    image = Image.new(mode, (1, 1), 5 if mode == "L" else (5, 5, 5))
    assert decoded(image, transparency=5 if mode == "L" else (5, 5, 5)) == [[[255, 255, 255]]]


def test_cmyk_is_converted() -> None:
    assert decoded(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF") == [[[255, 0, 0]]]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bit_gray_is_divided_by_257(form: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    expected = [0, 0, 1, 1, 128, 255]
    assert decoded(Image.fromarray(values), form) == [[[value] * 3 for value in expected]]


def test_big_endian_16_bit_gray_is_divided_by_257() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">2H", 257, 65535))
    assert decoded(image, "TIFF") == [[[1] * 3, [255] * 3]]


def test_32_bit_gray_within_16_bits_is_divided_by_257() -> None:
    assert decoded(Image.fromarray(np.array([[257 * 9]], np.int32)), "TIFF") == [[[9, 9, 9]]]


@pytest.mark.parametrize("value", [-1, 65536])
def test_32_bit_gray_beyond_16_bits_is_refused(value: int) -> None:
    data = encoded(Image.fromarray(np.array([[value]], np.int32)), "TIFF")
    with pytest.raises(ImageError, match=r"gray values outside 0\.\.65535"):
        decode_photo(data)


def test_floating_point_pixels_are_refused() -> None:
    data = encoded(Image.fromarray(np.array([[0.5]], np.float32)), "TIFF")
    with pytest.raises(ImageError, match="floating-point pixels have no known range"):
        decode_photo(data)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_only_the_first_frame_is_read(form: str) -> None:
    red, blue = Image.new("RGB", (2, 2), (255, 0, 0)), Image.new("RGB", (2, 2), (0, 0, 255))
    options = {"lossless": True} if form == "WEBP" else {}
    assert decoded(red, form, save_all=True, append_images=[blue], **options) == [[[255, 0, 0]] * 2] * 2


UPRIGHT = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_turns_the_photo_upright(orientation: int, form: str) -> None:
    stored = Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    data = with_orientation(stored, orientation, form)
    assert decode_photo(data).pixels[..., 0].tolist() == UPRIGHT[orientation]
    assert decode_mask(data).object.shape == np.shape(UPRIGHT[orientation])


def test_jpeg_with_exif_orientation_is_turned() -> None:
    image = Image.new("RGB", (16, 8), (200, 200, 200))
    assert decode_photo(with_orientation(image, 6, "JPEG")).pixels.shape == (16, 8, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_file_is_an_image_error(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    with pytest.raises(ImageError, match=r"^cannot be decoded: "):
        decode_photo(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_other_format_is_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode_photo(data)
    expected = "cannot be decoded: not a file of the formats BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP"
    assert str(caught.value) == expected


@pytest.mark.parametrize("limit", [50, 99], ids=["Pillow's error", "Pillow's warning"])
def test_too_many_pixels_are_an_image_error(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("L", (10, 11)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError, match=f"^cannot be decoded: more pixels than Pillow's limit of {limit}$"):
        decode_photo(data)


def test_every_pillow_error_becomes_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageError, match=r"^cannot be decoded: MemoryError$"):
        decode_photo(b"")


@pytest.mark.parametrize("position", range(0, 300, 7))
def test_flipped_byte_gives_pixels_or_an_image_error(position: int, photo: np.ndarray) -> None:
    for form in ("PNG", "TIFF", "GIF", "JPEG"):
        data = bytearray(encoded(Image.fromarray(photo), form))
        data[position % len(data)] ^= 0xFF
        try:
            assert decode_photo(bytes(data)).pixels.shape[2] == 3
        except ImageError as error:
            assert str(error).startswith("cannot be decoded: ")  # noqa: PT017 - either outcome is right


NONZERO = [[False, True], [True, False]]


@pytest.mark.parametrize(
    "pixels",
    [
        np.array(NONZERO),
        np.array([[0, 1], [255, 0]], np.uint8),
        np.array([[0, 1], [65535, 0]], np.uint16),
        np.array([[[0, 0, 0], [0, 0, 1]], [[9, 0, 0], [0, 0, 0]]], np.uint8),
        np.array([[[9, 9, 9, 0], [0, 0, 1, 255]], [[9, 0, 0, 1], [0, 0, 0, 255]]], np.uint8),
    ],
    ids=["1 bit", "gray", "16 bit", "RGB", "RGBA"],
)
def test_nonzero_opaque_mask_pixels_are_the_object(pixels: np.ndarray) -> None:
    mask = decode_mask(encoded(Image.fromarray(pixels))).object
    assert mask.dtype == np.bool_
    assert mask.tolist() == NONZERO


def palette_mask(*palette: int) -> bytes:
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8)).convert("P")
    image.putpalette(palette)
    return encoded(image)


def test_palette_mask_with_black_at_index_0_is_read() -> None:
    assert decode_mask(palette_mask(0, 0, 0, 128, 0, 0, 0, 128, 0)).object.tolist() == NONZERO


@pytest.mark.parametrize("palette", [(9, 9, 9, 128, 0, 0, 0, 128, 0), (0, 0, 0, 128, 0, 0, 0, 0, 0)])
def test_ambiguous_palette_mask_is_refused(palette: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="the mask's palette is ambiguous"):
        decode_mask(palette_mask(*palette))


def test_damaged_mask_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_mask(b"PNG")


def test_xmp_orientation_is_ignored() -> None:
    """Viewers and OpenCV go by EXIF; Pillow would take XMP where EXIF has none."""
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", xmp=packet)
    assert Image.open(io.BytesIO(stream.getvalue())).getexif().get(0x0112) == 6
    assert decode_photo(stream.getvalue()).pixels.shape == (4, 6, 3)
