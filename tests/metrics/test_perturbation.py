"""Perturbation metrics on models whose answers are known: worked by hand, and the extremes."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.metrics.perturbation import (
    AverageDrop,
    Deletion,
    IncreaseInConfidence,
    Insertion,
    SymmetricRelevanceGain,
    area_under_curve,
)

MEAN = (0.0, 0.0, 0.0)
# Four gray pixels; the score is a weighted sum of them, so that each pixel's true worth is its weight.
IMAGE = np.ones((2, 2, 3))
WEIGHTS = np.array([[0.5, 0.25], [0.125, 0.125]])


def linear(image):
    return float((WEIGHTS * image.mean(axis=-1)).sum())


def trapezoid(*scores):
    return (sum(scores) - (scores[0] + scores[-1]) / 2) / (len(scores) - 1)


def test_deletion_of_the_true_worth_is_the_curve_on_paper(ask):
    order = np.array([[4.0, 3.0], [2.0, 1.0]])
    found = ask(Deletion(steps=4), linear, IMAGE, order, mean=MEAN)
    assert found == pytest.approx(trapezoid(1.0, 0.5, 0.25, 0.125, 0.0))
    reversed_ = ask(Deletion(steps=4), linear, IMAGE, -order, mean=MEAN)
    assert reversed_ == pytest.approx(trapezoid(1.0, 0.875, 0.75, 0.5, 0.0))


def test_insertion_begins_at_the_blurred_photo(ask):
    order = np.array([[4.0, 3.0], [2.0, 1.0]])
    found = ask(Insertion(steps=4), linear, IMAGE, order, mean=MEAN, blur=IMAGE * 0.5)
    assert found == pytest.approx(trapezoid(0.5, 0.75, 0.875, 0.9375, 1.0))


def test_gain_is_insertion_minus_deletion_with_one_substrate(ask):
    order = np.array([[4.0, 3.0], [2.0, 1.0]])
    gain = ask(SymmetricRelevanceGain(steps=4), linear, IMAGE, order, mean=MEAN)
    assert gain == pytest.approx(trapezoid(0, 0.5, 0.75, 0.875, 1) - trapezoid(1, 0.5, 0.25, 0.125, 0))
    # A map read backward loses what it gained, whatever the model.
    assert ask(SymmetricRelevanceGain(steps=4), linear, IMAGE, -order, mean=MEAN) == pytest.approx(-gain)


@pytest.mark.parametrize("spread", [0.0, 2e-7])
def test_a_reversed_map_of_tied_pixels_reverses_the_gain(spread, ask, rng):
    levels = rng.integers(-3, 4, (6, 6)) * (1 + rng.uniform(-spread, spread, (6, 6)))
    weights, image = rng.random((6, 6)), np.ones((6, 6, 3))

    def model(shown):
        return float((weights * shown.mean(axis=-1)).sum() / 36) ** 2

    gain = ask(SymmetricRelevanceGain(steps=36), model, image, levels, mean=MEAN)
    assert gain != 0
    assert ask(SymmetricRelevanceGain(steps=36), model, image, -levels, mean=MEAN) == pytest.approx(-gain, abs=1e-12)


def test_a_constant_map_jumps_from_one_end_to_the_other(ask):
    for value in (0.0, 3.0, -1.0):
        constant = np.full((2, 2), value)
        assert ask(Deletion(), linear, IMAGE, constant, mean=MEAN) == 0.5
        assert ask(Insertion(), linear, IMAGE, constant, mean=MEAN, blur=IMAGE * 0.2) == pytest.approx(0.6)
        assert ask(SymmetricRelevanceGain(), linear, IMAGE, constant, mean=MEAN) == 0.0


def test_tied_pixels_turn_together_unless_in_raster_order(ask):
    tied = np.array([[2.0, 2.0], [1.0, 1.0]])
    levels = ask(Deletion(steps=4), linear, IMAGE, tied, mean=MEAN)
    assert levels == pytest.approx(trapezoid(1.0, 0.25, 0.0))  # cuts at 0, 2 and 4 pixels
    raster = ask(Deletion(steps=4, ties="raster"), linear, IMAGE, tied, mean=MEAN)
    assert raster == pytest.approx(trapezoid(1.0, 0.5, 0.25, 0.125, 0.0))


def test_uneven_cuts_weigh_what_they_span(ask):
    # Levels of 1 and 3 pixels: fractions 0, 1/4, 1.
    found = ask(Deletion(steps=4), linear, IMAGE, np.array([[1.0, 0.0], [0.0, 0.0]]), mean=MEAN)
    assert found == pytest.approx(0.25 * (1 + 0.5) / 2 + 0.75 * (0.5 + 0) / 2)
    assert area_under_curve(np.array([0, 0.25, 1]), np.array([1, 0.5, 0])) == found


def test_no_order_beats_the_true_one(ask, rng):
    weights = rng.random((6, 6))
    weights /= weights.sum()
    image = np.ones((6, 6, 3))

    def model(shown):
        return float((weights * shown.mean(axis=-1)).sum())

    best = ask(Deletion(steps=36), model, image, weights, mean=MEAN)
    worst = ask(Deletion(steps=36), model, image, -weights, mean=MEAN)
    for _ in range(50):
        found = ask(Deletion(steps=36), model, image, rng.random((6, 6)), mean=MEAN)
        assert best <= found <= worst


def test_average_drop_and_increase(ask):
    saliency_map = np.array([[3.0, 1.0], [1.0, -1.0]])  # scaled: 1, 1/2, 1/2, 0
    left = 0.5 + 0.125 + 0.0625
    assert ask(AverageDrop(), linear, IMAGE, saliency_map, mean=MEAN) == pytest.approx(1 - left)
    assert ask(IncreaseInConfidence(), linear, IMAGE, saliency_map, mean=MEAN) == 0.0


@pytest.mark.parametrize("value", [0.0, 3.0, -1.0])
@pytest.mark.parametrize("metric", [AverageDrop(), IncreaseInConfidence()])
def test_a_constant_map_shows_nothing_and_is_not_scored(metric, value, ask):
    constant = np.full((2, 2), value)
    assert metric.unscored_map_reason(constant) == "the map is constant"
    assert np.isnan(ask(metric, linear, IMAGE, constant, mean=MEAN))
    assert metric.unscored_map_reason(WEIGHTS) is None


def test_a_rise_is_no_drop(ask):
    def against(image):
        return 0.8 - 0.5 * linear(image)

    saliency_map = np.array([[0.0, 1.0], [1.0, 1.0]])
    assert ask(AverageDrop(), against, IMAGE, saliency_map, mean=MEAN) == 0.0
    assert ask(IncreaseInConfidence(), against, IMAGE, saliency_map, mean=MEAN) == 1.0
    # Not more, not less: no increase.
    assert ask(IncreaseInConfidence(), lambda _: 0.5, IMAGE, saliency_map, mean=MEAN) == 0.0


def test_no_score_to_lose_no_average_drop(ask):
    assert np.isnan(ask(AverageDrop(), lambda _: 0.0, IMAGE, WEIGHTS, mean=MEAN))


def test_a_score_that_is_not_a_number_is_no_answer(ask):
    for metric in (AverageDrop(), IncreaseInConfidence()):
        assert np.isnan(ask(metric, lambda _: np.nan, IMAGE, WEIGHTS, mean=MEAN))
        assert np.isnan(ask(metric, lambda image: 0.5 if image is IMAGE else np.nan, IMAGE, WEIGHTS, mean=MEAN))


@pytest.mark.parametrize("steps", [0, -1, 10_001])
def test_steps_are_checked(steps):
    with pytest.raises(ConfigError, match="1 to 10000"):
        Deletion(steps=steps)
