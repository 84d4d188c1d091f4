"""Windowed inference is exact: against full passes, on chains of every kind, at every position."""

from __future__ import annotations

from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.explainers.occlusion import corners
from evalkit.models.classifier import Classifier
from evalkit.models.inference import route, windowed
from evalkit.models.inference.occlusion import FULL, WINDOWED

CLOSE = 1e-4  # of the logits' range


def random_chain(rng, size):
    """A model of one to six layers with odd kernels, strides and paddings, and a dense end."""
    tensor = images = keras.Input((*size, 3))
    if rng.random() < 0.3:
        tensor = keras.layers.Rescaling(0.01, offset=-0.3)(tensor)
    for _ in range(rng.integers(1, 7)):
        kernel = tuple(int(rng.integers(1, min(6, side + 1))) for side in tensor.shape[1:3])
        stride, padding = int(rng.integers(1, 4)), str(rng.choice(["same", "valid"]))
        kind = rng.choice(["convolution", "convolution", "dilated", "depthwise", "maximum", "mean", "zeros", "norm"])
        if kind == "convolution":
            activation = str(rng.choice(["relu", "linear", "tanh"]))
            layer = keras.layers.Conv2D(
                int(rng.integers(2, 9)), kernel, stride, padding, activation=activation, bias_initializer="normal"
            )
        elif kind == "dilated":
            layer = keras.layers.Conv2D(3, 2, dilation_rate=2, padding="same", bias_initializer="normal")
        elif kind == "depthwise":
            layer = keras.layers.DepthwiseConv2D(kernel, stride, padding, depth_multiplier=2, bias_initializer="normal")
        elif kind == "maximum":
            layer = keras.layers.MaxPooling2D(kernel, stride, padding)
        elif kind == "mean":
            layer = keras.layers.AveragePooling2D(kernel, stride, padding)
        elif kind == "zeros":
            layer = keras.layers.ZeroPadding2D(((1, 2), (0, 3)))
        else:
            layer = keras.layers.BatchNormalization(beta_initializer="normal", moving_mean_initializer="normal")
        tensor = layer(tensor)
        if kind == "norm":
            tensor = keras.layers.ReLU()(tensor)
    scores = keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(tensor))
    return keras.Model(images, scores)


def grid(size, patch_size, stride):
    return tuple(corners(side, patch_size, stride) for side in size)


def by_windows(classifier, image, filled, rows, columns, patch_size, monkeypatch, gather_work):
    with monkeypatch.context() as patched:
        patched.setattr(route, "_GATHER_WORK", gather_work)
        patched.setattr("evalkit.models.inference.occlusion._PAYS", 0.0)
        found = classifier.occluded
        found.__init__(classifier)
        method = found.method(rows, columns, patch_size)
        return method, found.logits(image, filled, rows, columns, patch_size)


def in_full(classifier, image, filled, rows, columns, patch_size):
    images = [image]
    for row, column in product(rows, columns):
        window = np.s_[row : row + patch_size, column : column + patch_size]
        images.append(image.copy())
        images[-1][window] = filled[window]
    return classifier.logits(np.stack(images))


