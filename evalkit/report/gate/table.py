"""What the gate says, in every format."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from evalkit.analysis.verdicts import Gate, GateCell
from evalkit.report.formats import OutputFormat
from evalkit.report.gate.sentences import drifts, losses, not_comparable, recommendation, regressions, signed, undecided
from evalkit.report.tables.csv import to_csv
from evalkit.report.tables.leaderboard import ARROWS, number
from evalkit.report.tables.table import Board, render_boards

__all__ = ["render_gate"]

SCHEMA_VERSION = 1
_HEADER = ["explainer", "before", "now", "change", "95 %", "verdict"]
_NAMED = 20
_FEW = 20  # images


def render_gate(gate: Gate, form: OutputFormat, *, width: int, color: bool) -> str:
    """Return the gate's verdicts in one of the formats.

    Args:
        gate: from ``hold_against``.
        form: table, json (``schema_version`` and the fields of ``Gate``), csv, markdown or latex.
        width: columns of the terminal; for the table only.
        color: use bold and dim; for the table only.
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
    return render_boards(boards, _notes(gate), form, width=width, color=color)


def _by_metric(gate: Gate) -> dict[str, list[GateCell]]:
    found: dict[str, list[GateCell]] = {}
    for cell in gate.cells:
        found.setdefault(cell.metric, []).append(cell)
    return found


def _row(cell: GateCell) -> list[str]:
    between = "-" if cell.ci_low is None else f"{signed(cell.ci_low)} to {signed(cell.ci_high)}"
    return [
        cell.explainer, number(cell.baseline_mean), number(cell.mean), signed(cell.change), between, cell.verdict,
    ]  # fmt: skip


def _notes(gate: Gate) -> Sequence[str]:
    open_ones = undecided(gate)
    lines = [gate.summary, *regressions(gate), *open_ones[:_NAMED]]
    if len(open_ones) > _NAMED:
        lines.append(f"Inconclusive: {len(open_ones) - _NAMED} more.")
    lines += [*not_comparable(gate), *losses(gate), *drifts(gate), *recommendation(gate)]
    lines += [f"Differs: {one}." for one in gate.differs]
    lines += [f"New, without a verdict: {', '.join(gate.new)}."] if gate.new else []
    return [*lines, *_legend(gate)]


def _legend(gate: Gate) -> list[str]:
    lines = []
    counts = [cell.n_images for cell in gate.cells if cell.change is not None]
    seen = [cell.detectable for cell in gate.cells if cell.detectable is not None]
    if seen:
        lines.append(
            f"Change: positive = better. With {_span(counts)} images a worsening of {min(seen):.3f} to {max(seen):.3f} "
            "is found in four of five runs, by explainer and metric."
        )
    if counts and min(counts) < _FEW:
        lines.append(f"Intervals of fewer than {_FEW} images are unreliable: here {_span(counts)}.")
    tolerances = sorted({f"{cell.tolerance:.3g}" for cell in gate.cells if cell.change is not None})
    accepted = ", ".join(tolerances) or "nothing was tested"
    lines.append(
        f"Regressed = worse by more than the tolerance ({accepted}), and significant "
        f"(paired sign flips, one-sided, Holm, alpha {gate.alpha:g}); unchanged = the interval lies within the "
        "tolerance; not worse = its lower end does."
    )
    return lines


def _span(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
