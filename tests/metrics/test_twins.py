"""Every metric against a slow twin that was written from the definition by someone who had not seen the fast code."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.metrics.boxes import MaxBoxAccV1, MaxBoxAccV2, PxAP
from evalkit.metrics.complexity import gini_index
from evalkit.metrics.levels import cuts, level_ranks
from evalkit.metrics.localization import box_region, mass_inside, pointing_game, relevance_rank_accuracy
from evalkit.metrics.perturbation import (
    AverageDrop,
    Deletion,
    IncreaseInConfidence,
    Insertion,
    SymmetricRelevanceGain,
)
from evalkit.metrics.spec import Truth

from . import twins

MEAN = (123.68, 116.779, 103.939)
SIZE = (12, 15)


def maps_of(rng):
    """Maps of every kind that occurs: smooth, signed, tied, sparse, nearly tied, flat."""
    smooth = rng.normal(size=SIZE)
    coarse = np.kron(rng.normal(size=(3, 5)), np.ones((4, 3)))
    sparse = np.maximum(rng.normal(size=SIZE), 0) * (rng.random(SIZE) < 0.3)
    levels = rng.integers(-2, 4, SIZE).astype(float)
    nearly = levels + rng.uniform(-2e-7, 2e-7, SIZE) * np.abs(levels).max()
    return {
        "noise": smooth,
        "float32": smooth.astype(np.float32),
        "coarse": coarse,
        "sparse": sparse,
        "levels": levels,
        "nearly tied": nearly,
        "one pixel": np.eye(*SIZE) * 0 + (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) == 77),
        "negative": -np.abs(smooth) - 1,
        "flat": np.full(SIZE, 3.0),
        "zero": np.zeros(SIZE),
    }


KINDS = list(maps_of(np.random.default_rng(0)))


@pytest.fixture(params=range(3))
def draw(request):
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_levels_and_cuts(draw, kind):
    saliency_map = maps_of(draw)[kind]
    rank, boundaries = level_ranks(saliency_map)
    before = 0
    slow = twins.levels(saliency_map)
    for level in slow:
        assert {int(rank[place]) for place in level} == {before}
        before += len(level)
    assert len(boundaries) == len(slow) + 1
    for steps in (1, 4, 7, 28):
        assert cuts(boundaries, steps).tolist() == twins.cut_counts(saliency_map, steps)


@pytest.mark.parametrize("kind", KINDS)
def test_perturbation_metrics(draw, kind, ask):
    saliency_map = maps_of(draw)[kind]
    image, blur = draw.uniform(0, 255, (2, *SIZE, 3))
    weights = draw.normal(size=(*SIZE, 3)) / 500

    def model(shown):
        return float(1 / (1 + np.exp(-((shown - 120) * weights).sum())))

    def check(metric, expected):
        found = ask(metric, model, image, saliency_map, mean=MEAN, blur=blur)
        assert found == pytest.approx(expected, abs=1e-9)

    for steps in (5, 28):
        check(Deletion(steps=steps), twins.deletion(model, image, saliency_map, MEAN, steps))
        check(Insertion(steps=steps), twins.insertion(model, image, saliency_map, blur, steps))
        gain = twins.symmetric_relevance_gain(model, image, saliency_map, MEAN, steps)
        check(SymmetricRelevanceGain(steps=steps), gain)
    check(AverageDrop(), twins.average_drop(model, image, saliency_map, MEAN))
    check(IncreaseInConfidence(), twins.increase_in_confidence(model, image, saliency_map, MEAN))


def region_of(rng):
    return np.asarray(rng.random(SIZE) < 0.2)


def same(found, expected):
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("kind", KINDS)
def test_localization(draw, kind):
    saliency_map, region = maps_of(draw)[kind], region_of(draw)
    for tolerance_px, pixel_size in ((15.0, (1.0, 1.0)), (3.0, (1.7, 0.9)), (0.5, (1.0, 1.0))):
        found = pointing_game(saliency_map, region, tolerance_px=tolerance_px, pixel_size=pixel_size)
        same(found, twins.pointing_game(saliency_map, region, tolerance_px, pixel_size))
    same(mass_inside(saliency_map, region), twins.mass_inside(saliency_map, region))
    same(relevance_rank_accuracy(saliency_map, region), twins.relevance_rank_accuracy(saliency_map, region))


@pytest.mark.parametrize("kind", KINDS)
def test_gini(draw, kind):
    saliency_map = maps_of(draw)[kind]
    same(gini_index(saliency_map), twins.gini(saliency_map))


def boxes_of(rng, count):
    corners = rng.uniform(0, 1, (count, 2, 2)) * [SIZE[1], SIZE[0]]
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_boxes_and_pixels_over_a_set(draw):
    maps = list(maps_of(draw).values())
    truths = [boxes_of(draw, 1 + number % 2) for number in range(len(maps))]
    regions = [region_of(draw) for _ in maps]
    for metric, twin, what in (
        (MaxBoxAccV1(), twins.max_box_acc_v1, truths),
        (MaxBoxAccV2(), twins.max_box_acc_v2, truths),
        (PxAP(), twins.pxap, regions),
    ):
        statistics = [
            metric.statistics(saliency_map, Truth(region, boxes, exact=True))
            for saliency_map, region, boxes in zip(maps, regions, truths, strict=True)
        ]
        same(float(metric.aggregate(np.mean(statistics, axis=0))), twin(maps, what))
    for boxes in truths:
        np.testing.assert_array_equal(box_region(boxes, SIZE), twins.box_union(boxes, SIZE))
