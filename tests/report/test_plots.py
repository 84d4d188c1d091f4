"""Plots: the numbers stand in them, names are shown as they are, and the page's colors replace the file's."""

from __future__ import annotations

import io
import xml.dom.minidom
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from evalkit.analysis.curves import MeanCurve, SizeScore, variants
from evalkit.report.html.plot_style import VARIABLES, axis_label, to_svg
from evalkit.report.html.plots import _by_stride, _lines, _pass_ticks, curve_plot, object_size_plot, sweep_plot
from evalkit.report.images.figure import to_png

TRICKY = '<script>alert("x")</script> $y$ & שלום 🐟'


def curve(metric, explainer="gradcam"):
    fractions = np.linspace(0, 1, 5)
    mean = fractions if metric == "insertion" else 1 - fractions
    draws = "insertion" if metric.startswith("insertion") else "removal"
    return MeanCurve(explainer, metric, draws, fractions, mean, mean - 0.1, mean + 0.1, 0.5, 7)


def parsed(svg):
    return xml.dom.minidom.parseString(svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1))  # noqa: S318 - our own


def texts(svg):
    return [node.firstChild.data for node in parsed(svg).getElementsByTagName("text") if node.firstChild]


def test_curves_show_area_mean_and_interval():
    figure = curve_plot([curve("deletion"), curve("insertion")])
    assert {"gradcam", "deletion 0.500", "insertion 0.500"} <= set(texts(to_svg(figure, "curves")))
    axes = figure.axes[0]
    assert len(axes.lines) == 2
    assert len(axes.collections) == 4  # for each an area and an interval
    # Not by color alone.
    assert {line.get_linestyle() for line in axes.lines} == {"--", "-"}


def test_variants_of_the_metrics_have_plots_of_their_own():
    given = [curve(text) for text in ("deletion", "deletion(steps=14)", "deletion(substrate=black)", "insertion",
                                      "insertion(steps=14)", "deletion(score=log_odds)")]  # fmt: skip
    found = variants(given)
    assert {name: [one.metric for one in some] for name, some in found.items()} == {
        "": ["deletion", "insertion"],
        "score=log_odds": ["deletion(score=log_odds)"],
        "steps=14": ["deletion(steps=14)", "insertion(steps=14)"],
        "substrate=black": ["deletion(substrate=black)"],
    }
    svg = to_svg(curve_plot(found["steps=14"], "steps=14"), "curves")
    assert {"gradcam", "steps=14", "deletion 0.500", "insertion 0.500"} <= set(texts(svg))


def test_log_odds_have_an_axis_of_their_own_and_no_bounds():
    drawn = [one._replace(mean=one.mean * 30 - 12, value="log-odds") for one in (curve("deletion"), curve("insertion"))]
    axes = curve_plot(drawn, "score=log_odds").axes[0]
    assert axes.get_ylabel() == "log-odds of the class"
    low, high = axes.get_ylim()
    assert low < -12
    assert high > 18
    axes = curve_plot([curve("deletion")]).axes[0]
    assert (axes.get_ylabel(), axes.get_ylim()) == ("score of the class", (0, 1.02))


@pytest.mark.parametrize("variant", ["", "steps=14, substrate=black, ties=levels, baseline=blur and more of it"])
@pytest.mark.parametrize("explainer", ["gradcam", "maps(" + "a very long name of a folder " * 5 + ")"])
def test_titles_and_labels_stay_inside_and_nothing_overlaps(explainer, variant):
    figure = curve_plot([curve("deletion", explainer), curve("insertion", explainer)], variant)
    to_png(figure)
    width, height = figure.bbox.size
    axes = figure.axes[0]
    title, legend = axes._left_title.get_window_extent(), axes.get_legend().get_window_extent()
    for box in (title, legend, axes.get_window_extent()):
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    assert title.y0 >= legend.y1 - 1
    assert axes.get_window_extent().height > 0.4 * height


def test_the_sweep_shows_score_interval_cost_and_choice(results, manifest):
    criterion = manifest.settings.criterion
    figure = sweep_plot(results, criterion)
    above, below = figure.axes
    scored = [row for row in results.patch_sweep if row.metrics[criterion].mean is not None]
    assert {x for line in below.lines for x in line.get_xdata()} == {row.patch_size for row in scored}
    assert {y for line in below.lines for y in line.get_ydata()} == {row.forward_passes for row in scored}
    intervals = {tuple(line.get_ydata()) for line in above.lines if line.get_solid_capstyle() == "butt"}
    assert intervals == {(row.metrics[criterion].ci_low, row.metrics[criterion].ci_high) for row in scored}
    assert {"best so far", "recommended"} & set(texts(to_svg(figure, "sweep")))
    assert sweep_plot(results, "nothing") is None


