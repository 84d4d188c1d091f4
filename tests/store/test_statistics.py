"""Statistics of set-level metrics: packed without loss, small in memory, float64 with NaN where they are used."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.core.errors import StoreError
from evalkit.store.run_folder import RunFolder
from evalkit.store.statistics import Statistics, pack, unpack
from tests.builders import image_row, score_row

FLAGS = np.tile([1.0, 0.0, 0.0], 100)
CASES = {
    "flags": (FLAGS, "uint8"),
    "small counts": (FLAGS * 7, "uint8"),
    "counts": (np.arange(512.0) * 98, "uint16"),
    "large counts": (np.array([0.0, 2.0**32 - 1]), "uint32"),
    "255": (np.array([255.0]), "uint8"),
    "256": (np.array([256.0]), "uint16"),
    "65536": (np.array([65536.0]), "uint32"),
    "too large": (np.array([2.0**32, 0.0]), "float64"),
    "shares": (np.array([0.5, 1 / 3, 1e-300]), "float64"),
    "negative": (np.array([-1.0, 2.0]), "float64"),
    "negative zero": (np.array([-0.0, 1.0]), "float64"),
    "not finite": (np.array([np.nan, np.inf, 1.0]), "float64"),
    "empty": (np.array([]), "float64"),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_come_back_bit_for_bit_in_the_smallest_type(name):
    numbers, kind = CASES[name]
    blob = pack(numbers)
    assert unpack([blob]).dtype == kind
    assert unpack([blob]).astype(np.float64).tobytes() == numbers.tobytes()
    assert len(blob) % 8  # so that it is not taken for plain float64


def test_random_arrays_of_every_length_come_back(rng):
    for size in range(1, 60):
        for largest in (2, 300, 70_000, 2**40):
            numbers = rng.integers(largest, size=size).astype(np.float64)
            assert unpack([pack(numbers)]).astype(np.float64).tobytes() == numbers.tobytes()


def test_flags_and_counts_take_little_space():
    assert len(pack(FLAGS)) < FLAGS.nbytes / 50
    histogram = np.bincount(np.random.default_rng(0).integers(256, size=50_000), minlength=512).astype(np.float64)
    assert len(pack(histogram)) < histogram.nbytes / 5


def test_arrays_of_several_types_are_read_together():
    numbers = np.array([[1.0, 0], [300, 2], [0, 1], [0.5, np.nan]])
    np.testing.assert_array_equal(unpack([*map(pack, numbers[:3]), numbers[3].tobytes()]), numbers)
    flags = np.random.default_rng(0).integers(2, size=(50, 37)).astype(np.float64)
    np.testing.assert_array_equal(unpack([*map(pack, flags)]), flags)
    for last in (np.ones(3), np.ones(30), np.full(3, 2.0), np.full(3, 0.5)):
        with pytest.raises(ValueError, match="several lengths"):
            unpack([pack(np.ones(2)), pack(last)])


def test_plain_floats_of_older_runs_are_read():
    np.testing.assert_array_equal(unpack([np.array([1.0, 0.25]).astype("<f8").tobytes()]), [[1, 0.25]])


@pytest.mark.parametrize("change", [lambda blob: blob[:4], lambda blob: blob[:9], lambda blob: b"\x09" + blob[1:]])
def test_a_damaged_blob_is_refused_in_one_sentence(tmp_path, change):
    folder = RunFolder.write(tmp_path / "run")
    with folder.database as database:
        database.plan_images([image_row("a")])
        database.put_scores([score_row("a", "e", "s", statistics=FLAGS)])
        blob = change(pack(FLAGS))
        blob = blob if len(blob) % 8 else blob + b"\0"
        database._connection.do("UPDATE scores SET statistics = ?", (blob,))
    with pytest.raises(StoreError, match=r"is damaged: a statistic of s has the wrong length; repeat the run"):
        folder.database.table(["e"], ["s"])
    folder.close()


def test_statistics_look_like_floats_with_nan():
    made = Statistics.empty(3, 2, 2)
    made.put([0], [0], np.array([[1, 255]], dtype=np.uint8))
    made.put([1], [1], np.array([[7, 65535]], dtype=np.uint16))  # a larger type: what was put before stays
    expected = np.full((3, 2, 2), np.nan)
    expected[0, 0], expected[1, 1] = (1, 255), (7, 65535)
    assert (made.numbers.dtype, made.shape, len(made)) == (np.dtype(np.uint16), (3, 2, 2), 3)
    np.testing.assert_array_equal(np.asarray(made), expected)
    for index in (0, (0, 1), (slice(None), 1), (slice(None), [1, 0]), (np.array([True, False, True]), 0)):
        np.testing.assert_array_equal(made[index], expected[index])
    np.testing.assert_array_equal(made[..., 0], expected[..., 0])
    np.testing.assert_array_equal(made.columns([1])[:], expected[:, [1]])
    np.testing.assert_array_equal(made.mean(np.array([True, False, False]))[0], [1, 255])
    with pytest.raises(ValueError, match="3 numbers instead of 2"):
        made.put([0], [0], np.zeros((1, 3)))


def test_a_version_5_database_is_read_and_becomes_6_when_written(tmp_path):
    folder = RunFolder.write(tmp_path / "run")
    with folder.database as database:
        database.plan_images([image_row("a"), image_row("b", 1)])
        database.put_scores([score_row("a", "e", "s", statistics=FLAGS)])
        database._connection.do("UPDATE scores SET statistics = ?", (FLAGS.astype("<f8").tobytes(),))
        database._connection.do("UPDATE meta SET value = '5' WHERE key = 'schema_version'")
    folder.close()
    folder.path.joinpath("manifest.json").write_text("{}")
    old = RunFolder.read(folder.path)
    np.testing.assert_array_equal(old.database.table(["e"], ["s"]).statistics["s"][0, 0], FLAGS)
    old.close()
    again = RunFolder.write(folder.path)
    assert again.database._connection.row("SELECT value FROM meta WHERE key = 'schema_version'") == ("6",)
    with again.database as database:  # plain and packed in one table
        database.put_scores([score_row("b", "e", "s", statistics=FLAGS[::-1].copy())])
    np.testing.assert_array_equal(again.database.table(["e"], ["s"]).statistics["s"][:, 0], [FLAGS, FLAGS[::-1]])
    again.close()
