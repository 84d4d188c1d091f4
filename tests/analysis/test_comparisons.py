"""Paired tests of means: against slow loops, at the limits, and where explainers' scores differ in shape."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.statistics.bounded_means import bounded_quantile, p_at_most_zero
from evalkit.analysis.statistics.paired_tests import all_pairs, compare_means, smallest_p
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.analysis.statistics.set_intervals import SetBootstrap
from evalkit.analysis.statistics.set_tests import compare_sets as compare_set_scores
from evalkit.metrics.boxes import MaxBoxAccV1


def compare_sets(statistics, aggregate, resampling, pairs=None):
    def bootstrap(column, rows):
        return SetBootstrap.of(statistics[rows, column], aggregate, resampling)

    scored = np.isfinite(statistics).all(axis=-1)
    return compare_set_scores(scored, bootstrap, resampling.n_resamples, 1.0, pairs=pairs)


def holed(rng, n_images, n_explainers, share=0.25):
    """Which images each explainer scored, bool; two explainers scored the same ones, and one image nobody."""
    scored = rng.random((n_images, n_explainers)) > share
    scored[:, -1] = scored[:, 0]
    scored[0] = False
    return scored


class SlowPair:
    """One pair of columns: its t statistics and its p-value with one unseen image, from the definitions."""

    def __init__(self, values, first, second, counts, unseen):
        both = np.isfinite(values[:, first]) & np.isfinite(values[:, second])
        self.gaps = (values[:, first] - values[:, second])[both]
        self.n_images, self.unseen = len(self.gaps), unseen
        self.mean = self.gaps.mean()
        self.error = self.gaps.std(ddof=1) / np.sqrt(self.n_images)
        self.drawn = np.array([self.t(np.repeat(self.gaps, row[both])) for row in counts])
        self.unit = np.quantile(self.drawn, 0.99, method="higher")
        self.observed = abs(self.mean) / self.error

    def t(self, drawn):
        """Return |t| of a resample; the spread is the sample's where the resample has none."""
        error = drawn.std() / np.sqrt(len(drawn)) * np.sqrt(self.n_images / (self.n_images - 1))
        return abs(drawn.mean() - self.mean) / (error if error > 1e-9 else self.error)

    def p_with_unseen(self):
        towards = self.gaps if self.mean > 0 else -self.gaps
        return min(1.0, 2 * p_at_most_zero(towards[:, None], -self.unseen)[0])

    def interval(self, reach):
        """Return the hull of both intervals."""
        gaps = self.gaps[:, None]
        low = bounded_quantile(gaps, min(-self.unseen, gaps.min()), 0.025)[0]
        high = bounded_quantile(gaps, max(self.unseen, gaps.max()), 0.975)[0]
        half = reach * self.unit * self.error
        return min(low, self.mean - half), max(high, self.mean + half)


def slow_pairs(values, pairs, resampling, width):
    """Return the pairs, their corrected p-values and intervals."""
    tested = np.unique(pairs)
    spread = np.nanmax(values[:, tested]) - np.nanmin(values[:, tested])
    counts, n_resamples = resampling.counts(len(values)), resampling.n_resamples
    found = [SlowPair(values, first, second, counts, spread) for first, second in pairs]
    for pair in found:
        _, numbers = np.unique(pair.gaps.round(9), return_counts=True)
        if numbers.max() > pair.n_images / 2:
            pair.unseen = width
    highest = np.max([pair.drawn / pair.unit for pair in found], axis=0)
    p_values = []
    for pair in found:
        reached = np.sum(highest >= pair.observed / pair.unit * (1 - 1e-9))
        p = min(1.0, 1.5 * (1 + reached) / (1 + n_resamples))
        p_values.append(max(p, pair.p_with_unseen()) if p < 0.05 else p)
    # p < 0.05 where fewer than 0.05 (R + 1) - 1 resamples reach the statistic.
    reach = np.sort(highest)[::-1][int(np.ceil(0.05 / 1.5 * (n_resamples + 1))) - 2]
    return found, p_values, [pair.interval(reach) for pair in found]