@pytest.mark.parametrize(
    ("grid", "lines"),
    [
        ([(4, 4), (8, 4), (12, 4)], {"stride = 4": [4, 8, 12]}),
        ([(8, 8), (16, 16), (8, 4), (16, 8)], {"stride = patch size": [8, 16], "stride = half of it": [8, 16]}),
        (
            [(32, 32), (40, 40), (48, 48), (32, 16), (40, 20), (48, 24), (40, 16), (48, 16)],
            {"stride = patch size": [32, 40, 48], "stride = half of it": [32, 40, 48], "stride = 16": [32, 40, 48]},
        ),
    ],
)
def test_strides_that_are_fixed_are_one_line(grid, lines):
    rows = [SimpleNamespace(patch_size=size, stride=stride) for size, stride in grid]
    assert {name: [row.patch_size for row in group] for name, group in _by_stride(rows).items()} == lines


def test_settings_that_differ_otherwise_are_lines_of_their_own():
    rows = [
        SimpleNamespace(patch_size=size, stride=size, variant=variant)
        for size in (16, 32)
        for variant in ({"fill": "black"}, {"fill": "mean"}, {"name": "mine:Occlusion", "fill": "mean"})
    ]
    found = {name: [row.patch_size for row in line] for name, line in _lines(rows).items()}
    assert found == {
        "stride = patch size, fill=black": [16, 32],
        "stride = patch size, fill=mean": [16, 32],
        "stride = patch size, mine:Occlusion, fill=mean": [16, 32],
    }


def test_a_curve_plot_names_every_parameter():
    name = "occlusion(patch_size=16, stride=8, fill=mean)"
    title = curve_plot([curve("deletion", name)]).axes[0].get_title(loc="left")
    assert title == "occlusion\n(patch_size=16, stride=8, fill=mean)"


@pytest.mark.parametrize("explainer", ["gradcam", "occlusion(patch_size=56, stride=28)", "maps(" + "x y " * 40 + ")"])
def test_legend_of_long_names_stays_inside_the_plot(explainer):
    shown = [f"{explainer}{number}" for number in range(6)]
    scores = [SizeScore(one, size, 0.5, 0.4, 0.6, 9) for one in shown for size in ("small", "medium", "large")]
    figure = object_size_plot(scores, shown, "symmetric_relevance_gain")
    to_png(figure)
    width, height = figure.bbox.size
    axes = figure.axes[0]
    legend, plot = axes.get_legend().get_window_extent(), axes.get_window_extent()
    title = axes._left_title.get_window_extent()
    assert legend.x1 <= width
    assert legend.y1 <= title.y0 + 1
    assert title.y1 <= height
    assert plot.width > 0.8 * width
    assert plot.height > 0.35 * height


def test_object_size_plot_needs_several_sizes():
    scores = [SizeScore("e", size, 0.5, 0.4, 0.6, 9) for size in ("small", "medium", "large")]
    drawn = to_svg(object_size_plot(scores, ["e"], "symmetric_relevance_gain"), "sizes")
    assert "small" in texts(drawn)
    assert "9 images" in texts(drawn)
    assert object_size_plot(scores[:1], ["e"], "deletion") is None
    assert object_size_plot(scores, [], "deletion") is None


def test_axes_have_the_short_title_and_which_end_is_better(manifest, results):
    label = axis_label(manifest, manifest.settings.criterion)
    assert label == "gain ↑ (higher is better)"
    assert axis_label(manifest, "deletion") == "deletion ↓ (lower is better)"
    assert axis_label(manifest, "of_no_metric") == "of_no_metric"
    assert sweep_plot(results, manifest.settings.criterion, label).axes[0].get_ylabel() == label


def test_svg_uses_page_colors_and_no_external_resources():
    svg = to_svg(curve_plot([curve("deletion", TRICKY), curve("insertion", TRICKY)]), TRICKY)
    assert not [color for color in VARIABLES if color in svg.lower()]
    assert "var(--ink)" in svg
    for banned in ("http", "<script", "<style", "font-family", "<?xml", "<!DOCTYPE"):
        assert banned not in svg
    assert TRICKY in texts(svg)
    assert svg == to_svg(curve_plot([curve("deletion", TRICKY), curve("insertion", TRICKY)]), TRICKY)


@pytest.mark.parametrize("name", ["gradcam", TRICKY])
def test_png_shows_the_same_plot(name):
    with Image.open(io.BytesIO(to_png(curve_plot([curve("deletion", name)]), 144))) as picture:
        assert picture.size == (518, 360)


@pytest.mark.parametrize(
    ("passes", "ticks"),
    [([37, 50], [37, 50]), ([50], [50]), ([17, 197], [20, 50, 100, 200]), ([17, 785], [20, 50, 100, 200, 500, 1000])],
)
def test_passes_axis_has_at_least_two_ticks_for_two_costs(passes, ticks):
    found, labels = _pass_ticks(passes)
    assert [tick for tick in found if min(passes) * 0.9 <= tick] == ticks
    assert len(labels) == len(found)
