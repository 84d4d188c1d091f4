"""Bounded means: against random weights, the exact binomial interval, closed forms, and at the extremes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evalkit.analysis.statistics.bounded_means import bounded_quantile, p_at_most_zero

N_DRAWN = 40_000


def weighted_means(values, unseen, rng):
    """Draw means of one column and one unseen value under weights that are uniform on the simplex."""
    weights = rng.dirichlet(np.ones(len(values) + 1), N_DRAWN)
    return weights @ np.append(values, unseen)


COLUMNS = {
    "few": [0.3, -0.1, 0.2],
    "two": [0.5, 0.1],
    "skewed": [*[0.0] * 20, 0.9, 0.4, 0.1, -0.05],
    "rare failure": [*[0.05] * 23, -0.95],
    "spread": list(np.linspace(-0.4, 0.6, 24)),
    "ties": [0.25] * 10 + [0.5] * 10,
    "scales": [*10.0 ** np.arange(-12, 0), 0.8],
    "zeros": [*[0.0] * 11, 0.7],
}


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS.keys())
def test_p_value_is_the_share_of_random_weights(values, rng):
    for unseen in (-1.0, -0.2):
        drawn = np.mean(weighted_means(values, unseen, rng) <= 0)
        found = p_at_most_zero(np.array(values)[:, None], unseen)
        error = 4 * np.sqrt(drawn * (1 - drawn) / N_DRAWN) + 2 / N_DRAWN
        assert found[0] == pytest.approx(drawn, abs=error + 0.02 * drawn), unseen


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS.keys())
@pytest.mark.parametrize(("unseen", "quantile"), [(-1.0, 0.025), (1.0, 0.975), (-1.0, 0.1), (1.0, 0.5)])
def test_quantile_is_that_of_random_weights(values, unseen, quantile, rng):
    drawn = weighted_means(values, unseen, rng)
    (found,) = bounded_quantile(np.array(values)[:, None], unseen, quantile)
    assert np.mean(drawn <= found) == pytest.approx(quantile, abs=0.004 + 0.02 * min(quantile, 1 - quantile))


@pytest.mark.parametrize(("hits", "n_images"), [(0, 24), (1, 24), (12, 24), (23, 24), (24, 24), (190, 200)])
def test_scores_of_0_and_1_have_the_exact_binomial_interval(hits, n_images):
    values = np.concatenate([np.ones(hits), np.zeros(n_images - hits)])[:, None]
    exact = stats.binomtest(hits, n_images).proportion_ci(0.95, method="exact")
    assert bounded_quantile(values, 0.0, 0.025)[0] == pytest.approx(exact.low, abs=1e-3)
    assert bounded_quantile(values, 1.0, 0.975)[0] == pytest.approx(exact.high, abs=1e-3)


@pytest.mark.parametrize(
    ("n_images", "difference", "bound"), [(1, 0.5, 1.0), (6, 0.2, 1.0), (24, 0.1, 1.0), (100, 0.01, 0.5)]
)
def test_p_value_of_equal_values_has_a_closed_form(n_images, difference, bound):
    """The unseen image's weight is Beta(1, n), so the tail is (1 - w)^n at w = d / (d + B)."""
    found = p_at_most_zero(np.full((n_images, 1), difference), -bound)
    assert found[0] == pytest.approx((1 + difference / bound) ** -n_images, rel=0.02)


def test_quantile_of_equal_values_has_a_closed_form():
    for n_images in (6, 24, 500):
        weight = 1 - 0.025 ** (1 / n_images)  # the unseen image's, exceeded in 2.5 %
        found = bounded_quantile(np.full((n_images, 1), 0.8), 0.0, 0.025)
        assert found[0] == pytest.approx(0.8 * (1 - weight), abs=2e-3)


