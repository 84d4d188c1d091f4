"""The HTML report of a run, one self-contained page: sortable tables, plots, images, signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.analysis.audit.service import audit_of
from evalkit.analysis.curves import by_object_size, curves_of, variants
from evalkit.analysis.facts import metric_facts_of
from evalkit.analysis.load import table_of
from evalkit.analysis.results import LeaderboardCell, ParameterChoice, PatchSizeChoice, Results
from evalkit.analysis.service import results_of
from evalkit.report.html.gallery import Photos, gallery
from evalkit.report.html.parameter_plot import parameter_plot
from evalkit.report.html.plots import curve_plot, object_size_plot, sweep_plot, to_svg
from evalkit.report.rerun import rerun_command
from evalkit.report.tables.answers import answers
from evalkit.report.tables.audit import verdict_lines, verdict_rows
from evalkit.report.tables.cost import cost_notes, counted_passes, passes_text, repeatability_text
from evalkit.report.tables.leaderboard import (
    Leaderboard,
    beaten,
    facts,
    is_best,
    leaderboards,
    legend,
    marks,
    number,
    sanity_lines,
    substrate_lines,
    tied_for_best,
    unscored_lines,
)
from evalkit.report.tables.parameter_sweep import ShownSweep, parameter_lines, parameter_table, shown_sweeps
from evalkit.report.tables.patch_size import (
    EXPLORATORY,
    SweepTable,
    choice_lines,
    equal_stride_lines,
    object_size_rows,
    sweep_table,
    sweep_title,
)
from evalkit.report.tables.shortcut import SHORTCUTS, shortcut_lines
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet

__all__ = ["leading", "report_page"]

_TEMPLATES = Path(__file__).parent / "templates"
_SWEEP_METRICS = 5
_KEY_STEPS = 13


def report_page(folder: RunFolder, images: ImageSet | None = None) -> str:
    """Return the report of a finished run.

    Args:
        folder: the run folder, open for reading.
        images: the images of a run whose images were in memory; other images are read again from their files.

    Raises:
        StoreError: the run is not finished, or damaged.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    manifest, results = results_of(folder)
    assets = {name: Markup((_TEMPLATES / f"report.{name}").read_text(encoding="utf-8")) for name in ("css", "js")}  # noqa: S704
    pages = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shown = _content(folder, manifest, results, Photos(manifest, images))
    # Plots are our own SVG, in which matplotlib has escaped every name.
    marked = {name: _marked(value, Markup) for name, value in shown.items()}
    return pages.get_template("report.html").render(**marked, style=assets["css"], script=assets["js"])


class _Drawn(str):
    """SVG that is not escaped in the page."""

    __slots__ = ()


def _marked(value: Any, markup: type[str]) -> Any:  # noqa: ANN401 - whatever a template takes
    if isinstance(value, _Drawn):
        return markup(value)
    if isinstance(value, dict):
        return {key: _marked(item, markup) for key, item in value.items()}
    return [_marked(item, markup) for item in value] if type(value) is list else value


def _content(folder: RunFolder, manifest: Manifest, results: Results, photos: Photos) -> dict[str, Any]:
    table = table_of(folder, manifest)
    boards = leaderboards(manifest, results)
    sizes = by_object_size(manifest, table)
    leaders = leading(manifest, results)
    size_plot = object_size_plot(sizes, leaders, manifest.settings.criterion)
    curves = [
        _Drawn(to_svg(curve_plot(group, variant), f"Deletion and insertion curves of {explainer} {variant}".rstrip()))
        for explainer, of_explainer in curves_of(folder, manifest).items()
        for variant, group in variants(of_explainer).items()
    ]
    patches = [_patch_sweep(manifest, results)] if results.patch_sweep else []
    parameters = [_parameter_sweep(manifest, *numbered) for numbered in enumerate(shown_sweeps(results), start=1)]
    pictures = gallery(folder, manifest, table, photos)
    optional = [
        ("patch-size", "Patch size", patches),
        ("parameters-1", "Parameters", parameters),
        ("object-size", "Object size", size_plot),
        ("curves", "Curves", True),
        ("gallery", "Gallery", pictures),
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
            ("audit", "Metrics on trial"),
            ("not-scored", "Not scored"),
            ("cost", "Cost"),
            ("again", "Run it again"),
        ],
        "answers": [answer for answer in answers(manifest, results) if answer.question],
        "boards": [_board(board, manifest, results) for board in boards],
        "sanity": sanity_lines(results),
        "sweeps": [*patches, *parameters],
        "size_plot": size_plot and _Drawn(to_svg(size_plot, "Score by object size")),
        "size_note": _size_note(results, leaders, len(manifest.explainers)),
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


def _board(board: Leaderboard, manifest: Manifest, results: Results) -> dict[str, Any]:
    cells = [[row.cells[index] for row in board.rows] for index in range(len(board.columns))]
    spans = [_span(column) for column in cells]
    return {
        "title": board.title,
        "tied": tied_for_best(board),
        "notes": substrate_lines(manifest, board),
        "above": list(board.above),
        "columns": [
            {
                "parts": _parts(column.metric),
                "better": column.facts.direction,
                "summary": column.facts.summary,
            }
            for column in board.columns
        ],
        "rows": [
            {
                "letter": row.letter,
                "explainer": row.explainer,
                "control": row.control,
                "cells": [
                    {
                        **_bar(cell, span),
                        "value": "" if cell.mean is None else repr(cell.mean),
                        "text": number(cell.mean),
                        "title": _title(cell),
                        "mark": marks(manifest, results, cell),
                        "letters": beaten(board, cell),
                        "best": is_best(cell),
                    }
                    for cell, span in zip(row.cells, spans, strict=True)
                ],
            }
            for row in board.rows
        ],
    }


