"""Sparseness, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.metrics.complexity import gini_index


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 1.0, 1.0, 1.0], 0.0),
        ([0.0, 0.0, 0.0, 5.0], 0.75),  # all in one of n: 1 - 1/n
        ([0.0, 1.0, 0.0, 1.0], 0.5),
        ([1.0, 3.0], 0.25),
        ([-1.0, 3.0], 0.25),  # magnitudes count
        ([-9.0, 0.0, -1.0, 5.0], 31 / 60),  # 0, 1, 5, 9: (-1 * 1 + 1 * 5 + 3 * 9) / (4 * 15)
        ([-1.0, 0.0], 0.5),
        ([-2.0, 2.0], 0.0),
        ([-2.0, -2.0], 0.0),
        ([0.0, 0.0], 0.0),  # a constant map, as any other
    ],
)
def test_gini_index(values, expected):
    assert gini_index(np.array([values])) == pytest.approx(expected, abs=1e-12)


def test_a_map_that_is_not_finite_has_no_sparseness():
    assert np.isnan(gini_index(np.array([[np.nan, 1.0]])))
