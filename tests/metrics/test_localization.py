"""Localization metrics, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.core.boxes import rasterize
from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Region
from evalkit.metrics.localization import (
    EnergyPointingGame,
    PointingGame,
    RelevanceMassAccuracy,
    RelevanceRankAccuracy,
    mass_inside,
    pointing_game,
    relevance_rank_accuracy,
)


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
        rasterize(np.array([[0.5, 0.0, 2.5, 1.0], [3.0, 0.6, 4.0, 2.0]]), (2, 4)),
        [[True, True, False, False], [False, False, False, True]],
    )


def test_energy_looks_at_the_boxes_and_mass_at_the_mask():
    mask = region_of((2, 4), 0, slice(0, 2))
    truth = Region(mask, np.array([[0.0, 0.0, 2.0, 2.0]]), exact=True)
    saliency_map = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]])
    assert EnergyPointingGame().score_region(saliency_map, truth) == 4 / 5
    assert RelevanceMassAccuracy().score_region(saliency_map, truth) == 2 / 5


LAST = region_of((2, 4), slice(None), 3)  # the last column of 2 x 4


def ignoring(region=LEFT, boxes=((0.0, 0.0, 2.0, 2.0),), ignore=LAST):
    return Region(region, np.array(boxes), exact=True, ignore=ignore)


def test_no_maximum_is_looked_for_among_ignored_pixels():
    region = region_of((40, 40), slice(0, 10), slice(0, 10))
    saliency_map = peak((40, 40), (2, 2)) + 5 * peak((40, 40), (39, 39))
    assert pointing_game(saliency_map, region) == 0.0
    assert pointing_game(saliency_map, region, ignore=region_of((40, 40), 39, 39)) == 1.0
    # The largest magnitude that counts says what is 0: 1e-9 is it beside 1e6, not without it.
    saliency_map = np.array([[0.0, 1e-9, -1.0, 1e6]])
    here, far = region_of((1, 4), 0, 1), region_of((1, 4), 0, 3)
    assert pointing_game(saliency_map, here, tolerance_px=0.5, ignore=far) == 1.0


def test_ignored_pixels_have_no_mass_and_no_area():
    saliency_map = np.array([[3.0, 1.0, 2.0, 9.0], [0.0, 0.0, 0.0, 2.0]])
    # Inside 4 of the 6 that are left.
    assert EnergyPointingGame().score_region(saliency_map, ignoring()) == 4 / 6
    assert RelevanceMassAccuracy().score_region(saliency_map, ignoring()) == 4 / 6
    # A constant map: 4 of 6 pixels are the object's; a map that varies among ignored pixels alone is constant.
    flat = np.where(LAST, 7.0, 1.0)
    assert EnergyPointingGame().score_region(flat, ignoring()) == 4 / 6
    assert RelevanceMassAccuracy().score_region(flat, ignoring()) == 4 / 6
    assert np.isnan(RelevanceMassAccuracy().score_region(np.where(LAST, 7.0, saliency_map - 4), ignoring()))


def test_a_box_loses_the_ignored_pixels_inside_it():
    mask, border = region_of((2, 4), 0, 0), region_of((2, 4), 0, 1)
    saliency_map = np.array([[1.0, 5.0, 0.0, 2.0], [1.0, 0.0, 0.0, 0.0]])
    assert EnergyPointingGame().score_region(saliency_map, ignoring(mask, ignore=border)) == 2 / 4


def test_the_k_highest_are_sought_among_counted_pixels():
    saliency_map = np.array([[8.0, 7.0, 6.0, 9.0], [2.0, 3.0, 5.0, 4.0]])
    # K = 4 of 8, 7, 6, 5: two inside; with the last column they are 9, 8, 7, 6, and two inside as well.
    assert RelevanceRankAccuracy().score_region(saliency_map, ignoring()) == 2 / 4
    # K = 4 of 8, 7, 5, 3 once the third column is ignored in place of the last: 9, 8, 7, 4.
    third = region_of((2, 4), slice(None), 2)
    assert RelevanceRankAccuracy().score_region(saliency_map, ignoring(ignore=third)) == 2 / 4
    both = region_of((2, 4), slice(None), slice(2, 4))
    assert RelevanceRankAccuracy().score_region(saliency_map, ignoring(ignore=both)) == 1.0


def test_what_an_ignored_pixel_shows_means_nothing():
    rng = np.random.default_rng(0)
    for metric in (PointingGame(), EnergyPointingGame(), RelevanceMassAccuracy(), RelevanceRankAccuracy()):
        saliency_map = rng.random((2, 4))
        other = np.where(LAST, [[1e9, 1e9, 1e9, np.nan]] * 2, saliency_map)
        assert metric.score_region(other, ignoring()) == metric.score_region(saliency_map, ignoring())