@pytest.mark.parametrize("seed", range(12))
def test_random_chains(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    size = tuple(int(side) for side in rng.integers(20, 48, 2))
    classifier = Classifier(random_chain(rng, size), batch_size=32)
    image, filled = rng.uniform(0, 255, (2, *size, 3)).astype(np.float32)
    used = 0
    for gather_work in (0.01, 8.0):
        patch_size = int(rng.integers(1, min(size) + 1))
        stride = int(rng.integers(max(1, patch_size // 3), patch_size + 1))
        place = (*grid(size, patch_size, stride), patch_size)
        method, found = by_windows(classifier, image, filled, *place, monkeypatch, gather_work)
        expected = in_full(classifier, image, filled, *place)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= CLOSE * np.ptp(expected)
        used += method == WINDOWED
    assert used >= 1


@pytest.fixture(scope="module")
def vgg_like():
    """Five blocks as in VGG16, narrow: 224 x 224 down to 7 x 7."""
    from evalkit.models.zoo.vgg16_mini import build_vgg16_mini

    keras.utils.set_random_seed(1)
    return Classifier(build_vgg16_mini(), preprocess="vgg16")


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(st.integers(1, 224), st.data())
def test_every_patch_size_from_1_to_224_at_borders_and_between(vgg_like, patch_size, data):
    """Rows and columns drawn anywhere, both borders among them."""
    last = 224 - patch_size
    rows, columns = (
        np.array(sorted({0, last, *data.draw(st.lists(st.integers(0, last), max_size=2))})) for _ in range(2)
    )
    rng = np.random.default_rng(patch_size)
    image, filled = rng.uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    with pytest.MonkeyPatch.context() as monkeypatch:
        _, found = by_windows(vgg_like, image, filled, rows, columns, patch_size, monkeypatch, gather_work=10.0)
    expected = in_full(vgg_like, image, filled, rows, columns, patch_size)
    assert np.abs(found - expected).max() <= CLOSE * np.ptp(expected)


@pytest.mark.slow
def test_windows_are_chosen_where_they_pay_and_said(vgg_like):
    wide = Classifier(keras.applications.VGG16(weights=None, classes=10))
    assert wide.occluded.method(*grid((224, 224), 16, 8), 16) == WINDOWED
    assert wide.occluded.method(*grid((224, 224), 56, 28), 56) == WINDOWED
    assert wide.occluded.method(*grid((224, 224), 220, 4), 220) == FULL
    forked = Classifier(keras.applications.ResNet50(weights=None, classes=10))
    assert forked.occluded.method(*grid((224, 224), 16, 16), 16) == FULL


def test_nested_backbones_are_entered(monkeypatch):
    keras.utils.set_random_seed(2)
    inner = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, padding="same"), keras.layers.MaxPooling2D()], name="inner"
    )
    images = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(5, 3, activation="relu")(inner(images))
    model = keras.Model(images, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(features)))
    classifier = Classifier(model)
    rng = np.random.default_rng(0)
    image, filled = rng.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    place = (*grid((32, 32), 6, 5), 6)
    method, found = by_windows(classifier, image, filled, *place, monkeypatch, 0.01)
    expected = in_full(classifier, image, filled, *place)
    assert method == WINDOWED
    assert np.abs(found - expected).max() <= CLOSE * np.ptp(expected)


def test_a_layer_used_twice_ends_the_chain():
    shared = keras.layers.Conv2D(3, 3, padding="same")
    images = keras.Input((16, 16, 3))
    tensor = keras.layers.Conv2D(3, 3, padding="same", name="alone")(images)
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(shared(shared(tensor)))))
    from evalkit.models.inference.chain import spatial_layers

    assert [layer.operations[0].name for layer in spatial_layers(model, (16, 16), 3)[1]] == ["alone"]


def test_chunks_and_passes(vgg_like, monkeypatch):
    """Few positions a chunk give the same logits as all at once; every position is counted as one pass."""
    rng = np.random.default_rng(0)
    image, filled = rng.uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    place = (*grid((224, 224), 60, 60), 60)
    _, at_once = by_windows(vgg_like, image, filled, *place, monkeypatch, 10.0)
    before = vgg_like.passes
    monkeypatch.setattr(route, "_CHUNK_NUMBERS", 200_000)
    _, in_chunks = by_windows(vgg_like, image, filled, *place, monkeypatch, 10.0)
    assert vgg_like.passes - before == 1 + 16
    np.testing.assert_allclose(in_chunks, at_once, rtol=1e-5, atol=1e-5)


