"""Export of a run to Weights & Biases: numbers, a table, pictures, the report, and its files as an artifact."""

from __future__ import annotations

import tempfile
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.integrations.libraries import errors_as_sentences, library
from evalkit.integrations.parameters import nested
from evalkit.integrations.record import Exported, Record, record_of

if TYPE_CHECKING:
    from evalkit.api.run import Run
    from evalkit.datasets.image_set import ImageSet

__all__ = ["DEFAULT_PROJECT", "export"]

DEFAULT_PROJECT = "evalkit"

_TITLE = "W&B"
_WHAT_NEXT = "log in (wandb login), or set WANDB_MODE=offline to write to ./wandb and upload later"
_KIND = "evalkit-run"  # of the artifact


def export(
    run: Run | str | PathLike[str],
    *,
    name: str | None = None,
    project: str | None = None,
    images: ImageSet | None = None,
) -> Exported:
    """Write a finished run as a new W&B run. The active run of the notebook, if any, is left alone.

    Every export is a run of its own; the tag ``evalkit-<digest>`` is the same for equal settings. Where it goes besides
    the project follows W&B's own variables: WANDB_ENTITY, WANDB_BASE_URL, WANDB_DIR, WANDB_MODE.

    Args:
        run: a run of ``evalkit.evaluate`` or ``evalkit.open_run``, or a run folder.
        name: the name of the W&B run; None = the name of the run's folder.
        project: the project; None = ``evalkit``.
        images: the photos, if they were in memory or have moved.

    Returns:
        ``<project>/<id>`` of the W&B run, and notes.

    Raises:
        MissingPackageError: wandb is not installed.
        StoreError: there is no finished run, or W&B refuses the export.
        ConfigError: the run is a shard.
    """
    wandb = library("wandb", _TITLE, "wandb")
    record = record_of(run, name, images)
    project = project or DEFAULT_PROJECT
    with errors_as_sentences(_TITLE, _WHAT_NEXT):
        started = wandb.init(
            project=project,
            name=record.name,
            config=nested(dict(record.parameters)) | {"signature": record.signature, "digest": record.digest},
            tags=[f"evalkit-{record.digest}"],
            notes=record.methods,
            job_type="evalkit",
            reinit="create_new",
            # Neither the user's code nor what the terminal shows belongs to a finished run.
            settings=wandb.Settings(console="off", disable_code=True, disable_git=True, quiet=True),
        )
        try:
            _write(wandb, started, record)
        except BaseException:
            started.finish(exit_code=1)
            raise
        started.finish()
    return Exported(f"{project}/{started.id}", (record.summary, *record.notes, *_notes_on(started)))


def _write(wandb: Any, started: Any, record: Record) -> None:  # noqa: ANN401
    columns = ["explainer", "metric", "direction", "mean", "low", "high", "n_scored", "rank"]
    rows = [[getattr(row, column) for column in columns] for row in record.scores]
    started.log(
        {
            **record.numbers,
            "leaderboard": wandb.Table(columns=columns, data=rows),
            **{picture.name: wandb.Image(picture.pixels, caption=picture.caption) for picture in record.pictures},
            "report": wandb.Html(record.files["report.html"].decode("utf-8"), inject=False),
        }
    )
    artifact = wandb.Artifact(f"evalkit-{record.digest}", _KIND, description=record.methods)
    with tempfile.TemporaryDirectory() as temporary:
        for file, contents in record.files.items():
            (Path(temporary) / file).write_bytes(contents)
        artifact.add_dir(temporary)
        started.log_artifact(artifact)


def _notes_on(started: Any) -> tuple[str, ...]:  # noqa: ANN401
    settings = started.settings
    if getattr(settings, "mode", "") == "offline":
        return (f"Written offline; upload it with: wandb sync {settings.sync_dir}",)
    return ()
