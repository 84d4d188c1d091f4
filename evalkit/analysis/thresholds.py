"""The thresholds that a run's images choose, to be used on other images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evalkit.analysis.load import metrics_of, read_run
from evalkit.analysis.scores import numbers_of
from evalkit.analysis.shards import require_whole
from evalkit.core.errors import ConfigError
from evalkit.metrics.spec import SetMetric
from evalkit.metrics.thresholds import THRESHOLDS_VERSION, ThresholdFile

__all__ = ["thresholds_of"]


def thresholds_of(path: Path) -> ThresholdFile:
    """Return the best thresholds of every explainer of a finished run, for each metric that chooses some.

    Args:
        path: the run folder.

    Raises:
        StoreError: the run is not finished, or damaged.
        ConfigError: the run has no metric that chooses a threshold, or none that scored an image; or it is a shard.
    """
    run = read_run(path)
    require_whole(run.manifest, "a choice of thresholds")
    table = run.table.by_photo()
    thresholds: dict[str, dict[str, tuple[float, ...]]] = {}
    for metric in metrics_of(run.manifest):
        if not (isinstance(metric, SetMetric) and metric.set_level):
            continue
        numbers = numbers_of(metric, table)
        for column, explainer in enumerate(table.explainers):
            rows = numbers[:, column]
            rows = rows[np.isfinite(rows).all(axis=1)]
            chosen = metric.chosen_thresholds(rows.mean(axis=0)) if len(rows) else ()
            if chosen:
                thresholds.setdefault(metric.spec_name(), {})[explainer] = chosen
    if not thresholds:
        raise ConfigError(
            f"'{path}' has no thresholds: none of its metrics that choose one (max_box_acc_v1, max_box_acc_v2) scored "
            "an image; run it on images with regions, with --metrics max_box_acc_v1,max_box_acc_v2"
        )
    return ThresholdFile(THRESHOLDS_VERSION, path.name, run.manifest.model.name, run.manifest.data.name, thresholds)
