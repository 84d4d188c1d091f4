"""Intervals of scores of a whole set: by hand, against a slow twin, how often they hold, and where there is none."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from evalkit.analysis.statistics.intervals import Interval, Resampling
from evalkit.analysis.statistics.set_intervals import set_interval
from evalkit.metrics.boxes import MaxBoxAccV1, MaxBoxAccV2, PxAP

SHARE = (0.0, 1.0)


def resampling(n_resamples=1_000, seed=0):
    return Resampling(seed, n_resamples)


def best(means):
    return np.asarray(means).max(axis=-1)


def test_no_hit_in_24_images_has_wilsons_upper_end():
    found = set_interval(np.zeros((24, 100)), MaxBoxAccV1().aggregate, SHARE, resampling())
    step = stats.t.ppf(0.975, 23) ** 2 / 24
    assert found.low == 0.0
    assert found.high == pytest.approx(step / (1 + step))
    assert (found.reason, found.bias) == (None, 0.0)


def test_only_hits_at_some_threshold_have_wilsons_lower_end(rng):
    statistics = (rng.random((24, 100)) < 0.5).astype(float)
    statistics[:, 40] = 1.0
    found = set_interval(statistics, MaxBoxAccV1().aggregate, SHARE, resampling())
    assert found.high == 1.0
    assert found.low == pytest.approx(1 / (1 + stats.t.ppf(0.975, 23) ** 2 / 24))


@pytest.mark.parametrize("metric", [MaxBoxAccV1(), MaxBoxAccV2(), PxAP()])
def test_the_interval_is_that_of_a_slow_twin(rng, metric):
    n = 30
    if metric.name == "pxap":
        levels = np.concatenate([np.linspace(0, 4, 256), np.linspace(4, 1, 256)])
        statistics = rng.poisson(levels * rng.gamma(1.0, size=(n, 1))).astype(float)
    else:
        size = 100 if metric.name == "max_box_acc_v1" else 300
        statistics = (rng.random((n, 1)) < np.linspace(0.9, 0.2, size)).astype(float)
        statistics *= rng.random((n, size)) < 0.8

    def score(rows):
        return float(metric.aggregate(statistics[rows].mean(axis=0)))

    everything = np.arange(n)
    estimate = score(everything)
    drawn = np.array([score(rng.integers(n, size=n)) for _ in range(4_000)])
    bias = drawn.mean() - estimate
    without = np.array([score(np.delete(everything, at)) for at in everything])
    most = np.abs(without - without.mean()).max() * (n - 1) / n
    error = np.sqrt(drawn.var(ddof=0) * n / (n - 1) + 4 * most**2)
    kurtosis = max(stats.kurtosis(without, bias=False), 0.0)
    t = stats.t.ppf(0.975, max(2.0, 2 / (2 / (n - 1) + kurtosis / n)))
    ends = []
    for center, side in ((estimate - 2 * max(bias, 0), -1), (estimate - 2 * min(bias, 0), 1)):
        like = max(n, center * (1 - center) / error**2)
        root = np.sqrt(center * (1 - center) / like + t**2 / (4 * like**2))
        ends.append((center + t**2 / (2 * like) + side * t * root) / (1 + t**2 / like))
    found = set_interval(statistics, metric.aggregate, SHARE, resampling(4_000))
    width = ends[1] - ends[0]
    assert found.bias == pytest.approx(bias, abs=0.03 * width)
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=0.06 * width)


def test_the_bias_of_the_better_of_two_equal_thresholds(rng):
    """Two shares of 1/2 on 24 images: the expected maximum is 1/2 + sqrt(1 / 4 / 24 / pi) = 0.558."""
    biases = [
        set_interval((rng.random((24, 2)) < 0.5).astype(float), best, SHARE, resampling()).bias for _ in range(60)
    ]
    assert 0.02 < np.mean(biases) < 0.06


@pytest.mark.parametrize(("n_images", "least"), [(24, 0.92), (50, 0.92)])
def test_scores_with_many_nearly_equal_thresholds_are_covered(n_images, least):
    """Each image is right in a window of thresholds, and the windows are scattered: BCa covered 72 % at 24 images."""
    rng = np.random.default_rng(5)
    starts = np.clip(rng.normal(0.4, 0.25, 3_000), 0, 1)[:, None]
    at = np.linspace(0, 1, 25)
    population = ((at > starts - 0.1) & (at < starts + 0.1)).astype(float)
    truth = population.mean(axis=0).max()
    shared = resampling(500)
    held = 0
    for _ in range(300):
        found = set_interval(population[rng.integers(3_000, size=n_images)], best, SHARE, shared)
        held += found.low <= truth <= found.high
    assert held / 300 >= least


def test_few_images_make_the_interval_unreliable(rng):
    hits = (rng.random((12, 5)) < 0.5).astype(float)
    assert set_interval(hits, best, SHARE, resampling()).reason is None
    assert set_interval(hits[:11], best, SHARE, resampling()).reason == "fewer than 12 images: unreliable"


@pytest.mark.parametrize(
    ("statistics", "reason"),
    [
        (np.zeros((0, 3)), "nothing was scored"),
        (np.ones((1, 3)), "one image"),
        (np.full((5, 3), 0.5), "all scores are equal"),
    ],
)
def test_missing_interval_has_a_reason(statistics, reason):
    found = set_interval(statistics, best, SHARE, resampling())
    assert found[:3] == Interval(None, None, reason)[:3]


def test_resamples_that_cannot_be_scored_give_no_interval():
    statistics = np.zeros((6, 512))
    statistics[:, 256:] = 1.0
    statistics[0, :256] = 1.0  # without this image there are no object pixels
    found = set_interval(statistics, PxAP().aggregate, SHARE, resampling())
    assert found == Interval(None, None, "some resamples cannot be scored")


def test_a_score_without_bounds_has_a_symmetric_interval(rng):
    values = rng.normal(5.0, 1.0, (200, 1))
    found = set_interval(values, lambda means: means[..., 0], (-np.inf, np.inf), resampling())
    half = stats.t.ppf(0.975, 199) * values.std(ddof=1) / np.sqrt(200)
    assert found.high - values.mean() == pytest.approx(half, rel=0.15)
    assert values.mean() - found.low == pytest.approx(half, rel=0.15)


def test_thousands_of_images_are_resampled_in_groups(rng):
    hits = (rng.random((20_000, 1)) < 0.3).astype(float)
    found = set_interval(hits, best, SHARE, resampling())
    share = hits.mean()
    half = 1.96 * np.sqrt(share * (1 - share) / 20_000)
    assert (found.low, found.high) == pytest.approx((share - half, share + half), abs=0.15 * half)


def test_memory_does_not_grow_with_images_times_resamples(rng):
    statistics = (rng.random((20_000, 100)) < 0.3).astype(float)
    shared = resampling(10_000)
    shared.counts(1_000)
    tracemalloc.start()
    set_interval(statistics, best, SHARE, shared)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6  # 20,000 images x 1,000 resamples of two bytes would be 40 MB, of eight 160 MB
