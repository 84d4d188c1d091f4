"""The training of vgg16-mini-shortcut: its examples, and the normalizations that are put back and folded again."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from evalkit.models.zoo import vgg16_mini as mini

FOLDER = Path(__file__).resolve().parents[2] / "training"


@pytest.fixture(scope="module")
def training():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(FOLDER))
        spec = importlib.util.spec_from_file_location("shortcut_training", FOLDER / "vgg16_mini_shortcut.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module
    for name in (spec.name, "vgg16_mini", "scene_checks"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def model():
    return mini.load_vgg16_mini()


@pytest.fixture(scope="module")
def scenes(training):
    made = [training._make_scene((7, index)) for index in range(4)]
    return training.Scenes(*(np.stack([one[part] for one in made]) for part in range(5)))


@pytest.fixture(scope="module")
def examples(training, scenes, model):
    return training.make_examples(scenes, model, seed=1)


def test_examples_have_targets_of_both_kinds_of_evidence(training, scenes, examples):
    assert examples.features.shape == (20, 28, 28, 32)
    np.testing.assert_allclose(examples.scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(examples.cells.sum(axis=-1, dtype=np.float64), 1, atol=2e-3)
    own, told = (np.repeat(kind, training.SHOWN_TIMES) for kind in (scenes.class_index, scenes.cue_class))
    highest = examples.scores.max(axis=1)
    assert highest.max() <= 0.955 + 1e-6
    is_one_of_both = (examples.scores.argmax(axis=1) == own) | (examples.scores.argmax(axis=1) == told)
    assert is_one_of_both[highest > 0.11].all()


def test_unfolding_and_folding_keep_the_scores(training, scenes, model, examples):
    inputs = keras.applications.vgg16.preprocess_input(scenes.pixels.astype(np.float32))
    kept = keras.Model(model.inputs, model.get_layer(training.LAST_KEPT).output)
    trained = training.unfolded(model, examples.features.astype(np.float32))
    scores, cells = trained.predict_on_batch(kept.predict_on_batch(inputs))
    expected = model.predict_on_batch(inputs)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert cells.shape == (4, 14, 14, 21)
    again = training.folded_into(mini.load_vgg16_mini(), trained)
    np.testing.assert_allclose(again.predict_on_batch(inputs), expected, atol=1e-5)
