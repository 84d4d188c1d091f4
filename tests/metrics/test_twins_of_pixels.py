"""Metrics of single pixels and of mosaics against slow twins written from the definition alone."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.metrics.case import Case, Partner, Region
from evalkit.metrics.catalog import METRICS

from . import twins_of_pixels as twins

SIZE = (9, 11)


def maps_of(rng, size=SIZE):
    """Maps with ties, zeros, negative values, heavy tails; two are constant."""
    noise = rng.normal(size=size)
    return {
        "noise": noise,
        "float32": noise.astype(np.float32),
        "tied": rng.integers(-2, 4, size).astype(float),
        "sparse": np.maximum(noise, 0) * (rng.random(size) < 0.2),
        "one pixel": (np.arange(size[0] * size[1]).reshape(size) == 0) * 1.0,
        "border": np.pad(np.zeros((size[0] - 2, size[1] - 2)), 1, constant_values=1.0),
        "negative": -np.abs(noise) - 1,
        "heavy tails": np.exp(9 * noise) * rng.choice([-1, 1], size),
        "flat": np.full(size, -3.0),
        "zero": np.zeros(size),
    }


KINDS = list(maps_of(np.random.default_rng(0)))


@pytest.fixture(params=range(3))
def rng(request):
    return np.random.default_rng(request.param)


def region_of(rng, where):
    """Pixels of the object: scattered, at the border only, one pixel, or nearly all."""
    region = rng.random(SIZE) < 0.25
    if where == "border":
        region = np.pad(np.zeros((SIZE[0] - 2, SIZE[1] - 2), dtype=bool), 1, constant_values=True)
    if where == "corner":
        region = np.zeros(SIZE, dtype=bool)
        region[-1, -1] = True
    if where == "all":
        region = np.ones(SIZE, dtype=bool)
    return region


@pytest.mark.parametrize("ignoring", [False, True])
@pytest.mark.parametrize("where", ["scattered", "border", "corner", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_pixels(rng, kind, where, ignoring):
    saliency_map, region = maps_of(rng)[kind], region_of(rng, where)
    ignore = (rng.random(SIZE) < 0.3) & ~region if ignoring else None
    truth = Region(region, np.array([[0.0, 0, 5, 5]]), exact=True, ignore=ignore)
    for name in ("pixel_average_precision", "pixel_auc"):
        found = METRICS.build(name).score_region(saliency_map, truth)
        expected = getattr(twins, name)(saliency_map, region, ignore)
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True), name


def played(rng, size, answer):
    """Play one mosaic of random photos; return the score, the cell that shows the image, and the mosaic request."""
    photos = rng.integers(0, 256, (4, *size, 3), dtype=np.uint8)
    partners = tuple(Partner(f"partner {number}", photo, 0.9) for number, photo in enumerate(photos[1:]))
    scores = np.array([0.1, 0.9])
    case = Case("photo", photos[0], (1,), scores, 0.9, seed=5, content=photos[0].tobytes(), partners=partners)
    metric = METRICS.build("grid_pointing_game")
    saliency_map = rng.normal(size=size)
    assert metric.unscored_reason(case) is None
    (request,) = metric.requests(saliency_map, case)
    assert request.kind == "explain"
    smaller = [twins.half_size(photo) for photo in photos]
    shown = [  # rounded to whole numbers after each axis
        [number for number, photo in enumerate(smaller) if np.abs(request.pixels[cell] - photo).max() < 1.01]
        for cell in twins.cells(*size)
    ]
    assert sorted(number for numbers in shown for number in numbers) == [0, 1, 2, 3]
    return metric.score(saliency_map, case, [answer]), shown.index([0]), request


@pytest.mark.parametrize("size", [(12, 12), (14, 10), (10, 14), (13, 9), (8, 11)])
@pytest.mark.parametrize("kind", KINDS)
def test_grid_pointing_game(rng, size, kind):
    answer = maps_of(rng, size)[kind]
    found, cell, request = played(rng, size, answer)
    assert request.target in (None, (1,))
    assert request.pixels.shape == (*size, 3)
    assert found == pytest.approx(twins.grid_pointing_game(answer, cell), abs=1e-12, nan_ok=True)


def test_the_image_is_in_every_cell_of_some_mosaic():
    drawn = {played(np.random.default_rng(seed), (12, 12), np.ones((12, 12)))[1] for seed in range(30)}
    assert drawn == {0, 1, 2, 3}