@pytest.mark.parametrize("some", [None, [(4, 1), (0, 5), (2, 3)]], ids=["all", "some"])
@pytest.mark.parametrize("share", [0.0, 0.25], ids=["whole", "holed"])
@pytest.mark.parametrize("seed", [0, 1])
def test_p_values_and_intervals_equal_a_slow_loop(some, share, seed):
    rng = np.random.default_rng(seed)
    scored = holed(rng, 41, 6, share) if share else np.ones((41, 6), dtype=bool)
    scores = rng.beta(2, 3, (41, 6)) * 0.5 + np.linspace(0, 0.4, 6)
    values, resampling = np.where(scored, scores, np.nan), Resampling(seed, 600)
    pairs = all_pairs(6) if some is None else np.array(some)
    found = compare_means(values, resampling, 1.0, pairs=None if some is None else pairs, intervals=True)
    slow, p_values, intervals = slow_pairs(values, pairs, resampling, 1.0)
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.differences, [pair.mean for pair in slow])
    np.testing.assert_array_equal(found.n_images, [pair.n_images for pair in slow])
    np.testing.assert_allclose(found.p_values, p_values, rtol=1e-3)
    np.testing.assert_allclose(np.stack([found.low, found.high], axis=1), intervals, atol=1e-4)
    assert (found.p_values < 0.05).any()
    assert (found.p_values > 0.05).any()
    assert found.n_resamples == 600
    assert found.tested.all()


def test_pairs_of_mostly_equal_differences_equal_a_slow_loop(rng):
    """As in the pointing game: the unseen image differs by the metric's whole width."""
    values = (rng.random((30, 4)) < [0.95, 0.9, 0.4, 0.1]).astype(float) * 0.5
    resampling = Resampling(3, 500)
    found = compare_means(values, resampling, 2.0)
    _, p_values, _ = slow_pairs(values, all_pairs(4), resampling, 2.0)
    np.testing.assert_allclose(found.p_values, p_values, rtol=1e-3)


def test_fewer_pairs_are_corrected_for_less(rng):
    values = rng.random((20, 6)) + np.linspace(0, 0.8, 6)
    resampling = Resampling(0, 1_000)
    whole = compare_means(values, resampling, 2.0)
    place = whole.pairs.tolist().index([1, 4])
    alone = compare_means(values, resampling, 2.0, pairs=np.array([[1, 4]]))
    turned = compare_means(values, resampling, 2.0, pairs=np.array([[4, 1]]))
    assert alone.p_values[0] == pytest.approx(turned.p_values[0])
    assert alone.p_values[0] < whole.p_values[place]
    assert alone.differences[0] == -turned.differences[0] == pytest.approx(whole.differences[place])


def test_no_pair_has_no_p_value(rng):
    nothing = compare_means(rng.random((20, 3)), Resampling(0, 100), 1.0, pairs=np.empty((0, 2), dtype=np.int64))
    assert len(nothing.p_values) == len(nothing.n_images) == len(nothing.tested) == 0
    assert len(compare_means(rng.random((20, 1)), Resampling(0, 100), 1.0).pairs) == 0


def test_differences_that_are_only_rounding_are_not_significant(rng):
    base = rng.random(12)
    values = np.stack([base, base + 1e-17, (base + 0.1) - 0.1, base + 0.3 + 0.3 * rng.random(12)], axis=1)
    assert np.abs(values[:, 0] - values[:, 2]).max() > 0
    found = compare_means(values, Resampling(0, 999), 1.0)
    by_pair = dict(zip(map(tuple, found.pairs.tolist()), found.p_values, strict=True))
    assert [by_pair[pair] for pair in [(0, 1), (0, 2), (1, 2)]] == [1.0, 1.0, 1.0]
    assert by_pair[0, 3] < 0.05
    sets = compare_sets(values[..., None], lambda one: one[..., 0], Resampling(0, 999))
    assert sets.p_values[:2].tolist() == [1.0, 1.0]
    assert sets.p_values[2] < 0.05


def test_pairs_use_the_images_that_both_scored(rng):
    values = rng.random((20, 2)) + np.array([0.0, 0.4])
    more = np.concatenate([values, [[np.nan, 0.5], [0.5, np.nan], [np.nan, np.nan]]])
    whole, found = (compare_means(each, Resampling(0, 2_000), 2.0) for each in (values, more))
    assert found.differences == pytest.approx(whole.differences)
    assert found.n_images.tolist() == [20]
    assert found.p_values[0] == pytest.approx(whole.p_values[0], abs=0.02)  # the resamples are others


def test_pairs_that_share_fewer_than_six_images_are_not_tested():
    values = np.linspace(0, 0.05, 8)[:, None] + np.array([0.9, 0.1, 0.5])
    values[5:, 1], values[6:, 2] = np.nan, np.nan
    found = compare_means(values, Resampling(0, 999), 1.0, intervals=True)
    assert found.n_images.tolist() == [5, 6, 5]
    assert found.tested.tolist() == [False, True, False]
    assert found.p_values[[0, 2]].tolist() == [1.0, 1.0]
    assert found.differences == pytest.approx([0.8, 0.4, -0.4])
    assert np.isnan(found.low[[0, 2]]).all()
    assert np.isnan(found.high[[0, 2]]).all()
    assert found.low[1] < 0.4 < found.high[1]


