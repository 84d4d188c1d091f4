"""What plots are made of: mean curves, and scores by object size."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit
from evalkit.analysis.curves import by_object_size, curves_of, mean_curve
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.facts import facts_of_metric
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable
from tests.builders import manifest

RESAMPLING = Resampling(0, 500)
BY_DELETION = manifest(settings={"criterion": "deletion"})
DELETION = facts_of_metric(METRICS.build("deletion"))


def test_mean_curve_interpolates_and_its_area_is_the_metric():
    straight = np.array([[0.0, 1.0], [1.0, 0.0]])
    bent = np.array([[0.0, 0.25, 1.0], [1.0, 0.0, 0.0]])
    made = mean_curve("e", DELETION, [straight, bent], 4, RESAMPLING)
    np.testing.assert_allclose(made.fractions, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(made.mean, [1, 0.375, 0.25, 0.125, 0])
    assert made.area == pytest.approx((0.5 + 0.125) / 2)
    assert (made.low <= made.mean).all()
    assert (made.mean <= made.high).all()
    assert (made.low[1], made.high[1]) == pytest.approx((0.0, 0.75))


def test_entries_of_one_photo_are_one_image():
    straight = np.array([[0.0, 1.0], [1.0, 0.0]])
    flat = np.array([[0.0, 1.0], [0.4, 0.4]])
    one = mean_curve("e", DELETION, [straight, flat, flat], 2, RESAMPLING, ["a", "a", "b"])
    np.testing.assert_allclose(one.mean, [(0.7 + 0.4) / 2, (0.45 + 0.4) / 2, (0.2 + 0.4) / 2])
    assert one.area == pytest.approx((0.45 + 0.4) / 2)
    assert one.n_images == 2
    table = ScoreTable(
        ("a#x", "a#y", "b#x"), ("e",), ("deletion",), np.array([[[0.2]], [[0.4]], [[0.9]]]), {}, {},
        np.array([0.05, 0.05, 0.05]), ("a", "a", "b"),
    )  # fmt: skip
    small = next(one for one in by_object_size(BY_DELETION, table) if one.object_size == "small")
    assert (small.n_images, small.mean) == (2, pytest.approx((0.3 + 0.9) / 2))


def test_bands_of_equal_curves_have_no_width_and_of_many_images_are_narrow(rng):
    curves = [np.array([[0.0, 1.0], [first, 0.1]]) for first in rng.uniform(0.5, 1.0, 2_500)]
    made = mean_curve("e", DELETION, curves, 1, RESAMPLING)
    error = np.std([curve[1, 0] for curve in curves]) / np.sqrt(2_500)
    assert made.high[0] - made.low[0] == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert (made.low[1], made.high[1]) == pytest.approx((0.1, 0.1))


def test_one_image_has_no_width():
    made = mean_curve("e", DELETION, [np.array([[0.0, 1.0], [0.8, 0.2]])], 2, RESAMPLING)
    np.testing.assert_allclose(made.low, made.high)


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    rng = np.random.default_rng(3)
    images = evalkit.ImageSet.from_arrays(rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8), [0, 1, 2, 0])
    return evalkit.evaluate(
        tiny_model, images, explainers=["gradcam", "uniform"], metrics="insertion,deletion,symmetric_relevance_gain",
        target="predicted", progress=False, output=tmp_path_factory.mktemp("curves") / "run",
    )  # fmt: skip


def test_area_of_stored_curves_equals_leaderboard_score(run):
    folder = RunFolder.read(run.path)
    curves = curves_of(folder, run.manifest)
    folder.close()
    assert list(curves) == ["gradcam", "uniform"]
    for explainer, found in curves.items():
        assert [one.metric for one in found] == ["deletion", "insertion"]
        for one in found:
            (cell,) = [cell for cell in run.leaderboard(one.metric) if cell.explainer == explainer]
            assert (one.area, one.n_images) == (pytest.approx(cell.mean, abs=1e-12), 4)


def test_curves_are_not_part_of_the_scores(run):
    assert set(run.scores().statistics) == set()


def test_scores_by_object_size_have_means_and_intervals():
    values = np.array([[0.1], [0.3], [0.8], [np.nan], [0.9]])[:, :, None]
    shares = np.array([0.05, 0.06, 0.5, 0.5, np.nan])
    table = ScoreTable(tuple("abcde"), ("e",), ("deletion",), values, {}, {}, shares)
    small, medium, large = by_object_size(BY_DELETION, table)
    assert (small.object_size, small.mean, small.n_images) == ("small", pytest.approx(0.2), 2)
    assert 0 <= small.low < 0.2 < small.high <= 1
    assert (medium.mean, medium.n_images) == (None, 0)
    assert (large.mean, large.low, large.n_images) == (0.8, None, 1)
    assert by_object_size(manifest(settings={"criterion": "insertion"}), table) == []
    nowhere = ScoreTable(("a",), ("e",), ("deletion",), values[:1], {}, {}, np.array([np.nan]))
    assert by_object_size(BY_DELETION, nowhere) == []
