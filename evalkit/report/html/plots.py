"""Plots of curves and sweeps, for PNG files and, in the page's own colors, for the HTML report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalkit.analysis.choice.candidates import NAME, variant_text
from evalkit.analysis.curves import MeanCurve, SizeScore
from evalkit.analysis.results import Results, SweepRow
from evalkit.core.registry import parse_spec
from evalkit.report.html.plot_style import FAINT, INK, SERIES, empty_figure, legend_above
from evalkit.report.images.figure import shortened
from evalkit.report.tables.leaderboard import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curve_plot", "object_size_plot", "sweep_plot"]

_MARKERS = ("o", "s", "^", "D", "v", "P")
_CURVE_STYLES = {"removal": (SERIES[1], "--"), "insertion": (SERIES[0], "-")}
_MOST_LINES = len(SERIES)
_TITLE_LETTERS = 42  # that fit above a curve plot
_LEGEND_LETTERS = 60


def curve_plot(curves: Sequence[MeanCurve], variant: str = "") -> Figure:
    """Draw one explainer's curves: mean, area below it, and the 95 % interval over images.

    Args:
        curves: curves of one explainer, one variant of the metrics and one kind of values; at least one.
        variant: parameters of the metrics, for the title; empty if there are none.
    """
    figure, axes = empty_figure(3.6, 2.5)
    for curve in curves:
        color, line = _CURVE_STYLES[curve.draws]
        axes.fill_between(curve.fractions, curve.mean, color=color, alpha=0.12, linewidth=0)
        axes.fill_between(curve.fractions, curve.low, curve.high, color=color, alpha=0.28, linewidth=0)
        axes.plot(
            curve.fractions,
            curve.mean,
            line,
            color=color,
            linewidth=1.8,
            label=f"{parse_spec(curve.metric).name} {number(curve.area)}",
        )
    axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    if curves[0].value == "score":
        axes.set(ylim=(0, 1.02), yticks=(0, 0.5, 1))
    else:
        axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xlabel("fraction of pixels, most relevant first")
    axes.set_ylabel(f"{curves[0].value} of the class")
    explainer = curves[0].explainer
    # The parameters are what distinguishes two explainers; they are not to be shortened with the name.
    lines = [explainer] if len(explainer) <= _TITLE_LETTERS else explainer.replace("(", "\n(", 1).split("\n")
    lines += [variant] if variant else []
    legend_above(axes, "\n".join(shortened(line, _TITLE_LETTERS) for line in lines))
    return figure


def sweep_plot(results: Results, criterion: str, label: str = "") -> Figure | None:
    """Draw score against patch size, with intervals, above the cost of each size.

    Args:
        results: the analysis of the run.
        criterion: text of the metric that decides.
        label: text of its axis; empty = its text.

    Returns:
        The plot, or None if fewer than two sizes were scored.
    """
    rows = [
        row for row in results.patch_sweep if row.metrics.get(criterion) and row.metrics[criterion].mean is not None
    ]
    if len(rows) < 2:
        return None
    figure, (above, below) = empty_figure(6.4, 4.2, rows=2)
    for index, (name, group) in enumerate(_lines(rows).items()):
        # Each round of the colors has other markers.
        color, marker = SERIES[index % _MOST_LINES], _MARKERS[(index + index // _MOST_LINES) % _MOST_LINES]
        sizes, means = [row.patch_size for row in group], [row.metrics[criterion].mean or 0.0 for row in group]
        above.plot(sizes, means, "-", marker=marker, color=color, linewidth=1.6, markersize=5, label=name)
        for row in group:
            score = row.metrics[criterion]
            if score.ci_low is not None and score.ci_high is not None:
                above.plot(
                    [row.patch_size] * 2,
                    [score.ci_low, score.ci_high],
                    "-",
                    color=color,
                    alpha=0.55,
                    linewidth=4,
                    solid_capstyle="butt",
                )
        below.plot(sizes, [_passes(row) for row in group], "-", marker=marker, color=color, linewidth=1.6, markersize=5)
    _mark_choice(above, results, criterion)
    ticks = sorted({row.patch_size for row in rows})
    for axes in (above, below):
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.margins(x=0.06)
    above.set_ylabel(label or criterion)
    above.tick_params(labelbottom=False)
    below.set(yscale="log", xlabel="patch size, pixels")
    below.set_ylabel("forward passes\nper image")
    below.set_yticks(*_pass_ticks([_passes(row) for row in rows]))
    below.minorticks_off()
    legend_above(above, "Score and cost by patch size")
    return figure


def object_size_plot(scores: Sequence[SizeScore], shown: Sequence[str], metric: str, label: str = "") -> Figure | None:
    """Draw score against object size, with intervals.

    Args:
        scores: the scores, from ``by_object_size``.
        shown: texts of the explainers to draw; the first six are drawn.
        metric: text of the metric.
        label: text of its axis; empty = its text.

    Returns:
        The plot, or None if no explainer is to be drawn, nothing was scored or all objects have one size.
    """
    sizes = [
        size
        for size in dict.fromkeys(score.object_size for score in scores)
        if any(score.n_images for score in scores if score.object_size == size)
    ]
    if len(sizes) < 2 or not shown:
        return None
    figure, axes = empty_figure(6.4, 3.2)
    shown = shown[:_MOST_LINES]
    for index, explainer in enumerate(shown):
        color, marker = SERIES[index], _MARKERS[index]
        by_size = {
            score.object_size: score for score in scores if score.explainer == explainer and score.mean is not None
        }
        offset = (index - (len(shown) - 1) / 2) * 0.09
        positions = [sizes.index(size) + offset for size in sizes if size in by_size]
        axes.plot(
            positions,
            [score.mean or 0.0 for score in by_size.values()],
            "-",
            marker=marker,
            color=color,
            linewidth=1.4,
            markersize=5,
            label=shortened(explainer, _LEGEND_LETTERS),
        )
        for x, score in zip(positions, by_size.values(), strict=True):
            if score.low is not None and score.high is not None:
                ends = [score.low, score.high]
                axes.plot([x, x], ends, "-", color=color, alpha=0.55, linewidth=3, solid_capstyle="butt")
    counts = {size: max(score.n_images for score in scores if score.object_size == size) for size in sizes}
    axes.set_xticks(range(len(sizes)), [f"{size}\n{counts[size]} images" for size in sizes])
    axes.set_xlim(-0.45, len(sizes) - 0.55)
    axes.set_ylabel(label or metric)
    axes.set_xlabel("object size (small: under 10 % of the image, large: over 30 %)")
    legend_above(axes, "Score by object size")
    return figure


def _lines(rows: Sequence[SweepRow]) -> dict[str, list[SweepRow]]:
    """Group the sizes into lines: by stride, and by everything else in which they differ."""
    groups: dict[str, list[SweepRow]] = {}
    for row in rows:
        parts = [str(row.variant[NAME])] if NAME in row.variant else []
        groups.setdefault(", ".join([*parts, *filter(None, [variant_text(row.variant)])]), []).append(row)
    return {
        ", ".join(filter(None, [stride, variant])): line
        for variant, group in groups.items()
        for stride, line in _by_stride(group).items()
    }


def _by_stride(rows: Sequence[SweepRow]) -> dict[str, list[SweepRow]]:
    """Group the sizes into lines: stride equal to the patch size, half of it, or a fixed number of pixels.

    A stride is fixed if some size has it that is neither the size nor half of it; then its line has every size with it.
    """
    fixed = {row.stride for row in rows if row.stride not in (row.patch_size, row.patch_size // 2)}
    lines = {
        "stride = patch size": [row for row in rows if row.stride == row.patch_size],
        "stride = half of it": [row for row in rows if row.stride == row.patch_size // 2],
    }
    groups = {name: group for name, group in lines.items() if any(row.stride not in fixed for row in group)}
    return groups | {f"stride = {stride}": [row for row in rows if row.stride == stride] for stride in sorted(fixed)}


def _mark_choice(axes: Axes, results: Results, criterion: str) -> None:
    choice = results.best_patch_size
    chosen = next((row for row in results.patch_sweep if choice and row.explainer == choice.explainer), None)
    if choice is None or chosen is None or (mean := chosen.metrics[criterion].mean) is None:
        return
    label = "recommended" if choice.decided else "best so far"
    axes.plot(
        [chosen.patch_size],
        [mean],
        "o",
        markersize=13,
        markerfacecolor="none",
        markeredgecolor=INK,
        markeredgewidth=1.6,
        label=label,
    )


def _passes(row: SweepRow) -> float:
    return row.forward_passes if row.passes is None else row.passes


def _pass_ticks(passes: Sequence[float]) -> tuple[list[float], list[str]]:
    low, high = min(passes), max(passes)
    ticks: list[float] = [
        base * 10**power for power in range(6) for base in (1, 2, 5) if low * 0.6 <= base * 10**power <= high * 1.7
    ]
    if sum(low <= tick <= high for tick in ticks) < 2:
        ticks = sorted({low, high})
    return ticks, [f"{tick:,}" for tick in ticks]
