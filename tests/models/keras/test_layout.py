"""Models that take other inputs than (N, 224, 224, 3): every explainer beside a computation by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ConfigError, ModelError
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.models.classifier import Classifier

L = keras.layers
HEIGHT, WIDTH = 12, 20
FORMATS = ("channels_last", "channels_first")


def small_model(shape, form="channels_last", head=None) -> keras.Model:
    """Return a model with every kind of layer that has a data format."""
    keras.utils.set_random_seed(3)
    images = tensor = keras.Input(shape)
    for layer in head or []:
        tensor = layer(tensor)
    tensor = L.Rescaling(1 / 255)(tensor)
    tensor = L.Conv2D(6, 3, padding="same", activation="relu", data_format=form)(tensor)
    tensor = L.MaxPooling2D(2, data_format=form)(tensor)
    tensor = L.BatchNormalization(axis=1 if form == "channels_first" else -1)(tensor)
    tensor = L.ZeroPadding2D(1, data_format=form)(tensor)
    tensor = L.Conv2D(5, 3, activation="relu", data_format=form, name="last")(tensor)
    tensor = L.GlobalAveragePooling2D(data_format=form)(tensor)
    return keras.Model(
        images, L.Dense(3, activation="softmax", kernel_initializer="random_normal")(tensor), name="tiny"
    )


def same_weights(model: keras.Model, other: keras.Model) -> keras.Model:
    model.set_weights(other.get_weights())
    return model


@pytest.fixture
def photos(rng):
    def make(channels, size=(HEIGHT, WIDTH)):
        return rng.uniform(0, 255, (2, *size, channels)).astype(np.float32)

    return make


def to_first(images):
    return np.moveaxis(images, -1, 1)


def gradcam_by_hand(model, images, target, axes):
    """Return coarse Grad-CAM maps (N, h, w) from Keras alone; ``axes`` are those of height and width."""
    inner, dense = keras.Model(model.input, model.get_layer("last").output), model.layers[-1]
    with tf.GradientTape() as tape:
        features = tf.constant(inner(images))
        tape.watch(features)
        value = tf.reduce_sum((tf.reduce_mean(features, axis=axes) @ dense.kernel + dense.bias)[:, target])
    gradient = tape.gradient(value, features).numpy()
    features = features.numpy()
    channel = ({1, 2, 3} - set(axes)).pop()
    weights = gradient.mean(axis=axes, keepdims=True)
    return np.maximum((weights * features).sum(axis=channel), 0)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("spec", ["gradcam", "cam", "occlusion(patch_size=4)", "occlusion(patch_size=5, fill=gray)"])
def test_channels_first_model_gives_the_maps_of_its_twin(photos, channels, spec):
    last = small_model((HEIGHT, WIDTH, channels))
    first = same_weights(small_model((channels, HEIGHT, WIDTH), "channels_first"), last)
    images = photos(channels)
    np.testing.assert_allclose(first(to_first(images)), last(images), rtol=1e-5, atol=1e-6)
    one, other = Classifier(last), Classifier(first)
    assert (other.input_size, other.channels) == ((HEIGHT, WIDTH), channels)
    np.testing.assert_allclose(other.probabilities(images), last(images), rtol=1e-5, atol=1e-6)
    explainer = EXPLAINERS.build(spec)
    explainer.check(other)
    maps = explainer.explain(other, images, [0, 2])
    assert maps.shape == (2, HEIGHT, WIDTH)
    np.testing.assert_allclose(maps, explainer.explain(one, images, [0, 2]), atol=1e-5 * np.abs(maps).max())


@pytest.mark.parametrize("form", FORMATS)
def test_gradcam_of_an_input_that_is_not_square(photos, form):
    images = photos(1)
    shape = (HEIGHT, WIDTH, 1) if form == "channels_last" else (1, HEIGHT, WIDTH)
    model = small_model(shape, form)
    given, axes = (images, (1, 2)) if form == "channels_last" else (to_first(images), (2, 3))
    coarse = gradcam_by_hand(model, given, 1, axes)
    features, gradients = Classifier(model).features.activations_and_gradients(images, [1, 1], "last")
    assert features.shape == (2, HEIGHT // 2, WIDTH // 2, 5)
    ours = np.maximum(np.einsum("nk,nhwk->nhw", gradients.mean(axis=(1, 2)), features), 0)
    np.testing.assert_allclose(ours, coarse, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("fill", ["black", "gray", "mean", "blur"])
def test_occlusion_of_gray_images_that_are_not_square(photos, fill):
    """Beside single predictions of the model."""
    from evalkit.models.inference.perturbation import blurred

    model, images = small_model((HEIGHT, WIDTH, 1)), photos(1)[:1]
    classifier = Classifier(model).with_mean_color([60.5])
    found = EXPLAINERS.build(f"occlusion(patch_size=4, fill={fill})").explain(classifier, images, [2])[0]
    filled = {"black": 0.0, "gray": 127.5, "mean": 60.5, "blur": blurred(images[0], [60.5])}[fill]
    expected = np.zeros((HEIGHT, WIDTH))
    clean = model(images)[0, 2]
    for row in range(0, HEIGHT, 4):
        for column in range(0, WIDTH, 4):
            window, patched = np.s_[row : row + 4, column : column + 4], images.copy()
            patched[0][window] = np.broadcast_to(filled, images[0].shape)[window]
            expected[window] = clean - model(patched)[0, 2]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_blur_is_per_channel_and_padded_with_the_mean(rng):
    from evalkit.models.inference.perturbation import blurred

    image, mean = rng.uniform(0, 255, (9, 13, 6)), np.arange(6) * 10.0
    both = blurred(image, mean)
    for channel in range(6):
        alone = blurred(np.repeat(image[..., [channel]], 3, axis=2), [mean[channel]] * 3)
        np.testing.assert_array_equal(both[..., channel], alone[..., 0])
    flat = np.broadcast_to(mean, (9, 13, 6))
    np.testing.assert_allclose(blurred(flat, mean), flat, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("turn", "form", "shape"),
    [
        (L.Permute((2, 3, 1)), "channels_last", (3, HEIGHT, WIDTH)),
        (L.Permute((3, 1, 2)), "channels_first", (HEIGHT, WIDTH, 3)),
        (L.Lambda(lambda x: x), "channels_last", (HEIGHT, WIDTH, 3)),
    ],
)
def test_models_that_turn_their_input(photos, turn, form, shape):
    images = photos(3)
    last = small_model((HEIGHT, WIDTH, 3))
    turning = Classifier(same_weights(small_model(shape, form, [turn]), last))
    assert (turning.input_size, turning.channels) == ((HEIGHT, WIDTH), 3)
    np.testing.assert_allclose(turning.probabilities(images), last(images), rtol=1e-5, atol=1e-6)
    gradcam = EXPLAINERS.build("gradcam")
    np.testing.assert_allclose(
        gradcam.explain(turning, images, [0, 1]), gradcam.explain(Classifier(last), images, [0, 1]), atol=1e-7
    )


def test_preprocessing_comes_before_channels_are_moved(photos, monkeypatch):
    """Whatever the order of keras.json."""
    images, last = photos(3), small_model((HEIGHT, WIDTH, 3))
    first = same_weights(small_model((3, HEIGHT, WIDTH), "channels_first"), last)
    expected = last(keras.applications.vgg16.preprocess_input(images.copy()))
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    keras.config.set_image_data_format("channels_first")
    try:
        found = [Classifier(model, preprocess="vgg16").probabilities(images) for model in (last, first)]
    finally:
        keras.config.set_image_data_format("channels_last")
    for scores in found:
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("given", "size"), [(None, (224, 224)), ((16, 24), (16, 24))])
@pytest.mark.parametrize("form", FORMATS)
def test_models_of_any_size_get_the_size_of_the_option(given, size, form):
    model = small_model((None, None, 1) if form == "channels_last" else (1, None, None), form)
    classifier = Classifier(model, input_size=given)
    assert (classifier.input_size, classifier.channels, classifier.size_is_chosen) == (size, 1, True)
    assert classifier.probabilities(np.zeros((1, *size, 1))).shape == (1, 3)


def test_one_open_side_is_chosen_and_the_other_is_kept():
    model = small_model((None, WIDTH, 1))
    assert Classifier(model, input_size=(16, WIDTH)).input_size == (16, WIDTH)
    with pytest.raises(ConfigError, match=f"--input-size 16x16 contradicts .* whose input is any x {WIDTH}"):
        Classifier(model, input_size=(16, 16))
    fixed = small_model((HEIGHT, WIDTH, 1))
    assert not Classifier(fixed, input_size=(HEIGHT, WIDTH)).size_is_chosen
    with pytest.raises(ConfigError, match=f"contradicts model 'tiny', whose input is {HEIGHT} x {WIDTH}"):
        Classifier(fixed, input_size=(WIDTH, HEIGHT))


def test_size_that_the_model_cannot_take_is_said():
    with pytest.raises(ModelError, match="cannot be run on images of 1 x 1"):
        Classifier(small_model((None, None, 1)), input_size=(1, 1))


def test_unclear_orders_are_refused():
    def dense():
        return [L.Flatten(), L.Dense(2)]

    with pytest.raises(ModelError, match="no layer that says which axis is the channels"):
        Classifier(keras.Sequential([keras.Input((3, 32, 32)), *dense()]))
    mixed = [
        L.Conv2D(2, 3, data_format="channels_first"),
        L.Permute((2, 3, 1)),
        L.Conv2D(2, 3, data_format="channels_last"),
    ]
    with pytest.raises(ModelError, match="use one data_format"):
        Classifier(keras.Sequential([keras.Input((3, 32, 32)), *mixed, *dense()]))
    with pytest.raises(ModelError, match="the number of channels must be fixed"):
        Classifier(keras.Sequential([keras.Input((8, 8, None)), L.GlobalAveragePooling2D(), L.Lambda(lambda x: x)]))


def test_rgb_preprocessing_of_other_inputs_is_refused():
    for channels in (1, 4):
        for family in ("vgg16", "densenet"):
            with pytest.raises(
                ModelError, match=f"--preprocess {family} is for 3 channels, but the model.s input has {channels}"
            ):
                Classifier(small_model((HEIGHT, WIDTH, channels)), preprocess=family)
    scaled = Classifier(small_model((HEIGHT, WIDTH, 1)), preprocess="mobilenet_v2")
    np.testing.assert_allclose(scaled.graph.preprocessed(np.full((1, 2, 2, 1), 255.0)), 1.0)


def test_mean_color_is_required_only_where_it_is_used():
    gray = Classifier(small_model((HEIGHT, WIDTH, 1)))
    EXPLAINERS.build("occlusion(patch_size=4)").check(gray)
    for fill in ("mean", "blur"):
        explainer = EXPLAINERS.build(f"occlusion(patch_size=4, fill={fill})")
        with pytest.raises(ModelError, match="takes 1 channel, whose mean color is known of an image set only"):
            explainer.check(gray)
        explainer.check(gray.with_mean_color([100.0]))
        explainer.check(Classifier(small_model((HEIGHT, WIDTH, 3))))


def test_mean_color_is_kept_by_copies():
    gray = Classifier(small_model((HEIGHT, WIDTH, 1))).with_mean_color([100.0])
    assert gray.with_mean_color((100.0,)) is gray
    assert gray.in_precision("float32").mean_color == (100.0,)
    assert gray.with_mean_color([50.0]).count is gray.count


def test_tf_explain_refuses_channels_first():
    first = Classifier(small_model((1, HEIGHT, HEIGHT), "channels_first"))
    for spec in ("tf_explain.gradcam", "tf_explain.occlusion(patch_size=4)"):
        with pytest.raises(ModelError, match="tf-explain reads feature maps"):
            EXPLAINERS.build(spec).check(first)
    with pytest.raises(ModelError, match=r"tf-explain sums over the last axis of the input.*channels_first"):
        EXPLAINERS.build("tf_explain.vanilla_gradients").check(first)


@pytest.mark.parametrize("channels", [1, 4])
def test_tf_explain_runs_on_other_numbers_of_channels(photos, channels):
    """As the library computes it: pixels of 127.5 in the model's own input."""
    model, images = small_model((HEIGHT, HEIGHT, channels)), photos(channels, (HEIGHT, HEIGHT))[:1]
    classifier = Classifier(model)
    found = EXPLAINERS.build("tf_explain.occlusion(patch_size=4)").explain(classifier, images, [1])[0]
    patched = images.copy()
    patched[:, :4, :4] = 127.5
    np.testing.assert_allclose(found[0, 0], 1 - model(patched)[0, 1], rtol=1e-5, atol=1e-5)
    assert EXPLAINERS.build("tf_explain.gradcam").explain(classifier, images, [1]).shape == (1, HEIGHT, HEIGHT)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_controls_take_any_number_of_channels(rng, channels):
    from skimage.filters import sobel

    images = rng.integers(0, 256, (1, HEIGHT, WIDTH, channels), dtype=np.uint8)
    for name in ("uniform", "random", "center", "edges"):
        maps = EXPLAINERS.build(name).explain(None, images, [0])
        assert maps.shape == (1, HEIGHT, WIDTH)
        np.testing.assert_allclose(maps, EXPLAINERS.build(name).explain(None, images.astype(np.float32), [0]))
    if channels != 3:
        edges = EXPLAINERS.build("edges").explain(None, images, [0])[0]
        np.testing.assert_allclose(edges, sobel(images[0].mean(axis=2) / 255))


def test_chosen_size_is_said_and_signed(tmp_path):
    from evalkit.harness.planning.cache_keys import subject

    model = small_model((None, None, 3))
    default, given = Classifier(model), Classifier(model, input_size=(16, 24))
    assert default.size_note == (
        "input size chosen: 224 x 224, because model 'tiny' takes any; --input-size sets another"
    )
    assert (given.size_note, Classifier(small_model((16, 24, 3))).size_note) == ("", "")
    assert "input_size" not in subject(default)
    assert "|input_size:16x24|" in subject(given)
    assert subject(Classifier(model, input_size=(224, 224))) == subject(default)
    assert given.in_precision("float32").input_size == (16, 24)