def test_untestable_pairs_have_p_one(rng):
    nothing = np.full((5, 1), np.nan)
    values = np.concatenate([np.ones((5, 2)), nothing], axis=1)
    found = compare_means(values, Resampling(0, 100), 1.0)
    assert found.p_values.tolist() == [1.0, 1.0, 1.0]
    assert found.n_images.tolist() == [5, 0, 0]
    assert found.differences[0] == 0
    assert np.isnan(found.differences[1:]).all()


@pytest.mark.parametrize(("n_images", "significant"), [(6, False), (24, True)])
def test_equal_differences_are_bounded_by_the_metrics_width(n_images, significant):
    """All differences are 0.25, and an unseen image differs by -1: its weight exceeds 0.2 with p = (1 + 0.25)^-n."""
    values = np.stack([np.full(n_images, 0.75), np.full(n_images, 0.5)], axis=1)
    found = compare_means(values, Resampling(0, 4_000), 1.0)
    assert found.p_values[0] == pytest.approx(2 * 1.25**-n_images, rel=0.03)
    assert bool(found.p_values[0] < 0.05) is significant


def test_smallest_p_is_that_of_a_difference_as_large_as_the_range():
    """With n equal differences of the whole range it is two-sided 2 x 2^-n: from six images on below 0.05."""
    values = np.zeros((8, 2))
    for n_images in (6, 7, 8):
        values[:, 0] = 1.0
        (p_value,) = compare_means(values[:n_images], Resampling(0, 4_000), 1.0).p_values
        assert p_value == pytest.approx(2.0 ** (1 - n_images), rel=0.04)
        assert smallest_p(n_images, 4_000) == pytest.approx(p_value, rel=0.04)
    assert smallest_p(5, 4_000) > 0.05 > smallest_p(6, 4_000)
    assert smallest_p(1_000, 999) == 1.5 / 1_000


def test_rare_failures_that_cancel_are_not_marked():
    """23 of 24 scores are 1, one is 0; the other explainer has the same mean without failures."""
    rare = np.ones(24)
    rare[0] = 0
    values = np.stack([rare, np.full(24, 23 / 24)], axis=1)
    assert compare_means(values, Resampling(0, 2_000), 1.0).p_values[0] > 0.5
    lucky = np.stack([np.ones(24), np.full(24, 23 / 24)], axis=1)  # the sample happens to lack the failure
    assert compare_means(lucky, Resampling(0, 2_000), 1.0).p_values[0] > 0.05


def family_wise_errors(draw, n_runs, width=1.0):
    """Return the share of runs of explainers of equal true means in which any pair is significant."""
    resampling = Resampling(0, 299)
    rng = np.random.default_rng(5)
    return np.mean([compare_means(draw(rng), resampling, width).p_values.min() < 0.05 for _ in range(n_runs)])


def rare_failures(rng):
    """Scores near 1: constant, small noise, a failure in 20 images, and one in 40."""
    n_images, mean = 24, 0.95
    failures = [1 - (rng.random(n_images) < share) * (1 - mean) / share for share in (0.05, 0.1)]
    return np.stack([np.full(n_images, mean), mean + rng.normal(0, 0.01, n_images), *failures], axis=1)


def skewed(rng):
    """Scores of equal mean 0.2 and different shapes."""
    shapes = (0.2, 0.5, 2.0, 8.0)
    return np.stack([rng.beta(shape, 4 * shape, 24) for shape in shapes], axis=1)


def noisy(rng):
    """Explainers that differ by nothing but noise of unequal size."""
    return (0.5 + 0.1 * rng.normal(size=(24, 1)) + 0.05 * rng.laplace(size=(24, 4)) * [0.2, 0.5, 1.0, 2.0]).clip(0, 1)


@pytest.mark.parametrize("draw", [rare_failures, skewed, noisy])
def test_family_wise_error_holds_for_scores_of_unequal_shape(draw):
    assert family_wise_errors(draw, 100) <= 0.11  # 0.05 and 2.8 standard errors


