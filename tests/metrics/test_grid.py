"""Grid pointing game: mosaics and scores by hand, a slow twin, extremes, and what is not scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Case, Partner
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.grid import cell_slices, grid_pointing_game, mosaic
from evalkit.metrics.requirements import needs_of

SIZES = [(8, 8), (6, 10), (10, 6), (7, 9), (5, 4), (2, 3)]


def twin(saliency_map, cell):
    """The definition, pixel by pixel."""
    height, width = saliency_map.shape
    inside = total = 0.0
    for row in range(height):
        for column in range(width):
            down = 0 if row < height // 2 else 1 if row >= height - height // 2 else None
            across = 0 if column < width // 2 else 1 if column >= width - width // 2 else None
            if down is None or across is None:
                continue
            value = max(float(saliency_map[row, column]), 0.0)
            total += value
            inside += value if 2 * down + across == cell else 0.0
    return inside / total


def flat(value, size=(6, 10)):
    return np.full((*size, 3), value, dtype=np.uint8)


@pytest.fixture
def case(rng):
    photo = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    partners = tuple(Partner(f"other{number}", np.full_like(photo, 10 * number + 10), 0.9) for number in range(3))
    return Case("photo", photo, (1,), np.array([0.1, 0.9]), 0.9, seed=0, content=b"photo", partners=partners)


@pytest.fixture
def metric():
    return METRICS.build("grid_pointing_game")


def test_score_by_hand():
    saliency_map = np.array([[3.0, 1, 2, -5], [0, 1, 0, 0], [1, 0, 0, 0], [0, -9, 0, 2]])
    assert [grid_pointing_game(saliency_map, cell) for cell in range(4)] == [0.5, 0.2, 0.1, 0.2]


def test_middle_row_and_column_of_odd_sides_do_not_count():
    saliency_map = np.array([[3.0, 50, 1], [70, 90, 80], [0, 60, 4]])
    assert [grid_pointing_game(saliency_map, cell) for cell in range(4)] == [0.375, 0.125, 0.0, 0.5]


@pytest.mark.parametrize("size", SIZES)
def test_equals_its_twin(size, rng):
    for _ in range(20):
        saliency_map = rng.normal(size=size)
        if min((saliency_map[cell_slices(size, cell)] > 0).sum() for cell in range(4)) == 0:
            saliency_map = np.abs(saliency_map)
        for cell in range(4):
            assert grid_pointing_game(saliency_map, cell) == pytest.approx(twin(saliency_map, cell), abs=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, 1e-30])
def test_constant_map_is_chance(size, value):
    assert [grid_pointing_game(np.full(size, value), cell) for cell in range(4)] == [0.25] * 4


@pytest.mark.parametrize("size", SIZES)
def test_map_of_one_cell_is_found_in_it_alone(size):
    for cell in range(4):
        saliency_map = np.zeros(size)
        saliency_map[cell_slices(size, cell)] = 1.0
        assert [grid_pointing_game(saliency_map, other) for other in range(4)] == [float(cell == n) for n in range(4)]


def test_positive_nowhere_or_not_finite_is_not_scored(rng):
    assert np.isnan(grid_pointing_game(-1 - rng.random((6, 6)), 0))
    assert np.isnan(grid_pointing_game(np.where(np.eye(6) > 0, np.nan, 1.0), 0))


def test_cells_of_a_wide_image_follow_rows_before_columns():
    assert cell_slices((4, 10), 1) == (slice(0, 2), slice(5, 10))
    assert cell_slices((4, 10), 2) == (slice(2, 4), slice(0, 5))
    assert cell_slices((5, 9), 3) == (slice(3, 5), slice(5, 9))


@pytest.mark.parametrize("size", SIZES)
def test_mosaic_shows_each_image_in_its_cell(size):
    shown = mosaic([flat(value, size) for value in (10, 20, 30, 40)])
    assert (shown.shape, shown.dtype) == ((*size, 3), np.uint8)
    for cell, value in enumerate((10, 20, 30, 40)):
        assert (shown[cell_slices(size, cell)] == value).all()
    assert shown.min() == 10  # no gap


def test_mosaic_shrinks_by_the_mean_of_what_a_pixel_covers():
    stripes = np.zeros((8, 8, 3), dtype=np.float32)
    stripes[:, ::2] = 100.0
    shown = mosaic([stripes] * 4)
    # Bilinear and antialiased: weights 1/8, 3/8, 3/8, 1/8 inside.
    np.testing.assert_allclose(shown[:, 1:3], 50.0, atol=1e-4)
    assert shown.dtype == np.float32


@pytest.mark.parametrize("channels", [1, 4])
def test_mosaic_keeps_channels(channels):
    images = [np.full((6, 6, channels), value, dtype=np.uint8) for value in (1, 2, 3, 4)]
    assert mosaic(images).shape == (6, 6, channels)


def test_request_holds_the_image_in_its_drawn_cell(metric, case):
    (request,) = metric.requests(np.ones((8, 12)), case)
    assert request.kind == "explain"
    assert request.target is None
    cell = metric.cell_of(case)
    own = request.pixels[cell_slices((8, 12), cell)]
    np.testing.assert_array_equal(own, mosaic([case.pixels] * 4)[:4, :6])
    others = [request.pixels[cell_slices((8, 12), other)].mean() for other in range(4) if other != cell]
    assert others == [10.0, 20.0, 30.0]


def test_cell_depends_on_seed_and_content(metric, case):
    cells = {metric.cell_of(replace(case, content=bytes([number]))) for number in range(40)}
    assert cells == {0, 1, 2, 3}
    drawn = [[metric.cell_of(replace(case, content=bytes([n]), seed=seed)) for n in range(40)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    counts = np.bincount([metric.cell_of(replace(case, content=str(n).encode())) for n in range(800)], minlength=4)
    assert (abs(counts - 200) < 60).all()


def test_what_is_not_scored_and_why(metric, case):
    unsure = replace(case.partners[1], score=0.49)
    wrong = replace(case.partners[2], is_right=False)
    unknown = replace(case.partners[0], score=float("nan"))

    def reason(**changes):
        return metric.unscored_reason(replace(case, **changes))

    assert reason() is None
    assert reason(misclassified=True) == "misclassified"
    assert reason(not_finite="not finite") == "not finite"
    assert reason(partners=(), partners_reason="no label") == "no label"
    assert reason(clean_score=0.49) == "the model's score of the image is below 0.5"
    for partner in (unsure, wrong, unknown):
        assert reason(partners=(*case.partners[:2], partner)) == (
            "a partner image is misclassified, or its score is below 0.5"
        )
    assert reason(pixels=np.zeros((1, 8, 3), np.uint8)) == "the model's input is too small for four cells"


def test_confidence_is_inclusive_and_checked(case):
    assert METRICS.build("grid_pointing_game(confidence=0.9)").unscored_reason(case) is None
    strict = METRICS.build("grid_pointing_game(confidence=0.99)")
    assert strict.unscored_reason(case) == "the model's score of the image is below 0.99"
    with pytest.raises(ConfigError, match=r"confidence=1\.5 is not allowed; a score, 0 to 1"):
        METRICS.build("grid_pointing_game(confidence=1.5)")


def test_needs_another_map_and_no_region(metric):
    assert needs_of(metric) == ("maps",)


def test_declared_requests_are_those_that_are_made(rng):
    metric = METRICS.build("grid_pointing_game")
    pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    partners = (Partner("partner", pixels, 1.0),) * metric.n_partners
    case = Case("photo", pixels, (0,), np.array([0.9, 0.1]), 0.9, seed=0, partners=partners)
    assert tuple(one.kind for one in metric.requests(rng.random((8, 8)), case)) == metric.request_kinds
