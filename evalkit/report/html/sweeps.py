"""The sections of the report on sweeps: the patch sizes of occlusion, and the parameters of other explainers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.analysis.results import ParameterChoice, PatchSizeChoice, Results
from evalkit.report.html.boards import name_parts
from evalkit.report.html.drawn import Drawn
from evalkit.report.html.parameter_plot import parameter_plot
from evalkit.report.html.plot_style import axis_label, to_svg
from evalkit.report.html.plots import sweep_plot
from evalkit.report.tables.parameter_sweep import ShownSweep, parameter_lines, parameter_table, shown_sweeps
from evalkit.report.tables.patch_size import SweepTable, choice_lines, equal_stride_lines, sweep_table, sweep_title
from evalkit.store.manifest import Manifest

__all__ = ["sweep_sections"]

_METRICS = 5  # in the table that is folded


def sweep_sections(manifest: Manifest, results: Results) -> list[dict[str, Any]]:
    """Return the sections, the patch sizes first; only the first one has a table beside its plot."""
    sections = [_patch_sizes(manifest, results)] if results.patch_sweep else []
    sections += [_parameters(manifest, *numbered) for numbered in enumerate(shown_sweeps(results), start=1)]
    for section in sections[1:]:
        section["brief"] = None
    return sections


def _patch_sizes(manifest: Manifest, results: Results) -> dict[str, Any]:
    criterion = manifest.settings.criterion
    plot = sweep_plot(results, criterion, axis_label(manifest, criterion))
    explainers = [row.explainer for row in results.patch_sweep]
    choice = results.best_patch_size
    return {
        "anchor": "patch-size",
        "title": sweep_title(manifest, results),
        "plot": plot and Drawn(to_svg(plot, "Score and cost against patch size")),
        "brief": _table(sweep_table(manifest, results, 1, short=True), explainers, choice),
        "full": _table(sweep_table(manifest, results, _METRICS), explainers, choice),
        **_sentences(choice, choice_lines(results), equal_stride_lines(results)),
    }


def _parameters(manifest: Manifest, position: int, shown: ShownSweep) -> dict[str, Any]:
    criterion = manifest.settings.criterion
    plot = parameter_plot(shown, criterion, axis_label(manifest, criterion))
    explainers = [row.explainer for row in shown.sweep.rows]
    return {
        "anchor": f"parameters-{position}",
        "title": shown.title,
        "plot": plot and Drawn(to_svg(plot, f"Score and cost: {shown.title}")),
        "brief": _table(parameter_table(manifest, shown, 1), explainers, shown.choice),
        "full": _table(parameter_table(manifest, shown, _METRICS), explainers, shown.choice),
        **_sentences(shown.choice, parameter_lines(shown), []),
    }


def _sentences(
    choice: PatchSizeChoice | ParameterChoice | None, lines: Sequence[str], more_lines: Sequence[str]
) -> dict[str, Any]:
    return {
        "lines": [line.removeprefix("> ") for line in lines if not line.startswith("= ")] + list(more_lines),
        "legend": [line for line in lines if line.startswith("= ")],
        "chosen": "" if choice is None else "recommended" if choice.decided else "best so far",
    }


def _table(
    table: SweepTable, explainers: Sequence[str], choice: PatchSizeChoice | ParameterChoice | None
) -> dict[str, Any]:
    """Return a table and which row is chosen."""
    return {
        "header": [name_parts(name) for name in table.header],
        "rows": [
            {
                "chosen": choice is not None and explainer == choice.explainer,
                "cells": [{"text": text, "best": (index, column) in table.best} for column, text in enumerate(cells)],
            }
            for index, (cells, explainer) in enumerate(zip(table.rows, explainers, strict=True))
        ],
    }
