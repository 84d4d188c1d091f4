"""tf-explain's four gradient methods, called for raw maps, with the library's defaults.

A raw map is the sum over channels of the absolute values that a method's own function returns. ``explain`` of the
library makes a picture of that: standardized over the whole batch, times 255, and cast to uint8 without clipping, so
that values wrap around. The picture is never scored.

The functions run the user's model in its own precision and in its own input space, in which their defects are: see each
class. They make all passes of a photo in one batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, ModelError
from evalkit.core.randomness import generator
from evalkit.explainers.base import Explainer, Family, Maps, Need, Outputs, Photos
from evalkit.explainers.controls import image_digest
from evalkit.models.probabilities import outputs_of

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = [
    "TfExplainGradientsInputs",
    "TfExplainIntegratedGradients",
    "TfExplainSmoothGrad",
    "TfExplainVanillaGradients",
]


@dataclass(frozen=True)
class _TfExplainGradients(Explainer):
    """Base class: one photo at a time through a function of the library that returns gradients at the input."""

    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    family: ClassVar[Family] = "tf_explain"
    method: ClassVar[str] = "passes forward and back"
    reference: ClassVar[str] = "tf-explain 0.3.1"

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the sum over channels of the library's absolute values, float64 (B, H, W), at least 0."""
        from evalkit.models.memory import OUT_OF_MEMORY

        passes = self.forward_passes(classifier.input_size)
        maps = []
        for image, prepared, target in zip(images, classifier.given.preprocessed(images), targets, strict=True):
            model, class_index = self._model(classifier, outputs_of(target))
            try:
                values = self._values(prepared[None], image, model, class_index)
            except OUT_OF_MEMORY as error:
                raise ModelError(
                    f"{self.text}: tf-explain runs {passes} image{'s' * (passes > 1)} at once, for which model "
                    f"'{classifier.name}' needs more memory than there is; {self._advice()}"
                ) from error
            classifier.count.forward += passes
            classifier.count.backward += passes
            maps.append(np.abs(np.asarray(values, dtype=np.float64)[0]).sum(axis=-1))
        return np.stack(maps)

    @abstractmethod
    def _values(self, prepared: NDArray[np.float32], image: NDArray[Any], model: Any, class_index: Any) -> Any:  # noqa: ANN401 - a keras.Model and tensors
        """Return what the library computes of one photo, (1, H, W, C).

        Args:
            prepared: the photo as the model takes it, float32 (1, H, W, C).
            image: its pixels in 0..255, (H, W, C).
            model: a functional model with one row of outputs.
            class_index: the output explained, a tensor: the library's functions are compiled for each Python number.
        """

    def _model(self, classifier: Classifier, outputs: Sequence[int]) -> tuple[Any, Any]:
        """Return the model that the library is given, and the index of the output explained, a tensor."""
        import tensorflow as tf

        model, class_index = classifier.given.class_model(outputs)
        return model, tf.constant(class_index)

    def _advice(self) -> str:
        return "use occlusion, whose batches shrink"

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 1."""
        return 1

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of forward passes."""
        return self.forward_passes(input_size)

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError if the model has no gradients, is channels_first or cannot be given to the library."""
        super().check(classifier)
        if classifier.given.channels_first:
            raise ModelError(
                f"{self.text}: tf-explain sums over the last axis of the input, and model '{classifier.name}' has "
                "channels_first layers or input; use gradcam or occlusion"
            )
        classifier.given.flat_for("")


@dataclass(frozen=True)
class TfExplainVanillaGradients(_TfExplainGradients):
    """The gradient of ``tf_explain.core.vanilla_gradients.VanillaGradients``.

    It is the gradient of the logit only if the model's last layer is an activation by itself, which the library then
    takes off. Where the softmax is part of a Dense layer, as in all of ``keras.applications``, the library warns and
    explains the softmax score, whose gradient vanishes on confident photos.

    Reference: tf-explain 0.3.1, ``get_score_model`` and ``compute_gradients``.
    """

    name: ClassVar[str] = "tf_explain.vanilla_gradients"
    cost: ClassVar[str] = "1 F + 1 B"
    method: ClassVar[str] = "one pass forward, one back"
    summary: ClassVar[str] = "gradient of the softmax score"

    def _values(self, prepared: NDArray[np.float32], image: NDArray[Any], model: Any, class_index: Any) -> Any:  # noqa: ANN401 - as above
        from tf_explain.core.vanilla_gradients import VanillaGradients

        return VanillaGradients.compute_gradients(prepared, model, class_index)

    def _model(self, classifier: Classifier, outputs: Sequence[int]) -> tuple[Any, Any]:
        import tensorflow as tf
        from tf_explain.core.vanilla_gradients import VanillaGradients

        # The rule of the library's get_score_model, which itself cannot look into a flat model.
        is_activation = VanillaGradients()._is_activation_layer(classifier.given.last_layer)
        model, class_index = classifier.given.class_model(outputs, activated=not is_activation)
        return model, tf.constant(class_index)


@dataclass(frozen=True)
class TfExplainGradientsInputs(TfExplainVanillaGradients):
    """The product of ``tf_explain.core.gradients_inputs.GradientsInputs``.

    The gradient is that of ``tf_explain.vanilla_gradients``; the input is in the model's space, so the product is 0 for
    the mean color where the preprocessing subtracts it (caffe: VGG, ResNet), and for black where pixels are 0..1 or
    0..255.

    Reference: tf-explain 0.3.1, ``compute_gradients``.
    """

    name: ClassVar[str] = "tf_explain.gradients_inputs"
    summary: ClassVar[str] = "softmax gradient times input"

    def _values(self, prepared: NDArray[np.float32], image: NDArray[Any], model: Any, class_index: Any) -> Any:  # noqa: ANN401 - as above
        from tf_explain.core.gradients_inputs import GradientsInputs

        return GradientsInputs.compute_gradients(prepared, model, class_index)


@dataclass(frozen=True)
class TfExplainSmoothGrad(_TfExplainGradients):
    """The averaged gradients of ``tf_explain.core.smoothgrad.SmoothGrad``.

    They are gradients of Keras' categorical cross-entropy, not of the logit: -log p of a softmax; where the model has a
    sigmoid for each class, the loss takes their logits for those of a softmax; where the outputs are logits, it takes
    them for probabilities, and the map is often 0. The noise is in the model's own space: the default 1.0 is 0.4
    percent of the range of an input in 0..255 (the paper: 10 to 20), and half of the range of one in -1..1. The library
    draws from NumPy's global state, which is seeded here for each photo and restored.

    Attributes:
        num_samples: number of noisy copies of the photo.
        noise: standard deviation of the noise, in the model's own input space.
        seed: Random seed; the run's seed if not given.

    Reference: tf-explain 0.3.1, ``generate_noisy_images`` and ``get_averaged_gradients``.
    """

    name: ClassVar[str] = "tf_explain.smoothgrad"
    draws: ClassVar[bool] = True
    cost: ClassVar[str] = "5 F + 5 B"
    summary: ClassVar[str] = "gradients of the cross-entropy"
    num_samples: int = 5
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges, and store whole numbers of noise as floats."""
        if self.num_samples < 1:
            raise ConfigError(f"{self.name}: num_samples={self.num_samples} is not allowed; at least 1 noisy copy")
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise ConfigError(f"{self.name}: noise={self.noise} is not allowed; at least 0, in the model's input space")
        object.__setattr__(self, "noise", float(self.noise))

    def check(self, classifier: Classifier) -> None:
        """Raise ModelError as the base class, and if the model is one unit without a sigmoid."""
        super().check(classifier)
        if classifier.head.kind == "sigmoid" and not classifier.head.ending:
            raise ModelError(
                f"{self.text}: tf-explain divides the outputs by their sum, and those of the two classes of model "
                f"'{classifier.name}', z and -z, have the sum 0; use smoothgrad"
            )

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of noisy copies."""
        return self.num_samples

    def _values(self, prepared: NDArray[np.float32], image: NDArray[Any], model: Any, class_index: Any) -> Any:  # noqa: ANN401 - as above
        from tf_explain.core.smoothgrad import SmoothGrad

        random = generator(self.seed, image_digest(image), self.name)
        with _seeded_numpy(random):
            noisy = SmoothGrad.generate_noisy_images(prepared, self.num_samples, self.noise)
        return SmoothGrad.get_averaged_gradients(noisy, model, class_index, self.num_samples)

    def _advice(self) -> str:
        return "use fewer num_samples, or smoothgrad"


@contextmanager
def _seeded_numpy(random: np.random.Generator) -> Iterator[None]:
    """Seed NumPy's global state, which the library draws from, and restore it afterwards."""
    kept = np.random.get_state()  # noqa: NPY002 - the state that the library uses
    np.random.seed(random.integers(0, 2**32, 8, dtype=np.uint32))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(kept)  # noqa: NPY002


