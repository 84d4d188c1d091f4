"""Paired tests: against scipy's permutation test, by hand, and under the null hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evalkit.analysis.statistics.permutation_tests import all_pairs, compare_means, compare_sets, sign_flips
from evalkit.metrics.boxes import MaxBoxAccV1


def test_few_images_have_all_their_sign_patterns(rng):
    flips, exact = sign_flips(rng, 4, 100)
    assert exact
    assert len({tuple(row * row[-1]) for row in flips}) == len(flips) == 8
    flips, exact = sign_flips(rng, 30, 100)
    assert not exact
    assert flips.shape == (100, 30)
    assert set(np.unique(flips)) == {-1, 1}
    assert flips.dtype == np.int8


def test_one_sided_differences_reach_the_smallest_p(rng):
    values = np.stack([np.arange(6) + 1.0, np.zeros(6)], axis=1)
    flips, exact = sign_flips(rng, 6, 1000)
    family = compare_means(values, flips, exact=exact)
    assert family.p_values[0] == family.smallest_p == 1 / 32
    assert family.differences[0] == 3.5
    assert family.n_images == 6


def test_one_pair_is_scipys_permutation_test(rng):
    first, second = rng.normal(size=(2, 9))
    first += 0.5

    def studentized(one, other, axis):
        gaps = one - other
        return gaps.mean(axis=axis) / gaps.std(axis=axis, ddof=1)

    theirs = stats.permutation_test((first, second), studentized, permutation_type="samples", vectorized=True)
    flips, exact = sign_flips(rng, 9, 1000)
    found = compare_means(np.stack([first, second], axis=1), flips, exact=exact)
    # Theirs adds one to both counts when it draws, not when it lists them all, as here.
    assert found.p_values[0] == pytest.approx(theirs.pvalue)


def slow_max_t(values, flips):
    """Corrected p-values of all pairs, written from the definition, without NaN."""
    n_images, n_explainers = values.shape
    pairs = [(i, j) for i in range(n_explainers) for j in range(i + 1, n_explainers)]

    def t(gaps):
        return abs(gaps.mean() / (gaps.std(ddof=1) / np.sqrt(n_images)))

    observed = [t(values[:, i] - values[:, j]) for i, j in pairs]
    highest = [max(t(signs * (values[:, i] - values[:, j])) for i, j in pairs) for signs in flips]
    return [(1 + sum(one >= seen * (1 - 1e-12) for one in highest)) / (1 + len(flips)) for seen in observed]


def test_max_t_over_pairs_equals_a_slow_loop(rng):
    values = rng.normal(size=(14, 4)) + np.array([0.0, 0.2, 0.5, 0.9])
    flips, _ = sign_flips(rng, 14, 200)
    found = compare_means(values, flips, exact=False)
    np.testing.assert_allclose(found.p_values, slow_max_t(values, flips))


def holed(rng, n_images, n_explainers, share=0.25):
    """Which images each explainer scored, bool; two explainers scored the same ones, and one image nobody."""
    scored = rng.random((n_images, n_explainers)) > share
    scored[:, -1] = scored[:, 0]
    scored[0] = False
    return scored


def slow_pairs(scored, pairs, flips, statistic):
    """Observed statistics and corrected p-values; each pair on its own images, all pairs under the same flips."""
    observed, highest = [], np.zeros(len(flips))
    for first, second in pairs:
        both = [image for image in range(len(scored)) if scored[image, first] and scored[image, second]]
        drawn = [statistic(first, second, both, signs[both]) for signs in flips]
        seen, drawn = statistic(first, second, both, np.ones(len(both))), np.array(drawn)
        observed.append((seen, drawn))
    scale = [statistic.scale(drawn) for _, drawn in observed]
    for (_, drawn), unit in zip(observed, scale, strict=True):
        highest = np.maximum(highest, np.abs(drawn) / unit)
    p_values = [
        (1 + np.sum(highest >= abs(seen) / unit * (1 - 1e-9))) / (1 + len(flips))
        for (seen, _), unit in zip(observed, scale, strict=True)
    ]
    return [seen for seen, _ in observed], p_values


class OfMeans:
    """The t statistic of a pair's differences."""

    def __init__(self, values):
        self.values = values

    def __call__(self, first, second, images, signs):
        gaps = signs * (self.values[images, first] - self.values[images, second])
        return gaps.mean() / (gaps.std(ddof=1) / np.sqrt(len(gaps)))

    scale = staticmethod(lambda _: 1.0)


