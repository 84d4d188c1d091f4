"""The HTML report of a run, one self-contained page: sortable tables, plots, images, signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.analysis.audit.service import audit_of
from evalkit.analysis.curves import by_object_size, curves_of, variants
from evalkit.analysis.facts import metric_facts_of
from evalkit.analysis.load import table_of
from evalkit.analysis.results import Results
from evalkit.analysis.service import results_of
from evalkit.report.html.boards import board_texts
from evalkit.report.html.drawn import Drawn, marked_safe
from evalkit.report.html.first_screen import screen_texts
from evalkit.report.html.gallery import Gallery, gallery
from evalkit.report.html.photos import Photos
from evalkit.report.html.picture_row import picture_row
from evalkit.report.html.plot_style import axis_label, to_svg
from evalkit.report.html.plots import curve_plot, object_size_plot
from evalkit.report.html.sweeps import sweep_sections
from evalkit.report.rerun import rerun_command
from evalkit.report.tables.audit import verdict_lines, verdict_rows
from evalkit.report.tables.cost import cost_notes, counted_passes, passes_text, repeatability_text
from evalkit.report.tables.leaderboard import facts, leaderboards, legend, sanity_lines, unscored_lines
from evalkit.report.tables.patch_size import EXPLORATORY, object_size_rows
from evalkit.report.tables.screen import screen_of
from evalkit.report.tables.shortcut import SHORTCUTS, shortcut_lines
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet

__all__ = ["leading", "report_page"]

_TEMPLATES = Path(__file__).parent / "templates"
_KEY_STEPS = 13


def report_page(
    folder: RunFolder,
    images: ImageSet | None = None,
    drawn: Gallery | None = None,
    *,
    criterion: str | None = None,
    margin: float | None = None,
) -> str:
    """Return the report of a finished run.

    Args:
        folder: the run folder, open for reading.
        images: the images of a run whose images were in memory; other images are read again from their files.
        drawn: the gallery, if it is drawn already.
        criterion: the metric that decides; None = the run's own.
        margin: largest accepted loss of the criterion; None = the run's own.

    Raises:
        StoreError: the run is not finished, or damaged.
        ConfigError: the criterion is not among the run's metrics, or cannot decide.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    manifest, results = results_of(folder, criterion=criterion, margin=margin)
    assets = {name: Markup((_TEMPLATES / f"report.{name}").read_text(encoding="utf-8")) for name in ("css", "js")}  # noqa: S704
    pages = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shown = _content(folder, manifest, results, Photos(manifest, images), drawn)
    return pages.get_template("report.html").render(**marked_safe(shown), style=assets["css"], script=assets["js"])


