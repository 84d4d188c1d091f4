"""How to build what a run works with, as data that another process can use: the model, the images, the components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from evalkit.core.errors import ModelError
from evalkit.datasets.geometry import Geometry
from evalkit.datasets.image_set import ImageSource
from evalkit.explainers.base import Explainer
from evalkit.metrics.spec import Metric
from evalkit.models.classifier import Classifier

__all__ = ["LiveModel", "ModelRecipe", "ModelSource", "NamedModel", "Target", "WorkRecipe"]

Target = str  # "label" or "predicted"


class ModelSource(Protocol):
    """Where a classifier comes from."""

    def load(self, batch_size: int | None) -> Classifier:
        """Build the classifier in its own precision.

        Raises:
            ModelError: the model cannot be found, loaded or explained.
        """


@dataclass(frozen=True)
class NamedModel:
    """A model that is found by what ``--model`` says.

    Attributes:
        source: a file, a name, or ``module:function``.
        weights: a weights file, or None.
        preprocess: the preprocessing family, or None where the model begins with its own.
        class_names: the file that names the outputs, or the names themselves.
    """

    source: str
    weights: str | None = None
    preprocess: str | None = None
    class_names: str | tuple[str, ...] | None = None

    def load(self, batch_size: int | None) -> Classifier:
        """Load the model."""
        from evalkit.models.zoo.load import load_classifier

        names = Path(self.class_names) if isinstance(self.class_names, str) else self.class_names
        return load_classifier(
            self.source,
            weights=None if self.weights is None else Path(self.weights),
            preprocess=self.preprocess,
            class_names=names,
            batch_size=batch_size,
        )


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A Keras model handed over from Python; pickled as Keras saves it.

    Attributes:
        model: the Keras model.
        name: what it is called in tables.
        preprocess: the preprocessing family.
        class_names: names in output order, or None.
        class_ids: WordNet ids in output order, or None.
        target_layer: the layer that CAM methods use by default.
    """

    model: Any
    name: str
    preprocess: str
    class_names: Sequence[str] | None
    class_ids: Sequence[str] | None
    target_layer: str | None

    @classmethod
    def of(cls, classifier: Classifier) -> LiveModel:
        """Return the source of a classifier that exists already."""
        return cls(
            classifier.model,
            classifier.name,
            classifier.preprocess,
            classifier.class_names,
            classifier.class_ids,
            classifier.target_layer,
        )

    def load(self, batch_size: int | None) -> Classifier:
        """Make the model a classifier."""
        return Classifier(
            self.model,
            name=self.name,
            preprocess=self.preprocess,
            class_names=self.class_names,
            class_ids=self.class_ids,
            target_layer=self.target_layer,
            batch_size=batch_size,
        )


@dataclass(frozen=True, eq=False)
class ModelRecipe:
    """How to build the classifier, and what it must then be.

    Attributes:
        source: where the model comes from.
        fingerprint: sha256 of architecture, weights and preprocessing.
        precision: the dtype that it computes in.
        batch_size: the most images in one pass.
    """

    source: ModelSource
    fingerprint: str
    precision: str
    batch_size: int
    _built: Classifier | None = field(default=None, repr=False)

    @classmethod
    def of(cls, classifier: Classifier, source: ModelSource) -> ModelRecipe:
        """Return the recipe of a classifier that exists already; in this process it is used as it is."""
        return cls(source, classifier.fingerprint, classifier.precision, classifier.batch_size, classifier)

    @classmethod
    def live(cls, classifier: Classifier) -> ModelRecipe:
        """Return the recipe of a classifier that was handed over from Python."""
        return cls.of(classifier, LiveModel.of(classifier))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the built classifier behind: another process builds its own."""
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
            if self.precision == "bfloat16" and classifier.precision != "bfloat16":
                classifier = classifier.in_precision("bfloat16")
            if classifier.fingerprint != self.fingerprint:
                raise ModelError(
                    f"model '{classifier.name}' is not the one that the run was planned with: its fingerprint is "
                    f"{classifier.fingerprint[:16]}, planned was {self.fingerprint[:16]}; start the run again"
                )
            object.__setattr__(self, "_built", classifier)
        assert self._built is not None  # noqa: S101 - for the type checker
        return self._built


@dataclass(frozen=True, eq=False)
class WorkRecipe:
    """Everything that a worker needs beside its jobs.

    Attributes:
        model: how to build the classifier.
        images: how to read an image.
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
