from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.core.boxes import rasterize
from evalkit.core.errors import ConfigError
from evalkit.datasets.geometry import fit, tight_box
from evalkit.datasets.image import LabelledImage


def image_of(pixels: np.ndarray, *boxes: tuple[float, float, float, float]) -> LabelledImage:
    array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    region = rasterize(array, pixels.shape[:2]) if boxes else None
    return LabelledImage("a", pixels, 0, "", region, array if boxes else None)


def image_with_mask(mask: np.ndarray) -> LabelledImage:
    pixels = np.zeros((*mask.shape, 3), np.uint8)
    boxes = np.array([tight_box(mask)], dtype=np.float64)
    return LabelledImage("a", pixels, 0, "", mask, boxes, exact=True)


def slow_region(boxes: list[tuple[Fraction, ...]], height: int, width: int) -> np.ndarray:
    """Pixel centers inside a box, in exact fractions, pixel by pixel."""
    region = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            x, y = Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2)
            region[row, column] = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
    return region


def slow_fit(x: int, photo: int, target: int, factor: Fraction) -> Fraction:
    """Move a coordinate into the middle ``target`` pixels of a photo scaled by ``factor``."""
    cut = (photo * factor - target) / 2
    return x * factor - (cut.numerator // cut.denominator)


@st.composite
def boxed_photos(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    height, width = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    return height, width, (x0, y0, x1, y1)


def drawn(height: int, width: int, box: tuple[int, int, int, int]) -> LabelledImage:
    """A black photo with a white box."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return image_of(pixels, box)


@given(boxed_photos(), st.integers(1, 4), st.integers(1, 4))
def test_squash_to_a_multiple_repeats_pixels(photo: tuple, down: int, across: int) -> None:
    height, width, box = photo
    image = drawn(height, width, box)
    fitted = fit(image, (height * down, width * across), "squash")
    expected = np.repeat(np.repeat(image.pixels[..., 0] == 255, down, axis=0), across, axis=1)
    assert np.array_equal(fitted.region, expected)
    assert fitted.pixel_size == (1 / down, 1 / across)


@given(boxed_photos(), st.integers(1, 13), st.integers(1, 13))
def test_squash_equals_exact_arithmetic(photo: tuple, height: int, width: int) -> None:
    rows, columns, box = photo
    fitted = fit(drawn(rows, columns, box), (height, width), "squash")
    factors = [Fraction(width, columns), Fraction(height, rows)] * 2
    expected = slow_region([tuple(edge * factor for edge, factor in zip(box, factors, strict=True))], height, width)
    assert np.array_equal(fitted.region, expected)


@given(boxed_photos(), st.integers(1, 13), st.integers(1, 13))
def test_center_crop_equals_exact_arithmetic(photo: tuple, height: int, width: int) -> None:
    rows, columns, box = photo
    fitted = fit(drawn(rows, columns, box), (height, width), "center-crop")
    factor = max(Fraction(height, rows), Fraction(width, columns))
    x0, x1 = (slow_fit(x, columns, width, factor) for x in box[0::2])
    y0, y1 = (slow_fit(y, rows, height, factor) for y in box[1::2])
    assert fitted.pixels.shape == (height, width, 3)
    assert np.array_equal(fitted.region, slow_region([(x0, y0, x1, y1)], height, width))
    assert fitted.pixel_size == pytest.approx((float(1 / factor), float(1 / factor)))


@given(boxed_photos(), st.integers(1, 13), st.integers(1, 13), st.sampled_from(["squash", "center-crop"]))
def test_exact_mask_sampling_equals_exact_arithmetic(photo: tuple, height: int, width: int, geometry: str) -> None:
    rows, columns, box = photo
    mask = drawn(rows, columns, box).pixels[..., 0] == 255
    fitted = fit(image_with_mask(mask), (height, width), geometry)
    down, across = Fraction(height, rows), Fraction(width, columns)
    if geometry == "center-crop":
        down = across = max(down, across)
    top = ((rows * down - height) / 2).__floor__() if geometry == "center-crop" else 0
    left = ((columns * across - width) / 2).__floor__() if geometry == "center-crop" else 0
    for row in range(height):
        for column in range(width):
            y, x = (Fraction(2 * row + 1, 2) + top) / down, (Fraction(2 * column + 1, 2) + left) / across
            assert fitted.region[row, column] == mask[y.__floor__(), x.__floor__()]


@given(st.integers(2, 12), st.integers(1, 12), st.integers(3, 6), st.sampled_from(["squash", "center-crop"]))
def test_pixels_and_region_stay_aligned(cells: int, wide: int, factor: int, geometry: str) -> None:
    """Bilinear turns a black-white edge gray; half the range is crossed where the region ends."""
    box = (0, cells // 2, wide, cells)
    fitted = fit(drawn(cells, wide, box), (cells * factor, wide * factor), geometry)
    assert np.array_equal(fitted.pixels[..., 0] > 127, fitted.region)


def test_photo_of_the_right_size_keeps_its_bytes(photo: np.ndarray) -> None:
    for geometry in ("squash", "center-crop"):
        assert fit(image_of(photo), (4, 6), geometry).pixels is photo


@pytest.mark.parametrize(("columns", "start"), [(6, 1), (7, 1), (9, 2)])
def test_center_crop_without_scaling_copies_whole_pixels(columns: int, start: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, columns, 3), dtype=np.uint8)
    fitted = fit(image_of(pixels, (start, 0, start + 4, 4)), (4, 4), "center-crop")
    assert np.array_equal(fitted.pixels, pixels[:, start : start + 4])
    assert fitted.boxes.tolist() == [[0, 0, 4, 4]]
    assert fitted.pixel_size == (1.0, 1.0)


def test_center_crop_equals_resize_then_crop() -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(pixels).resize((30, 20), Image.Resampling.BILINEAR))
    fitted = fit(image_of(pixels, (0, 0, 60, 40)), (20, 20), "center-crop")
    assert np.abs(fitted.pixels.astype(int) - resized[:, 5:25]).max() <= 1
    assert fitted.region.all()


def test_center_crop_to_a_wide_target_keeps_the_full_width() -> None:
    fitted = fit(image_of(np.zeros((8, 8, 3), np.uint8), (0, 2, 8, 6)), (2, 4), "center-crop")
    assert fitted.boxes.tolist() == [[0, 0, 4, 2]]
    assert fitted.pixel_size == (2.0, 2.0)


def test_shrinking_averages_covered_pixels() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1::2] = 200
    assert np.unique(fit(image_of(pixels), (1, 1), "squash").pixels).tolist() == [100]


def test_boxes_are_dropped_or_clipped_by_the_crop() -> None:
    image = image_of(np.zeros((4, 8, 3), np.uint8), (0, 0, 2, 4), (1, 1, 5, 3))
    fitted = fit(image, (4, 4), "center-crop")
    assert fitted.boxes.tolist() == [[0, 1, 3, 3]]
    assert fitted.region.sum() == 6


def test_region_outside_the_crop_is_empty_not_none() -> None:
    fitted = fit(image_of(np.zeros((4, 8, 3), np.uint8), (0, 0, 2, 4)), (4, 4), "center-crop")
    assert fitted.boxes.shape == (0, 4)
    assert fitted.region.tolist() == np.zeros((4, 4), bool).tolist()


def test_box_without_pixel_center_is_kept() -> None:
    fitted = fit(image_of(np.zeros((8, 8, 3), np.uint8), (0, 0, 1, 1)), (2, 2), "squash")
    assert fitted.boxes.tolist() == [[0, 0, 0.25, 0.25]]
    assert not fitted.region.any()


def test_image_without_region_stays_without(photo: np.ndarray) -> None:
    fitted = fit(image_of(photo), (2, 3), "squash")
    assert fitted.region is None
    assert fitted.boxes is None


def test_pixel_sizes_multiply(photo: np.ndarray) -> None:
    image = replace(image_of(photo), pixel_size=(3.0, 5.0))
    assert fit(image, (8, 2), "squash").pixel_size == (1.5, 15.0)


def test_fit_changes_nothing_else_and_not_its_input(photo: np.ndarray) -> None:
    image = replace(image_of(photo, (1, 1, 3, 3)), label="cat", class_index=4, sha256="ab")
    before = (photo.copy(), image.region.copy(), image.boxes.copy())
    fitted = fit(image, (3, 5), "center-crop")
    assert (fitted.id, fitted.label, fitted.class_index, fitted.sha256, fitted.exact) == ("a", "cat", 4, "ab", False)
    for now, then in zip((image.pixels, image.region, image.boxes), before, strict=True):
        assert np.array_equal(now, then)


def test_pixel_belongs_to_the_box_around_its_center() -> None:
    boxes = np.array([[0.5, 0.0, 1.5, 1.0], [2.6, 0.0, 3.5, 1.0]])
    assert rasterize(boxes, (1, 5)).tolist() == [[True, False, False, False, False]]


def test_boxes_are_clipped_to_the_frame() -> None:
    assert rasterize(np.array([[-5.0, -5.0, 1.0, 99.0]]), (2, 2)).tolist() == [[True, False], [True, False]]
    assert not rasterize(np.array([[-5.0, 0.0, -1.0, 2.0]]), (2, 2)).any()


def test_tight_box_is_half_open() -> None:
    region = np.zeros((5, 6), bool)
    region[1, 2] = region[3, 4] = True
    assert tight_box(region) == (2, 1, 5, 4)


def test_unknown_geometry_is_refused_with_the_known(photo: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="unknown geometry 'squish': did you mean 'squash'"):
        fit(image_of(photo), (4, 4), "squish")


def test_empty_size_is_refused(photo: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="0 x 4"):
        fit(image_of(photo), (0, 4), "squash")


def test_ignored_pixels_move_like_a_mask_outside_the_region() -> None:
    image = image_of(np.zeros((4, 8, 3), np.uint8), (2.2, 0, 4, 4))
    ignore = np.zeros((4, 8), bool)
    ignore[:, 0:2] = ignore[1, 6] = True
    fitted = fit(replace(image, ignore=ignore), (4, 8), "squash")
    assert np.array_equal(fitted.ignore, ignore)
    doubled = fit(replace(image, ignore=ignore), (8, 16), "squash")
    assert np.array_equal(doubled.ignore, ignore.repeat(2, axis=0).repeat(2, axis=1) & ~doubled.region)
    cropped = fit(replace(image, ignore=ignore), (4, 4), "center-crop")
    assert not cropped.ignore.any()
