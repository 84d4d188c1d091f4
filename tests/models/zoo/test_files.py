"""Files and folders of ``--model``: each kind that holds no whole model has a sentence of its own."""

from __future__ import annotations

import json
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from evalkit.core.errors import ModelError
from evalkit.models.zoo.load import load_classifier

LAYERS = keras.layers


def zipped(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "{}")

    return write


def text(content):
    return lambda path: path.write_bytes(content)


def folder(*names):
    def write(path):
        path.mkdir()
        for name in names:
            (path / name).write_bytes(b"{}")

    return write


def weights_alone(path):
    keras.Sequential([keras.Input((4,)), LAYERS.Dense(2)]).save_weights(path)


def weights_in_h5(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["dense"]


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("m.keras", None, "'m.keras': there is no such file"),
        ("m.keras", text(b""), "'m.keras' is empty; download or save the model again"),
        ("m.keras", text(b"version https://git-lfs.github.com/spec/v1\noid x\n"), "of Git LFS, .* git lfs pull"),
        ("m.keras", text(b"\n<!DOCTYPE html><html>"), "is a web page, not a model"),
        ("m.keras", zipped("word/document.xml"), "is a zip file, but not of Keras, .* it holds word/document.xml"),
        ("m.keras", text(b"PK\x03\x04 cut off"), "is neither a .keras file, which is a zip, nor HDF5"),
        ("m.keras", weights_in_h5, "is HDF5, which Keras reads only from .h5; rename it to m.h5"),
        ("m.h5", weights_in_h5, "'m.h5' holds weights without a model; give the model, and the file as --weights"),
        ("m.h5", text(b"\x89HDF\r\n\x1a\n cut off"), "'m.h5' is damaged"),
        ("m.weights.h5", weights_alone, "holds weights without a model"),
        ("m.pt", text(b"PK\x03\x04"), r"is a file of PyTorch, .*docs/models.md.* torch.onnx.export"),
        ("m.pth", text(b"\x80\x02"), "is a file of PyTorch"),
        ("m.safetensors", text(b"x"), "is a file of PyTorch"),
        ("m.pb", text(b"x"), "is a graph of TensorFlow alone; give the folder of a SavedModel"),
        ("m.json", text(b"{}"), "describes layers without their weights"),
        ("m.zip", text(b"PK\x03\x04"), "is an archive; unpack it"),
        ("m.pkl", text(b"x"), "is a pickle, which runs code"),
        ("m.mlmodel", text(b"x"), "is of a kind that evalkit does not run; give --model my_module:function"),
        ("m.data", text(b"x"), "is a file of an unknown kind; give a .keras or .h5 file, a SavedModel folder"),
        ("m.tflite", text(b"not tflite"), "'m.tflite' cannot be run as TFLite"),
        ("m", zipped("config.json"), "is a zip, which Keras reads only from .keras; rename it to m.keras"),
        ("m/", folder(), "is a folder without saved_model.pb, so it is not a SavedModel; give a .keras"),
        ("m/", folder("best.keras"), "did you mean 'm/best.keras'"),
        ("m/", folder("saved_model.pb"), "'m' cannot be loaded as a SavedModel"),
        ("m/", folder("model.json"), "is a model of TensorFlow.js"),
        ("m/", folder("config.json", "model.safetensors"), "is a folder of Hugging Face's transformers"),
        ("m/", folder("ckpt.index"), "is a checkpoint; it holds weights without a model"),
        ("m/", folder("config.json", "metadata.json"), "cannot be loaded by Keras .* from_preset"),
        ("mobilnet", None, "not a file, a folder, module:function or a known name; did you mean 'mobilenet'. `list"),
        ("hf://keras/resnet", None, "is an address; download the model .* from_preset"),
        ("my_great_model", None, "known name; `list models` shows all$"),
    ],
)  # fmt: skip
def test_what_holds_no_model_says_what_it_is(tmp_path, monkeypatch, name, write, words):
    monkeypatch.chdir(tmp_path)
    if write:
        write(tmp_path / name.rstrip("/"))
    with pytest.raises(ModelError, match=words) as refused:
        load_classifier(name, preprocess="none")
    assert "efficientnet" not in str(refused.value)


