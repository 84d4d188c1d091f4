"""Shortcuts: the cue's rank in the map, the model's use of it, misses and false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Case, Cue
from evalkit.metrics.catalog import CUE_METRICS, DEFAULT_METRICS, METRICS, build_metrics
from evalkit.metrics.requirements import needs_of
from evalkit.metrics.shortcut import CueFalseAlarm, CueMissed, cue_pixel_auc

CUE = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)
BACKGROUND = np.array([[0, 0, 0, 0], [1, 1, 1, 0]], dtype=bool)  # the last column is the object
SHOWN, HIDDEN = CUE.astype(np.float32), BACKGROUND.astype(np.float32)


def slow_auc(saliency_map, cue, background):
    pairs = [(inside, outside) for inside in saliency_map[cue] for outside in saliency_map[background]]
    return float(np.mean([1.0 if inside > outside else 0.5 * (inside == outside) for inside, outside in pairs]))


def case_of(**changes):
    photo = np.zeros((2, 4, 3), np.uint8)
    cue = Cue(CUE, BACKGROUND, photo + 1, photo + 2, output=2, agrees=False)
    return replace(Case("photo", photo, (1,), np.array([0.1, 0.7, 0.2]), 0.7, cue=cue), **changes)


def score(metric, saliency_map=SHOWN, case=None, scores=(0.1, 0.7, 0.2)):
    case = case_of() if case is None else case
    requests = metric.requests(saliency_map, case)
    assert len(requests) == metric.cost().shared_images
    return metric.score(saliency_map, case, [np.array(scores)] * len(requests))


def test_auc_by_hand():
    saliency_map = np.array([[3.0, 1.0, 9.0, 9.0], [2.0, 1.0, 0.0, 9.0]])
    # 3 is above all three; 1 is above 0 and equal to 1: 3 + 1.5 of 6 pairs.
    assert cue_pixel_auc(saliency_map, CUE, BACKGROUND) == pytest.approx(4.5 / 6)


def test_auc_equals_its_slow_twin(rng):
    for _ in range(20):
        saliency_map = rng.integers(-3, 4, (9, 7)).astype(float) / 4
        kind = rng.integers(0, 3, (9, 7))
        cue, background = kind == 0, kind == 1
        assert cue_pixel_auc(saliency_map, cue, background) == pytest.approx(slow_auc(saliency_map, cue, background))


def test_auc_of_extremes(rng):
    assert cue_pixel_auc(SHOWN, CUE, BACKGROUND) == 1.0
    assert cue_pixel_auc(-SHOWN, CUE, BACKGROUND) == cue_pixel_auc(HIDDEN, CUE, BACKGROUND) == 0.0
    for value in (0.0, 1.0, -2.5):
        assert cue_pixel_auc(np.full(CUE.shape, value), CUE, BACKGROUND) == 0.5
    on_object = np.where(CUE | BACKGROUND, 0.0, 5.0)
    assert cue_pixel_auc(on_object, CUE, BACKGROUND) == 0.5
    side = np.zeros((64, 64), dtype=bool)
    side[:8, :8] = True
    chance = [cue_pixel_auc(rng.normal(size=(64, 64)), side, ~side) for _ in range(50)]
    assert np.mean(chance) == pytest.approx(0.5, abs=0.02)
    assert np.isnan(cue_pixel_auc(np.full(CUE.shape, np.nan), CUE, BACKGROUND))
    assert np.isnan(cue_pixel_auc(SHOWN, CUE, np.zeros_like(CUE)))


@pytest.mark.parametrize(
    ("without", "missed_when_hidden", "missed_when_shown"),
    [((0.3, 0.49, 0.21), 1.0, 0.0), ((0.3, 0.51, 0.19), np.nan, np.nan), ((0.0, 0.9, 0.1), np.nan, np.nan)],
)
def test_a_miss_needs_a_used_cue(without, missed_when_hidden, missed_when_shown):
    metric = METRICS.build("cue_missed")
    np.testing.assert_equal(score(metric, HIDDEN, scores=without), missed_when_hidden)
    np.testing.assert_equal(score(metric, SHOWN, scores=without), missed_when_shown)


@pytest.mark.parametrize(
    ("without", "alarm_when_shown"),
    [((0.1, 0.7, 0.2), 1.0), ((0.14, 0.66, 0.2), 1.0), ((0.1, 0.64, 0.26), np.nan), ((0.1, 0.7, 0.0), np.nan)],
)
def test_a_false_alarm_needs_scores_that_do_not_change(without, alarm_when_shown):
    metric = METRICS.build("cue_false_alarm")
    np.testing.assert_equal(score(metric, SHOWN, scores=without), alarm_when_shown)
    np.testing.assert_equal(score(metric, HIDDEN, scores=without), 0.0 if alarm_when_shown == 1.0 else np.nan)


def test_a_constant_map_shows_nothing():
    constant = np.ones_like(SHOWN)
    assert score(METRICS.build("cue_missed"), constant, scores=(0.3, 0.4, 0.3)) == 1.0
    assert score(METRICS.build("cue_false_alarm"), constant) == 0.0


def test_drops_are_of_the_target():
    case = case_of(target=(1, 2), clean_score=0.9)
    assert score(METRICS.build("cue_drop"), case=case, scores=(0.5, 0.2, 0.3)) == pytest.approx(0.4)
    assert score(METRICS.build("object_drop"), case=case, scores=(0.5, 0.2, 0.3)) == pytest.approx(0.4)
    without, without_object = (METRICS.build(name).requests(SHOWN, case)[0] for name in ("cue_drop", "object_drop"))
    np.testing.assert_array_equal(without.pixels, case.cue.without)
    np.testing.assert_array_equal(without_object.pixels, case.cue.without_object)


def test_one_request_serves_every_metric_of_the_cue():
    keys = {
        METRICS.build(name).requests(SHOWN, case_of())[0].key for name in ("cue_drop", "cue_missed", "cue_false_alarm")
    }
    assert len(keys) == 1


def test_following_is_preferring_the_class_of_the_cue():
    metric, case = METRICS.build("cue_followed"), case_of()
    assert score(metric, case=case) == 0.0
    assert score(metric, case=replace(case, clean_scores=np.array([0.1, 0.4, 0.5]))) == 1.0
    assert np.isnan(score(metric, case=replace(case, cue=replace(case.cue, agrees=True))))
    unknown = replace(case, cue=replace(case.cue, output=None))
    assert metric.unscored_reason(unknown) == "no output of the model is known for the class that the cue tells"


@pytest.mark.parametrize("name", CUE_METRICS)
def test_without_a_cue_nothing_is_scored(name):
    metric = METRICS.build(name)
    assert metric.unscored_reason(case_of(cue=None)) == "no known cue"
    assert metric.unscored_reason(case_of(cue=None, cue_reason="gone")) == "gone"
    assert metric.unscored_reason(case_of(not_finite="the score is not finite")) == "the score is not finite"
    assert metric.unscored_reason(case_of()) is None


def test_without_the_object_there_must_be_an_image():
    case = case_of()
    case = replace(case, cue=replace(case.cue, without_object=None))
    assert METRICS.build("object_drop").unscored_reason(case) == "no image without the object"


@pytest.mark.parametrize(
    ("metric", "parameters", "message"),
    [
        (CueMissed, {"used_from": 0.0}, "used_from=0.0 is not allowed; more than 0, at most 1"),
        (CueMissed, {"shown_from": 0.5}, "shown_from=0.5 is not allowed; more than 0.5, at most 1"),
        (CueFalseAlarm, {"unused_to": -0.1}, "unused_to=-0.1 is not allowed; 0 to 1"),
        (CueFalseAlarm, {"shown_from": float("nan")}, "shown_from=nan is not allowed; more than 0.5, at most 1"),
    ],
)
def test_parameters_out_of_range_are_refused(metric, parameters, message):
    with pytest.raises(ConfigError, match=message):
        metric(**parameters)


def test_cue_metrics_are_default_only_where_there_are_cues():
    assert [metric.text for metric in build_metrics(None, cues=True)] == [*DEFAULT_METRICS, *CUE_METRICS]
    assert not {metric.text for metric in build_metrics("all")} & set(CUE_METRICS)
    assert {metric.text for metric in build_metrics("all", cues=True)} >= set(CUE_METRICS)
    assert [metric.text for metric in build_metrics("cue_drop")] == ["cue_drop"]


def test_needs_say_that_a_cue_must_be_known():
    assert needs_of(METRICS.build("cue_pixel_auc")) == ("cue",)
    assert needs_of(METRICS.build("cue_missed")) == ("cue", "scores")
