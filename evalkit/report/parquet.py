"""``show --format parquet``: the leaderboard, or every score, as a Parquet file."""

from __future__ import annotations

from evalkit.analysis.load import finished_manifest, table_of
from evalkit.analysis.results import LeaderboardCell
from evalkit.analysis.service import results_of
from evalkit.report.frames import Frame, record_frame, scores_frame, to_parquet
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

__all__ = ["run_parquet"]


def run_parquet(
    folder: RunFolder, *, per_image: bool, criterion: str | None = None, margin: float | None = None
) -> bytes:
    """Return a finished run as a Parquet file; the run's signature is kept with its schema.

    Args:
        folder: the run folder, open for reading.
        per_image: whether to write a row for each image, explainer and metric, or the leaderboard: a row for each
            explainer and metric, sanity checks behind it, as in CSV.
        criterion: the metric that decides; changes no row.
        margin: the largest accepted loss; changes no row.

    Raises:
        ConfigError: pyarrow is not installed.
        StoreError: the run is not finished, or damaged.
    """
    if per_image:
        manifest = finished_manifest(folder)
        frame: Frame = scores_frame(table_of(folder, manifest), folder.database.unscored())
    else:
        manifest, results = results_of(folder, criterion=criterion, margin=margin)
        frame = record_frame([*results.leaderboard, *results.sanity], LeaderboardCell)
    return to_parquet(frame, _metadata(manifest))


def _metadata(manifest: Manifest) -> dict[str, str]:
    return {
        "evalkit.signature": manifest.signature.run,
        **{f"evalkit.metric.{metric}": text for metric, text in manifest.signature.metrics.items()},
        **{f"evalkit.explainer.{explainer}": text for explainer, text in manifest.signature.explainers.items()},
    }
