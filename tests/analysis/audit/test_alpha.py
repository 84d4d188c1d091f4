"""Ranks of explainers on each image, and Krippendorff's ordinal alpha of them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from evalkit.analysis.audit.alpha import ordinal_alpha, ordinal_values, ranks_of

NAN = float("nan")


def alpha_twin(table):
    """Return the ordinal alpha of (raters, units) from Krippendorff's coincidences, written out pair by pair."""
    units = [column[np.isfinite(column)] for column in np.asarray(table, dtype=float).T]
    units = [unit for unit in units if len(unit) > 1]
    levels = sorted({value for unit in units for value in unit})
    counts = {level: sum(int((unit == level).sum()) for unit in units) for level in levels}

    def difference(low, high):
        low, high = sorted((low, high))
        between = sum(counts[level] for level in levels if low <= level <= high)
        return (between - (counts[low] + counts[high]) / 2) ** 2

    total = sum(counts.values())
    observed = sum(
        difference(first, second) / (len(unit) - 1) for unit in units for first, second in permutations(unit, 2)
    )
    everything = [value for unit in units for value in unit]
    expected = sum(difference(first, second) for first, second in permutations(everything, 2))
    return 1 - observed / total / (expected / (total * (total - 1)))


def test_equal_scores_share_the_mean_of_their_ranks():
    ranks = ranks_of(np.array([[0.1, 0.3, 0.3, 0.2], [0.5, NAN, 0.4, NAN], [NAN, NAN, 1.0, NAN]]))
    np.testing.assert_allclose(ranks[0], [0.5 / 4, 3 / 4, 3 / 4, 1.5 / 4])
    np.testing.assert_allclose(ranks[1], [0.75, NAN, 0.25, NAN])
    assert np.isnan(ranks[2]).all()


def test_alpha_of_a_published_table():
    # Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, example C: ordinal alpha 0.815.
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
    assert ordinal_alpha(ordinal_values(np.array(table, dtype=float))) == pytest.approx(0.815, abs=5e-4)
    assert alpha_twin(table) == pytest.approx(0.815, abs=5e-4)


def test_alpha_agrees_with_its_definition(rng):
    for missing in (0.0, 0.3):
        for levels in (2, 4, 50):
            scores = rng.integers(levels, size=(9, 6)).astype(float) + np.arange(6) * 0.3 * levels
            scores[rng.random(scores.shape) < missing] = NAN
            ranks = ranks_of(scores)
            assert ordinal_alpha(ordinal_values(ranks)) == pytest.approx(alpha_twin(np.round(ranks, 9)))


def test_alpha_of_agreement_chance_and_opposition(rng):
    same = np.tile(np.arange(5.0), (10, 1))
    assert ordinal_alpha(ordinal_values(ranks_of(same))) == pytest.approx(1)
    assert abs(ordinal_alpha(ordinal_values(ranks_of(rng.random((400, 8)))))) < 0.02
    opposed = np.concatenate([same[:1], -same[:1]])
    assert ordinal_alpha(ordinal_values(ranks_of(opposed))) < -0.4


def test_alpha_without_any_difference_is_undefined():
    assert np.isnan(ordinal_alpha(ordinal_values(ranks_of(np.ones((6, 4))))))
    assert np.isnan(ordinal_alpha(ordinal_values(np.full((6, 4), NAN))))
