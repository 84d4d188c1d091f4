"""Controls: maps that do not depend on the model. An explainer should beat them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.core.randomness import generator
from evalkit.explainers.base import Explainer, Family, Maps, Outputs, Photos

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["Center", "Control", "Edges", "Random", "SmoothNoise", "Uniform", "image_digest"]

_LARGEST_SIGMA = 1024
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Control(Explainer):
    """Base class of the controls, which need no pass through the model."""

    control: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    family: ClassVar[Family] = "controls"
    cost: ClassVar[str] = "no model"
    method: ClassVar[str] = "no model"

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 0."""
        return 0


@dataclass(frozen=True)
class Uniform(Control):
    """A constant map: by the rule of ties, its scores are those of no order at all.

    They are the chance level of the gain, the pointing games, mass and rank accuracy; of deletion and insertion they
    are the mean of the two ends, which noise does not score.
    """

    name: ClassVar[str] = "uniform"
    summary: ClassVar[str] = "a constant map: chance for the gain and pointing games"
    reference: ClassVar[str] = "the tie rule in docs/metrics.md"

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return ones, float64 (B, H, W)."""
        return np.ones(images.shape[:3])


@dataclass(frozen=True)
class Random(Control):
    """Uniform pixel noise in 0..1; it depends only on the photo's content and the seed.

    Attributes:
        seed: Random seed; the run's seed if not given.
    """

    name: ClassVar[str] = "random"
    draws: ClassVar[bool] = True
    summary: ClassVar[str] = "pixel noise, seeded by the photo's content"
    reference: ClassVar[str] = "RISE (Petsiuk et al., 2018) compares against it"
    seed: int = 0

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return noise, float64 (B, H, W) in 0..1."""
        return np.stack(
            [generator(self.seed, image_digest(image), "random").random(image.shape[:2]) for image in images]
        )


@dataclass(frozen=True)
class SmoothNoise(Control):
    """Pixel noise blurred by a Gaussian, scaled to 0..1: as smooth as an explainer's map, without its information.

    The noise is blurred as if the photo were repeated beyond its borders, so that no place is preferred.

    Attributes:
        sigma_px: Standard deviation of the Gaussian in pixels.
        seed: Random seed; the run's seed if not given.
    """

    name: ClassVar[str] = "smooth_noise"
    draws: ClassVar[bool] = True
    summary: ClassVar[str] = "blurred pixel noise: smooth as a map, but by chance"
    reference: ClassVar[str] = "arXiv 2304.13836: blurring a map adds no information, yet raises scores"
    sigma_px: float = 16.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the range, and store whole numbers of pixels as floats."""
        if not 0 < self.sigma_px <= _LARGEST_SIGMA:
            allowed = f"more than 0 and at most {_LARGEST_SIGMA} pixels"
            raise ConfigError(f"{self.name}: sigma_px={self.sigma_px} is not allowed; {allowed}")
        object.__setattr__(self, "sigma_px", float(self.sigma_px))

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return smooth noise, float64 (B, H, W) in 0..1; 0.5 everywhere where the blur leaves no difference."""
        from scipy.ndimage import gaussian_filter

        maps = np.full(images.shape[:3], 0.5)
        for image, smooth in zip(images, maps, strict=True):
            noise = generator(self.seed, image_digest(image), "smooth noise").random(image.shape[:2])
            blurred = gaussian_filter(noise, self.sigma_px, mode="wrap")
            low, high = blurred.min(), blurred.max()
            if high - low > _ROUNDING:
                smooth[:] = (blurred - low) / (high - low)
        return maps


def image_digest(image: NDArray[np.uint8 | np.float32]) -> bytes:
    """Return the sha256 of an image's pixels; whole pixel values have the same digest as integers and as floats."""
    return sha256(_whole(image).tobytes()).digest()


def _whole(image: NDArray[np.uint8 | np.float32]) -> NDArray[np.uint8 | np.float32]:
    """Return whole pixel values as uint8, so that equal pixels have equal bytes; fractions unchanged."""
    if image.dtype == np.uint8:
        return image
    with np.errstate(invalid="ignore"):  # NaN, which equals no whole number
        whole = image.clip(0, 255).astype(np.uint8)
    return whole if np.array_equal(whole, image) else image


@dataclass(frozen=True)
class Center(Control):
    """A Gaussian at the center, sigma a quarter of each side: objects are often at the center of photos."""

    name: ClassVar[str] = "center"
    summary: ClassVar[str] = "a Gaussian at the center of the photo"
    reference: ClassVar[str] = "Choe et al., CVPR 2020 (center baseline); TorchRay's center"

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the Gaussian, float64 (B, H, W) in 0..1."""
        across = [np.exp(-(((np.arange(side) - (side - 1) / 2) / (side / 4)) ** 2) / 2) for side in images.shape[1:3]]
        return np.broadcast_to(np.outer(*across), images.shape[:3]).copy()


@dataclass(frozen=True)
class Edges(Control):
    """Sobel edges of the photo's luminance; of the mean of its channels if it is not RGB."""

    name: ClassVar[str] = "edges"
    summary: ClassVar[str] = "Sobel edges of the photo"
    reference: ClassVar[str] = "Adebayo et al., NeurIPS 2018 (edge detector); skimage.filters.sobel"

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return edge strength, float64 (B, H, W), at least 0."""
        from skimage.color import rgb2gray
        from skimage.filters import sobel

        # Integers are scaled to 0..1 by the library; the same is done to floats.
        scaled = images if images.dtype == np.uint8 else images.astype(np.float64) / 255.0
        return np.stack(
            [sobel(rgb2gray(image) if image.shape[2] == 3 else _mean_of_channels(image)) for image in scaled]
        )


def _mean_of_channels(image: NDArray[np.uint8] | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(image.mean(axis=2, dtype=np.float64) / (255.0 if image.dtype == np.uint8 else 1.0))
