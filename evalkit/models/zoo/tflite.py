"""TFLite files as functions, run by TensorFlow's interpreter."""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import MissingPackageError, ModelError
from evalkit.core.imports import first_line
from evalkit.models.zoo.model_function import ModelFunction, from_file, image_input

__all__ = ["from_tflite"]

Details = dict[str, Any]


class _TfliteFunction:
    """A function from preprocessed images to outputs by name; another process opens the file again."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        inputs = self.interpreter.get_input_details()
        if len(inputs) != 1:
            listed = ", ".join(f"{one['name']} {tuple(one['shape'])}" for one in inputs)
            raise ModelError(
                f"model '{self.name}' has {len(inputs)} inputs: {listed}; give a function of the images alone, which "
                "fixes the others, with --model module:function"
            )
        self.given: Details = inputs[0]
        if np.dtype(self.given["dtype"]).kind not in "fiu":
            raise ModelError(f"model '{self.name}' takes {self.given['dtype'].__name__}; images are needed")
        signature = self.given["shape_signature"] if len(self.given["shape_signature"]) else self.given["shape"]
        shape = [int(side) if side > 0 else None for side in signature]
        self.input = image_input(shape, self.name, channels_first=False)  # the order of TFLite's convolutions
        self.softmax_in_bytes = self._ends_in_softmax()

    @cached_property
    def interpreter(self) -> Any:  # noqa: ANN401 - the interpreter has no types
        """The opened file."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TensorFlow, on moving the interpreter to a package of its own
                interpreter = _interpreter_class(self.path)(str(self.path))
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"--model '{self.path}' cannot be run as TFLite: {first_line(error)}") from error
        return interpreter

    def __reduce__(self) -> tuple[type[_TfliteFunction], tuple[Path]]:
        return _TfliteFunction, (self.path,)

    @property
    def takes_bytes(self) -> bool:
        """Whether the input is whole numbers that stand for themselves; other integers stand for real numbers."""
        return np.dtype(self.given["dtype"]).kind in "iu" and not self.given["quantization"][0]

    def __call__(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return dict(self.input.run(self._pass, images))

    def _pass(self, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        shape = list(images.shape)
        if shape != self.interpreter.get_input_details()[0]["shape"].tolist():
            self.interpreter.resize_tensor_input(self.given["index"], shape)
            self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(self.given["index"], _quantized(images, self.given))
        self.interpreter.invoke()
        return {one["name"]: self._real(one) for one in self.interpreter.get_output_details()}

    def _real(self, output: Details) -> NDArray[Any]:
        values = self.interpreter.get_tensor(output["index"])
        scale, zero = output["quantization"]
        if values.dtype.kind not in "iu" or not scale:
            return np.asarray(values)
        real = (values.astype(np.float64) - zero) * scale
        # In 256 steps, which do not sum to 1 any more.
        if self.softmax_in_bytes:
            real /= real.sum(axis=-1, keepdims=True).clip(scale)
        return np.asarray(real)

    def _ends_in_softmax(self) -> bool:
        try:
            names = [one["op_name"] for one in self.interpreter._get_ops_details()]
        except (AttributeError, KeyError):  # no public name says it
            return False
        ends = [name for name in names if name not in ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "CAST", "DELEGATE")]
        return bool(ends) and ends[-1] == "SOFTMAX"


def _interpreter_class(path: Path) -> Any:  # noqa: ANN401 - the interpreter has no types
    """Return TensorFlow's interpreter, or that of the package which it moves to."""
    import tensorflow as tf

    if hasattr(tf, "lite"):
        return tf.lite.Interpreter
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingPackageError(
            f"--model '{path}' needs an interpreter of TFLite; pip install ai-edge-litert"
        ) from error
    return Interpreter


def _quantized(images: NDArray[np.float32], details: Details) -> NDArray[Any]:
    """Return images in the type of the input; integers stand for (value - zero) * scale."""
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return images.astype(dtype)
    scale, zero = details["quantization"]
    values = np.rint(images / scale + zero if scale else images)
    limits = np.iinfo(dtype.name)
    return values.clip(limits.min, limits.max).astype(dtype)


def from_tflite(path: Path) -> ModelFunction:
    """Return the model of a TFLite file.

    Raises:
        MissingPackageError: there is no interpreter.
        ModelError: the file cannot be read, or the model takes something other than images.
    """
    function = _TfliteFunction(path)
    return from_file(function, path, takes_bytes=function.takes_bytes)
