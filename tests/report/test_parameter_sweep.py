"""Sweeps of other parameters than the patch size, and costs, as shown in every format."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from evalkit.analysis.results import Cost
from evalkit.report import render
from evalkit.report.html.parameter_plot import parameter_plot
from evalkit.report.html.plot_style import to_svg
from evalkit.report.tables.answers import answers
from evalkit.report.tables.cost import cost_notes, cost_table
from evalkit.report.tables.parameter_sweep import parameter_lines, parameter_table, shown_sweeps
from evalkit.report.tables.rich_tables import broken_name, broken_words
from tests.builders import explainer_facts

from .conftest import N_IMAGES, made_up, scored
from .test_plots import texts

BLOCKS = "block3_conv3", "block4_conv3", "block3_conv3+block4_conv3+block5_conv3+conv_head"
DEEP = [
    f"backbone/encoder/blocks/{block}/attention/norm_of_the_{which}_input" for block, which in ((1, "a"), (11, "b"))
]


def explainer(text, passes=1, backward=0, *, changes=None, **parameters):
    return explainer_facts(
        text, parameters=parameters, forward_passes=passes, backward_passes=backward, seconds=12.5, n_maps=N_IMAGES,
        **(changes or {}),
    )  # fmt: skip


ADAPTIVE = {"mean_passes": (1234.5, 0.0), "repeatability": 0.934, "n_repeated": 20, "notes": ("It stopped early.",)}
EXPLAINERS = (
    *(explainer(f"gradcam(layer={layer})", 1, 1, layer=layer) for layer in BLOCKS),
    *(explainer(f"layercam(layer={'+'.join(layers)})", 1, 1, layer="+".join(layers)) for layers in (DEEP, DEEP[:1])),
    explainer("rise", 4000, changes=ADAPTIVE, masks=4000, tolerance=0.01, grid=7),
    explainer("rise(masks=500)", 500, masks=500, tolerance=0, grid=7),
    explainer("occlusion(patch_size=16)", 197, patch_size=16, stride=16, fill="black"),
    explainer("occlusion(patch_size=32)", 50, patch_size=32, stride=32, fill="black"),
    explainer("random", 0, changes={"control": True}, seed=0),
    explainer("random(seed=1)", 0, changes={"control": True}, seed=1),
)  # fmt: skip


@pytest.fixture(scope="module")
def run():
    manifest = made_up(EXPLAINERS)
    return manifest, scored(manifest)


@pytest.fixture(scope="module")
def shown(run):
    return {one.sweep.explainer: one for one in shown_sweeps(run[1])}


def printed(run, form="table", width=80):
    return render(*run, form, width=width, wide=False, color=False)


def test_each_sweep_has_a_title_and_occlusion_is_shown_once(run, shown):
    assert [one.title for one in shown.values()] == [
        "Layer of gradcam",
        "Layer of layercam",
        "Masks and tolerance of rise",
    ]
    for form in ("table", "markdown", "latex"):
        text = printed(run, form)
        assert len(re.findall(r"(?im)^\W*patch size.* of occlusion$", text)) == 1
        for one in shown.values():
            assert len(re.findall(rf"(?m)^\W*{one.title}$", text)) == 1
        assert "of random" not in text


def test_rows_have_parameters_passes_seconds_and_scores_with_marks(run, shown):
    manifest, results = run
    table = parameter_table(manifest, shown["rise"], 2)
    assert table.header == ["masks", "tolerance", "passes", "s/image", "symmetric_relevance_gain ↑", "deletion ↓"]
    assert [cells[1:4] for cells in table.rows] == [["0.01", "1234.5", "0.52"], ["0", "500", "0.52"]]
    choice = results.best_parameters["rise"]
    marks = {cells[0].split()[-1]: cells[0][0] for cells in table.rows}
    assert marks[str(choice.parameters["masks"])] == ">"
    score = results.parameter_sweeps[2].rows[0].metrics["symmetric_relevance_gain"]
    assert table.rows[0][4] == f"{score.mean:.3f} [{score.ci_low:.3f}, {score.ci_high:.3f}]"
    assert parameter_table(manifest, shown["rise"], 1, brief=True).header[2:4] == ["passes", table.header[4]]


def test_lines_say_the_choice_and_how_backward_passes_count(run, shown):
    lines = parameter_lines(shown["gradcam"])
    assert lines[0] == f"> {run[1].best_parameters['gradcam'].reason}"
    assert lines[-1] == "A backward pass counts as two passes."
    assert "A backward pass counts as two passes." not in parameter_lines(shown["rise"])


def test_lines_without_a_choice_say_why_and_what_is_left_out(run):
    _, results = run
    sweep = msgspec.structs.replace(results.parameter_sweeps[2], reason="it is so", not_compared=("rise", "other"))
    found = msgspec.structs.replace(results, parameter_sweeps=(sweep,), best_parameters={"rise": None})
    assert parameter_lines(shown_sweeps(found)[0]) == [
        "No setting is recommended: it is so.",
        "Not compared, because the criterion scored none of their images: rise and other.",
    ]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_name_of_a_layer_is_broken_on_the_terminal(run, width):
    text = printed(run, width=width)
    assert max(map(len, text.splitlines())) <= width
    begin, end = text.index("Layer of gradcam"), text.index("Cost of the maps")
    part = text[begin:end]
    for name in (*BLOCKS[:2], "block5_conv3", "conv_head", "norm_of_the_a_input", "norm_of_the_b_input"):
        assert name in part
    cost = text[end : text.index("Repeatability:")]
    for name in ("block5_conv3", "conv_head", "norm_of_the_a_"):
        assert name in cost
    assert re.search(r"rise +1234\.5 F +0\.52 +12\.5 +0\.93 \(20\) +full pass", cost)


def test_names_too_long_for_a_table_have_letters(run, shown):
    text = printed(run, width=80)
    part = text[text.index("Layer of layercam") : text.index("Masks and tolerance")]
    rows = [line for line in part.splitlines() if re.match(r"[>= ] [ab] +3 ", line)]
    assert len(rows) == 2
    assert f"b: layer={DEEP[0]}" in part
    table = parameter_table(run[0], shown["layercam"], 2, names="letters")
    assert {cells[0][-1] for cells in table.rows} == {"a", "b"}
    assert table.header[:2] == ["", "passes"]


def test_words_are_broken_only_after_plus_and_slash():
    assert broken_words("layer=aa+bb is best", 9) == "layer=aa+\nbb is best"
    assert broken_words("layer=aaaaaaaaaa is", 9) == "layer=aaaaaaaaaa is"
    assert broken_name("tf_explain.integrated_gradients", 18).plain == "tf_explain.\n integrated_\n gradients"
    assert broken_name("cam(layer=a/b+c)", 12).plain == "cam\n (layer=a/b+\n  c)"
    assert broken_name("cam(layer=a/b+c, reduce=sum)", 11).plain == "cam\n (layer=a/\n  b+c,\n  reduce=sum)"


def test_costs_are_forward_and_backward_passes(run):
    rows = {row[0]: row[1:] for row in cost_table(run[1]).rows}
    assert rows["gradcam(layer=block3_conv3)"] == ["1 F + 1 B", "0.52", "12.5", "-", "full pass"]
    assert rows["rise"] == ["1234.5 F", "0.52", "12.5", "0.93 (20)", "full pass"]
    assert rows["random"][0] == "0"
    notes = cost_notes(run[1])
    assert notes[0] == (
        "F: forward passes, B: backward passes, of each map as if computed alone; means over images have a decimal."
    )
    assert notes[1].startswith("Repeatability: mean rank correlation")
    assert notes[2:] == ["rise: It stopped early."]


def test_costs_of_forward_passes_alone_need_no_notes(run):
    plain = msgspec.structs.replace(run[1], cost=(Cost("cam", 1, 1.0, 0.5, "full pass"),))
    assert cost_table(plain).header == ["explainer", "passes/image", "s/image", "seconds", "method"]
    assert cost_notes(plain) == []
    mean = msgspec.structs.replace(plain.cost[0], mean_passes=(10.25, 2.0))
    assert cost_table(msgspec.structs.replace(plain, cost=(mean,))).rows[0][1] == "10.2 F + 2.0 B"
    whole = msgspec.structs.replace(plain.cost[0], mean_passes=(500.0, 0.0))
    assert cost_table(msgspec.structs.replace(plain, cost=(whole,))).rows[0][1] == "500 F"


def test_json_has_every_sweep_and_its_choice(run):
    found = json.loads(printed(run, "json"), parse_constant=pytest.fail)
    assert [sweep["explainer"] for sweep in found["parameter_sweeps"]] == ["gradcam", "layercam", "rise", "occlusion"]
    assert list(found["best_parameters"]) == ["gradcam", "layercam", "rise", "occlusion"]
    sweep = found["parameter_sweeps"][2]
    assert sweep["parameters"] == ["masks", "tolerance"]
    assert [(row["explainer"], row["passes"]) for row in sweep["rows"]] == [("rise", 1234.5), ("rise(masks=500)", 500)]
    assert set(sweep["rows"][0]) == {"explainer", "parameters", "passes", "seconds_per_image", "metrics"}
    assert set(found["best_parameters"]["rise"]) == {
        "parameters", "explainer", "reason", "decided", "tied_with", "chosen_share", "criterion", "margin", "n_images",
        "n_wanted",
    }  # fmt: skip
    assert found["best_parameters"]["occlusion"]["reason"] == found["best_patch_size"]["reason"]


def test_the_key_findings_ask_for_each_sweep(run):
    found = {one.question: one.main for one in answers(*run)}
    choice = run[1].best_parameters["rise"]
    undecided = "" if choice.decided else " (undecided)"
    expected = f"masks={choice.parameters['masks']}, tolerance={choice.parameters['tolerance']}{undecided}"
    assert found["Which masks and tolerance for rise?"] == expected
    assert "Which layer for gradcam?" in found
    assert "Which patch size for occlusion?" in found


def test_the_plot_shows_score_interval_cost_and_choice(run, shown):
    figure = parameter_plot(shown["rise"], "symmetric_relevance_gain", "higher")
    scores, costs = figure.axes
    rows = shown["rise"].sweep.rows
    assert [line.get_xdata()[0] for line in costs.lines] == [1234.5, 500]
    intervals = [tuple(line.get_xdata()) for line in scores.lines if line.get_solid_capstyle() == "butt"]
    assert intervals == [
        (row.metrics["symmetric_relevance_gain"].ci_low, row.metrics["symmetric_relevance_gain"].ci_high)
        for row in rows
    ]
    words = texts(to_svg(figure, "sweep"))
    assert {"masks=4000, tolerance=0.01", "masks=500, tolerance=0", "passes per image"} <= set(words)
    assert {"best so far", "recommended"} & set(words)
    assert parameter_plot(shown["rise"], "nothing", "higher") is None
