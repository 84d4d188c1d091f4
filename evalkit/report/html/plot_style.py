"""Style of the plots, and their SVG in the page's own colors."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evalkit.report.images.figure import plain_text
from evalkit.report.tables.leaderboard import columns_of
from evalkit.store.manifest import Manifest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DPI",
    "FAINT",
    "INK",
    "SERIES",
    "VARIABLES",
    "axis_label",
    "empty_figure",
    "legend_above",
    "style_axes",
    "to_svg",
]

# Okabe and Ito's colors for color-blind readers; the page replaces each by its own of the light or dark theme.
INK, FAINT, _GRID = "#1b1f24", "#57606a", "#d8dee4"
SERIES = ("#0072b2", "#c24e00", "#00795a", "#a8487f", "#7a6a00", "#3f3f9f")
VARIABLES: Mapping[str, str] = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    _GRID: "var(--line)",
    **{color: f"var(--series-{index})" for index, color in enumerate(SERIES, start=1)},
}
DPI = 144
_MARGIN, _HANDLE, _LETTER = 45, 28, 4.6  # points: of the axis, of a line's sample and gap, of a letter of the legend
_PAD, _LINE = 7, 14  # points: below a title without a legend, of a line of the legend


def to_svg(figure: Figure, label: str) -> str:
    """Return a figure as an ``<svg>`` element for an HTML page: text stays text, colors are the page's variables.

    Args:
        figure: a figure of ``plots`` or ``parameter_plot``.
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


def empty_figure(width: float, height: float, rows: int = 1) -> tuple[Figure, Any]:
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
        spine.set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=FAINT, labelsize=8)
    axes.xaxis.label.set(color=FAINT, size=8.5, parse_math=False)
    axes.yaxis.label.set(color=FAINT, size=8.5, parse_math=False)


def legend_above(axes: Axes, title: str) -> None:
    """Put the legend above the plot, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    room = 72 * (figure.get_size_inches()[0] if figure else 0) - _MARGIN
    columns = min(3, max(1, int(room / (_HANDLE + _LETTER * max(map(len, labels), default=0)))))
    pad = _PAD + _LINE * -(-len(labels) // columns)
    axes.set_title(title, loc="left", size=10, color=INK, weight="bold", parse_math=False, pad=pad)
    if not labels:
        return
    drawn = axes.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, fontsize=8,
        borderpad=0.1, handlelength=1.8, columnspacing=1.2, labelcolor=INK,
    )  # fmt: skip
    for text in drawn.get_texts():
        text.set_parse_math(False)


def axis_label(manifest: Manifest, metric: str) -> str:
    """Return the text of the axis of a metric; its own text if it is none of the run's."""
    column = next((column for column in columns_of(manifest) if column.metric == metric), None)
    if column is None:
        return _broken_in_two(metric)
    better = "" if column.facts.descriptive else f" {column.arrow} ({column.facts.direction} is better)"
    return f"{_broken_in_two(column.short)}{better}"


def _broken_in_two(name: str) -> str:
    """Break a long name at an underscore near its middle."""
    if len(name) < 18 or "_" not in name:
        return name
    underscores = (index for index, letter in enumerate(name) if letter == "_")
    cut = min(underscores, key=lambda index: abs(index - len(name) / 2))
    return f"{name[: cut + 1]}\n{name[cut + 1 :]}"
