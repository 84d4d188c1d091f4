"""Attributions by gradients on straight paths from a baseline to the photo: integrated and expected gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.randomness import generator
from evalkit.explainers.base import MapFacts, Maps, Outputs, Photos
from evalkit.explainers.controls import image_digest
from evalkit.explainers.fills import Baseline
from evalkit.explainers.gradients import (
    Attributions,
    InputExplainer,
    Reduce,
    baselines,
    check_baseline,
    require_at_least,
)

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["ACCEPTED_RESIDUAL", "ExpectedGradients", "IntegratedGradients"]

_MOST_STEPS = 2_000  # that are advised
ACCEPTED_RESIDUAL = 0.05
"""The largest completeness residual that is not mentioned."""


@dataclass(frozen=True)
class IntegratedGradients(InputExplainer):
    """(photo - baseline) times the mean gradient on the straight path from the baseline to the photo.

    The mean is that of the trapezoidal rule over equally spaced points, which include both ends of the path.

    Attributes:
        steps: the number of points.
        baseline: where the path starts: mean (the mean color), black, white, gray (127.5), or blur (RISE's, of the
            photo itself).

    Reference: Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, section 3.
    """

    name: ClassVar[str] = "integrated_gradients"
    method: ClassVar[str] = "passes along a path"
    cost: ClassVar[str] = "50 F + 50 B"
    summary: ClassVar[str] = "mean gradient on the way from a baseline"
    reference: ClassVar[str] = "Sundararajan et al., ICML 2017, section 3"
    reduce: Reduce = "sum"
    steps: int = 50
    baseline: Baseline = "mean"

    def __post_init__(self) -> None:
        """Check the number of steps."""
        require_at_least(self.name, "steps", self.steps, 2)

    @property
    def substrate(self) -> str:
        """The baseline: ``mean`` and ``blur`` are made as the substrates of metrics are."""
        return self.baseline

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of steps, which include the two ends that the residual needs."""
        return self.steps

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of steps."""
        return self.steps

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if no gradient reaches the pixels, or the mean color is needed and not known."""
        super().check(classifier)
        check_baseline(self.text, self.baseline, classifier)

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the reduced attributions, float64 (B, H, W)."""
        return IntegratedGradients.explain_with_facts(self, classifier, images, targets)[0]

    def explain_with_facts(
        self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]
    ) -> tuple[Maps, list[MapFacts]]:
        """Return the maps, and the completeness residual of each, NaN where it is undefined.

        It is |sum of the attributions - (z(x) - z(x'))| / |z(x) - z(x')|, before the channels are reduced; undefined
        where both ends have the same logit.
        """
        starts = baselines(self.baseline, images, classifier)
        along = [self._along(classifier, *one) for one in zip(images, starts, targets, strict=True)]
        attributions = np.stack([one for one, _ in along])
        change = np.array([logits[-1] - logits[0] for _, logits in along])
        with np.errstate(divide="ignore", invalid="ignore"):
            residuals = np.abs(attributions.sum(axis=(1, 2, 3)) / change - 1)
        # NaN is stored, so that the images without a residual are counted.
        facts = [MapFacts(values={"residual": float(one) if np.isfinite(one) else math.nan}) for one in residuals]
        return self.reduced(attributions), facts

    def attributions(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Attributions:
        """Return (x - x') times the mean gradient, float64 (B, H, W, C)."""
        starts = baselines(self.baseline, images, classifier)
        return np.stack([self._along(classifier, *one)[0] for one in zip(images, starts, targets, strict=True)])

    def _along(
        self, classifier: Classifier, image: NDArray[np.uint8], start: NDArray[np.float32], target: Outputs
    ) -> tuple[Attributions, NDArray[np.float64]]:
        """Return the attributions of one image, and the logits at the points of the path."""
        difference = image.astype(np.float32) - start
        shares = np.linspace(0, 1, self.steps, dtype=np.float32)[:, None, None, None]
        weights = np.full(self.steps, 1 / (self.steps - 1))
        weights[[0, -1]] /= 2
        total = np.zeros(image.shape)

        def points(first: int, last: int) -> NDArray[np.float32]:
            return start + shares[first:last] * difference

        def add(first: int, gradients: NDArray[np.float32]) -> None:
            total[...] += np.tensordot(weights[first : first + len(gradients)], gradients, axes=1)

        logits = classifier.input_gradients.at_each(self.steps, points, target, add)
        return difference * total, logits

    def sentences(self, facts: Sequence[Mapping[str, float]]) -> list[str]:
        """Return a sentence if any residual is above 5 %, and one if any is undefined."""
        given = np.array([one.get("residual", math.nan) for one in facts])
        residuals = given[np.isfinite(given)]
        found, undefined = [], len(given) - len(residuals)
        above = int((residuals > ACCEPTED_RESIDUAL).sum())
        if above:
            wanted = math.ceil(self.steps * residuals.max() / ACCEPTED_RESIDUAL / 10) * 10
            advice = f"about steps={wanted} would do"
            if wanted > _MOST_STEPS:
                advice = "where photo and baseline have nearly the same logit, no number of steps is known to do"
            found.append(
                f"the attributions do not add up to the change of the logit within 5 % on {above} of "
                f"{len(facts)} images (largest residual {100 * residuals.max():.0f} %); {advice}"
            )
        if undefined:
            found.append(
                f"whether the attributions add up is undefined on {undefined} of {len(facts)} images, "
                "where photo and baseline have the same logit"
            )
        return found


@dataclass(frozen=True)
class ExpectedGradients(InputExplainer):
    """The mean of (photo - reference) times the gradient at a point between both, over references from the image set.

    Sample i uses the next reference of an order drawn for the photo, and a point drawn from the i-th of ``samples``
    equal parts of the path.

    Attributes:
        samples: the number of samples.
        seed: Random seed; the run's seed if not given.

    Reference: Erion et al., "Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients", Nature Machine Intelligence 2021, equation 2.
    """

    name: ClassVar[str] = "expected_gradients"
    draws: ClassVar[bool] = True
    uses_references: ClassVar[bool] = True
    method: ClassVar[str] = "passes along paths"
    cost: ClassVar[str] = "50 F + 50 B"
    summary: ClassVar[str] = "mean gradient on the way from other images"
    reference: ClassVar[str] = "Erion et al., Nature Machine Intelligence 2021 (arXiv 1906.10670)"
    reduce: Reduce = "sum"
    samples: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the number of samples."""
        require_at_least(self.name, "samples", self.samples, 1)

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of samples."""
        return self.samples

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of samples."""
        return self.samples

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if no gradient reaches the pixels, or there is no image set."""
        super().check(classifier)
        self._references(classifier)

    def attributions(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Attributions:
        """Return the mean of (x - x') dz/dx(x' + a (x - x')), float64 (B, H, W, C)."""
        references = self._references(classifier)
        return np.stack([self._mean_over(references, classifier, *one) for one in zip(images, targets, strict=True)])

    def _mean_over(
        self, references: Photos, classifier: Classifier, image: NDArray[np.uint8], target: Outputs
    ) -> Attributions:
        draw = generator(self.seed, image_digest(image), "expected_gradients")
        chosen = np.resize(draw.permutation(len(references)), self.samples)
        shares = ((np.arange(self.samples) + draw.random(self.samples)) / self.samples).astype(np.float32)
        photo, total = image.astype(np.float32), np.zeros(image.shape)

        def differences(first: int, last: int) -> NDArray[np.float32]:
            return photo - references[chosen[first:last]].astype(np.float32)

        def points(first: int, last: int) -> NDArray[np.float32]:
            return photo - (1 - shares[first:last, None, None, None]) * differences(first, last)

        def add(first: int, gradients: NDArray[np.float32]) -> None:
            total[...] += (differences(first, first + len(gradients)) * gradients).sum(axis=0, dtype=np.float64)

        classifier.input_gradients.at_each(self.samples, points, target, add)
        return total / self.samples

    def _references(self, classifier: Classifier) -> Photos:
        references: Photos | None = classifier.references
        if references is None or not len(references):
            raise ModelError(
                f"{self.text}: its baselines are other images of the set, and there is no image set here; use "
                "integrated_gradients, which has one baseline"
            )
        return references
