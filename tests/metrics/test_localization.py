"""Localization metrics, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.errors import ConfigError
from evalkit.metrics.localization import (
    EnergyPointingGame,
    PointingGame,
    RelevanceMassAccuracy,
    box_region,
    mass_inside,
    pointing_game,
    relevance_rank_accuracy,
)
from evalkit.metrics.spec import Truth


def region_of(size, rows, columns):
    region = np.zeros(size, dtype=bool)
    region[rows, columns] = True
    return region


LEFT = region_of((2, 4), slice(None), slice(0, 2))  # the left half of 2 x 4


def peak(size, *places):
    saliency_map = np.zeros(size)
    for place in places:
        saliency_map[place] = 1.0
    return saliency_map


def test_pointing_game_is_strict_at_the_tolerance():
    region = region_of((40, 40), slice(0, 10), slice(0, 10))
    assert pointing_game(peak((40, 40), (5, 23)), region) == 1.0  # 14 px from column 9
    assert pointing_game(peak((40, 40), (5, 24)), region) == 0.0  # 15 px
    assert pointing_game(peak((40, 40), (18, 21)), region) == 0.0  # 9 down, 12 across: 15 px
    assert pointing_game(peak((40, 40), (5, 24)), region, tolerance_px=15.01) == 1.0


def test_pointing_game_counts_the_photos_own_pixels():
    region = region_of((40, 40), slice(0, 10), slice(0, 10))
    maximum = peak((40, 40), (5, 17))  # 8 map pixels to the right
    assert pointing_game(maximum, region, pixel_size=(9.0, 1.8)) == 1.0  # 14.4 photo pixels
    assert pointing_game(maximum, region, pixel_size=(1.0, 2.0)) == 0.0  # 16


def test_tied_maxima_share_the_point():
    region = region_of((40, 40), slice(0, 10), slice(0, 10))
    assert pointing_game(peak((40, 40), (0, 0), (39, 39), (39, 38), (38, 39)), region) == 0.25


def test_pointing_game_tolerance_is_checked():
    for tolerance in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ConfigError, match="tolerance_px"):
            PointingGame(tolerance_px=tolerance)


def test_mass_inside_is_the_share_of_the_positive_part():
    saliency_map = np.array([[3.0, 1.0, 2.0, -5.0], [0.0, 0.0, 0.0, 2.0]])
    assert mass_inside(saliency_map, LEFT) == 4 / 8
    assert mass_inside(saliency_map * 7, LEFT) == 4 / 8
    assert np.isnan(mass_inside(np.minimum(saliency_map, 0), LEFT))


@pytest.mark.parametrize("value", [1.0, 0.0, -2.0])
def test_a_constant_map_has_the_regions_share_of_the_area(value):
    assert mass_inside(np.full((2, 4), value), LEFT) == 0.5
    assert relevance_rank_accuracy(np.full((2, 4), value), LEFT) == 0.5


def test_relevance_rank_accuracy_counts_the_k_highest():
    saliency_map = np.array([[8.0, 7.0, 6.0, 1.0], [2.0, 3.0, 5.0, 4.0]])
    assert relevance_rank_accuracy(saliency_map, LEFT) == 2 / 4  # 8, 7 inside; 6, 5 outside


def test_the_level_that_straddles_k_counts_in_proportion():
    saliency_map = np.array([[9.0, 5.0, 5.0, 0.0], [5.0, 0.0, 9.0, 0.0]])
    # K = 4: both nines (one inside), then 2 of the three fives, two of which are inside: 1 + 2 * 2/3.
    assert relevance_rank_accuracy(saliency_map, LEFT) == pytest.approx((1 + 4 / 3) / 4)


def test_boxes_are_rasterized_by_pixel_centers():
    np.testing.assert_array_equal(
        box_region(np.array([[0.5, 0.0, 2.5, 1.0], [3.0, 0.6, 4.0, 2.0]]), (2, 4)),
        [[True, True, False, False], [False, False, False, True]],
    )


def test_energy_looks_at_the_boxes_and_mass_at_the_mask():
    mask = region_of((2, 4), 0, slice(0, 2))
    truth = Truth(mask, np.array([[0.0, 0.0, 2.0, 2.0]]), exact=True)
    saliency_map = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]])
    assert EnergyPointingGame().score(saliency_map, truth) == 4 / 5
    assert RelevanceMassAccuracy().score(saliency_map, truth) == 2 / 5
