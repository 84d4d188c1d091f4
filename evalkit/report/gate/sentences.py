"""The gate's results as sentences, for the terminal, annotations, JUnit and failed tests."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.analysis.gate.results import Gate, GateCell
from evalkit.metrics.case import MISCLASSIFIED
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
        means = f"; {_means(cell)}" if cell.n_lost else ""
        return (cell.reason or f"{cell.n_images} images") + means
    lost = f"; {_loss(cell)}" if cell.n_lost else ""
    return (
        f"{number(cell.baseline_mean)} before, {number(cell.mean)} now, change {signed(cell.change)} "
        f"(95 % {signed(cell.ci_low)} to {signed(cell.ci_high)}; positive = better), tolerance {cell.tolerance:.3g}, "
        f"p = {cell.p_value:.2g}, {cell.n_images} images{lost}"
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
    wanted = (
        f"about {cell.n_wanted:,} images would decide"
        if cell.n_wanted
        else "these images do not tell how many would decide; the change may be close to the tolerance"
    )
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
    worst = max(gate.cells, key=_share_lost, default=None)
    if worst and worst.n_lost:
        lines.append(
            f"Up to {worst.n_lost} of {worst.n_images + worst.n_lost} images that the baseline scored are not scored "
            f"now and are left out ({worst.explainer}, {worst.metric}; most frequent reason: {worst.lost_reason}, "
            f"{worst.n_lost_for_reason}): {_means(worst)}."
        )
    split = max(gate.cells, key=lambda cell: cell.n_lost_entries, default=None)
    if split and split.n_lost_entries:
        lines.append(
            f"Up to {split.n_lost_entries} entries that the baseline scored are not scored now ({split.explainer}, "
            f"{split.metric}); their photos are compared by their other entries."
        )
    if gate.target == "label" and any(cell.lost_reason == MISCLASSIFIED for cell in gate.cells):
        lines.append(
            "Images that the model classifies wrongly are not scored under the target label, so their explanations are "
            "not compared. Make a baseline and a run with --target predicted to see the means over all images."
        )
    return lines


def _loss(cell: GateCell) -> str:
    reason = f"most frequent reason: {cell.lost_reason}, {cell.n_lost_for_reason}"
    return f"{cell.n_lost} images lost ({reason}): {_means(cell)}"


def _means(cell: GateCell) -> str:
    """Return the baseline's means on lost and on compared images.

    If the predicted class is explained, also both means over all images, whatever class was predicted.
    """
    text = f"the baseline's mean is {number(cell.lost_baseline_mean)} on these"
    text += f" and {number(cell.baseline_mean)} on the compared" if cell.n_images else ""
    if cell.n_any_class:
        text += (
            f"; with the predicted class of each run, {number(cell.any_class_baseline_mean)} before and "
            f"{number(cell.any_class_mean)} now on {cell.n_any_class} images"
        )
    return text


def _share_lost(cell: GateCell) -> float:
    return cell.n_lost / max(cell.n_images + cell.n_lost, 1)


def failing(gate: Gate) -> list[str]:
    """Return a sentence for everything that makes the exit code 1 or 3."""
    lines = [*regressions(gate), *not_comparable(gate)]
    lines += undecided(gate) if "inconclusive" in gate.fails_on else []
    return lines + (drifts(gate) if "map drift" in gate.fails_on else [])


def not_comparable(gate: Gate) -> list[str]:
    """Return a sentence for every reason why cells are not comparable."""
    cells_of: dict[str, list[GateCell]] = {}
    for cell in gate.cells:
        if cell.verdict == "not comparable":
            cells_of.setdefault(cell.reason or "", []).append(cell)
    return [f"Not comparable: {_names(cells)}{reason}." for reason, cells in cells_of.items()]


def _names(cells: Sequence[GateCell]) -> str:
    """Return which cells have lost images; nothing if the reason names explainer or metric itself."""
    if not cells[0].n_lost:
        return ""
    others = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
    return f"{cells[0].explainer}, {cells[0].metric}{others}: "


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
    """Return a sentence if another patch size, or another setting with it, is recommended than before."""
    before, now = gate.recommended_before, gate.recommended_now
    if before is None:
        return []
    if now is None:
        return [
            f"Recommended patch size: {_named(before)} before; this run has no recommendation by {before.criterion}."
        ]
    other = bool(before.explainer and now.explainer and before.explainer != now.explainer)
    shared = [key for key in before.parameters if key in now.parameters]
    differing = [key for key in shared if before.parameters[key] != now.parameters[key]]
    if (before.patch_size, before.stride) == (now.patch_size, now.stride) and not other and not differing:
        return []
    was, is_now = (_named(choice, differing, with_explainer=other) for choice in (before, now))
    return [f"Recommended patch size: {was} before, {is_now} now."]


def _named(choice: Recommendation, parameters: Sequence[str] = (), *, with_explainer: bool = False) -> str:
    """Return a recommendation with these of its other parameters."""
    others = [choice.explainer] if with_explainer else []
    others += [f"{key}={choice.parameters[key]}" for key in parameters]
    undecided = "" if choice.decided else " (undecided)"
    return ", ".join([f"{choice.patch_size} with stride {choice.stride}", *others]) + undecided
