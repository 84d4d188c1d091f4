"""mprt and emprt against slow twins written from the definition without seeing the fast code."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.metrics.case import Case
from evalkit.metrics.catalog import METRICS

from . import twins_of_reinitialized as twins

SIZE = (9, 11)


def maps_of(rng):
    """Maps with ties, zeros, negative values, heavy tails."""
    noise = rng.normal(size=SIZE)
    return {
        "noise": noise,
        "float32": noise.astype(np.float32),
        "tied": rng.integers(-2, 4, SIZE).astype(float),
        "sparse": np.maximum(noise, 0) * (rng.random(SIZE) < 0.2),
        "one pixel": (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) == 0) * 1.0,
        "negative": -np.abs(noise) - 1,
        "heavy tails": np.exp(9 * noise) * rng.choice([-1, 1], SIZE),
    }


KINDS = list(maps_of(np.random.default_rng(0)))


@pytest.fixture(params=range(3))
def rng(request):
    return np.random.default_rng(request.param)


def changed_maps(rng, saliency_map, requests, constant):
    """One map a request, more and more noise with each stage; of ``constant`` stages some or all are constant."""
    maps = []
    for request in requests:
        share = request.variant.first / 20
        made = (1 - share) * saliency_map + share * np.abs(saliency_map).max() * rng.normal(size=SIZE)
        first_seed = request.variant.seed == requests[0].variant.seed
        if constant == "all of one stage" and request.variant.first == requests[-1].variant.first:
            made = np.zeros(SIZE)
        if constant == "one seed" and first_seed:
            made = np.full(SIZE, 2.0)
        maps.append(made.astype(np.float32))
    return maps


@pytest.mark.parametrize("constant", ["none", "one seed", "all of one stage"])
@pytest.mark.parametrize("n_layers", [1, 5, 8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_mprt_and_emprt(rng, kind, n_layers, constant):
    saliency_map = maps_of(rng)[kind]
    case = Case("photo", np.zeros((*SIZE, 3), np.uint8), (0,), np.array([0.9]), 0.9, seed=3, n_layers=n_layers)
    for name in ("mprt", "emprt"):
        metric = METRICS.build(name)
        requests = metric.requests(saliency_map, case)
        assert {request.variant.layers for request in requests} == {"first"}
        stages = sorted({request.variant.first for request in requests})
        assert len(requests) == 3 * len(stages)
        assert len({request.variant.seed for request in requests}) == 3
        assert stages[-1] == n_layers
        if name == "mprt":
            assert len(stages) == min(8, n_layers)
        answers = changed_maps(rng, saliency_map, requests, constant)
        of_stages = [
            [made for made, request in zip(answers, requests, strict=True) if request.variant.first == stage]
            for stage in stages
        ]
        expected = twins.mprt(saliency_map, of_stages) if name == "mprt" else twins.emprt(saliency_map, of_stages[-1])
        found = metric.score(saliency_map, case, answers)
        assert found == pytest.approx(expected, abs=1e-10, nan_ok=True), name
        if name == "mprt":
            numbers, values = metric.kept_curve(saliency_map, case, answers)
            assert numbers.tolist() == 3 * stages
            np.testing.assert_allclose(values, twins.curve(saliency_map, of_stages), atol=1e-10)
