"""SavedModel folders as functions, run by TensorFlow."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.models.zoo.model_function import ModelFunction, file_digest, image_input

__all__ = ["SAVED_MODEL_FILES", "from_loaded", "from_saved_model"]

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_DEFAULT = "serving_default"


class _Signature:
    """A function from preprocessed images to outputs by name; another process opens the folder again."""

    def __init__(self, loaded: Any, name: str, folder: Path | None = None) -> None:  # noqa: ANN401
        self.name, self.folder = name, folder
        self.loaded = loaded
        specs = self.function.structured_input_signature[1]
        if len(specs) != 1:
            listed = ", ".join(f"{key} {spec.shape}" for key, spec in specs.items()) or "none"
            raise ModelError(
                f"model '{name}' has {len(specs)} inputs in its serving signature: {listed}; give a function of the "
                "images alone, which fixes the others, with --model module:function"
            )
        ((self.key, spec),) = specs.items()
        self.dtype: tf.DType = spec.dtype
        if not (self.dtype.is_floating or self.dtype.is_integer):
            raise ModelError(
                f"model '{name}' takes {self.dtype.name} in its serving signature; images as numbers are needed: wrap "
                "it in a function, --model module:function"
            )
        shape = (None,) * 4 if spec.shape.rank is None else spec.shape.as_list()
        self.input = image_input(shape, name, channels_first=False)  # the order of most SavedModels

    @cached_property
    def function(self) -> Any:  # noqa: ANN401 - a function of TensorFlow
        """The signature that serves images: the default one, or the only one."""
        signatures = dict(getattr(self.loaded, "signatures", {}))
        signatures.pop("__saved_model_init_op", None)
        if _DEFAULT not in signatures and len(signatures) != 1:
            listed = f"signatures {', '.join(signatures)}" if signatures else "no signature"
            raise ModelError(
                f"model '{self.name}' is a SavedModel with {listed} and no '{_DEFAULT}', so it does not say how it is "
                "called; save it with model.export(folder), or with tf.saved_model.save(model, folder, signatures=...),"
                " or give a function that loads it, --model module:function"
            )
        return signatures.get(_DEFAULT) or next(iter(signatures.values()))

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is None:
            raise TypeError("a loaded SavedModel cannot be pickled")
        return _opened, (self.folder,)

    def __call__(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return dict(self.input.run(self._pass, images))

    def _pass(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        given = np.rint(images).clip(0, 255) if self.dtype.is_integer else images
        outputs = self.function(**{self.key: tf.cast(given, self.dtype)})
        # The dictionary's own order is not that of saving; output_2 comes before output_10.
        return {key: np.asarray(outputs[key]) for key in sorted(outputs, key=lambda key: (len(key), key))}


def _opened(folder: Path) -> _Signature:
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:
        raise ModelError(f"--model '{folder}' cannot be loaded as a SavedModel: {first_line(error)}") from error
    return _Signature(loaded, folder.resolve().name, folder)


def from_saved_model(folder: Path) -> ModelFunction:
    """Return the model of a SavedModel folder.

    Raises:
        ModelError: it cannot be loaded, has no serving signature, or takes something other than images.
    """
    return _model(_opened(folder), _digest(folder))


def from_loaded(loaded: Any, name: str) -> ModelFunction:  # noqa: ANN401
    """Return a model that ``tf.saved_model.load`` returned.

    Raises:
        ModelError: it has no serving signature, or takes something other than images.
    """
    return _model(_Signature(loaded, name), "")


def _model(function: _Signature, identity: str) -> ModelFunction:
    return ModelFunction(
        function,
        function.name,
        function.input.size,
        function.input.channels,
        identity,
        takes_bytes=function.dtype.is_integer,
    )


def _digest(folder: Path) -> str:
    """Return the sha256 of graph, variables and assets; other files of the folder change no number."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        part = path.relative_to(folder).as_posix()
        if path.is_file() and (part in SAVED_MODEL_FILES or part.startswith(("variables/", "assets/"))):
            digest.update(f"{part}|{file_digest(path)}|".encode())
    return digest.hexdigest()
