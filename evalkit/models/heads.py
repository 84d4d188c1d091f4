"""Heads: how the outputs of a model become scores of classes.

All work is on class logits, float64 (..., C), that ``Head.class_logits`` makes of a model's outputs, so that a score
and its complement are exact wherever the logits of the model can be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.models import probabilities
from evalkit.models.probabilities import Outputs, outputs_of

__all__ = ["HEAD_KINDS", "RIGHT_FROM", "SUM_TOLERANCE", "Head", "HeadKind"]

Floats = NDArray[np.float64]
HeadKind = Literal["softmax", "sigmoid", "multilabel", "probabilities"]
HEAD_KINDS: tuple[HeadKind, ...] = ("softmax", "sigmoid", "multilabel", "probabilities")

RIGHT_FROM = 0.5
"""The score from which a label of a multilabel model counts as right."""


SUM_TOLERANCE = 0.02
"""How far the sum of probabilities may be from 1; of bfloat16 outputs it may be 0.01."""

_ROUNDING = 1e-3


@dataclass(frozen=True)
class Head:
    """How the outputs of a model become scores of classes.

    Attributes:
        kind: ``softmax``; ``sigmoid``: one unit, class 1 is p and class 0 is 1 - p; ``multilabel``: a sigmoid for each
            class; ``probabilities``: outputs that sum to 1, whose logits cannot be reached.
        n_outputs: the number of outputs.
        from_logits: True if the passes return logits; False if they return probabilities.
        ending: True if the model itself ends in the softmax or the sigmoid; False if it returns logits.
        unit: of two outputs p and 1 - p of one sigmoid unit, the one that is p; the other says nothing more.
    """

    kind: HeadKind
    n_outputs: int
    from_logits: bool = True
    ending: bool = True
    unit: int | None = None

    @property
    def n_classes(self) -> int:
        """The number of classes: that of the outputs, or 2 for one unit."""
        return 2 if self.kind == "sigmoid" else self.n_outputs

    @property
    def is_exclusive(self) -> bool:
        """Whether the scores of all classes sum to 1; False if each is a probability of its own."""
        return self.kind != "multilabel"

    @property
    def is_float32(self) -> bool:
        """Whether 1 - p has only the resolution of float32: a single probability, whose logit cannot be reached."""
        return not self.from_logits and self.kind != "probabilities"

    @property
    def text(self) -> str:
        """What was found, in words, for the facts of a run."""
        if self.kind == "probabilities":
            return "probabilities (seen), no logit"
        if not self.from_logits:
            several = "a probability for each class" if self.kind == "multilabel" else "one probability"
            return f"{self.kind}: {several} (seen), no logit, float32 resolution"
        unit = {"softmax": "", "sigmoid": ", one unit", "multilabel": ", a sigmoid for each class"}[self.kind]
        unit += "" if self.unit is None else " (outputs p and 1 - p)"
        return f"{self.kind}{unit}{'' if self.ending else ', of logits'}"

    def class_logits(self, outputs: Floats) -> Floats:
        """Return the logits of all classes, float64 (N, C); infinite where a probability is 0 or 1.

        Args:
            outputs: what the passes return, float64 (N, ``n_outputs``).
        """
        if self.from_logits:
            if self.kind != "sigmoid":
                return outputs
            logits = outputs if self.unit is None else outputs[:, [self.unit]]
            return np.pad(logits, ((0, 0), (0, 1) if self.unit == 0 else (1, 0)))
        outputs = self._as_probabilities(outputs)
        with np.errstate(divide="ignore"):
            if self.kind == "probabilities":
                return np.asarray(np.log(outputs))
            log_p, log_rest = np.log(outputs), np.log1p(-outputs)
        return np.concatenate([log_rest, log_p], axis=-1) if self.kind == "sigmoid" else np.asarray(log_p - log_rest)

    def _as_probabilities(self, outputs: Floats) -> Floats:
        """Return the outputs within 0..1, rounding aside; NaN for an image on which they are no probabilities."""
        wrong = np.asarray(((outputs < -_ROUNDING) | (outputs > 1 + _ROUNDING)).any(axis=-1))
        if self.kind == "probabilities":
            wrong = wrong | (np.abs(outputs.sum(axis=-1) - 1) > SUM_TOLERANCE)
        return np.where(wrong[..., None], np.nan, np.clip(outputs, 0.0, 1.0))

    def scores(self, logits: Floats) -> Floats:
        """Return the score of every class, float64 (..., C) in 0..1.

        Args:
            logits: the class logits, float64 (..., C).
        """
        return probabilities.softmax(logits) if self.is_exclusive else probabilities.sigmoid(logits)

    def log_complement(self, logits: Floats, target: Outputs) -> Floats:
        """Return log(1 - p) of a target, float64 (...), exact where ``1 - p`` itself would round to 0.

        Args:
            logits: the class logits, float64 (..., C).
            target: the class, or the classes whose scores are summed.
        """
        if self.is_exclusive:
            return probabilities.log_complement(logits, target)
        return np.asarray(-np.logaddexp(0.0, logits[..., self._single(target)]))

    def log_odds(self, logits: Floats, target: Outputs) -> Floats:
        """Return log p - log(1 - p) of a target, float64 (...), infinite where p is 0 or 1; arguments as above."""
        if self.is_exclusive:
            return probabilities.log_odds(logits, target)
        return np.asarray(logits[..., self._single(target)])

    def target_logits(self, logits: Floats) -> Floats:
        """Return the number of each class whose gradient explains it, float64 (..., C); arguments as above.

        The logit of a softmax or of a class's own sigmoid; +z or -z of one unit; log p - log(1 - p) where there is no
        logit.
        """
        if self.kind == "sigmoid":
            return np.asarray(logits - logits[..., ::-1])
        if self.kind == "probabilities":
            classes = range(logits.shape[-1])
            return np.stack([probabilities.log_odds(logits, index) for index in classes], axis=-1)
        return logits

    def explained(self, logits: Floats, target: Outputs) -> Floats:
        """Return the number of a target that is explained, float64 (...); arguments as above.

        That of its class as in ``target_logits``; of several outputs the log-sum-exp of their logits, or the log odds
        of the sum of their probabilities where there are no logits.
        """
        outputs = outputs_of(target)
        if self.kind == "probabilities":
            return probabilities.log_odds(logits, target)
        if len(outputs) == 1:
            return np.asarray(self.target_logits(logits)[..., outputs[0]])
        return probabilities.log_sum_exp(np.take(logits, outputs, axis=-1))

    def is_right(self, scores: Floats, targets: Sequence[int]) -> bool:
        """Return whether the model is right: top-1 is a target, or of a multilabel model p >= 0.5.

        Args:
            scores: the scores of all classes of one image, float64 (C,).
            targets: the labelled class, or the several classes of one label; -1 = none, which is never right.
        """
        if not np.isfinite(scores).all():
            return False
        if self.is_exclusive:
            return int(scores.argmax()) in targets
        return bool(max((scores[index] for index in targets if index >= 0), default=0.0) >= RIGHT_FROM)

    @staticmethod
    def _single(target: Outputs) -> int:
        outputs = outputs_of(target)
        if len(outputs) != 1:
            raise ValueError("a class of several outputs has no score in a multilabel model")
        return outputs[0]