def test_an_explainer_scored_on_few_images_costs_the_others_nothing():
    """It costs what one more explainer costs, and not the power of all others (100 % to 43 %)."""
    rng, resampling = np.random.default_rng(4), Resampling(0, 999)
    marked = {"none": 0, "scored on all": 0, "scored on 8 of 50": 0}
    for _ in range(30):
        values = (0.5 + rng.normal(0, 0.08, (50, 5)) + [0.0, 0.0, 0.05, 0.08, 0.0]).clip(0, 1)
        few = values.copy()
        few[8:, 4] = np.nan
        for name, columns in zip(marked, (values[:, :4], values, few), strict=True):
            family = compare_means(columns, resampling, 1.0)
            marked[name] += np.count_nonzero(family.p_values[(family.pairs < 4).all(axis=1)] < 0.05)
    assert marked["none"] > 60
    assert marked["scored on 8 of 50"] >= 0.95 * marked["scored on all"]
    assert marked["scored on 8 of 50"] >= 0.85 * marked["none"]


def test_clear_letters_stay_beside_an_explainer_of_few_images(rng):
    values = (0.5 + rng.normal(0, 0.05, (50, 4)) + [0.0, 0.1, 0.2, 0.2]).clip(0, 1)
    few = np.full((50, 1), np.nan)
    few[:8, 0] = rng.random(8)
    alone = compare_means(values, Resampling(0, 2_000), 1.0)
    beside = compare_means(np.concatenate([values, few], axis=1), Resampling(0, 2_000), 1.0)
    others = beside.p_values[(beside.pairs < 4).all(axis=1)]
    np.testing.assert_array_equal(others < 0.05, alone.p_values < 0.05)
    assert (others < 0.05).tolist() == [True, True, True, True, True, False]


def test_an_explainer_that_is_not_tested_moves_no_other_p_value(rng):
    """Its one score, the largest possible, is no reason to expect such differences of the others."""
    first = 0.3 + 0.05 * rng.random(24)
    values = np.stack([first, first - 0.05 + 0.01 * rng.normal(size=24), np.full(24, np.nan)], axis=1)
    values[0, 2] = 1.0
    alone, beside = (compare_means(each, Resampling(0, 999), 1.0) for each in (values[:, :2], values))
    assert beside.tested.tolist() == [True, False, False]
    assert beside.p_values[0] == pytest.approx(alone.p_values[0])
    assert beside.p_values[0] < 0.05


def test_p_values_do_not_depend_on_units(rng):
    values = rng.random((24, 3)) + np.array([0.0, 0.2, 0.4])
    plain = compare_means(values, Resampling(0, 500), 2.0, intervals=True)
    scaled = compare_means(values * 1e6 + 5, Resampling(0, 500), 2e6, intervals=True)
    np.testing.assert_allclose(scaled.p_values, plain.p_values, rtol=1e-6)
    np.testing.assert_allclose(scaled.low, plain.low * 1e6, atol=50)


def test_a_metric_without_bounds_takes_the_range_of_its_scores(rng):
    values = rng.normal(3, 1, (24, 2)) + np.array([0.0, 5.0])
    found = compare_means(values, Resampling(0, 999), np.inf, intervals=True)
    assert found.p_values[0] < 0.05
    assert found.low[0] < found.high[0] < 0
    equal = np.stack([np.full(24, 0.75), np.full(24, 0.5)], axis=1)
    found = compare_means(equal, Resampling(0, 999), np.inf, intervals=True)
    assert 0 < found.p_values[0] < 0.05
    assert 0 < found.low[0] < 0.25
    assert found.high[0] == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(3))
def test_interval_excludes_zero_exactly_where_significant(seed):
    rng = np.random.default_rng(seed)
    shapes = [
        rng.beta(0.3, 1.5, (24, 6)) + np.linspace(0, 0.5, 6),
        1 - (rng.random((24, 6)) < np.linspace(0.02, 0.8, 6)),
        rng.pareto(2.0, (24, 6)).clip(0, 20) / 20 + np.linspace(0, 0.2, 6),
        np.where(rng.random((24, 6)) < 0.1, 0.0, 0.9 + 0.05 * rng.random((24, 6))) - np.linspace(0, 0.3, 6),
    ]
    n_significant = 0
    for values in shapes:
        for width in (1.5, np.inf):
            found = compare_means(values, Resampling(seed, 999), width, intervals=True)
            outside = (found.low > 0) | (found.high < 0)
            np.testing.assert_array_equal(outside, found.p_values < 0.05)
            assert ((found.low <= found.differences) & (found.differences <= found.high)).all()
            n_significant += outside.sum()
    assert n_significant > 20


