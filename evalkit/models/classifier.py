"""``Classifier``: the scores of a model and, if it is a Keras graph, its gradients and feature maps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from hashlib import sha256
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ModelError
from evalkit.core.names import model_facts
from evalkit.metrics.requests import Variant
from evalkit.models.blackbox import BlackBox, BlackBoxSource
from evalkit.models.find_head import find_head, probe_images
from evalkit.models.heads import Head
from evalkit.models.inference.blended import BlendedPass, DirectBlendedPass
from evalkit.models.inference.composition import ComposedPass, DirectComposedPass
from evalkit.models.inference.occlusion import OccludedPass
from evalkit.models.inference.perturbation import MEAN_COLOR
from evalkit.models.keras import ends
from evalkit.models.keras import graph as keras_graph
from evalkit.models.keras.above import AbovePass
from evalkit.models.keras.default_layer import DefaultLayer, find_default_layer
from evalkit.models.keras.features import FeaturePass
from evalkit.models.keras.fingerprint import fingerprint
from evalkit.models.keras.flat import GivenModel
from evalkit.models.keras.input_gradients import InputGradients
from evalkit.models.keras.named_layers import NamedLayers
from evalkit.models.keras.own_preprocessing import doubt
from evalkit.models.keras.precision import Precision, is_half
from evalkit.models.keras.source import KerasSource
from evalkit.models.keras.tokens import Grids
from evalkit.models.keras.variant import ChangedWeights, weighted_layers
from evalkit.models.memo import PassMemo
from evalkit.models.runner import PassCount, Pixels, Runner
from evalkit.models.seen import seen_of

__all__ = ["KERAS_OFFERS", "Classifier"]

KERAS_OFFERS: frozenset[str] = frozenset({"scores", "gradients", "features"})
"""What a functional or Sequential Keras model offers; a black box offers scores."""

# Cached, and hold the classifier that they run.
_OF_THIS_CLASSIFIER = ("features", "above", "input_gradients", "composed", "blended", "occluded")
_STEADY = 1e-3  # the largest difference between passes that rounding explains


class Classifier(Runner):
    """An image classifier that takes pixels in 0..255: a Keras model, or a black box.

    It includes the preprocessing. Outputs are converted from the model's precision to float64 before scores are taken
    of them. The user's model is never changed.

    Attributes:
        offers: the parts of a classifier that explainers may need and that exist here.
        model: the given Keras model or black box.
        name: the model's name in tables.
        head: how its outputs become scores of classes.
        input_size: (height, width) in pixels.
        channels: the number of channels of its input.
        mean_color: the mean of each channel that perturbations turn pixels into: ImageNet's for RGB, else that of the
            image set; None if it is not known.
        references: images drawn from the whole image set, uint8 or float32 (R, H, W, C); None if there is no set.
        size_note: a sentence on the input size, if it was chosen and not given; else empty.
        n_classes: the number of classes.
        class_names: the names of the classes, or None if unknown.
        class_ids: the WordNet ids of the classes, or None if unknown.
        target_layer: the default layer of CAM methods; None if there is none.
        preprocess: the preprocessing, as the value of ``--preprocess``; ``none`` of a black box.
        precision: the dtype of the computation; ``bfloat16`` and ``float16`` use a copy of the model; ``own`` of a
            black box.
        batch_size: the largest number of images in one pass; halved when memory runs out.
        passes: the number of forward passes so far, in images.
        fingerprint: the sha256 of architecture, weights and preprocessing, the same in every precision; of a black box
            of its identity and its outputs on probe images.
    """

    def __init__(  # noqa: PLR0913 - what the copies in other precisions and variants share
        self,
        model: keras.Model | BlackBox,
        *,
        name: str | None = None,
        preprocess: str = "none",
        head: str | Head = "auto",
        class_names: Sequence[str] | None = None,
        class_ids: Sequence[str] | None = None,
        target_layer: str | None = None,
        batch_size: int | None = None,
        precision: Precision = "float32",
        count: PassCount | None = None,
        mean_color: Sequence[float] | None = None,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        """See the class. With ``float32`` a model of another dtype keeps its own dtype.

        Args:
            model: the model.
            name: the model's name in tables; None = its own.
            preprocess: the value of ``--preprocess``.
            head: ``auto`` finds it by what the model puts out; or its kind; or the head itself, if it is known.
            class_names: the names of the classes, in their order.
            class_ids: the WordNet ids of the classes, in their order.
            target_layer: the default layer of CAM methods; None = found.
            batch_size: the largest number of images in one pass; None = 32, or fewer if memory is short.
            precision: the dtype of the computation.
            count: the count that passes are added to; None = a new one.
            mean_color: the mean of each channel; None = ImageNet's for RGB, else not known.
            input_size: (height, width) for a model that takes any size; None = the model's own, or 224 x 224.

        Raises:
            ModelError: not a functional or Sequential model over images with one row of class scores, an ambiguous end,
                an unknown preprocessing or layer, or class names that do not fit the outputs.
            ConfigError: the size contradicts the model's own.
        """
        self.model, self.preprocess = model, preprocess
        source: KerasSource | BlackBoxSource
        if isinstance(model, BlackBox):
            source = BlackBoxSource(model, name)
        else:
            source = KerasSource(model, name=name, preprocess=preprocess, precision=precision, input_size=input_size)
        found = head if isinstance(head, Head) else find_head(seen_of(source), head)
        if isinstance(source, KerasSource):
            source.remove_end(removed=found.from_logits and source.end.before_the_end == (found.unit is not None))
        super().__init__(source, found, batch_size, count)
        self.class_names = _checked_names(class_names, self.n_classes, self.name)
        self.class_ids = _checked_names(class_ids, self.n_classes, self.name)
        self.offers: frozenset[str] = frozenset({"scores"})
        self.target_layer: str | None = None
        if isinstance(source, BlackBoxSource):
            self.fingerprint = source.fingerprint
        else:
            self.offers = KERAS_OFFERS
            self.target_layer = self.resolve_layer(target_layer) if target_layer else self.default_layer.path
            self.fingerprint = fingerprint(model, source.preprocessing.identity)
            self.preprocess = source.preprocess
        self._changed_copy: tuple[ChangedWeights, Classifier] | str | None = None
        self.mean_color = _mean_color(mean_color, self.channels)
        self.references: Pixels | None = None
        height, width = self.input_size
        self.size_note = (
            f"input size chosen: {height} x {width}, because model '{self.name}' takes any; --input-size sets another"
            if self.size_is_chosen and input_size is None
            else ""
        )

    @property
    def size_is_chosen(self) -> bool:
        """Whether the model takes other sizes than ``input_size``."""
        return isinstance(self.source, KerasSource) and self.source.layout.chosen

    @property
    def graph(self) -> KerasSource:
        """The graph of the Keras model.

        Raises:
            ModelError: a black box has none.
        """
        if not isinstance(self.source, KerasSource):
            raise ModelError(f"model '{self.name}' is a black box: it has no layers and no gradients; use occlusion")
        return self.source

    @property
    def layer_key(self) -> str:
        """The default layer in keys, where it is not simply the last feature map, e.g. of tokens; else empty."""
        if not isinstance(self.source, KerasSource):
            return ""
        plain = keras_graph.find_target_layer(self.source.model, self.source.shapes)
        return "" if plain == self.target_layer else f"|layer:{self.target_layer}"

    @property
    def facts(self) -> str:
        """What was found or chosen of the model, in words."""
        return model_facts(self.head.text, self.preprocess, self.target_layer, self.input_size, self.channels)

    @property
    def doubt(self) -> str:
        """A sentence on what may be wrong with the model or its preprocessing; empty if nothing is."""
        if self._difference_of_passes > _STEADY:
            return (
                f"model '{self.name}' gives the same image other scores in every pass (they differ by up to "
                f"{self._difference_of_passes:.2g}): a part of it draws random numbers or keeps a state, so maps and "
                "scores differ from run to run; turn it off for inference"
            )
        if not isinstance(self.source, KerasSource):
            return ""
        return doubt(self.source.preprocessing, self.source.model, self.name, (*self.input_size, self.channels))

    @property
    def probe_logits(self) -> NDArray[np.float64]:
        """The logits of the probe images, float64 (N, C); the passes are not counted."""
        images = probe_images(self.input_size, self.channels)
        return self.head.class_logits(self.source.outputs(images).astype(np.float64))

    @cached_property
    def _difference_of_passes(self) -> float:
        """The largest difference between the scores of two passes of the same probe images."""
        images = probe_images(self.input_size, self.channels)[-2:]
        first, second = (
            self.head.scores(self.head.class_logits(self.source.outputs(images).astype(np.float64))) for _ in range(2)
        )
        return float(np.nanmax(np.abs(first - second), initial=0.0))

    @cached_property
    def n_layers(self) -> int:
        """The number of layers whose weights ``variant`` can change; 0 of a black box."""
        return len(weighted_layers(self.source.model)) if isinstance(self.source, KerasSource) else 0

    def variant(self, variant: Variant) -> Classifier:
        """Return a classifier of a changed copy of the model; its passes are counted here.

        There is one copy, whose weights are changed in place: what this returned before changes with it.

        Raises:
            ModelError: the model cannot be changed in this way.
        """
        if not isinstance(self.source, KerasSource):
            raise ModelError(
                f"model '{self.name}' is a black box, whose weights cannot be changed; leave out mprt and emprt"
            )
        if self._changed_copy is None:
            try:
                self._changed_copy = self._copy_to_change()
            except ModelError as error:
                self._changed_copy = str(error)
        if isinstance(self._changed_copy, str):
            raise ModelError(self._changed_copy)
        weights, changed = self._changed_copy
        try:
            changed._reload(weights.apply(variant))
        except Exception:
            weights.forget()
            raise
        changed.fingerprint = sha256(f"{self.fingerprint}|{variant}".encode()).hexdigest()
        return changed

    def _copy_to_change(self) -> tuple[ChangedWeights, Classifier]:
        weights = ChangedWeights(self.graph.model)
        changed = self._copy(weights.copy, self._asked_precision, self.count)
        # Where tokens are in the photo was seen with the model's own weights; random ones do not show it.
        changed.__dict__.pop("_layers", None)
        changed.__dict__.update(grids=self.grids, default_layer=self.default_layer)
        return weights, changed

    def _reload(self, positions: Sequence[int]) -> None:
        """Take over weights that were changed in place, in everything that holds copies of them."""
        if not positions:
            return
        self.graph.reload(positions)
        if "input_gradients" in self.__dict__:
            self.input_gradients.reload(positions)
        if "occluded" in self.__dict__:
            self.occluded.reload()
        self.memo.clear()

    def take_over_weights(self) -> None:
        """Take over the model's weights after these were changed in place, as training does; nothing is compiled again.

        It is for a change of weights alone: where layers or their attributes changed too, a new classifier is needed.

        Raises:
            ModelError: a black box, of whose weights nothing is known.
        """
        graph = self.graph
        self._reload(range(len(graph.model.weights)))
        self.fingerprint = fingerprint(graph.model, graph.preprocessing.identity)
        if isinstance(self._changed_copy, tuple):
            self._changed_copy[0].forget()
        self.__dict__.pop("_difference_of_passes", None)

    def in_precision(self, precision: Precision) -> Classifier:
        """Return a classifier of the same model that computes in another precision.

        Raises:
            ModelError: the model cannot be computed in 16 bits.
        """
        if not isinstance(self.source, KerasSource):
            raise ModelError(f"model '{self.name}' is a black box in a precision of its own; leave --precision out")
        if is_half(precision) and not self.head.from_logits:
            raise ModelError(
                f"the logits of model '{self.name}' cannot be reached, and in {precision} its probabilities would have "
                "three digits; use --precision float32"
            )
        return self._copy(self.graph.model, precision, None)

    def _copy(self, model: keras.Model, precision: Precision, count: PassCount | None) -> Classifier:
        copied = Classifier(
            model,
            name=self.name,
            preprocess=self.preprocess,
            head=self.head,
            class_names=self.class_names,
            class_ids=self.class_ids,
            target_layer=self.target_layer,
            batch_size=self.batch_size,
            precision=precision,
            count=count,
            mean_color=self.mean_color,
            input_size=self.input_size,
        )
        copied.references = self.references
        return copied

    def with_mean_color(self, mean_color: Sequence[float]) -> Classifier:
        """Return a classifier of the same model with another mean color; it shares the count of passes."""
        if self.mean_color == tuple(mean_color):
            return self
        changed = self._changed()
        changed.mean_color = tuple(mean_color)
        return changed

    def with_references(self, references: Pixels) -> Classifier:
        """Return a classifier of the same model that knows images of the set; it shares the count of passes.

        Args:
            references: the images, uint8 or float32 (R, H, W, C) in 0..255, fitted to the model's input.
        """
        changed = self._changed()
        changed.references = references
        return changed

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickled classifier is built: from its model, because what it derives from it holds graphs."""
        return _rebuilt, (
            {
                "model": self.model,
                "name": self.name,
                "preprocess": self.preprocess,
                "head": self.head,
                "class_names": self.class_names,
                "class_ids": self.class_ids,
                "target_layer": self.target_layer,
                "batch_size": self.batch_size,
                "precision": self._asked_precision,
                "mean_color": self.mean_color,
                "input_size": self.input_size,
            },
            self.fingerprint,
            self.references,
        )

    @property
    def _asked_precision(self) -> Precision:
        """The precision that this classifier was built with; ``float32`` also of a model in a dtype of its own."""
        if self.precision == "tf32":
            return "tf32"
        copied = isinstance(self.source, KerasSource) and self.source.computed is not self.source.model
        return self.precision if copied and is_half(self.precision) else "float32"

    def _changed(self) -> Classifier:
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        changed._changed_copy, changed.memo = None, PassMemo()
        for compiled in _OF_THIS_CLASSIFIER:
            changed.__dict__.pop(compiled, None)
        return changed

    def sharing(self, layers: Collection[str] = ()) -> AbstractContextManager[None]:
        """Return a block in which explainers share passes; for one photo, because its results stay in memory.

        Args:
            layers: the paths of the layers whose activations and gradients are read, of all explainers.
        """
        return self.memo.sharing(layers)

    def required_mean_color(self) -> tuple[float, ...]:
        """Return the mean color.

        Raises:
            ModelError: it is not known, because the model does not take RGB and there is no image set.
        """
        if self.mean_color is None:
            raise ModelError(
                f"model '{self.name}' takes {self.channels} channel{'s' * (self.channels > 1)}, whose mean color is "
                "known of an image set only: use occlusion with fill=black or fill=gray, or run it on a set"
            )
        return self.mean_color

    @cached_property
    def features(self) -> FeaturePass:
        """Tensors inside the model, and their gradients."""
        return FeaturePass(self, self.graph, self.grids)

    @cached_property
    def above(self) -> AbovePass:
        """Logits of changed outputs of one layer, by the part of the model above it."""
        return AbovePass(self, self.graph, self.grids)

    @cached_property
    def input_gradients(self) -> InputGradients:
        """Gradients of a target's logit with respect to the pixels, in the model's own precision.

        In bfloat16 the ranks of their maps differ, with correlations down to 0.88 on vgg16-mini.
        """
        source = self.graph
        if source.computed is not source.model:
            source = KerasSource(
                source.model,
                name=self.name,
                preprocess=self.preprocess,
                precision="float32",
                input_size=self.input_size,
            )
            source.remove_end(removed=bool(self.graph.replaced))
        return InputGradients(self, source)

    @cached_property
    def default_layer(self) -> DefaultLayer:
        """The layer of CAM methods that is found in the graph, or why there is none."""
        return find_default_layer(self.graph, self.grids)

    @cached_property
    def grids(self) -> Grids:
        """Where the outputs of layers are in the photo."""
        return Grids(self.graph)

    @cached_property
    def composed(self) -> ComposedPass | DirectComposedPass:
        """Logits of images composed of two others, pixel by pixel."""
        return ComposedPass(self, self.source) if isinstance(self.source, KerasSource) else DirectComposedPass(self)

    @cached_property
    def blended(self) -> BlendedPass | DirectBlendedPass:
        """Logits of a photo blended toward a substrate by masks of weights."""
        return BlendedPass(self, self.source) if isinstance(self.source, KerasSource) else DirectBlendedPass(self)

    @cached_property
    def occluded(self) -> OccludedPass:
        """Logits of an image under many patches."""
        return OccludedPass(self)

    @cached_property
    def _layers(self) -> NamedLayers:
        return NamedLayers(self.graph, self.grids, self.default_layer)

    def resolve_layer(self, layer: str) -> str:
        """Return the full path of a layer given by its path or by a unique end of it, see ``NamedLayers.resolve``."""
        return self._layers.resolve(layer)

    def depends_on(self, path: str) -> bool:
        """Return whether the outputs depend on a layer's features; if they are tokens, on those of patches.

        Args:
            path: the layer's path, from ``resolve_layer``.
        """
        return self._layers.are_needed(path)

    def pooled_end(self) -> ends.Pooled | None:
        """Return the end of the model for CAM; None unless it is global average pooling and one dense layer."""
        return self._layers.pooled_end()

    @cached_property
    def given(self) -> GivenModel:
        """The model as libraries are given it."""
        return GivenModel(self.source, self.head)


def _rebuilt(keywords: dict[str, Any], fingerprint: str, references: Pixels | None) -> Classifier:
    """Return the classifier that was pickled; saving a model can change what its fingerprint is made of."""
    classifier = Classifier(**keywords)
    classifier.fingerprint, classifier.references = fingerprint, references
    return classifier


def _checked_names(names: Sequence[str] | None, n_classes: int, model: str) -> tuple[str, ...] | None:
    if names is not None and len(names) != n_classes:
        raise ModelError(f"{len(names)} class names were given, but model '{model}' has {n_classes} classes")
    return None if names is None else tuple(names)


def _mean_color(given: Sequence[float] | None, channels: int) -> tuple[float, ...] | None:
    return tuple(given) if given else MEAN_COLOR if channels == len(MEAN_COLOR) else None
