"""``Classifier``: a Keras model with scores, gradients, feature maps and fast perturbation passes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

import keras
import numpy as np

from evalkit.core.errors import ModelError, nearest
from evalkit.metrics.requests import Variant
from evalkit.models.inference.composition import ComposedPass
from evalkit.models.inference.occlusion import OccludedPass
from evalkit.models.keras import graph
from evalkit.models.keras.features import FeaturePass
from evalkit.models.keras.fingerprint import fingerprint
from evalkit.models.keras.runner import PassCount, Runner, as_tensor
from evalkit.models.keras.variant import with_new_weights

__all__ = ["Classifier"]


class Classifier(Runner):
    """A Keras image classifier that takes RGB pixels in 0..255.

    It includes the preprocessing. Logits are converted from the model's precision to float64 before the softmax. The
    user's model is never changed.

    Attributes:
        offers: the parts of a classifier that explainers may need and that exist here.
        model: the given Keras model.
        name: the model's name in tables.
        input_size: (height, width) in pixels.
        n_classes: the number of outputs.
        class_names: the names of the outputs, or None if unknown.
        class_ids: the WordNet ids of the outputs, or None if unknown.
        target_layer: the default layer of CAM methods; None without a convolution.
        preprocess: the ``keras.applications`` family whose ``preprocess_input`` is applied, or ``none``.
        precision: the dtype of the computation; ``bfloat16`` uses a copy of the model.
        computed: the Keras model of the passes: ``model`` itself, or its copy in bfloat16.
        batch_size: the largest number of images in one pass; halved when memory runs out.
        passes: the number of forward passes so far, in images.
        work: the multiplications of one pass, from the shapes of kernels and outputs.
        fingerprint: the sha256 of architecture, weights and preprocessing; the same in every precision.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"scores", "gradients", "features"})

    def __init__(  # noqa: PLR0913 - what the copies in other precisions and variants share
        self,
        model: keras.Model,
        *,
        name: str | None = None,
        preprocess: str = "none",
        class_names: Sequence[str] | None = None,
        class_ids: Sequence[str] | None = None,
        target_layer: str | None = None,
        batch_size: int | None = None,
        precision: Literal["float32", "bfloat16"] = "float32",
        count: PassCount | None = None,
    ) -> None:
        """See the class. With ``float32`` a model of another dtype keeps its own dtype.

        Raises:
            ModelError: not a functional or Sequential model over (H, W, 3) images with one row of class scores, a
                sigmoid end, an unknown preprocessing family or layer, or class names that do not fit the outputs.
        """
        super().__init__(
            model, name=name, preprocess=preprocess, batch_size=batch_size, precision=precision, count=count
        )
        self.class_names = _checked_names(class_names, self.n_classes, self.name)
        self.class_ids = _checked_names(class_ids, self.n_classes, self.name)
        self.target_layer = (
            self.resolve_layer(target_layer) if target_layer else graph.find_target_layer(model, self.shapes)
        )
        self.fingerprint = fingerprint(model, preprocess)
        self._variants: dict[Variant, Classifier] = {}

    @property
    def doubt(self) -> str:
        """A sentence on what may be wrong with the preprocessing; empty if nothing is."""
        probe = np.linspace(0, 255, 12).reshape(1, 2, 2, 3)
        changed = not np.array_equal(self._preprocess(as_tensor(probe)), probe.astype(np.float32))
        if not (changed and graph.has_own_preprocessing(self.model)):
            return ""
        return (
            f"--preprocess {self.preprocess} is applied before model '{self.name}', which begins with a Rescaling or "
            "Normalization layer of its own; leave the option out if that layer is all that it needs"
        )

    def variant(self, variant: Variant) -> Classifier:
        """Return a classifier of a changed copy of the model; its passes are counted here. Copies are cached.

        Raises:
            ModelError: the model cannot be changed in this way.
        """
        if variant not in self._variants:
            self._variants[variant] = Classifier(
                with_new_weights(self.model, variant.seed),
                name=self.name,
                preprocess=self.preprocess,
                class_names=self.class_names,
                class_ids=self.class_ids,
                target_layer=self.target_layer,
                batch_size=self.batch_size,
                precision="float32" if self.computed is self.model else "bfloat16",
                count=self.count,
            )
        return self._variants[variant]

    def in_precision(self, precision: Literal["float32", "bfloat16"]) -> Classifier:
        """Return a classifier of the same model that computes in another precision."""
        return Classifier(
            self.model,
            name=self.name,
            preprocess=self.preprocess,
            class_names=self.class_names,
            class_ids=self.class_ids,
            target_layer=self.target_layer,
            batch_size=self.batch_size,
            precision=precision,
        )

    @cached_property
    def features(self) -> FeaturePass:
        """Tensors inside the model, and their gradients."""
        return FeaturePass(self)

    @cached_property
    def composed(self) -> ComposedPass:
        """Logits of images composed of two others, pixel by pixel."""
        return ComposedPass(self)

    @cached_property
    def occluded(self) -> OccludedPass:
        """Logits of an image under many patches."""
        return OccludedPass(self)

    def resolve_layer(self, layer: str) -> str:
        """Return the full path of a layer given by its path or by a unique name.

        Raises:
            ModelError: no such layer, several of that name, or one whose output is not (N, h, w, K).
        """
        paths = [path for path in self.shapes if path == layer or path.rpartition("/")[2] == layer]
        if len(paths) != 1:
            spatial = [path for path, shape in self.shapes.items() if len(shape) == 4]
            problem = "has no layer" if not paths else f"has {len(paths)} layers called"
            advice = nearest(layer, spatial) if spatial else "no layer returns a feature map (N, h, w, K)"
            raise ModelError(f"model '{self.name}' {problem} '{layer}': {advice}")
        if len(self.shapes[paths[0]]) != 4:
            shape = self.shapes[paths[0]]
            raise ModelError(
                f"layer '{layer}' of model '{self.name}' has outputs of shape {shape}; "
                "a feature map (N, h, w, K) is needed"
            )
        return paths[0]

    def pooled_end(self) -> graph.Pooled | None:
        """Return the end of the model for CAM; None unless it is global average pooling and one dense layer."""
        return graph.pooled_end(self.model)

    @cached_property
    def functional(self) -> keras.Model:
        """The model as a plain functional one; a Sequential is copied, because its graph is not accessible."""
        if not isinstance(self.model, keras.Sequential):
            return self.model
        images = keras.Input((*self.input_size, 3))
        tensor = images
        for layer in self.model.layers:
            copy = type(layer).from_config(layer.get_config())
            tensor = copy(tensor)
            copy.set_weights(layer.get_weights())
        return keras.Model(images, tensor, name=self.model.name)

    def last_4d_layer(self) -> str | None:
        """Return the last of the model's own layers with a 4-D output, pooling included: tf-explain's rule."""
        for layer in reversed(self.model.layers):
            shape = getattr(getattr(layer, "output", None), "shape", ())
            if len(shape) == 4:
                return str(layer.name)
        return None


def _checked_names(names: Sequence[str] | None, n_classes: int, model: str) -> tuple[str, ...] | None:
    if names is not None and len(names) != n_classes:
        raise ModelError(f"{len(names)} class names were given, but model '{model}' has {n_classes} outputs")
    return None if names is None else tuple(names)
