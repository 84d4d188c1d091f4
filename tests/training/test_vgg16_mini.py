"""The training of vgg16-mini: its batches, and the folding of its normalizations."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

from evalkit.datasets.scenes.scenes import SIZE_PX

SCRIPT = Path(__file__).resolve().parents[2] / "training" / "vgg16_mini.py"


@pytest.fixture(scope="module")
def training():
    spec = importlib.util.spec_from_file_location("vgg16_mini_training", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def scenes(training):
    made = [training._make_scene((7, index)) for index in range(60)]
    return training.Scenes(*(np.stack([one[part] for one in made]) for part in range(3)))


def test_folding_keeps_the_scores(training, scenes):
    model = training.build_for_training(SIZE_PX)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            width = layer.gamma.shape[0]
            scale, variance = rng.uniform(0.5, 2, (2, width))
            layer.set_weights([scale, rng.normal(size=width), rng.normal(size=width) / 4, variance])
    images = keras.applications.vgg16.preprocess_input(scenes.pixels[:4].astype(np.float32))
    np.testing.assert_allclose(
        training.folded(model).predict_on_batch(images), model.predict_on_batch(images)[0], atol=1e-5
    )


def test_batches_are_a_function_of_seed_epoch_and_number(training, scenes):
    small = scenes.at(SIZE_PX // 2)
    assert small.pixels.shape == (60, 112, 112, 3)
    first, again, other = training.Batches(small, 1), training.Batches(small, 1), training.Batches(small, 2)
    assert len(first) == 1
    images, (scores, cells) = first[0]
    np.testing.assert_array_equal(images, again[0][0])
    assert (images != other[0][0]).any()
    again.on_epoch_end()
    assert (images != again[0][0]).any()
    assert images.shape == (64, 112, 112, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(cells.sum(axis=-1), 1, atol=1e-5)
    # The last quarter has no object: the target is uniform, and no cell is of any class.
    np.testing.assert_allclose(scores[48:], 0.1, atol=1e-6)
    np.testing.assert_array_equal(cells[48:, ..., -1], 1)
    whole = scores[:48].max(axis=1) > 0.999
    assert 0.5 < whole.mean() < 0.95
    assert (cells[:48][whole][..., :-1].sum(axis=(1, 2, 3)) > 0).all()


def test_target_falls_with_the_hidden_share_of_the_object(training, scenes, monkeypatch):
    batches = training.Batches(scenes, 1)
    monkeypatch.setattr(training, "HOLED", 1.0)
    mask = (scenes.pixels[0] != scenes.without_object[0]).any(axis=-1)
    half = mask.copy()
    half.ravel()[np.flatnonzero(mask)[: mask.sum() // 2]] = False
    for holes, expected in ((mask, 0.0), (half, (mask.sum() // 2) / mask.sum()), (~mask, 1.0)):
        monkeypatch.setattr(training, "make_holes", lambda *_, holes=holes: holes)
        image, seen, share = batches._example(np.random.default_rng(0), 0, with_object=True)
        assert share == pytest.approx(expected)
        np.testing.assert_array_equal(seen, mask & ~holes)
        np.testing.assert_array_equal(image[~holes], scenes.pixels[0][~holes])
        assert len(np.unique(image[holes], axis=0)) == 1
    assert batches._example(np.random.default_rng(0), 0, with_object=False)[2] == 0.0


def test_holes_are_of_every_kind(training, scenes):
    batches, rng = training.Batches(scenes, 1), np.random.default_rng(0)
    mask = np.zeros((SIZE_PX, SIZE_PX), dtype=bool)
    mask[40:90, 50:120] = True
    made = [training.make_holes(rng, mask, batches._blobs) for _ in range(60)]
    assert any((holes == mask).all() for holes in made)
    assert any((holes == ~mask).all() for holes in made)
    assert len({holes.sum() for holes in made}) > 40
