"""Preprocessing inside a model is found by what it does to pixels, and nothing else is taken for it."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import pytest

from evalkit.core.errors import ModelError
from evalkit.models.classifier import Classifier
from evalkit.models.keras.own_preprocessing import own_preprocessing
from evalkit.models.zoo.load import as_classifier, load_classifier

L, ops, applications = keras.layers, keras.ops, keras.applications


def model(begin, first=None, shape=(16, 16, 3)):
    """Return a model of a beginning, a layer with weights, and a dense end."""
    images = keras.Input(shape)
    tensor = (first or L.Conv2D(2, 3))(begin(images))
    if len(tensor.shape) > 2:
        tensor = L.GlobalAveragePooling2D()(tensor)
    return keras.Model(images, L.Dense(3, activation="softmax")(tensor))


def attention(tensor):
    """Return a convolution whose channels are weighted: it has a Multiply, but no preprocessing."""
    features = L.Conv2D(4, 3)(tensor)
    weights = L.Dense(4, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(features))
    return L.Multiply()([features, weights])


class ToyImageConverter(L.Layer):
    """As keras-hub's, which need not be installed."""

    __module__ = "keras_hub.src.layers.preprocessing.image_converter"

    def __init__(self, scale=1 / 127.5, offset=-1.0):
        super().__init__()
        self.scale, self.offset = scale, offset

    def call(self, images):
        return images * self.scale + self.offset


FOUND = {
    "x / 255": lambda: model(lambda x: x / 255.0),
    "x / 127.5 - 1": lambda: model(lambda x: x / 127.5 - 1),
    "ops": lambda: model(lambda x: ops.subtract(ops.multiply(x, 1 / 127.5), 1.0)),
    "gray": lambda: model(lambda x: x / 255.0, shape=(16, 16, 1)),
    "caffe": lambda: model(applications.vgg16.preprocess_input),
    "torch": lambda: model(applications.densenet.preprocess_input),
    "tf": lambda: model(applications.mobilenet_v2.preprocess_input),
    "lambda": lambda: model(L.Lambda(lambda x: x / 255.0)),
    "patches": lambda: model(lambda x: ops.image.extract_patches(x / 255.0, (4, 4)), L.Dense(4)),
    "flat": lambda: model(lambda x: L.Flatten()(x) / 255.0, L.Dense(4)),
    "behind a batch normalization": lambda: model(lambda x: L.Rescaling(1 / 255)(L.BatchNormalization()(x))),
    "after augmentation": lambda: model(lambda x: L.Rescaling(1 / 255)(L.RandomFlip()(x))),
    "any size": lambda: model(lambda x: x / 255.0, shape=(None, None, 3)),
    "converter": lambda: model(ToyImageConverter()),
    "nested": lambda: model(keras.Sequential([keras.Input((16, 16, 3)), L.Normalization(mean=0.5, variance=2.0)])),
    "backbone": lambda: model(
        applications.MobileNetV3Small(weights=None, include_top=False, input_shape=(32, 32, 3)),
        L.Conv2D(2, 1),
        (32, 32, 3),
    ),
}
NOT_FOUND = {
    "nothing": lambda: model(lambda x: x),
    "augmentation": lambda: model(lambda x: L.RandomContrast(0.2)(L.RandomRotation(0.1)(L.RandomFlip()(x)))),
    "noise": lambda: model(lambda x: L.GaussianNoise(0.1)(L.Dropout(0.2)(x))),
    "padding": lambda: model(lambda x: L.AveragePooling2D(2, padding="same")(L.ZeroPadding2D(2)(x))),
    "resizing": lambda: model(L.Resizing(8, 8)),
    "flat": lambda: model(L.Flatten(), L.Dense(4)),
    "batch normalization": lambda: model(L.BatchNormalization()),
    "identity lambda": lambda: model(L.Lambda(lambda x: x)),
    "keras' own that does nothing": lambda: model(applications.efficientnet.preprocess_input),
    "a converter that only resizes": lambda: model(ToyImageConverter(1.0, 0.0)),
    "attention after a convolution": lambda: model(lambda x: x, attention),
    "division after a convolution": lambda: model(lambda x: x, lambda x: L.Conv2D(2, 3)(x) / 255.0),
    "a backbone without its preprocessing": lambda: model(
        applications.MobileNetV3Small(
            weights=None, include_top=False, include_preprocessing=False, input_shape=(32, 32, 3)
        ),
        L.Conv2D(2, 1),
        (32, 32, 3),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_preprocessing_inside_means_none(name):
    built = FOUND[name]()
    assert own_preprocessing(built)
    assert as_classifier(built).preprocess == "none"


@pytest.mark.parametrize("name", NOT_FOUND)
def test_what_keeps_values_is_no_preprocessing(name):
    built = NOT_FOUND[name]()
    assert own_preprocessing(built) == ""
    with pytest.raises(ModelError, match="does not say how its input is preprocessed"):
        as_classifier(built)


def test_operations_are_found_in_a_saved_file(tmp_path):
    FOUND["caffe"]().save(tmp_path / "m.keras")
    assert load_classifier(str(tmp_path / "m.keras")).preprocess == "none"


def test_operations_that_would_be_applied_twice_are_said():
    built = FOUND["x / 127.5 - 1"]()
    said = Classifier(built, name="m", preprocess="mobilenet").doubt
    assert said == (
        "--preprocess mobilenet is applied before model 'm', which begins with operations on pixels (TrueDivide, "
        "Subtract) of its own; leave the option out if that is all that it needs"
    )
    assert "begins with keras-hub's ToyImageConverter" in Classifier(FOUND["converter"](), preprocess="0..1").doubt
    assert Classifier(built).doubt == Classifier(NOT_FOUND["nothing"](), preprocess="0..1").doubt == ""


def test_a_preprocessor_beside_the_model_becomes_the_option_to_give():
    built = NOT_FOUND["nothing"]()
    built.preprocessor = SimpleNamespace(image_converter=ToyImageConverter())
    with pytest.raises(ModelError, match=r"beside it.*add --preprocess mean=0.5,std=0.5"):
        as_classifier(built)
