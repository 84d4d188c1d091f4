"""Ablation-CAM: each feature map weighted by how much the class's logit falls without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evalkit.core.errors import NotScored
from evalkit.explainers.base import Family, MapFacts, Need, Outputs, Passes, Photos
from evalkit.explainers.layered import Coarse, LayeredCam, images_above_zero, weighted_sum

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["AblationCam"]

_UNDIVIDED = "undivided"


@dataclass(frozen=True)
class AblationCam(LayeredCam):
    """Ablation-CAM: ReLU(sum of w x feature map), w = (z - z_k) / z, z_k being the logit with channel k set to 0.

    Only the part of the model above the layer runs once for each channel. Where z is not positive, w is z - z_k:
    divided by a negative number, a channel that speaks for the class would count against it.

    Reference: Desai & Ramaswamy, "Ablation-CAM", WACV 2020, equations 1 and 2.
    """

    name: ClassVar[str] = "ablationcam"
    family: ClassVar[Family] = "masks"
    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    cost: ClassVar[str] = "1 F + K above"
    summary: ClassVar[str] = "feature maps weighted by the drop without each"
    reference: ClassVar[str] = "Desai & Ramaswamy, Ablation-CAM, WACV 2020"

    def coarse(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs], layer: str) -> Coarse:
        """Return the maps, and whether the falls are not divided by the logit.

        Raises:
            NotScored: there is no logit, and a probability is 0 or 1 in float32.
        """
        from evalkit.models.keras.features import SATURATED

        maps, facts = [], []
        for image, target in zip(images, targets, strict=True):
            features, logits = classifier.above.without_channels(image, layer)
            explained = classifier.head.explained(logits, target)
            if not classifier.head.from_logits and not np.isfinite(explained).all():
                raise NotScored(SATURATED)
            clean, undivided = explained[0], bool(explained[0] <= 0)
            weights = (clean - explained[1:]) / (1.0 if undivided else clean)
            maps.append(weighted_sum(weights[None], features[None])[0])
            facts.append(MapFacts(values={_UNDIVIDED: float(undivided)}))
        return np.stack(maps), facts

    def passes(self, classifier: Classifier) -> Passes:
        """Return one pass a layer, and those that have as many multiplications as the passes of the part above it."""
        return Passes(sum(1 + classifier.above.part(layer).passes for layer in self.layers_on(classifier)))

    def method_on(self, classifier: Classifier) -> str:
        """Return how many passes of the part above the layer there are, and what they cost."""
        parts = [classifier.above.part(layer) for layer in self.layers_on(classifier)]
        return "; ".join(
            f"one pass, {part.channels + 1} above {part.layer} ({part.share:.1%} of a pass each)" for part in parts
        )

    def sentences(self, facts: Sequence[Mapping[str, float]]) -> list[str]:
        """Return on how many images the falls are not divided."""
        images, _ = images_above_zero(facts, _UNDIVIDED)
        if not images:
            return []
        return [f"the logit is not positive on {images}, so the falls there are not divided by it"]

    def check(self, classifier: Classifier) -> None:
        """Raise an error as ``LayeredCam.check``, and ModelError if the part above a layer cannot be run alone."""
        super().check(classifier)
        self.require_dependence(classifier)
        for layer in self.layers_on(classifier):
            classifier.above.part(layer)