def test_out_of_memory_halves_chunks_then_disables_windows(vgg_like, monkeypatch):
    rng = np.random.default_rng(0)
    image, filled = rng.uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    place = (*grid((224, 224), 60, 60), 60)
    _, at_once = by_windows(vgg_like, image, filled, *place, monkeypatch, 10.0)
    original, sizes = windowed.WindowedPass._compiled, []

    def narrow(self, *given, most):
        sizes.append(self.chunk)
        if self.chunk > most:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return original(self, *given)

    monkeypatch.setattr(windowed.WindowedPass, "_compiled", lambda *given: narrow(*given, most=4))
    _, halved = by_windows(vgg_like, image, filled, *place, monkeypatch, 10.0)
    assert sizes == [16, 8, 4, 4, 4, 4]
    np.testing.assert_allclose(halved, at_once, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(windowed.WindowedPass, "_compiled", lambda *given: narrow(*given, most=0))
    _, in_full_passes = by_windows(vgg_like, image, filled, *place, monkeypatch, 10.0)
    assert not vgg_like.occluded.windowed
    np.testing.assert_allclose(in_full_passes, at_once, rtol=1e-5, atol=1e-5)


@keras.saving.register_keras_serializable("test_windowed")
class LooksAround(keras.layers.Identity):
    def call(self, inputs):
        return inputs - keras.ops.mean(inputs, axis=(1, 2), keepdims=True)


def twice(tensor):
    return 2 * tensor


def less_its_mean(tensor):
    return tensor - keras.ops.mean(tensor, axis=(1, 2), keepdims=True)


AWKWARD = {
    "softmax on the last convolution": lambda tensor: keras.layers.Reshape((4,))(
        keras.layers.Conv2D(4, tensor.shape[1], activation="softmax")(tensor)
    ),
    "softmax layer before a reshape": lambda tensor: keras.layers.Reshape((4,))(
        keras.layers.Activation("softmax")(keras.layers.Conv2D(4, tensor.shape[1])(tensor))
    ),
    "an activation that looks around": lambda tensor: head(keras.layers.Activation(less_its_mean)(tensor)),
    "a convolution's that looks around": lambda tensor: head(
        keras.layers.Conv2D(8, 3, padding="same", activation=less_its_mean)(tensor)
    ),
    "an activation of its own": lambda tensor: head(
        keras.layers.Conv2D(8, 3, padding="same", activation=twice)(tensor)
    ),
    "a subclass that looks around": lambda tensor: head(LooksAround()(tensor)),
    "a norm of rows": lambda tensor: head(keras.layers.BatchNormalization(axis=1)(tensor)),
    "a norm of pixels": lambda tensor: head(
        keras.layers.Normalization(axis=(1, 2, 3), mean=np.zeros(tensor.shape[1:]), variance=np.ones(tensor.shape[1:]))(
            tensor
        )
    ),
    "a scale of pixels": lambda tensor: head(keras.layers.Rescaling(np.ones((tensor.shape[1], 1, 1)))(tensor)),
    "constraints and regularizers": lambda tensor: head(
        keras.layers.Conv2D(
            8, 3, padding="same", kernel_constraint="non_neg", bias_regularizer="l2", kernel_regularizer=abs
        )(tensor)
    ),
}


def head(tensor):
    return keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(tensor)))


@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_layers_are_exact_or_take_the_full_pass(case, monkeypatch):
    keras.utils.set_random_seed(3)
    images = keras.Input((24, 24, 3))
    tensor = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(images)
    classifier = Classifier(keras.Model(images, AWKWARD[case](tensor)))
    rng = np.random.default_rng(0)
    image, filled = rng.uniform(0, 255, (2, 24, 24, 3)).astype(np.float32)
    place = (*grid((24, 24), 5, 5), 5)
    # Without the net: the chain itself must know where to end.
    monkeypatch.setattr("evalkit.models.inference.occlusion._AGREEING", (np.inf, np.inf))
    _, found = by_windows(classifier, image, filled, *place, monkeypatch, 0.01)
    expected = in_full(classifier, image, filled, *place)
    assert np.abs(found - expected).max() <= CLOSE * np.ptp(expected)


@pytest.mark.parametrize("wrong", ["differs", "fails"])
def test_windows_that_are_not_right_are_given_up(vgg_like, monkeypatch, wrong):
    rng = np.random.default_rng(0)
    image, filled = rng.uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    place = (*grid((224, 224), 112, 112), 112)

    def broken(self, image, filled):
        if wrong == "fails":
            raise ValueError("a layer does not like windows")
        return np.zeros((5, 10))

    monkeypatch.setattr(windowed.WindowedPass, "logits", broken)
    _, found = by_windows(vgg_like, image, filled, *place, monkeypatch, 10.0)
    np.testing.assert_allclose(found, in_full(vgg_like, image, filled, *place), rtol=1e-5, atol=1e-5)
    assert vgg_like.occluded.method(*place) == FULL
