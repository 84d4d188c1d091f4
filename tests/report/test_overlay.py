"""Pictures of maps: the maximum stands where it is, and a map that is not ordinary is drawn as what it is."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.datasets.geometry import fit
from evalkit.datasets.image import LabelledImage
from evalkit.report.images.colormap import Scale, colored, peak_of, scale_of
from evalkit.report.images.figure import digits_of, map_picture
from evalkit.report.images.overlay import overlay, point_in_photo, resized_map

GRAY = 128


def one_hot(size, pixel):
    made = np.zeros(size)
    made[pixel] = 1.0
    return made


def lightness(pixels):
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]


def brightest(pixels):
    """Return (x, y) of the middle of the brightest pixels."""
    light = lightness(pixels)
    rows, columns = np.nonzero(light > light.max() - 0.5)
    return columns.mean() + 0.5, rows.mean() + 0.5


@settings(max_examples=60, deadline=None)
@given(
    photo=st.tuples(st.integers(20, 1500), st.integers(20, 1500)),
    size=st.tuples(st.integers(7, 260), st.integers(7, 260)),
    where=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    geometry=st.sampled_from(["squash", "center-crop"]),
)
def test_a_single_hot_pixel_is_the_brightest_of_its_picture(photo, size, where, geometry):
    pixel = (int(where[0] * size[0]), int(where[1] * size[1]))
    made = one_hot(size, pixel)
    drawn = overlay(np.full((*photo, 3), GRAY, np.uint8), made, geometry=geometry, mark=False)
    x, y = brightest(drawn.pixels)
    # Where it must be, from the photo's own pixels; a pixel of the picture is as near as can be drawn.
    want_x, want_y = point_in_photo(pixel, size, photo, geometry)
    height, width = drawn.pixels.shape[:2]
    assert x == pytest.approx(want_x * width / photo[1], abs=1.6)
    assert y == pytest.approx(want_y * height / photo[0], abs=1.6)
    assert drawn.peak == pytest.approx((want_x * width / photo[1], want_y * height / photo[0]))


@pytest.mark.parametrize("geometry", ["squash", "center-crop"])
@pytest.mark.parametrize("photo", [(300, 500), (640, 200), (32, 32), (2000, 3000)])
def test_position_in_the_photo_follows_the_geometry(photo, geometry):
    # A white square, seen by the model through fit: the middle of what it sees is where the picture says.
    pixels = np.zeros((*photo, 3), np.uint8)
    row, column = photo[0] // 2 + photo[0] // 9, photo[1] // 2 - photo[0] // 11
    reach = max(2, photo[0] // 20)
    pixels[row - reach : row + reach, column - reach : column + reach] = 255
    seen = fit(LabelledImage("a", pixels, 0, ""), (224, 224), geometry).pixels[..., 0]
    rows, columns = np.indices(seen.shape)
    weights = seen / seen.sum()
    middle = round(float((weights * rows).sum())), round(float((weights * columns).sum()))
    assert point_in_photo(middle, seen.shape, photo, geometry) == pytest.approx((column, row), abs=photo[0] / 60)


def test_enlarged_map_keeps_values_and_reduced_map_its_peak(rng):
    values = rng.random((6, 5))
    assert set(resized_map(values, (60, 35)).ravel()) == set(values.ravel())
    for pixel in np.ndindex(24, 36):
        small = resized_map(one_hot((24, 36), pixel), (7, 11))
        assert small.max() == 1.0
        row, column = (np.argwhere(small == 1).mean(axis=0) + 0.5) * (24 / 7, 36 / 11)
        assert abs(row - pixel[0] - 0.5) <= 24 / 7
        assert abs(column - pixel[1] - 0.5) <= 36 / 11


def test_peak_is_the_middle_of_a_patch_and_none_if_constant():
    patch = np.zeros((224, 224))
    patch[40:80, 100:140] = 0.3
    assert peak_of(patch) in {(row, column) for row in (59, 60) for column in (119, 120)}
    assert peak_of(np.ones((4, 4))) is None
    assert peak_of(np.full((4, 4), np.nan)) is None
    holed = np.array([[np.nan, 1.0], [2.0, np.inf]])
    assert peak_of(holed) == (1, 0)


@pytest.mark.parametrize(
    ("made", "kind", "note"),
    [
        (np.array([[0.0, 1.0]]), "plain", ""),
        (np.array([[-0.5, 1.0]]), "signed", ""),
        (np.array([[-0.5, -1.0]]), "signed", "no value is above zero"),
        (np.zeros((2, 2)), "constant", "constant: 0 everywhere"),
        (np.full((2, 2), np.nan), "empty", "no value is finite"),
        (np.array([[np.nan, 1.0, 0.0, 0.5]]), "plain", "25 % of the values are not finite"),
    ],
)
def test_scale_note_describes_unusual_maps(made, kind, note):
    scale = scale_of(made)
    assert scale.kind == kind
    assert scale.note.startswith(note)
    assert bool(scale.note) == bool(note)
    if kind == "signed":
        assert scale.low == -scale.high == -1.0


def test_lightness_grows_evenly_and_symmetrically():
    values = np.linspace(0, 1, 256)[None]
    light = lightness(colored(values, scale_of(values)))[0]
    steps = np.diff(light[::16])
    assert steps.min() > 0
    assert steps.max() < 2.5 * steps.min()
    signed = np.linspace(-1, 1, 511)[None]
    light = lightness(colored(signed, scale_of(signed)))[0]
    np.testing.assert_allclose(light[255:], light[255::-1], atol=2.5)
    red, blue = (
        colored(signed, scale_of(signed))[0, :, 0].astype(int),
        colored(signed, scale_of(signed))[0, :, 2].astype(int),
    )
    assert (red[400:] > blue[400:]).all()
    assert (blue[:230] > red[:230]).all()


def test_broken_and_constant_maps_take_no_color_of_the_scale():
    made = np.array([[np.nan, 0.0], [0.5, 1.0]])
    drawn = overlay(np.full((2, 2, 3), GRAY, np.uint8), made, mark=False).pixels
    hatched = drawn[:240, :240].reshape(-1, 3)
    assert {tuple(color) for color in hatched.tolist()} == {(150, 150, 150), (90, 90, 90)}
    constant = overlay(np.full((2, 2, 3), GRAY, np.uint8), np.ones((2, 2))).pixels
    assert (constant == constant[0, 0]).all()
    assert len(set(constant[0, 0].tolist())) == 1


def test_region_is_outlined_and_model_input_framed(rng):
    photo = np.full((100, 300, 3), GRAY, np.uint8)
    region = np.zeros((100, 300), bool)
    region[20:60, 120:180] = True
    made = rng.random((50, 50))
    drawn = overlay(photo, made, geometry="center-crop", region=region, mark=False)
    assert drawn.cropped
    assert drawn.pixels.shape == (160, 480, 3)
    # Outside the crop it is dim and gray.
    assert (drawn.pixels[:, :155] == drawn.pixels[0, 0]).all()
    edge = drawn.pixels[60, 185:200]
    assert (edge == 255).all(axis=1).any()
    assert (edge == 0).all(axis=1).any()


@pytest.mark.parametrize("made", [np.ones((9, 9)), np.full((9, 9), np.nan), -np.eye(9), np.eye(9)])
def test_a_picture_is_a_png_whatever_the_map_and_the_names(made):
    names = {"title": "<script>$x$\n🐟 שלום", "about": "a" * 500}
    photo = np.zeros((30, 40, 3), np.uint8)
    first = map_picture(made, photo, **names)
    picture = Image.open(io.BytesIO(first))
    assert picture.width == 2 * 480 + 2 * 14 + 112 + 14
    assert first == map_picture(made, photo, **names)
    assert Image.open(io.BytesIO(map_picture(made))).width < picture.width


@pytest.mark.parametrize("size", [(480, 40), (200, 120), (40, 480)])
def test_the_words_below_a_picture_stay_inside_it(size):
    made = np.linspace(-1, 1, 81).reshape(9, 9)
    photo = np.zeros((*size, 3), np.uint8)
    picture = np.asarray(Image.open(io.BytesIO(map_picture(made, photo, geometry="center-crop"))).convert("L"))
    assert (picture[:, -10:] == 255).all()
    assert (picture[-8:] == 255).all()
    below = picture[-30:, :-10]
    assert (below < 200).any()  # the last line of the footnote


@pytest.mark.parametrize(("low", "high", "digits"), [(0, 1, 2), (1, 1.001, 4), (-0.5, 0.5, 2), (1e6, 1e6 + 1, 7)])
def test_ends_of_a_scale_are_distinguishable(low, high, digits):
    assert digits_of(Scale("positive", low, high, "")) == digits
