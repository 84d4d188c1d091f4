"""Scores to results: directions, ranks, marks, what is not scored."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.leaderboard import TEST_RESAMPLES, analyse
from evalkit.metrics.catalog import METRICS
from evalkit.store.scores import ScoreTable

QUICK = {"seed": 0, "n_resamples": 500, "n_test_resamples": 500}


@pytest.fixture
def table(facts):
    """Build a table of one metric: a column of scores for each explainer."""

    def make(metric, scores, reasons=None):
        explainers = [facts(name, control=name in ("random", "uniform")) for name in scores]
        values = np.array(list(scores.values()), dtype=float).T
        ids = tuple(f"{number}.jpg" for number in range(len(values)))
        return (
            ScoreTable(ids, tuple(scores), (metric,), values[..., None], {}, reasons or {}),
            [METRICS.build(metric)],
            explainers,
        )

    return make


def cells(results):
    return {cell.explainer: cell for cell in results.leaderboard}


def test_the_best_of_a_lower_is_better_metric_is_the_lowest(table, rng):
    noise = rng.normal(0, 0.02, 25)
    found = cells(
        analyse(*table("deletion", {"gradcam": 0.2 + noise, "cam": 0.5 - noise, "random": 0.6 + noise}), **QUICK)
    )
    assert [found[name].rank for name in ("gradcam", "cam", "random")] == [1, 2, 3]
    assert found["gradcam"].better_than == ("cam", "random")
    assert found["cam"].better_than == ("random",)
    assert found["random"].better_than == ()
    assert found["gradcam"].direction == "lower"


def test_the_best_of_a_higher_is_better_metric_is_the_highest(table, rng):
    noise = rng.normal(0, 0.02, 25)
    found = cells(analyse(*table("insertion", {"gradcam": 0.2 + noise, "cam": 0.5 - noise}), **QUICK))
    assert found["cam"].rank == 1
    assert found["cam"].better_than == ("gradcam",)
    low, mean, high = found["cam"].ci_low, found["cam"].mean, found["cam"].ci_high
    assert low < mean < high


@pytest.mark.parametrize(("n_images", "beaten"), [(8, ()), (24, ("edges",))])
def test_equal_means_share_a_rank_and_beat_nothing(table, n_images, beaten):
    """All differences are 0.4: with one unseen image of -1, p is 2 x 1.4^-n, 0.14 for 8 images."""
    scores = {name: [score] * n_images for name, score in (("gradcam", 0.5), ("cam", 0.5), ("edges", 0.1))}
    found = cells(analyse(*table("sparseness", scores), **QUICK))
    assert [found[name].rank for name in scores] == [1, 1, 3]
    assert [found[name].better_than for name in scores] == [beaten, beaten, ()]
    assert 0 < found["gradcam"].ci_low < 0.5 < found["gradcam"].ci_high < 1
    assert found["gradcam"].ci_reason is None


def test_equal_scores_without_bounds_have_no_interval(table):
    found = cells(analyse(*table("max_sensitivity", {"gradcam": [0.5] * 24, "cam": [0.5] * 24}), **QUICK))
    assert (found["gradcam"].ci_low, found["gradcam"].ci_reason) == (None, "all scores are equal")


def test_a_rare_failure_loses_no_letter_to_a_constant_of_its_mean(table):
    rare = np.ones(24)
    rare[7] = 0
    found = cells(analyse(*table("insertion", {"cam": rare, "edges": [23 / 24] * 24, "center": [1.0] * 24}), **QUICK))
    assert {found[name].better_than for name in ("cam", "edges", "center")} == {()}


def test_the_family_counts_pairs_that_share_too_few_images(table, rng):
    noise = rng.normal(0, 0.02, (3, 24))
    few = np.where(np.arange(24) < 5, 0.1, np.nan)
    results = analyse(
        *table("insertion", {"cam": 0.8 + noise[0], "edges": 0.4 + noise[1], "center": 0.2 + noise[2], "few": few}),
        **QUICK,
    )
    (family,) = results.families
    assert (family.n_pairs, family.n_untested, family.n_images, family.fewest_images) == (6, 3, 24, 6)
    assert family.smallest_p == 1.5 / 501
    assert results.n_test_resamples == 500
    assert cells(results)["cam"].better_than == ("edges", "center")
    assert cells(results)["few"].better_than == ()


def test_five_images_have_no_letters_and_the_family_says_so(table):
    (family,) = analyse(*table("insertion", {"cam": [0.9] * 5, "edges": [0.1] * 5}), **QUICK).families
    assert (family.n_pairs, family.n_untested, family.n_images, family.smallest_p) == (1, 1, 0, 1.0)


def test_tests_take_the_first_resamples_of_the_intervals(table, rng):
    scores = {"cam": rng.random(30), "edges": rng.random(30)}
    assert analyse(*table("insertion", scores), seed=0).n_test_resamples == TEST_RESAMPLES
    assert analyse(*table("insertion", scores), seed=0, n_resamples=300).n_test_resamples == 300


def test_not_scored_is_counted_and_never_averaged_in(table):
    scores = {"gradcam": [0.5, np.nan, 0.7, np.nan], "cam": [np.nan] * 4}
    reasons = {("gradcam", "deletion"): {"misclassified": 2}, ("cam", "deletion"): {"misclassified": 3, "no map": 1}}
    results = analyse(*table("deletion", scores, reasons), **QUICK)
    found = cells(results)
    assert found["gradcam"].mean == pytest.approx(0.6)
    assert (found["gradcam"].n_scored, found["gradcam"].n_unscored) == (2, 2)
    assert (found["cam"].mean, found["cam"].rank, found["cam"].ci_reason) == (None, None, "nothing was scored")
    assert (found["cam"].n_scored, found["cam"].n_unscored) == (0, 4)
    assert {(one.explainer, one.reason, one.n_images) for one in results.unscored} == {
        ("gradcam", "misclassified", 2), ("cam", "misclassified", 3), ("cam", "no map", 1),
    }  # fmt: skip


def test_explainers_not_beating_controls_are_listed(table):
    scores = {"gradcam": [0.6, 0.7], "cam": [0.1, 0.2], "random": [0.3, 0.4], "uniform": [0.1, 0.1]}
    assert analyse(*table("insertion", scores), **QUICK).not_beating_controls == {"insertion": ("cam",)}
    assert analyse(*table("deletion", scores), **QUICK).not_beating_controls == {"deletion": ("gradcam", "cam")}
    assert analyse(*table("deletion", {"cam": [0.1]}), **QUICK).not_beating_controls == {"deletion": ()}


def test_the_score_of_a_set_is_the_metrics_own(facts):
    metric = METRICS.build("max_box_acc_v1")
    statistics = np.zeros((4, 2, 100))
    statistics[:3, 0, 10] = 1  # three photos right at one threshold
    statistics[0, 0, 20] = statistics[1, 0, 30] = 1
    statistics[:, 1] = np.nan
    values = np.full((4, 2, 1), np.nan)
    table = ScoreTable(tuple("abcd"), ("gradcam", "cam"), (metric.text,), values, {metric.text: statistics}, {})
    found = cells(analyse(table, [metric], [facts("gradcam"), facts("cam")], **QUICK))
    assert found["gradcam"].mean == 0.75
    assert found["gradcam"].n_scored == 4
    assert found["cam"].mean is None
    assert found["cam"].n_unscored == 4


def test_equal_seed_gives_equal_results_with_another_explainer(table, rng):
    scores = {"gradcam": rng.random(30), "cam": rng.random(30)}
    first, again = (analyse(*table("insertion", scores), **QUICK) for _ in range(2))
    assert first == again
    wider = cells(analyse(*table("insertion", {**scores, "edges": rng.random(30)}), **QUICK))
    assert (wider["cam"].ci_low, wider["cam"].ci_high) == (cells(first)["cam"].ci_low, cells(first)["cam"].ci_high)


def test_one_image_has_means_and_ranks_and_nothing_else(table):
    found = cells(analyse(*table("insertion", {"gradcam": [0.6], "cam": [0.2]}), **QUICK))
    assert found["gradcam"].rank == 1
    assert found["gradcam"].better_than == ()
    assert found["gradcam"].ci_reason == "one image"


def test_copies_of_a_photo_count_once(table, rng):
    scores, metrics, explainers = table("deletion", {"gradcam": rng.random(12), "cam": rng.random(12)})
    once = analyse(scores, metrics, explainers, **QUICK)
    copied = ScoreTable(
        image_ids=tuple(f"{one}#{copy}" for one in scores.image_ids for copy in range(5)),
        explainers=scores.explainers,
        metrics=scores.metrics,
        values=np.repeat(scores.values, 5, axis=0),
        statistics={},
        reasons={},
        photos=tuple(one for one in scores.image_ids for _ in range(5)),
    )
    again = analyse(copied, metrics, explainers, **QUICK)
    assert again.n_images == 12
    for one, other in zip(once.leaderboard, again.leaderboard, strict=True):
        assert one.ci_low == pytest.approx(other.ci_low)
        assert one.ci_high == pytest.approx(other.ci_high)
        assert one.better_than == other.better_than
