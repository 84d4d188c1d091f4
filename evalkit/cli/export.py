"""``export``: a finished run in a tracker or a dataset browser."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.console import print_result, stderr_console
from evalkit.cli.options import Flag
from evalkit.cli.photos import photos_at
from evalkit.core.names import escaped
from evalkit.integrations.trackers import Tracker, export_run, require_options

__all__ = ["export"]


def export(  # noqa: PLR0913 - options of four trackers
    run_folder: Path,
    /,
    *,
    to: Tracker,
    name: str | None = None,
    data: str | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    project: str | None = None,
    log_dir: Path | None = None,
    photos: Path | None = None,
    overwrite: Flag = False,
) -> None:
    """Write a finished run to MLflow, Weights & Biases, TensorBoard or FiftyOne.

    Metrics with their intervals, settings, recommendations, the signature, the report and the pictures of its gallery;
    to FiftyOne every photo with its maps, scores and regions. The library is an extra, for example: pip install
    'evalkit-saliency[mlflow]'.

    Args:
        run_folder: Folder that `run` or `score` has written.
        to: Where to write it.
        name: Name of the run there; with --to fiftyone of the dataset. [default: the folder's name]
        data: Where the photos are now, if they have moved. [default: where the run read them]
        tracking_uri: With --to mlflow: server or database, e.g. sqlite:///mlflow.db. [default: MLflow's own setting]
        experiment: With --to mlflow: experiment, created if missing. [default: evalkit]
        project: With --to wandb: project. [default: evalkit]
        log_dir: With --to tensorboard: folder in which the run becomes a folder. [default: logs]
        photos: With --to fiftyone: new or empty folder for photos that are in no file, as PNG files.
        overwrite: With --to fiftyone: replace a dataset of this name that evalkit has written.
    """
    options = {
        "tracking_uri": tracking_uri,
        "experiment": experiment,
        "project": project,
        "log_dir": log_dir,
        "photos": photos,
        "overwrite": overwrite,
    }
    require_options(to, options)
    exported = export_run(run_folder, to, name=name, images=photos_at(run_folder, data), options=options)
    console = stderr_console()
    for note in exported.notes:
        console.print(escaped(note), markup=False, highlight=False, soft_wrap=True)
    print_result(escaped(exported.id))
