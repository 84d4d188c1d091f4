"""ROAD: worked by hand, beside a slow definition, and the extremes."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.harness.planning.cache_keys import metric_line
from evalkit.metrics.case import Case
from evalkit.metrics.road import SHARES, Road
from evalkit.models.heads import Head
from evalkit.models.inference.imputation import NOISE_SD, imputed
from evalkit.models.inference.perturbation import PhotoScores

MEAN = (100.0, 110.0, 120.0)
SIZE = (10, 13)


class Model:
    """The logit of class 1 is a weighted sum of the pixels."""

    def __init__(self, weights):
        self.weights, self.head, self.images = weights, Head("softmax", 2), 0

    def of(self, image):
        return np.array([0.0, (self.weights * np.asarray(image, np.float64).mean(axis=2)).sum()])

    def logits_from(self, count, make):
        self.images += count
        return np.array([self.of(make(number)) for number in range(count)]).reshape(count, 2)


def case_of(photo, model):
    clean = model.head.scores(model.of(photo)[None])[0]
    return Case("photo", photo, (1,), clean, float(clean[1]), seed=5)


def road(model, photo, saliency_map, metric=None):
    metric = metric or Road()
    case = case_of(photo, model)
    engine = PhotoScores(model, photo, (1,), model.of(photo), MEAN, seed=5)
    return metric.score(saliency_map, case, engine.scores(metric.requests(saliency_map, case)))


def slow_road(model, photo, saliency_map, noise):
    """Hide the pixels one share after the other, in each order; distinct values, and shares of whole pixels."""
    order = np.argsort(-saliency_map.ravel())
    differences = []
    for percent in range(10, 100, 10):
        scores = []
        for ranked in (order[::-1], order):
            hidden = np.zeros(photo.shape[:2], dtype=bool)
            hidden.ravel()[ranked[: hidden.size * percent // 100]] = True
            image = photo.astype(np.float64)
            image[hidden] = imputed(photo, hidden) + noise[hidden]
            scores.append(1 / (1 + np.exp(-model.of(image.astype(np.float32))[1])))
        differences.append(scores[0] - scores[1])
    return np.mean(differences) / 2


@pytest.fixture
def photo(rng):
    return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def test_curves_on_paper():
    hidden = np.arange(11) / 10
    most_first = np.stack([hidden, 1 - hidden])  # falls with what is hidden: 0.9, 0.8 ... 0.1
    shown_first = np.stack([hidden, np.minimum(1, 2 * hidden)])  # 1 until half is hidden, then 0.8 ... 0.2
    assert Road().score(None, None, [most_first, shown_first]) == pytest.approx((7 / 9 - 0.5) / 2)


def test_between_cuts_the_curve_is_a_straight_line():
    most_first = np.array([[0.0, 0.4, 1.0], [1.0, 0.2, 0.2]])  # 0.8, 0.6, 0.4, 0.2, 0.2 ...
    shown_first = np.array([[0.0, 0.4, 1.0], [0.2, 1.0, 1.0]])  # until 0.6 are hidden 1, then 0.8, 0.6, 0.4
    expected = ((6 * 1 + 0.8 + 0.6 + 0.4) - (0.8 + 0.6 + 0.4 + 6 * 0.2)) / 9 / 2
    assert Road().score(None, None, [most_first, shown_first]) == pytest.approx(expected)


def test_it_equals_the_slow_definition(photo, rng):
    model = Model(rng.normal(0, 0.01, SIZE))
    saliency_map = rng.permutation(np.arange(130.0)).reshape(SIZE)
    engine = PhotoScores(model, photo, (1,), model.of(photo), MEAN, seed=5)
    noise = engine.canvas("road").astype(np.float64) - MEAN
    assert 0.8 * NOISE_SD < noise.std() < 1.2 * NOISE_SD
    expected = slow_road(model, photo, saliency_map, noise)
    assert road(model, photo, saliency_map) == pytest.approx(expected, abs=1e-6)
    assert road(model, photo, -saliency_map) == pytest.approx(-expected, abs=1e-6)


def test_a_constant_map_scores_zero(photo, rng):
    model = Model(rng.normal(0, 0.01, SIZE))
    for value in (0.0, 1.0, -3.0):
        assert road(model, photo, np.full(SIZE, value)) == 0.0


def test_a_map_of_mostly_zeros_is_not_emptied(photo):
    """The bright object decides; the map is 0 on nine tenths of the pixels, as many maps after ReLU are."""
    photo[:] = 20
    photo[2:5, 3:7] = 250
    weights = np.full(SIZE, -0.01)
    weights[2:5, 3:7] = 0.02
    model = Model(weights)
    good = (weights > 0).astype(np.float32)
    assert road(model, photo, good) > 0.2
    assert road(model, photo, -good) == pytest.approx(-road(model, photo, good))


def test_both_orders_share_images_that_are_equal(photo, rng):
    model = Model(rng.normal(0, 0.01, SIZE))
    road(model, photo, np.repeat([1.0, 0.0], 65).reshape(SIZE))  # one cut at a half, hidden from either side
    assert model.images == 1 + 2
    model.images = 0
    road(model, photo, rng.permutation(np.arange(130.0)).reshape(SIZE))
    assert model.images == 1 + 2 * len(SHARES)


def test_log_odds_of_a_linear_model_need_no_saturation(photo, rng):
    model, saliency_map = Model(rng.normal(0, 1.0, SIZE)), rng.permutation(np.arange(130.0)).reshape(SIZE)
    found = road(model, photo, saliency_map, Road(score_kind="log_odds"))
    assert np.isfinite(found)
    assert abs(found) > 0.5


def test_scores_that_are_not_finite_give_none():
    broken = np.array([[0.0, 1.0], [1.0, np.nan]])
    assert np.isnan(Road().score(None, None, [broken, broken]))


def test_signature_holds_substrate_and_seed():
    line = "road|v:1|substrate:road|ties:levels|score:softmax|target:label|seed:7"
    assert metric_line(Road(), "label", 7) == line
    assert Road().substrate == "road"
    assert metric_line(Road(score_kind="log_odds"), "label", 7) == line.replace("softmax", "log_odds")
