"""Export of a run to TensorBoard: an event file with numbers, pictures, texts and hyperparameters."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.core.errors import ConfigError
from evalkit.core.native import quiet_native_code
from evalkit.integrations.libraries import errors_as_sentences, library
from evalkit.integrations.record import Exported, Record, default_name, record_of
from evalkit.report.tables.markdown import escape

if TYPE_CHECKING:
    from evalkit.api.run import Run
    from evalkit.datasets.image_set import ImageSet

__all__ = ["DEFAULT_LOG_DIR", "export"]

DEFAULT_LOG_DIR = "logs"

_TITLE = "TensorBoard"
_REPORT = "report.html"


def export(
    run: Run | str | PathLike[str],
    *,
    name: str | None = None,
    log_dir: str | PathLike[str] | None = None,
    images: ImageSet | None = None,
) -> Exported:
    """Write a finished run as one TensorBoard run, a folder with an event file. Loads TensorFlow.

    A folder that is there is refused: TensorBoard would mix the numbers of two event files. TensorBoard shows no files;
    the report lies beside the event file.

    Args:
        run: a run of ``evalkit.evaluate`` or ``evalkit.open_run``, or a run folder.
        name: the folder's name inside ``log_dir``; None = the name of the run's folder.
        log_dir: the folder that ``tensorboard --logdir`` gets; None = ``logs``.
        images: the photos, if they were in memory or have moved.

    Returns:
        The path of the folder, and notes.

    Raises:
        MissingPackageError: TensorBoard is not installed.
        StoreError: there is no finished run, or the folder cannot be written.
        ConfigError: the folder exists, or the run is a shard.
    """
    library("tensorboard", _TITLE, "tensorboard")
    into = Path(log_dir if log_dir is not None else DEFAULT_LOG_DIR)
    folder = _new_folder(into, name or default_name(run))
    record = record_of(run, name, images)
    with quiet_native_code():
        tf = library("tensorflow", "TensorFlow", "tensorboard")
        hparams = library("tensorboard.plugins.hparams.api", _TITLE, "tensorboard")
    with errors_as_sentences(_TITLE, "check --log-dir"):
        into.mkdir(parents=True, exist_ok=True)
        # A folder that appears at once: TensorBoard may be watching, and nothing half-written is left behind.
        with tempfile.TemporaryDirectory(prefix=".evalkit-", dir=into) as temporary:
            whole = Path(temporary) / folder.name
            whole.mkdir()
            with quiet_native_code():  # of a GPU that is not there
                _write(tf, hparams, whole, record)
            (whole / _REPORT).write_bytes(record.files[_REPORT])
            whole.rename(folder)
    return Exported(str(folder), (record.summary, *record.notes, f"Look at it: tensorboard --logdir {into}"))


def _new_folder(into: Path, name: str) -> Path:
    if Path(name).name != name or name == "..":
        raise ConfigError(f"--name '{name}' is not the name of a folder; leave out slashes and points")
    folder = into / name
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"'{folder}' exists, and a second export would be mixed into it; remove it, or give --name")
    return folder


def _write(tf: Any, hparams: Any, folder: Path, record: Record) -> None:  # noqa: ANN401
    writer = tf.summary.create_file_writer(str(folder))
    with contextlib.closing(writer), writer.as_default(step=0):
        for key, value in record.numbers.items():
            tf.summary.scalar(key, value)
        for picture in record.pictures:
            tf.summary.image(picture.name, picture.pixels[None], description=picture.caption)
        tf.summary.text("evalkit/leaderboard", _leaderboard(record))
        tf.summary.text("evalkit/methods", record.methods)
        tf.summary.text("evalkit/signature", record.signature)
        tf.summary.text("evalkit/parameters", _table(("parameter", "value"), record.parameters.items()))
        hparams.hparams(dict(record.parameters), trial_id=record.name)


def _leaderboard(record: Record) -> str:
    rows = [
        (row.explainer, row.metric, *map(_number, (row.mean, row.low, row.high)), row.n_scored) for row in record.scores
    ]
    return _table(("explainer", "metric", "mean", "low", "high", "images scored"), rows)


def _number(value: float | None) -> str:
    return "not scored" if value is None else f"{value:.4f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown, which TensorBoard draws."""
    lines = [header, ["---"] * len(header), *([escape(str(cell)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
