"""The metrics by magnitude against slow twins that were written from the definition without seeing the fast code."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from evalkit.metrics.case import Case
from evalkit.metrics.magnitude import Infidelity, MuFidelity, SensitivityN
from evalkit.metrics.saco import Saco

from . import twins_of_magnitude as twins

MEAN = (123.68, 116.779, 103.939)
SIZE = (13, 17)


def maps_of(rng):
    """Maps with ties, zeros, negative values, heavy tails; some are constant on many cells."""
    noise = rng.normal(size=SIZE)
    return {
        "noise": noise,
        "float32": noise.astype(np.float32),
        "tied": rng.integers(-2, 4, SIZE).astype(float),
        "sparse": np.maximum(noise, 0) * (rng.random(SIZE) < 0.2),
        "one pixel": (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) == 40) * 1.0,
        "border": np.pad(np.zeros((SIZE[0] - 2, SIZE[1] - 2)), 1, constant_values=1.0),
        "negative": -np.abs(noise) - 1,
        "heavy tails": np.exp(9 * noise) * rng.choice([-1, 1], SIZE),
        "tiny": 1e-30 * noise,
    }


KINDS = list(maps_of(np.random.default_rng(0)))


def models_of(rng):
    """Scores in 0..1: smooth, in steps (equal drops), and of one pixel only (most drops 0)."""
    weights = rng.normal(size=(*SIZE, 3)) / 300

    def smooth(image):
        return float(1 / (1 + np.exp(-((image - 120) * weights).sum())))

    def stepped(image):
        return round(smooth(image) * 8) / 8

    def one_pixel(image):
        return float(image[0, -1, 0] / 255)

    return {"smooth": smooth, "stepped": stepped, "one pixel": one_pixel}


MODELS = list(models_of(np.random.default_rng(0)))


@pytest.fixture(params=range(2))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture(params=KINDS)
def saliency_map(request, rng):
    return maps_of(rng)[request.param]


@pytest.fixture(params=MODELS)
def model(request, rng):
    return models_of(rng)[request.param]


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def scored(metric, model, image, saliency_map):
    """Return the metric's score, and the masks that it requested."""
    clean = model(image.astype(float))
    case = Case("photo", image, (0,), np.array([clean, 1 - clean]), clean, seed=11, content=b"photo")
    requests = metric.requests(saliency_map, case)
    assert {request.substrate for request in requests} == {"mean"}
    answers = [
        np.array([clean - twins.drop(model, image, MEAN, twins.hidden_pixels(mask, SIZE)) for mask in request.hidden])
        for request in requests
    ]
    return metric.score(saliency_map, case, answers), [request.hidden for request in requests]


def same(found, expected, tolerance=1e-10):
    assert found == pytest.approx(expected, abs=tolerance, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("grid", [5, 9])
def test_mu_fidelity(model, image, saliency_map, grid):
    found, masks = scored(MuFidelity(masks=40, grid=grid), model, image, saliency_map)
    masks = np.concatenate(masks)
    assert masks.shape == (40, grid, grid)
    same(found, twins.mu_fidelity(model, image, saliency_map, MEAN, masks))


def test_infidelity(model, image, saliency_map):
    found, masks = scored(Infidelity(masks=40), model, image, saliency_map)
    same(found, twins.infidelity(model, image, saliency_map, MEAN, np.concatenate(masks)), tolerance=1e-14)


def test_sensitivity_n(model, image, saliency_map):
    found, masks = scored(SensitivityN(cells="3+8+20", masks=25, grid=6), model, image, saliency_map)
    masks = np.concatenate(masks)
    of_each_n = [masks[masks.sum(axis=(1, 2)) == n] for n in (3, 8, 20)]
    assert [len(of_n) for of_n in of_each_n] == [25, 25, 25]
    same(found, twins.sensitivity_n(model, image, saliency_map, MEAN, of_each_n))


def test_saco(model, image, saliency_map):
    found, groups = scored(Saco(groups=7), model, image, saliency_map)
    groups = np.concatenate(groups)
    assert (groups.sum(axis=0) == 1).all()  # every pixel is in one group
    counts = [int(group.sum()) for group in groups]
    assert max(counts) - min(counts) <= 1
    zero = 1e-14 * np.abs(saliency_map).max()
    for above, below in pairwise(groups):
        lowest, highest = saliency_map[above].min(), saliency_map[below].max()
        assert lowest >= highest - 1e-6 * abs(highest) or (abs(lowest) < zero and abs(highest) < zero)
    same(found, twins.saco(model, image, saliency_map, MEAN, groups))
