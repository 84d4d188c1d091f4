"""Recipes for the model, images, explainers and metrics of a run, as data that another process can use."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.datasets.geometry import Geometry
from evalkit.datasets.image_set import ImageSource
from evalkit.explainers.base import Explainer
from evalkit.metrics.spec import Metric
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier
from evalkit.models.heads import Head
from evalkit.models.keras.precision import has_fewer_digits
from evalkit.models.runner import Pixels

__all__ = ["LiveModel", "ModelRecipe", "ModelSource", "NamedModel", "Target", "WorkRecipe"]

_SAME_LOGITS = (1e-3, 5e-2)  # largest difference, of the largest logit: in float32 and others, in 16 bits

Target = str  # "label" or "predicted"


class ModelSource(Protocol):
    """The source of a classifier."""

    def load(self, batch_size: int | None) -> Classifier:
        """Build the classifier in its own precision.

        Raises:
            ModelError: the model cannot be found, loaded or explained.
        """


@dataclass(frozen=True)
class NamedModel:
    """A model given by the value of ``--model``.

    Attributes:
        source: a file, a name, or ``module:function``.
        options: the options of the model, see ``ModelOptions``.
    """

    source: str
    options: Mapping[str, Any]

    def load(self, batch_size: int | None) -> Classifier:
        """Load the model."""
        from evalkit.models.zoo.load import load_classifier

        return load_classifier(self.source, batch_size=batch_size, **self.options)


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model given from Python; a Keras model is pickled as Keras saves it.

    Attributes:
        model: the Keras model or black box.
        name: the model's name in tables.
        preprocess: the preprocessing family.
        head: how outputs become scores of classes.
        class_names: the names of the outputs, or None.
        class_ids: the WordNet ids of the outputs, or None.
        target_layer: the default layer of CAM methods.
        input_size: (height, width) of its input.
    """

    model: Any
    name: str
    preprocess: str
    head: Head
    class_names: Sequence[str] | None
    class_ids: Sequence[str] | None
    target_layer: str | None
    input_size: tuple[int, int]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state.

        Raises:
            ModelError: the model is a function that cannot be pickled.
        """
        if isinstance(self.model, BlackBox):
            try:
                pickle.dumps(self.model.function)
            except Exception as error:
                raise ModelError(
                    f"model '{self.name}' cannot be sent to another process: its function cannot be pickled "
                    f"({first_line(error)}); define it at the top of a module, or give it by name, --model "
                    "module:function"
                ) from error
        return self.__dict__

    @classmethod
    def of(cls, classifier: Classifier) -> LiveModel:
        """Return the source of an existing classifier."""
        return cls(
            classifier.model,
            classifier.name,
            classifier.preprocess,
            classifier.head,
            classifier.class_names,
            classifier.class_ids,
            classifier.target_layer,
            classifier.input_size,
        )

    def load(self, batch_size: int | None) -> Classifier:
        """Return a classifier of the model."""
        return Classifier(
            self.model,
            name=self.name,
            preprocess=self.preprocess,
            head=self.head,
            class_names=self.class_names,
            class_ids=self.class_ids,
            target_layer=self.target_layer,
            batch_size=batch_size,
            input_size=self.input_size,
        )


@dataclass(frozen=True, eq=False)
class ModelRecipe:
    """The source of a classifier, and its expected properties.

    Attributes:
        source: the source of the model.
        fingerprint: the sha256 of architecture, weights and preprocessing.
        precision: the dtype of the computation.
        batch_size: the largest number of images in one pass.
        mean_color: the mean of each channel, which perturbations turn pixels into: ImageNet's, or that of the image
            set; None = not known.
        references: images drawn from the whole set, uint8 or float32 (R, H, W, C); None = no explainer needs them.
        probes: the logits of the probe images, float64 (N, C), by which the model is recognized on another machine;
            None = it is recognized by its fingerprint, which saving a model can change.
    """

    source: ModelSource
    fingerprint: str
    precision: str
    batch_size: int
    mean_color: tuple[float, ...] | None = None
    references: Pixels | None = None
    probes: NDArray[np.float64] | None = None
    _built: Classifier | None = field(default=None, repr=False)

    @classmethod
    def of(cls, classifier: Classifier, source: ModelSource) -> ModelRecipe:
        """Return the recipe of an existing classifier, which this process uses unchanged."""
        return cls(
            source,
            classifier.fingerprint,
            classifier.precision,
            classifier.batch_size,
            classifier.mean_color,
            classifier.references,
            _built=classifier,
        )

    @classmethod
    def live(cls, classifier: Classifier) -> ModelRecipe:
        """Return the recipe of a classifier given from Python."""
        return cls.of(classifier, LiveModel.of(classifier))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the built classifier: another process builds its own."""
        return {**self.__dict__, "_built": None}

    def with_batch_size(self, batch_size: int) -> ModelRecipe:
        """Return the recipe of the same classifier with another batch size."""
        if self._built is not None:
            self._built.batch_size = batch_size
        return replace(self, batch_size=batch_size)

    def build(self) -> Classifier:
        """Return the classifier, built when it is first needed.

        Raises:
            ModelError: it cannot be built, or is not the model that the run was planned with.
        """
        if self._built is None:
            classifier = self.source.load(self.batch_size)
            if has_fewer_digits(self.precision) and classifier.precision != self.precision:
                classifier = classifier.in_precision(self.precision)
            self._require_same(classifier)
            classifier.fingerprint = self.fingerprint
            if self.mean_color is not None:
                classifier = classifier.with_mean_color(self.mean_color)
            if self.references is not None:
                classifier = classifier.with_references(self.references)
            object.__setattr__(self, "_built", classifier)
        assert self._built is not None  # noqa: S101 - for the type checker
        return self._built

    def _require_same(self, classifier: Classifier) -> None:
        """Raise ModelError unless the classifier is the one that the run was planned with."""
        if self.probes is None:
            if classifier.fingerprint != self.fingerprint:
                raise ModelError(
                    f"model '{classifier.name}' is not the one that the run was planned with: its fingerprint is "
                    f"{classifier.fingerprint[:16]}, planned was {self.fingerprint[:16]}; start the run again"
                )
            return
        found = classifier.probe_logits
        largest = _SAME_LOGITS[has_fewer_digits(self.precision)] * max(np.nanmax(np.abs(self.probes), initial=0.0), 1.0)
        same_shape = found.shape == self.probes.shape
        if not same_shape or not np.allclose(found, self.probes, rtol=0.0, atol=largest, equal_nan=True):
            off = f"by up to {np.nanmax(np.abs(found - self.probes)):.2g}" if same_shape else "in their number"
            raise ModelError(
                f"model '{classifier.name}' is another one after it was sent: its logits on probe images differ {off} "
                "from those that the run was planned with; use --engine local, or give the model as a .keras file"
            )


@dataclass(frozen=True, eq=False)
class WorkRecipe:
    """Everything that a worker needs besides jobs.

    Attributes:
        model: the recipe of the classifier.
        images: the reader of images.
        explainers: the explainers of the run.
        metrics: the metrics of the run.
        target: ``label`` or ``predicted``.
        geometry: how photos are fitted to the model's input.
        seed: Random seed.
    """

    model: ModelRecipe
    images: ImageSource
    explainers: tuple[Explainer, ...]
    metrics: tuple[Metric, ...]
    target: Target
    geometry: Geometry
    seed: int
