"""The report and its figures as files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.analysis.curves import by_object_size, curves_of
from evalkit.analysis.run_scores import table_of
from evalkit.analysis.stored import results_of
from evalkit.report.picture import to_png
from evalkit.report.plots import curve_plot, object_size_plot, sweep_plot
from evalkit.store.files import write_file
from evalkit.store.run_folder import REPORT, RunFolder

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet

__all__ = ["write_figures", "write_report"]

_DPI = 144


def write_report(folder: RunFolder, path: Path | None = None, images: ImageSet | None = None) -> Path:
    """Write a run's HTML report and return its path.

    Args:
        folder: open to look.
        path: the file; None = ``report.html`` in the run folder.
        images: the photos, for a run whose images were in memory.

    Raises:
        StoreError: the run is not finished or damaged, or the file cannot be written.
    """
    from evalkit.report.page import report_page

    place = path or folder.path / REPORT
    write_file(place, report_page(folder, images).encode("utf-8"))
    return place


def write_figures(folder: RunFolder, into: Path) -> list[Path]:
    """Write a run's plots as PNG files and return their paths.

    Args:
        folder: open to look.
        into: a folder, made if need be.

    Raises:
        StoreError: the run is not finished or damaged, or a file cannot be written.
    """
    manifest, results = results_of(folder)
    criterion = manifest.settings.criterion
    figures = {
        f"curves_{_safe(explainer)}": curve_plot(found) for explainer, found in curves_of(folder, manifest).items()
    }
    own = [one.text for one in manifest.explainers if not one.control]
    sizes = by_object_size(table_of(folder, manifest), criterion, manifest.settings.seed)
    optional = {"patch_sizes": sweep_plot(results, criterion), "object_sizes": object_size_plot(sizes, own, criterion)}
    figures |= {name: figure for name, figure in optional.items() if figure is not None}
    written = []
    for name, figure in figures.items():
        written.append(into / f"{name}.png")
        write_file(written[-1], to_png(figure, _DPI))
    return written


def _safe(text: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", text).strip("_")
