"""Ranks within a metric: by the images that all ranked explainers share."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.leaderboard import analyse
from evalkit.analysis.ranking import ranking_of
from evalkit.analysis.scores import scores_of
from evalkit.metrics.catalog import METRICS
from evalkit.store.scores import ScoreTable

NAN = np.nan


def ranked(*columns, metric="insertion"):
    """Rank columns of scores."""
    sign = 1.0 if METRICS.get(metric).spec.direction == "higher" else -1.0
    return ranking_of(scores_of(METRICS.build(metric), np.stack(columns, axis=1)[..., None]), sign)


def hidden(column, *images):
    """Return a column that does not score these images."""
    column = np.array(column, dtype=float)
    column[list(images)] = NAN
    return column


def test_all_images_rank_if_all_are_scored():
    found = ranked([0.1, 0.3], [0.5, 0.6], [0.6, 0.5])
    assert (found.ranks, found.reasons, found.n_images) == ([3, 1, 1], [None] * 3, 2)
    assert ranked([0.1, 0.3], [0.5, 0.6], metric="deletion").ranks == [1, 2]


def test_an_explainer_scored_on_easy_images_only_has_no_rank():
    difficulty = np.linspace(0.9, 0.1, 50)
    easy = hidden(difficulty - 0.05, *range(10, 50))  # worse on each image that it scored, higher on average
    found = ranked(difficulty, easy, difficulty - 0.2)
    assert np.nanmean(easy) > difficulty.mean()
    assert found.ranks == [1, None, 2]
    assert found.reasons[1] == "scored 10 of the 50 images that at least half of the explainers scored"
    assert found.n_images == 50


def test_one_missing_image_is_missing_for_all():
    # Without its one image the second is worse on every image, yet its own mean is higher.
    first = np.array([0.0, *[0.5] * 49])
    second = hidden(first - 0.001, 0)
    assert np.nanmean(second) > first.mean()
    found = ranked(first, second)
    assert (found.ranks, found.n_images) == ([1, 2], 49)
    np.testing.assert_allclose(found.goodness, [0.5, 0.499])


@pytest.mark.parametrize(("n_missing", "ranks", "n_images"), [(10, [2, 1], 40), (11, [1, None], 50)])
def test_up_to_a_fifth_of_the_images_may_be_missing(n_missing, ranks, n_images):
    found = ranked(np.zeros(50), hidden(np.ones(50), *range(n_missing)))
    assert (found.ranks, found.n_images) == (ranks, n_images)


def test_the_others_rank_by_what_most_of_them_scored():
    few = [hidden(np.full(50, score), *range(10, 50)) for score in (0.1, 0.2)]
    found = ranked(np.full(50, 0.15), *few)
    assert (found.ranks, found.n_images) == ([2, 3, 1], 10)


def test_explainers_that_share_no_image_have_no_rank():
    halves = hidden(np.ones(6), 0, 1, 2), hidden(np.ones(6), 3, 4, 5)
    found = ranked(*halves)
    assert found.ranks == [None, None]
    assert found.reasons == ["scored 3 of the 6 images that at least half of the explainers scored"] * 2
    each_misses_another = [hidden(np.ones(6), image) for image in range(6)]
    found = ranked(*each_misses_another)
    assert found.reasons == ["no image was scored by all explainers that would be ranked"] * 6


def test_nothing_scored_has_neither_rank_nor_reason():
    found = ranked([0.5, 0.5], [NAN, NAN])
    assert (found.ranks, found.reasons) == ([1, None], [None, None])
    nothing = ranked([NAN, NAN], [NAN, NAN])
    assert (nothing.ranks, nothing.n_images) == ([None, None], 0)


def test_set_scores_rank_by_the_shared_images(rng):
    metric = METRICS.build("pxap")
    from tests.builders import statistics_size

    numbers = rng.random((30, 2, statistics_size(metric)))
    numbers[:2, 1] = NAN
    found = ranking_of(scores_of(metric, numbers), 1.0)
    assert found.n_images == 28
    expected = [float(metric.aggregate(numbers[2:, column].mean(axis=0))) for column in (0, 1)]
    np.testing.assert_allclose(found.goodness, expected)


def test_best_and_not_beating_come_from_the_ranks(facts):
    difficulty = np.linspace(0.9, 0.1, 50)
    columns = {
        "gradcam": difficulty,
        "cam": hidden(difficulty - 0.05, *range(10, 50)),
        "edges": difficulty - 0.2,
        "random": hidden(difficulty - 0.1, 0),
    }
    explainers = [facts(name, control=name == "random") for name in columns]
    table = ScoreTable(
        tuple(map(str, range(50))),
        tuple(columns),
        ("insertion",),
        np.stack(list(columns.values()), 1)[..., None],
        {},
        {},
    )
    found = analyse(table, [METRICS.build("insertion")], explainers, seed=0, n_resamples=300, n_test_resamples=500)
    cells = {cell.explainer: cell for cell in found.leaderboard}
    assert [cells[name].rank for name in columns] == [1, None, 3, 2]
    assert cells["cam"].mean == pytest.approx(np.nanmean(columns["cam"]))
    assert (cells["cam"].n_scored, cells["cam"].rank_images) == (10, None)
    assert "scored 10 of the 50" in cells["cam"].rank_reason
    assert cells["gradcam"].rank_images == cells["random"].rank_images == 49
    assert found.not_beating_controls == {"insertion": ("edges",)}
