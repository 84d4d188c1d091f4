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
        ([-9.0, 0.0, -1.0, 5.0], 0.75),  # what is negative counts as zero
        ([-2.0, -2.0], 0.0),
    ],
)
def test_gini_index(values, expected):
    assert gini_index(np.array([values])) == pytest.approx(expected, abs=1e-12)


def test_no_positive_part_no_score():
    assert np.isnan(gini_index(np.array([[-1.0, 0.0]])))
    assert np.isnan(gini_index(np.array([[np.nan, 1.0]])))
