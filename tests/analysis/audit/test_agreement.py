"""Kendall's tau-b between metrics on each image, its mean and interval, and clusters of metrics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from evalkit.analysis.audit.agreement import agreement_of, clusters_of, taus_of
from evalkit.analysis.audit.results import PairAgreement

NAN = float("nan")
FEWEST = {"fewest_explainers": 3, "fewest_images": 8}


def test_tau_by_hand():
    # Pairs: 12 and 13 in the same order, 23 tied by the second metric: 2 / sqrt(3 x 2).
    values = np.array([[[1.0, 1.0], [2.0, 2.0], [3.0, 2.0]]])
    taus = taus_of(values)[0]
    np.testing.assert_allclose(taus, [[1, 2 / np.sqrt(6)], [2 / np.sqrt(6), 1]])


@pytest.mark.parametrize("missing", [0.0, 0.25])
def test_tau_is_scipys(rng, missing):
    values = rng.integers(5, size=(12, 9, 4)).astype(float)
    values[rng.random(values.shape) < missing] = NAN
    taus = taus_of(values)
    for image in range(12):
        for first in range(4):
            for second in range(4):
                both = np.isfinite(values[image][:, [first, second]]).all(axis=1)
                wanted = kendalltau(*values[image][both][:, [first, second]].T).statistic if both.sum() >= 3 else NAN
                np.testing.assert_allclose(taus[image, first, second], wanted)


def test_tau_is_undefined_for_few_explainers_and_for_ties():
    few = np.full((1, 4, 2), NAN)
    few[0, :2] = [[1, 1], [2, 2]]
    tied = np.stack([np.arange(4.0), np.ones(4)], axis=1)[None]
    assert np.isnan(taus_of(few)).all()
    assert np.isnan(taus_of(tied)[0, 0, 1])
    assert taus_of(tied)[0, 0, 0] == 1


def test_blocks_of_images_change_nothing(rng, monkeypatch):
    values = rng.random((7, 5, 3))
    whole = taus_of(values)
    monkeypatch.setattr("evalkit.analysis.audit.agreement._NUMBERS", 60)
    np.testing.assert_array_equal(taus_of(values), whole)


def test_agreement_is_the_mean_over_images_with_an_interval(rng):
    order = np.arange(6.0)
    first = np.tile(order, (40, 1)) + rng.normal(0, 0.5, (40, 6))
    second = np.tile(order, (40, 1)) + rng.normal(0, 2.0, (40, 6))
    (pair,) = agreement_of(np.stack([first, second], axis=2), ["a", "b"], **FEWEST)
    assert (pair.first, pair.second, pair.n_images, pair.reason) == ("a", "b", 40, None)
    wanted = np.mean([kendalltau(one, other).statistic for one, other in zip(first, second, strict=True)])
    assert pair.tau == pytest.approx(wanted)
    assert -1 <= pair.low < pair.tau < pair.high <= 1


def test_too_few_images_have_a_reason():
    values = np.random.default_rng(0).random((7, 5, 2))
    (pair,) = agreement_of(values, ["a", "b"], **FEWEST)
    assert (pair.tau, pair.low, pair.high) == (None, None, None)
    assert pair.reason == "7 images have 3 explainers that both scored and do not all tie, fewer than 8"
    assert agreement_of(values[:, :, :1], ["a"], **FEWEST) == ()


def pairs(**taus):
    return [PairAgreement(*names.split("_"), tau, None, None, 9) for names, tau in taus.items()]


def test_clusters_are_cut_at_the_mean_tau():
    agreement = pairs(a_b=0.8, a_c=0.6, b_c=0.4, a_d=0.1, b_d=0.1, c_d=0.1)
    # c joins a and b at the mean of 0.6 and 0.4, which is the limit.
    assert clusters_of(agreement, "abcd", 0.5) == (("a", "b", "c"), ("d",))
    assert clusters_of(agreement, "abcd", 0.51) == (("a", "b"), ("c",), ("d",))


def test_metrics_without_tau_are_in_no_cluster():
    assert clusters_of(pairs(a_b=0.9, a_c=None, b_c=None), "abc", 0.5) == (("a", "b"),)
    assert clusters_of(pairs(a_b=None), "ab", 0.5) == ()
    assert clusters_of([], "a", 0.5) == ()
