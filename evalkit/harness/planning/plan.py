"""A run as data: everything that its numbers depend on, and the keys of its cells."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from evalkit.core import signature
from evalkit.core.component import Component
from evalkit.core.kept_maps import KeptMaps
from evalkit.core.options import Shard
from evalkit.core.settings import DEFAULT_CRITERION, DEFAULT_MARGIN
from evalkit.core.versions import libraries
from evalkit.datasets.geometry import Geometry
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.base import Explainer, Passes
from evalkit.harness.planning import cache_keys
from evalkit.harness.planning.mean_color import SetMean
from evalkit.harness.planning.partners import Draw, Partners
from evalkit.harness.planning.recipe import ModelRecipe, Target, WorkRecipe
from evalkit.harness.planning.references import references_text
from evalkit.metrics.catalog import localizes
from evalkit.metrics.spec import Metric
from evalkit.models.classifier import Classifier
from evalkit.store.manifest import Signatures

__all__ = ["Plan", "joined_classes"]


@dataclass(frozen=True, eq=False)
class Plan:
    """One run: everything that its numbers depend on. It can be pickled: the model is a recipe.

    Attributes:
        images: the labelled images, limited and with their class indices; of a shard its own.
        model: the recipe of the classifier.
        explainers: the explainers, in the order of the options.
        metrics: the metrics, in the order of the options.
        target: ``label`` explains and scores the labelled class, ``predicted`` the predicted class.
        geometry: how photos are fitted to the model's input.
        steps: the number of steps of perturbation metrics whose spec has none.
        seed: Random seed.
        limit: the largest number of images; None = all.
        criterion: the text of the metric that decides the patch size. It changes no score, so it is in no key.
        margin: the largest accepted loss of the criterion.
        batch_size: the largest number of images in one pass, from the options; None = that of a run in the run folder,
            if any.
        keep_maps: which maps are kept in the run folder; it changes no score, so it is in no key; None = as in a run in
            the run folder, or all.
        fail_on_error: stop at the first photo, explainer or metric that fails.
        chosen: the options besides the limit that select images or their classes, and their values.
        joined: the classes with several outputs, of all images before the selection; None = those of ``images``.
        model_given: the options that say how the model is read, besides files and preprocessing, that are not at
            their defaults, and their values.
        files: the absolute paths of other files that were read, by option (``model``, ``weights``, ...).
        token: a unique text for the keys of results that cannot be recognized later, see ``Component.can_be_cached``.
        class_order: how the classes of the images were matched with the model's outputs, in words.
        source: where the images can be read again, ``scenes`` or an absolute path; empty if they cannot.
        mean: the mean color of the whole set, which perturbations use; None = ImageNet's.
        partners: the images of other classes that metrics show beside each image; None = no metric needs any.
        threads: the threads of one operation of the model; 0 = not known.
        threads_given: True if the options set them, so that those of the run folder are not kept.
        threads_are_set: True if this process computes the run, so that they can no longer change.
        shard: the part of the images that is computed; None = all. It is in no signature and no key.
        whole: the images of all shards; None = ``images``.
    """

    images: ImageSet
    model: ModelRecipe
    explainers: Sequence[Explainer]
    metrics: Sequence[Metric]
    target: Target
    geometry: Geometry
    steps: int
    seed: int
    limit: int | None
    criterion: str = DEFAULT_CRITERION
    margin: float = DEFAULT_MARGIN
    batch_size: int | None = None
    keep_maps: KeptMaps | None = None
    fail_on_error: bool = False
    chosen: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    class_order: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    model_given: Mapping[str, str] = field(default_factory=dict)
    joined: Sequence[tuple[str, tuple[int, ...]]] | None = None
    mean: SetMean | None = None
    partners: Partners | None = None
    threads: int = 0
    threads_given: bool = False
    threads_are_set: bool = True
    shard: Shard | None = None
    whole: ImageSet | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def classifier(self) -> Classifier:
        """The classifier, built by its recipe when it is first needed."""
        return self.model.build()

    @property
    def all_images(self) -> ImageSet:
        """The images of all shards."""
        return self.images if self.whole is None else self.whole

    @property
    def positions(self) -> range:
        """The position of each image among those of all shards."""
        return range(len(self.images)) if self.shard is None else self.shard.positions(len(self.all_images))

    def with_batch_size(self, batch_size: int) -> Plan:
        """Return the same run with another batch size, which changes no number."""
        return replace(self, model=self.model.with_batch_size(batch_size))

    @property
    def kept_maps(self) -> KeptMaps:
        """Which maps are kept."""
        return self.keep_maps or KeptMaps()

    @property
    def work(self) -> WorkRecipe:
        """The recipe for workers: all that they need besides jobs."""
        return WorkRecipe(
            self.model,
            self.images.source,
            tuple(self.explainers),
            tuple(self.metrics),
            self.target,
            self.geometry,
            self.seed,
        )

    @cached_property
    def target_text(self) -> str:
        """The target; with a digest of the classes that have several outputs, if any."""
        classes = joined_classes(self.images) if self.joined is None else self.joined
        if self.target == "predicted" or not classes:
            return self.target
        return signature.with_digest(self.target, repr(classes))

    @cached_property
    def subject(self) -> str:
        """The part of the signature that may differ between comparable runs: model, weights, versions, precision."""
        return f"{cache_keys.subject(self.classifier)}|layer:{self.classifier.target_layer or 'none'}"

    @cached_property
    def protocol(self) -> str:
        """The part that must match: images, geometry, target, steps, seed."""
        return cache_keys.protocol(
            {
                "data": self.images.name,
                "images": len(self.all_images),
                "limit": self.limit,
                **self.chosen,
                "geometry": self.geometry,
                "score": self.classifier.head.kind,
                "target": self.target_text,
                "steps": self.steps,
                "seed": self.seed,
            }
        )

    @cached_property
    def metric_lines(self) -> dict[str, str]:
        """Every metric's line by its text; one that uses the model's scores also names the score and the target."""
        head, mean = self.classifier.head.kind, "" if self.mean is None else self.mean.text
        partners = "" if self.partners is None else f"|partners:{self.partners.text}"
        return {
            metric.text: cache_keys.metric_line(metric, self.target_text, self.seed, head, mean)
            + (partners if metric.n_partners else "")
            for metric in self.metrics
        }

    @cached_property
    def explainer_lines(self) -> dict[str, str]:
        """Every explainer's line by its text; one that uses the set's mean color or references also names them."""
        references = "" if self.model.references is None else f"|references:{references_text(self.model.references)}"
        return {
            explainer.text: explainer.signature
            + (f"|mean:{self.mean.text}" if self.mean and explainer.substrate in ("mean", "blur") else "")
            + (references if explainer.uses_references else "")
            for explainer in self.explainers
        }

    def signatures(self) -> Signatures:
        """Return every line of the run."""
        return Signatures(
            run=f"{self.protocol} || {self.subject}",
            metrics=self.metric_lines,
            explainers=self.explainer_lines,
        )

    def digest(self) -> str:
        """Return eight digits of a digest of all signatures: the default output folder ends in them."""
        lines = self.signatures()
        return signature.digest("\n".join([lines.run, *lines.metrics.values(), *lines.explainers.values()]), 8)

    @cached_property
    def facts_line(self) -> str:
        """Model, libraries, geometry and target: all that an image's stored facts depend on."""
        model = f"{cache_keys.subject(self.classifier)}{self.classifier.layer_key}"
        return f"{model}|{libraries()}|{self.geometry}|{self.target_text}"

    @cached_property
    def facts_key(self) -> str:
        """The key that an image's stored facts (target, clean score) must have to be used again."""
        return signature.digest(self.facts_line, 32)

    @cached_property
    def region_key(self) -> str:
        """The key that the stored facts about an image's region must have to be used again."""
        return signature.digest(f"{self.facts_line}|region|mean:{'' if self.mean is None else self.mean.text}", 32)

    @cached_property
    def localizes(self) -> bool:
        """Whether a metric compares maps with where the object is."""
        return any(map(localizes, self.metrics))

    @cached_property
    def map_keys(self) -> dict[str, str]:
        """The keys that stored maps must have to be used again, by the explainer's text."""
        return {
            explainer.text: signature.digest(
                f"{self.facts_line}|{self.explainer_lines[explainer.text]}{explainer.contents}{self._once(explainer)}",
                32,
            )
            for explainer in self.explainers
        }

    @cached_property
    def score_keys(self) -> dict[tuple[str, str], str]:
        """The keys of an image's cells, by the texts of explainer and metric: the same for every image.

        Those of a metric with partners are completed by ``score_keys_of``.
        """
        lines = {metric.text: self.metric_lines[metric.text] + self._once(metric) for metric in self.metrics}
        return {
            (explainer, metric): signature.digest(f"{map_key}|{line}", 32)
            for explainer, map_key in self.map_keys.items()
            for metric, line in lines.items()
        }

    def score_keys_of(self, image_id: str) -> dict[tuple[str, str], str]:
        """Return the keys of all cells of one image; those of a metric with partners depend on the partners' photos.

        Reads the photos of partners whose digest is not known yet.
        """
        if self.partners is None:
            return self.score_keys
        contents = {
            metric.text: self.partners.digest(image_id, metric.n_partners)
            for metric in self.metrics
            if metric.n_partners
        }
        return {
            (explainer, metric): signature.digest(f"{key}|{contents[metric]}", 32) if metric in contents else key
            for (explainer, metric), key in self.score_keys.items()
        }

    def partners_of(self, image_id: str) -> Draw:
        """Return the partners of one image; none if no metric needs any."""
        return Draw() if self.partners is None else self.partners.of_image[image_id]

    @cached_property
    def _passes(self) -> dict[str, Passes]:
        return {explainer.text: explainer.passes(self.classifier) for explainer in self.explainers}

    def passes_of(self, explainer: str) -> Passes:
        """Return the largest number of passes of one map of the explainer with this text, as if it ran alone."""
        return self._passes[explainer]

    def _once(self, component: Component) -> str:
        return "" if component.can_be_cached else f"|once:{self.token}"


def joined_classes(images: ImageSet) -> list[tuple[str, tuple[int, ...]]]:
    """Return the classes that have several outputs, with these outputs."""
    return sorted({(entry.label, entry.outputs) for entry in images.entries if entry.outputs})
