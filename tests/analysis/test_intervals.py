"""Intervals against scipy's, by hand, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evalkit.analysis.statistics.intervals import Interval, bca_means, resample_counts, wilson_interval


def bca_mean(values, counts):
    return bca_means(np.asarray(values, dtype=float).reshape(-1, 1), counts)[0]


def test_resample_counts_draw_n_images_each_time(rng):
    counts = resample_counts(rng, 7, 500)
    assert counts.shape == (500, 7)
    assert counts.dtype == np.uint16
    np.testing.assert_array_equal(counts.sum(axis=1), np.full(500, 7))
    assert abs(counts.mean() - 1) < 1e-12
    assert counts.var() == pytest.approx(6 / 7, rel=0.1)  # binomial(7, 1/7)


@pytest.mark.parametrize("n_images", [8, 25, 80])
def test_the_interval_of_a_mean_is_scipys(rng, n_images):
    values = rng.gamma(0.6, size=n_images)  # skewed, so that bias and acceleration matter
    found = bca_mean(values, resample_counts(rng, n_images, 40_000))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=40_000, rng=rng, method="BCa").confidence_interval
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.03 * width)
    plain = stats.bootstrap((values,), np.mean, n_resamples=40_000, rng=rng, method="percentile").confidence_interval
    assert abs(plain.high - theirs.high) > 0.04 * width  # so the test can tell BCa from percentiles


def test_interval_covers_the_true_mean_at_its_level(rng):
    covered = 0
    for _ in range(400):
        found = bca_mean(rng.normal(0.3, 0.1, 40), resample_counts(rng, 40, 1_000))
        covered += found.low <= 0.3 <= found.high
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.parametrize(
    ("values", "reason"),
    [([], "nothing was scored"), ([0.4], "one image"), ([0.4, 0.4, 0.4], "all scores are equal")],
)
def test_missing_interval_has_a_reason(values, reason, rng):
    counts = resample_counts(rng, max(len(values), 1), 100)
    assert bca_mean(np.array(values), counts) == Interval(None, None, reason)


def test_interval_of_few_images_is_unreliable(rng):
    assert bca_mean(rng.random(19), resample_counts(rng, 19, 500)).reason == "fewer than 20 images: unreliable"
    assert bca_mean(rng.random(20), resample_counts(rng, 20, 500)).reason is None
    assert wilson_interval(3, 19).reason == "fewer than 20 images: unreliable"


def test_wilson_by_hand():
    found = wilson_interval(20, 20)
    z2 = stats.norm.ppf(0.975) ** 2
    assert found.high == pytest.approx(1.0)
    assert found.low == pytest.approx(20 / (20 + z2))
    found = wilson_interval(10, 40)
    center, half = (10 + z2 / 2) / (40 + z2), np.sqrt(z2 * (10 * 30 / 40 + z2 / 4)) / (40 + z2)
    assert (found.low, found.high) == pytest.approx((center - half, center + half))
    assert wilson_interval(0, 0) == Interval(None, None, "nothing was scored")


def test_columns_have_the_intervals_that_they_have_alone(rng):
    values = rng.random((30, 4)) ** [1, 2, 3, 1]
    values[:, 3] = 0.5
    counts = resample_counts(rng, 30, 500)
    found = bca_means(values, counts)
    for place in range(3):
        assert found[place] == pytest.approx(bca_mean(values[:, place], counts))
    assert found[3] == Interval(None, None, "all scores are equal")


def test_fewer_resamples_are_the_first_of_more():
    few, many = (resample_counts(np.random.default_rng(3), 2_500, count) for count in (1_700, 3_000))
    np.testing.assert_array_equal(few, many[:1_700])
