"""Where a model is right far more often under another common preprocessing, validate and run say so."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

import evalkit
from evalkit.core.errors import ModelError
from evalkit.core.settings import RunOptions
from evalkit.datasets.image_set import ImageSet
from evalkit.harness.planning.prepare import prepare
from evalkit.harness.planning.preprocess_check import _fitting, _is_better, look_at
from evalkit.harness.validate import validate_data
from evalkit.models.classifier import Classifier
from evalkit.models.zoo.load import load_classifier

COLORS = np.array([(40, 20, 20), (100, 85, 80), (165, 155, 150), (230, 225, 215)])
SIDE, N_IMAGES = 8, 16


def pixels_and_labels():
    labels = np.arange(N_IMAGES) % len(COLORS)
    noise = np.random.default_rng(5).integers(-9, 10, (N_IMAGES, SIDE, SIDE, 3))
    return (COLORS[labels][:, None, None] + noise).astype(np.uint8), labels


def nearest_color(transform):
    """Return a model that finds the nearest of four colors, if pixels are preprocessed by ``transform``."""
    centers = transform(COLORS.astype(np.float64))
    images = keras.Input((SIDE, SIDE, 3))
    dense = keras.layers.Dense(len(COLORS), activation="softmax")
    features = keras.layers.Conv2D(3, 1, use_bias=False, name="features")
    model = keras.Model(images, dense(keras.layers.GlobalAveragePooling2D()(features(images))), name="colors")
    features.set_weights([np.eye(3, dtype=np.float32)[None, None]])
    scale = 10 / np.ptp(centers) ** 2
    dense.set_weights([2 * scale * centers.T, -scale * (centers**2).sum(1)])
    return model


@pytest.fixture
def data(tmp_path):
    """Return a function that writes the images as class folders and a model trained on x / 255 beside them."""
    for number, (pixels, label) in enumerate(zip(*pixels_and_labels(), strict=True)):
        folder = tmp_path / f"photos/c{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    nearest_color(lambda x: x / 255).save(tmp_path / "m.keras")
    return tmp_path


def options(folder, **given):
    settings = {
        "explainers": ("center",),
        "metrics": ("sparseness",),
        "precision": "float32",
        "output": str(folder / "o"),
    }
    settings |= {"data": str(folder / "photos"), "model": str(folder / "m.keras")}
    return RunOptions(**{**settings, **given})


@pytest.mark.parametrize("preprocess", ["none", "-1..1", "vgg16", "mobilenet"])
def test_validate_and_run_say_both_accuracies(data, preprocess):
    given = options(data, preprocess=preprocess, limit=4)
    validation = validate_data(RunOptions(data=given.data, model=given.model, preprocess=preprocess))
    assert validation.model.n_right < 11
    n_right, share = validation.model.n_right, validation.model.n_right / N_IMAGES
    sentence = (
        f"on 16 of these images the model is right {n_right} times ({share:.0%}) with --preprocess {preprocess}, but "
        "16 times (100%) with --preprocess 0..1: give that option if the model was trained with it; nothing has been "
        "changed"
    )
    assert validation.model.notes[-1] == sentence
    said: list[str] = []
    plan = prepare(given, said.append)
    assert said[-1] == sentence
    assert plan.classifier.preprocess == preprocess


def test_nothing_is_said_of_the_right_preprocessing(data):
    said: list[str] = []
    prepare(options(data, preprocess="0..1"), said.append)
    assert not any("with --preprocess" in text for text in said)
    validation = validate_data(options(data, preprocess="0..1"))
    assert (validation.model.n_right, len(validation.model.notes)) == (N_IMAGES, 1)


@pytest.mark.parametrize(
    ("right", "transform"),
    [
        ("none", lambda x: x),
        ("-1..1", lambda x: x / 127.5 - 1),
        ("vgg16", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
        ("imagenet-torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
    ],
)
def test_each_common_preprocessing_is_found(right, transform):
    pixels, labels = pixels_and_labels()
    images, model = ImageSet.from_arrays(pixels, labels), nearest_color(transform)
    assert look_at(Classifier(model, preprocess=right), images, "squash").better == ""
    chosen = Classifier(model, preprocess="0..1")
    said = look_at(chosen, images, "squash").better
    assert chosen.passes == 0
    assert f"with --preprocess 0..1, but 16 times (100%) with --preprocess {right}" in said


def test_a_model_from_a_file_of_another_kind_is_looked_at_too(data):
    """A SavedModel takes what the model takes; a function of images preprocesses them itself."""
    folder = str(data / "saved")
    nearest_color(lambda x: x / 255).export(folder, verbose=False)
    pixels, labels = pixels_and_labels()
    images = ImageSet.from_arrays(pixels, labels)
    chosen = load_classifier(folder, preprocess="-1..1")
    said = look_at(chosen, images, "squash").better
    assert "with --preprocess -1..1, but 16 times (100%) with --preprocess 0..1" in said
    assert look_at(load_classifier(folder, preprocess="0..1"), images, "squash").better == ""
    with pytest.raises(ModelError, match=r"Images that the model gets right, of 16, by preprocessing: 0..1 16, "):
        prepare(options(data, model=folder), lambda _: None)
    function = evalkit.BlackBox(lambda batch: np.eye(4)[[0] * len(batch)], SIDE)
    assert look_at(Classifier(function), images, "squash").better == ""


def bright(n_outputs, channels=3):
    """Return a model over x / 255 with sigmoids, each of which is p(bright)."""
    images = keras.Input((SIDE, SIDE, channels))
    features = keras.layers.Conv2D(2, 1, activation="relu")
    dense = keras.layers.Dense(n_outputs, activation="sigmoid")
    model = keras.Model(images, dense(keras.layers.GlobalAveragePooling2D()(features(images))))
    features.set_weights([np.full((1, 1, channels, 2), 1 / channels, np.float32), np.zeros(2, np.float32)])
    dense.set_weights([np.full((2, n_outputs), 10, np.float32), np.full(n_outputs, -9, np.float32)])
    return model


@pytest.mark.parametrize(("head", "n_outputs"), [("sigmoid", 1), ("multilabel", 3)])
def test_one_sigmoid_is_compared_and_several_labels_are_not(head, n_outputs):
    labels = np.arange(N_IMAGES) % 2
    pixels = np.random.default_rng(3).integers(40, 80, (N_IMAGES, SIDE, SIDE, 3)) + 120 * labels[:, None, None, None]
    images = ImageSet.from_arrays(pixels.astype(np.uint8), labels)
    classifier = Classifier(bright(n_outputs), preprocess="none", head=head)
    said = look_at(classifier, images, "squash").better
    if head == "multilabel":  # where every label is right at once, the right preprocessing would lose
        assert said == ""
    else:
        assert "the model is right 8 times (50%) with --preprocess none, but 16 times (100%) with" in said
        assert "0..1" in said.partition(" with --preprocess none, but ")[2]


def test_gray_models_are_compared_under_what_takes_one_channel():
    assert _fitting(Classifier(bright(1, channels=1), preprocess="none")) == ["none", "0..1", "-1..1"]


def test_a_model_that_always_gives_the_commonest_class_is_not_better():
    pixels = np.full((12, SIDE, SIDE, 3), 20, np.uint8)
    labels = np.array([0] * 10 + [1] * 2)
    model = nearest_color(lambda x: x / 127.5 - 1)  # on 0..255, the brightest color is nearest to all
    order = [3, 2, 1, 0]
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel[:, order], bias[order]])
    chosen = Classifier(model, preprocess="-1..1")
    assert chosen.probabilities(pixels).argmax(1).tolist() == [3] * 12
    assert Classifier(model, preprocess="none").probabilities(pixels).argmax(1).tolist() == [0] * 12
    assert look_at(chosen, ImageSet.from_arrays(pixels, labels), "squash").better == ""


def test_a_missing_preprocessing_is_asked_for_with_accuracies(data):
    listed = r"Images that the model gets right, of 16, by preprocessing: 0\.\.1 16, "
    with pytest.raises(ModelError, match=listed):
        prepare(options(data), lambda _: None)
    with pytest.raises(ModelError, match=listed):
        validate_data(options(data))


def test_unlabelled_images_get_no_accuracies(data):
    for number, label in enumerate(pixels_and_labels()[1]):
        (data / f"photos/c{label}/{number}.png").rename(data / f"photos/{number}.png")
    for label in range(4):
        (data / f"photos/c{label}").rmdir()
    with pytest.raises(ModelError, match=r"xception$"):
        prepare(options(data, target="predicted"), lambda _: None)
    said: list[str] = []
    prepare(options(data, target="predicted", preprocess="none"), said.append)
    assert not any("with --preprocess" in text for text in said)


def test_a_finished_run_is_not_examined_again(data, monkeypatch):
    given = options(data, preprocess="none")
    evalkit.evaluate(
        given.model, given.data, explainers=["center"], metrics=["sparseness"], preprocess="none", output=given.output,
        precision="float32",
    )  # fmt: skip
    said: list[str] = []
    prepare(given, said.append)
    assert not any("with --preprocess" in text for text in said)
    prepare(options(data, preprocess="none", fresh=True), said.append)
    assert "with --preprocess 0..1" in said[-1]


@pytest.mark.parametrize(
    ("gained", "lost", "of", "better"),
    [(6, 0, 24, True), (5, 0, 24, False), (6, 0, 32, False), (7, 0, 32, True), (8, 1, 32, True), (9, 3, 24, False)],
)
def test_far_better_is_significant_and_large(gained, lost, of, better):
    chosen, other = np.zeros(of, np.bool_), np.zeros(of, np.bool_)
    other[:gained] = True
    chosen[gained : gained + lost] = True
    assert _is_better(other, chosen) is better
