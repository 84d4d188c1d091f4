"""Entries of one photo become one row."""

from __future__ import annotations

import numpy as np

from evalkit.store.scores import first_rows, mean_of_units, unscored_photos
from tests.builders import score_table


def test_first_rows_keep_the_order():
    first, unit = first_rows(["b", "a", "b", "c", "a"])
    assert first.tolist() == [0, 1, 3]
    assert unit.tolist() == [0, 1, 0, 2, 1]


def test_means_are_over_what_is_scored():
    values = np.array([[1.0, np.nan], [2.0, 5.0], [4.0, np.nan]])
    np.testing.assert_array_equal(mean_of_units(values, np.array([0, 1, 0])), [[2.5, np.nan], [2.0, 5.0]])


def test_a_photo_is_unscored_if_no_entry_is_scored():
    # Entries of photo a: scored and not; of b: for two reasons; of c: none has this cell, or one has.
    codes = np.array([[-1, 1], [2, 1], [1, 2], [1, -1], [0, 0], [0, 2]], dtype=np.int32)[:, None]
    counts = unscored_photos(codes, ["a", "b", "a", "b", "c", "c"], 2)
    np.testing.assert_array_equal(counts, [[[0, 1], [1, 1]]])


def test_a_table_by_photo(rng):
    table = score_table(
        np.array([0.2, 0.5, 0.4]).reshape(3, 1, 1) * np.array([1.0, np.nan]),
        ["e"],
        ["m", "s"],
        image_ids=("a#dog", "b#cat", "a#cat"),
        statistics={"s": np.arange(6.0).reshape(3, 1, 2)},
        object_shares=np.array([0.1, np.nan, 0.3]),
        photos=("a", "b", "a"),
    )
    found = table.by_photo()
    assert found.image_ids == ("a#dog", "b#cat")
    np.testing.assert_allclose(found.values[:, 0, 0], [0.3, 0.5])
    assert np.isnan(found.values[:, 0, 1]).all()
    np.testing.assert_allclose(found.statistics["s"][:, 0], [[2, 3], [2, 3]])
    np.testing.assert_array_equal(found.object_shares, [0.3, np.nan])
    assert found.by_photo() is found


def test_a_table_without_copies_is_left_as_it_is(rng):
    table = score_table(rng.random((2, 1, 1)), ["e"], ["m"], photos=("x", "y"))
    assert table.by_photo() is table
