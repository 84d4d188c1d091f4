"""Maps made of gradients of the class logit with respect to the pixels: plain, times the input, guided, smoothed."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, ModelError
from evalkit.core.randomness import generator
from evalkit.explainers.base import Explainer, Family, Maps, Need, Outputs, Photos
from evalkit.explainers.controls import image_digest
from evalkit.explainers.fills import Baseline, filled

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = [
    "Attributions",
    "Gradient",
    "GradientTimesInput",
    "GuidedBackprop",
    "InputExplainer",
    "Reduce",
    "SmoothGrad",
    "baselines",
    "check_baseline",
    "require_at_least",
]

Attributions = NDArray[np.float64]
Reduce = Literal["abs_max", "abs_sum", "sum"]


@dataclass(frozen=True)
class InputExplainer(Explainer):
    """Base class of explainers that give every channel of every pixel a number, and reduce it to one a pixel.

    Attributes:
        reduce: how the channels of a pixel become one number: ``abs_max``, the largest absolute value; ``abs_sum``, the
            sum of absolute values; ``sum``.
    """

    family: ClassVar[Family] = "gradients"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    guided: ClassVar[bool] = False
    reduce: Reduce = "abs_max"

    @abstractmethod
    def attributions(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Attributions:
        """Return the numbers before the reduction, float64 (B, H, W, C); arguments as ``explain``."""

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the reduced attributions, float64 (B, H, W)."""
        return self.reduced(self.attributions(classifier, images, targets))

    def reduced(self, attributions: Attributions) -> Maps:
        """Return one number a pixel, float64 (B, H, W).

        Args:
            attributions: float64 (B, H, W, C).
        """
        if self.reduce == "sum":
            return np.asarray(attributions.sum(axis=3))
        magnitudes = np.abs(attributions)
        return np.asarray(magnitudes.max(axis=3) if self.reduce == "abs_max" else magnitudes.sum(axis=3))

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 1."""
        return 1

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 1."""
        return 1

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if no gradient reaches the pixels."""
        super().check(classifier)
        reason = classifier.input_gradients.reason_against(guided=self.guided)
        if reason:
            raise ModelError(f"{self.text}: model '{classifier.name}' {reason}; use {self._instead}")

    @property
    def _instead(self) -> str:
        return "occlusion, which needs only scores"


@dataclass(frozen=True)
class Gradient(InputExplainer):
    """The gradient of the class logit with respect to the pixels (saliency).

    Attributes:
        reduce: how the channels of a pixel become one number: ``abs_max``, the largest absolute value, as in the paper;
            ``abs_sum``, the sum of absolute values; ``sum``.

    Reference: Simonyan et al., "Deep Inside Convolutional Networks", 2013, section 3.
    """

    name: ClassVar[str] = "gradient"
    method: ClassVar[str] = "one pass forward, one back"
    cost: ClassVar[str] = "1 F + 1 B"
    summary: ClassVar[str] = "gradient of the logit at every pixel"
    reference: ClassVar[str] = "Simonyan et al., 2013 (arXiv 1312.6034), section 3"

    def attributions(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Attributions:
        """Return dz/dx, float64 (B, H, W, C)."""
        return classifier.input_gradients(images, targets).astype(np.float64)


@dataclass(frozen=True)
class GradientTimesInput(InputExplainer):
    """The gradient times the difference of the photo from a baseline.

    Attributes:
        baseline: the image that the photo is compared with: mean (the mean color), black, white, gray (127.5), or blur
            (RISE's, of the photo itself).

    Reference: Shrikumar et al., "Not Just a Black Box", 2016, whose baseline is 0 in the model's own input.
    """

    name: ClassVar[str] = "gradient_x_input"
    method: ClassVar[str] = "one pass forward, one back"
    cost: ClassVar[str] = "1 F + 1 B"
    summary: ClassVar[str] = "gradient times (photo - baseline)"
    reference: ClassVar[str] = "Shrikumar et al., 2016 (arXiv 1605.01713)"
    reduce: Reduce = "sum"
    baseline: Baseline = "mean"

    @property
    def substrate(self) -> str:
        """The baseline: ``mean`` and ``blur`` are made as the substrates of metrics are."""
        return self.baseline

    def attributions(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Attributions:
        """Return (x - baseline) dz/dx, float64 (B, H, W, C)."""
        difference = images.astype(np.float64) - baselines(self.baseline, images, classifier)
        return difference * classifier.input_gradients(images, targets)

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if no gradient reaches the pixels, or the mean color is needed and not known."""
        super().check(classifier)
        check_baseline(self.text, self.baseline, classifier)


@dataclass(frozen=True)
class GuidedBackprop(InputExplainer):
    """The gradient where every ReLU passes on only positive gradients.

    It hardly depends on the class and on the weights of upper layers (Adebayo et al., NeurIPS 2018; Nie et al., ICML
    2018): it is close to an edge detector.

    Reference: Springenberg et al., "Striving for Simplicity", 2014, section 3.4.
    """

    name: ClassVar[str] = "guided_backprop"
    guided: ClassVar[bool] = True
    method: ClassVar[str] = "one pass forward, one back"
    cost: ClassVar[str] = "1 F + 1 B"
    summary: ClassVar[str] = "positive gradients; fails sanity checks"
    reference: ClassVar[str] = "Springenberg et al., 2014 (arXiv 1412.6806), section 3.4"

    def attributions(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Attributions:
        """Return the guided gradient, float64 (B, H, W, C)."""
        return classifier.input_gradients(images, targets, guided=True).astype(np.float64)

    @property
    def _instead(self) -> str:
        return "gradient"


@dataclass(frozen=True)
class SmoothGrad(InputExplainer):
    """The mean gradient over noisy copies of the photo; the channels are reduced after the mean.

    Attributes:
        samples: the number of noisy copies.
        noise: the standard deviation of the Gaussian noise, in steps of a pixel's value in 0..255; 25 is 10 % of the
            range. Noisy pixels are not clipped, so that the noise has mean 0 at black and white pixels, too.
        seed: Random seed; the run's seed if not given.

    Reference: Smilkov et al., "SmoothGrad", 2017, section 3.
    """

    name: ClassVar[str] = "smoothgrad"
    draws: ClassVar[bool] = True
    method: ClassVar[str] = "passes of noisy copies"
    cost: ClassVar[str] = "50 F + 50 B"
    summary: ClassVar[str] = "mean gradient over noisy copies"
    reference: ClassVar[str] = "Smilkov et al., 2017 (arXiv 1706.03825), section 3"
    samples: int = 50
    noise: float = 25.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges, and store whole numbers of noise as floats."""
        require_at_least(self.name, "samples", self.samples, 1)
        require_at_least(self.name, "noise", self.noise, 0)
        object.__setattr__(self, "noise", float(self.noise))

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of noisy copies."""
        return self.samples

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of noisy copies."""
        return self.samples

    def attributions(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Attributions:
        """Return the mean gradient, float64 (B, H, W, C)."""
        return np.stack([self._mean_gradient(classifier, *one) for one in zip(images, targets, strict=True)])

    def _mean_gradient(self, classifier: Classifier, image: NDArray[np.uint8], target: Outputs) -> Attributions:
        total, digest = np.zeros(image.shape), image_digest(image)

        def noisy(start: int, stop: int) -> NDArray[np.float32]:
            # A generator for each copy: a batch that did not fit into memory is made again.
            drawn = [
                generator(self.seed, digest, "smoothgrad", index).standard_normal(image.shape, dtype=np.float32)
                for index in range(start, stop)
            ]
            return image.astype(np.float32) + np.float32(self.noise) * np.stack(drawn)

        def add(_: int, gradients: NDArray[np.float32]) -> None:
            total[...] += gradients.sum(axis=0, dtype=np.float64)

        classifier.input_gradients.at_each(self.samples, noisy, target, add)
        return total / self.samples


def require_at_least(explainer: str, name: str, value: float, least: int) -> None:
    """Raise ConfigError if a parameter is less than allowed, or not finite."""
    if not least <= value < math.inf:
        raise ConfigError(f"{explainer}: {name}={value} is not allowed; a number of at least {least} is needed")


def baselines(baseline: Baseline, images: Photos, classifier: Classifier) -> NDArray[np.float32]:
    """Return the baseline of each image, float32, of the shape of the images.

    Args:
        baseline: the parameter of the explainer.
        images: the images, (B, H, W, C) in 0..255.
        classifier: the model, which knows the mean color.
    """
    return np.stack([filled(baseline, image.astype(np.float32), classifier) for image in images])


def check_baseline(text: str, baseline: Baseline, classifier: Classifier) -> None:
    """Raise ModelError if a baseline needs the mean color, and it is not known.

    Args:
        text: the explainer's spec.
        baseline: its baseline.
        classifier: the model.
    """
    if baseline not in ("mean", "blur"):
        return
    try:
        classifier.required_mean_color()
    except ModelError as error:
        raise ModelError(
            f"{text}: baseline={baseline} needs the mean color, and that of images which are not RGB is known of an "
            f"image set only; model '{classifier.name}' takes other channels: use baseline=black, white or gray, or "
            "run it on a set"
        ) from error
