"""Intervals against scipy's, the exact binomial ones, by hand, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evalkit.analysis.scores import scores_of
from evalkit.analysis.statistics.intervals import (
    Interval,
    bca_means,
    bounded_intervals,
    mean_intervals,
)
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.catalog import METRICS

UNIT = (0.0, 1.0)


def bca_mean(values, n_resamples, seed=0):
    return bca_means(np.asarray(values, dtype=float).reshape(-1, 1), Resampling(seed, n_resamples))[0]


def bounded(values, bounds=UNIT):
    return bounded_intervals(np.asarray(values, dtype=float).reshape(-1, 1), bounds)[0]


def of_metric(text, values):
    """Return the interval of one column of scores of a metric."""
    numbers = np.asarray(values, dtype=float).reshape(-1, 1, 1)
    return scores_of(METRICS.build(text), numbers).intervals(Resampling(0, 500))[0]


@pytest.mark.parametrize("n_images", [8, 25, 80])
def test_the_interval_of_a_mean_is_scipys(rng, n_images):
    values = rng.gamma(0.6, size=n_images)  # skewed, so that bias and acceleration matter
    found = bca_mean(values, 40_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=40_000, rng=rng, method="BCa").confidence_interval
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.03 * width)
    plain = stats.bootstrap((values,), np.mean, n_resamples=40_000, rng=rng, method="percentile").confidence_interval
    assert abs(plain.high - theirs.high) > 0.04 * width  # so the test can tell BCa from percentiles


def test_interval_covers_the_true_mean_at_its_level(rng):
    covered = 0
    for seed in range(400):
        found = bca_mean(rng.normal(0.3, 0.1, 40), 1_000, seed)
        covered += found.low <= 0.3 <= found.high
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.parametrize(
    ("values", "reason"),
    [([], "nothing was scored"), ([0.4], "one image"), ([0.4, 0.4, 0.4], "all scores are equal")],
)
def test_missing_bca_interval_has_a_reason(values, reason):
    assert bca_mean(values, 100) == Interval(None, None, reason)


@pytest.mark.parametrize(("values", "reason"), [([], "nothing was scored"), ([0.4], "one image")])
def test_missing_bounded_interval_has_a_reason(values, reason):
    assert bounded(values) == Interval(None, None, reason)


def test_bca_interval_of_few_images_is_unreliable(rng):
    assert bca_mean(rng.random(19), 500).reason == "fewer than 20 images: unreliable"
    assert bca_mean(rng.random(20), 500).reason is None


def test_equal_scores_have_an_interval():
    """One unseen image of weight Beta(1, n) at the end of the range: 0.025^(1/24) is 0.857."""
    low, high, reason, _ = bounded(np.ones(24))
    assert (low, high, reason) == (pytest.approx(0.8575, abs=1e-3), pytest.approx(1.0), None)
    middle = bounded(np.full(24, 0.5))
    assert (middle.low, middle.high) == (
        pytest.approx(0.5 * 0.8575, abs=1e-3),
        pytest.approx(1 - 0.5 * 0.8575, abs=1e-3),
    )


@pytest.mark.parametrize("hits", [0, 1, 12, 23, 24])
def test_bounded_interval_of_hits_is_clopper_pearsons(hits):
    exact = stats.binomtest(hits, 24).proportion_ci(0.95, method="exact")
    found = bounded(np.arange(24) < hits)
    assert (found.low, found.high) == (pytest.approx(exact.low, abs=1e-3), pytest.approx(exact.high, abs=1e-3))


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [
        ("energy_pointing_game", 0.857, 1.0),
        ("pointing_game", 0.857, 1.0),
        ("increase_in_confidence", 0.8575, 1.0),
    ],
)
def test_metrics_with_bounds_have_an_interval_where_all_is_right(metric, low, high):
    found = of_metric(metric, np.ones(24))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-9))
    assert found.reason is None


@pytest.mark.parametrize("metric", ["max_sensitivity", "insertion(score=log_odds)", "deletion(score=log_odds)"])
def test_metrics_without_bounds_have_the_bca_interval(rng, metric):
    values = rng.gamma(0.6, size=30)
    assert of_metric(metric, values) == bca_mean(values, 500)
    assert of_metric(metric, np.ones(24)) == Interval(None, None, "all scores are equal")


def test_a_missing_bound_on_one_side_is_no_bound(rng):
    values = rng.random((30, 2))
    resampling = Resampling(0, 500)
    for bounds in ((0.0, np.inf), (-np.inf, np.inf)):
        assert mean_intervals(values, bounds, resampling) == bca_means(values, resampling)
    assert mean_intervals(values, UNIT, resampling) == bounded_intervals(values, UNIT)


def test_a_score_beyond_the_bounds_by_rounding_moves_them():
    found = bounded([*[1.0] * 23, 1 + 1e-12])
    assert 0.85 < found.low < found.high <= 1 + 1e-9


def test_one_failure_in_24_is_inside_the_interval():
    """Insertion-like scores of 0.9 with a failure in 20: a sample of 24 has none in 29 % of runs."""
    true_mean = 0.95 * 0.9
    for n_failures in (0, 1, 2):
        found = bounded([*[0.9] * (24 - n_failures), *[0.0] * n_failures])
        assert found.low < true_mean < found.high


@pytest.mark.parametrize("n_images", [12, 24])
def test_intervals_of_rare_failures_cover(n_images):
    """The bootstrap covered 69 % at 12 images and 89 % at 24."""
    rng = np.random.default_rng(3)
    failed = rng.random((n_images, 400)) < 0.06
    scores = np.where(failed, 0.1 * rng.random(failed.shape), 0.9 + 0.1 * rng.random(failed.shape))
    true_mean = 0.06 * 0.05 + 0.94 * 0.95
    found = bounded_intervals(scores, UNIT)
    assert np.mean([interval.low <= true_mean <= interval.high for interval in found]) >= 0.93


def test_order_of_images_does_not_move_bounded_intervals(rng):
    values = rng.random((24, 2))
    plain, turned = bounded_intervals(values, UNIT), bounded_intervals(values[::-1], UNIT)
    for one, other in zip(plain, turned, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)


def test_columns_have_the_intervals_that_they_have_alone(rng):
    values = rng.random((30, 4)) ** [1, 2, 3, 1]
    values[:, 3] = 0.5
    found, of_bounded = bca_means(values, Resampling(0, 500)), bounded_intervals(values, UNIT)
    for column in range(4):
        assert of_bounded[column] == pytest.approx(bounded(values[:, column]))
    for column in range(3):
        assert found[column] == pytest.approx(bca_mean(values[:, column], 500))
    assert found[3] == Interval(None, None, "all scores are equal")
