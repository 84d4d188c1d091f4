"""LaTeX output: booktabs tables, the signature as a comment."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.analysis.shards import shard_lines
from evalkit.report.tables.leaderboard import (
    NOT_RANKED,
    beaten,
    is_best,
    leaderboards,
    number,
    ranking_lines,
    sanity_lines,
    substrate_lines,
)
from evalkit.report.tables.parameter_sweep import parameter_table, shown_sweeps
from evalkit.report.tables.patch_size import SweepTable, sweep_table, sweep_title
from evalkit.report.tables.shortcut import shortcut_lines
from evalkit.store.manifest import Manifest

__all__ = ["escape", "render_latex", "tabular"]

_METRICS = 6  # in the table of a sweep
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "\n": " ",
}  # fmt: skip


def escape(text: str) -> str:
    r"""Escape text for LaTeX.

    >>> print(escape("max_box & 5 %"))
    max\_box \& 5 \%
    """
    return "".join(_SPECIAL.get(character, character) for character in text)


def tabular(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a booktabs ``tabular``; cells are escaped already. The first ``left`` columns are aligned left."""
    columns = "l" * left + "r" * (len(header) - left)
    lines = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", " & ".join(header) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def render_latex(manifest: Manifest, results: Results) -> str:
    """Return the leaderboards and the tables of sweeps; the document needs the booktabs package."""
    parts = [
        "\n".join(
            f"% {line}"
            for line in [
                "needs booktabs",
                *shard_lines(manifest),
                manifest.signature.run,
                *manifest.signature.metrics.values(),
                *ranking_lines(results),
                *sanity_lines(results),
                *shortcut_lines(manifest, results),
            ]
        )
    ]
    for board in leaderboards(manifest, results):
        rows = [
            [row.letter, escape(row.explainer), *(_cell(cell, beaten(board, cell)) for cell in row.cells)]
            for row in board.rows
        ]
        header = ["", "explainer", *(escape(column.title) for column in board.columns)]
        title = f"% {board.title}; superscript letters: rows that are significantly worse"
        notes = ["% " + line.replace("\n", " ") for line in (*board.above, *substrate_lines(manifest, board))]
        parts.append("\n".join([title, *notes, tabular(header, rows, left=2)]))
    if results.patch_sweep:
        parts.append(_sweep(sweep_title(manifest, results), sweep_table(manifest, results, _METRICS)))
    parts += [_sweep(shown.title, parameter_table(manifest, shown, _METRICS)) for shown in shown_sweeps(results)]
    return "\n\n".join(parts) + "\n"


def _sweep(title: str, swept: SweepTable) -> str:
    rows = [
        [
            f"\\textbf{{{escape(cell)}}}" if (index, column) in swept.best else escape(cell)
            for column, cell in enumerate(cells)
        ]
        for index, cells in enumerate(swept.rows)
    ]
    return f"% {title}\n{tabular([escape(name) for name in swept.header], rows, left=0)}"


def _cell(cell: LeaderboardCell, letters: str) -> str:
    shown = f"\\textbf{{{number(cell.mean)}}}" if is_best(cell) else number(cell.mean)
    shown += NOT_RANKED if cell.rank_reason else ""
    return f"{shown}$^{{\\mathrm{{{letters}}}}}$" if letters else shown
