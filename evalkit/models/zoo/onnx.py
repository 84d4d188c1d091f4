"""ONNX files as functions, run by onnxruntime."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import MissingPackageError, ModelError
from evalkit.core.imports import first_line
from evalkit.models.zoo.model_function import ModelFunction, from_file, image_input

__all__ = ["from_onnx"]

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


class _OnnxFunction:
    """A function from preprocessed images to outputs by name; another process opens the file again."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        inputs = self.session.get_inputs()
        if len(inputs) != 1:
            listed = ", ".join(f"{one.name} {tuple(one.shape)}" for one in inputs)
            raise ModelError(
                f"model '{self.name}' has {len(inputs)} inputs: {listed}; give a function of the images alone, which "
                "fixes the others, with --model module:function"
            )
        self.key = inputs[0].name
        if inputs[0].type not in _TYPES:
            raise ModelError(
                f"model '{self.name}' takes {inputs[0].type}; images need one of {', '.join(_TYPES)}: wrap it in a "
                "function, --model module:function"
            )
        self.dtype = np.dtype(_TYPES[inputs[0].type])
        shape = [side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape]
        self.input = image_input(shape, self.name, channels_first=True)  # the order of ONNX' own convolutions
        self.outputs = [one.name for one in self.session.get_outputs() if one.type.startswith("tensor(")]

    @cached_property
    def session(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        """The opened file."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingPackageError(
                f"--model '{self.path}' needs onnxruntime ({error}); pip install 'evalkit-saliency[onnx]'"
            ) from error
        try:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3  # errors only; warnings are of the file's author
            return onnxruntime.InferenceSession(self.path, options, providers=onnxruntime.get_available_providers())
        except Exception as error:
            raise ModelError(f"--model '{self.path}' cannot be read by onnxruntime: {first_line(error)}") from error

    def __reduce__(self) -> tuple[type[_OnnxFunction], tuple[Path]]:
        return _OnnxFunction, (self.path,)

    def __call__(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return dict(self.input.run(self._pass, images))

    def _pass(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        given = np.rint(images).clip(0, 255) if self.dtype == np.uint8 else images
        values = self.session.run(self.outputs, {self.key: given.astype(self.dtype)})
        return dict(zip(self.outputs, values, strict=True))


def from_onnx(path: Path) -> ModelFunction:
    """Return the model of an ONNX file.

    Raises:
        MissingPackageError: onnxruntime is not installed.
        ModelError: the file cannot be read, or the model takes something other than images.
    """
    function = _OnnxFunction(path)
    return from_file(function, path, takes_bytes=function.dtype == np.uint8)
