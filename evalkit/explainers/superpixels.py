"""LIME and KernelSHAP on superpixels: the class's score of the photo while some of its superpixels are hidden."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, NotScored
from evalkit.core.randomness import generator
from evalkit.explainers.base import Explainer, Family, MapFacts, Maps, Need, Outputs, Passes, Photos
from evalkit.explainers.controls import image_digest
from evalkit.explainers.fills import Fill, filled, require_fill
from evalkit.explainers.shapley import coalitions, is_exhaustive, largest_number, shapley_fit
from evalkit.models.probabilities import score_of

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier
    from evalkit.models.heads import Head

__all__ = ["KernelShap", "Lime", "ridge", "superpixels"]

Floats = NDArray[np.float64]
Coalitions = NDArray[np.bool_]

COMPACTNESS = 10.0
KERNEL_WIDTH = 0.25
ALPHA = 1.0
_SLIC = f"slic-{COMPACTNESS:g}"


def superpixels(photo: NDArray[np.uint8 | np.float32], segments: int) -> NDArray[np.int64]:
    """Return the superpixel of each pixel, int64 (H, W), numbered from 0 without gaps.

    In fine texture ``slic`` finds pieces of a few pixels and merges them all: where fewer than half of ``segments``
    are left, its compactness is doubled until they are, up to 1,000 times, which gives a regular grid.

    Args:
        photo: the photo, (H, W, C) in 0..255; RGB is compared in CIELAB, other channels as they are.
        segments: about how many superpixels.
    """
    from skimage.segmentation import slic

    channels = photo.shape[2]
    # Lab has about 100 units from black to white, other channels 1 unit each.
    scale = 1.0 if channels == 3 else channels**0.5 / 100.0
    for compactness in COMPACTNESS * scale * 2.0 ** np.arange(11):
        labels = slic(photo.astype(np.float64) / 255.0, segments, compactness, start_label=0, channel_axis=-1)
        names, of_pixel = np.unique(labels, return_inverse=True)
        if 2 * len(names) >= segments and len(names) > 1:
            break
    return of_pixel.reshape(photo.shape[:2])


def ridge(present: Coalitions, weights: Floats, values: Floats, alpha: float = ALPHA) -> Floats:
    """Return the coefficients of a weighted ridge regression with an intercept that is not penalized, float64 (M,).

    Args:
        present: the samples, bool (N, M).
        weights: the samples' weights, float64 (N,), at least 0 and not all 0.
        values: what is regressed, float64 (N,).
        alpha: the penalty on the sum of squared coefficients.
    """
    means = np.average(present, axis=0, weights=weights)
    centered = present - means
    weighted = centered * weights[:, None]
    left = weighted.T @ centered + alpha * np.eye(present.shape[1])
    return np.asarray(np.linalg.solve(left, weighted.T @ (values - np.average(values, weights=weights))))


@dataclass(frozen=True)
class _OnSuperpixels(Explainer):
    """Base class: scores of the photo while some superpixels are hidden, and one coefficient for each superpixel."""

    family: ClassVar[Family] = "masks"
    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})
    draws: ClassVar[bool] = True

    samples: int
    segments: int
    fill: Fill
    seed: int

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.segments < 2:
            raise ConfigError(f"{self.name}: segments={self.segments} is not allowed; at least 2 superpixels")
        if self.samples < self._fewest(self.segments):
            raise ConfigError(
                f"{self.name}: samples={self.samples} is not allowed with segments={self.segments}; "
                f"at least {self._fewest(self.segments)}, or the effects of single superpixels are not determined"
            )

    @property
    def substrate(self) -> str:
        """The fill: ``mean`` and ``blur`` are made as the substrates of metrics are."""
        return self.fill

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the coefficient of each pixel's superpixel, float64 (B, H, W).

        Raises:
            NotScored: an image has a single superpixel, or too many for the number of samples.
        """
        return _OnSuperpixels.explain_with_facts(self, classifier, images, targets)[0]

    def explain_with_facts(
        self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]
    ) -> tuple[Maps, list[MapFacts]]:
        """Return the maps, and the passes and the number of superpixels of each; arguments as ``explain``."""
        found = [self._explained(classifier, image, target) for image, target in zip(images, targets, strict=True)]
        return np.stack([values for values, _ in found]), [facts for _, facts in found]

    def _explained(
        self, classifier: Classifier, image: NDArray[np.uint8 | np.float32], target: Outputs
    ) -> tuple[Floats, MapFacts]:
        of_pixel = superpixels(image, self.segments)
        count = int(of_pixel.max()) + 1
        if count == 1:
            raise NotScored("the photo has a single superpixel, so no part of it can be hidden; use more segments")
        if self.samples < self._fewest(count):
            raise NotScored(
                f"{self.samples} samples are too few for the {count} superpixels of the photo; "
                f"at least {self._fewest(count)} are needed"
            )
        present, weights = self._drawn(generator(self.seed, image_digest(image), self.name), count)
        photo = image.astype(np.float32)
        logits = classifier.blended.logits(
            photo,
            filled(self.fill, photo, classifier),
            len(present),
            lambda start, stop: present[start:stop, of_pixel].astype(np.float32),
        )
        values = _relative_scores(classifier.head, logits, target)
        finite = np.isfinite(values).all()
        coefficients = self._coefficients(present, weights, values) if finite else np.full(count, np.nan)
        return coefficients[of_pixel], MapFacts(Passes(len(present)), {"segments": float(count)})

    def check(self, classifier: Classifier) -> None:
        """Raise ConfigError if there are more segments than pixels, ModelError if the mean color is not known."""
        super().check(classifier)
        require_fill(self.fill, classifier)
        height, width = classifier.input_size
        if self.segments > height * width:
            raise ConfigError(
                f"{self.name}: segments={self.segments} is more than the model's input has pixels, {height} x {width}"
            )

    @classmethod
    @abstractmethod
    def _fewest(cls, segments: int) -> int:
        """Return the smallest number of samples for so many superpixels."""

    @abstractmethod
    def _drawn(self, rng: np.random.Generator, count: int) -> tuple[Coalitions, Floats]:
        """Return the superpixels shown in each pass, bool (N, count), in the first all of them; and weights (N,)."""

    @abstractmethod
    def _coefficients(self, present: Coalitions, weights: Floats, values: Floats) -> Floats:
        """Return one coefficient for each superpixel.

        Args:
            present: as drawn, bool (N, M).
            weights: as drawn, float64 (N,).
            values: the class's score of each, float64 (N,), up to a constant.
        """


