"""The analysis of a run folder: taken from the folder where it is still true, else made and kept there."""

from __future__ import annotations

import contextlib

from evalkit.analysis.results import Results
from evalkit.errors import StoreError
from evalkit.metrics.catalog import METRICS
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

__all__ = ["results_of"]


def results_of(folder: RunFolder) -> tuple[Manifest, Results]:
    """Return the manifest and the analysis of a run.

    Raises:
        StoreError: the run is not finished, or damaged.
    """
    manifest = folder.read_manifest()
    if manifest.finished is None:
        raise StoreError(f"run '{folder.path}' is not finished; repeat the command that began it, and it goes on")
    stored = folder.read_analysis(Results)
    if stored is not None:
        return manifest, stored
    from evalkit.analysis.analyse import analyse

    table = folder.database.table([one.text for one in manifest.explainers], manifest.metrics)
    metrics = [METRICS.build(text, steps=manifest.settings.steps) for text in manifest.metrics]
    results = analyse(table, metrics, manifest.explainers, seed=manifest.settings.seed)
    with contextlib.suppress(OSError):  # a run that may only be read is analysed each time
        folder.write_analysis(results)
    return manifest, results