def _content(
    folder: RunFolder, manifest: Manifest, results: Results, photos: Photos, drawn: Gallery | None
) -> dict[str, Any]:
    table = table_of(folder, manifest)
    screen = screen_of(manifest, results)
    pictures = gallery(folder, manifest, table, photos) if drawn is None else drawn
    sweeps = sweep_sections(manifest, results)
    criterion = manifest.settings.criterion
    leaders = leading(manifest, results)
    size_plot = object_size_plot(by_object_size(manifest, table), leaders, criterion, axis_label(manifest, criterion))
    curves = [
        Drawn(to_svg(curve_plot(group, variant), f"Deletion and insertion curves of {explainer} {variant}".rstrip()))
        for explainer, of_explainer in curves_of(folder, manifest).items()
        for variant, group in variants(of_explainer).items()
    ]
    optional = [
        ("patch-size", "Patch size", results.patch_sweep),
        ("parameters-1", "Parameters", any(sweep["anchor"] == "parameters-1" for sweep in sweeps)),
        ("object-size", "Object size", size_plot),
        ("curves", "Curves", True),
        ("gallery", "Gallery", pictures),
        ("sanity", "Sanity checks", sanity_lines(results)),
        ("shortcuts", SHORTCUTS, shortcut_lines(manifest, results)),
    ]
    _, audit = audit_of(folder)
    command, command_notes = rerun_command(manifest)
    unusable = manifest.data.unreadable
    return {
        "model": manifest.model,
        "data": manifest.data,
        "facts": facts(manifest, results),
        "sections": [
            ("leaderboard", "Leaderboard"),
            *((anchor, name) for anchor, name, content in optional if content),
            ("all-metrics", "All metrics"),
            ("audit", "Metrics on trial"),
            ("not-scored", "Not scored"),
            ("cost", "Cost"),
            ("again", "Run it again"),
        ],
        "screen": screen_texts(screen, results),
        "row": picture_row(folder, manifest, results, screen.rows, photos, table),
        "boards": [board_texts(board, manifest, results) for board in leaderboards(manifest, results)],
        "sanity": sanity_lines(results),
        "sweeps": sweeps,
        "size_plot": size_plot and Drawn(to_svg(size_plot, "Score by object size")),
        "size_note": _size_note(results, leaders),
        "curves": curves,
        "curve_note": _curve_note(manifest),
        "gallery": pictures,
        "key": _key(),
        "audit": {"advice": audit.advice, "rows": verdict_rows(audit), "lines": verdict_lines(audit)},
        "shortcuts": shortcut_lines(manifest, results),
        "unscored": unscored_lines(results),
        "unusable": unusable,
        "more_unusable": manifest.data.n_unreadable - len(unusable),
        "cost": [
            {
                "explainer": cost.explainer,
                "passes": passes_text(cost),
                "counted": sum(counted_passes(cost)),
                "seconds_per_image": cost.seconds_per_image,
                "seconds": cost.seconds,
                "repeatability": cost.repeatability,
                "repeatability_text": repeatability_text(cost),
                "method": cost.method,
            }
            for cost in results.cost
        ],
        "repeated": any(cost.repeatability is not None for cost in results.cost),
        "cost_notes": cost_notes(results),
        "legend": legend(manifest, results),
        "signature": [
            manifest.signature.run,
            *manifest.signature.metrics.values(),
            *manifest.signature.explainers.values(),
        ],
        "command": command,
        "command_notes": command_notes,
        "version": manifest.versions.get("evalkit", ""),
        "finished": manifest.finished or "",
    }


def leading(manifest: Manifest, results: Results) -> list[str]:
    """Return the explainers without controls, best by the criterion first."""
    controls = {explainer.text for explainer in manifest.explainers if explainer.control}
    cells = [
        cell
        for cell in results.leaderboard
        if cell.metric == manifest.settings.criterion and cell.explainer not in controls and cell.rank is not None
    ]
    return [cell.explainer for cell in sorted(cells, key=lambda cell: cell.rank or 0)]


def _curve_note(manifest: Manifest) -> str:
    if all(metric.curve_value == "score" for metric in metric_facts_of(manifest) if metric.draws_curve):
        return ""
    return "Where the axis shows log-odds, there are no bounds, and area below 0 counts as negative."


def _size_note(results: Results, leading: Sequence[str]) -> str:
    _, _, notes = object_size_rows(results)
    recommendations = [note for note in notes if not note.startswith(EXPLORATORY)]
    shown = "" if len(leading) <= 6 else f" The plot shows the six best of {len(leading)} explainers."
    about = f"{EXPLORATORY}: means with 95 % intervals, by the size of the largest box."
    return " ".join([about, *recommendations]) + shown


def _key() -> str:
    """Return the color scale as a CSS background."""
    import numpy as np

    from evalkit.report.images.colormap import Scale, colored

    colors = colored(np.linspace(-1, 1, _KEY_STEPS)[None], Scale("signed", -1.0, 1.0, ""))[0].tolist()
    return "background:linear-gradient(to right," + ",".join(f"rgb({r},{g},{b})" for r, g, b in colors) + ")"
