from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.channels import in_channels, shown
from evalkit.datasets.decode import decode_photo
from evalkit.datasets.geometry import fit
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set
from evalkit.datasets.set_channels import channels_note, set_mean, set_stamp


def image_of(pixels, **changes) -> LabelledImage:
    return replace(LabelledImage("a", np.asarray(pixels), 0, ""), **changes)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def photo_of(image: Image.Image, form: str = "PNG") -> LabelledImage:
    decoded = decode_photo(encoded(image, form))
    return image_of(decoded.pixels, own_channels=decoded.own_channels)


def test_rgb_becomes_gray_by_luminance() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 10, 10]]], np.uint8)
    gray = in_channels(photo_of(Image.fromarray(pixels)), 1)
    assert gray.dtype == np.uint8
    assert gray[..., 0].tolist() == [[76, 150, 29, 10]]
    as_floats = in_channels(image_of(pixels.astype(np.float32)), 1)
    np.testing.assert_allclose(as_floats[..., 0], [[76.245, 149.685, 29.07, 10.0]], rtol=1e-5)


def test_gray_files_keep_their_values() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(in_channels(photo_of(Image.fromarray(values)), 1)[..., 0], values)


def test_16_bit_gray_is_scaled_and_not_rounded() -> None:
    photo = photo_of(Image.fromarray(np.array([[0, 1, 257, 40000, 65535]], np.uint16)))
    np.testing.assert_allclose(in_channels(photo, 1)[0, :, 0], [0, 1 / 257, 1, 40000 / 257, 255], rtol=1e-6)
    assert in_channels(photo, 3).dtype == np.uint8
    assert in_channels(photo, 3)[0, :, 1].tolist() == [0, 0, 1, 156, 255]


def test_alpha_is_kept_for_four_channels_and_blended_for_others() -> None:
    photo = photo_of(Image.fromarray(np.array([[[200, 100, 50, 0], [200, 100, 50, 255]]], np.uint8), "RGBA"))
    assert in_channels(photo, 4).tolist() == [[[200, 100, 50, 0], [200, 100, 50, 255]]]
    assert in_channels(photo, 3).tolist() == [[[255, 255, 255], [200, 100, 50]]]
    assert in_channels(photo, 1)[0, :, 0].tolist() == [255, 124]
    opaque = photo_of(Image.fromarray(np.array([[[200, 100, 50]]], np.uint8)))
    assert in_channels(opaque, 4).tolist() == [[[200, 100, 50, 255]]]


def test_rgba_arrays_of_floats_are_blended_with_white() -> None:
    image = image_of(np.array([[[200, 100, 50, 127.5]]], np.float32))
    np.testing.assert_allclose(in_channels(image, 3), [[[227.5, 177.5, 152.5]]])


@pytest.mark.parametrize(("given", "channels"), [(1, 4), (2, 3), (4, 1), (3, 5), (5, 3)])
def test_other_conversions_are_refused(given: int, channels: int) -> None:
    with pytest.raises(ImageError, match=f"the image has {given} channel.*, the model takes {channels}"):
        in_channels(image_of(np.zeros((4, 4, given), np.uint8)), channels)


def test_channels_first_arrays_are_recognized() -> None:
    images = ImageSet.from_arrays(np.zeros((2, 3, 8, 8), np.uint8), [0, 1])
    with pytest.raises(DataError, match=r"shape \(3, 8, 8\) looks like channels first"):
        channels_note(images, 3)


def test_floats_are_resized_as_bytes_are_without_rounding() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    as_bytes = fit(image_of(pixels), (7, 11), "squash").pixels
    as_floats = fit(image_of(pixels.astype(np.float32)), (7, 11), "squash").pixels
    assert as_floats.dtype == np.float32
    assert 0 < np.abs(as_floats - as_bytes).max() <= 1
    for channel in range(3):
        alone = fit(image_of(pixels[..., [channel]]), (7, 11), "squash").pixels
        np.testing.assert_array_equal(alone[..., 0], as_bytes[..., channel])


def test_colors_of_transparent_pixels_are_kept_when_resized() -> None:
    pixels = np.full((4, 4, 4), 200, np.uint8)
    pixels[:, :2, 3] = 0
    fitted = fit(image_of(pixels), (2, 2), "squash", 4).pixels
    assert fitted[..., 0].tolist() == [[200, 200], [200, 200]]
    assert fitted.shape == (2, 2, 4)


@pytest.mark.parametrize("geometry", ["squash", "center-crop"])
def test_region_is_the_same_for_any_number_of_channels(geometry) -> None:
    region = np.zeros((20, 30), bool)
    region[4:9, 10:20] = True
    rgb = image_of(np.zeros((20, 30, 3), np.uint8), region=region, exact=True, boxes=np.array([[10.0, 4, 20, 9]]))
    gray = fit(rgb, (8, 12), geometry, 1)
    assert gray.pixels.shape == (8, 12, 1)
    np.testing.assert_array_equal(gray.region, fit(rgb, (8, 12), geometry).region)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [([[[7]]], [7, 7, 7]), ([[[10, 20]]], [15, 15, 15]), ([[[1, 2, 3]]], [1, 2, 3]), ([[[9, 9, 9, 0]]], [255] * 3),
     ([[[10, 20, 30, 40, 50]]], [30, 30, 30])],
)  # fmt: skip
def test_pictures_of_any_number_of_channels(pixels, expected) -> None:
    assert shown(np.array(pixels, np.uint8))[0, 0].tolist() == expected
    assert shown(np.array(pixels, np.float32))[0, 0].tolist() == expected


def save(folder: Path, name: str, pixels) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(folder / name)


def test_mean_of_set_counts_every_photo_alike(tmp_path: Path) -> None:
    save(tmp_path, "a/1.png", np.full((2, 2), 10))
    save(tmp_path, "a/2.png", np.full((40, 40), 21))
    save(tmp_path, "b/3.png", np.full((2, 2, 3), 30))
    (tmp_path / "b/4.png").write_bytes(b"broken")
    images = open_image_set(tmp_path)
    assert set_mean(images, 1) == (20.333,)
    assert set_mean(images, 4) == (20.333, 20.333, 20.333, 255.0)
    stamp = set_stamp(images, 1)
    assert set_stamp(open_image_set(tmp_path), 1) == stamp != set_stamp(images, 4)
    save(tmp_path, "b/3.png", np.full((2, 3, 3), 31))
    assert set_stamp(open_image_set(tmp_path), 1) != stamp


def test_mean_of_arrays_has_every_channel() -> None:
    pixels = np.random.default_rng(1).uniform(0, 255, (3, 4, 6, 5)).astype(np.float32)
    images = ImageSet.from_arrays(pixels, [0, 1, 0])
    np.testing.assert_allclose(set_mean(images, 5), pixels.mean(axis=(0, 1, 2)), atol=6e-4)
    assert set_stamp(images, 5) != set_stamp(ImageSet.from_arrays(pixels * 0.5, [0, 1, 0]), 5)


def test_mean_of_a_set_without_readable_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="none of its 1 photos can be read"):
        set_mean(open_image_set(tmp_path), 1)
