"""Models that are no Keras graphs: functions of what the model itself takes, made into black boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, ModelError, nearest
from evalkit.models.blackbox import BlackBox
from evalkit.models.preprocessing import CHOICES, Preprocessing, PreprocessingMissingError

__all__ = [
    "ImageInput",
    "ModelFunction",
    "Preprocessed",
    "black_box",
    "file_digest",
    "from_file",
    "image_input",
    "one_of",
    "sized",
]

Floats = NDArray[np.float32]
Outputs = Mapping[str, NDArray[Any]]
Side = int | None

_OF_IMAGES = (1, 3, 4)  # channels
_TO_FIRST = (0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class ModelFunction:
    """A model as a function of its own input.

    Attributes:
        run: the function from preprocessed images, float32 (N, H, W, C), to its output, or several in a list or
            dictionary.
        name: the model's name in tables.
        size: (height, width) of its input; None where it is not known.
        channels: the number of channels of its input; None if it is not known.
        identity: a digest of its weights or file; empty if there is none.
        takes_bytes: whether it takes whole numbers in 0..255, so that it preprocesses them itself.
    """

    run: Callable[[Floats], Any]
    name: str
    size: tuple[Side, Side] = (None, None)
    channels: int | None = None
    identity: str = ""
    takes_bytes: bool = False


class FileFunction(Protocol):
    """A function from preprocessed images, float32 (N, H, W, C), to outputs by name; ``input`` is what it takes."""

    input: ImageInput

    def __call__(self, images: Floats) -> Outputs:
        """Return the outputs."""


@dataclass(frozen=True)
class ImageInput:
    """The input of a model, read off its shape.

    Attributes:
        size: (height, width); None where the model leaves it open.
        channels: the number of channels; None if it is open.
        channels_first: whether the channels come before height and width.
        batch: the only number of images that one pass takes; None = any.
    """

    size: tuple[Side, Side]
    channels: int | None
    channels_first: bool
    batch: int | None

    def run(self, function: Callable[[Floats], Outputs], images: Floats) -> Outputs:
        """Return the outputs of images (N, H, W, C) of a function with this input, in as many passes as it needs.

        Args:
            function: the function from images in the model's own order of axes to outputs by name.
            images: the images.
        """
        if self.channels_first:
            images = np.ascontiguousarray(images.transpose(_TO_FIRST))
        if self.batch is None:
            return function(images)
        parts = []
        for start in range(0, len(images), self.batch):
            chunk = images[start : start + self.batch]
            filled = np.concatenate([chunk, np.repeat(chunk[-1:], self.batch - len(chunk), axis=0)])
            parts.append({name: np.asarray(values)[: len(chunk)] for name, values in function(filled).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def from_file(function: FileFunction, path: Path, *, takes_bytes: bool) -> ModelFunction:
    """Return a model that was read from a file.

    Args:
        function: the function, with its input.
        path: the file.
        takes_bytes: whether it takes whole numbers in 0..255, so that it preprocesses them itself.
    """
    size, channels = function.input.size, function.input.channels
    return ModelFunction(function, path.name, size, channels, file_digest(path), takes_bytes=takes_bytes)


def image_input(shape: Sequence[Side], name: str, *, channels_first: bool) -> ImageInput:
    """Return what the shape of an input says of the images that it takes.

    1, 3 or 4 are taken for channels; where that decides nothing, two equal sides are height and width.

    Args:
        shape: the shape, None where it is open.
        name: the model's name in messages.
        channels_first: the order to take where the shape leaves it open.

    Raises:
        ModelError: not four axes.
    """
    if len(shape) != 4:
        raise ModelError(
            f"model '{name}' takes inputs of shape {_text(shape)}; images are needed, (N, height, width, channels) or "
            "(N, channels, height, width): wrap it in a function, --model module:function"
        )
    batch, second, third, fourth = shape
    likely = [side in _OF_IMAGES for side in (second, fourth)]
    if likely[0] == likely[1]:
        likely = [second is not None and fourth is None, fourth is not None and second is None]
    if likely[0] == likely[1]:
        likely = [second != third == fourth is not None, fourth != third == second is not None]
    first = likely[0] if likely[0] != likely[1] else channels_first
    size, channels = ((third, fourth), second) if first else ((second, third), fourth)
    return ImageInput(size, channels, first, batch)


def _text(shape: Sequence[Side]) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A function of pixels in 0..255: preprocessing, the model, one of its outputs.

    Attributes:
        model: the model.
        preprocessing: what is done to the pixels.
        output_name: the output; None if it is the only one.
    """

    model: ModelFunction
    preprocessing: Preprocessing
    output_name: str | None

    def __call__(self, images: Floats) -> Any:  # noqa: ANN401 - what the model returns
        """Return the output of images (N, H, W, C) in 0..255."""
        given = np.asarray(self.preprocessing(tf.constant(images)), dtype=np.float32)
        return one_of(self.model.run(given), self.output_name, self.model.name)


