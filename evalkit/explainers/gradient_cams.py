"""HiResCAM, LayerCAM, Grad-CAM++ and XGrad-CAM, which share one forward and one backward pass, and Eigen-CAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.explainers.base import MapFacts, Maps, Need, Outputs, Photos
from evalkit.explainers.layered import (
    Coarse,
    Features,
    GradientCam,
    LayeredCam,
    images_above_zero,
    share_of,
    weighted_sum,
)

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["EigenCam", "GradCamPlusPlus", "HiResCam", "LayerCam", "XGradCam"]

_CANCELLED = 1e-7  # the resolution of float32: a smaller share of the sum of magnitudes is rounding
_MOST_STEPS = 64  # of repeated multiplication
_SETTLED = 1e-12  # the largest change of an element of a unit vector in the last step
_UNDEFINED, _USED = "undefined_alpha", "undefined_alpha_of_positive_gradients"
_NO_SUM = "undefined_weights"


def _products(features: Features, gradients: Features) -> Maps:
    """Return ReLU of the sum over channels of feature x gradient, float64 (B, h, w)."""
    return np.asarray(np.einsum("bhwk,bhwk->bhw", features, gradients, dtype=np.float64).clip(min=0.0))


@dataclass(frozen=True)
class HiResCam(GradientCam):
    """HiResCAM: ReLU of the sum over channels of gradient x feature, each at its own position.

    Reference: Draelos & Carin, "Use HiResCAM instead of Grad-CAM", arXiv 2011.08891, section 3.
    """

    name: ClassVar[str] = "hirescam"
    summary: ClassVar[str] = "feature maps times gradients at each position"
    reference: ClassVar[str] = "Draelos & Carin, HiResCAM, arXiv 2011.08891"

    def combine(self, features: Features, gradients: Features) -> Coarse:
        """Return the maps; there are no facts."""
        return _products(features, gradients), [MapFacts()] * len(features)


@dataclass(frozen=True)
class LayerCam(GradientCam):
    """LayerCAM: ReLU of the sum over channels of the positive gradient x feature, each at its own position.

    Reference: Jiang et al., "LayerCAM", IEEE TIP 2021, equations 5 to 7.
    """

    name: ClassVar[str] = "layercam"
    summary: ClassVar[str] = "feature maps times positive gradients"
    reference: ClassVar[str] = "Jiang et al., LayerCAM, IEEE TIP 2021"

    def combine(self, features: Features, gradients: Features) -> Coarse:
        """Return the maps; there are no facts."""
        return _products(features, np.maximum(gradients, 0)), [MapFacts()] * len(features)


@dataclass(frozen=True)
class GradCamPlusPlus(GradientCam):
    """Grad-CAM++: feature maps weighted by the sum of their positive gradients, each gradient by its own alpha.

    alpha = g^2 / (2 g^2 + sum(A) g^3) is computed as 1 / (2 + sum(A) g), the same number without underflow; it is 0
    where g is 0 or the denominator is not positive.

    Reference: Chattopadhay et al., "Grad-CAM++", WACV 2018, equation 19, which takes exp(z) as the class score.
    """

    name: ClassVar[str] = "gradcam_plus_plus"
    summary: ClassVar[str] = "feature maps weighted by positive gradients"
    reference: ClassVar[str] = "Chattopadhay et al., Grad-CAM++, WACV 2018, equation 19"

    def combine(self, features: Features, gradients: Features) -> Coarse:
        """Return the maps, and the shares of nonzero and of positive gradients whose alpha is undefined."""
        sums = features.sum(axis=(1, 2), dtype=np.float64)
        weights, without_alpha = np.zeros_like(sums), np.zeros(len(sums), dtype=int)
        for row in range(gradients.shape[1]):  # a row of pixels stays in the processor's cache
            positive = np.maximum(gradients[:, row], 0)
            terms = positive * sums[:, None, :]
            terms += 2.0
            undefined = terms <= 0
            terms[undefined] = np.inf
            np.divide(positive, terms, out=terms)
            weights += terms.sum(axis=1)
            without_alpha += np.count_nonzero(undefined, axis=(1, 2))
        facts = [
            MapFacts(values=_undefined_shares(gradient, total, int(count)))
            for gradient, total, count in zip(gradients, sums, without_alpha, strict=True)
        ]
        return weighted_sum(weights, features), facts

    def sentences(self, facts: Sequence[Mapping[str, float]]) -> list[str]:
        """Return on how many images alpha is undefined somewhere, and how much of the map depends on it."""
        images, largest = images_above_zero(facts, _USED)
        if not images:
            return []
        sentence = (
            f"alpha is undefined (denominator not positive) and set to 0 on {images}, at up to {largest:.1%} of an "
            "image's positive gradients, which alone count"
        )
        return [sentence]


def _undefined_shares(gradients: Features, sums: NDArray[np.float64], of_positive: int) -> dict[str, float]:
    """Return the shares of nonzero and of positive gradients whose alpha is undefined.

    Args:
        gradients: (h, w, K).
        sums: the sum of each feature map, (K,).
        of_positive: how many positive gradients have no alpha.
    """
    # Most feature maps have none: one look at their lowest gradient tells.
    suspects = np.flatnonzero((sums > 0) & (gradients.min(axis=(0, 1)) * sums <= -2))
    of_negative = int(np.count_nonzero(gradients[:, :, suspects] * sums[suspects] <= -2))
    nonzero, positive = int(np.count_nonzero(gradients)), int(np.count_nonzero(gradients > 0))
    return {_UNDEFINED: (of_positive + of_negative) / max(nonzero, 1), _USED: of_positive / max(positive, 1)}


@dataclass(frozen=True)
class XGradCam(GradientCam):
    """XGrad-CAM: feature maps weighted by the mean of their gradients, each weighted by the feature at its position.

    The weight is 0 where the sum of a feature map is 0: at most 1e-7 of the sum of its magnitudes.

    Reference: Fu et al., "Axiom-based Grad-CAM", BMVC 2020, equation 8 (arXiv 2008.02312).
    """

    name: ClassVar[str] = "xgradcam"
    summary: ClassVar[str] = "feature maps weighted by gradients where active"
    reference: ClassVar[str] = "Fu et al., XGrad-CAM, BMVC 2020, arXiv 2008.02312"

    def combine(self, features: Features, gradients: Features) -> Coarse:
        """Return the maps, and the share of channels that are not 0 everywhere but whose sum is."""
        sums = features.sum(axis=(1, 2), dtype=np.float64)
        magnitudes = np.abs(features).sum(axis=(1, 2), dtype=np.float64)
        products = np.einsum("bhwk,bhwk->bk", features, gradients, dtype=np.float64)
        defined = np.abs(sums) > _CANCELLED * magnitudes
        weights = np.divide(products, sums, out=np.zeros_like(sums), where=defined)
        active = magnitudes > 0
        undefined = share_of(active & ~defined, active)
        return weighted_sum(weights, features), [MapFacts(values={_NO_SUM: share}) for share in undefined]

    def sentences(self, facts: Sequence[Mapping[str, float]]) -> list[str]:
        """Return on how many images a weight is undefined."""
        images, largest = images_above_zero(facts, _NO_SUM)
        if not images:
            return []
        sentence = (
            f"the sum of a feature map is 0 and its weight is undefined, so it is left out, on {images}, "
            f"for up to {largest:.1%} of an image's channels"
        )
        return [sentence]


@dataclass(frozen=True)
class EigenCam(LayeredCam):
    """Eigen-CAM: the feature maps projected on their first principal direction, not centered. It ignores the class.

    A, (h w) x K, times its first right singular vector, with the sign that makes the sum of the map positive, ReLU.

    Reference: Muhammad & Yeasin, "Eigen-CAM", IJCNN 2020, arXiv 2008.00299.
    """

    name: ClassVar[str] = "eigencam"
    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    class_specific: ClassVar[bool] = False
    cost: ClassVar[str] = "1 F"
    method: ClassVar[str] = "one pass forward"
    summary: ClassVar[str] = "first component of the maps; not class-specific"
    reference: ClassVar[str] = "Muhammad & Yeasin, Eigen-CAM, IJCNN 2020, arXiv 2008.00299"

    def coarse(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs], layer: str) -> Coarse:
        """Return the maps; there are no facts. The targets only tell which pass can be shared."""
        from evalkit.models.keras.graph import TensorAt

        features = classifier.features.activations(images, TensorAt(layer), targets)
        return np.stack([_first_component(one) for one in features]).clip(min=0.0), [MapFacts()] * len(features)


def _first_component(features: Features) -> NDArray[np.float64]:
    """Return feature maps times their first right singular vector, float64 (h, w), of positive sum.

    It is taken of the smaller Gram matrix: if A' A v = s^2 v, then A v = s u, where A A' u = s^2 u. Repeated
    multiplication finds the vector in a few steps where the first singular value is well above the second, which is
    much cheaper than LAPACK; otherwise LAPACK finds it.

    Args:
        features: (h, w, K).
    """
    height, width, channels = features.shape
    rows = features.reshape(-1, channels).astype(np.float64)
    if not np.isfinite(rows).all():
        return np.full((height, width), np.nan)
    wide = channels > len(rows)
    gram = rows @ rows.T if wide else rows.T @ rows
    value, vector = _largest_eigenvector(gram)
    projected = np.sqrt(max(value, 0.0)) * vector if wide else rows @ vector
    total = projected.sum()
    if abs(total) <= _CANCELLED * np.abs(projected).sum():  # no sign makes the sum positive: the largest value decides
        total = projected[np.abs(projected).argmax()]
    return np.asarray((-projected if total < 0 else projected).reshape(height, width))


def _largest_eigenvector(gram: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the largest eigenvalue of a symmetric matrix without negative ones, and its eigenvector."""
    # A start that is orthogonal to the eigenvector would lead to another one; a random one is not.
    vector = np.random.default_rng(0).normal(size=len(gram))
    for _ in range(_MOST_STEPS):
        product = gram @ vector
        value = float(np.sqrt(product @ product))
        if value == 0:
            return 0.0, vector
        product /= value
        if np.abs(product - vector).max() <= _SETTLED:
            return value, product
        vector = product
    from scipy.linalg import eigh

    last = len(gram) - 1
    values, vectors = eigh(gram, subset_by_index=[last, last], check_finite=False)
    return float(values[0]), vectors[:, 0]
