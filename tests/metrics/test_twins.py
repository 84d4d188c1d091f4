"""Every metric against a slow twin that was written from the definition by someone who had not seen the fast code."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.core.boxes import rasterize
from evalkit.metrics.boxes import MaxBoxAccV1, MaxBoxAccV2, PxAP
from evalkit.metrics.case import Region
from evalkit.metrics.complexity import gini_index
from evalkit.metrics.levels import cuts, level_ranks
from evalkit.metrics.localization import (
    EnergyPointingGame,
    PointingGame,
    RelevanceMassAccuracy,
    RelevanceRankAccuracy,
)
from evalkit.metrics.perturbation import (
    AverageDrop,
    Deletion,
    IncreaseInConfidence,
    Insertion,
    SymmetricRelevanceGain,
)

from . import twins

MEAN = (123.68, 116.779, 103.939)
SIZE = (12, 15)


def maps_of(rng):
    """Maps of every kind that occurs: smooth, signed, tied, sparse, nearly tied, heavy tails, close values, flat."""
    smooth = rng.normal(size=SIZE)
    coarse = np.kron(rng.normal(size=(3, 5)), np.ones((4, 3)))
    sparse = np.maximum(rng.normal(size=SIZE), 0) * (rng.random(SIZE) < 0.3)
    levels = rng.integers(-2, 4, SIZE).astype(float)
    nearly = levels * (1 + rng.uniform(-2e-7, 2e-7, SIZE)) + rng.uniform(-1e-14, 1e-14, SIZE)
    return {
        "noise": smooth,
        "float32": smooth.astype(np.float32),
        "coarse": coarse,
        "sparse": sparse,
        "levels": levels,
        "nearly tied": nearly,
        "heavy tails": np.exp(9 * rng.normal(size=SIZE)) * rng.choice([-1, 1], SIZE),
        "close values": levels + 1e-7 * rng.integers(0, 300, SIZE),
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
    if kind in ("flat", "zero"):
        assert AverageDrop().unscored_map_reason(saliency_map) == "the map is constant"
        assert IncreaseInConfidence().unscored_map_reason(saliency_map) == "the map is constant"
        return
    check(AverageDrop(), twins.average_drop(model, image, saliency_map, MEAN))
    check(IncreaseInConfidence(), twins.increase_in_confidence(model, image, saliency_map, MEAN))


def region_of(rng):
    return np.asarray(rng.random(SIZE) < 0.2)


def same(found, expected):
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def ignore_of(rng, region):
    """A block of ignored pixels and some scattered ones, none of them the object's."""
    ignore = rng.random(SIZE) < 0.15
    ignore[7:, 9:] = True
    return ignore & ~region


@pytest.mark.parametrize("ignoring", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_localization(draw, kind, ignoring):
    saliency_map, region = maps_of(draw)[kind], region_of(draw)
    ignore = ignore_of(draw, region) if ignoring else None
    boxes = boxes_of(draw, 2)
    for tolerance_px, pixel_size in ((15.0, (1.0, 1.0)), (3.0, (1.7, 0.9)), (0.5, (1.0, 1.0))):
        truth = Region(region, boxes, exact=True, pixel_size=pixel_size, ignore=ignore)
        found = PointingGame(tolerance_px=tolerance_px).score_region(saliency_map, truth)
        same(found, twins.pointing_game(saliency_map, region, tolerance_px, pixel_size, ignore))
    same(RelevanceMassAccuracy().score_region(saliency_map, truth), twins.mass_inside(saliency_map, region, ignore))
    same(
        RelevanceRankAccuracy().score_region(saliency_map, truth),
        twins.relevance_rank_accuracy(saliency_map, region, ignore),
    )
    in_boxes = twins.box_union(boxes, SIZE)
    same(EnergyPointingGame().score_region(saliency_map, truth), twins.mass_inside(saliency_map, in_boxes, ignore))


@pytest.mark.parametrize("kind", KINDS)
def test_gini(draw, kind):
    saliency_map = maps_of(draw)[kind]
    same(gini_index(saliency_map), twins.gini(saliency_map))


def boxes_of(rng, count):
    corners = rng.uniform(0, 1, (count, 2, 2)) * [SIZE[1], SIZE[0]]
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


@pytest.mark.parametrize("ignoring", [False, True])
def test_boxes_and_pixels_over_a_set(draw, ignoring):
    maps = list(maps_of(draw).values())
    truths = [boxes_of(draw, 1 + number % 2) for number in range(len(maps))]
    regions = [region_of(draw) for _ in maps]
    ignores = [ignore_of(draw, region) if ignoring else None for region in regions]
    for metric, twin, what in (
        (MaxBoxAccV1(), twins.max_box_acc_v1, truths),
        (MaxBoxAccV2(), twins.max_box_acc_v2, truths),
        (PxAP(), twins.pxap, regions),
    ):
        statistics = [
            metric.score_region(saliency_map, Region(region, boxes, exact=True, ignore=ignore))
            for saliency_map, region, boxes, ignore in zip(maps, regions, truths, ignores, strict=True)
        ]
        same(float(metric.aggregate(np.mean(statistics, axis=0))), twin(maps, what, ignores))
    for boxes in truths:
        np.testing.assert_array_equal(rasterize(boxes, SIZE), twins.box_union(boxes, SIZE))
