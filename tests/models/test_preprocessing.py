"""The values of --preprocess: their numbers, their canonical text, and users' own functions."""

from __future__ import annotations

import pickle
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError
from evalkit.models.applications import PREPROCESS_FAMILIES
from evalkit.models.classifier import Classifier
from evalkit.models.preprocessing import Preprocessing

SHAPE = (8, 8, 3)


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """Write a module of preprocessing functions that can be imported, and return its file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "my_input.py"

    def write(code):
        sys.modules.pop("my_input", None)
        file.write_text(f"import numpy as np\nimport tensorflow as tf\n{code}\n")

    yield write
    sys.modules.pop("my_input", None)


@pytest.mark.parametrize("family", PREPROCESS_FAMILIES[1:])
def test_families_give_the_numbers_of_keras(family, rng):
    images = rng.uniform(0, 255, (2, *SHAPE)).astype(np.float32)
    preprocessing = Preprocessing.parse(family)
    expected = getattr(keras.applications, family).preprocess_input(tf.constant(images))
    np.testing.assert_array_equal(preprocessing(tf.constant(images)), expected)
    assert preprocessing.text == preprocessing.identity == family


@pytest.mark.parametrize(
    ("written", "text", "by_hand"),
    [
        ("none", "none", lambda x: x),
        ("0..255", "none", lambda x: x),
        ("0..1", "0..1", lambda x: x / 255),
        ("-1..1", "-1..1", lambda x: x / 127.5 - 1),
        ("-0.5 .. 0.5", "-0.5..0.5", lambda x: x / 255 - 0.5),
        ("mean=0.5,std=0.5", "mean=0.5,std=0.5", lambda x: (x / 255 - 0.5) / 0.5),
        (
            "std=0.229,0.224,0.225 mean=[0.485, .456, 0.406]",
            "mean=0.485,0.456,0.406,std=0.229,0.224,0.225",
            lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
        ("mean=0/0.5/1,std=1", "mean=0,0.5,1,std=1", lambda x: x / 255 - [0, 0.5, 1]),
        ("imagenet-torch", "imagenet-torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
    ],
)
def test_values_have_one_text_and_the_numbers_of_the_definition(written, text, by_hand, rng):
    images = rng.uniform(0, 255, (2, *SHAPE)).astype(np.float32)
    preprocessing = pickle.loads(pickle.dumps(Preprocessing.parse(written).fitted(SHAPE)))  # noqa: S301
    assert (preprocessing.text, Preprocessing.parse(text).text) == (text, text)
    np.testing.assert_allclose(preprocessing(tf.constant(images)), by_hand(images.astype(np.float64)), atol=1e-4)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("vgg6", "--preprocess 'vgg6' is unknown: did you mean 'vgg16'"),
        ("ResNet50", "did you mean 'resnet'"),
        ("1./255", "did you mean '0..1'"),
        ("torch", "did you mean 'imagenet-torch'"),
        ("", "is unknown: Allowed: none"),
        (np.sqrt, "preprocess is ufunc; give text, and a function of your own as 'module:function'"),
        ("1..0", "is not a range of pixel values"),
        ("0...1", "is not a range of pixel values"),
        ("mean=0.5", "must name mean and std once each"),
        ("mean=a,std=1", "mean 'a,' is not a list of numbers"),
        ("mean=123.68,std=1", "are those of pixels in 0..1"),
        ("mean=0.5,std=0", "std is above 0"),
        ("mean=0.1,0.2,std=1,1,1", "need one number each, or as many as channels"),
    ],
)
def test_other_values_are_refused_with_what_is_allowed(written, said):
    with pytest.raises(ModelError) as refused:
        Preprocessing.parse(written)
    assert said in str(refused.value)


@pytest.mark.parametrize("text", ["vgg16", "resnet", "densenet", "imagenet-torch", "mean=0.4,0.4,0.4,std=1"])
def test_preprocessing_for_three_channels_refuses_gray(text):
    with pytest.raises(ModelError, match="is for 3 channels, but the model's input has 1; give none"):
        Preprocessing.parse(text).fitted((28, 28, 1))


@pytest.mark.parametrize("text", ["none", "mobilenet", "efficientnet", "0..1", "-1..1", "mean=0.1307,std=0.3081"])
def test_preprocessing_of_equal_channels_takes_gray(text):
    images = np.full((1, 28, 28, 1), 51, np.float32)
    assert Preprocessing.parse(text).fitted((28, 28, 1))(tf.constant(images)).shape == images.shape


@pytest.mark.parametrize(
    "body",
    ["x /= 255.0\n    return x", "return tf.cast(x, tf.float32) / 255.0", "return (x / 255.0).astype('float64')"],
    ids=["in place", "tensor", "float64"],
)
def test_a_function_gives_its_numbers_inside_a_graph(functions, body, rng):
    functions(f"def f(x):\n    {body}")
    images = rng.uniform(0, 255, (2, *SHAPE)).astype(np.float32)
    before = images.copy()
    preprocessing = pickle.loads(pickle.dumps(Preprocessing.parse("my_input:f").fitted(SHAPE)))  # noqa: S301
    traced = tf.function(preprocessing, input_signature=[tf.TensorSpec([None, *SHAPE])])(images)
    np.testing.assert_allclose(traced, before / 255, rtol=1e-6)
    np.testing.assert_array_equal(images, before)
    assert preprocessing.pixelwise


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return x[:, ::2, ::2]", r"returns shape (3, 4, 4, 3) for a batch of shape (3, 8, 8, 3)"),
        ("return x + np.random.rand(*x.shape)", "gives other outputs for the same images when it is called again"),
        ("return x / x.max()", "gives an image other values beside other images of a batch"),
        ("return np.log(x)", "returns NaN or infinite values"),
        ("return x.no_such_thing", "fails on a float32 array of shape (3, 8, 8, 3) in 0..255: AttributeError"),
        ("return None", "for a batch of shape"),
    ],
)
def test_functions_that_cannot_be_scored_are_refused(functions, body, said):
    functions(f"def f(x):\n    with np.errstate(all='ignore'):\n        {body}")
    with pytest.raises(ModelError) as refused:
        Preprocessing.parse("my_input:f").fitted(SHAPE)
    assert "--preprocess 'my_input:f'" in str(refused.value)
    assert said in str(refused.value) or (body == "return None" and "fails" in str(refused.value))


def test_a_missing_function_is_named():
    with pytest.raises(ModelError, match="--preprocess 'no_module:f': module 'no_module' cannot be imported"):
        Preprocessing.parse("no_module:f").fitted(SHAPE)


def test_the_identity_of_a_function_follows_its_code_and_its_outputs(functions):
    def identity():
        preprocessing = Preprocessing.parse("my_input:f").fitted(SHAPE)
        assert preprocessing.text == "my_input:f"
        return preprocessing.identity

    functions("def f(x):\n    return x / 255")
    first = identity()
    assert first == identity()
    functions("def f(x):\n    return x / 254")
    second = identity()
    functions("SCALE = 255\ndef f(x):\n    return x / SCALE")
    third = identity()
    sys.modules["my_input"].SCALE = 100  # as a changed module that the function's file imports
    assert len({first, second, third, identity()}) == 4


def test_the_fingerprint_of_a_model_follows_a_functions_code(functions, tiny_model):
    prints = []
    for scale in (255, 254):
        functions(f"def f(x):\n    return x / {scale}")
        prints.append(Classifier(tiny_model, preprocess="my_input:f").fingerprint)
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("body", "pixelwise"),
    [("return x / 127.5 - 1", True), ("return (x - x.mean((1, 2, 3), keepdims=True)) / 64", False)],
    ids=["pixelwise", "each photo's mean"],
)
def test_functions_of_whole_images_are_applied_after_composition(functions, tiny_model, rng, body, pixelwise):
    functions(f"def f(x):\n    {body}")
    classifier = Classifier(tiny_model, preprocess="my_input:f")
    assert classifier.graph.preprocessing.pixelwise is classifier.occluded.windowed is pixelwise
    canvases = rng.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    canvases[1] *= 0.3
    ranks = rng.permutation(32 * 32).reshape(1, 32, 32).astype(np.int32)
    rows = np.array([(0, 1, 0, 300), (1, 0, 0, 700)], dtype=np.int32)
    made = [np.where((ranks[0] < cut)[..., None], canvases[end], canvases[start]) for start, end, _, cut in rows]
    expected = classifier.logits(np.stack(made))
    np.testing.assert_allclose(classifier.composed.logits(canvases, ranks, rows), expected, rtol=1e-5, atol=1e-5)
    places = np.array([0, 16])
    patched = canvases[0].copy()
    patched[16:, 16:] = 0
    occluded = classifier.occluded.logits(canvases[0], np.zeros_like(canvases[0]), places, places, 16)
    np.testing.assert_allclose(
        occluded[[0, 4]], classifier.logits(np.stack([canvases[0], patched])), rtol=1e-5, atol=1e-5
    )
