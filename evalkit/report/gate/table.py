"""The gate's verdicts in every format."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from evalkit.analysis.gate.results import Gate, GateCell
from evalkit.report.formats import OutputFormat
from evalkit.report.gate.sentences import drifts, losses, not_comparable, recommendation, regressions, signed, undecided
from evalkit.report.tables.csv import to_csv
from evalkit.report.tables.leaderboard import ARROWS, number
from evalkit.report.tables.table import Board, render_boards

__all__ = ["render_gate"]

SCHEMA_VERSION = 1
_HEADER = ["explainer", "before", "now", "change", "95 %", "verdict"]
_SHOWN_INCONCLUSIVE = 20
_FEW_IMAGES = 20


def render_gate(gate: Gate, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return the gate's verdicts in one of the formats.

    Args:
        gate: the results, from ``check_against``.
        form: table, json (``schema_version`` and the fields of ``Gate``), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
        color: whether to use bold and dim text; for the table only.
    """
    if form == "json":
        shown = {"schema_version": SCHEMA_VERSION, **msgspec.to_builtins(gate)}
        return json.dumps(shown, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if form == "csv":
        fields = GateCell.__struct_fields__
        return to_csv(fields, [[getattr(cell, field) for field in fields] for cell in gate.cells])
    boards = [
        Board(f"{metric} {ARROWS[cells[0].direction]}", _HEADER, [_row(cell) for cell in cells], range(1, 5))
        for metric, cells in _by_metric(gate).items()
    ]
    boards += _losses(gate)
    return render_boards(boards, _notes(gate), form, width=width, color=color)


def _by_metric(gate: Gate) -> dict[str, list[GateCell]]:
    cells: dict[str, list[GateCell]] = {}
    for cell in gate.cells:
        cells.setdefault(cell.metric, []).append(cell)
    return cells


def _row(cell: GateCell) -> list[str]:
    interval = "-" if cell.ci_low is None else f"{signed(cell.ci_low)} to {signed(cell.ci_high)}"
    return [
        cell.explainer, number(cell.baseline_mean), number(cell.mean), signed(cell.change), interval, cell.verdict,
    ]  # fmt: skip


def _losses(gate: Gate) -> list[Board]:
    """Return, by metric, a table of the images that are lost, with the means on lost, compared and all images."""
    boards = []
    for metric, of_metric in _by_metric(gate).items():
        cells = [cell for cell in of_metric if cell.n_lost]
        header = ["explainer", "lost", "before: lost", "compared"]
        rows = [
            [
                cell.explainer,
                f"{cell.n_lost} of {cell.n_images + cell.n_lost}",
                number(cell.lost_baseline_mean),
                number(cell.baseline_mean),
            ]
            for cell in cells
        ]
        if any(cell.n_any_class for cell in cells):
            header += ["all", "now: all"]
            for row, cell in zip(rows, cells, strict=True):
                row += [number(cell.any_class_baseline_mean), number(cell.any_class_mean)]
        if rows:
            boards.append(Board(f"{metric}: lost images", header, rows, range(1, len(header))))
    return boards


def _notes(gate: Gate) -> Sequence[str]:
    inconclusive_cells = undecided(gate)
    lines = [gate.summary, *regressions(gate), *inconclusive_cells[:_SHOWN_INCONCLUSIVE]]
    if len(inconclusive_cells) > _SHOWN_INCONCLUSIVE:
        lines.append(f"Inconclusive: {len(inconclusive_cells) - _SHOWN_INCONCLUSIVE} more.")
    lines += [*not_comparable(gate), *losses(gate), *drifts(gate), *recommendation(gate)]
    lines += [f"Differs: {difference}." for difference in gate.differs]
    lines += [f"New, without a verdict: {', '.join(gate.new)}."] if gate.new else []
    return [*lines, *_legend(gate)]


def _legend(gate: Gate) -> list[str]:
    lines = []
    counts = [cell.n_images for cell in gate.cells if cell.change is not None]
    detectable = [cell.detectable for cell in gate.cells if cell.detectable is not None]
    if detectable:
        smallest = f"{min(detectable):.3f} to {max(detectable):.3f}"
        lines.append(
            f"Change: positive = better. With {_span(counts)} images a worsening of {smallest} is detected in four of "
            "five runs, depending on explainer and metric."
        )
    if counts and min(counts) < _FEW_IMAGES:
        lines.append(f"Intervals of fewer than {_FEW_IMAGES} images are unreliable: here {_span(counts)}.")
    tolerances = sorted({f"{cell.tolerance:.3g}" for cell in gate.cells if cell.change is not None})
    accepted = ", ".join(tolerances) or "nothing was tested"
    lines.append(
        f"Regressed = shown to be worse by more than the tolerance ({accepted}): paired by image, studentized "
        f"bootstrap, one-sided, Holm, and one unseen image of the opposite kind, alpha {gate.alpha:g}; unchanged = the "
        "interval lies within the tolerance; not worse = its lower end does."
    )
    return lines


def _span(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
