"""The values of ``--preprocess``: what is done to RGB pixels in 0..255 before the Keras model gets them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError, nearest
from evalkit.core.imports import first_line, import_object
from evalkit.core.provenance import file_digest
from evalkit.core.specs import simplify
from evalkit.models.applications import APPLICATIONS, PREPROCESS_FAMILIES

__all__ = ["CHOICES", "Preprocessing", "PreprocessingMissingError"]

CHOICES = (
    "none (the model takes 0..255), 0..1 (x / 255), -1..1 (x / 127.5 - 1), imagenet-torch, mean=...,std=... (of pixels "
    "in 0..1), module:function, or a keras.applications family: " + ", ".join(PREPROCESS_FAMILIES[1:])
)
"""What ``--preprocess`` takes, for messages."""

Floats = NDArray[np.float32]
Tensor = Any
Shape = tuple[int, int, int]

_TORCH = "imagenet-torch"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# What people write for these, as ``simplify`` leaves it.
_MEANT = {"caffe": "vgg16", "tf": "-1..1", "torch": _TORCH, "imagenet": _TORCH, "rescale": "0..1", "rescaling": "0..1"}
# keras.applications reverses and centers three channels in these; the others treat every channel alike.
_THREE_CHANNELS = ("densenet", "resnet", "vgg16", "vgg19")
_EQUAL = 1e-5  # of the range of a function's outputs
_PROBES = 3


class PreprocessingMissingError(ModelError):
    """Neither the options nor the model say how pixels are preprocessed."""


@dataclass(frozen=True)
class _Family:
    """The ``preprocess_input`` of a module of ``keras.applications``, or nothing for ``none``."""

    name: str

    def __call__(self, images: Tensor) -> Tensor:
        import keras
        import tensorflow as tf

        if self.name == "none":
            return tf.identity(images)
        # Images have their channels last here, whatever keras.json says.
        return getattr(keras.applications, self.name).preprocess_input(images, data_format="channels_last")


@dataclass(frozen=True)
class _Range:
    """Pixels in ``low``..``high`` instead of 0..255."""

    low: float
    high: float

    def __call__(self, images: Tensor) -> Tensor:
        return images / (255.0 / (self.high - self.low)) + self.low


@dataclass(frozen=True)
class _Standardized:
    """Pixels in 0..1 minus a mean, over a standard deviation; one number, or one for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = np.asarray(self.mean, dtype=np.float32), np.asarray(self.std, dtype=np.float32)
        return (images / 255.0 - mean) / std


@dataclass(frozen=True)
class _Function:
    """A user's function of a float32 array in 0..255."""

    target: str

    def __call__(self, images: Tensor) -> Tensor:
        import tensorflow as tf

        # As NumPy, so that functions of NumPy, TensorFlow and PyTorch all work.
        changed = tf.numpy_function(self.on_array, [images], tf.float32)
        changed.set_shape(images.shape)
        return changed

    def on_array(self, images: Floats) -> Floats:
        function: Any = import_object(self.target, f"--preprocess '{self.target}'", ModelError)
        return np.asarray(function(images.copy()), dtype=np.float32)  # a copy: many functions write into their argument


