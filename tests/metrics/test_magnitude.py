"""Faithfulness by magnitude: hand-worked values, definitions in plain loops, extremes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import spearmanr

from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Case
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.magnitude import (
    Infidelity,
    MuFidelity,
    SensitivityN,
    cell_sums,
    infidelity,
    linear_correlation,
    random_cells,
    rank_correlation_of_sums,
)
from evalkit.metrics.saco import Saco, saco

SIZE = (20, 27)
MEAN = 100.0


def cell_of(y, x, grid):
    return y * grid // SIZE[0], x * grid // SIZE[1]


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def weights(rng):
    """True attributions of a linear model, float (H, W), and its score of an image."""
    weights = rng.normal(size=SIZE) / 1e4

    def model(pixels):
        return 0.5 + float((weights * (pixels.astype(np.float64)[..., 0] - MEAN)).sum())

    return weights, model


def score(metric, model, image, saliency_map):
    """Answer a metric's requests by a function of an image."""
    case = Case("photo", image, (0,), np.array([model(image)]), model(image), seed=4, content=b"photo")
    answers = []
    for request in metric.requests(saliency_map, case):
        scores = []
        for hidden in request.hidden:
            shown = image.astype(np.float64)
            rows, columns = hidden.shape
            for y in range(SIZE[0]):
                for x in range(SIZE[1]):
                    if hidden[y * rows // SIZE[0], x * columns // SIZE[1]]:
                        shown[y, x] = MEAN
            scores.append(model(shown))
        answers.append(np.array(scores))
    return metric.score(saliency_map, case, answers)


def test_cell_sums_follow_the_cells_of_the_masks(rng):
    saliency_map = rng.normal(size=SIZE)
    expected = np.zeros((9, 9))
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            expected[cell_of(y, x, 9)] += saliency_map[y, x]
    np.testing.assert_allclose(cell_sums(saliency_map, 9), expected, atol=1e-12)


def test_random_cells_hide_what_is_asked(rng):
    by_chance, exact = random_cells(rng, 4000, 9, 0.2), random_cells(rng, 4000, 9, 16)
    assert by_chance.mean() == pytest.approx(0.2, abs=0.005)
    assert set(exact.sum(axis=(1, 2))) == {16}
    np.testing.assert_allclose(exact.mean(axis=0), 16 / 81, atol=0.04)


def test_infidelity_by_hand():
    # factor = (1*0.2 + 2*0.2) / (1 + 4) = 0.12; errors 0.12 - 0.2 and 0.24 - 0.2
    assert infidelity(np.array([1.0, 2.0]), np.array([0.2, 0.2])) == pytest.approx((0.08**2 + 0.04**2) / 2)
    assert infidelity(np.array([1.0, 2.0]), np.array([0.1, 0.2])) == pytest.approx(0.0, abs=1e-15)
    assert infidelity(np.array([-1e-30, -2e-30]), np.array([0.1, 0.2])) == pytest.approx(0.0, abs=1e-15)
    assert np.isnan(infidelity(np.zeros(3), np.array([0.1, 0.2, 0.3])))


def test_saco_by_hand():
    relevance, drops = np.array([3.0, 2.0, 0.0]), np.array([0.5, 0.6, 0.1])
    # pairs: 3-2 = 1 against, 3-0 = 3 for, 2-0 = 2 for
    assert saco(relevance, drops) == pytest.approx((-1 + 3 + 2) / 6)
    assert saco(relevance, -drops) == pytest.approx((1 - 3 - 2) / 6)
    assert saco(relevance, np.zeros(3)) == 0.0
    assert np.isnan(saco(np.ones(3), drops))


def test_correlations_by_hand():
    assert linear_correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1.0)
    assert np.isnan(linear_correlation(np.ones(3), np.array([2.0, 4, 6])))
    assert np.isnan(linear_correlation(np.array([5.0, 5.0 + 1e-12, 5.0]), np.array([2.0, 4, 6])))
    assert rank_correlation_of_sums(np.array([1.0, 2, 3]), np.array([1.0, 10, 100])) == pytest.approx(1.0)


def test_equal_sums_share_their_rank(rng):
    first, second = rng.integers(0, 5, 50).astype(float), rng.integers(0, 5, 50).astype(float)
    assert rank_correlation_of_sums(first, second) == pytest.approx(spearmanr(first, second).statistic)
    shaken = first * (1 + 1e-12 * rng.normal(size=50))
    assert rank_correlation_of_sums(shaken, second) == pytest.approx(spearmanr(first, second).statistic)


def true_map(weights, image):
    return weights * (image.astype(np.float64)[..., 0] - MEAN)


@pytest.mark.parametrize("metric", [MuFidelity(masks=60), SensitivityN(masks=20)])
def test_true_attributions_of_a_linear_model_correlate_fully(metric, image, weights):
    truth = true_map(weights[0], image)
    assert score(metric, weights[1], image, truth) == pytest.approx(1.0, abs=1e-6)
    assert score(metric, weights[1], image, -truth) == pytest.approx(-1.0, abs=1e-6)
    assert score(metric, weights[1], image, 1000 * truth) == pytest.approx(1.0, abs=1e-6)


