"""What is done differently for many images gives the same numbers, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.scores import scores_of
from evalkit.analysis.statistics.paired_tests import distinct_columns
from evalkit.analysis.statistics.resampling import MOST_GROUPS, Resampling, resample_counts
from evalkit.core.randomness import generator
from evalkit.metrics.catalog import METRICS
from evalkit.store.run_folder import RunFolder
from evalkit.store.statistics import Statistics
from tests.builders import image_row, score_row


@pytest.mark.parametrize("n_images", [0, 1, 7, 300])
def test_distinct_columns_are_those_of_numpy_in_its_order(rng, n_images):
    for n_patterns in (1, 2, 5):
        patterns = rng.random((n_images, n_patterns)) < 0.7
        scored = patterns[:, rng.integers(n_patterns, size=9)]
        found, group = distinct_columns(scored)
        np.testing.assert_array_equal(found[:, group], scored)
        if n_images:
            expected, inverse = np.unique(scored, axis=1, return_inverse=True)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(group, inverse.reshape(-1))


@pytest.mark.parametrize("n_images", [MOST_GROUPS - 900, MOST_GROUPS + 500])
@pytest.mark.parametrize("metric", ["pxap", "max_box_acc_v2"])
def test_whole_numbers_in_memory_score_as_floats(rng, metric, n_images):
    size, largest = (512, 60_000) if metric == "pxap" else (300, 2)
    floats = rng.integers(largest, size=(n_images, 3, size)).astype(np.float64)
    floats[:5, 1] = np.nan
    scored = np.isfinite(floats).all(axis=2)
    whole = Statistics(np.nan_to_num(floats).astype(np.uint16 if metric == "pxap" else np.uint8), scored)
    found = []
    for numbers in (floats, whole):
        scores = scores_of(METRICS.build(metric), numbers)
        resampling = Resampling(0, 1000)
        shared = scores.scored.all(axis=1)
        found.append(
            (
                scores.means().tolist(),
                scores.intervals(resampling),
                [part.tolist() for part in scores.family(resampling)[:6]],
                scores.mean_numbers(shared).tolist(),
            )
        )
    assert repr(found[0]) == repr(found[1])


def test_draws_in_blocks_are_those_at_once(monkeypatch):
    def drawn():
        return resample_counts(generator(0, "x"), 40, 60)

    at_once = drawn()
    monkeypatch.setattr("evalkit.analysis.statistics.resampling._BLOCK", 130)  # three resamples
    np.testing.assert_array_equal(drawn(), at_once)


@pytest.mark.parametrize("n_rows", [1, 7, 10_000])
def test_a_table_read_in_blocks_has_every_cell(tmp_path, monkeypatch, rng, n_rows):
    monkeypatch.setattr("evalkit.store.connection.Connection.blocks.__defaults__", ((), n_rows))
    folder = RunFolder.write(tmp_path / "run")
    ids, explainers, metrics = [f"i{number}" for number in range(9)], ["e", "f"], ["m", "s", "t"]
    values, flags = rng.normal(size=(9, 2)), rng.integers(2, size=(9, 2, 11)).astype(np.float64)
    counts = rng.integers(70_000, size=(9, 2, 5)).astype(np.float64)
    with folder.database as database:
        database.plan_images([image_row(name, at, sha256=name) for at, name in enumerate(reversed(ids))])
        for row, name in enumerate([*ids, "another"]):
            for column, explainer in enumerate([*explainers, "g"]):
                at = row % 9, column % 2
                missing, value = name == "i3", None if name == "i3" else values[at]
                database.put_scores(
                    [
                        score_row(name, explainer, "m", value, reason="no" if missing else None),
                        score_row(name, explainer, "s", statistics=None if missing else flags[at]),
                        score_row(name, explainer, "t", statistics=counts[at]),
                    ]
                )
    table = folder.database.table(explainers, metrics)
    folder.close()
    values[3], flags[3] = np.nan, np.nan
    np.testing.assert_array_equal(table.values[:, :, 0], values[::-1])
    assert np.isnan(table.values[:, :, 1:]).all()
    np.testing.assert_array_equal(np.asarray(table.statistics["s"]), flags[::-1])
    np.testing.assert_array_equal(np.asarray(table.statistics["t"]), counts[::-1])
    assert table.statistics["s"].numbers.dtype == np.uint8
    assert table.statistics["t"].numbers.dtype == np.uint32
    assert table.reasons == {("e", "m"): {"no": 1}, ("f", "m"): {"no": 1}}