@dataclass(frozen=True)
class Preprocessing:
    """A function from a float32 tensor (N, H, W, C) in 0..255 to the model's input, of the same shape.

    It can be pickled.

    Attributes:
        text: the value of ``--preprocess`` in its canonical form.
        change: the function.
        pixelwise: whether each pixel depends on that pixel alone, so that images may be composed of preprocessed ones.
        n_channels: the number of channels that it needs; None = any.
        digest: a digest of the code and outputs of a user's function; empty for all others.
    """

    text: str
    change: Callable[[Tensor], Tensor]
    pixelwise: bool = True
    n_channels: int | None = None
    digest: str = ""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the model's input."""
        return self.change(images)

    @property
    def identity(self) -> str:
        """The text for fingerprints: it changes whenever the function does."""
        return f"{self.text}@{self.digest}" if self.digest else self.text

    @classmethod
    def parse(cls, text: object) -> Preprocessing:
        """Return the preprocessing of a value of ``--preprocess``; a user's function is not imported yet.

        Raises:
            ModelError: the value is not allowed.
        """
        if not isinstance(text, str):
            raise ModelError(
                f"preprocess is {type(text).__name__}; give text, and a function of your own as 'module:function'. "
                f"Allowed: {CHOICES}"
            )
        text = text.strip()
        if text in PREPROCESS_FAMILIES:
            return cls(text, _Family(text), n_channels=3 if text in _THREE_CHANNELS else None)
        if text == _TORCH:
            return cls(text, _Standardized(*_IMAGENET), n_channels=3)
        if re.search(r"\b(mean|std)\s*=", text):
            return _standardized(text)
        if ".." in text:
            return _range(text)
        if ":" in text:
            return cls(text, _Function(text))
        raise ModelError(f"--preprocess '{text}' is unknown: {_hint(text)}")

    def fitted(self, shape: Shape) -> Preprocessing:
        """Return the preprocessing for inputs of one shape, after checking that it fits them.

        A user's function is called on random images, which shows whether it is pixelwise.

        Args:
            shape: (height, width, channels) of the model's input.

        Raises:
            ModelError: another number of channels is needed, or a user's function fails, returns another shape, is
                random, or mixes images of a batch.
        """
        if self.n_channels not in (None, shape[2]):
            raise ModelError(
                f"--preprocess {self.text} is for {self.n_channels} channels, but the model's input has {shape[2]}; "
                "give none, 0..1, -1..1, mean=...,std=... or module:function"
            )
        if not isinstance(self.change, _Function):
            return self
        probes, outputs = self._probed(self.change, shape)
        mask = np.random.default_rng(1).random((*shape[:2], 1)) < 0.5
        composed = self._applied(self.change, np.where(mask, probes[:1], probes[1:2]))
        span = float(np.ptp(outputs)) or 1.0
        pixelwise = bool(np.abs(composed - np.where(mask, outputs[:1], outputs[1:2])).max() <= _EQUAL * span)
        return replace(self, pixelwise=pixelwise, digest=_digest(self.change.target, outputs))

    def _probed(self, function: _Function, shape: Shape) -> tuple[Floats, Floats]:
        """Return random images, each darker than the one before, and the function's outputs."""
        brightest = 255.0 / 2 ** np.arange(_PROBES)
        noise = np.random.default_rng(0).random((_PROBES, *shape))
        probes = np.round(noise * brightest[:, None, None, None]).astype(np.float32)
        outputs = self._applied(function, probes)
        close = _EQUAL * (float(np.ptp(outputs)) or 1.0)
        if np.abs(self._applied(function, probes) - outputs).max() > close:
            raise ModelError(
                f"--preprocess '{self.text}' gives other outputs for the same images when it is called again; leave "
                "random augmentation out of it"
            )
        if np.abs(self._applied(function, probes[1:2]) - outputs[1:2]).max() > close:
            raise ModelError(
                f"--preprocess '{self.text}' gives an image other values beside other images of a batch; it must "
                "treat each image (axis 0) on its own"
            )
        return probes, outputs

    def _applied(self, function: _Function, images: Floats) -> Floats:
        try:
            outputs = function.on_array(images)
        except ModelError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ModelError(
                f"--preprocess '{self.text}' fails on a float32 array of shape {images.shape} in 0..255: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        if outputs.shape != images.shape:
            raise ModelError(
                f"--preprocess '{self.text}' returns shape {outputs.shape} for a batch of shape {images.shape}; it "
                "must keep the shape: photos are resized before it, to the model's input"
            )
        if not np.isfinite(outputs).all():
            raise ModelError(f"--preprocess '{self.text}' returns NaN or infinite values for pixels in 0..255")
        return outputs


def _digest(target: str, outputs: Floats) -> str:
    """Return a digest of a function's file and of its outputs, which code elsewhere may change."""
    code = file_digest(import_object(target, f"--preprocess '{target}'", ModelError)) or ""
    scale = float(np.abs(outputs).max()) or 1.0
    # Rounded, because processors differ in the last digit.
    rounded = np.round(outputs[..., :8, :8, :] / scale, 3) + 0.0
    return hashlib.sha256(code.encode() + f"{scale:.3g}".encode() + rounded.astype("<f4").tobytes()).hexdigest()[:16]


def _hint(text: str) -> str:
    application = APPLICATIONS.get(simplify(text))
    meant = application.family if application else _MEANT.get(simplify(text).replace("_", ""))
    if re.fullmatch(r"(x\s*)?([*/]\s*)?(1\.?0?\s*/\s*)?255\.?0?", text):
        meant = "0..1"
    if meant:
        return f"did you mean '{meant}'? Allowed: {CHOICES}"
    close = nearest(text, [*PREPROCESS_FAMILIES, _TORCH]).partition("Allowed: ")[0]
    return f"{close}Allowed: {CHOICES}"


def _range(text: str) -> Preprocessing:
    first, _, second = text.partition("..")
    try:
        low, high = _number(first), _number(second)
    except ValueError:
        low = high = math.nan
    if second.startswith(".") or not low < high:
        raise ModelError(
            f"--preprocess '{text}' is not a range of pixel values; write LOW..HIGH, for example 0..1 or -1..1"
        )
    if (low, high) == (0, 255):
        return Preprocessing.parse("none")
    return Preprocessing(f"{_short(low)}..{_short(high)}", _Range(low, high))


def _standardized(text: str) -> Preprocessing:
    example = "write for example mean=0.5,std=0.5, or one number for each channel, mean=0.485,0.456,0.406,std=..."
    parts = re.split(r"\b(mean|std)\s*=", text)
    keys, values = parts[1::2], parts[2::2]
    if parts[0].strip() or sorted(keys) != ["mean", "std"]:
        raise ModelError(f"--preprocess '{text}' must name mean and std once each; {example}")
    numbers: dict[str, tuple[float, ...]] = {}
    for key, value in zip(keys, values, strict=True):
        try:
            numbers[key] = tuple(_number(part) for part in re.split(r"[,;/\s]+", value.strip(" ,;()[]")))
        except ValueError:
            raise ModelError(f"--preprocess '{text}': {key} '{value}' is not a list of numbers; {example}") from None
    counts = {len(numbers[key]) for key in numbers} - {1}
    if len(counts) > 1:
        raise ModelError(f"--preprocess '{text}': mean and std need one number each, or as many as channels; {example}")
    if max(map(abs, numbers["mean"])) > 1 or not all(0 < number <= 1 for number in numbers["std"]):
        raise ModelError(
            f"--preprocess '{text}': mean and std are those of pixels in 0..1, so mean lies in -1..1 and std is above "
            "0 and at most 1; divide numbers of 0..255 by 255"
        )
    written = ",".join(f"{key}={','.join(map(_short, numbers[key]))}" for key in ("mean", "std"))
    return Preprocessing(written, _Standardized(**numbers), n_channels=next(iter(counts), None))


def _number(text: str) -> float:
    number = float("nan" if "_" in text else text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _short(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
