"""Resamples of images: counts, sums, and groups in place of many images."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.statistics.intervals import bca_means
from evalkit.analysis.statistics.paired_tests import compare_means
from evalkit.analysis.statistics.resampling import MOST_GROUPS, Resampling, resample_counts, resampled_sums


def test_resample_counts_draw_n_images_each_time(rng):
    counts = resample_counts(rng, 7, 500)
    assert counts.shape == (500, 7)
    assert counts.dtype == np.uint16
    np.testing.assert_array_equal(counts.sum(axis=1), np.full(500, 7))
    assert abs(counts.mean() - 1) < 1e-12
    assert counts.var() == pytest.approx(6 / 7, rel=0.1)  # binomial(7, 1/7)


def test_fewer_resamples_are_the_first_of_more():
    few, many = (resample_counts(np.random.default_rng(3), 2_500, count) for count in (1_700, 3_000))
    np.testing.assert_array_equal(few, many[:1_700])
    whole = Resampling(5, 300)
    np.testing.assert_array_equal(whole.first(100).counts(30), whole.counts(30)[:100])
    assert whole.first(300) is whole
    assert whole.first(1_000).n_resamples == 300


def test_resamples_depend_on_the_seed_and_the_number_of_images_only():
    one, other = Resampling(0, 200), Resampling(0, 200)
    for n_images in (3, 50, 20, 7, 9, 11):  # more numbers than are kept
        np.testing.assert_array_equal(one.counts(n_images), Resampling(0, 200).counts(n_images))
    np.testing.assert_array_equal(one.counts(3), other.counts(3))
    assert (one.counts(50) != Resampling(1, 200).counts(50)).any()


def test_means_of_resamples_equal_a_slow_loop(rng):
    values, resampling = rng.random((13, 2, 3)), Resampling(0, 40)
    slow = [np.repeat(values, row, axis=0).mean(axis=0) for row in resampling.counts(13)]
    np.testing.assert_allclose(resampling.means(values), slow)
    np.testing.assert_allclose(resampled_sums(resampling.counts(13), values) / 13, slow)


def test_blocks_are_the_counts_in_order():
    resampling = Resampling(0, 1_050)
    blocks = list(resampling.blocks(9, 500))
    assert [len(counts) for _, counts in blocks] == [500, 500, 50]
    np.testing.assert_array_equal(np.concatenate([counts for _, counts in blocks]), resampling.counts(9))
    for where, counts in blocks:
        np.testing.assert_array_equal(resampling.counts(9)[where], counts)


def test_up_to_a_thousand_images_are_their_own_groups(rng):
    values = rng.random((MOST_GROUPS, 2))
    rows = rng.random(MOST_GROUPS) > 0.5
    groups = Resampling(0, 10).grouped(values, rows)
    np.testing.assert_array_equal(groups.sums, np.where(rows[:, None], values, 0))
    np.testing.assert_array_equal(groups.sizes, rows)


@pytest.mark.parametrize("n_images", [1_001, 1_999, 3_000])
def test_groups_add_up_and_have_equal_sizes(rng, n_images):
    values, rows = rng.random((n_images, 2)), rng.random(n_images) > 0.3
    groups = Resampling(0, 10).grouped(values)
    assert groups.sums.shape == (MOST_GROUPS, 2)
    np.testing.assert_allclose(groups.sums.sum(axis=0), values.sum(axis=0))
    assert groups.sizes.sum() == n_images
    assert set(groups.sizes) <= {n_images // MOST_GROUPS, -(-n_images // MOST_GROUPS)}
    some = Resampling(0, 10).grouped(values, rows)
    np.testing.assert_allclose(some.sums.sum(axis=0), values[rows].sum(axis=0))
    assert some.sizes.sum() == rows.sum()


def test_equal_seeds_give_equal_groups(rng):
    values = rng.random((1_500, 1))
    one, other = (Resampling(seed, 10).grouped(values).sums for seed in (0, 1))
    np.testing.assert_array_equal(one, Resampling(0, 99).grouped(values).sums)
    assert (one != other).any()


def test_groups_keep_the_variance_of_a_mean(rng):
    """Sorted scores: groups of neighbors would not."""
    values = np.sort(rng.exponential(size=(3_000, 4)), axis=0)
    drawn = Resampling(0, 4_000).means(values)
    np.testing.assert_allclose(drawn.mean(axis=0), values.mean(axis=0), rtol=0.005)
    np.testing.assert_allclose(drawn.std(axis=0), values.std(axis=0) / np.sqrt(3_000), rtol=0.1)


def test_intervals_and_tests_of_groups_are_nearly_those_of_images(rng):
    values = rng.gamma(1.0, 1.0, (3_000, 2)) * [1.0, 1.05]
    error = values.std(axis=0) / np.sqrt(3_000)
    for column, (low, high, reason, _) in enumerate(bca_means(values, Resampling(0, 4_000))):
        mean = values[:, column].mean()
        assert ((mean - low) / error[column], (high - mean) / error[column]) == pytest.approx((1.96, 1.96), rel=0.12)
        assert reason is None
    gaps = values[:, 0] - values[:, 1]
    found = compare_means(values, Resampling(0, 4_000), np.inf, intervals=True)
    half = (found.high[0] - found.low[0]) / 2 / (gaps.std() / np.sqrt(3_000))
    assert 1.8 < half < 2.3
    assert found.differences[0] == pytest.approx(gaps.mean())
    assert found.n_images[0] == 3_000


def test_tests_of_groups_hold_where_explainers_miss_different_images(rng):
    values = rng.random((2_400, 3)) * [1.0, 1.0, 0.5]
    for column in range(3):
        values[rng.random(2_400) < 0.3, column] = np.nan
    found = compare_means(values, Resampling(0, 2_000), 1.0, intervals=True)
    for index, (first, second) in enumerate(found.pairs):
        gaps = values[:, first] - values[:, second]
        gaps = gaps[np.isfinite(gaps)]
        assert found.n_images[index] == len(gaps)
        assert found.differences[index] == pytest.approx(gaps.mean())
        half = (found.high[index] - found.low[index]) / 2 / (gaps.std() / np.sqrt(len(gaps)))
        assert 1.96 < half < 2.8  # three pairs by Bonferroni: 2.39
    assert (found.p_values < 0.05).tolist() == [False, True, True]
