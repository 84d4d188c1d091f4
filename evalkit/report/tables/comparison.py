"""The comparison of runs in every format."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from evalkit.analysis.comparison import ComparedCell, Comparison
from evalkit.report.formats import OutputFormat
from evalkit.report.tables.csv import to_csv
from evalkit.report.tables.leaderboard import ARROWS, number
from evalkit.report.tables.table import Board, render_boards

__all__ = ["render_comparison"]

SCHEMA_VERSION = 1
_VERDICTS = ("better", "worse", "different", "tied", "not tested", "not scored")


def render_comparison(comparison: Comparison, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return a comparison in one of the formats.

    Args:
        comparison: the comparison, from ``compare_runs``.
        form: table, json (``schema_version`` and the fields of ``Comparison``), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
        color: whether to use bold and dim text; for the table only.
    """
    if form == "json":
        shown = {"schema_version": SCHEMA_VERSION, **msgspec.to_builtins(comparison)}
        return json.dumps(shown, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if form == "csv":
        fields = ComparedCell.__struct_fields__
        names = {run.letter: run.name for run in comparison.runs}
        rows = [[names["A"], names[cell.run], *(getattr(cell, field) for field in fields)] for cell in comparison.cells]
        return to_csv(["first_folder", "folder", *fields], rows)
    boards = [
        Board(_title(metric, cells[0]), *_board(comparison, cells), _numeric(comparison))
        for metric, cells in _by_metric(comparison).items()
    ]
    return render_boards(boards, _notes(comparison), form, width=width, color=color)


def _title(metric: str, cell: ComparedCell) -> str:
    return f"{metric} {ARROWS[cell.direction]}" if cell.direction else metric


def _numeric(comparison: Comparison) -> range:
    return range(2, 6) if len(comparison.runs) > 2 else range(1, 5)


def _by_metric(comparison: Comparison) -> dict[str, list[ComparedCell]]:
    cells: dict[str, list[ComparedCell]] = {}
    for cell in comparison.cells:
        cells.setdefault(cell.metric, []).append(cell)
    return cells


def _board(comparison: Comparison, cells: Sequence[ComparedCell]) -> tuple[list[str], list[list[str]]]:
    several = len(comparison.runs) > 2
    header = ["explainer", *(["run"] if several else []), "A", "mean" if several else "B", "difference", "95 %", ""]
    rows = [
        [
            cell.explainer,
            *([cell.run] if several else []),
            number(cell.first_mean),
            number(cell.mean),
            _signed(cell.difference),
            "-" if cell.ci_low is None else f"{_signed(cell.ci_low)} to {_signed(cell.ci_high)}",
            "" if cell.verdict == "tied" else cell.verdict,
        ]
        for cell in cells
    ]
    return header, rows


def _signed(value: float | None) -> str:
    shown = number(value)
    return f"+{shown}" if value is not None and value > 0 and float(shown) else shown


def _notes(comparison: Comparison) -> list[str]:
    lines = []
    for run in comparison.runs:
        right = "" if run.accuracy is None else f", right on {100 * run.accuracy:.1f} %"
        clean = "" if run.median_clean_score is None else f", median clean score {run.median_clean_score:.3f}"
        shard = f", {run.shard}" if run.shard else ""
        lines.append(
            f"{run.letter}: {run.name} ({run.model}, {run.precision}, {run.n_images} images{right}{clean}{shard})"
        )
    lines += [f"Differs: {difference}." for difference in comparison.differs]
    for run in comparison.runs[1:]:
        verdicts = [cell.verdict for cell in comparison.cells if cell.run == run.letter]
        counts = {kind: verdicts.count(kind) for kind in _VERDICTS}
        different = f" and different in {counts['different']} that no end is better of" if counts["different"] else ""
        others = [f"{counts['tied']} are tied"]
        others += [f"{counts[kind]} {kind}" for kind in ("not tested", "not scored") if counts[kind]]
        lines.append(
            f"Of {len(verdicts)} comparisons {run.letter} is better in {counts['better']} and worse in "
            f"{counts['worse']}{different}; {', '.join(others)}."
        )
    if any(cell.verdict == "not tested" for cell in comparison.cells):
        lines.append("Not tested: the runs share too few images that both scored.")
    if all(cell.p_value is None for cell in comparison.cells):
        return [*lines, *(f"Left out: {reason}." for reason in comparison.left_out)]
    lines.append(
        f"Difference = later run minus A, on the images that both scored (of {comparison.n_shared} shared). Tests: "
        f"within each metric all explainers and later runs, paired by image, studentized bootstrap "
        f"({comparison.n_resamples:,} resamples; fewer for scores of the whole set), max-T, and one unseen image of "
        "the opposite kind; family-wise 5 %. The intervals of a metric hold together; no verdict = not significantly "
        "different."
    )
    return [*lines, *(f"Left out: {reason}." for reason in comparison.left_out)]
