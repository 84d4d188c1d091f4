"""The plot of a sweep of other parameters than the patch size: score beside cost, a row for each variant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalkit.analysis.choice.candidates import value_text, variant_text
from evalkit.analysis.results import ParameterRow
from evalkit.report.html.plot_style import DPI, INK, SERIES, legend_above, style_axes
from evalkit.report.images.figure import shortened
from evalkit.report.tables.parameter_sweep import ShownSweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["parameter_plot"]

_WIDTH, _ROW, _AXES = 6.4, 0.27, 1.25  # inches
_NAME_LETTERS = 44


def parameter_plot(shown: ShownSweep, criterion: str, label: str = "") -> Figure | None:
    """Draw the score of each variant, with its interval, beside its cost in passes.

    Args:
        shown: the sweep.
        criterion: text of the metric that decides.
        label: text of its axis; empty = its text.

    Returns:
        The plot, or None if fewer than two variants were scored.
    """
    from matplotlib.figure import Figure

    rows = [row for row in shown.sweep.rows if row.metrics.get(criterion) and row.metrics[criterion].mean is not None]
    if len(rows) < 2:
        return None
    figure = Figure(figsize=(_WIDTH, _AXES + _ROW * len(rows)), dpi=DPI, layout="constrained")
    scores, costs = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 2]})
    for axes in (scores, costs):
        style_axes(axes)
    for place, row in enumerate(rows):
        score = row.metrics[criterion]
        if score.ci_low is not None and score.ci_high is not None:
            ends = [score.ci_low, score.ci_high]
            scores.plot(ends, [place] * 2, "-", color=SERIES[0], alpha=0.55, linewidth=4, solid_capstyle="butt")
        scores.plot([score.mean or 0.0], [place], "o", color=SERIES[0], markersize=5)
        costs.plot([row.passes], [place], "s", color=SERIES[1], markersize=5)
        if shown.choice and row.explainer == shown.choice.explainer:
            choice = "recommended" if shown.choice.decided else "best so far"
            scores.plot(
                [score.mean or 0.0], [place], "o", markersize=13, markerfacecolor="none", markeredgecolor=INK,
                markeredgewidth=1.6, label=choice,
            )  # fmt: skip
    names = [shortened(_name(row), _NAME_LETTERS) for row in rows]
    scores.set_yticks(range(len(rows)), names, parse_math=False)
    scores.set_ylim(len(rows) - 0.4, -0.6)
    scores.set_xlabel(label or criterion)
    costs.set_xlabel("passes per image")
    costs.tick_params(labelleft=False)
    costs.set_xlim(0, 1.1 * max(1, *(row.passes for row in rows)))
    legend_above(scores, "Score and cost of each setting")
    return figure


def _name(row: ParameterRow) -> str:
    """Return the variant's only value, or its parameters if it has several."""
    values = list(row.parameters.values())
    return value_text(values[0]) if len(values) == 1 else variant_text(row.parameters)