def _relative_scores(head: Head, logits: Floats, target: Outputs) -> Floats:
    """Return the target's scores up to a constant, float64 (N,), whose differences do not cancel.

    Args:
        head: the model's head.
        logits: the class logits, float64 (N, C), the clean photo first.
        target: the output or outputs.
    """
    scores = score_of(head.scores(logits), target)
    # Near 1 the complement has the digits, near 0 the score itself.
    return -np.exp(head.log_complement(logits, target)) if scores[0] > 0.5 else scores


@dataclass(frozen=True)
class Lime(_OnSuperpixels):
    """LIME for images: a ridge regression of the class's score on which superpixels are shown.

    Attributes:
        samples: the number of forward passes, the clean photo's among them.
        segments: about how many superpixels the photo is cut into (``slic``).
        fill: the content of hidden superpixels: mean (ImageNet's mean color; of a model that does not take RGB, the
            mean of the set), black, gray (127.5), or blur (RISE's).
        seed: Random seed; the run's seed if not given.

    Reference: Ribeiro et al., "Why Should I Trust You?", KDD 2016, section 3, with the constants of the authors' code.
    """

    name: ClassVar[str] = "lime"
    cost: ClassVar[str] = "1,000 F"
    summary: ClassVar[str] = "linear model of the score on superpixels"
    reference: ClassVar[str] = "Ribeiro et al., LIME, KDD 2016, section 3"
    always_signed: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"superpixels": _SLIC, "kernel": f"cosine-{KERNEL_WIDTH:g}", "alpha": f"{ALPHA:g}"}
    )
    samples: int = 1000
    segments: int = 50
    fill: Fill = "mean"
    seed: int = 0

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of samples."""
        return self.samples

    @classmethod
    def _fewest(cls, segments: int) -> int:
        return segments + 1

    def _drawn(self, rng: np.random.Generator, count: int) -> tuple[Coalitions, Floats]:
        present = rng.random((self.samples, count)) < 0.5
        present[0] = True
        # The cosine of the angle to the whole photo is the root of the share of superpixels that are shown.
        distances = 1.0 - np.sqrt(present.mean(axis=1))
        return present, np.exp(-((distances / KERNEL_WIDTH) ** 2))

    def _coefficients(self, present: Coalitions, weights: Floats, values: Floats) -> Floats:
        return ridge(present, weights, values)


@dataclass(frozen=True)
class KernelShap(_OnSuperpixels):
    """KernelSHAP: Shapley values of superpixels, by a regression whose coefficients sum to the whole drop.

    Attributes:
        samples: the number of coalitions of superpixels that are scored, besides all and none of them. All coalitions
            are listed, and the values are exact, where there are no more than that or at most 8 superpixels.
        segments: about how many superpixels the photo is cut into (``slic``).
        fill: the content of hidden superpixels: mean (ImageNet's mean color; of a model that does not take RGB, the
            mean of the set), black, gray (127.5), or blur (RISE's).
        seed: Random seed; the run's seed if not given.

    Reference: Lundberg & Lee, NeurIPS 2017, theorem 2; coalitions in pairs: Covert & Lee, AISTATS 2021, section 3.3.
    """

    name: ClassVar[str] = "kernel_shap"
    cost: ClassVar[str] = "up to 1,002 F"
    summary: ClassVar[str] = "Shapley values of superpixels"
    reference: ClassVar[str] = "Lundberg & Lee, SHAP, NeurIPS 2017, theorem 2"
    always_signed: ClassVar[Mapping[str, str]] = MappingProxyType({"superpixels": _SLIC})
    samples: int = 1000
    segments: int = 50
    fill: Fill = "mean"
    seed: int = 0

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the largest number of coalitions, plus two: all and none of the superpixels."""
        return largest_number(self.samples) + 2

    @classmethod
    def _fewest(cls, segments: int) -> int:
        # The two coalitions of a pair give one equation for `segments` - 1 unknowns.
        return 1 if is_exhaustive(segments, 0) else 2 * (segments - 1)

    def _drawn(self, rng: np.random.Generator, count: int) -> tuple[Coalitions, Floats]:
        ends = np.array([[True], [False]]).repeat(count, axis=1)
        scored, weights = coalitions(count, self.samples, rng)
        return np.concatenate([ends, scored]), np.concatenate([[0.0, 0.0], weights])

    def _coefficients(self, present: Coalitions, weights: Floats, values: Floats) -> Floats:
        gains = values - values[1]
        fitted = shapley_fit(present[2:], weights[2:], gains[2:], float(gains[0]))
        if fitted is None:
            raise NotScored(
                f"the coalitions that were drawn do not determine the values of {present.shape[1]} superpixels; "
                "use more samples or fewer segments"
            )
        return fitted
