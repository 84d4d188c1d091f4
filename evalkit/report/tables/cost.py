"""The content of the cost table in every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.analysis.results import Cost, Results
from evalkit.report.tables.leaderboard import number

__all__ = ["CostTable", "cost_notes", "cost_table", "counted_passes", "passes_text", "repeatability_text"]


@dataclass(frozen=True)
class CostTable:
    """The costs as texts; the first column is the explainer, the last the method."""

    header: list[str]
    rows: list[list[str]]


def cost_table(results: Results) -> CostTable:
    """Return the cost of each explainer's maps, with their repeatability if any explainer's is known."""
    repeated = any(cost.repeatability is not None for cost in results.cost)
    rows = [
        [
            cost.explainer,
            passes_text(cost),
            number(cost.seconds_per_image, 2),
            number(cost.seconds, 1),
            *([repeatability_text(cost)] if repeated else []),
            cost.method,
        ]
        for cost in results.cost
    ]
    header = ["explainer", "passes/image", "s/image", "seconds", *(["repeatability"] if repeated else []), "method"]
    return CostTable(header, rows)


def counted_passes(cost: Cost) -> tuple[float, float]:
    """Return the forward and backward passes of a map, means over images if they vary."""
    return cost.mean_passes or (cost.forward_passes, cost.backward_passes)


def passes_text(cost: Cost) -> str:
    """Return the passes of a map, e.g. ``1 F + 1 B``, with one decimal where they are means over images."""
    digits = 1 if _is_varied(cost) else 0
    counts = zip(counted_passes(cost), "FB", strict=True)
    return " + ".join(f"{count:.{digits}f} {kind}" for count, kind in counts if count) or "0"


def _is_varied(cost: Cost) -> bool:
    """Return whether the passes are a mean that is not the same whole number on every image."""
    return cost.mean_passes is not None and not all(float(count).is_integer() for count in cost.mean_passes)


def repeatability_text(cost: Cost) -> str:
    """Return the repeatability and its number of images, e.g. ``0.93 (20)``; a dash if it is not known."""
    if cost.repeatability is None:
        return number(None)
    return f"{number(cost.repeatability, 2)} ({cost.n_repeated})"


def cost_notes(results: Results) -> list[str]:
    """Return sentences on the columns of the cost table and on what explainers say of their maps."""
    costs = results.cost
    backward, adaptive = any(cost.backward_passes for cost in costs), any(map(_is_varied, costs))
    lines = []
    if backward or adaptive:
        units = "F: forward passes" + (", B: backward passes" if backward else "")
        lines.append(f"{units}, of each map as if computed alone{'; means over images have a decimal' * adaptive}.")
    if any(cost.repeatability is not None for cost in costs):
        lines.append(
            "Repeatability: mean rank correlation of the maps of two seeds (number of images); 1 = the same ranks."
        )
    return [*lines, *_notes_of_explainers(costs)]


def _notes_of_explainers(costs: Sequence[Cost]) -> list[str]:
    return [f"{cost.explainer}: {note}" for cost in costs for note in cost.notes]
