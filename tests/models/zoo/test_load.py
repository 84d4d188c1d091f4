"""--model to a classifier: files, keras.applications names, module:function; and what cannot be loaded."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import h5py
import keras
import pytest
from keras.src.legacy.saving import legacy_h5_format

from evalkit.core.errors import ModelError
from evalkit.models.applications import APPLICATIONS, PREPROCESS_FAMILIES
from evalkit.models.zoo.load import load_classifier


@pytest.fixture
def bare_model():
    return keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
    )


def test_tables_hold_exactly_what_keras_offers():
    functions = {name for name in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, name))}
    assert {one.function for one in APPLICATIONS.values()} == functions
    for one in APPLICATIONS.values():
        family = getattr(keras.applications, one.family)
        assert callable(family.preprocess_input)
    assert PREPROCESS_FAMILIES[0] == "none"


def test_a_file_needs_its_preprocessing_said(tmp_path, bare_model):
    path = tmp_path / "model.keras"
    bare_model.save(path)
    with pytest.raises(
        ModelError, match="does not say how its input is preprocessed; add --preprocess with what it was trained"
    ):
        load_classifier(str(path))
    classifier = load_classifier(str(path), preprocess="vgg16")
    assert (classifier.name, classifier.preprocess, classifier.n_classes) == ("model.keras", "vgg16", 3)


def test_a_rescaling_layer_inside_means_none(tmp_path, tiny_model):
    path = tmp_path / "tiny.keras"
    tiny_model.save(path)
    assert load_classifier(str(path)).preprocess == "none"


def test_imagenet_weights_come_from_keras_own_cache(tmp_path):
    """Keras' real code path, in a process of its own whose cache holds a file where Keras would have put it."""
    models = tmp_path / "models"
    models.mkdir()
    built = keras.applications.MobileNetV2(weights=None)
    file_name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"  # the name that Keras looks for
    with h5py.File(models / file_name, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, built)
    index = {str(position): [f"n{position:08d}", f"class {position}"] for position in range(1000)}
    (models / "imagenet_class_index.json").write_text(json.dumps(index))
    code = (
        "from evalkit.models.zoo.load import load_classifier; one = load_classifier('mobilenetv2');"
        "print(one.preprocess, one.class_names[17], one.class_ids[17], one.target_layer, "
        "float(one.model.get_weights()[-2].sum()))"
    )
    environment = {**os.environ, "KERAS_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    expected = f"mobilenet_v2 class 17 n00000017 out_relu {float(built.get_weights()[-2].sum())}"
    assert printed.strip() == expected


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch, tmp_path):
    def refuse(**_):
        raise OSError("no route to host")

    monkeypatch.setattr(keras.applications, "VGG16", refuse)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"ImageNet weights of VGG16 could not be fetched .* pass --weights FILE"):
        load_classifier("vgg16")


def test_weights_file_goes_with_a_name(tmp_path):
    built = keras.applications.MobileNetV2(weights=None, classes=5)
    built.save_weights(tmp_path / "five.weights.h5")
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    arguments = {"weights": tmp_path / "five.weights.h5", "class_names": tmp_path / "names.txt"}
    classifier = load_classifier("MobileNet_V2", **arguments)
    assert classifier.class_names == ("a", "b", "c", "d", "e")
    kernel = built.get_layer("predictions").get_weights()[0]
    assert (classifier.model.get_layer("predictions").get_weights()[0] == kernel).all()
    with pytest.raises(ModelError, match="there is no such file"):
        load_classifier("mobilenetv2", weights=tmp_path / "gone.h5")


def test_module_and_function(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "import keras\n"
        "def net():\n"
        "    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])\n"
        "def number():\n"
        "    return 3\n"
        "def broken():\n"
        "    return 1 / 0\n"
        "def leaves():\n"
        "    raise SystemExit(0)\n"
    )
    (tmp_path / "my_broken_nets.py").write_text("def net(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_classifier("my_nets:net", preprocess="none").n_classes == 2
    for source, message in {
        "my_nets:number": "returned int; a Keras model, or a function of images",
        "my_nets:broken": "'my_nets:broken' failed: ZeroDivisionError: division by zero",
        "my_nets:leaves": "'my_nets:leaves' failed: SystemExit",
        "my_nets:nett": "module 'my_nets' has no 'nett'",
        "my_nats:net": "module 'my_nats' cannot be imported",
        "my_broken_nets:net": "importing 'my_broken_nets' failed: SyntaxError",
        ":": "write MODULE:NAME",
    }.items():
        with pytest.raises(ModelError, match=message):
            load_classifier(source, preprocess="none")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("vgg6", "did you mean 'vgg1"),
        ("gone.keras", "'gone.keras': there is no such file"),
        ("vgg16", "--preprocess 'vgg6' is unknown: did you mean"),
    ],
)
def test_what_is_not_found_is_named(source, message):
    with pytest.raises(ModelError, match=message):
        load_classifier(source, preprocess="vgg6" if source == "vgg16" else "none")


def test_a_file_that_is_no_model_is_one_sentence(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"not a zip file")
    with pytest.raises(ModelError, match=r"is neither a .keras file, which is a zip, nor HDF5"):
        load_classifier(str(tmp_path / "bad.keras"), preprocess="none")


def test_class_names_must_fit_the_outputs(tmp_path, tiny_model):
    tiny_model.save(tmp_path / "tiny.keras")
    (tmp_path / "names.json").write_text('["cat", "dog"]')
    with pytest.raises(ModelError, match=r"2 class names were given, but model 'tiny.keras' has 3 classes"):
        load_classifier(str(tmp_path / "tiny.keras"), class_names=tmp_path / "names.json")
