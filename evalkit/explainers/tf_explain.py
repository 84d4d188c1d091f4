"""tf-explain's own classes, called for raw maps, with the library's defaults.

They are compared as they are in production, so their known defects are kept: guided gradients of the softmax score
and no ReLU in Grad-CAM; in occlusion a patch of 127.5 in the model's own input space, and a grid that is stretched over
the photo, so that cells are drawn up to 20 px off. They run the user's model in its own precision, because the library
computes in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evalkit.core.errors import ConfigError, ModelError, nearest
from evalkit.core.specs import Literals
from evalkit.explainers.base import Explainer, Family, Maps, Need, Outputs, Photos, enlarge
from evalkit.models.probabilities import outputs_of

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["TfExplainGradCam", "TfExplainOcclusion"]


@dataclass(frozen=True)
class TfExplainGradCam(Explainer):
    """The raw maps of ``tf_explain.core.grad_cam.GradCAM``.

    Attributes:
        layer: the layer of the feature maps; default: the last with a 4-D output, pooling included, which is
            the library's own rule (its search itself fails on Keras 3).
        guided: True = guided gradients, the library's default.

    Reference: tf-explain 0.3.1, ``get_gradients_and_filters`` and ``generate_ponderated_output``.
    """

    name: ClassVar[str] = "tf_explain.gradcam"
    family: ClassVar[Family] = "tf_explain"
    cost: ClassVar[str] = "1 F + 1 B"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "features"})
    method: ClassVar[str] = "one pass forward, one back"
    summary: ClassVar[str] = "guided gradients, no ReLU"
    reference: ClassVar[str] = "tf-explain 0.3.1"
    layer: str | None = None
    guided: bool = True

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the weighted feature maps, float64 (B, H, W), of either sign."""
        from tf_explain.core.grad_cam import GradCAM

        flat, layer = classifier.given.flat_for(self._layer(classifier))
        maps = []
        for photo, target in zip(classifier.given.preprocessed(images), targets, strict=True):
            model, class_index = _summed(flat, outputs_of(target))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Keras on the library's nested list of inputs
                outputs, gradients = GradCAM.get_gradients_and_filters(
                    model, photo[None], layer, class_index, self.guided
                )
            classifier.count.forward += 1
            classifier.count.backward += 1
            maps.append(GradCAM.generate_ponderated_output(outputs, gradients)[0].numpy())
        return enlarge(np.stack(maps), images.shape[1:3])

    def resolved_on(self, classifier: Classifier) -> dict[str, Literals]:
        """Return the parameters with the path of its layer in this model."""
        return {**self.resolved_parameters(), "layer": self._layer(classifier)}

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 1."""
        return 1

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 1."""
        return 1

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if the model has no such layer, or its output is not 4-D, or no score depends on it."""
        super().check(classifier)
        _require_channels_last(self.text, classifier)
        self._layer(classifier)

    def _layer(self, classifier: Classifier) -> str:
        spatial = classifier.given.spatial_layers()
        if self.layer is not None:
            paths = [path for path in spatial if path == self.layer or path.endswith(f"/{self.layer}")]
            if len(paths) == 1:
                return paths[0]
            problem = "no layer with a single 4-D output" if not paths else f"{len(paths)} layers of one name"
            advice = nearest(self.layer, spatial) if spatial else "no layer has; use occlusion, which needs only scores"
            raise ModelError(f"{self.text}: model '{classifier.name}' has {problem}, '{self.layer}': {advice}")
        last = classifier.given.last_spatial_layer()
        if last is None:
            raise ModelError(
                f"{self.text}: model '{classifier.name}' has no layer with a 4-D output"
                f"{' that runs only once' if classifier.graph.has_repeated_layers else ''}; use occlusion, which needs "
                "only scores"
            )
        if classifier.default_layer.of_tokens:
            raise ModelError(
                f"{self.text}: the last 4-D output of model '{classifier.name}', '{last}', is before the tokens of "
                "patches, which tf-explain cannot read; use gradcam, which does"
            )
        return last


def _require_channels_last(text: str, classifier: Classifier) -> None:
    if classifier.given.channels_first:
        raise ModelError(
            f"{text}: tf-explain reads feature maps (N, h, w, K) only, and model '{classifier.name}' has "
            "channels_first layers or input; use gradcam or occlusion"
        )


def _summed(model: Any, outputs: Sequence[int]) -> tuple[Any, int]:  # noqa: ANN401 - a keras.Model
    """Return the model and the output that the library explains; several outputs are summed in an added layer."""
    if len(outputs) == 1:
        return model, outputs[0]
    import keras

    several = keras.ops.take(model.outputs[0], list(outputs), axis=1)
    return keras.Model(model.inputs, keras.ops.sum(several, axis=1, keepdims=True)), 0


class _Quiet:
    """A model with one output, the target's score, whose ``predict`` prints no progress."""

    def __init__(self, classifier: Classifier, target: Outputs) -> None:
        self._classifier = classifier
        self._outputs = outputs_of(target)

    def predict(self, images: Any, batch_size: int | None = None) -> Any:  # noqa: ANN401 - what the library passes
        self._classifier.count.forward += len(images)
        scores = self._classifier.given.predict(images, batch_size)
        return scores[:, self._outputs].sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class TfExplainOcclusion(Explainer):
    """The raw map of ``tf_explain.core.occlusion_sensitivity.OcclusionSensitivity``.

    Attributes:
        patch_size: side of the square patch, pixels; its stride is the same.

    Reference: tf-explain 0.3.1, ``get_sensitivity_map``.
    """

    name: ClassVar[str] = "tf_explain.occlusion"
    family: ClassVar[Family] = "tf_explain"
    cost: ClassVar[str] = "1 F a patch"
    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})
    summary: ClassVar[str] = "patches of 127.5 in model space"
    reference: ClassVar[str] = "tf-explain 0.3.1"
    always_shown: ClassVar[tuple[str, ...]] = ("patch_size",)
    patch_size: int = 40

    def __post_init__(self) -> None:
        """Check the range."""
        if self.patch_size < 1:
            raise ConfigError(f"{self.name}: patch_size={self.patch_size} is not allowed; at least 1 pixel")

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return 1 - p(occluded), float64 (B, H, W) in 0..1, as the library stretches it over the photo."""
        from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity

        library = OcclusionSensitivity(batch_size=classifier.batch_size)
        return np.stack(
            [
                np.asarray(
                    library.get_sensitivity_map(_Quiet(classifier, target), photo, 0, self.patch_size), dtype=np.float64
                )
                for photo, target in zip(classifier.given.preprocessed(images), targets, strict=True)
            ]
        )

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of patches: the library makes no pass of the clean photo."""
        return self.positions(input_size)

    def positions(self, input_size: tuple[int, int]) -> int:
        """Return the number of patches."""
        height, width = input_size
        return -(-height // self.patch_size) * -(-width // self.patch_size)

    def check(self, classifier: Classifier) -> None:
        """Raise ConfigError if the patch does not fit the model's input, ModelError if that input is not square."""
        super().check(classifier)
        _require_channels_last(self.text, classifier)
        height, width = classifier.input_size
        if self.patch_size > min(height, width):
            raise ConfigError(
                f"{self.name}: patch_size={self.patch_size} is larger than the model's input, {height} x {width}"
            )
        if height != width:
            raise ModelError(
                f"{self.text}: tf-explain swaps the height and width of its map, so it needs a square input, "
                f"and model '{classifier.name}' takes {height} x {width}; use occlusion"
            )
