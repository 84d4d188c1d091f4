"""Files and folders that ``--model`` names: which kind each is, and what to do with those that hold no whole model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.models.environment import standard_settings
from evalkit.models.zoo.keras_files import WEIGHTS_ALONE, from_keras_file
from evalkit.models.zoo.model_function import ModelFunction

__all__ = ["from_file", "is_file_name"]

_WRAP = "--model my_module:function, a function of images (docs/models.md has examples)"
_TORCH = (
    f"is a file of PyTorch, which holds weights or Python objects and not what computes them; give {_WRAP}, or export "
    "the model with torch.onnx.export and give the .onnx file"
)
_ARCHITECTURE = (
    "describes layers without their weights; build the model in a function and load its weights there, --model "
    "my_module:function"
)
_PACKED = "is an archive; unpack it and give the model inside"
_OTHER = {
    ".weights.h5": WEIGHTS_ALONE,
    ".index": WEIGHTS_ALONE,
    ".data-00000-of-00001": WEIGHTS_ALONE,
    ".npz": WEIGHTS_ALONE,
    ".npy": WEIGHTS_ALONE,
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".torchscript"), _TORCH),
    **dict.fromkeys((".json", ".yaml", ".yml"), _ARCHITECTURE),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"), _PACKED),
    ".pb": f"is a graph of TensorFlow alone; give the folder of a SavedModel, which holds saved_model.pb and "
    f"variables, or {_WRAP}",
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), f"is a pickle, which runs code when it is read; give {_WRAP}"),
    **dict.fromkeys(
        (".mlmodel", ".mlpackage", ".engine", ".trt", ".caffemodel", ".params", ".gguf", ".xml", ".pte"),
        f"is of a kind that evalkit does not run; give {_WRAP}",
    ),
}
_READ = (".keras", ".h5", ".hdf5", ".onnx", ".tflite", ".lite")
_KINDS = "a .keras or .h5 file, a SavedModel folder, a .onnx or .tflite file"


def is_file_name(source: str) -> bool:
    """Return whether a value of ``--model`` is a file or folder, or has the ending of a model file."""
    lower = source.lower()
    return lower.endswith((*_READ, *_OTHER)) or source.endswith(("/", "\\")) or _exists(Path(source))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def from_file(path: Path, *, allow_lambda: bool = False) -> keras.Model | ModelFunction:
    """Return the model of a file or folder.

    Args:
        path: the file or folder.
        allow_lambda: run Python code that a Keras file holds.

    Raises:
        ModelError: there is no such file, it holds no whole model, or it cannot be loaded.
        MissingPackageError: the package that runs this kind of file is not installed.
    """
    if path.name in ("saved_model.pb", "saved_model.pbtxt"):
        path = path.parent
    if path.is_dir():
        return _from_folder(path, allow_lambda=allow_lambda)
    if not _exists(path):
        raise ModelError(f"--model '{path}': there is no such file")
    beginning = _beginning(path)
    if not beginning:
        raise ModelError(f"--model '{path}' is empty; download or save the model again")
    if beginning.startswith(b"version https://git-lfs"):
        raise ModelError(
            f"--model '{path}' is a pointer of Git LFS, not the model itself; fetch it with git lfs pull, or download "
            "the file itself"
        )
    if beginning.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise ModelError(f"--model '{path}' is a web page, not a model; download the file itself")
    reader = _reader_of(path, beginning)
    if reader is not None:
        return reader(path, allow_lambda)
    lower = path.name.lower()
    for ending, sentence in _OTHER.items():
        if lower.endswith(ending):
            raise ModelError(f"--model '{path}' {sentence}")
    raise ModelError(f"--model '{path}' is a file of an unknown kind; give {_KINDS}, or {_WRAP}")


def _reader_of(path: Path, beginning: bytes) -> Callable[[Path, bool], keras.Model | ModelFunction] | None:
    """Return what reads a file, by its ending, or by its contents if it has none that is known."""
    lower = path.name.lower()
    if lower.endswith(".weights.h5"):
        return None
    known = lower.endswith((*_READ, *_OTHER))
    if lower.endswith((".keras", ".h5", ".hdf5")) or (not known and beginning.startswith((b"PK", b"\x89HDF"))):
        return _keras
    if lower.endswith((".tflite", ".lite")) or (not known and beginning[4:8] == b"TFL3"):
        return _tflite
    return _onnx if lower.endswith(".onnx") else None


def _keras(path: Path, allow_lambda: bool) -> keras.Model:
    return from_keras_file(path, allow_lambda=allow_lambda)


def _tflite(path: Path, _: bool) -> ModelFunction:
    from evalkit.models.zoo.tflite import from_tflite

    return from_tflite(path)


def _onnx(path: Path, _: bool) -> ModelFunction:
    from evalkit.models.zoo.onnx import from_onnx

    return from_onnx(path)


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise ModelError(f"--model '{path}' cannot be read: {error.strerror}") from error


def _from_folder(folder: Path, *, allow_lambda: bool) -> keras.Model | ModelFunction:
    from evalkit.models.zoo.saved_model import SAVED_MODEL_FILES, from_saved_model

    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise ModelError(f"--model '{folder}' cannot be read: {error.strerror}") from error
    if names & set(SAVED_MODEL_FILES):
        return from_saved_model(folder)
    if {"config.json", "metadata.json"} <= names:
        return _unpacked(folder, allow_lambda=allow_lambda)
    if "model.json" in names:
        raise ModelError(f"--model '{folder}' is a model of TensorFlow.js; convert it back, or give {_WRAP}")
    if names & {"pytorch_model.bin", "model.safetensors", "tf_model.h5"}:
        raise ModelError(f"--model '{folder}' is a folder of Hugging Face's transformers; give {_WRAP}")
    if any(name.endswith(".index") for name in names):
        raise ModelError(f"--model '{folder}' is a checkpoint; it {WEIGHTS_ALONE}")
    inside = sorted(name for name in names if name.lower().endswith(_READ))
    hint = f"did you mean '{folder / inside[0]}'? " if inside else ""
    raise ModelError(
        f"--model '{folder}' is a folder without saved_model.pb, so it is not a SavedModel; {hint}give {_KINDS}, or "
        f"{_WRAP}"
    )


def _unpacked(folder: Path, *, allow_lambda: bool) -> keras.Model:
    """Return the model of a folder that Keras wrote, or that a ``.keras`` file was unpacked into."""
    try:
        with standard_settings():
            return keras.saving.load_model(folder, compile=False, safe_mode=not allow_lambda)
    except Exception as error:
        raise ModelError(
            f"--model '{folder}' cannot be loaded by Keras {keras.__version__}: {first_line(error)}; a preset of "
            "keras-hub is loaded in a function, --model my_module:function, with from_preset"
        ) from error
