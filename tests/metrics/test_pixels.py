"""Pixels as detections: worked by hand, beside slow definitions, and the extremes."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.metrics.case import Case, Region
from evalkit.metrics.pixels import PixelAuc, PixelAveragePrecision, pixel_auc, pixel_average_precision

MASK = np.array([[True, False, True, False]])


def slow_auc(values, region):
    """The share of pairs in which the pixel inside is higher; equal pairs are half."""
    pairs = [(1.0 if a > b else 0.5 if a == b else 0.0) for a in values[region] for b in values[~region]]
    return sum(pairs) / len(pairs)


def slow_average_precision(values, region):
    """Sum of precision times gained recall over the thresholds, from the highest value down."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(values.ravel().tolist()), reverse=True):
        shown = values >= threshold
        recall = (shown & region).sum() / region.sum()
        total += (recall - before) * (shown & region).sum() / shown.sum()
        before = recall
    return total


@pytest.mark.parametrize(
    ("values", "precision", "auc"),
    [
        ([4.0, 3, 2, 1], 0.5 * 1 + 0.5 * 2 / 3, 0.75),
        ([1.0, 3, 2, 4], 0.5 * 1 / 3 + 0.5 * 2 / 4, 0.0),
        ([2.0, 2, 1, 0], 0.5 * 1 / 2 + 0.5 * 2 / 3, 0.625),
        ([5.0, 0, 5, 0], 1.0, 1.0),
        ([0.0, 5, 0, 5], 0.5, 0.0),
        ([7.0, 7, 7, 7], 0.5, 0.5),
    ],
)
def test_four_pixels_on_paper(values, precision, auc):
    saliency_map = np.array([values])
    assert pixel_average_precision(saliency_map, MASK) == pytest.approx(precision)
    assert pixel_auc(saliency_map, MASK) == pytest.approx(auc)


@pytest.mark.parametrize("kind", ["noise", "levels", "sparse", "signed"])
def test_they_equal_the_slow_definitions(kind, rng):
    region = rng.random((9, 11)) < 0.3
    maps = {
        "noise": rng.random((9, 11)), "levels": rng.integers(0, 4, (9, 11)) * 1.0,
        "sparse": np.maximum(rng.normal(size=(9, 11)) - 1, 0), "signed": rng.integers(-2, 3, (9, 11)) * 0.7,
    }  # fmt: skip
    assert pixel_auc(maps[kind], region) == pytest.approx(slow_auc(maps[kind], region), abs=1e-12)
    expected = slow_average_precision(maps[kind], region)
    assert pixel_average_precision(maps[kind], region) == pytest.approx(expected, abs=1e-12)


def test_values_of_one_level_are_one_threshold():
    nearly = np.array([[1.0, 1.0 - 1e-8, 1.0 - 2e-8, 0.0]])
    tied = np.array([[1.0, 1.0, 1.0, 0.0]])
    for metric in (pixel_auc, pixel_average_precision):
        assert metric(nearly, MASK) == metric(tied, MASK)


def test_a_reversed_map_has_the_opposite_auc(rng):
    saliency_map, region = rng.integers(0, 5, (8, 8)) * 1.0, rng.random((8, 8)) < 0.4
    assert pixel_auc(-saliency_map, region) == pytest.approx(1 - pixel_auc(saliency_map, region))


def test_noise_scores_chance(rng):
    region = np.zeros((224, 224), dtype=bool)
    region[40:120, 60:160] = True
    noise = rng.random((224, 224))
    assert pixel_auc(noise, region) == pytest.approx(0.5, abs=0.01)
    assert pixel_average_precision(noise, region) == pytest.approx(region.mean(), abs=0.01)


def test_an_object_that_covers_every_counted_pixel():
    everything = np.ones((2, 3), dtype=bool)
    saliency_map = np.arange(6.0).reshape(2, 3)
    assert np.isnan(pixel_auc(saliency_map, everything))
    assert pixel_average_precision(saliency_map, everything) == 1.0
    ignore = np.array([[False, False, False], [True, True, True]])
    region = Region(~ignore, np.array([[0.0, 0, 3, 1]]), exact=True, ignore=ignore)
    assert np.isnan(PixelAuc().score_region(saliency_map, region))
    assert PixelAuc.spec.nan_reason == "the object covers every pixel"


def test_boxes_are_no_exact_mask():
    region = Region(MASK, np.array([[0.0, 0, 3, 1]]), exact=False)
    case = Case("image", np.zeros((1, 4, 3), np.uint8), (0,), np.array([0.9, 0.1]), 0.9, region=region)
    for metric in (PixelAuc(), PixelAveragePrecision()):
        assert metric.unscored_reason(case) == "only boxes, no exact mask"
