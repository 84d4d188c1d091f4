"""The examples of docs/models.md work as they stand."""

from __future__ import annotations

import contextlib
import re
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from evalkit.explainers.catalog import EXPLAINERS
from evalkit.models.zoo.load import load_classifier

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "models.md"
LAYERS = keras.layers


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Return a function that writes the example with certain words as a module, and returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)

    def write(words):
        (block,) = [block for block in blocks if words in block]
        name = f"example_{len(list(tmp_path.glob('example_*.py')))}"
        (tmp_path / f"{name}.py").write_text(block)
        sys.modules.pop(name, None)
        return name

    return write


def test_a_function_of_images(example, rng):
    classifier = load_classifier(f"{example('brightness')}:scores")
    images = rng.uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    bright = images.mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(classifier.probabilities(images)[:, 1], bright, rtol=1e-5)
    assert classifier.head.text == "probabilities (seen), no logit"


def test_other_inputs_are_fixed_in_a_graph_and_in_a_function(example, tmp_path, rng):
    keras.utils.set_random_seed(1)
    image, age = keras.Input((64, 64, 3)), keras.Input((1,))
    pooled = LAYERS.GlobalAveragePooling2D()(LAYERS.Conv2D(4, 3, name="conv")(LAYERS.Rescaling(1 / 255)(image)))
    tensor = LAYERS.Concatenate()([pooled, LAYERS.Dense(2)(LAYERS.Rescaling(1 / 100)(age))])
    keras.Model([image, age], LAYERS.Dense(3)(tensor)).save(tmp_path / "image_and_age.keras")
    graph = load_classifier(f"{example('def build')}:build")
    function = load_classifier(f"{example('np.full')}:scores")
    photos = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_allclose(graph.logits(photos), function.logits(photos), rtol=1e-5, atol=1e-5)
    occlusion = EXPLAINERS.build("occlusion(patch_size=32)")
    maps = [occlusion.explain(classifier, photos, [0, 2]) for classifier in (graph, function)]
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5, atol=1e-5)
    assert np.ptp(EXPLAINERS.build("gradcam").explain(graph, photos, [0, 2])) > 0


def test_a_saved_model_without_augmentation(example, tmp_path, rng):
    inputs = keras.Input((16, 16, 3))
    tensor = LAYERS.Rescaling(1 / 255)(LAYERS.RandomRotation(0.3)(inputs))
    tensor = LAYERS.GlobalAveragePooling2D()(LAYERS.Conv2D(4, 3, activation="relu")(tensor))
    model = keras.Model(inputs, LAYERS.Dense(1, "sigmoid")(tensor))
    model.save(tmp_path / "cats_and_dogs.keras")
    __import__(example("ExportArchive"))
    images = rng.uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    classifier = load_classifier("cats_and_dogs", preprocess="none")
    np.testing.assert_allclose(
        classifier.probabilities(images)[:, 1:], model(images, training=False), rtol=1e-5, atol=1e-6
    )


class Tensor(np.ndarray):
    """What the example uses of a tensor of PyTorch."""

    def permute(self, *axes):
        return self.transpose(axes)


@pytest.fixture
def torch(monkeypatch):
    """What the example uses of PyTorch, which is too large to be installed for one test."""
    stand_in = types.ModuleType("torch")
    stand_in.tensor = lambda values: np.asarray(values, np.float32).view(Tensor)
    stand_in.from_numpy = lambda values: values.view(Tensor)
    stand_in.no_grad = contextlib.nullcontext
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    return stand_in


def test_ten_lines_wrap_a_model_of_pytorch(example, torch, rng):
    weight, bias = rng.normal(size=(1000, 3)), rng.normal(size=1000)

    class Model:
        def eval(self):
            return self

        def __call__(self, tensor):
            assert tensor.shape[1:] == (3, 224, 224)
            return tensor.mean(axis=(2, 3)) @ weight.T + bias

    torch.load = lambda *_, **__: Model()
    classifier = load_classifier(f"{example('torch.load')}:scores")
    images = rng.uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    given = (images.mean(axis=(1, 2)) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(classifier.logits(images), given @ weight.T + bias, rtol=1e-3, atol=1e-4)