BLOCKS = """
import keras
class Block(keras.layers.Layer):
    def call(self, tensor):
        return tensor * 2
RegBlock = keras.saving.register_keras_serializable("mine")(Block)
class PlainBlock(keras.layers.Layer):
    def call(self, tensor):
        return tensor * 2
"""


def _forget_blocks():
    registered = keras.saving.get_custom_objects()
    for name in [name for name, kind in registered.items() if getattr(kind, "__module__", "") == "regnet_blocks"]:
        del registered[name]
    sys.modules.pop("regnet_blocks", None)


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """A module with classes of layers, that Keras has forgotten since the models were saved."""
    (tmp_path / "regnet_blocks.py").write_text(BLOCKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import regnet_blocks

    for kind in ("RegBlock", "PlainBlock"):
        inputs = keras.Input((8, 8, 3))
        tensor = LAYERS.Flatten()(getattr(regnet_blocks, kind)()(inputs))
        model = keras.Model(inputs, LAYERS.Dense(2)(tensor))
        model.save(tmp_path / f"{kind}.keras")
        model.save(tmp_path / f"{kind}.h5")
    _forget_blocks()
    yield tmp_path
    _forget_blocks()


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_an_unknown_class_is_named_with_the_ways_that_work(blocks, monkeypatch, ending):
    monkeypatch.delitem(sys.modules, "regnet_blocks", raising=False)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part not in (str(blocks), "")])
    with pytest.raises(ModelError, match=r"needs '(RegBlock|Block)', which Keras does not know. .* --import \w+; else"):
        load_classifier(f"RegBlock.{ending}", preprocess="none")
    loaded = load_classifier(f"RegBlock.{ending}", preprocess="none", imports=["regnet_blocks"])
    assert loaded.n_classes == 2
    for name, words in {
        "no_such_blocks": "--import 'no_such_blocks': module 'no_such_blocks' cannot be imported",
        "a-b": "--import 'a-b': 'a-b' is not a module's name",
    }.items():
        with pytest.raises(ModelError, match=words):
            load_classifier(f"RegBlock.{ending}", preprocess="none", imports=[name])


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_python_code_in_a_file_runs_only_where_it_is_allowed(tmp_path, ending):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, LAYERS.Dense(2)(LAYERS.Flatten()(LAYERS.Lambda(lambda tensor: tensor / 255)(inputs))))
    path = tmp_path / f"m.{ending}"
    model.save(path)
    with pytest.raises(ModelError, match=r"holds a Lambda layer or function: Python code, .* add --allow-lambda"):
        load_classifier(str(path), preprocess="none")
    image = np.full((1, 8, 8, 3), 100, np.float32)
    loaded = load_classifier(str(path), preprocess="none", allow_lambda=True)
    np.testing.assert_allclose(loaded.logits(image), model(image).numpy(), rtol=1e-5)


@pytest.mark.filterwarnings("ignore")  # Keras, on the lambda
def test_a_lambda_as_activation_is_python_code_too(tmp_path):
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, LAYERS.Dense(2, lambda t: t * 2)(LAYERS.Flatten()(inputs))).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="add --allow-lambda"):
        load_classifier(str(tmp_path / "m.keras"), preprocess="none")


def test_a_file_of_keras_2_says_so_with_a_way_that_works(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), LAYERS.Conv2D(2, 3), LAYERS.Flatten(), LAYERS.Dense(2)])
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["an_old_option"] = 1
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.11.0"
    with pytest.raises(ModelError, match=r"loaded by Keras 3.*an_old_option.* saved by Keras 2.11.0: load it with"):
        load_classifier(str(tmp_path / "m.h5"), preprocess="none")


def test_a_known_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vgg16-mini").mkdir()
    assert load_classifier("vgg16-mini").name == "vgg16-mini"
