"""Keras as its environment configures it: another backend is refused in words, other settings move no number."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.models import environment
from evalkit.models.environment import require_keras


def python(*arguments, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**inherited, **environment},
    )


@pytest.fixture
def configured(tmp_path):
    """Write Keras' configuration file; returns the variable that names its folder."""

    def write(content):
        (tmp_path / "keras.json").write_text(content)
        return {"KERAS_HOME": str(tmp_path)}

    return write


COMMANDS = {
    "run": ["run", "--limit", "1"],
    "explain": ["explain", "scene-00003"],
    "validate": ["validate", "--data", "scenes", "--model", "vgg16-mini"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("backend", ["torch", "nonsense"])
def test_another_backend_is_refused(command, backend, tmp_path):
    done = python("-m", "evalkit", *COMMANDS[command], KERAS_BACKEND=backend, KERAS_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        f"evalkit: Keras runs on '{backend}' (KERAS_BACKEND in the environment); evalkit needs its tensorflow backend: "
        "set KERAS_BACKEND=tensorflow in the environment, before Keras is imported\n"
    )


@pytest.mark.parametrize("call", ["explain(None, 'a.jpg')", "evaluate(None, 'a.csv')"])
def test_another_backend_is_refused_in_python(call, tmp_path):
    code = (
        f"import evalkit\ntry:\n    evalkit.{call}\nexcept evalkit.core.errors.ConfigError as error:\n    print(error)"
    )
    done = python("-c", code, KERAS_BACKEND="jax", KERAS_HOME=str(tmp_path))
    assert done.stdout.startswith("Keras runs on 'jax' (KERAS_BACKEND in the environment)"), done.stderr


def test_a_backend_in_use_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ConfigError, match=r"Keras runs on 'torch' \(it is imported already\)"):
        require_keras()


@pytest.mark.parametrize("arguments", [["list", "models"], ["run", "--help"]])
def test_what_needs_no_model_works_on_any_backend(arguments):
    assert python("-m", "evalkit", *arguments, KERAS_BACKEND="torch").returncode == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"backend": "jax"}', "Keras runs on 'jax' ('{path}')"),
        ('{"backend": null}', "Keras runs on 'None' ('{path}')"),
        ('{"floatx": "bfloat16"}', "Received: floatx=bfloat16; correct or delete its configuration file, '{path}'"),
        ('{"image_data_format": "last"}', "correct or delete its configuration file, '{path}'"),
        ('{"epsilon": 1}', "Received: epsilon=1; correct or delete"),
        ("[1]", "correct or delete its configuration file, '{path}'"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_said(configured, tmp_path, content, sentence):
    done = python("-m", "evalkit", "explain", "scene-00003", **configured(content))
    assert done.returncode == 2
    assert sentence.format(path=tmp_path / "keras.json") in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_environment_wins_over_the_file(configured):
    """As in Keras; with a file that is no JSON, which Keras ignores, the standard backend is used."""
    code = "from evalkit.models.environment import _chosen_backend; print(_chosen_backend()[0])"
    assert python("-c", code, KERAS_BACKEND="torch", **configured('{"backend": "jax"}')).stdout == "torch\n"
    assert python("-c", code, KERAS_BACKEND="", **configured('{"backend": "jax"}')).stdout == "jax\n"
    assert python("-c", code, **configured('{"backend": ')).stdout == "tensorflow\n"


def test_channels_first_and_float16_move_no_number(configured, tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    images = keras.Input((24, 24, 3))
    tensor = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.RandomFlip()(images))
    tensor = keras.layers.BatchNormalization()(keras.layers.DepthwiseConv2D(3)(tensor))
    tensor = keras.layers.MaxPooling2D()(keras.layers.ZeroPadding2D(1)(keras.layers.UpSampling2D()(tensor)))
    scores = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(tensor))
    keras.Model(images, scores).save(tmp_path / "model.keras")
    code = (
        "import sys, evalkit, keras, numpy as np\n"
        "photo = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)\n"
        "maps = [evalkit.explain(sys.argv[1], photo, spec, preprocess='vgg16').saliency_map\n"
        "        for spec in ('gradcam', 'occlusion(patch_size=12)')]\n"
        "np.savez(sys.argv[2], *maps, evalkit.explain('vgg16-mini', photo).saliency_map)\n"
        "print(keras.config.image_data_format(), keras.config.floatx())\n"
    )
    settings = configured(json.dumps({"image_data_format": "channels_first", "floatx": "float16"}))
    done = python("-c", code, str(tmp_path / "model.keras"), str(tmp_path / "other"), **settings)
    assert done.stdout == "channels_first float16\n", done.stderr  # the settings of the user's process are kept
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "model.keras"), str(tmp_path / "standard")])
    exec(code, {})  # noqa: S102 - the same code, in this process, under the standard settings
    standard, other = (np.load(tmp_path / f"{name}.npz") for name in ("standard", "other"))
    assert len(standard) == 3
    for name in standard:
        np.testing.assert_array_equal(standard[name], other[name])


def test_onednn_is_on_unless_the_user_turned_it_off(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow")
    for given, expected in ((None, "1"), ("0", "0")):
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
        if given:
            monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given)
        environment._turn_on_onednn()
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == expected


def test_an_imported_tensorflow_stays_as_it_is(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    environment._turn_on_onednn()
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ
