"""Masks of labels keep every value above zero; soft and lossy ones are thresholded at half, and said to be."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import ImageError
from evalkit.datasets.decode import decode_mask
from evalkit.datasets.entry import Entry
from evalkit.datasets.mask_levels import object_pixels
from evalkit.datasets.open import open_image_set

ROWS, COLUMNS = np.mgrid[:120, :120]
DISK = (ROWS - 60) ** 2 + (COLUMNS - 50) ** 2 < 30**2
WHITE = (DISK * 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, quality: int = 75) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def blurred(sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(WHITE.astype(np.float64), sigma).round().astype(np.uint8)


def squares(values: list[int], dtype: type = np.uint8, side: int = 5) -> np.ndarray:
    """Return one square for each value, on zeros."""
    pixels = np.zeros((20 * (side + 2), (len(values) // 20 + 1) * (side + 2)), dtype)
    for number, value in enumerate(values):
        row, column = (number % 20) * (side + 2), (number // 20) * (side + 2)
        pixels[row : row + side, column : column + side] = value
    return pixels


@pytest.mark.parametrize(
    "soft",
    [
        *(jpeg(WHITE, quality) for quality in (20, 50, 75, 90, 95, 100)),
        *(blurred(sigma) for sigma in (0.7, 3, 8)),
        *(resized(WHITE, side) for side in (60, 90, 333)),
        blurred(3).astype(np.uint16) * 257,
        np.float32(blurred(3) / 255),
    ],
)
def test_soft_edges_are_cut_at_half(soft: np.ndarray) -> None:
    pixels, kind = object_pixels(soft)
    assert kind == "soft"
    assert np.array_equal(pixels, soft >= {"u1": 127.5, "u2": 32767.5, "f4": 0.5}[soft.dtype.str[1:]])
    if soft.shape == DISK.shape:
        assert 0.92 < pixels.sum() / DISK.sum() < 1.03
        assert (soft > 0).sum() > pixels.sum()


@pytest.mark.parametrize(
    "labels",
    [
        DISK,
        DISK.astype(np.uint8),
        WHITE,
        WHITE // 2,
        DISK.astype(np.uint16) * 65535,
        squares([128, 255]),
        squares([255, 254]),
    ],
)
def test_one_level_keeps_all_above_zero(labels: np.ndarray) -> None:
    pixels, kind = object_pixels(labels)
    assert np.array_equal(pixels, labels != 0)
    assert kind == ""


@pytest.mark.parametrize(
    "labels",
    [
        squares([1, 2, 3]),
        squares(list(range(1, 21))),
        squares([1, 15, 255]),
        squares([64, 128, 255]),
        squares(list(range(1, 256)), side=3),
        squares(list(range(1, 400)), np.uint16),
        squares([26001, 33018], np.uint16),
        squares([100, 255]),
    ],
    ids=["1 2 3", "1 to 20", "void 255", "grays", "255 instances", "399 instances", "cityscapes", "trimap"],
)
def test_labels_keep_all_above_zero(labels: np.ndarray) -> None:
    pixels, kind = object_pixels(labels)
    assert np.array_equal(pixels, labels != 0)
    assert kind == "labels"


def test_soft_edges_around_dark_areas_are_refused() -> None:
    three = np.zeros((120, 120), np.uint8)
    three[10:50, 10:50], three[60:100, 10:50], three[20:90, 60:110] = 85, 170, 255
    with pytest.raises(ImageError, match="gray values are ambiguous"):
        object_pixels(resized(three, 190))


def test_labels_beyond_16_bits_keep_all_above_zero() -> None:
    pixels, kind = object_pixels(np.array([[0, 70000], [1, 0]], np.int32))
    assert pixels.tolist() == [[False, True], [True, False]]
    assert kind == ""


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_soft_color_and_transparency_are_cut_at_half() -> None:
    soft = blurred(3)
    red = np.stack([soft, 0 * soft, 0 * soft], -1)
    clear = np.stack([np.full_like(soft, 255)] * 3 + [soft], -1)
    for pixels in (red, np.repeat(soft[..., None], 3, 2), clear):
        mask = decode_mask(png(Image.fromarray(pixels)))
        assert mask.kind == "soft"
        assert np.array_equal(mask.object, soft >= 128)


def test_soft_gray_palette_is_cut_at_half_and_colors_are_labels() -> None:
    soft = blurred(3)
    gray = Image.fromarray(soft).convert("P")
    gray.putdata(soft.ravel().tolist())
    gray.putpalette([level for level in range(256) for _ in range(3)])
    assert np.array_equal(decode_mask(png(gray)).object, soft >= 128)
    gray.putpalette([0, 0, 0, *([64, 0, 0] * 255)])
    assert np.array_equal(decode_mask(png(gray)).object, soft > 0)
    assert decode_mask(png(gray)).kind == ""


def photo_inside() -> np.ndarray:
    """Return a textured photo of several colors inside the disk, black outside."""
    waves = [127 + 100 * np.sin(ROWS / 5), 127 + 100 * np.cos(COLUMNS / 7), (COLUMNS * 3 + ROWS * 5) % 255]
    return (np.stack(waves, -1).clip(1, 255) * DISK[..., None]).astype(np.uint8)


@pytest.mark.parametrize("channels", [3, 1])
def test_cut_out_of_a_photo_keeps_all_above_zero(channels: int) -> None:
    pixels = photo_inside() if channels == 3 else photo_inside()[..., 1]
    mask = decode_mask(png(Image.fromarray(pixels)))
    assert np.array_equal(mask.object, DISK)
    assert mask.kind == "labels"
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    with pytest.raises(ImageError, match="lossy, zeros do not stay zero, and it has many grays or colors; save it as"):
        decode_mask(stream.getvalue())


def test_cut_out_on_transparency_keeps_what_is_opaque() -> None:
    opacity = (DISK * 255).astype(np.uint8)[..., None]
    pixels = np.concatenate([photo_inside() + (~DISK * 9).astype(np.uint8)[..., None], opacity], -1)
    assert np.array_equal(decode_mask(png(Image.fromarray(pixels))).object, DISK)


def test_colored_labels_keep_all_above_zero() -> None:
    colors = np.zeros((120, 120, 3), np.uint8)
    colors[10:60, 10:60], colors[70:110, 10:60], colors[10:110, 70:110] = (128, 0, 0), (0, 128, 0), (64, 0, 0)
    mask = decode_mask(png(Image.fromarray(colors)))
    assert np.array_equal(mask.object, colors.any(axis=2))
    assert mask.kind == "labels"


@pytest.mark.parametrize("color", [(255, 0, 0), (255, 255, 255), (0, 200, 200)])
def test_one_color_that_was_a_jpeg_is_cut_at_half(color: tuple[int, int, int]) -> None:
    for pixels in (jpeg(DISK[..., None] * np.uint8(color)), DISK[..., None] * np.uint8(color)):
        mask = decode_mask(png(Image.fromarray(pixels)))
        assert abs(int(mask.object.sum()) - int(DISK.sum())) < 0.05 * DISK.sum()


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp"])
def test_soft_mask_beside_a_photo_is_cut_at_half(tmp_path: Path, name: str) -> None:
    for folder in ("images/c", "masks/c"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(np.zeros((120, 120, 3), np.uint8)).save(tmp_path / "images/c/p.png")
    Image.fromarray(jpeg(WHITE)).save(tmp_path / "masks/c" / name)
    (image,) = open_image_set(tmp_path)
    assert image.region is not None
    assert image.boxes is not None
    assert abs(int(image.region.sum()) - int(DISK.sum())) < 0.02 * DISK.sum()
    assert image.boxes.tolist() == [[21, 31, 80, 90]]
    assert (image.exact, image.mask_kind) == (True, "soft")


def test_digest_of_masks_differs_from_the_one_before_thresholds(tmp_path: Path) -> None:
    entry = Entry("a", None, 0, "", masks=(tmp_path / "m.png",))
    earlier = [0, "", [], [(str(tmp_path / "m.png"), -1, 0)], ""]
    assert entry.truth_digest != hashlib.sha256(json.dumps(earlier).encode()).hexdigest()


def test_black_mask_with_transparency_is_refused() -> None:
    values = np.zeros((20, 20, 4), np.uint8)
    values[4:9, 4:9, 3] = 255
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    with pytest.raises(ImageError, match="the mask is black, and only its transparency varies; save that as gray"):
        decode_mask(file.getvalue())