def _parts(name: str) -> list[str]:
    """Return the parts of a name; a line may be broken between them."""
    *first, last = name.split("_")
    return [*(f"{part}_" for part in first), last]


def _span(column: Sequence[LeaderboardCell]) -> tuple[float, float]:
    """Return the smallest and largest number of a column, intervals included."""
    values = [value for cell in column for value in (cell.mean, cell.ci_low, cell.ci_high) if value is not None]
    return (min(values), max(values)) if values else (0.0, 0.0)


def _bar(cell: LeaderboardCell, span: tuple[float, float]) -> dict[str, float | None]:
    """Return the positions of mean and interval on the column's scale, in percent."""
    width = span[1] - span[0]
    if cell.mean is None or width <= 0:
        return {"at": None, "low": None, "width": None}
    at = round(100 * (cell.mean - span[0]) / width, 1)
    if cell.ci_low is None or cell.ci_high is None:
        return {"at": at, "low": None, "width": None}
    low = 100 * (cell.ci_low - span[0]) / width
    return {"at": at, "low": round(low, 1), "width": round(100 * (cell.ci_high - span[0]) / width - low, 1)}


def _title(cell: LeaderboardCell) -> str:
    interval = "" if cell.ci_low is None else f"95 % interval {number(cell.ci_low)} to {number(cell.ci_high)}; "
    return (
        f"{interval}{cell.n_scored} images scored, {cell.n_unscored} not"
        + (f"; {cell.ci_reason}" if cell.ci_reason else "")
        + (f"; no rank: {cell.rank_reason}" if cell.rank_reason else "")
    )


def _patch_sweep(manifest: Manifest, results: Results) -> dict[str, Any]:
    plot = sweep_plot(results, manifest.settings.criterion)
    return {
        "anchor": "patch-size",
        "title": sweep_title(manifest, results),
        "plot": plot and _Drawn(to_svg(plot, "Score and cost against patch size")),
        **_sweep_texts(
            sweep_table(manifest, results, _SWEEP_METRICS),
            [row.explainer for row in results.patch_sweep],
            results.best_patch_size,
            choice_lines(results),
            equal_stride_lines(results),
        ),
    }


def _parameter_sweep(manifest: Manifest, position: int, shown: ShownSweep) -> dict[str, Any]:
    criterion = manifest.settings.criterion
    direction = next((one.direction for one in metric_facts_of(manifest) if one.text == criterion), "higher")
    plot = parameter_plot(shown, criterion, direction)
    return {
        "anchor": f"parameters-{position}",
        "title": shown.title,
        "plot": plot and _Drawn(to_svg(plot, f"Score and cost: {shown.title}")),
        **_sweep_texts(
            parameter_table(manifest, shown, _SWEEP_METRICS),
            [row.explainer for row in shown.sweep.rows],
            shown.choice,
            parameter_lines(shown),
            [],
        ),
    }


def _sweep_texts(
    table: SweepTable,
    explainers: Sequence[str],
    choice: PatchSizeChoice | ParameterChoice | None,
    lines: Sequence[str],
    more_lines: Sequence[str],
) -> dict[str, Any]:
    """Return the texts of a sweep's section: its sentences, and its table with the chosen row."""
    return {
        "lines": [line.removeprefix("> ") for line in lines if not line.startswith("= ")] + list(more_lines),
        "legend": [line for line in lines if line.startswith("= ")],
        "chosen": "" if choice is None else "recommended" if choice.decided else "best so far",
        "header": [_parts(name) for name in table.header],
        "rows": [
            {
                "chosen": choice is not None and explainer == choice.explainer,
                "cells": [{"text": text, "best": (index, column) in table.best} for column, text in enumerate(cells)],
            }
            for index, (cells, explainer) in enumerate(zip(table.rows, explainers, strict=True))
        ],
    }


def _curve_note(manifest: Manifest) -> str:
    if all(metric.curve_value == "score" for metric in metric_facts_of(manifest) if metric.draws_curve):
        return ""
    return "Where the axis shows log-odds, there are no bounds, and area below 0 counts as negative."


def _size_note(results: Results, leading: Sequence[str], n_explainers: int) -> str:
    _, _, notes = object_size_rows(results)
    recommendations = [note for note in notes if not note.startswith(EXPLORATORY)]
    shown = "" if len(leading) <= 6 else f" The plot shows the six best of {n_explainers} explainers."
    about = f"{EXPLORATORY}: means with 95 % intervals, by the size of the largest box."
    return " ".join([about, *recommendations]) + shown


def _key() -> str:
    """Return the color scale as a CSS background."""
    import numpy as np

    from evalkit.report.images.colormap import Scale, colored

    colors = colored(np.linspace(-1, 1, _KEY_STEPS)[None], Scale("signed", -1.0, 1.0, ""))[0].tolist()
    return "background:linear-gradient(to right," + ",".join(f"rgb({r},{g},{b})" for r, g, b in colors) + ")"
