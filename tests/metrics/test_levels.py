"""Which pixels are equal, and where a ranking may be cut: worked by hand."""

from __future__ import annotations

from itertools import product
from time import process_time

import numpy as np
import pytest

from evalkit.explainers.occlusion import corners, paint
from evalkit.metrics.levels import _level_ranks, cuts, is_constant, level_ranks, raster_ranks, scaled, top_level
from evalkit.metrics.localization import relevance_rank_accuracy


def test_pixels_of_equal_value_share_a_rank():
    rank, boundaries = level_ranks(np.array([[3.0, 1.0], [3.0, 2.0]]))
    np.testing.assert_array_equal(rank, [[0, 3], [0, 2]])
    np.testing.assert_array_equal(boundaries, [0, 2, 3, 4])


def sizes(saliency_map):
    """Return the number of pixels of each level, highest first."""
    return np.diff(level_ranks(np.asarray(saliency_map))[1]).tolist()


def test_values_within_the_tolerance_are_equal():
    assert sizes([[1.0, 1.0 - 0.9e-6]]) == [2]
    assert sizes([[1.0, 1.0 - 1.1e-6]]) == [1, 1]
    # The tolerance is relative to the level's own highest value, of whichever sign.
    assert sizes([[1e9, 1.0, 1.0 - 0.9e-6]]) == [1, 2]
    assert sizes([[1e9, 1.0, 1.0 - 1.1e-6]]) == [1, 1, 1]
    assert sizes([[1e9, -1.0, -1.0 - 0.9e-6]]) == [1, 2]
    assert sizes([[1e9, -1.0, -1.0 - 1.1e-6]]) == [1, 1, 1]


def test_what_is_left_of_terms_that_cancel_is_zero():
    assert sizes([[1.0, 0.9e-14, 0.0, -0.9e-14]]) == [1, 3]
    assert sizes([[1.0, 1.1e-14, 0.0, -1.1e-14]]) == [1, 1, 1, 1]
    assert sizes([[-1.0, 0.9e-14, 0.0, -0.9e-14]]) == [3, 1]
    assert sizes([[0.1 + 0.2 - 0.3, 0.0, 0.3]]) == [1, 2]


