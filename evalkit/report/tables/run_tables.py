"""The tables that ``Run`` returns, as texts: a leaderboard in long form, and the sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.report.tables.leaderboard import columns_of, number
from evalkit.report.tables.parameter_sweep import ShownSweep, parameter_lines, parameter_table
from evalkit.report.tables.patch_size import SweepTable, choice_lines, sweep_table, sweep_title
from evalkit.store.manifest import Manifest

__all__ = ["ShownTable", "shown_leaderboard", "shown_parameters", "shown_patch_sizes"]

_METRICS = 3  # of a sweep


class ShownTable(NamedTuple):
    """A table of texts.

    Attributes:
        title: title above the table.
        header: names of the columns.
        rows: the cells of each row.
        words: number of the first columns that hold words, aligned left; the others hold numbers.
        notes: sentences below the table.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    notes: Sequence[str] = ()


def shown_leaderboard(
    manifest: Manifest, results: Results, cells: Sequence[LeaderboardCell], metric: str | None
) -> ShownTable:
    """Return a leaderboard, a line for each explainer and metric.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
        cells: the cells, in order.
        metric: the metric of all cells; None = several.
    """
    titles = {column.metric: column.title for column in columns_of(manifest, results)}
    named = [] if metric else ["metric"]
    rows = [
        [
            cell.explainer,
            *([] if metric else [titles.get(cell.metric, cell.metric)]),
            number(cell.mean),
            "-" if cell.ci_low is None else f"[{number(cell.ci_low)}, {number(cell.ci_high)}]",
            "-" if cell.rank is None else str(cell.rank),
            f"{len(cell.better_than)}",
            f"{cell.n_scored:,}",
        ]
        for cell in cells
    ]
    header = ["explainer", *named, "mean", "95 % interval", "rank", "beats", "images"]
    reasons = list(dict.fromkeys(cell.ci_reason for cell in cells if cell.ci_reason))
    title = f"Leaderboard by {titles.get(metric, metric)}" if metric else "Leaderboards"
    note = "beats: number of explainers that are significantly worse"
    return ShownTable(title, header, rows, words=1 + len(named), notes=[note, *reasons])


def shown_patch_sizes(manifest: Manifest, results: Results) -> ShownTable:
    """Return the sweep of the patch size; without rows if none was swept."""
    if not results.patch_sweep:
        return ShownTable("No patch size was swept", ["patch_size"], [])
    swept = sweep_table(manifest, results, _METRICS, short=True)
    return _shown(sweep_title(manifest, results), swept, choice_lines(results))


def shown_parameters(manifest: Manifest, sweep: ShownSweep) -> ShownTable:
    """Return the sweep of another explainer's parameters."""
    return _shown(sweep.title, parameter_table(manifest, sweep, _METRICS, short=True), parameter_lines(sweep))


def _shown(title: str, swept: SweepTable, notes: Sequence[str]) -> ShownTable:
    return ShownTable(title, swept.header, swept.rows, words=swept.words.stop, notes=notes)