def black_box(
    model: ModelFunction, preprocess: str | None, input_size: tuple[int, int] | None, output_name: str | None
) -> tuple[BlackBox, str]:
    """Return a model as a black box, and its preprocessing as the value of ``--preprocess``.

    Args:
        model: the model.
        preprocess: the value of ``--preprocess``.
        input_size: the value of ``--input-size``.
        output_name: the value of ``--output-name``.

    Raises:
        ModelError: the preprocessing or the input size is not known, or does not fit.
        ConfigError: the input size contradicts the model's own.
    """
    size, channels = sized(model, input_size), model.channels or 3
    if preprocess is None and not model.takes_bytes:
        raise PreprocessingMissingError(
            f"--model '{model.name}' does not say how its input is preprocessed; add --preprocess with what it was "
            f"trained with: {CHOICES}"
        )
    preprocessing = Preprocessing.parse(preprocess or "none").fitted((*size, channels))
    if model.takes_bytes and preprocessing.text != "none":
        raise ModelError(
            f"--preprocess {preprocessing.text} does not fit model '{model.name}', which takes whole numbers in 0..255 "
            "and so preprocesses them itself; leave the option out"
        )
    function = Preprocessed(model, preprocessing, output_name)
    identity = f"{model.identity}|{preprocessing.identity}"
    return BlackBox(function, size, channels, model.name, identity), preprocessing.text


def sized(model: ModelFunction, given: tuple[int, int] | None) -> tuple[int, int]:
    """Return (height, width) of a model's input.

    Raises:
        ModelError: neither the model nor ``--input-size`` says it.
        ConfigError: they contradict each other.
    """
    sides = [own or (given[axis] if given else None) for axis, own in enumerate(model.size)]
    if given and sides != list(given):
        raise ConfigError(
            f"--input-size {given[0]}x{given[1]} contradicts model '{model.name}', whose input is "
            f"{' x '.join('any' if side is None else str(side) for side in model.size)} (height x width); leave the "
            "option out"
        )
    height, width = sides
    if height is None or width is None:
        raise ModelError(
            f"model '{model.name}' does not say the size of its input; add --input-size with the size of the images "
            "that it was trained on, for example --input-size 224"
        )
    return height, width


def file_digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def one_of(outputs: Any, name: str | None, model: str) -> Any:  # noqa: ANN401 - what the model returns
    """Return one of a model's outputs.

    Args:
        outputs: one output, or several in a list or dictionary.
        name: its name, or its number from 0; None if there is one.
        model: the model's name in messages.

    Raises:
        ModelError: the model has several outputs and none is named, or none of that name.
    """
    if isinstance(outputs, list | tuple):
        outputs = {str(number): one for number, one in enumerate(outputs)}
    if not isinstance(outputs, Mapping):
        outputs = {"0": outputs}
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    listed = ", ".join(f"{key} {tuple(np.shape(one))}" for key, one in outputs.items())
    if name is None:
        raise ModelError(
            f"model '{model}' has {len(outputs)} outputs: {listed}; name the class scores with --output-name, e.g. "
            f"--output-name {next(iter(outputs), 0)}"
        )
    if name in outputs:
        return outputs[name]
    if name.isdecimal() and int(name) < len(outputs):
        return list(outputs.values())[int(name)]
    raise ModelError(
        f"--output-name '{name}': model '{model}' has no such output; {nearest(name, outputs)}, or 0 to "
        f"{len(outputs) - 1}"
    )
