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
from evalkit.explainers.gradients import (
    Attributions,
    Baseline,
    InputExplainer,
    Reduce,
    baselines,
    check_baseline,
    require_at_least,
)

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["ACCEPTED_RESIDUAL", "ExpectedGradients", "IntegratedGradients"]

ACCEPTED_RESIDUAL = 0.05
"""The largest completeness residual that is not mentioned."""


@dataclass(frozen=True)
class IntegratedGradients(InputExplainer):
    """(photo - baseline) times the mean gradient on the straight path from the baseline to the photo.

    The mean is taken at the midpoints of ``steps`` equal parts of the path.

    Attributes:
        steps: the number of points on the path.
        baseline: where the path starts: mean (the mean color), black, white, gray (127.5), or blur (RISE's, of the
            photo itself).
        reduce: see the base class.

    Reference: Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, section 3.
    """

    name: ClassVar[str] = "integrated_gradients"
    method: ClassVar[str] = "passes along a path"
    cost: ClassVar[str] = "52 F + 50 B"
    summary: ClassVar[str] = "(photo - baseline) times the mean gradient on the path between them"
    reference: ClassVar[str] = "Sundararajan et al., ICML 2017, section 3"
    reduce: Reduce = "sum"
    steps: int = 50
    baseline: Baseline = "mean"

    def __post_init__(self) -> None:
        """Check the number of steps."""
        require_at_least(self.name, "steps", self.steps, 1)

    @property
    def substrate(self) -> str:
        """The baseline: ``mean`` and ``blur`` are made as the substrates of metrics are."""
        return self.baseline

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of steps, plus the two ends of the path for the residual."""
        return self.steps + 2

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of steps."""
        return self.steps

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if no gradient reaches the pixels, or the mean color is needed and not known."""
        super().check(classifier)
        check_baseline(self.text, self.baseline, classifier)

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the reduced attributions, float64 (B, H, W)."""
        return self.explain_with_facts(classifier, images, targets)[0]

    def explain_with_facts(
        self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]
    ) -> tuple[Maps, list[MapFacts]]:
        """Return the maps, and the completeness residual of each where it is defined.

        It is |sum of the attributions - (z(x) - z(x'))| / |z(x) - z(x')|, before the channels are reduced; undefined
        where both ends have the same logit, or one has none that is finite.
        """
        attributions = self.attributions(classifier, images, targets)
        ends = images, baselines(self.baseline, images, classifier)
        change = np.subtract(*(classifier.input_gradients.objectives(end, targets) for end in ends))
        with np.errstate(divide="ignore", invalid="ignore"):
            residuals = np.abs(attributions.sum(axis=(1, 2, 3)) / change - 1)
        is_defined = np.isfinite(change) & np.isfinite(residuals)
        facts = [
            MapFacts(values={"residual": float(residual)} if defined else {})
            for residual, defined in zip(residuals, is_defined, strict=True)
        ]
        return self.reduced(attributions), facts

    def attributions(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Attributions:
        """Return (x - x') times the mean gradient, float64 (B, H, W, C)."""
        starts = baselines(self.baseline, images, classifier)
        return np.stack([self._along(classifier, *one) for one in zip(images, starts, targets, strict=True)])

    def _along(
        self, classifier: Classifier, image: NDArray[np.uint8], start: NDArray[np.float32], target: Outputs
    ) -> Attributions:
        difference = image.astype(np.float32) - start
        shares = ((np.arange(self.steps) + 0.5) / self.steps).astype(np.float32)[:, None, None, None]
        total = np.zeros(image.shape)

        def add(_: int, gradients: NDArray[np.float32]) -> None:
            total[...] += gradients.sum(axis=0, dtype=np.float64)

        classifier.input_gradients.at_each(
            self.steps, lambda first, last: start + shares[first:last] * difference, target, add
        )
        return difference * total / self.steps

    def sentences(self, facts: Sequence[Mapping[str, float]]) -> list[str]:
        """Return a sentence if any residual is above 5 %, and one if any is undefined."""
        residuals = np.array([one["residual"] for one in facts if "residual" in one])
        found, undefined = [], len(facts) - len(residuals)
        above = int((residuals > ACCEPTED_RESIDUAL).sum())
        if above:
            wanted = math.ceil(self.steps * residuals.max() / ACCEPTED_RESIDUAL / 10) * 10
            found.append(
                f"{self.text}: the attributions do not add up to the change of the logit within 5 % on {above} of "
                f"{len(facts)} images (largest residual {residuals.max():.0%}); about steps={wanted} would do"
            )
        if undefined:
            found.append(
                f"{self.text}: whether the attributions add up is undefined on {undefined} of {len(facts)} images, "
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
        reduce: see the base class.
        seed: Random seed; the run's seed if not given.

    Reference: Erion et al., "Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients", Nature Machine Intelligence 2021, equation 2.
    """

    name: ClassVar[str] = "expected_gradients"
    draws: ClassVar[bool] = True
    uses_references: ClassVar[bool] = True
    method: ClassVar[str] = "passes along paths"
    cost: ClassVar[str] = "50 F + 50 B"
    summary: ClassVar[str] = "integrated gradients averaged over images of the set as baselines"
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
