"""Functions of images and subclassed Keras models: what ``module:function`` and the Python API take."""

from __future__ import annotations

import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import evalkit
from evalkit.core.errors import ConfigError, EvalkitError, ModelError
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.harness.planning.recipe import ModelRecipe, NamedModel
from evalkit.metrics.requests import Variant
from evalkit.models.classifier import Classifier
from evalkit.models.zoo.load import as_classifier, load_classifier

LAYERS = keras.layers
SIDE = 16


class Weighted:
    """A linear model of the mean color, as an object with ``__call__``."""

    input_size = (SIDE, SIDE)
    n_classes = 3
    class_names = ("ant", "bee", "cat")
    name = "weighted"

    def __init__(self, seed=0):
        self.kernel = np.random.default_rng(seed).normal(size=(3, 3))

    def __call__(self, images):
        return images.mean(axis=(1, 2)) / 64 @ self.kernel


class Subclassed(keras.Model):
    """A subclassed model with augmentation and dropout, which are off outside training."""

    def __init__(self, seed=5):
        super().__init__(name="subclassed")
        keras.utils.set_random_seed(seed)
        self.augmentation, self.dropout = LAYERS.RandomRotation(0.3), LAYERS.Dropout(0.5)
        self.conv, self.pool = LAYERS.Conv2D(4, 3, activation="relu"), LAYERS.GlobalAveragePooling2D()
        self.dense = LAYERS.Dense(3, kernel_initializer=keras.initializers.RandomNormal(stddev=3))

    def call(self, images):
        tensor = self.conv(self.augmentation(images))
        return self.dense(self.dropout(self.pool(tensor)))


