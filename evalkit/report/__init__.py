"""Results to something to look at: terminal tables, JSON, CSV, Markdown, LaTeX. Needs stored results only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from evalkit.analysis.results import Results
from evalkit.report.formats import FORMATS, OutputFormat
from evalkit.report.listing import render_listing, render_scores
from evalkit.store.manifest import Manifest

if TYPE_CHECKING:
    from evalkit.analysis.verdicts import Comparison, Gate

__all__ = [
    "FORMATS",
    "OutputFormat",
    "document",
    "render",
    "render_comparison",
    "render_gate",
    "render_listing",
    "render_scores",
]


def document(manifest: Manifest, results: Results) -> dict[str, object]:
    """Return the JSON document; see ``evalkit.report.json_document``."""
    from evalkit.report.json_document import document as build

    return build(manifest, results)


def render(manifest: Manifest, results: Results, form: OutputFormat, *, width: int, wide: bool, color: bool) -> str:
    """Return a run's results in one of the formats.

    Args:
        manifest: of the run.
        results: its analysis.
        form: table, json, csv, markdown or latex.
        width: columns of the terminal; for the table only.
        wide: print intervals at any width; for the table only.
        color: use bold and dim; for the table only.
    """
    if form == "json":
        return json.dumps(document(manifest, results), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if form == "csv":
        from evalkit.report.delimited import render_csv

        return render_csv(results)
    if form == "markdown":
        from evalkit.report.markdown import render_markdown

        return render_markdown(manifest, results)
    if form == "latex":
        from evalkit.report.latex import render_latex

        return render_latex(manifest, results)
    from evalkit.report.terminal import render_terminal

    return render_terminal(manifest, results, width=width, wide=wide, color=color)


def render_comparison(comparison: Comparison, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return a comparison of runs; see ``evalkit.report.comparison``."""
    from evalkit.report.comparison import render_comparison as build

    return build(comparison, form, width=width, color=color)


def render_gate(gate: Gate, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return the gate's verdicts; see ``evalkit.report.gate``."""
    from evalkit.report.gate import render_gate as build

    return build(gate, form, width=width, color=color)
