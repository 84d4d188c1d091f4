"""Finds the head of a model by what it puts out; the names of its last operations only say where its logits are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.models.heads import SUM_TOLERANCE, Head
from evalkit.models.probabilities import sigmoid, softmax

__all__ = ["Seen", "find_head", "probe_images"]

N_PROBES = 6
_SAME = 1e-4  # of float32 scores, computed in another order
_HALF = 2e-2  # of scores in float16 or bfloat16
_ROUNDED = 1e-5  # how far below 0 or above 1 a probability such as 1 - p1 - p2 may be, by rounding
# Activations after which outputs in 0..1 may be meant as probabilities; after any other they are there by chance.
_UNIT_ENDS = ("", "sigmoid", "hard_sigmoid", "softmax")

Floats = NDArray[np.float64]


def probe_images(size: tuple[int, int], channels: int) -> NDArray[np.float32]:
    """Return the images on which models are looked at: black, white, and seeded noise, float32 (6, H, W, C) in 0..255.

    Args:
        size: (height, width) in pixels.
        channels: the number of channels.
    """
    rng = np.random.default_rng(0)
    shape = (*size, channels)
    flat = [np.full(shape, value) for value in (0.0, 255.0)]
    colors = [np.broadcast_to(rng.uniform(0, 255, channels), shape) for _ in range(2)]
    noise = [rng.uniform(0, 255, shape) for _ in range(N_PROBES - 4)]
    # Whole numbers, as in photos: a model may take uint8.
    return np.rint([*flat, *colors, *noise]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen of a model.

    Attributes:
        name: the model's name.
        outputs: its outputs on the probe images, float64 (N, R).
        activation: the activation it ends in: ``linear`` after a dense layer or a convolution without one; empty if
            unknown.
        end: the name of the operation with that activation.
        logits: what enters a softmax or sigmoid at its end, float64 (N, R); None if there is none.
        unit: of two outputs p and 1 - p of one sigmoid unit, the one that is p; None of any others.
        is_bounded: False if outputs of images far outside 0..255 leave 0..1, so that they are no probabilities.
        is_half: True if it computes in fewer digits than those of float32.
    """

    name: str
    outputs: Floats
    activation: str = ""
    end: str = ""
    logits: Floats | None = None
    unit: int | None = None
    is_bounded: bool = True
    is_half: bool = False

    def of_finite_outputs(self) -> Seen:
        """Return the same without the images on which an output is not finite; itself if that is so on all."""
        finite = np.isfinite(self.outputs).all(axis=1)
        if not finite.any():
            return self
        logits = None if self.logits is None else self.logits[finite]
        return replace(self, outputs=self.outputs[finite], logits=logits)

    @property
    def count(self) -> int:
        """The number of outputs."""
        return int(self.outputs.shape[1])

    @property
    def is_finite(self) -> bool:
        """Whether all outputs are finite."""
        return bool(np.isfinite(self.outputs).all())

    @property
    def are_unit(self) -> bool:
        """Whether all outputs lie in 0..1."""
        return bool(((self.outputs >= -_ROUNDED) & (self.outputs <= 1 + _ROUNDED)).all())

    @property
    def may_be_probabilities(self) -> bool:
        """Whether all outputs lie in 0..1, and not by chance as far as is known."""
        return self.are_unit and self.is_bounded and self.activation in _UNIT_ENDS

    @property
    def sum_to_one(self) -> bool:
        """Whether the outputs are at least 0 and sum to 1 on every probe image."""
        tolerance = SUM_TOLERANCE if self.is_half else 1e-3
        sums = self.outputs.sum(axis=1)
        return self.count > 1 and bool((self.outputs >= -_ROUNDED).all() and (np.abs(sums - 1) <= tolerance).all())

    @property
    def reaches_logits(self) -> bool:
        """Whether the activation at the end, applied to what enters it, gives the outputs."""
        if self.logits is None:
            return False
        if not self.is_finite:
            return True  # nothing to compare
        expected = softmax(self.logits) if self.activation == "softmax" else sigmoid(self.logits)
        return bool(np.allclose(expected, self.outputs, rtol=0, atol=_HALF if self.is_half else _SAME))


