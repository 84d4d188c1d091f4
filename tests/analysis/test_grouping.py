"""Random groups keep sums, sizes and the variance of a mean."""

import numpy as np

from evalkit.analysis.statistics.grouping import grouped


def test_few_rows_stay_themselves():
    rows = np.arange(6.0).reshape(3, 2)
    sums, sizes = grouped(rows, 3, np.random.default_rng(0))
    assert np.array_equal(sums, rows)
    assert sizes.tolist() == [1, 1, 1]


def test_groups_add_up_and_differ_by_one_in_size():
    rows = np.random.default_rng(1).integers(0, 100, (1_003, 2, 3)).astype(float)
    sums, sizes = grouped(rows, 100, np.random.default_rng(0))
    assert sums.shape == (100, 2, 3)
    assert np.array_equal(sums.sum(axis=0), rows.sum(axis=0))
    assert sorted(set(sizes.tolist())) == [10, 11]
    assert sizes.sum() == 1_003


def test_equal_states_give_equal_groups():
    rows = np.random.default_rng(1).normal(size=(500, 2))
    first, _ = grouped(rows, 50, np.random.default_rng(7))
    again, _ = grouped(rows, 50, np.random.default_rng(7))
    assert np.array_equal(first, again)


def test_groups_keep_the_variance_of_a_mean():
    rows = np.sort(np.random.default_rng(1).exponential(size=20_000))  # in order: neighbors are alike
    sums, sizes = grouped(rows, 1_000, np.random.default_rng(2))
    means = sums / sizes
    assert abs(means.std(ddof=1) / np.sqrt(1_000) / (rows.std() / np.sqrt(20_000)) - 1) < 0.08