def test_a_level_ends_at_the_tolerance_from_its_first_value():
    # Neighbors are 0.4 of the tolerance apart: three of them from the first value on are within it.
    assert sizes([1.0 - 0.4e-6 * np.arange(8)]) == [3, 3, 2]
    assert sizes([-1.0 - 0.4e-6 * np.arange(8)]) == [3, 3, 2]
    # A gap begins a level wherever the one before it is.
    assert sizes([[1.0, 1.0 - 0.9e-6, 1.0 - 1.8e-6, 0.5, 0.5 - 0.4e-6, 0.5 - 0.8e-6]]) == [2, 1, 2, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_high_pixel_does_not_merge_all_others(dtype):
    saliency_map = np.r_[np.linspace(0, 0.04, 50175), 1.0].astype(dtype).reshape(224, 224)
    assert len(sizes(saliency_map)) == len(np.unique(saliency_map)) == 224 * 224
    region = saliency_map >= np.sort(saliency_map, axis=None)[-5000]
    assert relevance_rank_accuracy(saliency_map, region) == 1.0
    assert len(cuts(level_ranks(saliency_map)[1], 28)) == 29


@pytest.mark.parametrize("sigma", [1, 3, 5])
def test_a_map_with_heavy_tails_keeps_its_levels(sigma, rng):
    saliency_map = rng.lognormal(sigma=sigma, size=(1024, 1024)).astype(np.float32)
    found = np.array(sizes(saliency_map))
    # Of a million values of seven digits, some are within a millionth of each other.
    assert len(found) > 0.75 * len(np.unique(saliency_map))
    is_zero = saliency_map < 1e-14 * saliency_map.max()  # only where sigma is 5
    assert np.sort(found)[-2] < 10
    assert found.max() < 10 + is_zero.sum()


@pytest.mark.parametrize(("low", "factor"), [(0.9, 1), (0.5, 1), (0.5, -1)])
def test_a_million_close_values_are_ranked_in_a_second(low, factor):
    saliency_map = factor * np.linspace(low, 1, 1 << 20).reshape(1024, 1024)
    began = process_time()
    found = sizes(saliency_map)
    assert process_time() - began < 1
    values = np.sort(np.abs(saliency_map), axis=None)
    widest = values[0] * 1e-6 / (values[1] - values[0])
    assert max(found) <= np.ceil(2 * widest + 1)


@pytest.mark.parametrize(("patch_size", "stride"), [(56, 28), (48, 16), (40, 13), (32, 8)])
def test_pixels_equal_in_exact_arithmetic_share_a_level(patch_size, stride, rng):
    """Whole tenths are painted as occlusion paints its drops: the exact values are fractions."""
    firsts = corners(224, patch_size, stride)
    drops = rng.integers(-3, 4, len(firsts) ** 2)
    painted = paint(drops * 0.1, firsts, firsts, patch_size, (224, 224)).astype(np.float32)
    total, count = np.zeros((2, 224, 224), dtype=np.int64)
    for drop, (row, column) in zip(drops, product(firsts, firsts), strict=True):
        total[row : row + patch_size, column : column + patch_size] += drop
        count[row : row + patch_size, column : column + patch_size] += 1
    shared = np.gcd(total, count)
    exact, of_pixel = np.unique((total // shared) * 10_000 + count // shared, return_inverse=True)
    rank = level_ranks(painted)[0].ravel()
    assert len(np.unique(painted)) >= len(exact)  # rounded sums: more in all but the coarsest grid
    assert len(np.unique(rank)) == len(exact)
    assert len(np.unique(np.stack([rank, of_pixel.ravel()]), axis=1).T) == len(exact)


@pytest.mark.parametrize("kind", ["noise", "heavy tails", "close values"])
def test_the_scale_of_a_map_changes_no_level(kind, rng):
    noise = rng.normal(size=(40, 40))
    saliency_map = {"noise": noise, "heavy tails": noise**9, "close values": 1 + 1e-6 * noise}[kind]
    rank = level_ranks(saliency_map)[0]
    for factor in (2.0**40, 2.0**-40):
        np.testing.assert_array_equal(level_ranks(factor * saliency_map)[0], rank)


def test_a_reversed_map_has_the_same_levels_unless_close_values_chain(rng):
    levels = rng.integers(-3, 4, 400)
    values = levels * (1 + rng.uniform(-4e-7, 4e-7, 400)) + rng.uniform(-1e-14, 1e-14, 400)
    assert sizes(-values) == sizes(values)[::-1] == np.bincount(levels + 3).tolist()
    # A chain is cut from its highest value on: here where 0.6 + 0.6 of the tolerance is too far, from either side.
    assert sizes([[1.0, 1.0 - 0.6e-6, 1.0 - 1.2e-6]]) == [2, 1]
    assert sizes([[-1.0, -1.0 + 0.6e-6, -1.0 + 1.2e-6]]) == [2, 1]


def test_raster_ranks_break_ties_by_place():
    rank, boundaries = raster_ranks(np.array([[3.0, 1.0], [3.0, 2.0]]))
    np.testing.assert_array_equal(rank, [[0, 3], [1, 2]])
    np.testing.assert_array_equal(boundaries, np.arange(5))


@pytest.mark.parametrize(
    ("boundaries", "steps", "expected"),
    [
        ([0, 1, 2, 3, 4], 4, [0, 1, 2, 3, 4]),
        ([0, 1, 2, 3, 4], 2, [0, 2, 4]),
        ([0, 16], 4, [0, 16]),  # a constant map: both ends
        ([0, 3, 16], 4, [0, 3, 16]),  # 4 is nearest to 3; 8 to 3 (5 away, not 8); 12 to 16
        ([0, 2, 6, 8], 2, [0, 2, 8]),  # 4 lies as near to 2 as to 6: the lower one
        ([0, 1, 7], 3, [0, 1, 7]),  # 7/3 is nearest to 1, 14/3 to 7
    ],
)
def test_cuts_fall_on_the_boundary_nearest_to_each_step(boundaries, steps, expected):
    np.testing.assert_array_equal(cuts(np.array(boundaries), steps), expected)


def test_224_pixels_square_in_28_steps_are_cut_every_1792_pixels():
    counts = cuts(np.arange(224 * 224 + 1), 28)
    np.testing.assert_array_equal(np.diff(counts), np.full(28, 1792))


def test_constant_top_level_and_scaled():
    assert is_constant(np.full((2, 2), -3.0))
    assert is_constant(np.zeros((2, 2)))
    assert not is_constant(np.array([[0.0, 1.0]]))
    np.testing.assert_array_equal(top_level(np.array([[2.0, 2.0, 1.0]])), [[True, True, False]])
    np.testing.assert_array_equal(scaled(np.array([[-1.0, 0.0, 3.0]])), [[0.0, 0.25, 1.0]])
    np.testing.assert_array_equal(scaled(np.full((1, 2), 7.0)), [[0.5, 0.5]])


def test_a_map_is_ranked_once_whatever_its_shape():
    saliency_map = np.random.default_rng(0).random((6, 7))
    _level_ranks.cache_clear()
    for values in (saliency_map, saliency_map.ravel(), saliency_map.reshape(7, 6)):
        np.testing.assert_array_equal(level_ranks(values)[0].ravel(), level_ranks(saliency_map)[0].ravel())
    assert _level_ranks.cache_info().misses == 1
