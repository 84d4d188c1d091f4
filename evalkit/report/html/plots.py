"""Plots of curves and sweeps, for PNG files and, in the page's own colors, for the HTML report."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.analysis.choice.candidates import NAME, variant_text
from evalkit.analysis.curves import MeanCurve, SizeScore
from evalkit.analysis.results import Results, SweepRow
from evalkit.core.registry import parse_spec
from evalkit.report.images.figure import plain_text, shortened
from evalkit.report.tables.leaderboard import ARROWS, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DPI",
    "INK",
    "SERIES",
    "broken_in_two",
    "curve_plot",
    "legend_above",
    "object_size_plot",
    "style_axes",
    "sweep_plot",
    "to_svg",
]

# Okabe and Ito's colors for color-blind readers; the page replaces each by its own of the light or dark theme.
INK, _FAINT, _GRID = "#1b1f24", "#57606a", "#d8dee4"
SERIES = ("#0072b2", "#c24e00", "#00795a", "#a8487f", "#7a6a00", "#3f3f9f")
_MARKERS = ("o", "s", "^", "D", "v", "P")
VARIABLES: Mapping[str, str] = {
    INK: "var(--ink)",
    _FAINT: "var(--faint)",
    _GRID: "var(--line)",
    **{color: f"var(--series-{index})" for index, color in enumerate(SERIES, start=1)},
}
_CURVE_STYLES = {"removal": (SERIES[1], "--"), "insertion": (SERIES[0], "-")}
DPI = 144
_MOST_LINES = len(SERIES)
_TITLE_LETTERS = 42  # that fit above a curve plot
_LEGEND_LETTERS = 60
_MARGIN, _HANDLE, _LETTER = 45, 28, 4.6  # points: of the axis, of a line's sample and gap, of a letter of the legend


def curve_plot(curves: Sequence[MeanCurve], variant: str = "") -> Figure:
    """Draw one explainer's curves: mean, area below it, and the 95 % interval over images.

    Args:
        curves: curves of one explainer, one variant of the metrics and one kind of values; at least one.
        variant: parameters of the metrics, for the title; empty if there are none.
    """
    figure, axes = _figure(3.6, 2.5)
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
        axes.axhline(0, color=_FAINT, linewidth=0.8)
    axes.set_xlabel("fraction of pixels, most relevant first")
    axes.set_ylabel(f"{curves[0].value} of the class")
    explainer = curves[0].explainer
    # The parameters are what distinguishes two explainers; they are not to be shortened with the name.
    lines = [explainer] if len(explainer) <= _TITLE_LETTERS else explainer.replace("(", "\n(", 1).split("\n")
    lines += [variant] if variant else []
    legend_above(axes, "\n".join(shortened(line, _TITLE_LETTERS) for line in lines))
    return figure


def sweep_plot(results: Results, criterion: str) -> Figure | None:
    """Draw score against patch size, with intervals, above the cost of each size.

    Args:
        results: the analysis of the run.
        criterion: text of the metric that decides.

    Returns:
        The plot, or None if fewer than two sizes were scored.
    """
    rows = [
        row for row in results.patch_sweep if row.metrics.get(criterion) and row.metrics[criterion].mean is not None
    ]
    if len(rows) < 2:
        return None
    figure, (above, below) = _figure(6.4, 4.2, rows=2)
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
    direction = next(cell.direction for cell in results.leaderboard if cell.metric == criterion)
    above.set_ylabel(f"{broken_in_two(criterion)} {ARROWS[direction]}")
    above.tick_params(labelbottom=False)
    below.set(yscale="log", xlabel="patch size, pixels")
    below.set_ylabel("forward passes\nper image")
    below.set_yticks(*_pass_ticks([_passes(row) for row in rows]))
    below.minorticks_off()
    legend_above(above, "")
    return figure


def object_size_plot(scores: Sequence[SizeScore], shown: Sequence[str], metric: str) -> Figure | None:
    """Draw score against object size, with intervals.

    Args:
        scores: the scores, from ``by_object_size``.
        shown: texts of the explainers to draw; the first six are drawn.
        metric: text of the metric.

    Returns:
        The plot, or None if nothing was scored or all objects have one size.
    """
    sizes = [
        size
        for size in dict.fromkeys(score.object_size for score in scores)
        if any(score.n_images for score in scores if score.object_size == size)
    ]
    if len(sizes) < 2:
        return None
    figure, axes = _figure(6.4, 3.2)
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
    axes.set_ylabel(broken_in_two(metric))
    axes.set_xlabel("object size (small: under 10 % of the image, large: over 30 %)")
    legend_above(axes, "")
    return figure


def to_svg(figure: Figure, label: str) -> str:
    """Return a figure as an ``<svg>`` element for an HTML page: text stays text, colors are the page's variables.

    Args:
        figure: a figure of this module.
        label: text alternative for screen readers; escaped here.
    """
    import html

    import matplotlib as mpl

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    svg = buffer.getvalue()
    body = svg[svg.index("<defs>") if "<defs>" in svg else svg.index("<g ") : svg.rindex("</svg>")]
    # Only the ids of clip paths and markers are used.
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", body)
    body = re.sub(r" ?font-family: [^\"]*?;", "", body)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # it would apply to the whole page
    body = re.sub("|".join(VARIABLES), lambda match: VARIABLES[match[0]], body)
    width, height = (round(float(side) * 72) for side in figure.get_size_inches())
    return (
        f'<svg role="img" aria-label="{html.escape(plain_text(label), quote=True)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" stroke-linejoin="round">{body}</svg>'
    )


def _figure(width: float, height: float, rows: int = 1) -> tuple[Figure, Any]:
    """Return an empty figure, sizes in inches, and its axes or an array of them, with a light grid."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    plots = figure.subplots(rows, 1, gridspec_kw={"height_ratios": [2, 1]} if rows == 2 else None)
    for axes in plots if rows > 1 else [plots]:
        style_axes(axes)
    return figure, plots


def style_axes(axes: Axes) -> None:
    """Give axes a light grid and the page's colors."""
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_FAINT)
    axes.tick_params(colors=_FAINT, labelcolor=_FAINT, labelsize=8)
    axes.xaxis.label.set(color=_FAINT, size=8.5, parse_math=False)
    axes.yaxis.label.set(color=_FAINT, size=8.5, parse_math=False)


def legend_above(axes: Axes, title: str) -> None:
    """Put the legend above the plot, where it hides nothing."""
    axes.set_title(title, loc="left", size=10, color=INK, weight="bold", parse_math=False, pad=22 if title else 6)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) < 1:
        return
    figure = axes.get_figure(root=True)
    room = 72 * (figure.get_size_inches()[0] if figure else 0) - _MARGIN
    columns = min(3, max(1, int(room / (_HANDLE + _LETTER * max(map(len, labels))))))
    drawn = axes.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, fontsize=8,
        borderpad=0.1, handlelength=1.8, columnspacing=1.2, labelcolor=INK,
    )  # fmt: skip
    for text in drawn.get_texts():
        text.set_parse_math(False)


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


def broken_in_two(name: str) -> str:
    """Break a long name at an underscore near its middle."""
    if len(name) < 18 or "_" not in name:
        return name
    underscores = (index for index, letter in enumerate(name) if letter == "_")
    cut = min(underscores, key=lambda index: abs(index - len(name) / 2))
    return f"{name[: cut + 1]}\n{name[cut + 1 :]}"