@dataclass(frozen=True)
class TfExplainIntegratedGradients(_TfExplainGradients):
    """The mean gradient of ``tf_explain.core.integrated_gradients.IntegratedGradients``.

    It is not integrated gradients: the library never multiplies by (input - baseline), so the values do not add up to
    the difference of the scores. The gradients are those of the model's output, a softmax score as a rule. The baseline
    is 0 in the model's own space: the mean color where the preprocessing subtracts it (caffe), mid-gray in -1..1, black
    in 0..1. The points are equally weighted, both ends included.

    Attributes:
        n_steps: number of points on the path, at least 2.

    Reference: tf-explain 0.3.1, ``generate_interpolations`` and ``get_integrated_gradients``.
    """

    name: ClassVar[str] = "tf_explain.integrated_gradients"
    cost: ClassVar[str] = "10 F + 10 B"
    summary: ClassVar[str] = "mean gradient on the path"
    n_steps: int = 10

    def __post_init__(self) -> None:
        """Check the range."""
        if self.n_steps < 2:
            raise ConfigError(
                f"{self.name}: n_steps={self.n_steps} is not allowed; at least 2, because tf-explain divides by "
                "n_steps - 1"
            )

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of points on the path."""
        return self.n_steps

    def _values(self, prepared: NDArray[np.float32], image: NDArray[Any], model: Any, class_index: Any) -> Any:  # noqa: ANN401 - as above
        from tf_explain.core.integrated_gradients import IntegratedGradients

        path = IntegratedGradients.generate_interpolations(prepared, self.n_steps)
        return IntegratedGradients.get_integrated_gradients(path, model, class_index, self.n_steps)

    def _advice(self) -> str:
        return "use fewer n_steps, or integrated_gradients"
