"""The gate's results as sentences, for the terminal, annotations, JUnit and failed tests."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.analysis.gate.results import Gate, GateCell
from evalkit.report.tables.leaderboard import number
from evalkit.store.baseline import Recommendation
from evalkit.store.rank_hash import HASH_BITS

__all__ = [
    "all_drifts",
    "change_of",
    "drifts",
    "failing",
    "inconclusive",
    "losses",
    "not_comparable",
    "recommendation",
    "regressions",
    "signed",
    "undecided",
]


def signed(value: float | None) -> str:
    """Return a number with its sign."""
    shown = number(value)
    return f"+{shown}" if value is not None and value > 0 and float(shown) else shown


def change_of(cell: GateCell) -> str:
    """Return the numbers of one cell: both means, the change with its interval, tolerance, p-value, images."""
    if cell.change is None:
        return cell.reason or f"{cell.n_images} images"
    return (
        f"{number(cell.baseline_mean)} before, {number(cell.mean)} now, change {signed(cell.change)} "
        f"(95 % {signed(cell.ci_low)} to {signed(cell.ci_high)}; positive = better), tolerance {cell.tolerance:.3g}, "
        f"p = {cell.p_value:.2g}, {cell.n_images} images"
    )


def regressions(gate: Gate) -> list[str]:
    """Return a sentence for every cell that regressed."""
    return [
        f"Regressed: {cell.explainer}, {cell.metric}: worse by {-(cell.change or 0):.3f} (accepted "
        f"{cell.tolerance:.3g}; p = {cell.p_value:.2g} over all comparisons)."
        for cell in gate.cells
        if cell.verdict == "regressed"
    ]


def inconclusive(cell: GateCell) -> str:
    """Return the number of images that would decide an inconclusive cell, or why it was not tested."""
    wanted = f"about {cell.n_wanted:,} images would decide" if cell.n_wanted else "not decidable with tolerance 0"
    return f"{cell.explainer}, {cell.metric}: {cell.reason or wanted}"


def undecided(gate: Gate) -> list[str]:
    """Return a sentence for every inconclusive cell."""
    return [f"Inconclusive: {inconclusive(cell)}." for cell in gate.cells if cell.verdict == "inconclusive"]


def losses(gate: Gate) -> list[str]:
    """Return sentences on images of the baseline that are not compared."""
    lines = []
    missing = gate.n_baseline_images - gate.n_images
    if missing:
        lines.append(f"{missing} of the baseline's {gate.n_baseline_images} images are not in the run.")
    if gate.n_other_class:
        lines.append(f"On {gate.n_other_class} images the model explains another class than before; they are left out.")
    worst = max(gate.cells, key=lambda cell: cell.n_lost, default=None)
    if worst and worst.n_lost:
        lines.append(
            f"Up to {worst.n_lost} images that the baseline scored are not scored now ({worst.explainer}, "
            f"{worst.metric}; most frequent reason: {worst.lost_reason}); they are left out."
        )
    return lines


def failing(gate: Gate) -> list[str]:
    """Return a sentence for everything that makes the exit code 1 or 3."""
    lines = [*regressions(gate), *not_comparable(gate)]
    lines += undecided(gate) if "inconclusive" in gate.fails_on else []
    return lines + (drifts(gate) if "map drift" in gate.fails_on else [])


def not_comparable(gate: Gate) -> list[str]:
    """Return a sentence for every reason why cells are not comparable."""
    reasons = dict.fromkeys(cell.reason for cell in gate.cells if cell.verdict == "not comparable")
    return [f"Not comparable: {reason}." for reason in reasons]


def drifts(gate: Gate) -> list[str]:
    """Return a sentence for every explainer whose maps changed."""
    return [sentence for drift, sentence in zip(gate.drift, all_drifts(gate), strict=True) if drift.changed]


def all_drifts(gate: Gate) -> list[str]:
    """Return a sentence for the maps of every explainer."""
    return [
        f"Maps {'changed' if drift.changed else 'unchanged'}: {drift.explainer}: {drift.mean_bits:.1f} of {HASH_BITS} "
        f"bits of the rank hash differ on average, at least one on {drift.n_moved} of {drift.n_images} images."
        for drift in gate.drift
    ]


def recommendation(gate: Gate) -> Sequence[str]:
    """Return a sentence if another patch size is recommended than before."""
    before, now = gate.recommended_before, gate.recommended_now
    if before is None:
        return []
    if now is None:
        return [
            f"Recommended patch size: {_pair(before)} before; this run has no recommendation by {before.criterion}."
        ]
    if (before.patch_size, before.stride) == (now.patch_size, now.stride):
        return []
    return [f"Recommended patch size: {_pair(before)} before, {_pair(now)} now."]


def _pair(choice: Recommendation) -> str:
    return f"{choice.patch_size} with stride {choice.stride}" + ("" if choice.decided else " (undecided)")