class OfSets:
    """The difference of a pair's aggregates, some of the images swapped."""

    def __init__(self, statistics, aggregate):
        self.statistics, self.aggregate = statistics, aggregate

    def __call__(self, first, second, images, signs):
        one = [self.statistics[image, first if sign > 0 else second] for image, sign in zip(images, signs, strict=True)]
        two = [self.statistics[image, second if sign > 0 else first] for image, sign in zip(images, signs, strict=True)]
        return self.aggregate(np.mean(one, axis=0)) - self.aggregate(np.mean(two, axis=0))

    scale = staticmethod(np.std)


@pytest.mark.parametrize("some", [None, [(4, 1), (0, 5), (2, 3)]], ids=["all", "some"])
def test_pairs_with_holes_equal_a_slow_loop(rng, some):
    scored = holed(rng, 40, 6)
    values = np.where(scored, rng.normal(size=(40, 6)) + np.linspace(0, 1.2, 6), np.nan)
    flips, exact = sign_flips(rng, 40, 600)
    assert not exact
    pairs = all_pairs(6) if some is None else np.array(some)
    found = compare_means(values, flips, exact=False, pairs=None if some is None else pairs)
    _, p_values = slow_pairs(scored, pairs, flips, OfMeans(values))
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.p_values, p_values)
    for (first, second), difference in zip(pairs, found.differences, strict=True):
        assert difference == pytest.approx(np.nanmean(values[:, first] - values[:, second]))
    assert found.n_images == min((scored[:, first] & scored[:, second]).sum() for first, second in pairs)
    assert found.p_values.min() < 0.05
    assert found.p_values.max() > 0.2


@pytest.mark.parametrize("some", [None, [(4, 1), (0, 5), (2, 3)]], ids=["all", "some"])
def test_sets_with_holes_equal_a_slow_loop(rng, some):
    scored = holed(rng, 18, 6)
    statistics = np.where(scored[..., None], rng.random((18, 6, 3)) + np.linspace(0, 0.4, 6)[:, None], np.nan)

    def ratio(means):
        return means[..., 0] * means[..., 1] / (0.5 + means[..., 2])

    flips, _ = sign_flips(rng, 18, 300)
    pairs = all_pairs(6) if some is None else np.array(some)
    found = compare_sets(statistics, ratio, flips, exact=False, pairs=None if some is None else pairs)
    differences, p_values = slow_pairs(scored, pairs, flips, OfSets(statistics, ratio))
    np.testing.assert_array_equal(found.pairs, pairs)
    np.testing.assert_allclose(found.differences, differences)
    np.testing.assert_allclose(found.p_values, p_values)
    assert found.n_images == min((scored[:, first] & scored[:, second]).sum() for first, second in pairs)


def test_fewer_pairs_are_corrected_for_less(rng):
    values = rng.normal(size=(20, 6)) + np.linspace(0, 0.8, 6)
    flips, _ = sign_flips(rng, 20, 1_000)
    whole = compare_means(values, flips, exact=False)
    place = whole.pairs.tolist().index([1, 4])
    alone = compare_means(values, flips, exact=False, pairs=np.array([[1, 4]]))
    turned = compare_means(values, flips, exact=False, pairs=np.array([[4, 1]]))
    assert alone.p_values[0] == turned.p_values[0] < whole.p_values[place]
    assert alone.differences[0] == -turned.differences[0] == pytest.approx(whole.differences[place])
    nothing = compare_means(values, flips, exact=False, pairs=np.empty((0, 2), dtype=np.int64))
    assert (len(nothing.p_values), nothing.n_images) == (0, 0)


def test_differences_that_are_only_rounding_are_not_tested(rng):
    base = rng.random(12)
    values = np.stack([base, base + 1e-17, (base + 0.1) - 0.1, base + 0.3 * rng.random(12)], axis=1)
    assert np.abs(values[:, 0] - values[:, 2]).max() > 0
    flips, exact = sign_flips(rng, 12, 10_000)
    found = compare_means(values, flips, exact=exact)
    by_pair = dict(zip(map(tuple, found.pairs.tolist()), found.p_values, strict=True))
    assert [by_pair[pair] for pair in [(0, 1), (0, 2), (1, 2)]] == [1.0, 1.0, 1.0]
    assert by_pair[0, 3] == found.smallest_p == 1 / 2048
    sets = compare_sets(values[..., None], lambda one: one[..., 0], flips, exact=exact)
    assert sets.p_values[:2].tolist() == [1.0, 1.0]
    assert sets.p_values[2] == 1 / 2048