def test_interval_excludes_zero_exactly_where_significant_near_the_limit(rng):
    """With 99 resamples the limit lies between the fourth and the fifth largest statistic."""
    for seed in range(100):
        values = rng.random((24, 4)).clip(0, 0.6) + rng.uniform(0, 0.3, (1, 4))
        found = compare_means(values, Resampling(seed, 99), 1.0, intervals=True)
        np.testing.assert_array_equal((found.low > 0) | (found.high < 0), found.p_values < 0.05)


# Sets.


def slow_sets(statistics, aggregate, pairs, resampling):
    """Return differences and corrected p-values of scores of a set; units are standard deviations."""
    scored = np.isfinite(statistics).all(axis=-1)
    observed, drawn, errors = [], [], []
    for first, second in pairs:
        one, two = (statistics[scored[:, first] & scored[:, second], column] for column in (first, second))

        def gap(rows, one=one, two=two):
            return float(aggregate(one[rows].mean(axis=0)) - aggregate(two[rows].mean(axis=0)))

        images = np.arange(len(one))
        observed.append(gap(images))
        drawn.append([gap(np.repeat(images, row)) - observed[-1] for row in resampling.counts(len(one))])
        without = np.array([gap(np.delete(images, index)) for index in images])
        n_images, influences = len(images), without.mean() - without
        # Room for four unseen images like the most influential one.
        unseen = 4 * (influences**2).max() * ((n_images - 1) / n_images) ** 2
        errors.append(np.sqrt(np.var(drawn[-1]) * n_images / (n_images - 1) + unseen))
    sizes = np.abs(drawn)
    units = np.std(drawn, axis=1)
    highest = (sizes / units[:, None]).max(axis=0)
    p_values = [
        (1 + np.sum(highest >= abs(seen) / error * (1 - 1e-9))) / (1 + len(highest))
        for seen, error in zip(observed, errors, strict=True)
    ]
    return observed, p_values


@pytest.mark.parametrize("some", [None, [(4, 1), (0, 5), (2, 3)]], ids=["all", "some"])
def test_sets_with_holes_equal_a_slow_loop(rng, some):
    scored = holed(rng, 24, 6)
    statistics = np.where(scored[..., None], rng.random((24, 6, 3)) + np.linspace(0, 0.4, 6)[:, None], np.nan)

    def ratio(means):
        return means[..., 0] * means[..., 1] / (0.5 + means[..., 2])

    pairs, resampling = all_pairs(6) if some is None else np.array(some), Resampling(0, 300)
    found = compare_sets(statistics, ratio, resampling, pairs=None if some is None else pairs)
    differences, p_values = slow_sets(statistics, ratio, pairs, resampling)
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.differences, differences)
    np.testing.assert_allclose(found.p_values, p_values)
    np.testing.assert_array_equal(found.n_images, [(scored[:, one] & scored[:, two]).sum() for one, two in pairs])


def test_a_maximum_over_thresholds_is_compared(rng):
    metric = MaxBoxAccV1()
    statistics = (rng.random((24, 2, 100)) < np.array([0.9, 0.2])[None, :, None]).astype(float)
    found = compare_sets(statistics, metric.aggregate, Resampling(0, 500))
    one, other = (float(metric.aggregate(statistics[:, column].mean(axis=0))) for column in (0, 1))
    assert found.differences[0] == pytest.approx(one - other)
    assert found.p_values[0] < 0.05


def test_interval_of_a_set_excludes_zero_exactly_where_significant(rng):
    """Shares of 24 images are often equal to each other, to the last bit or not quite."""
    n_significant = 0
    for seed in range(60):
        statistics = (rng.random((24, 4, 5)) < rng.uniform(0.2, 0.8, (1, 4, 1))).astype(float)
        found = compare_sets(statistics, lambda means: means.max(axis=-1), Resampling(seed, 99))
        outside = (found.low > 0) | (found.high < 0)
        np.testing.assert_array_equal(outside, found.p_values < 0.05)
        n_significant += outside.sum()
    assert n_significant > 20


def test_sets_without_a_shared_image_are_not_tested():
    statistics = np.ones((14, 2, 100))
    statistics[:7, 0], statistics[7:, 1] = np.nan, np.nan
    found = compare_sets(statistics, MaxBoxAccV1().aggregate, Resampling(0, 100))
    assert found.p_values.tolist() == [1.0]
    assert found.n_images.tolist() == [0]
    assert np.isnan(found.differences[0])
    assert not found.tested[0]