@pytest.fixture
def images(rng):
    return rng.uniform(0, 255, (5, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def image_set(rng):
    return ImageSet.from_arrays(rng.integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8), [0, 1, 2, 0])


MODULE = """
import keras, numpy as np
import evalkit
def scores(images):
    assert images.dtype == np.float32 and images.shape[1:] == (8, 6, 1)
    return images.mean(axis=(1, 2, 3))[:, None] / 128 - 1
scores.input_size, scores.channels, scores.n_classes, scores.head = (8, 6), 1, 2, "sigmoid"
def build():
    return scores
class Net:
    input_size = 8
    n_classes = 2
    def __call__(self, images):
        return images.mean(axis=1)[:, 0, :2] / 100 - 1
net = Net()
box = evalkit.BlackBox(net, 8)
model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
def no_size():
    return lambda images: images
class Torch:
    __module__ = "torch.nn.modules"
def torch():
    return Torch()
"""


@pytest.mark.parametrize(
    ("name", "size", "channels", "count"),
    [
        ("scores", (8, 6), 1, 2),  # the function of images itself
        ("build", (8, 6), 1, 2),  # a function that returns it
        ("Net", (8, 8), 3, 2),  # a class, which is made into an object
        ("net", (8, 8), 3, 2),
        ("box", (8, 8), 3, 2),
        ("model", (8, 8), 3, 2),
    ],
)
def test_module_and_function_may_be_a_model_or_return_one(tmp_path, monkeypatch, name, size, channels, count):
    (tmp_path / "my_callables.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    classifier = load_classifier(f"my_callables:{name}", preprocess="none")
    assert (classifier.name, classifier.input_size) == (f"my_callables:{name}", size)
    assert (classifier.channels, classifier.n_classes) == (channels, count)
    assert (classifier.head.kind == "sigmoid") == (channels == 1)
    for other, words in {
        "no_size": "returned function without input_size; .* set f.input_size",
        "torch": r"returned Torch of PyTorch; .* docs/models.md has ten lines that wrap it",
    }.items():
        with pytest.raises(ModelError, match=words):
            load_classifier(f"my_callables:{other}")


def test_a_function_is_a_black_box_in_python(images, image_set):
    function = Weighted()
    box = as_classifier(function)
    logits = function(images)
    np.testing.assert_allclose(box.logits(images), logits, rtol=1e-6)
    assert (box.name, box.class_names, box.offers) == ("weighted", Weighted.class_names, {"scores"})
    explanation = evalkit.explain(function, images[0].astype(np.uint8), "occlusion(patch_size=8)")
    assert explanation.class_name in Weighted.class_names
    run = evalkit.evaluate(function, image_set, metrics="deletion,insertion", patch_sizes=[8], progress=False)
    shown = {row.explainer for row in run.results.leaderboard}
    assert "occlusion(patch_size=8)" in shown
    assert not {name for name in shown if "cam" in name}


def test_what_a_black_box_lacks_is_said(image_set, capsys):
    box = as_classifier(Weighted())
    evalkit.evaluate(Weighted(), image_set, metrics="sparseness", patch_sizes=[8])
    said = " ".join(capsys.readouterr().err.split())
    assert "left out: gradcam needs features and gradients, which model 'weighted' does not offer; use occl" in said
    with pytest.raises(ModelError, match="gradcam needs features and gradients"):
        evalkit.evaluate(Weighted(), image_set, explainers="gradcam", progress=False)
    with pytest.raises(ModelError, match="is a black box, whose weights cannot be changed; leave out mprt"):
        box.variant(Variant("output", 1))
    with pytest.raises(ModelError, match="mprt needs changed copies of the model, and model 'weighted' is a black box"):
        evalkit.evaluate(Weighted(), image_set, metrics="deletion,mprt", progress=False)
    run = evalkit.evaluate(Weighted(), image_set, metrics="all", explainers="center,uniform", steps=2)
    assert "left out: mprt needs changed copies of the model" in " ".join(capsys.readouterr().err.split())
    assert "mprt" not in {row.metric for row in run.results.leaderboard}
    with pytest.raises(ModelError, match="precision of its own; leave --precision out"):
        evalkit.evaluate(Weighted(), image_set, precision="bfloat16", progress=False)
    with pytest.raises(ModelError, match=r"it is a function of images in 0..255, which preprocesses them itself"):
        as_classifier(Weighted(), preprocess="vgg16")


@pytest.mark.parametrize(
    ("convert", "count"),
    [
        (tf.constant, 3),
        (lambda scores: scores.tolist(), 3),
        (lambda scores: scores[:, :, None, None], 3),
        (lambda scores: scores[:, None, None, :], 3),
        (lambda scores: scores[:, 0] - 1, 2),
        (lambda scores: tf.cast(scores, tf.bfloat16), 3),
    ],
)
def test_outputs_of_many_kinds_are_rows_of_numbers(images, convert, count):
    function = Weighted()
    box = as_classifier(evalkit.BlackBox(lambda batch: convert(function(batch)), SIDE))
    assert box.n_classes == count
    expected = function(images) if count == 3 else np.stack([np.zeros(5), function(images)[:, 0] - 1], axis=1)
    np.testing.assert_allclose(box.logits(images), expected, rtol=0.02)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_size": "big"}, "the height in input_size is 'big'; a whole number"),
        ({"input_size": (1, 2, 3)}, r"input_size \(1, 2, 3\) is not \(height, width\)"),
        ({"input_size": (0, 4)}, "the height in input_size is 0"),
        ({"n_classes": 2.5}, "n_classes is 2.5"),
        ({"channels": True}, "channels is True"),
        ({"n_classes": 4}, r"returned float64 of shape \(6, 3\) .* of shape \(6, 4\) are needed"),
    ],
)
def test_attributes_that_make_no_sense_are_refused(change, words):
    function = Weighted()
    for name, value in change.items():
        setattr(function, name, value)
    with pytest.raises(ModelError, match=words):
        as_classifier(function)


def test_a_function_that_is_not_repeatable_is_refused():
    rng = np.random.default_rng(0)
    augmented = evalkit.BlackBox(lambda images: images[:, ::2].mean(axis=(1, 2)) + rng.normal(size=(len(images), 3)), 8)
    with pytest.raises(ModelError, match="returns other outputs for the same images in a second pass"):
        Classifier(augmented)
    normalized = evalkit.BlackBox(lambda images: (images - images.mean()).mean(axis=(1, 2)), 8)
    with pytest.raises(ModelError, match="treat each image of a batch on its own"):
        Classifier(normalized)


def test_a_subclassed_model_is_a_black_box_behind_its_preprocessing(tmp_path, images):
    model = Subclassed()
    with pytest.raises(ModelError, match="'subclassed' does not say the size of its input; add --input-size"):
        as_classifier(model, preprocess="0..1")
    classifier = as_classifier(model, preprocess="0..1", input_size=(SIDE, SIDE))
    expected = model(images / 255, training=False)
    np.testing.assert_allclose(classifier.logits(images), expected, rtol=1e-5)
    assert (classifier.offers, classifier.preprocess) == ({"scores"}, "0..1")
    with pytest.raises(ModelError, match="does not say how its input is preprocessed"):
        as_classifier(model, input_size=(SIDE, SIDE))
    again = as_classifier(model, preprocess="0..1")  # it is built for this size now
    assert (again.input_size, again.fingerprint) == ((SIDE, SIDE), classifier.fingerprint)
    with pytest.raises(ConfigError, match="--input-size 8x8 contradicts model 'subclassed', whose input is 16 x 16"):
        as_classifier(model, preprocess="0..1", input_size=(8, 8))
    model.dense.kernel.assign(model.dense.kernel * 1.001)
    assert as_classifier(model, preprocess="0..1").fingerprint != classifier.fingerprint


