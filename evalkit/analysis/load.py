"""Reading finished runs: manifest, scores, images, maps' hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.analysis.facts import metric_facts_of
from evalkit.core.errors import StoreError
from evalkit.metrics.facts import metric_of_facts
from evalkit.metrics.spec import Metric
from evalkit.store.database import ImageRow
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable

__all__ = ["RunScores", "finished_manifest", "metrics_of", "read_run", "table_of"]


@dataclass(frozen=True, eq=False)
class RunScores:
    """One finished run.

    Attributes:
        name: path of the run folder.
        manifest: the manifest.
        table: the scores.
        images: the images, in the table's order.
        rank_hashes: rank hashes of the maps, by explainer, in the table's order; None = no finite map.
        unscored: for each (explainer, metric), image id to the reason why it is not scored.
    """

    name: str
    manifest: Manifest
    table: ScoreTable
    images: Sequence[ImageRow]
    rank_hashes: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    unscored: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)


def read_run(path: Path) -> RunScores:
    """Read a finished run.

    Raises:
        StoreError: the run is not finished, or damaged.
    """
    folder = RunFolder.read(path)
    try:
        manifest = finished_manifest(folder)
        database = folder.database
        with database.snapshot():
            return RunScores(
                str(path),
                manifest,
                table_of(folder, manifest),
                database.planned_images(),
                database.rank_hashes([explainer.text for explainer in manifest.explainers]),
                database.unscored(),
            )
    finally:
        folder.close()


def finished_manifest(folder: RunFolder) -> Manifest:
    """Return the manifest of a finished run.

    Raises:
        StoreError: the run is not finished, or damaged.
    """
    manifest = folder.read_manifest()
    if manifest.finished is None:
        raise StoreError(f"run '{folder.path}' is not finished; repeat the command that started it to continue it")
    return manifest


def table_of(folder: RunFolder, manifest: Manifest) -> ScoreTable:
    """Return the scores of a run, explainers and metrics in the manifest's order."""
    return folder.database.table([explainer.text for explainer in manifest.explainers], manifest.metrics)


def metrics_of(manifest: Manifest) -> list[Metric]:
    """Return the metrics of a run, in the manifest's order."""
    return [metric_of_facts(facts, manifest.settings.steps) for facts in metric_facts_of(manifest)]
