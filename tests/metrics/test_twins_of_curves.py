"""Curves on every substrate, and ROAD, against slow twins written from the definition without seeing the fast code."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.datasets.image import LabelledImage
from evalkit.explainers.cam import GradCam
from evalkit.harness.engine.answers import Answers
from evalkit.metrics.case import Case
from evalkit.metrics.catalog import METRICS
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier
from evalkit.models.heads import Head
from evalkit.models.inference.imputation import imputed

from . import twins as slow
from . import twins_of_curves as twins

MEAN = (123.68, 116.779, 103.939)
SIZE = (12, 12)
SUBSTRATES = ["mean", "blur", "road", "noise", "black"]


def maps_of(rng):
    """Maps with ties, zeros, negative values, blocks, one level across many shares; two are constant."""
    noise = rng.normal(size=SIZE)
    return {
        "noise": noise,
        "tied": rng.integers(-2, 4, SIZE).astype(float),
        "blocks": np.kron(rng.normal(size=(3, 4)), np.ones((4, 3))),
        "sparse": np.maximum(noise, 0) * (rng.random(SIZE) < 0.2),
        "one pixel": (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) == 0) * 1.0,
        "border": np.pad(np.zeros((SIZE[0] - 2, SIZE[1] - 2)), 1, constant_values=1.0),
        "two levels": (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) < 36) * 2.0 - 5,
        "negative": -np.abs(noise) - 1,
        "flat": np.full(SIZE, 3.0),
        "zero": np.zeros(SIZE),
    }


KINDS = list(maps_of(np.random.default_rng(0)))


@pytest.fixture(params=range(2))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture(params=KINDS)
def saliency_map(request, rng):
    return maps_of(rng)[request.param]


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (*SIZE, 3)).astype(np.float64)


@pytest.fixture
def model(rng):
    weights = rng.normal(size=(*SIZE, 3)) / 300
    return lambda image: float(1 / (1 + np.exp(-((image - 120) * weights).sum())))


@pytest.fixture
def given(rng):
    """Stand-ins for what the engine makes once a photo."""
    return {
        "blur": rng.uniform(0, 255, (*SIZE, 3)),
        "noise": rng.uniform(0, 255, (*SIZE, 3)),
        "road": rng.normal(0, 2.55, (*SIZE, 3)),
    }


def score(text, model, image, saliency_map, given):
    """Answer a metric's requests: every pixel shows the image or the one substrate."""
    metric = METRICS.build(text, steps=7)
    clean = model(image)
    case = Case("photo", image.astype(np.float32), (0,), np.array([clean, 1 - clean]), clean, seed=1, content=b"photo")
    answers = []
    for request in metric.requests(saliency_map, case):
        (substrate,) = {request.start, request.end} - {"image"}
        curve = []
        for cut in request.cuts:
            turned = request.rank < cut
            hidden = turned if request.end == substrate else ~turned
            pixels = [tuple(pixel) for pixel in np.argwhere(hidden)]
            curve.append(model(twins.replaced(image, pixels, substrate, MEAN, given)))
        answers.append(np.stack([request.fractions, curve]))
    return metric.score(saliency_map, case, answers)


@pytest.mark.parametrize("substrate", SUBSTRATES)
@pytest.mark.parametrize("twin", [twins.deletion, twins.insertion, twins.gain], ids=lambda twin: twin.__name__)
def test_curves(twin, substrate, model, image, saliency_map, given):
    name = "symmetric_relevance_gain" if twin is twins.gain else twin.__name__
    found = score(f"{name}(substrate={substrate})", model, image, saliency_map, given)
    assert found == pytest.approx(twin(model, image, saliency_map, 7, substrate, MEAN, given), abs=1e-10)


def test_road(model, image, saliency_map, given):
    found = score("road", model, image, saliency_map, given)
    assert found == pytest.approx(twins.road(model, image, saliency_map, MEAN, given), abs=1e-10)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_imputation_is_the_dense_solution(rng, share, channels):
    height, width = 12, 9
    image = rng.uniform(0, 255, (height, width, channels))
    hidden = rng.random((height, width)) < share
    hidden[0, :4] = hidden[-1, -1] = True  # a border and a corner
    pixels = [tuple(pixel) for pixel in np.argwhere(hidden)]
    np.testing.assert_allclose(imputed(image, hidden), twins.imputed(image, pixels, MEAN)[hidden], atol=1e-9)


def test_imputation_around_one_pixel_that_is_left(rng):
    image = rng.uniform(0, 255, (6, 7, 3))
    hidden = np.ones((6, 7), dtype=bool)
    hidden[2, 3] = False
    pixels = [tuple(pixel) for pixel in np.argwhere(hidden)]
    expected = np.broadcast_to(image[2, 3], image.shape)  # nothing else is known
    np.testing.assert_allclose(twins.imputed(image, pixels, MEAN), expected, atol=1e-9)
    np.testing.assert_allclose(imputed(image, hidden), expected[hidden], atol=1e-9)


def test_the_model_is_shown_imputed_images_with_one_noise(rng):
    """By the real engine: what is not hidden is the photo's, what is hidden differs from the solution by one noise."""
    shown = []

    def logits(images):
        shown.extend(np.array(images, dtype=np.float64))
        return np.stack([images.mean(axis=(1, 2, 3)) / 50, np.full(len(images), 2.5), np.zeros(len(images))], axis=1)

    photo = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    image = photo.astype(np.float64)
    head = Head("softmax", 3, ending=False)
    classifier = Classifier(BlackBox(logits, SIZE), head=head, mean_color=MEAN, batch_size=5)
    clean = classifier.probabilities(photo[None])[0]
    noises = np.full((*SIZE, 3), np.nan)
    for kind in ("noise", "sparse", "border"):
        saliency_map = maps_of(rng)[kind]
        metric = METRICS.build("deletion(substrate=road)", steps=6)
        case = Case("photo", photo, (0,), clean, float(clean[0]), seed=7, content=b"photo")
        requests = metric.requests(saliency_map, case)
        engine = Answers(
            classifier,
            LabelledImage("photo", photo, 0, ""),
            (0,),
            classifier.logits(photo[None])[0],
            lambda _images: None,
            7,
        )
        shown.clear()
        engine.answer([(GradCam(), request) for request in requests])
        ordered = [pixel for level in slow.levels(saliency_map) for pixel in level]
        for count in slow.cut_counts(saliency_map, 6)[1:]:
            hidden = np.zeros(SIZE, dtype=bool)
            for pixel in ordered[:count]:
                hidden[pixel] = True
            (made,) = [each for each in shown if np.array_equal((each != image).any(axis=2), hidden)]
            np.testing.assert_array_equal(made[~hidden], image[~hidden])
            noise = made - twins.imputed(image, ordered[:count], MEAN)
            known = hidden & ~np.isnan(noises[..., 0])
            np.testing.assert_allclose(noise[known], noises[known], atol=1e-4)
            noises[hidden] = noise[hidden]
    assert noises.std() == pytest.approx(2.55, rel=0.15)
    assert abs(noises.mean()) < 0.5
