"""The base class of class activation maps at one layer, or at several layers whose maps are fused."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, ModelError
from evalkit.core.specs import Literals
from evalkit.explainers.base import Explainer, Family, MapFacts, Maps, Need, Outputs, Passes, Photos, enlarge

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["Coarse", "Features", "GradientCam", "LayeredCam", "images_above_zero", "share_of", "weighted_sum"]

Features = NDArray[np.float32]
Coarse = tuple[Maps, list[MapFacts]]
"""Maps of the size of a layer's feature maps, float64 (B, h, w), and the facts of each of them."""


@dataclass(frozen=True)
class LayeredCam(Explainer):
    """A class activation map: a sum of one layer's feature maps, enlarged to the photo.

    Several layers are written with ``+``. Each layer's map is then enlarged and divided by its own maximum, and the
    value of a pixel is the largest of these; a map of zeros stays zero.

    Attributes:
        layer: the layer of the feature maps, or of a transformer's tokens, or several joined by ``+``; default: the
            model's last one that is not pooling, dropout or padding, and on whose features of patches the class score
            depends.
    """

    family: ClassVar[Family] = "cams"
    layer: str | None = None

    @abstractmethod
    def coarse(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs], layer: str) -> Coarse:
        """Return the maps of one layer before they are enlarged, at least 0, and their facts.

        Args:
            classifier: the model under explanation.
            images: as for ``explain``.
            targets: as for ``explain``.
            layer: the layer's path.
        """

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the maps, float64 (B, H, W), at least 0; of several layers in 0..1."""
        return LayeredCam.explain_with_facts(self, classifier, images, targets)[0]

    def explain_with_facts(
        self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]
    ) -> tuple[Maps, list[MapFacts]]:
        """Return the maps as ``explain``, and their facts: of several layers, the largest of each number."""
        first, *others = self.layers_on(classifier)
        coarse, facts = self.coarse(classifier, images, targets, first)
        maps = enlarge(coarse, images.shape[1:3])
        if others:
            maps = _scaled(maps)
        for layer in others:
            coarse, more = self.coarse(classifier, images, targets, layer)
            maps = np.maximum(maps, _scaled(enlarge(coarse, images.shape[1:3])))
            facts = [_merged(*both) for both in zip(facts, more, strict=True)]
        return maps, facts

    def layers_on(self, classifier: Classifier) -> tuple[str, ...]:
        """Return the paths of its layers in a model.

        Raises:
            ModelError: the model has no such layer, or none by default.
            ConfigError: a layer is named twice.
        """
        if self.layer is None:
            if classifier.target_layer is None:
                raise ModelError(
                    f"{self.name}: model '{classifier.name}' {classifier.default_layer.reason}; use occlusion, which "
                    "needs no layer"
                )
            return (classifier.target_layer,)
        if not all(name.strip() for name in self._names()):
            raise ConfigError(
                f"{self.name}: layer={self.layer} lacks a name beside '+'; write for example "
                "layer=block4_conv3+block5_conv3"
            )
        paths = tuple(classifier.resolve_layer(name) for name in self._names())
        twice = next((path for path in paths if paths.count(path) > 1), None)
        if twice is not None:
            raise ConfigError(f"{self.name}: layer={self.layer} names layer '{twice}' twice; name each layer once")
        return paths

    def _names(self) -> list[str]:
        return [""] if self.layer is None else self.layer.split("+")

    def resolved_on(self, classifier: Classifier) -> dict[str, Literals]:
        """Return the parameters with the paths of its layers in this model."""
        return {**self.resolved_parameters(), "layer": "+".join(self.layers_on(classifier))}

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return one for each layer."""
        return len(self._names())

    def method_on(self, classifier: Classifier) -> str:
        """Return the kind of its passes, and for how many layers they are repeated."""
        layers = len(self._names())
        return self.method if layers == 1 else f"{self.method}, for each of {layers} layers"

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if the model has no such layer or no feature maps, ConfigError if one is named twice."""
        super().check(classifier)
        self.layers_on(classifier)

    def require_dependence(self, classifier: Classifier) -> None:
        """Raise ModelError if the scores do not depend on a named layer, so that its maps would be 0."""
        layers = self.layers_on(classifier) if self.layer is not None else ()
        for layer in layers:
            if not classifier.depends_on(layer):
                default = f"; use {classifier.target_layer}" if classifier.target_layer else ""
                raise ModelError(
                    f"{self.text}: the scores of model '{classifier.name}' do not depend on the tokens of patches in "
                    f"layer '{layer}', so every map would be 0: the model goes on with a class token alone{default}"
                )


@dataclass(frozen=True)
class GradientCam(LayeredCam):
    """A class activation map of the features and gradients of one pass, which all of these explainers share."""

    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "features"})
    cost: ClassVar[str] = "1 F + 1 B"
    method: ClassVar[str] = "one pass forward, one back"

    @abstractmethod
    def combine(self, features: Features, gradients: Features) -> Coarse:
        """Return the maps of one layer, and their facts.

        Args:
            features: the outputs of the layer, (B, h, w, K); they are shared, so nobody may write to them.
            gradients: the gradients of the target's logit with respect to them, (B, h, w, K).
        """

    def coarse(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs], layer: str) -> Coarse:
        """Return the maps of one layer before they are enlarged, and their facts."""
        return self.combine(*classifier.features.activations_and_gradients(images, targets, layer))

    def shared_layers(self, classifier: Classifier) -> tuple[str, ...]:
        """Return its layers."""
        return self.layers_on(classifier)

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return one for each layer."""
        return len(self._names())

    def check(self, classifier: Classifier) -> None:
        """Raise an error as ``LayeredCam.check``, and ModelError if the score depends on none of the features."""
        super().check(classifier)
        self.require_dependence(classifier)


def weighted_sum(weights: NDArray[np.float64], features: Features) -> Maps:
    """Return ReLU(sum of weight x feature map), float64 (B, h, w).

    Args:
        weights: float64 (B, K).
        features: (B, h, w, K).
    """
    return np.asarray(np.einsum("bk,bhwk->bhw", weights, features).clip(min=0.0))


def share_of(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> list[float]:
    """Return for each image which share of the true elements of one array is true in another; 0 if there are none.

    Args:
        part: bool (B, ...), true only where ``whole`` is.
        whole: bool (B, ...).
    """
    axes = tuple(range(1, whole.ndim))
    counts = np.maximum(np.count_nonzero(whole, axis=axes), 1)
    return [float(share) for share in np.count_nonzero(part, axis=axes) / counts]


def images_above_zero(facts: Sequence[Mapping[str, float]], name: str) -> tuple[str, float]:
    """Return on how many images a number is above 0, e.g. ``3 of 20 images``, and its largest value."""
    values = [float(one.get(name, 0.0)) for one in facts]
    affected = sum(value > 0 for value in values)
    words = f"{affected:,} of {len(values):,} image{'s' * (len(values) != 1)}" if affected else ""
    return words, max(values, default=0.0)


def _merged(first: MapFacts, second: MapFacts) -> MapFacts:
    """Return the facts of two layers' maps: the sum of their passes, the largest of each number."""
    passes = None
    if first.passes is not None and second.passes is not None:
        passes = Passes(first.passes.forward + second.passes.forward, first.passes.backward + second.passes.backward)
    names = {**first.values, **second.values}
    return MapFacts(
        passes, {name: max(one.values[name] for one in (first, second) if name in one.values) for name in names}
    )


def _scaled(maps: Maps) -> Maps:
    """Return maps divided by their own maximum; a map of zeros stays zero."""
    largest = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(maps, largest, out=np.zeros_like(maps), where=largest != 0))
