"""Presentation of results: terminal tables, JSON, CSV, Markdown, LaTeX, HTML. Needs stored results only.

The functions import what they need when called: a module of this package imports no other through it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from evalkit.analysis.results import Results
from evalkit.report.formats import FORMATS, OutputFormat
from evalkit.store.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evalkit.analysis.audit.results import Audit
    from evalkit.analysis.comparison import Comparison
    from evalkit.analysis.gate.results import Gate
    from evalkit.store.scores import ScoreTable

__all__ = [
    "FORMATS",
    "OutputFormat",
    "render",
    "render_audit",
    "render_citation",
    "render_comparison",
    "render_gate",
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
    more: Sequence[str] | None = None,
) -> str:
    """Return a run's results in one of the formats.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
        form: table, json, csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
        wide: whether to print intervals at any width; for the table only.
        color: whether to use bold and dim text; for the table only.
        gate: the gate's verdicts, printed after the results; not with csv, which has one table in a file.
        more: the commands that show more, below the first screen; None = every table; for the table only.
    """
    if form == "json":
        from evalkit.report.tables.json_document import document

        of_gate = {} if gate is None else {"gate": msgspec.to_builtins(gate)}
        return (
            json.dumps({**document(manifest, results), **of_gate}, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        )
    if form == "csv":
        from evalkit.report.tables.csv import render_csv

        return render_csv(results)
    if form == "table" and more is not None:
        from evalkit.report.tables.screen_text import render_screen

        text = render_screen(manifest, results, more=more, width=width, color=color)
    else:
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


def render_citation(manifest: Manifest, results: Results, form: OutputFormat, *, width: int) -> str:
    """Return a methods paragraph and BibTeX; see ``evalkit.report.cite``."""
    from evalkit.report.cite import render_citation as build

    return build(manifest, results, form, width=width)


def render_comparison(comparison: Comparison, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return a comparison of runs; see ``evalkit.report.tables.comparison``."""
    from evalkit.report.tables.comparison import render_comparison as build

    return build(comparison, form, width=width, color=color)


def render_audit(
    manifest: Manifest, audit: Audit, form: OutputFormat, *, width: int, color: bool, results: Results | None = None
) -> str:
    """Return the audit of a run; see ``evalkit.report.tables.audit``."""
    from evalkit.report.tables.audit import render_audit as build

    return build(manifest, audit, form, width=width, color=color, results=results)


def render_gate(gate: Gate, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return the gate's verdicts; see ``evalkit.report.gate.table``."""
    from evalkit.report.gate.table import render_gate as build

    return build(gate, form, width=width, color=color)


def render_scores(table: ScoreTable, manifest: Manifest, form: OutputFormat, *, width: int) -> str:
    """Return every image's scores; see ``evalkit.report.tables.listing``."""
    from evalkit.report.tables.leaderboard import columns_of
    from evalkit.report.tables.listing import render_scores as build

    titles = {column.metric: column.short_name for column in columns_of(manifest)}
    return build(table, form, width=width, titles=titles)
