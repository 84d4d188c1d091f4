"""The quality of a model's explanations while it is trained: planned once, scored for the weights that it has."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from evalkit.analysis.scores import numbers_of, scores_of
from evalkit.core.kept_maps import KeptMaps
from evalkit.core.settings import RunOptions
from evalkit.datasets.class_names import GivenNames
from evalkit.datasets.image_set import ImageSet
from evalkit.harness.engine.driver import compute, require_readable
from evalkit.harness.engine.failures import Failures
from evalkit.harness.engine.jobs import Advance, Job, MadeMap, Outcome
from evalkit.harness.engine.local import LocalExecutor
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.prepare import prepare
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.models.classifier import Classifier
from evalkit.models.devices import allow_tf32
from evalkit.models.keras.precision import has_fewer_digits
from evalkit.models.zoo.load import as_classifier
from evalkit.models.zoo.reuse import layers_of, same_layers
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable
from evalkit.store.statistics import Statistics

if TYPE_CHECKING:
    from evalkit.analysis.gate.results import Gate

__all__ = ["Quality", "QualityScorer"]

Cell = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Quality:
    """The scores of a model at one time; cells are (metric, explainer), by their specs.

    Attributes:
        means: the score of each cell, the mean over the photos that are scored; NaN = none is.
        counts: the number of these photos.
        n_photos: the number of photos.
        failures: sentences on photos, explainers and metrics that failed.
        maps: the maps of the first images, by image id.
        forward_passes: the number of forward passes, in images.
        backward_passes: the number of backward passes, in images.
        seconds: the time of scoring, planning included.
        gate: the comparison with the baseline; None without one, or if it failed.
        gate_failed: why it failed; empty if it did not.
    """

    means: Mapping[Cell, float]
    counts: Mapping[Cell, int]
    n_photos: int
    failures: Sequence[str] = ()
    maps: Mapping[str, Sequence[MadeMap]] = field(default_factory=dict)
    forward_passes: int = 0
    backward_passes: int = 0
    seconds: float = 0.0
    gate: Gate | None = None
    gate_failed: str = ""

    @property
    def share_scored(self) -> float:
        """The share of all cells of all photos that are scored, 0..1."""
        return sum(self.counts.values()) / max(len(self.counts) * self.n_photos, 1)


@dataclass(eq=False)
class QualityScorer:
    """Scores one model again and again while its weights change; what was compiled for it is kept.

    Attributes:
        images: the labelled images.
        options: the options of the run that each scoring is.
        class_names: the names of the model's outputs, as ``read_classes`` takes them; None if unknown.
        say: a function that prints one sentence on what was decided; called when the run is planned.
        n_maps: the number of images whose maps are returned.
        gate_of: the comparison of a run folder with a baseline; None = scores stay in memory.
    """

    images: ImageSet
    options: RunOptions
    class_names: GivenNames | None = None
    say: Callable[[str], None] = lambda _: None
    n_maps: int = 0
    gate_of: Callable[[Path], Gate] | None = None
    plan: Plan | None = None
    _layers: object = None

    def check(self, model: keras.Model) -> None:
        """Build a classifier of the model, to see whether it can be explained.

        Raises:
            ModelError: it cannot, or its preprocessing is not known.
        """
        self._classifier(model)

    def score(self, model: keras.Model) -> Quality:
        """Score the model as it is now.

        Raises:
            EvalkitError: the model or the images cannot be used.
        """
        start = perf_counter()
        plan = self.plan = self._planned(model)
        if plan.classifier.precision == "tf32":
            allow_tf32()  # each scoring begins with TF32 off, also where the classifier is kept
        executor = _Recording(plan, self.n_maps)
        gate, failed = None, ""
        if self.gate_of is None:
            for _ in executor.outcomes(_jobs(plan, self.n_maps), lambda _what, _work: None):
                pass
        else:
            gate, failed = self._compared(plan, executor, self.gate_of)
        return replace(executor.quality(), seconds=perf_counter() - start, gate=gate, gate_failed=failed)

    def forget(self) -> None:
        """Free what was made for the model; the next scoring plans anew."""
        self.plan, self._layers = None, None

    def _planned(self, model: keras.Model) -> Plan:
        """Return the plan for the weights that the model has now."""
        layers, plan = layers_of(model), self.plan
        if plan is None:
            plan = prepare(
                self.options,
                self.say,
                model=self._classifier(model),
                images=self.images,
                class_names=self.class_names,
            )
            require_readable(plan)
        else:
            classifier = plan.classifier
            # A layer of tokens, or the outputs of a function, were looked at with other weights.
            if same_layers(self._layers, layers) and "gradients" in classifier.offers and not classifier.layer_key:
                classifier.take_over_weights()
            else:
                classifier = self._again(model, classifier)
            plan = replace(plan, model=ModelRecipe.live(classifier))
        self._layers = layers
        return plan

    def _classifier(self, model: keras.Model) -> Classifier:
        options: dict[str, Any] = {**self.options.model_options(), "class_names": self.class_names}
        return as_classifier(model, batch_size=self.options.batch_size, **options)

    def _again(self, model: keras.Model, earlier: Classifier) -> Classifier:
        """Return a new classifier of the model, with all that planning gave the earlier one."""
        classifier = self._classifier(model)
        if has_fewer_digits(earlier.precision) and classifier.precision != earlier.precision:
            classifier = classifier.in_precision(earlier.precision)
        if earlier.mean_color is not None:
            classifier = classifier.with_mean_color(earlier.mean_color)
        return classifier if earlier.references is None else classifier.with_references(earlier.references)

    def _compared(self, plan: Plan, executor: _Recording, gate_of: Callable[[Path], Gate]) -> tuple[Gate | None, str]:
        """Score in a run folder, which the gate reads; it is deleted at the end."""
        with TemporaryDirectory(prefix="evalkit-") as temporary:
            path = Path(temporary) / "run"
            folder = RunFolder.write(path, fresh=False)
            try:
                kept = replace(plan, keep_maps=KeptMaps(self.n_maps))
                compute(kept, folder, Console(file=io.StringIO()), lambda _plan, _say: executor)
            finally:
                folder.close()
            try:
                return gate_of(path), ""
            except Exception as error:  # the scores are there all the same
                return None, str(error)


def _jobs(plan: Plan, n_maps: int) -> Iterator[Job]:
    """Yield a job for every image, with all cells."""
    metrics = tuple(metric.text for metric in plan.metrics)
    cells = tuple((explainer.text, metrics) for explainer in plan.explainers)
    for position, entry in enumerate(plan.images.entries):
        yield Job(entry, cells, partners=plan.partners_of(entry.id), keeps_maps=position < n_maps)


class _Recording(LocalExecutor):
    """The local executor, which keeps the scores that it yields."""

    def __init__(self, plan: Plan, n_maps: int) -> None:
        super().__init__(plan.work)
        self._plan, self._n_maps = plan, n_maps
        self._done: dict[str, Outcome] = {}

    def outcomes(self, jobs: Iterable[Job], advance: Advance) -> Iterator[Outcome]:
        for outcome in super().outcomes(jobs, advance):
            keeps = len(self._done) < self._n_maps
            self._done[outcome.image_id] = outcome if keeps else replace(outcome, maps=())
            yield outcome

    def quality(self) -> Quality:
        """Return the scores of everything done so far."""
        outcomes, table = list(self._done.values()), self._table().by_photo()
        means: dict[Cell, float] = {}
        counts: dict[Cell, int] = {}
        for metric in self._plan.metrics:
            scores = scores_of(metric, numbers_of(metric, table))
            keys = [(metric.text, explainer) for explainer in table.explainers]
            means.update(zip(keys, map(float, scores.means()), strict=True))
            counts.update(zip(keys, map(int, scores.counts()), strict=True))
        failures = Failures(fatal=False)
        for outcome in outcomes:
            failures.add_cells(outcome.image_id, outcome.cells)
        unusable = [f"not scored: {outcome.image_id}: {outcome.problem}" for outcome in outcomes if outcome.problem]
        return Quality(
            means,
            counts,
            len(table.image_ids),
            failures=[*unusable, *failures.lines()],
            maps={outcome.image_id: outcome.maps for outcome in outcomes[: self._n_maps]},
            forward_passes=sum(outcome.forward_passes for outcome in outcomes),
            backward_passes=sum(outcome.backward_passes for outcome in outcomes),
        )

    def _table(self) -> ScoreTable:
        explainers = tuple(explainer.text for explainer in self._plan.explainers)
        metrics = tuple(metric.text for metric in self._plan.metrics)
        ids = tuple(self._done)
        values = np.full((len(ids), len(explainers), len(metrics)), np.nan)
        statistics: dict[str, NDArray[np.float64]] = {}
        for row, outcome in enumerate(self._done.values()):
            for cell in outcome.cells:
                place = row, explainers.index(cell.explainer)
                if cell.value is not None:
                    values[(*place, metrics.index(cell.metric))] = cell.value
                elif cell.statistics is not None:
                    empty = np.full((len(ids), len(explainers), len(cell.statistics)), np.nan)
                    statistics.setdefault(cell.metric, empty)[place] = cell.statistics
        return ScoreTable(
            ids,
            explainers,
            metrics,
            values,
            {text: Statistics.of(numbers) for text, numbers in statistics.items()},
            {},
            photos=tuple(outcome.sha256 or f"id:{image_id}" for image_id, outcome in self._done.items()),
        )
