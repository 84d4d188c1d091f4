"""Model files of Keras, ``.keras`` and ``.h5``, and what is said of one that cannot be loaded."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import h5py
import keras

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.models.environment import standard_settings

__all__ = ["WEIGHTS_ALONE", "from_keras_file"]

WEIGHTS_ALONE = (
    "holds weights without a model; give the model, and the file as --weights: --model vgg16 --weights FILE, or "
    "--model my_module:function with a function that builds it"
)
"""What is said of a file of weights."""

_UNKNOWN = re.compile(
    r"(?:Could not locate (?:class|function)|Unknown (?:layer|object|function|model|\w+ function)):? '([^']+)'"
)
_UNSAFE = ("safe_mode=False", "enable_unsafe_deserialization", "function identifier: {'value'")
_FUNCTION = "load it in a function of your own, --model my_module:function"


def from_keras_file(path: Path, *, allow_lambda: bool) -> keras.Model:
    """Return the model of a ``.keras`` or ``.h5`` file.

    Args:
        path: the file.
        allow_lambda: run Python code that the file holds.

    Raises:
        ModelError: the file holds no model, or one that Keras cannot load.
    """
    saved_by = _version_of(path)
    try:
        with standard_settings():
            model = keras.saving.load_model(path, compile=False, safe_mode=not allow_lambda)
    except Exception as error:
        raise ModelError(f"--model '{path}' {_why(str(error), error, saved_by)}") from error
    if not isinstance(model, keras.layers.Layer):
        raise ModelError(f"--model '{path}' holds {type(model).__name__}; a Keras model is needed")
    return model


def _version_of(path: Path) -> str:
    """Return the version of Keras that wrote the file, after checking that the file holds a model; empty if unknown."""
    if zipfile.is_zipfile(path):
        if path.suffix != ".keras":
            raise ModelError(
                f"--model '{path}' is a zip, which Keras reads only from .keras; rename it to {path.stem}.keras"
            )
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "config.json" not in names:
                listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
                raise ModelError(
                    f"--model '{path}' is a zip file, but not of Keras, which has a config.json in it; it holds "
                    f"{listed or 'nothing'}"
                )
            return _in_metadata(archive.read("metadata.json")) if "metadata.json" in names else ""
    if not h5py.is_hdf5(path):
        raise ModelError(
            f"--model '{path}' is neither a .keras file, which is a zip, nor HDF5; save or download the model again"
        )
    if path.suffix not in (".h5", ".hdf5"):
        raise ModelError(f"--model '{path}' is HDF5, which Keras reads only from .h5; rename it to {path.stem}.h5")
    try:
        with h5py.File(path) as file:
            is_model, version = "model_config" in file.attrs, file.attrs.get("keras_version", "")
    except OSError as error:
        raise ModelError(
            f"--model '{path}' is damaged ({first_line(error)}); save or download the model again"
        ) from error
    if not is_model:
        raise ModelError(f"--model '{path}' {WEIGHTS_ALONE}")
    return version.decode() if isinstance(version, bytes) else str(version)


def _in_metadata(text: bytes) -> str:
    try:
        return str(json.loads(text).get("keras_version", ""))
    except (ValueError, AttributeError):
        return ""


def _why(text: str, error: Exception, saved_by: str) -> str:
    """Return what is wrong and what to do, from what Keras says, which often stands at the end of long lines."""
    if any(sign in text for sign in _UNSAFE):
        what = "a TFSMLayer, which loads a SavedModel" if "TFSMLayer" in text else "a Lambda layer or function"
        return (
            f"holds {what}: Python code, which Keras does not run from a file by itself. If you trust the file as you "
            "trust a program, add --allow-lambda, which runs the code"
        )
    unknown = _UNKNOWN.search(text)
    if unknown:
        name = unknown[1].rpartition(">")[2]
        module = re.search(rf"'module': '([^']+)', 'class_name': '{re.escape(name)}'", text)
        example = module[1] if module and module[1] not in ("__main__", "builtins") else "my_module"
        return (
            f"needs '{name}', which Keras does not know. If it is registered with "
            f"@keras.saving.register_keras_serializable(), name the module that defines it: --import {example}; else "
            f"{_FUNCTION}, with custom_objects"
        )
    cause = text.rpartition("Exception encountered:")[2].strip()
    reason = first_line(ValueError(cause)) if cause else first_line(error)
    old = saved_by.split(".", maxsplit=1)[0] in ("1", "2")
    advice = (
        f"it was saved by Keras {saved_by}: load it with tf_keras, export it there with model.export('folder') and "
        f"give the folder, or {_FUNCTION}"
        if old
        else f"{'it was saved by Keras ' + saved_by + '; ' if saved_by else ''}{_FUNCTION}"
    )
    return f"cannot be loaded by Keras {keras.__version__}: {reason}; {advice}"