def test_true_attributions_of_a_linear_model_predict_every_drop(image, weights):
    truth = true_map(weights[0], image)
    assert score(Infidelity(masks=60), weights[1], image, truth) == pytest.approx(0.0, abs=1e-12)
    assert score(Infidelity(masks=60), weights[1], image, -truth) == pytest.approx(0.0, abs=1e-12)
    other = np.random.default_rng(1).normal(size=SIZE)
    assert score(Infidelity(masks=60), weights[1], image, other) > 1e-6


def test_saco_of_true_attributions_and_their_reverse(image, weights):
    truth = true_map(weights[0], image)
    assert score(Saco(), weights[1], image, truth) == pytest.approx(1.0)
    assert score(Saco(), weights[1], image, -truth) == pytest.approx(-1.0)


def test_saco_groups_are_equal_and_ordered(image):
    saliency_map = np.maximum(np.random.default_rng(2).normal(size=SIZE), 0)  # half of it is zero
    case = Case("photo", image, (0,), np.array([0.5]), 0.5, seed=4, content=b"photo")
    members = Saco().members(saliency_map, case)
    assert {group.size for group in members} == {54}
    assert sorted(np.concatenate(members)) == list(range(540))
    values = saliency_map.ravel()
    assert all(values[a].min() >= values[b].max() for a, b in pairwise(members))
    assert members[-1].tolist() != sorted(members[-1].tolist())  # zeros are in random, not in raster order


def test_masks_do_not_depend_on_the_map_and_are_shared(image):
    case = Case("photo", image, (0,), np.array([0.5]), 0.5, seed=4, content=b"photo")
    first, second = np.random.default_rng(3).normal(size=(2, *SIZE))
    asked = [
        MuFidelity().requests(first, case),
        MuFidelity().requests(second, case),
        Infidelity().requests(first, case),
    ]
    assert len({requests[0].key for requests in asked}) == 1
    sized = [SensitivityN().requests(one, case) for one in (first, second)]
    assert [one.key for one in sized[0]] == [one.key for one in sized[1]]
    assert [set(one.hidden.sum(axis=(1, 2))) for one in sized[0]] == [{8}, {16}, {32}, {64}]


@pytest.mark.parametrize("metric", [MuFidelity(), SensitivityN(), Saco()])
def test_a_constant_map_is_not_scored(metric):
    assert metric.unscored_map_reason(np.full(SIZE, 2.5)) == "the map is constant"


@pytest.mark.parametrize("metric", [MuFidelity(), Infidelity(), SensitivityN(), Saco()])
def test_scores_that_are_not_finite_give_no_score(metric, weights):
    values, model = weights
    image = np.full((*SIZE, 3), 90, np.uint8)
    assert np.isfinite(score(metric, model, image, values))
    known = iter([model(image)] * 5)  # then no more
    assert np.isnan(score(metric, lambda _: next(known, np.nan), image, values))
    assert metric.spec.nan_reason.endswith(", or a score of the model is not finite")


def test_a_photo_smaller_than_the_grid_is_not_scored(weights):
    image = np.zeros((8, 30, 3), np.uint8)
    case = Case("photo", image, (0,), np.array([0.5]), 0.5, seed=4)
    assert MuFidelity().unscored_reason(case) == "the photo is 8 x 30, smaller than the grid of 9 x 9 cells"


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: MuFidelity(masks=9), "masks=9"),
        (lambda: MuFidelity(hidden=1.0), "hidden=1.0"),
        (lambda: Infidelity(grid=1), "grid=1"),
        (lambda: SensitivityN(cells="8+81"), "cells=8\\+81"),
        (lambda: SensitivityN(cells="8+x"), "cells=8\\+x"),
        (lambda: SensitivityN(cells="²"), "cells=²"),
        (lambda: SensitivityN(masks=1), "masks=1"),
        (lambda: Saco(groups=1), "groups=1"),
    ],
)
def test_values_out_of_range_are_refused(build, named):
    with pytest.raises(ConfigError, match=named):
        build()


def test_maps_of_a_photo_share_the_passes(run_photos):
    """Three metrics of six maps take no more than 1.1 times the passes of one map."""
    metrics = "mu_fidelity,sensitivity_n,infidelity"
    one, six = (
        run_photos(explainers, metrics)[0]
        for explainers in ("gradcam", "gradcam,hirescam,layercam,gradcam_plus_plus,edges,random")
    )
    assert sum(cell.value is not None for cell in six.cells) == 18
    assert six.forward_passes <= 1.1 * one.forward_passes
    values = {(cell.explainer, cell.metric): cell.value for cell in six.cells}
    for cell in one.cells:
        assert values[cell.explainer, cell.metric] == cell.value


@pytest.mark.parametrize(("spec", "sizes"), [("sensitivity_n(cells=8)", (8,)), ("sensitivity_n(cells=8+16)", (8, 16))])
def test_the_sizes_can_be_set_in_a_spec(spec, sizes):
    metric = METRICS.build(spec)
    assert metric.sizes == sizes
    assert metric.text == spec
