"""A run as data: everything that its numbers depend on, and the keys that recognize them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from evalkit.core import signature
from evalkit.core.component import Component
from evalkit.core.settings import DEFAULT_CRITERION, DEFAULT_MARGIN
from evalkit.datasets.geometry import Geometry
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.base import Explainer
from evalkit.harness.planning import cache_keys
from evalkit.harness.planning.recipe import ModelRecipe, Target, WorkRecipe
from evalkit.metrics.spec import Metric
from evalkit.models.classifier import Classifier
from evalkit.store.manifest import Signatures

__all__ = ["Plan", "joined_classes"]


@dataclass(frozen=True, eq=False)
class Plan:
    """One run: everything that its numbers depend on. It can be pickled: the model is a recipe.

    Attributes:
        images: the labelled images, limited and with their class indices.
        model: how to build the classifier.
        explainers: in the order asked for.
        metrics: in the order asked for.
        target: ``label`` explains and scores the labelled class, ``predicted`` the model's own choice.
        geometry: how photos are fitted to the model's input.
        steps: of the perturbation metrics, where their spec names no other.
        seed: of everything random.
        limit: images asked for, or None for all.
        criterion: the metric that decides the patch size, by its text. It moves no score, so no key holds it.
        margin: the loss of it that is accepted.
        batch_size: the most images in one pass, as asked for; None = that of the run folder, if it holds a run already.
        fail_on_error: stop at the first photo, explainer or metric that fails.
        chosen: options that chose among the images besides the limit, and their values.
        joined: the classes that stand for several outputs, of all images that there were to choose from; None = those
            of ``images``.
        files: what was read besides the images, by option (``model``, ``weights``, ...), as absolute paths.
        token: stands for this plan in the keys of what cannot be recognized later, see ``Component.can_be_cached``.
        source: where the images can be read again, ``scenes`` or an absolute path; empty where they cannot.
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
    fail_on_error: bool = False
    chosen: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    joined: Sequence[tuple[str, tuple[int, ...]]] | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def classifier(self) -> Classifier:
        """The classifier, built by its recipe when it is first needed."""
        return self.model.build()

    def with_batch_size(self, batch_size: int) -> Plan:
        """Return the same run with another batch size, which moves no number."""
        return replace(self, model=self.model.with_batch_size(batch_size))

    @property
    def work(self) -> WorkRecipe:
        """What a worker needs beside its jobs."""
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
        """What is explained and scored; with the digest of the classes that stand for several outputs, if any do."""
        classes = joined_classes(self.images) if self.joined is None else self.joined
        if self.target == "predicted" or not classes:
            return self.target
        return signature.with_digest(self.target, repr(classes))

    @cached_property
    def subject(self) -> str:
        """The part of the signature that may differ between comparable runs: model, weights, versions, precision."""
        return cache_keys.subject(self.classifier)

    @cached_property
    def protocol(self) -> str:
        """The part that must match: images, geometry, target, steps, seed."""
        return cache_keys.protocol(
            {
                "data": self.images.name,
                "images": len(self.images),
                "limit": self.limit,
                **self.chosen,
                "geometry": self.geometry,
                "score": "softmax",
                "target": self.target_text,
                "steps": self.steps,
                "seed": self.seed,
            }
        )

    @cached_property
    def metric_lines(self) -> dict[str, str]:
        """Every metric's line by its text; one that uses the model's scores also names the score and the target."""
        return {metric.text: cache_keys.metric_line(metric, self.target_text, self.seed) for metric in self.metrics}

    def signatures(self) -> Signatures:
        """Return every line of the run."""
        return Signatures(
            run=f"{self.protocol} || {self.subject}",
            metrics=self.metric_lines,
            explainers={explainer.text: explainer.signature for explainer in self.explainers},
        )

    def digest(self) -> str:
        """Return eight digits that stand for the whole command: the default output folder ends in them."""
        lines = self.signatures()
        return signature.digest("\n".join([lines.run, *lines.metrics.values(), *lines.explainers.values()]), 8)

    @cached_property
    def facts_line(self) -> str:
        """The model, the libraries, geometry and target: all that what is known of an image depends on."""
        return f"{self.subject}|{cache_keys.libraries()}|{self.geometry}|{self.target_text}"

    @cached_property
    def facts_key(self) -> str:
        """What an image's stored facts (class explained, clean score) must match to be used again."""
        return signature.digest(self.facts_line, 32)

    @cached_property
    def map_keys(self) -> dict[str, str]:
        """What a stored map must match to be used again, by the explainer's text."""
        return {
            one.text: signature.digest(f"{self.facts_line}|{one.signature}{one.contents}{self._once(one)}", 32)
            for one in self.explainers
        }

    @cached_property
    def score_keys(self) -> dict[tuple[str, str], str]:
        """The keys of all cells of an image, by the texts of explainer and metric: the same for every image."""
        lines = {metric.text: self.metric_lines[metric.text] + self._once(metric) for metric in self.metrics}
        return {
            (explainer, metric): signature.digest(f"{map_key}|{line}", 32)
            for explainer, map_key in self.map_keys.items()
            for metric, line in lines.items()
        }

    def _once(self, component: Component) -> str:
        return "" if component.can_be_cached else f"|once:{self.token}"


def joined_classes(images: ImageSet) -> list[tuple[str, tuple[int, ...]]]:
    """Return the classes that stand for several outputs, with these."""
    return sorted({(entry.label, entry.outputs) for entry in images.entries if entry.outputs})
