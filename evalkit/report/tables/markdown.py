"""Markdown output: pipe tables, e.g. for a pull request or a README."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.analysis.results import Results
from evalkit.report.tables.cost import cost_notes, cost_table
from evalkit.report.tables.leaderboard import (
    beaten,
    facts,
    interval,
    is_best,
    leaderboards,
    legend,
    marks,
    sanity_lines,
    substrate_lines,
    tied_for_best,
    unscored_lines,
)
from evalkit.report.tables.parameter_sweep import parameter_lines, parameter_table, shown_sweeps
from evalkit.report.tables.patch_size import (
    SweepTable,
    choice_lines,
    equal_stride_lines,
    object_size_rows,
    sweep_table,
    sweep_title,
)
from evalkit.report.tables.shortcut import SHORTCUTS, shortcut_lines
from evalkit.store.manifest import Manifest

__all__ = ["escape", "pipe_table", "render_markdown"]

_METRICS = 6  # in the table of a sweep


def escape(text: str) -> str:
    r"""Escape text for Markdown, also inside a table.

    >>> print(escape("a|b *c*"))
    a\|b \*c\*
    """
    special = "\\`*_[]<>|#"
    return "".join(f"\\{character}" if character in special else character for character in text.replace("\n", " "))


def pipe_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a pipe table; cells are escaped already. The first ``left`` columns are aligned left."""
    rule = ["---" if index < left else "---:" for index in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def render_markdown(manifest: Manifest, results: Results) -> str:
    """Return everything that ``run`` shows, as Markdown."""
    parts = []
    for board in leaderboards(manifest, results):
        rows = []
        for row in board.rows:
            cells = []
            for cell in row.cells:
                shown = f"**{interval(cell)}**" if is_best(cell) else interval(cell)
                letters = beaten(board, cell)
                shown += escape(marks(manifest, results, cell))
                cells.append(shown + (f" <sup>{letters}</sup>" if letters else ""))
            rows.append([row.letter, escape(row.explainer) + (" (control)" if row.control else ""), *cells])
        header = ["", "explainer", *(escape(column.title) for column in board.columns)]
        parts += [f"## {board.title}", *map(escape, board.above), pipe_table(header, rows, left=2)]
        if tied := tied_for_best(board):
            parts.append(escape(tied))
        parts += [escape(line) for line in substrate_lines(manifest, board)]
    if shortcuts := shortcut_lines(manifest, results):
        parts += [f"## {SHORTCUTS}", "\n".join(f"* {escape(line)}" for line in shortcuts)]
    parts += _sweep(manifest, results)
    for of_explainer in shown_sweeps(results):
        parts += [f"## {escape(of_explainer.title)}", _sweep_table(parameter_table(manifest, of_explainer, _METRICS))]
        parts += [escape(line) for line in parameter_lines(of_explainer)]
    cost = cost_table(results)
    parts += ["## Cost of the maps", pipe_table(cost.header, [[*map(escape, row)] for row in cost.rows])]
    parts += [escape(line) for line in cost_notes(results)]
    if sanity := sanity_lines(results):
        parts.append("## Do maps depend on the model's weights?")
        parts.append("\n".join(f"* {escape(line)}" for line in sanity))
    notes = [*unscored_lines(results), *legend(manifest, results), *facts(manifest, results)]
    parts.append("\n".join(f"* {escape(line)}" for line in notes))
    parts.append("```\n" + "\n".join([manifest.signature.run, *manifest.signature.metrics.values()]) + "\n```")
    return "\n\n".join(parts) + "\n"


def _sweep(manifest: Manifest, results: Results) -> list[str]:
    if not results.patch_sweep:
        return []
    parts = [
        f"## {escape(sweep_title(manifest, results))}",
        _sweep_table(sweep_table(manifest, results, _METRICS)),
    ]
    parts += [escape(line) for line in [*choice_lines(results), *equal_stride_lines(results)]]
    header, texts, notes = object_size_rows(results)
    if texts:
        parts += ["### By object size", pipe_table([escape(name) for name in header], texts, left=0)]
        parts += [escape(line) for line in notes]
    return parts


def _sweep_table(swept: SweepTable) -> str:
    rows = [
        [f"**{escape(cell)}**" if (index, column) in swept.best else escape(cell) for column, cell in enumerate(cells)]
        for index, cells in enumerate(swept.rows)
    ]
    return pipe_table([escape(name) for name in swept.header], rows, left=0)
