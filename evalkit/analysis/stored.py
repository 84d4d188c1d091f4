"""The analysis of a run folder: taken from the folder where it is still true, else made and kept there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evalkit.analysis.results import ANALYSIS_VERSION, Results
from evalkit.errors import StoreError
from evalkit.metrics.catalog import METRICS, find_criterion
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

if TYPE_CHECKING:
    from evalkit.analysis.across import Comparison

__all__ = ["comparison_of", "finished_manifest", "metrics_of", "results_of"]


def finished_manifest(folder: RunFolder) -> Manifest:
    """Return the manifest of a finished run.

    Raises:
        StoreError: the run is not finished, or damaged.
    """
    manifest = folder.read_manifest()
    if manifest.finished is None:
        raise StoreError(f"run '{folder.path}' is not finished; repeat the command that began it, and it goes on")
    return manifest


def metrics_of(manifest: Manifest) -> list[Metric]:
    """Return the metrics of a run, in its order."""
    return [METRICS.build(text, steps=manifest.settings.steps) for text in manifest.metrics]


def results_of(
    folder: RunFolder, *, criterion: str | None = None, margin: float | None = None
) -> tuple[Manifest, Results]:
    """Return the manifest and the analysis of a run.

    Args:
        folder: open to look.
        criterion: the metric that decides the patch size, instead of the run's own.
        margin: the loss of it that is accepted, instead of the run's own.

    Raises:
        StoreError: the run is not finished, or damaged.
        ConfigError: the criterion is not among the run's metrics, or has no score an image.
    """
    manifest = finished_manifest(folder)
    metrics = metrics_of(manifest)
    own = manifest.settings
    settings = msgspec.structs.replace(
        own,
        criterion=own.criterion if criterion is None else find_criterion(criterion, metrics).text,
        margin=own.margin if margin is None else margin,
    )
    stored = folder.read_analysis(Results, ANALYSIS_VERSION) if settings == own else None
    if stored is not None:
        return manifest, stored
    from evalkit.analysis.analyse import analyse

    table = folder.database.table([one.text for one in manifest.explainers], manifest.metrics)
    results = analyse(
        table, metrics, manifest.explainers, seed=own.seed, criterion=settings.criterion, margin=settings.margin
    )
    if settings == own:
        with contextlib.suppress(OSError):  # a run that may only be read is analysed each time
            folder.write_analysis(results, ANALYSIS_VERSION)
    return msgspec.structs.replace(manifest, settings=settings), results


def comparison_of(paths: Sequence[Path]) -> Comparison:
    """Compare finished runs; the first is what the others are held against.

    Raises:
        StoreError: a run is not finished, or damaged.
        NotComparableError: nothing in them can be compared; the setting that differs is named.
    """
    from evalkit.analysis.across import RunScores, compare_runs

    runs = []
    for path in paths:
        folder = RunFolder.read(path)
        try:
            manifest = finished_manifest(folder)
            table = folder.database.table([one.text for one in manifest.explainers], manifest.metrics)
            runs.append(RunScores(str(path), manifest, table, folder.database.planned_images()))
        finally:
            folder.close()
    return compare_runs(runs, metrics_of(runs[0].manifest), seed=runs[0].manifest.settings.seed)
