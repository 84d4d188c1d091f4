"""Export of a run to MLflow: metrics, parameters, tags, and the report with its pictures as artifacts."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evalkit.integrations.libraries import errors_as_sentences, library
from evalkit.integrations.record import Exported, Record, record_of

if TYPE_CHECKING:
    from evalkit.api.run import Run
    from evalkit.datasets.image_set import ImageSet

__all__ = ["DEFAULT_EXPERIMENT", "export"]

DEFAULT_EXPERIMENT = "evalkit"

_TITLE = "MLflow"
_WHAT_NEXT = "check --tracking-uri (or MLFLOW_TRACKING_URI) and --experiment"
_DIGEST_TAG, _SIGNATURE_TAG, _VERSION_TAG = "evalkit.digest", "evalkit.signature", "evalkit.version"
_NOTE_TAG = "mlflow.note.content"  # MLflow shows it as the run's description
# What a server takes in one request, and of one value.
_MOST_METRICS, _MOST_PARAMETERS = 1000, 100
_LONGEST_PARAMETER, _LONGEST_TAG = 6000, 5000

T = TypeVar("T")


def export(
    run: Run | str | PathLike[str],
    *,
    name: str | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    images: ImageSet | None = None,
) -> Exported:
    """Write a finished run as a new MLflow run. The active run of the notebook, if any, is left alone.

    Every export is a run of its own; the tag ``evalkit.digest`` is the same for equal settings, and the notes name
    earlier exports. A run that could not be written completely has the status FAILED.

    Args:
        run: a run of ``evalkit.evaluate`` or ``evalkit.open_run``, or a run folder.
        name: the name of the MLflow run; None = the name of the run's folder.
        tracking_uri: the server or database, e.g. ``sqlite:///mlflow.db``; None = MLflow's own setting.
        experiment: the experiment, created if missing; None = ``evalkit``.
        images: the photos, if they were in memory or have moved.

    Returns:
        The id of the MLflow run, and notes.

    Raises:
        MissingPackageError: MLflow is not installed.
        StoreError: there is no finished run, or MLflow refuses the export.
        ConfigError: the run is a shard.
    """
    mlflow = library("mlflow", _TITLE, "mlflow")
    record = record_of(run, name, images)
    with errors_as_sentences(_TITLE, _WHAT_NEXT):
        client = mlflow.MlflowClient(tracking_uri)
        experiment_id = _experiment(client, experiment or DEFAULT_EXPERIMENT)
        finished = f"attributes.status = 'FINISHED' AND tags.`{_DIGEST_TAG}` = '{record.digest}'"
        earlier = client.search_runs([experiment_id], finished, max_results=1000)
        run_id = client.create_run(experiment_id, run_name=record.name, tags=_tags(record)).info.run_id
        try:
            _write(mlflow, client, run_id, record)
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to show
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
    return Exported(run_id, (record.summary, *record.notes, *_notes_on(earlier)))


def _experiment(client: Any, name: str) -> str:  # noqa: ANN401
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _write(mlflow: Any, client: Any, run_id: str, record: Record) -> None:  # noqa: ANN401
    entities = mlflow.entities
    now = int(time.time() * 1000)
    # In a store of files a name is a file, and cannot be a folder as well.
    folders = {key.rpartition("/")[0] for key in record.numbers}
    metrics = [
        entities.Metric(f"{key}/mean" if key in folders else key, value, now, 0)
        for key, value in record.numbers.items()
    ]
    parameters = [
        entities.Param(key, _shortened(str(value), _LONGEST_PARAMETER)) for key, value in record.parameters.items()
    ]
    for some in _in_parts(parameters, _MOST_PARAMETERS):
        client.log_batch(run_id, params=some)
    for some in _in_parts(metrics, _MOST_METRICS):
        client.log_batch(run_id, metrics=some)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file, contents in record.files.items():
            (folder / file).write_bytes(contents)
        for picture in record.pictures:
            path = folder / f"{picture.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture.png())
        client.log_artifacts(run_id, temporary)


def _tags(record: Record) -> dict[str, str]:
    tags = {
        _DIGEST_TAG: record.digest,
        _SIGNATURE_TAG: record.signature,
        _VERSION_TAG: str(record.parameters.get("versions/evalkit", "")),
        _NOTE_TAG: record.methods,
    }
    return {key: _shortened(value, _LONGEST_TAG) for key, value in tags.items() if value}


def _shortened(text: str, most: int) -> str:
    """Return text that a server takes; whole texts are in the files."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _in_parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


def _notes_on(earlier: Sequence[Any]) -> tuple[str, ...]:
    if not earlier:
        return ()
    count = f"{len(earlier)} export{'s' if len(earlier) > 1 else ''}"
    last = earlier[0].info.run_id
    return (f"The experiment already has {count} with these settings, the last {last}; this one is a new run.",)
