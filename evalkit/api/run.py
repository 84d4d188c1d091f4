"""``Run``, the results of a finished run, and ``open_run``."""

from __future__ import annotations

import shutil
import weakref
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.analysis.load import table_of
from evalkit.analysis.results import (
    LeaderboardCell,
    ParameterChoice,
    PatchSizeChoice,
    Results,
    SweepRow,
)
from evalkit.analysis.service import results_of
from evalkit.api.parameter_table import ParameterTable
from evalkit.api.result_table import ResultTable
from evalkit.core.errors import ConfigError, nearest
from evalkit.core.settings import parsed
from evalkit.report import OutputFormat, render, render_citation
from evalkit.report.tables.run_tables import shown_leaderboard, shown_patch_sizes
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable

if TYPE_CHECKING:
    import pandas as pd

    from evalkit.analysis.audit.results import Audit
    from evalkit.datasets.image_set import ImageSet

__all__ = ["Run", "open_run"]

_WIDTH = 120


class Run:
    """A finished run: its leaderboard, its choice of the patch size and other parameters, every score.

    Attributes:
        path: the run folder.
        manifest: the model, data, settings and versions of the run.
        results: the results of the analysis, as plain values.
    """

    def __init__(self, path: Path, *, temporary: Path | None = None) -> None:
        """Open a run folder.

        Args:
            path: the folder.
            temporary: a folder to remove together with this object.

        Raises:
            StoreError: there is no finished run, or it is damaged.
        """
        self.path = path
        if temporary is not None:
            weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        self.manifest, self.results = self._analysed()

    def leaderboard(self, metric: str | None = None) -> ResultTable[LeaderboardCell]:
        """Return every explainer with every metric: mean, 95 % interval, rank, the explainers it is better than.

        Args:
            metric: the metric to return, best explainer first; None = all metrics, in the run's order.

        Raises:
            ConfigError: the run has no leaderboard of this metric.
        """
        cells = self.results.leaderboard
        if metric is not None:
            known = list(dict.fromkeys(cell.metric for cell in cells))
            if metric not in known:
                raise ConfigError(f"metric '{metric}' has no leaderboard in this run; {nearest(metric, known)}")
            cells = tuple(cell for cell in cells if cell.metric == metric)
            cells = tuple(sorted(cells, key=lambda cell: float("inf") if cell.rank is None else cell.rank))
        return ResultTable(
            cells, LeaderboardCell, lambda: shown_leaderboard(self.manifest, self.results, cells, metric)
        )

    def patch_sweep(self) -> ResultTable[SweepRow]:
        """Return the scores and the cost of every (patch size, stride) of ``occlusion``; empty if none was swept."""
        return ResultTable(self.results.patch_sweep, SweepRow, lambda: shown_patch_sizes(self.manifest, self.results))

    def best_patch_size(self, criterion: str | None = None, margin: float | None = None) -> PatchSizeChoice | None:
        """Return the recommended patch size and stride; None if the run has no sizes to choose from.

        Args:
            criterion: the metric that decides the patch size; None = that of the run.
            margin: the largest accepted loss of the criterion; None = that of the run.

        Raises:
            ConfigError: the criterion is not among the run's metrics, or the margin is not above 0.
        """
        if criterion is None and margin is None:
            return self.results.best_patch_size
        chosen_by = parsed({"criterion": criterion, "margin": margin})
        return self._analysed(**chosen_by)[1].best_patch_size

    def parameter_sweeps(self) -> tuple[ParameterTable, ...]:
        """Return the scores and the cost of every variant, a table for each explainer of which several were run."""
        return tuple(ParameterTable(self.manifest, self.results, sweep) for sweep in self.results.parameter_sweeps)

    def best_parameters(
        self, criterion: str | None = None, margin: float | None = None
    ) -> dict[str, ParameterChoice | None]:
        """Return the recommended variant of each explainer of which several were run, by the explainer's name.

        None where there is no recommendation; the sweep's ``reason`` says why.

        Args:
            criterion: the metric that decides; None = that of the run.
            margin: the largest accepted loss of the criterion; None = that of the run.

        Raises:
            ConfigError: the criterion is not among the run's metrics, or the margin is not above 0.
        """
        if criterion is None and margin is None:
            return self.results.best_parameters
        chosen_by = parsed({"criterion": criterion, "margin": margin})
        return self._analysed(**chosen_by)[1].best_parameters

    def scores(self) -> ScoreTable:
        """Return the score of every image: ``values`` float64 (images, explainers, metrics), NaN = not scored."""
        folder = RunFolder.read(self.path)
        try:
            return table_of(folder, self.manifest)
        finally:
            folder.close()

    def to_pandas(self) -> pd.DataFrame:
        """Return every score as a pandas data frame, a row for each image, explainer and metric.

        Its columns are ``image``, ``explainer``, ``metric``, ``value`` (NaN = not scored) and ``reason`` (why not).
        Metrics that score the image set as a whole are in ``leaderboard()`` only. Every table of a run has
        ``to_pandas()`` too.

        Raises:
            ConfigError: pandas is not installed.
        """
        from evalkit.report.frames import scores_frame, to_pandas

        folder = RunFolder.read(self.path)
        try:
            return to_pandas(scores_frame(table_of(folder, self.manifest), folder.database.unscored()))
        finally:
            folder.close()

    def save_maps(self, folder: str | PathLike[str]) -> list[Path]:
        """Write every kept map as a ``.npy`` file, as ``python -m evalkit report --maps`` does, and return their paths.

        The files are ``<explainer>/<image>.npy``, float32 (height, width), which ``python -m evalkit score`` reads.
        """
        from evalkit.store.export import export_maps

        opened = RunFolder.read(self.path)
        try:
            return export_maps(opened, Path(folder))
        finally:
            opened.close()

    def audit(self) -> Audit:
        """Return which metrics can be trusted on this model and these images, as ``python -m evalkit audit`` does."""
        from evalkit.analysis.audit.service import audit_of

        folder = RunFolder.read(self.path)
        try:
            return audit_of(folder)[1]
        finally:
            folder.close()

    def report(self, path: str | PathLike[str] | None = None, images: ImageSet | None = None) -> Path:
        """Write the run as one HTML page, as ``python -m evalkit report`` does, and return its path.

        Args:
            path: the file; None = ``report.html`` in the run folder.
            images: the photos of a run on images in memory; other photos are read from where the run read them.
        """
        from evalkit.report.html.export import write_report

        folder = RunFolder.read(self.path)
        try:
            return write_report(folder, None if path is None else Path(path), images)
        finally:
            folder.close()

    def figures(self, folder: str | PathLike[str]) -> list[Path]:
        """Write the plots as PNG files, as ``python -m evalkit report --figures`` does, and return their paths."""
        from evalkit.report.html.export import write_figures

        opened = RunFolder.read(self.path)
        try:
            return write_figures(opened, Path(folder))
        finally:
            opened.close()

    def render(self, form: OutputFormat = "table", *, everything: bool = False, width: int = _WIDTH) -> str:
        """Return what ``python -m evalkit show`` prints.

        Args:
            form: the output format.
            everything: whether to show every table, as ``--all`` does, or only the first screen; for the table only.
            width: width of the table in characters.
        """
        return render(
            self.manifest,
            self.results,
            form,
            width=width,
            wide=False,
            color=False,
            more=None if everything else ("More:  print(run.render(everything=True)), run.report()",),
        )

    def cite(self, form: OutputFormat = "table", *, width: int = _WIDTH) -> str:
        """Return a paragraph for a methods section and BibTeX, as ``python -m evalkit show --cite`` prints them.

        Args:
            form: ``table`` or ``markdown`` (plain text), ``latex`` or ``json``.
            width: width of plain text in characters.

        Raises:
            ConfigError: the format is csv, which cannot hold text; or the run is a shard.
        """
        return render_citation(self.manifest, self.results, form, width=width)

    def __str__(self) -> str:
        """Return the first screen."""
        return self.render()

    def __repr__(self) -> str:
        """Return the folder and the numbers of images, explainers and metrics."""
        manifest = self.manifest
        return (
            f"Run('{self.path}': {self.results.n_images} images, {len(manifest.explainers)} explainers, "
            f"{len(manifest.metrics)} metrics)"
        )

    def _repr_html_(self) -> str:
        """Show the first screen in a notebook."""
        from evalkit.report.html.notebook import run_html

        return run_html(self.manifest, self.results)

    def _analysed(self, criterion: str | None = None, margin: float | None = None) -> tuple[Manifest, Results]:
        folder = RunFolder.read(self.path)
        try:
            return results_of(folder, criterion=criterion, margin=margin)
        finally:
            folder.close()


def open_run(path: str | PathLike[str]) -> Run:
    """Open a run folder that ``evaluate`` or ``python -m evalkit run`` has finished; TensorFlow is not needed.

    Raises:
        StoreError: there is no finished run, or it is damaged.
    """
    return Run(Path(path))
