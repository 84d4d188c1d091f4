"""``vgg16-mini``: VGG16's graph, small weights, and the object as its evidence."""

from __future__ import annotations

from importlib.resources import files

import keras
import numpy as np
import pytest
from scene_checks import evidence

from evalkit.datasets.scenes.scenes import CLASS_NAMES, make_scene
from evalkit.datasets.scenes.shortcuts import Shortcut
from evalkit.models.zoo.load import load_classifier
from evalkit.models.zoo.vgg16_mini import DENSE_WIDTH, WIDTHS, build_vgg16_mini, load_vgg16_mini, save_weights

UNSEEN_SEED = 4321  # training drew from the seeds 1000 and 2000


@pytest.fixture(scope="module")
def mini():
    return load_classifier("vgg16-mini", batch_size=32)


def test_it_has_the_graph_and_the_layer_names_of_vgg16():
    own, full = build_vgg16_mini(), keras.applications.VGG16(weights=None, classes=10)
    assert [layer.name for layer in own.layers[1:]] == [layer.name for layer in full.layers[1:]]
    eighth = {"fc1": DENSE_WIDTH, "fc2": DENSE_WIDTH, "predictions": 10}
    for small, large in zip(own.layers[1:], full.layers[1:], strict=True):
        assert type(small) is type(large)
        expected = {**large.get_config(), "dtype": small.get_config()["dtype"]}
        if "filters" in expected:
            expected["filters"] //= 8
        if "units" in expected:
            expected["units"] = eighth[small.name]
        assert small.get_config() == expected
    assert WIDTHS == (8, 16, 32, 64, 64)


def test_its_weights_are_float16_and_at_most_6_mb():
    packaged = files("evalkit.models.zoo").joinpath("weights/vgg16-mini.npz")
    with packaged.open("rb") as stream, np.load(stream) as arrays:
        assert {str(arrays[name].dtype) for name in arrays.files} == {"float16"}
        assert all(np.isfinite(arrays[name]).all() for name in arrays.files)
    assert len(packaged.read_bytes()) < 6e6


def test_saved_weights_are_loaded_again(tmp_path):
    keras.utils.set_random_seed(2)
    model = build_vgg16_mini()
    save_weights(model, tmp_path / "weights.npz")
    again = load_vgg16_mini(tmp_path / "weights.npz")
    for first, second in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(first.astype(np.float16), second)


def test_it_needs_nothing_to_be_said(mini):
    assert (mini.name, mini.preprocess, mini.class_names) == ("vgg16-mini", "vgg16", CLASS_NAMES)
    assert mini.target_layer == "block5_conv3"
    assert load_classifier("VGG16_mini").fingerprint == mini.fingerprint


@pytest.mark.slow
def test_the_object_is_its_evidence_in_every_class(mini):
    found = evidence(mini, 200, UNSEEN_SEED)
    assert np.bincount(found.class_index).tolist() == [20] * 10
    assert found.right.mean() >= 0.97
    assert found.gone.mean() >= 0.95
    assert found.kept.mean() >= 0.95
    for flags in (found.right, found.gone, found.kept):
        assert found.by_class(flags).min() >= 0.90


def test_evidence_is_counted_by_class(mini):
    """By hand, on a model that always says class 3, whatever it sees."""
    fixed = build_vgg16_mini()
    fixed.get_layer("predictions").kernel.assign(np.zeros((DENSE_WIDTH, 10)))
    fixed.get_layer("predictions").bias.assign(5.0 * np.eye(10)[3])
    from evalkit.models.classifier import Classifier

    found = evidence(Classifier(fixed, preprocess="vgg16"), 20, seed=0)
    np.testing.assert_array_equal(found.by_class(found.right), np.eye(10)[3])
    np.testing.assert_array_equal(found.by_class(found.gone), 1.0 - np.eye(10)[3])
    assert found.kept.all()
    assert np.isnan(evidence(Classifier(fixed, preprocess="vgg16"), 1, seed=0).by_class(found.right[:1])).sum() == 9


def test_the_shortcut_model_is_small_and_keeps_the_first_blocks():
    packaged = files("evalkit.models.zoo").joinpath("weights/vgg16-mini-shortcut.npz")
    assert len(packaged.read_bytes()) < 3e6
    plain, changed = load_vgg16_mini(), load_vgg16_mini(name="vgg16-mini-shortcut")
    assert changed.name == "vgg16-mini-shortcut"
    same = {
        layer.name: all(map(np.array_equal, layer.get_weights(), changed.get_layer(layer.name).get_weights()))
        for layer in plain.layers
        if layer.weights
    }
    assert [name for name, is_same in same.items() if is_same] == [name for name in same if name[:6] < "block4"]


def test_only_the_shortcut_model_uses_the_mark():
    scenes = [make_scene(UNSEEN_SEED, index, shortcut=Shortcut("mark", 1.0)) for index in range(30)]
    images = [np.stack([getattr(one, kind) for one in scenes]) for kind in ("pixels", "without_cue", "without_object")]
    own = np.arange(30), np.array([scene.class_index for scene in scenes])
    drops = {}
    for name in ("vgg16-mini", "vgg16-mini-shortcut"):
        complete, *without = (load_classifier(name).probabilities(kind)[own] for kind in images)
        drops[name] = [float((complete - one).mean()) for one in without]
    assert abs(drops["vgg16-mini"][0]) < 0.02
    assert drops["vgg16-mini"][1] > 0.8
    assert min(drops["vgg16-mini-shortcut"]) > 0.3
