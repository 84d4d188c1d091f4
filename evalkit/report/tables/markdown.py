"""Markdown output: pipe tables, e.g. for a pull request or a README."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.analysis.results import Results
from evalkit.report.tables.leaderboard import (
    beaten,
    facts,
    interval,
    is_best,
    leaderboards,
    legend,
    marks,
    number,
    substrate_lines,
    tied_for_best,
    unscored_lines,
)
from evalkit.report.tables.patch_size import (
    choice_lines,
    equal_stride_lines,
    object_size_rows,
    sweep_table,
    sweep_title,
)
from evalkit.store.manifest import Manifest

__all__ = ["escape", "pipe_table", "render_markdown"]


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
        parts += [f"## {board.title}", pipe_table(header, rows, left=2)]
        if tied := tied_for_best(board):
            parts.append(escape(tied))
        parts += [escape(line) for line in substrate_lines(manifest, board)]
    parts += _sweep(manifest, results)
    cost = [
        [
            escape(of_maps.explainer),
            str(of_maps.forward_passes),
            number(of_maps.seconds_per_image, 2),
            number(of_maps.seconds, 1),
            of_maps.method,
        ]
        for of_maps in results.cost
    ]
    parts += ["## Cost of the maps", pipe_table(["explainer", "passes/image", "s/image", "seconds", "method"], cost)]
    notes = [*unscored_lines(results), *legend(manifest, results), *facts(manifest, results)]
    parts.append("\n".join(f"* {escape(line)}" for line in notes))
    parts.append("```\n" + "\n".join([manifest.signature.run, *manifest.signature.metrics.values()]) + "\n```")
    return "\n\n".join(parts) + "\n"


def _sweep(manifest: Manifest, results: Results) -> list[str]:
    if not results.patch_sweep:
        return []
    swept = sweep_table(manifest, results, 6)
    rows = [
        [f"**{escape(cell)}**" if (index, column) in swept.best else escape(cell) for column, cell in enumerate(cells)]
        for index, cells in enumerate(swept.rows)
    ]
    parts = [
        f"## {escape(sweep_title(manifest, results))}",
        pipe_table([escape(name) for name in swept.header], rows, left=0),
    ]
    parts += [escape(line) for line in [*choice_lines(results), *equal_stride_lines(results)]]
    header, texts, notes = object_size_rows(results)
    if texts:
        parts += ["### By object size", pipe_table([escape(name) for name in header], texts, left=0)]
        parts += [escape(line) for line in notes]
    return parts
