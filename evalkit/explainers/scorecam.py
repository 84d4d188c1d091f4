"""Score-CAM: each feature map weighted by the class's logit of the photo that it masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import NotScored
from evalkit.explainers.base import Family, MapFacts, Maps, Need, Outputs, Passes, Photos, enlarge
from evalkit.explainers.layered import Coarse, Features, LayeredCam, images_above_zero, weighted_sum
from evalkit.models.probabilities import softmax

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["ScoreCam"]

_LEFT_OUT = "constant_channels"


@dataclass(frozen=True)
class ScoreCam(LayeredCam):
    """Score-CAM: ReLU(sum of w x feature map), w being the softmax over channels of the logit of the masked photo.

    The photo is masked by each feature map, enlarged and scaled to 0..1: mean color + (photo - mean color) x mask. A
    feature map that is constant is no mask; its channel is left out.

    Reference: Wang et al., "Score-CAM", CVPR Workshops 2020, equations 5 to 8 and algorithm 1.
    """

    name: ClassVar[str] = "scorecam"
    family: ClassVar[Family] = "masks"
    needs: ClassVar[frozenset[Need]] = frozenset({"features", "scores"})
    cost: ClassVar[str] = "1 F + K F"
    summary: ClassVar[str] = "feature maps weighted by the logit behind each"
    reference: ClassVar[str] = "Wang et al., Score-CAM, CVPR Workshops 2020"

    @property
    def substrate(self) -> str:
        """The mean color."""
        return "mean"

    def coarse(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs], layer: str) -> Coarse:
        """Return the maps, and the share of channels that are left out.

        Raises:
            NotScored: all channels are constant, or there is no logit and a probability is 1 in float32.
        """
        from evalkit.models.keras.graph import TensorAt

        features = classifier.features.activations(images, TensorAt(layer), targets)
        maps, facts = [], []
        for image, own, target in zip(images, features, targets, strict=True):
            varying = np.flatnonzero(np.ptp(own, axis=(0, 1)) != 0)
            if not varying.size:
                raise NotScored(f"every feature map of layer '{layer}' is constant, so scorecam has no mask")
            own_maps = own[:, :, varying]
            weights = _weights(classifier, image.astype(np.float32), own_maps, target)
            maps.append(weighted_sum(weights[None], own_maps[None])[0])
            facts.append(MapFacts(Passes(1 + varying.size), {_LEFT_OUT: 1 - varying.size / own.shape[-1]}))
        return np.stack(maps), facts

    def passes(self, classifier: Classifier) -> Passes:
        """Return one pass a layer and one for each of its channels, the most: constant ones are left out."""
        return Passes(sum(1 + _channels(classifier, layer) for layer in self.layers_on(classifier)))

    def sentences(self, facts: Sequence[Mapping[str, float]]) -> list[str]:
        """Return on how many images channels are left out."""
        images, largest = images_above_zero(facts, _LEFT_OUT)
        if not images:
            return []
        sentence = (
            f"feature maps that are constant are no masks and are left out, on {images}, up to "
            f"{largest:.1%} of an image's channels"
        )
        return [sentence]

    def check(self, classifier: Classifier) -> None:
        """Raise an error as ``LayeredCam.check``, and ModelError if the mean color is not known."""
        super().check(classifier)
        classifier.required_mean_color()


def _weights(
    classifier: Classifier, image: NDArray[np.float32], features: Features, target: Outputs
) -> NDArray[np.float64]:
    """Return the weight of each feature map, float64 (K,), of sum 1.

    Args:
        classifier: the model under explanation.
        image: the photo, (H, W, C).
        features: feature maps (h, w, K), none of them constant.
        target: the output or outputs to explain.
    """
    from evalkit.models.keras.features import SATURATED

    substrate = np.broadcast_to(np.asarray(classifier.required_mean_color(), dtype=np.float32), image.shape)

    def masks(start: int, stop: int) -> NDArray[np.float32]:
        return _masks(features[:, :, start:stop], image.shape[:2])

    logits = classifier.blended.logits(image, substrate, features.shape[-1], masks)
    explained = classifier.head.explained(logits, target)
    if not classifier.head.from_logits and np.isinf(explained.max()):
        raise NotScored(SATURATED)
    return softmax(explained)


def _masks(features: Features, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return feature maps (h, w, n) as masks, float32 (n, H, W): enlarged, then scaled to 0..1."""
    maps: Maps = enlarge(np.moveaxis(features, -1, 0), size)
    lowest = maps.min(axis=(1, 2), keepdims=True)
    scaled = (maps - lowest) / (maps.max(axis=(1, 2), keepdims=True) - lowest)
    return np.asarray(scaled, dtype=np.float32)


def _channels(classifier: Classifier, layer: str) -> int:
    shape = classifier.graph.shapes.get(layer)
    if shape is None:  # it is inside a layer of the model's own
        from evalkit.models.keras.graph import TensorAt

        shape = classifier.grids.seen[TensorAt(layer)].shape
    return int(shape[-1] or 0)