def test_values_at_the_bound_leave_no_doubt():
    ones = np.ones((24, 1))
    assert bounded_quantile(ones, 1.0, 0.975)[0] == pytest.approx(1.0, abs=1e-9)
    assert bounded_quantile(np.zeros((24, 1)), 0.0, 0.025)[0] == pytest.approx(0.0, abs=1e-9)
    assert bounded_quantile(ones, 0.0, 0.025)[0] == pytest.approx(0.025 ** (1 / 24), abs=1e-3)


def test_signs_alone_decide_where_all_agree():
    assert p_at_most_zero(np.full((5, 1), -0.1), -1.0)[0] == 1.0
    assert p_at_most_zero(np.zeros((5, 1)), -1.0)[0] == 1.0
    assert p_at_most_zero(np.full((5, 1), 0.1), 0.0)[0] == pytest.approx(0.0, abs=1e-4)


def test_many_images_agree_with_the_normal_interval(rng):
    values = rng.beta(2, 3, (50_000, 1))
    low, high = (bounded_quantile(values, float(unseen), tail)[0] for unseen, tail in ((0, 0.025), (1, 0.975)))
    error = values.std() / np.sqrt(50_000)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.05 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.05 * error)
    (found,) = p_at_most_zero(values - values.mean() + 2 * error, -1.0)
    assert found == pytest.approx(stats.norm.sf(2), rel=0.1)


def test_bounds_move_with_shift_and_scale(rng):
    values = rng.beta(0.5, 3, (24, 3))
    plain = bounded_quantile(values, 1.0, 0.975)
    np.testing.assert_allclose(bounded_quantile(200 * values - 50, 150.0, 0.975), 200 * plain - 50, atol=200 * 2e-5)
    mirrored = bounded_quantile(-values, -1.0, 0.025)
    np.testing.assert_allclose(mirrored, -plain, atol=2e-5)


def test_bounds_are_ordered_and_inside_the_range(rng):
    values = rng.beta(0.1, 0.1, (30, 40))
    low, high = bounded_quantile(values, 0.0, 0.025), bounded_quantile(values, 1.0, 0.975)
    means = values.mean(axis=0)
    assert ((low >= 0) & (low < means) & (means < high) & (high <= 1)).all()
    wider = bounded_quantile(values, -1.0, 0.025)
    assert (wider < low).all()


def test_columns_have_the_numbers_that_they_have_alone(rng):
    values = rng.random((24, 7)) - 0.4
    values[:, 3] = 0.2
    unseen = np.linspace(-1.0, -0.5, 7)
    together, bounds = p_at_most_zero(values, unseen), bounded_quantile(values, unseen, 0.025)
    for column in range(7):
        alone = values[:, [column]]
        assert p_at_most_zero(alone, unseen[column])[0] == pytest.approx(together[column], abs=1e-9)
        assert bounded_quantile(alone, unseen[column], 0.025)[0] == pytest.approx(bounds[column], abs=2e-5)


def test_p_value_and_bound_agree(rng):
    values = rng.normal(0.18, 0.2, (24, 200)).clip(-1, 1)
    p_values, low = p_at_most_zero(values, -1.0), bounded_quantile(values, -1.0, 0.025)
    clear = np.abs(low) > 1e-4
    np.testing.assert_array_equal((p_values < 0.025)[clear], (low > 0)[clear])
    assert 20 < (low > 0).sum() < 180


def test_the_order_of_images_does_not_matter(rng):
    values = rng.random((24, 3)) - 0.3
    turned = values[rng.permutation(24)]
    np.testing.assert_allclose(p_at_most_zero(turned, -1.0), p_at_most_zero(values, -1.0), rtol=1e-9)
    np.testing.assert_allclose(bounded_quantile(turned, -1.0, 0.025), bounded_quantile(values, -1.0, 0.025), atol=1e-9)


def test_no_column_has_no_number():
    assert p_at_most_zero(np.empty((5, 0)), -1.0).shape == (0,)
    assert bounded_quantile(np.empty((5, 0)), -1.0, 0.025).shape == (0,)