def test_pairs_use_the_images_that_both_scored(rng):
    values = rng.normal(size=(20, 2)) + np.array([0.0, 0.6])
    holed = np.concatenate([values, [[np.nan, 5.0], [-5.0, np.nan], [np.nan, np.nan]]])
    flips, _ = sign_flips(rng, 23, 500)
    whole = compare_means(values, flips[:, :20], exact=False)
    found = compare_means(holed, flips, exact=False)
    np.testing.assert_allclose(found.p_values, whole.p_values)
    assert found.differences == pytest.approx(whole.differences)
    assert found.n_images == 20


def test_untestable_pairs_have_p_one(rng):
    flips, exact = sign_flips(rng, 5, 1000)
    nothing = np.full((5, 1), np.nan)
    values = np.concatenate([np.ones((5, 2)), nothing], axis=1)
    found = compare_means(values, flips, exact=exact)
    assert found.p_values.tolist() == [1.0, 1.0, 1.0]
    assert found.n_images == 0
    assert len(compare_means(values[:, :1], flips, exact=exact).pairs) == 0


def test_equal_differences_reach_the_smallest_p(rng):
    values = np.stack([np.full(12, 0.75), np.full(12, 0.5)], axis=1)
    flips, exact = sign_flips(rng, 12, 10_000)
    assert compare_means(values, flips, exact=exact).p_values[0] == 1 / 2048


def test_family_wise_error_rate_is_five_percent_under_the_null(rng):
    """Five explainers that differ by nothing but noise of unequal size, over 300 sets of 15 photos."""
    flips, _ = sign_flips(rng, 15, 499)
    wrong = 0
    for _ in range(300):
        photo = rng.normal(size=(15, 1))
        values = photo + rng.laplace(size=(15, 5)) * [0.2, 0.5, 1.0, 1.0, 2.0]
        wrong += compare_means(values, flips, exact=False).p_values.min() < 0.05
    assert wrong / 300 < 0.085  # 0.05 and three standard errors


def test_sets_of_a_mean_agree_with_the_unstudentized_test(rng):
    first, second = rng.normal(size=(2, 9)) + np.array([[0.6], [0.0]])
    theirs = stats.permutation_test(
        (first, second), lambda a, b, axis: (a - b).mean(axis=axis), permutation_type="samples", vectorized=True
    )
    flips, exact = sign_flips(rng, 9, 1000)
    found = compare_sets(np.stack([first, second], axis=1)[..., None], lambda one: one[..., 0], flips, exact=exact)
    assert found.p_values[0] == pytest.approx(theirs.pvalue)


def test_set_level_test_equals_swapping_statistics(rng):
    metric = MaxBoxAccV1()
    statistics = (rng.random((7, 2, 100)) < np.array([0.7, 0.3])[None, :, None]).astype(float)
    flips, exact = sign_flips(rng, 7, 1000)
    found = compare_sets(statistics, metric.aggregate, flips, exact=exact)

    def gap(signs):
        one = np.array([pair[0] if sign > 0 else pair[1] for sign, pair in zip(signs, statistics, strict=True)])
        other = np.array([pair[1] if sign > 0 else pair[0] for sign, pair in zip(signs, statistics, strict=True)])
        return float(metric.aggregate(one.mean(axis=0)) - metric.aggregate(other.mean(axis=0)))

    observed = gap(np.ones(7))
    assert found.differences[0] == pytest.approx(observed)
    assert found.p_values[0] == pytest.approx(np.mean([abs(gap(signs)) >= abs(observed) - 1e-12 for signs in flips]))


def test_sets_without_a_shared_image_are_not_tested(rng):
    statistics = np.ones((4, 2, 100))
    statistics[:2, 0], statistics[2:, 1] = np.nan, np.nan
    flips, exact = sign_flips(rng, 4, 1000)
    found = compare_sets(statistics, MaxBoxAccV1().aggregate, flips, exact=exact)
    assert found.p_values.tolist() == [1.0]
    assert found.n_images == 0
