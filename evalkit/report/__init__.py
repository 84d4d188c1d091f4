"""Results to something to look at: terminal tables, JSON, CSV, Markdown, LaTeX. Needs stored results only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from evalkit.analysis.results import Results
from evalkit.report.formats import FORMATS, OutputFormat
from evalkit.report.tables.listing import render_listing, render_scores
from evalkit.store.manifest import Manifest

if TYPE_CHECKING:
    from evalkit.analysis.verdicts import Comparison, Gate

__all__ = [
    "FORMATS",
    "OutputFormat",
    "render",
    "render_comparison",
    "render_gate",
    "render_listing",
    "render_scores",
]


def render(
    manifest: Manifest,
    results: Results,
    form: OutputFormat,
    *,
    width: int,
    wide: bool,
    color: bool,
    gate: Gate | None = None,
) -> str:
    """Return a run's results in one of the formats.

    Args:
        manifest: of the run.
        results: its analysis.
        form: table, json, csv, markdown or latex.
        width: columns of the terminal; for the table only.
        wide: print intervals at any width; for the table only.
        color: use bold and dim; for the table only.
        gate: its verdicts, printed after the results; one table a file, so not with csv.
    """
    if form == "json":
        from evalkit.report.tables.json_document import document

        held = {} if gate is None else {"gate": msgspec.to_builtins(gate)}
        shown = {**document(manifest, results), **held}
        return json.dumps(shown, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if form == "csv":
        from evalkit.report.tables.csv import render_csv

        return render_csv(results)
    text = _render_text(manifest, results, form, width=width, wide=wide, color=color)
    return text if gate is None else text + "\n" + render_gate(gate, form, width=width, color=color)


def _render_text(
    manifest: Manifest, results: Results, form: OutputFormat, *, width: int, wide: bool, color: bool
) -> str:
    if form == "markdown":
        from evalkit.report.tables.markdown import render_markdown

        return render_markdown(manifest, results)
    if form == "latex":
        from evalkit.report.tables.latex import render_latex

        return render_latex(manifest, results)
    from evalkit.report.tables.terminal import render_terminal

    return render_terminal(manifest, results, width=width, wide=wide, color=color)


def render_comparison(comparison: Comparison, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return a comparison of runs; see ``evalkit.report.tables.comparison``."""
    from evalkit.report.tables.comparison import render_comparison as build

    return build(comparison, form, width=width, color=color)


def render_gate(gate: Gate, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return the gate's verdicts; see ``evalkit.report.gate.table``."""
    from evalkit.report.gate.table import render_gate as build

    return build(gate, form, width=width, color=color)
