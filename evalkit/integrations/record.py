"""What every tracker gets of a finished run, gathered before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evalkit.analysis.load import table_of
from evalkit.analysis.results import Results
from evalkit.analysis.service import results_of
from evalkit.analysis.shards import require_whole
from evalkit.core.signature import digest
from evalkit.integrations.numbers import ScoreRow, numbers_of, score_rows
from evalkit.integrations.parameters import Value, parameters_of
from evalkit.integrations.pictures import Picture, pictures_of
from evalkit.report import render, render_citation
from evalkit.report.cite import methods
from evalkit.report.html.gallery import Gallery, gallery
from evalkit.report.html.photos import Photos
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import MANIFEST, RunFolder

if TYPE_CHECKING:
    from evalkit.api.run import Run
    from evalkit.datasets.image_set import ImageSet

__all__ = ["Exported", "Record", "default_name", "digest_of", "opened", "record_of", "run_path"]

_DIGITS = 8
_WIDTH = 120


class Exported(NamedTuple):
    """What an export has written.

    Attributes:
        id: the tracker's own name for it: of MLflow the run's id, of W&B its project and id, of TensorBoard the
            folder, of FiftyOne the dataset's name.
        notes: what a reader should know, one sentence each: what was left out, earlier exports, how to look at it.
    """

    id: str
    notes: tuple[str, ...] = ()


class Record(NamedTuple):
    """A finished run as trackers take it.

    Attributes:
        name: the run's name in the tracker.
        digest: the first eight digits of the sha256 of the run's signature lines; equal for equal settings.
        signature: the signature line of the whole run.
        numbers: numbers by name; one that is not defined is left out.
        scores: mean and interval of every explainer with every metric.
        parameters: settings, model, data, versions and recommendations by name.
        methods: a paragraph with all settings, in words.
        files: contents by file name: ``report.html``, ``manifest.json``, ``results.json``, ``citation.txt``.
        pictures: the pictures of the report's gallery.
        notes: sentences on what is missing.
    """

    name: str
    digest: str
    signature: str
    numbers: Mapping[str, float]
    scores: tuple[ScoreRow, ...]
    parameters: Mapping[str, Value]
    methods: str
    files: Mapping[str, bytes]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """What is exported, counted."""
        return (
            f"{len(self.numbers)} numbers, {len(self.parameters)} parameters, {len(self.pictures)} pictures, "
            f"{', '.join(self.files)}"
        )


@contextmanager
def opened(run: Run | str | PathLike[str]) -> Iterator[tuple[RunFolder, Manifest, Results]]:
    """Open a finished run that has all images, and close it at the end.

    Raises:
        StoreError: there is no finished run, or it is damaged.
        ConfigError: the run is a shard.
    """
    folder = RunFolder.read(run_path(run))
    try:
        manifest, results = results_of(folder)
        require_whole(manifest, "an export")
        yield folder, manifest, results
    finally:
        folder.close()


def record_of(run: Run | str | PathLike[str], name: str | None = None, images: ImageSet | None = None) -> Record:
    """Gather what trackers get of a run.

    Args:
        run: a run of ``evalkit.evaluate`` or ``evalkit.open_run``, or a run folder.
        name: the run's name in the tracker; None = the name of its folder.
        images: the photos, if they were in memory or have moved; other photos are read from where the run read them.

    Raises:
        StoreError: there is no finished run, or it is damaged.
        ConfigError: the run is a shard.
    """
    with opened(run) as (folder, manifest, results):
        shown = _gallery(folder, manifest, images)
        return Record(
            name=name or default_name(run),
            digest=digest_of(manifest),
            signature=manifest.signature.run,
            numbers=numbers_of(manifest, results),
            scores=score_rows(manifest, results),
            parameters=parameters_of(manifest, results),
            methods=methods(manifest, results),
            files=_files(folder, manifest, results, images, shown),
            pictures=pictures_of(shown),
            notes=(shown.note,) if shown is not None and shown.note else (),
        )


def run_path(run: Run | str | PathLike[str]) -> Path:
    """Return the folder of a run, or of a path to it."""
    return Path(run.path if hasattr(run, "path") else run)


def default_name(run: Run | str | PathLike[str]) -> str:
    """Return the name of the run's folder."""
    return run_path(run).resolve().name


def digest_of(manifest: Manifest) -> str:
    """Return eight digits that are equal for runs with equal settings, explainers and metrics."""
    lines = manifest.signature
    return digest("\n".join([lines.run, *lines.metrics.values(), *lines.explainers.values()]), _DIGITS)


def _gallery(folder: RunFolder, manifest: Manifest, images: ImageSet | None) -> Gallery | None:
    return gallery(folder, manifest, table_of(folder, manifest), Photos(manifest, images))


def _files(
    folder: RunFolder, manifest: Manifest, results: Results, images: ImageSet | None, shown: Gallery | None
) -> dict[str, bytes]:
    from evalkit.report.html.page import report_page

    return {
        "report.html": report_page(folder, images, shown).encode("utf-8"),
        "manifest.json": (folder.path / MANIFEST).read_bytes(),
        "results.json": render(manifest, results, "json", width=_WIDTH, wide=False, color=False).encode("utf-8"),
        "citation.txt": render_citation(manifest, results, "table", width=_WIDTH).encode("utf-8"),
    }