def find_head(seen: Seen, asked: str = "auto") -> Head:
    """Return the head of a model.

    Args:
        seen: the model's outputs and end.
        asked: ``auto``, or the kind of head that the user names.

    Raises:
        ModelError: the end is ambiguous, or the head asked for contradicts the outputs.
    """
    seen = seen.of_finite_outputs()
    if asked in ("auto", "sigmoid") and seen.unit is not None:
        return Head("sigmoid", 2, unit=seen.unit)
    if asked == "auto":
        return _found(seen)
    if asked == "sigmoid" and seen.count != 1:
        raise _contradiction(seen, asked, f"has {seen.count} outputs, and one unit is needed")
    if asked in ("softmax", "multilabel") and seen.count == 1:
        raise _contradiction(seen, asked, "has one output", "--head sigmoid is for one unit")
    if asked == "probabilities":
        return _as_probabilities(seen)
    reached = seen.reaches_logits
    if asked in ("softmax", "multilabel") and seen.sum_to_one and not (asked == "softmax" and reached):
        fitting = "softmax" if reached and seen.activation == "softmax" else "probabilities"
        raise _contradiction(seen, asked, "puts out probabilities that sum to 1", f"use --head {fitting}, or auto")
    if asked == "multilabel" and seen.are_unit and seen.is_bounded and not reached and seen.activation != "linear":
        return Head("multilabel", seen.count, from_logits=False)
    if asked == "sigmoid" and seen.may_be_probabilities and not reached:
        return Head("sigmoid", 1, from_logits=False)
    kind = {"softmax": "softmax", "sigmoid": "sigmoid", "multilabel": "sigmoid"}[asked]
    return Head(asked, seen.count, ending=reached and seen.activation == kind)  # type: ignore[arg-type]


def _found(seen: Seen) -> Head:
    single = seen.count == 1
    if seen.reaches_logits:
        if seen.activation == "softmax":
            if single:
                raise ModelError(
                    f"model '{seen.name}' ends in a softmax over one output ('{seen.end}'), which is always 1; end it "
                    "in a sigmoid, or in two outputs"
                )
            return Head("softmax", seen.count)
        return Head("sigmoid" if single else "multilabel", seen.count)
    of_logits = Head("sigmoid" if single else "softmax", seen.count, ending=False)
    if not seen.is_finite:
        if seen.activation == "linear":
            return of_logits
        raise ModelError(
            f"model '{seen.name}' puts out NaN or infinite numbers on {N_PROBES} probe images, so its scores cannot be "
            "understood; check its weights and --preprocess"
        )
    if seen.sum_to_one:
        return Head("probabilities", seen.count, from_logits=False)
    if seen.activation in ("linear", "log_softmax"):
        return of_logits
    if seen.may_be_probabilities:
        return Head("sigmoid" if single else "multilabel", seen.count, from_logits=False)
    if seen.activation == "" and (seen.outputs < 0).any():
        return of_logits
    raise _question(seen)


def _as_probabilities(seen: Seen) -> Head:
    if seen.count == 1 and seen.are_unit:
        return Head("sigmoid", 1, from_logits=False)
    if seen.sum_to_one:
        return Head("probabilities", seen.count, from_logits=False)
    lowest, highest = seen.outputs.min(), seen.outputs.max()
    why = f"puts out numbers from {lowest:.3g} to {highest:.3g} on {N_PROBES} probe images"
    other = (
        "they do not sum to 1; a probability for each class is --head multilabel" if seen.are_unit else "leave it out"
    )
    raise _contradiction(seen, "probabilities", why, other)


def _contradiction(seen: Seen, asked: str, why: str, instead: str = "leave it out") -> ModelError:
    return ModelError(f"--head {asked} does not fit model '{seen.name}', which {why}; {instead}")


def _question(seen: Seen) -> ModelError:
    lowest, highest = seen.outputs.min(), seen.outputs.max()
    activation = f" in {seen.activation}" if seen.activation else ""
    if seen.count == 1:
        options = "--head sigmoid if it is the logit of class 1, or --head probabilities if it is its probability"
    else:
        options = (
            "--head softmax if they are the logits of classes that exclude each other, or --head multilabel if each is "
            "the logit of a class of its own"
        )
    return ModelError(
        f"model '{seen.name}' ends{activation} ('{seen.end}'), and its outputs on {N_PROBES} probe images are from "
        f"{lowest:.3g} to {highest:.3g}: neither surely logits nor surely probabilities; write {options}"
    )
