"""Which pixels are equal, and where a ranking may be cut: worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.metrics.levels import cuts, is_constant, level_ranks, raster_ranks, scaled, top_level


def test_pixels_of_equal_value_share_a_rank():
    rank, boundaries = level_ranks(np.array([[3.0, 1.0], [3.0, 2.0]]))
    np.testing.assert_array_equal(rank, [[0, 3], [0, 2]])
    np.testing.assert_array_equal(boundaries, [0, 2, 3, 4])


def test_values_within_the_tolerance_are_equal():
    assert level_ranks(np.array([[1.0, 1.0 - 0.9e-6]]))[1].tolist() == [0, 2]
    assert level_ranks(np.array([[1.0, 1.0 - 1.1e-6]]))[1].tolist() == [0, 1, 2]
    # The largest magnitude counts, of whichever sign.
    assert level_ranks(np.array([[1e-7, 0.0, -1.0]]))[1].tolist() == [0, 2, 3]


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