def test_a_graph_whose_class_computes_something_else_is_not_read_as_its_graph(images):
    class Doubled(keras.Model):
        def __init__(self):
            inputs = keras.Input((SIDE, SIDE, 3))
            super().__init__(inputs, LAYERS.Dense(3)(LAYERS.GlobalAveragePooling2D()(inputs)))

        def call(self, inputs, training=None):
            return super().call(inputs, training=training) * 2

    model = Doubled()
    classifier = as_classifier(model, preprocess="0..1")
    np.testing.assert_allclose(classifier.logits(images), model(images / 255, training=False), rtol=1e-5)
    assert classifier.offers == {"scores"}


def test_a_sequential_without_an_input_is_built_for_the_given_size(images):
    model = keras.Sequential([LAYERS.Conv2D(2, 3, name="conv"), LAYERS.Flatten(), LAYERS.Dense(2)])
    classifier = as_classifier(model, preprocess="none", input_size=(SIDE, SIDE))
    np.testing.assert_allclose(classifier.logits(images), model(images), rtol=1e-5)
    assert classifier.target_layer == "conv"


def test_a_model_of_keras_2_is_a_function_of_its_input(images):
    kernel = tf.Variable(np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32))
    legacy = type("Functional", (), {
        "__module__": "tf_keras.src.engine.functional",
        "__call__": lambda _, batch, training: tf.reduce_mean(batch, (1, 2)) @ kernel if training is False else None,
        "name": "legacy", "input_shape": (None, SIDE, SIDE, 3), "weights": [kernel],
    })()  # fmt: skip
    classifier = as_classifier(legacy, preprocess="0..1")
    np.testing.assert_allclose(classifier.logits(images), images.mean(axis=(1, 2)) / 255 @ kernel.numpy(), rtol=1e-4)
    assert (classifier.name, classifier.input_size) == ("legacy", (SIDE, SIDE))


def test_a_recipe_builds_a_named_function_in_another_process(tmp_path, monkeypatch):
    (tmp_path / "my_callables.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = NamedModel("my_callables:build", {})
    (tmp_path / "recipe").write_bytes(pickle.dumps(ModelRecipe.of(source.load(None), source)))
    code = "import pickle; print(pickle.load(open('recipe', 'rb')).build().name)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "my_callables:build"


def test_live_functions_are_pickled_or_say_why_not(images):
    classifier = as_classifier(Weighted())
    other = pickle.loads(pickle.dumps(ModelRecipe.live(classifier))).build()  # noqa: S301 - written here
    np.testing.assert_array_equal(other.logits(images), classifier.logits(images))
    local = as_classifier(evalkit.BlackBox(lambda batch: batch.mean(axis=(1, 2)) - 9, 8, name="local"))
    with pytest.raises(EvalkitError, match=r"'local' cannot be sent to another process: .* --model module:func"):
        pickle.dumps(ModelRecipe.live(local))


def test_changed_weights_under_one_name_are_computed_anew(tmp_path, image_set):
    def run(function):
        calls = []
        counted = evalkit.BlackBox(lambda images: calls.append(len(images)) or function(images), SIDE, name="weighted")
        evalkit.evaluate(
            counted, image_set, explainers="occlusion(patch_size=8)", metrics="deletion", output=tmp_path / "out",
            progress=False, class_names=["ant", "bee", "cat"],
        )  # fmt: skip
        return sum(calls)

    first, unchanged, changed = run(Weighted()), run(Weighted()), run(Weighted(seed=1))
    assert unchanged < first / 2
    assert changed > unchanged * 2


def test_occlusion_of_a_function_equals_that_of_its_graph(images):
    inputs = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(inputs, LAYERS.Dense(3, "softmax")(LAYERS.GlobalAveragePooling2D()(inputs / 255)))
    box = as_classifier(evalkit.BlackBox(model, SIDE))
    occlusion, photos = EXPLAINERS.build("occlusion(patch_size=8)"), images[:2].astype(np.uint8)
    expected = occlusion.explain(as_classifier(model), photos, [0, 1])
    np.testing.assert_allclose(occlusion.explain(box, photos, [0, 1]), expected, rtol=1e-5, atol=1e-6)
