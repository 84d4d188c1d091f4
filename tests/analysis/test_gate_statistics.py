"""The gate's statistics: p-values and intervals against slow twins, false alarms, power, promises."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.gate.images_wanted import Outlook, detectable, images_wanted
from evalkit.analysis.gate.tolerance import Tolerance
from evalkit.analysis.gate.verdict import _holm, paired_scores, verdicts
from evalkit.analysis.statistics.mean_tests import MeanTests
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.core.errors import ConfigError
from tests.analysis.mean_twins import bootstrap_p, holm, standard_error, studentized, weighted_means

ALPHA, TOLERANCE = 0.05, 0.02


def cells(changes, *, tolerance=TOLERANCE, n_draws=1_000, width=1.0, alpha=ALPHA):
    """Verdicts on changes (n, E), whose scores before range from 0.3 to 0.7."""
    before = np.linspace(0.3, 0.7, len(changes))
    family = [
        paired_scores((f"e{index}", "m"), "higher", before, before + column, Tolerance(tolerance, relative=False))
        for index, column in enumerate(changes.T)
    ]
    return verdicts([cell._replace(width=width) for cell in family], alpha, n_draws)


def cell(changes, **options):
    return cells(np.asarray(changes, dtype=float)[:, None], **options)[0]


def standardized(rng, n_images, mean, spread):
    noise = rng.normal(size=n_images)
    return mean + spread * (noise - noise.mean()) / noise.std(ddof=1)


def test_p_values_equal_slow_twins(rng):
    changes = np.stack(
        [rng.normal(-0.2, 0.05, 18), rng.normal(-0.06, 0.15, 18), 0.1 - rng.gamma(0.8, 0.2, 18), np.full(18, 0.01)],
        axis=1,
    )
    n_draws, limit = 2_000, -(TOLERANCE + 1e-5)
    found = cells(changes, n_draws=n_draws)
    before = np.linspace(0.3, 0.7, 18)
    unseen = np.ptp(np.concatenate([before, (before[:, None] + changes).ravel()]))
    counts = Resampling(0, n_draws).counts(18)
    corrected = np.array(holm([bootstrap_p(column, limit, counts) for column in changes.T]))
    alone = np.array([(weighted_means(column, unseen) >= limit).mean() for column in changes.T])
    alone[3] = 1.0  # the mean is above the limit, and the width counts
    p_values = np.array([one.p_value for one in found])
    assert p_values == pytest.approx(np.maximum(corrected, alone), rel=0.04, abs=1e-4)
    by_bootstrap = corrected > alone
    assert set(by_bootstrap[:3]) == {True, False}  # both tests decide somewhere
    assert p_values[by_bootstrap] == pytest.approx(corrected[by_bootstrap], abs=1e-12)


def test_where_most_changes_are_equal_the_unseen_is_the_width(rng):
    """A few images changed, and the others say nothing of the one that was not seen."""
    changes = np.zeros(40)
    changes[:19] = -0.3
    limit = -(TOLERANCE + 1e-5)
    for width in (1.0, 2.0):
        expected = (weighted_means(changes, width) >= limit).mean()
        assert cell(changes, width=width).p_value == pytest.approx(max(expected, 1 / 1_001), abs=0.003)
    # Exactly half is not most: then it is as large as the scores range over.
    changes[:20] = -0.3
    scores = np.linspace(0.3, 0.7, 40)
    expected = (weighted_means(changes, np.ptp(np.concatenate([scores, scores + changes]))) >= limit).mean()
    assert cell(changes, width=2.0).p_value == pytest.approx(max(expected, 1 / 1_001), abs=0.003)


@pytest.mark.parametrize("shape", ["normal", "skewed", "mostly zero"])
def test_intervals_equal_slow_twins(rng, shape):
    changes = {
        "normal": rng.normal(-0.02, 0.1, 20),
        "skewed": rng.gamma(0.5, 0.2, 20),
        "mostly zero": np.where(np.arange(20) < 3, 0.4, 0.0),
    }[shape]
    found = cell(changes)
    reach = np.quantile(np.abs(studentized(changes, Resampling(0, 1_000).counts(20))), 0.95) * standard_error(changes)
    largest = np.abs(changes).max()
    low = min(changes.mean() - reach, np.quantile(weighted_means(changes, -largest), 0.025))
    high = max(changes.mean() + reach, np.quantile(weighted_means(changes, largest), 0.975))
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high), abs=0.02 * (high - low))


def test_holm_by_hand(rng):
    np.testing.assert_allclose(_holm(np.array([0.01, 0.04, 0.03, 0.5])), [0.04, 0.09, 0.09, 0.5])
    assert _holm(np.empty(0)).size == 0
    p_values = rng.random(12) / 20
    np.testing.assert_allclose(_holm(p_values), holm(p_values.tolist()))


CHANGES = {
    "half the tolerance": lambda rng: rng.normal(-TOLERANCE / 2, 0.1, (50, 24)),
    "the tolerance": lambda rng: rng.normal(-TOLERANCE, 0.03, (50, 24)),
    "right-skewed": lambda rng: 0.1 * (rng.exponential(1, (50, 24)) - 1),
    "left-skewed": lambda rng: 0.1 * (1 - rng.exponential(1, (50, 24))),
}


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        ("half the tolerance", TOLERANCE),
        ("the tolerance", TOLERANCE),
        ("right-skewed", TOLERANCE),
        ("right-skewed", 0.0),
        ("left-skewed", 0.0),
    ],
)
def test_at_most_five_percent_of_checks_fail_without_a_regression(rng, kind, tolerance):
    """All 24 cells change in this way; 57 % failed at half the tolerance, 51 to 71 % with skewed changes of mean 0."""
    fails = [
        any(one.verdict == "regressed" for one in cells(CHANGES[kind](rng), tolerance=tolerance)) for _ in range(60)
    ]
    assert sum(fails) <= 3


def test_a_clear_worsening_of_all_cells_regresses_them(rng):
    for _ in range(4):
        assert {one.verdict for one in cells(rng.normal(-0.1, 0.1, (100, 24)))} == {"regressed"}


@pytest.mark.parametrize("n_images", [2, 12, 50, 200])
def test_worse_by_the_tolerance_everywhere_is_no_regression(n_images):
    found = cell(np.full(n_images, -TOLERANCE))
    assert found.verdict in ("unchanged", "not worse")
    assert found.p_value == 1.0
    just_more = cell(np.full(n_images, -TOLERANCE - 0.001))
    assert just_more.verdict == "inconclusive"


@pytest.mark.parametrize("n_images", [2, 3, 12, 200, 1_500])
@pytest.mark.parametrize("tolerance", [0.0, TOLERANCE])
def test_nothing_changed_is_unchanged_at_any_number(n_images, tolerance):
    found = cell(np.zeros(n_images), tolerance=tolerance)
    assert (found.verdict, found.change, found.ci_low, found.ci_high) == ("unchanged", 0, 0, 0)
    # Five digits are kept in a baseline.
    rounding = np.where(np.arange(n_images) % 2, 5e-6, -5e-6)
    assert cell(rounding, tolerance=tolerance).verdict == "unchanged"


@pytest.mark.parametrize("step", [0.1, 0.3, 0.31, 0.32])
@pytest.mark.parametrize("n_images", [2, 12, 50])
def test_equal_changes_that_differ_in_their_last_bit(step, n_images):
    """(b - 0.3) - b has two values, 1e-16 apart; warnings are errors here."""
    found = cell(np.full(n_images, -step))
    assert found.change == pytest.approx(-step)
    assert found.ci_low == pytest.approx(-step)


def test_results_are_plain_numbers(rng):
    """The JSON of `check` has no other."""
    for one in cells(rng.normal(0, 0.1, (12, 2))):
        for name in ("baseline_mean", "mean", "change", "ci_low", "ci_high", "p_value", "detectable"):
            assert type(getattr(one, name)) is float, name


def outlook(**changes):
    known = {"mean": 0.0, "spread": 0.1, "n_images": 24, "tolerance": TOLERANCE, "unseen": 0.6, "largest": 0.2}
    return Outlook(**{**known, "alpha": ALPHA, "n_cells": 1, **changes})


def test_more_images_detect_a_smaller_worsening():
    for spread in (0.0, 0.1):
        sizes = [detectable(outlook(n_images=n_images, spread=spread), 1.0) for n_images in (12, 24, 50, 100, 1_000)]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] > TOLERANCE
    many = {"n_images": 1_000, "n_cells": 200}
    assert detectable(outlook(**many), 1.0) > detectable(outlook(n_images=1_000), 1.0)
    assert detectable(outlook(alpha=0.001), 1.0) > detectable(outlook(), 1.0)


def test_detectable_without_variation_and_beyond_the_width():
    nothing_varies = cell(np.zeros(100))
    assert TOLERANCE < nothing_varies.detectable < 0.1
    assert cell(np.zeros(2)).detectable is None
    assert cell(np.zeros(2), width=np.inf).detectable > 0.4
    assert detectable(outlook(), 0.05) is None


def test_the_detectable_worsening_is_detected_in_four_of_five_runs(rng):
    found = 0
    for _ in range(60):
        smallest = cell(rng.normal(0, 0.1, 50)).detectable
        found += cell(rng.normal(-smallest, 0.1, 50)).verdict == "regressed"
    assert found >= 48


@pytest.mark.parametrize("n_images", [24, 200])
def test_no_number_of_images_is_promised_at_the_tolerance(rng, n_images):
    found = cell(standardized(rng, n_images, -TOLERANCE, 0.1))
    assert (found.verdict, found.n_wanted) == ("inconclusive", None)
    # One standard error beside it, on either side.
    for side in (-1, 1):
        mean = -TOLERANCE + side * 0.1 / np.sqrt(n_images)
        assert images_wanted(outlook(mean=mean, n_images=n_images)) is None


def test_no_number_of_images_is_promised_at_tolerance_zero(rng):
    found = cell(standardized(rng, 50, 0.0, 0.1), tolerance=0.0)
    assert (found.verdict, found.n_wanted) == ("inconclusive", None)


def test_more_spread_wants_more_images(rng):
    noise = standardized(rng, 100, 0.0, 1.0)
    wanted = [cell(0.01 + spread * noise).n_wanted for spread in (0.16, 0.19, 0.22)]
    assert wanted == sorted(wanted)
    assert wanted[0] > 100
    assert wanted[-1] > 1.2 * wanted[0]


def test_a_decided_cell_wants_no_images(rng):
    assert cell(standardized(rng, 100, -0.2, 0.1)).n_wanted is None
    assert cell(standardized(rng, 100, 0.2, 0.1)).n_wanted is None


@pytest.mark.parametrize("mean", [-0.06, 0.0])
def test_the_wanted_number_of_images_decides_in_four_of_five_runs(rng, mean):
    promised = kept = 0
    for _ in range(40):
        first = cell(rng.normal(mean, 0.05, 24))
        if first.n_wanted:
            promised += 1
            kept += cell(rng.normal(mean, 0.05, first.n_wanted)).verdict != "inconclusive"
    assert promised >= 10
    assert kept >= 0.8 * promised


def test_an_alpha_that_no_resample_can_reach_is_refused(rng):
    with pytest.raises(ConfigError, match=r"--alpha 1e-06 is too small for 24 comparisons.*above 0.00024"):
        cells(rng.random((24, 24)), alpha=1e-6, n_draws=100)


def test_a_resample_without_the_one_other_change_has_the_spread_of_the_data():
    """Its own spread is 0 but for rounding, and would make the interval endless."""
    changes = np.full((24, 1), -0.021)
    changes[0] = 0.48
    tests = MeanTests.of(changes, Resampling(0, 2_000))
    assert np.abs(tests.drawn).max() < 20
    low, high = tests.intervals()
    assert -0.2 < low[0] < -0.021 < high[0] < 0.2
