"""The content of the tables of other parameters than the patch size, in every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evalkit.analysis.choice.candidates import cost_text, value_text, variant_text
from evalkit.analysis.results import ParameterChoice, ParameterRow, ParameterSweep, Results
from evalkit.report.tables.leaderboard import number, row_letters
from evalkit.report.tables.patch_size import (
    SweepTable,
    best_scores,
    chosen_mark,
    listed,
    metric_columns,
    recommendation,
    score_cells,
)
from evalkit.store.manifest import Manifest

__all__ = [
    "NAMES",
    "Names",
    "ShownSweep",
    "key_lines",
    "parameter_lines",
    "parameter_table",
    "shown_sweep",
    "shown_sweeps",
]

Names = Literal["whole", "lines", "letters"]
NAMES: tuple[Names, ...] = ("whole", "lines", "letters")


@dataclass(frozen=True)
class ShownSweep:
    """A sweep that has a table of its own, and its choice.

    Attributes:
        sweep: the sweep.
        choice: the recommended variant; None without one.
        backward: whether its passes include backward passes.
    """

    sweep: ParameterSweep
    choice: ParameterChoice | None
    backward: bool

    @property
    def settings(self) -> str:
        """What the sweep compares, in words, e.g. ``masks and patch size``."""
        return listed([name.replace("_", " ") for name in self.sweep.parameters])

    @property
    def title(self) -> str:
        """The title of the table, e.g. ``Masks of rise``."""
        return f"{self.settings[0].upper()}{self.settings[1:]} of {self.sweep.explainer}"

    @property
    def recommended(self) -> str:
        """The recommended parameters as text; empty without a choice."""
        return variant_text(self.choice.parameters) if self.choice else ""


def shown_sweeps(results: Results) -> list[ShownSweep]:
    """Return the sweeps that the patch-size table does not show already."""
    of_patches = {row.explainer for row in results.patch_sweep}
    return [
        shown_sweep(results, sweep)
        for sweep in results.parameter_sweeps
        if not {row.explainer for row in sweep.rows} <= of_patches
    ]


def shown_sweep(results: Results, sweep: ParameterSweep) -> ShownSweep:
    """Return a sweep with its choice."""
    backward = {cost.explainer for cost in results.cost if cost.backward_passes}
    with_backward = not backward.isdisjoint(row.explainer for row in sweep.rows)
    return ShownSweep(sweep, results.best_parameters.get(sweep.explainer), with_backward)


def parameter_table(
    manifest: Manifest,
    shown: ShownSweep,
    count: int,
    *,
    brief: bool = False,
    names: Names = "whole",
    short: bool = False,
) -> SweepTable:
    """Return the table of a sweep: the criterion first and with its interval, then other metrics.

    Args:
        manifest: the manifest of the run.
        shown: the sweep.
        count: largest number of metrics.
        brief: whether to leave out seconds, which the table of costs has.
        names: how values are written: in one line, with the layers of a fusion in a line each, or as the letters of
            ``key_lines``.
        short: whether the metrics have their short titles.
    """
    sweep, columns = shown.sweep, metric_columns(manifest, count)
    settings = [""] if names == "letters" else list(sweep.parameters)
    before = [*settings, "passes", *([] if brief else ["s/image"])]
    rows = []
    for letter, row in zip(row_letters(len(sweep.rows)), sweep.rows, strict=True):
        first, *others = [letter] if names == "letters" else _values(row, sweep.parameters)
        cells = [chosen_mark(row.explainer, shown.choice) + first, *others]
        rows.append(
            [
                *(cell.replace("+", "+\n") if names == "lines" else cell for cell in cells),
                cost_text(row.passes),
                *([] if brief else [number(row.seconds_per_image, 2)]),
                *score_cells(row.metrics, columns),
            ]
        )
    best = best_scores([row.metrics for row in sweep.rows], columns, len(before))
    return SweepTable(
        [*before, *(column.short_title if short else column.title for column in columns)], rows, best, words=range(0)
    )


def key_lines(shown: ShownSweep) -> list[str]:
    """Return the letter of each row and its parameters, a line each."""
    rows = shown.sweep.rows
    return [
        f"{letter}: {variant_text(row.parameters)}" for letter, row in zip(row_letters(len(rows)), rows, strict=True)
    ]


def _values(row: ParameterRow, parameters: Sequence[str]) -> list[str]:
    return [value_text(row.parameters[name]) if name in row.parameters else number(None) for name in parameters]


def parameter_lines(shown: ShownSweep) -> list[str]:
    """Return the recommendation and its reason, and what to know of the table, one sentence a line."""
    sweep = shown.sweep
    lines = [f"No setting is recommended: {sweep.reason}."] if sweep.reason else []
    if shown.choice:
        lines = recommendation(shown.choice)
    if sweep.not_compared:
        lines.append(f"Not compared, because the criterion scored none of their images: {listed(sweep.not_compared)}.")
    if shown.backward:
        lines.append("A backward pass counts as two passes.")
    return lines
