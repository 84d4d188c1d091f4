"""Logits of a photo blended toward a substrate by masks, on a Keras model and a black box."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier


@pytest.fixture
def case(tiny, photos):
    rng = np.random.default_rng(3)
    weights = rng.random((11, 32, 32)).astype(np.float32)
    photo, substrate = photos[0].astype(np.float32), np.full((32, 32, 3), 100, dtype=np.float32)
    images = substrate + (photo - substrate) * weights[..., None]
    return photo, substrate, weights, images


def test_equal_to_images_composed_before(tiny, case):
    photo, substrate, weights, images = case
    blended = tiny.blended.logits(photo, substrate, len(weights), lambda start, stop: weights[start:stop])
    np.testing.assert_allclose(blended, tiny.logits(images), rtol=1e-5, atol=1e-5)


def test_ends_are_the_photo_and_the_substrate(tiny, case):
    photo, substrate, *_ = case
    ends = np.stack([np.ones((32, 32)), np.zeros((32, 32))]).astype(np.float32)
    blended = tiny.blended.logits(photo, substrate, 2, lambda start, stop: ends[start:stop])
    np.testing.assert_allclose(blended, tiny.logits(np.stack([photo, substrate])), rtol=1e-5, atol=1e-5)


def test_passes_are_counted_without_padding(tiny, case):
    photo, substrate, weights, _ = case
    before = tiny.count.forward
    tiny.blended.logits(photo, substrate, len(weights), lambda start, stop: weights[start:stop])
    assert tiny.count.forward - before == len(weights)


def test_black_box(case):
    photo, substrate, weights, images = case

    def half_and_half(batch):
        first = batch.mean((1, 2, 3)) / 255
        return np.stack([first, 1 - first], axis=1)

    classifier = Classifier(BlackBox(half_and_half, (32, 32), identity="means"))
    blended = classifier.blended.logits(photo, substrate, len(weights), lambda start, stop: weights[start:stop])
    np.testing.assert_allclose(blended, classifier.logits(images), rtol=1e-5)
