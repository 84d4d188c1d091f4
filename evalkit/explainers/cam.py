"""Class activation maps: Grad-CAM and its ancestor CAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.explainers.base import Explainer, Family, MapFacts, Maps, Need, Outputs, Photos, enlarge
from evalkit.explainers.layered import Coarse, Features, GradientCam, weighted_sum
from evalkit.models.heads import Head
from evalkit.models.probabilities import outputs_of, softmax

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier
    from evalkit.models.keras.ends import Pooled

__all__ = ["Cam", "GradCam"]


@dataclass(frozen=True)
class GradCam(GradientCam):
    """Grad-CAM as in the paper: gradient of the logit, no guided gradients, ReLU, bilinear.

    Reference: Selvaraju et al., "Grad-CAM", ICCV 2017, section 3, equations 1 and 2.
    """

    name: ClassVar[str] = "gradcam"
    summary: ClassVar[str] = "feature maps weighted by their mean gradients"
    reference: ClassVar[str] = "Selvaraju et al., Grad-CAM, ICCV 2017, section 3"

    def combine(self, features: Features, gradients: Features) -> Coarse:
        """Return ReLU(sum of mean gradient x feature map); there are no facts."""
        weights = gradients.astype(np.float64).mean(axis=(1, 2))
        return weighted_sum(weights, features), [MapFacts()] * len(features)


@dataclass(frozen=True)
class Cam(Explainer):
    """CAM: the class's dense weights on the tensor that enters global average pooling; no ReLU.

    Reference: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, equation 2.
    """

    name: ClassVar[str] = "cam"
    family: ClassVar[Family] = "cams"
    cost: ClassVar[str] = "1 F"
    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    summary: ClassVar[str] = "class weights on what enters the pooling"
    reference: ClassVar[str] = "Zhou et al., CVPR 2016, equation 2"

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the sum of class weight x feature map, float64 (B, H, W), of either sign."""
        end = self._end(classifier)
        features = classifier.features.activations(images, end.features, targets)
        kernel = np.asarray(end.dense.kernel, dtype=np.float64)
        bias = np.zeros(kernel.shape[1]) if end.dense.bias is None else np.asarray(end.dense.bias, dtype=np.float64)
        logits = features.mean(axis=(1, 2), dtype=np.float64) @ kernel + bias
        weights = [_weights(classifier.head, kernel, row, target) for row, target in zip(logits, targets, strict=True)]
        return enlarge(np.einsum("bk,bhwk->bhw", np.stack(weights), features), images.shape[1:3])

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 1."""
        return 1

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if the model does not end in global average pooling and one dense layer."""
        super().check(classifier)
        self._end(classifier)

    def _end(self, classifier: Classifier) -> Pooled:
        end = classifier.pooled_end()
        if end is None:
            raise ModelError(
                f"{self.name}: model '{classifier.name}' does not end in global average pooling and one dense layer; "
                "use gradcam, which generalizes it"
            )
        return end


def _weights(
    head: Head, kernel: NDArray[np.float64], logits: NDArray[np.float64], target: Outputs
) -> NDArray[np.float64]:
    """Return the class weights; for several outputs, their mean weighted by probability; for one unit, w or -w."""
    outputs = outputs_of(target)
    if head.kind == "sigmoid":
        return np.asarray(kernel[:, 0] if outputs == [1] else -kernel[:, 0])
    return np.asarray(kernel[:, outputs] @ softmax(logits[outputs]))
