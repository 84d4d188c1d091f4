"""The HTML report and its plots as files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.analysis.curves import by_object_size, curves_of, variants
from evalkit.analysis.load import table_of
from evalkit.analysis.service import results_of
from evalkit.core.signature import digest
from evalkit.report.html.parameter_plot import parameter_plot
from evalkit.report.html.plot_style import axis_label
from evalkit.report.html.plots import curve_plot, object_size_plot, sweep_plot
from evalkit.report.images.figure import to_png
from evalkit.report.tables.parameter_sweep import shown_sweeps
from evalkit.store.files import write_file
from evalkit.store.maps import PARTIAL
from evalkit.store.run_folder import REPORT, RunFolder

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet

__all__ = ["write_figures", "write_report"]

_DPI = 144
_LONGEST = 120


def write_report(
    folder: RunFolder,
    path: Path | None = None,
    images: ImageSet | None = None,
    *,
    criterion: str | None = None,
    margin: float | None = None,
) -> Path:
    """Write a run's HTML report and return its path.

    Args:
        folder: the run folder, open for reading.
        path: the file to write; None = ``report.html`` in the run folder.
        images: the images of a run whose images were in memory.
        criterion: the metric that decides; None = the run's own.
        margin: largest accepted loss of the criterion; None = the run's own.

    Raises:
        StoreError: the run is not finished or damaged, or the file cannot be written.
        ConfigError: the criterion is not among the run's metrics, or cannot decide.
    """
    from evalkit.report.html.page import report_page

    page = report_page(folder, images, criterion=criterion, margin=margin).encode("utf-8")
    if path is not None:
        write_file(path, page)
        return path
    # Written in the folder of partial files, which the next run empties if this process is killed.
    write_file(folder.path / REPORT, page, by_way_of=folder.path / PARTIAL)
    return folder.path / REPORT


def write_figures(
    folder: RunFolder, into: Path, *, criterion: str | None = None, margin: float | None = None
) -> list[Path]:
    """Write a run's plots as PNG files and return their paths.

    Args:
        folder: the run folder, open for reading.
        into: the folder to write to; created if missing.
        criterion: the metric that decides; None = the run's own.
        margin: largest accepted loss of the criterion; None = the run's own.

    Raises:
        StoreError: the run is not finished or damaged, or a file cannot be written.
        ConfigError: the criterion is not among the run's metrics, or cannot decide.
    """
    from evalkit.report.html.page import leading

    manifest, results = results_of(folder, criterion=criterion, margin=margin)
    criterion = manifest.settings.criterion
    curves = {
        " ".join(filter(None, ("curves", explainer, variant))): curve_plot(group, variant)
        for explainer, of_explainer in curves_of(folder, manifest).items()
        for variant, group in variants(of_explainer).items()
    }
    label = axis_label(manifest, criterion)
    sweeps = {
        f"sweep {shown.sweep.explainer}": figure
        for shown in shown_sweeps(results)
        if (figure := parameter_plot(shown, criterion, label))
    }
    named = curves | sweeps
    figures = dict(zip(_file_names(list(named)), named.values(), strict=True))
    leaders = leading(manifest, results)
    sizes = by_object_size(manifest, table_of(folder, manifest))
    optional = {
        "patch_sizes": sweep_plot(results, criterion, label),
        "object_sizes": object_size_plot(sizes, leaders, criterion, label),
    }
    figures |= {name: figure for name, figure in optional.items() if figure is not None}
    written = []
    for name, figure in figures.items():
        written.append(into / f"{name}.png")
        write_file(written[-1], to_png(figure, _DPI))
    return written


def _file_names(texts: Sequence[str]) -> list[str]:
    """Return a readable and unique file name for each text."""
    names = [re.sub(r"[^\w.=-]+", "_", text).strip("_")[:_LONGEST] for text in texts]
    counts = Counter(name.casefold() for name in names)
    return [
        name if counts[name.casefold()] == 1 else f"{name}-{digest(text, 8)}"
        for name, text in zip(names, texts, strict=True)
    ]
