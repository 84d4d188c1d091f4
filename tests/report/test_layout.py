"""What is shown where: letters of the rows beaten, the sweep and its choice, objects by size."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from evalkit.analysis.leaderboard import analyse
from evalkit.analysis.results import (
    LeaderboardCell,
    ObjectSizeBin,
    PatchSizeChoice,
    StrideChoice,
    SweepRow,
    SweepScore,
)
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.facts import facts_of_metric
from evalkit.report import render
from evalkit.report.tables.answers import answers
from evalkit.report.tables.leaderboard import (
    Column,
    Leaderboard,
    Row,
    beaten,
    compressed,
    is_best,
    leaderboards,
    legend,
    marks,
    row_letters,
    tied_for_best,
)
from evalkit.report.tables.patch_size import (
    choice_lines,
    equal_stride_lines,
    object_size_rows,
    sweep_table,
    sweep_title,
)
from evalkit.report.tables.rich_tables import print_to_text
from evalkit.report.tables.sweep_tables import patch_size_parts
from tests.builders import explainer_facts, score_table
from tests.builders import manifest as build_manifest

CHOICE = PatchSizeChoice(
    patch_size=32,
    stride=16,
    reason="It is so.",
    decided=True,
    tied_with=(),
    chosen_share=None,
    criterion="deletion",
    margin=0.05,
    n_images=40,
    explainer="occlusion(32, 16)",
)


def test_rows_beyond_z_have_two_letters():
    names = row_letters(80)
    assert names[:3] + names[25:28] + names[51:54] == ["a", "b", "c", "z", "aa", "ab", "az", "ba", "bb"]
    assert len(set(names)) == 80
    assert row_letters(0) == []


def test_the_bias_of_scores_of_the_set_is_a_line_of_the_legend(manifest, results):
    def lines(*cells):
        shown = msgspec.structs.replace(results, leaderboard=tuple(cells))
        return [line for line in legend(manifest, shown) if line.startswith("Bias")]

    def biased(metric, bias, n_scored=24):
        return LeaderboardCell("cam", metric, "higher", 0.5, 0.4, 0.6, None, n_scored, 0, 1, (), bias=bias)

    first, *rest = lines(
        biased("max_box_acc_v1", 0.018), biased("max_box_acc_v1", 0.051, 20), biased("pxap", -0.004), biased("v", 0.02)
    )
    assert rest == []
    assert first.startswith("Bias on these 20 to 24 images, estimated: max_box_acc_v1 +0.02 to +0.05, v +0.02. A score")
    assert lines(biased("pxap", 0.004), biased("deletion", None)) == []


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], ""),
        ([4], "e"),
        ([0, 1], "a,b"),
        ([0, 1, 2], "a-c"),
        ([5, 3, 0, 4, 9], "a,d-f,j"),
        ([24, 25, 26, 27, 29], "y-ab,ad"),
        (range(30), "a-ad"),
    ],
)
def test_three_neighbors_or_more_are_a_range(places, expected):
    assert compressed(places, row_letters(30)) == expected


def cell(explainer, metric, mean, rank, better_than=()):
    return LeaderboardCell(explainer, metric, "higher", mean, None, None, None, 9, 0, rank, tuple(better_than))


def board(*columns):
    """A leaderboard of columns, each a list of (mean, rank, places of the rows that it beats)."""
    names = [f"explainer-{place}" for place in range(len(columns[0]))]
    metrics = ["insertion", "deletion", "sparseness"][: len(columns)]
    rows = [
        Row(
            letter,
            name,
            False,
            tuple(
                cell(name, metric, column[place][0], column[place][1], [names[other] for other in column[place][2]])
                for metric, column in zip(metrics, columns, strict=True)
            ),
        )
        for place, (letter, name) in enumerate(zip(row_letters(len(names)), names, strict=True))
    ]
    return Leaderboard("Made up", tuple(Column(facts_of_metric(METRICS.build(text))) for text in metrics), tuple(rows))


def test_a_cell_names_the_rows_that_it_beats_by_their_letters():
    made = board([(0.9, 1, [4, 1, 2]), (0.5, 2, [4]), (0.4, 3, []), (None, None, []), (0.1, 4, [])])
    assert [beaten(made, row.cells[0]) for row in made.rows] == ["b,c,e", "e", "", "", ""]


def test_rows_beyond_z_are_named_as_beaten():
    made = board([(0.9, 1, range(3, 30)), *((0.5, 2, [28, 29]) for _ in range(29))])
    assert beaten(made, made.rows[0].cells[0]) == "d-ad"
    assert beaten(made, made.rows[1].cells[0]) == "ac,ad"


def test_letters_follow_row_order_if_lower_is_better(manifest, results):
    made = leaderboards(manifest, results)[0]
    at = [column.metric for column in made.columns].index("deletion")
    cells = [row.cells[at] for row in made.rows]
    best = next(one for one in cells if one.rank == 1)
    assert best.mean == min(one.mean for one in cells)
    assert beaten(made, best)
    for one in cells:
        losers = [row for row in made.rows if row.explainer in one.better_than]
        assert all(row.cells[at].mean > one.mean for row in losers)
        assert beaten(made, one) == compressed([made.rows.index(row) for row in losers], row_letters(len(made.rows)))
    assert [row.letter for row in made.rows] == row_letters(len(made.rows))


def test_rows_not_beaten_by_the_best_are_tied_with_it():
    insertion = [(0.9, 1, [3]), (0.8, 2, []), (0.7, 3, []), (0.1, 4, [])]
    deletion = [(0.9, 4, []), (0.1, 1, [0]), (None, None, []), (0.2, 3, [])]
    assert tied_for_best(board(insertion, deletion)) == (
        "Best, and not significantly different from it: insertion a-c; deletion b,d."
    )


def test_tied_bests_include_rows_that_neither_beats():
    equal = [(0.9, 1, [2]), (0.9, 1, [3]), (0.2, 3, []), (0.1, 4, []), (0.3, 3, [])]
    assert tied_for_best(board(equal)) == "Best, and not significantly different from it: insertion a,b,e."
    nothing = [(None, None, []), (None, None, [])]
    assert tied_for_best(board(nothing)) == ""
    assert tied_for_best(board(nothing, [(0.1, 1, []), (0.1, 1, [])])).endswith("from it: deletion a,b.")


def test_where_nothing_was_tested_nothing_is_tied():
    made = board([(0.9, 1, []), (0.1, 2, [])], [(0.9, 2, []), (0.1, 1, [0])])
    untested = replace(made, untested=("insertion",))
    assert tied_for_best(untested) == "Best, and not significantly different from it: deletion b."


def test_nothing_is_best_or_better_by_a_descriptive_metric():
    explainers = [explainer_facts(text, control=text == "uniform") for text in ("gradcam", "cam", "uniform")]
    values = np.array([0.9, 0.5, 0.1])[:, None] + np.random.default_rng(0).normal(0, 0.01, (24, 3, 1))
    texts = [one.text for one in explainers]
    described = build_manifest(explainers, ("sparseness",))
    found = analyse(
        score_table(values, texts, ("sparseness",)), [METRICS.build("sparseness")], explainers, seed=0, n_resamples=200
    )
    (made,) = leaderboards(described, found)
    assert [row.explainer for row in made.rows] == texts
    assert made.columns[0].title == "sparseness"
    assert tied_for_best(made) == ""
    for row in made.rows:
        assert beaten(made, row.cells[0]) == marks(described, found, row.cells[0]) == ""
        assert not is_best(row.cells[0])


def test_explainers_without_a_rank_are_marked_and_said(manifest, results):
    metric = "insertion"
    without = "scored 4 of the 24 images that at least half of the explainers scored"
    cells = tuple(
        msgspec.structs.replace(cell, rank=None, rank_reason=without, mean=5.0, ci_low=None, ci_high=None)
        if (cell.explainer, cell.metric) == ("gradcam", metric)
        else msgspec.structs.replace(cell, rank_images=23)
        if cell.metric == metric
        else cell
        for cell in results.leaderboard
    )
    ranked = msgspec.structs.replace(results, leaderboard=cells)
    said = legend(manifest, ranked)
    shared = "Ranks, and what is best, are by the 23 images that all ranked explainers share: insertion;"
    assert f"{shared} the means shown are over all scored images." in said
    assert f"? no rank: gradcam: {without} (insertion)." in said
    boards = leaderboards(manifest, ranked)
    row, column = next(
        (row, index)
        for board in boards
        for index, column in enumerate(board.columns)
        for row in board.rows
        if (row.explainer, column.metric) == ("gradcam", metric)
    )
    assert marks(manifest, ranked, row.cells[column]) == "?"
    assert not is_best(row.cells[column])
    for form in ("table", "markdown", "latex"):
        text = render(manifest, ranked, form, width=120, wide=False, color=False)
        assert "5.000?" in text
        assert "no rank: gradcam: scored 4 of the 24" in " ".join(text.replace("%", "").split())
    assert not any("no rank" in line or "Ranks" in line for line in legend(manifest, results))


def test_unranked_rows_are_not_tied_with_the_best():
    made = board([(0.9, 1, [3]), (0.8, None, []), (0.7, 3, []), (0.1, 4, [])])
    assert tied_for_best(made) == "Best, and not significantly different from it: insertion a,c."


def swept(size, stride, **means):
    def score(text, mean):
        if mean is None:
            return SweepScore(None, None, None, 40)
        rank = round(1000 * (mean if text == "deletion" else 1 - mean))  # as the leaderboard, any numbers will do
        return SweepScore(mean, mean - 0.1, mean + 0.1, 40, rank)

    scores = {text: score(text, mean) for text, mean in means.items()}
    return SweepRow(f"occlusion({size}, {stride})", size, stride, 9, 10, 0.25, scores)


@pytest.fixture
def deciding(manifest, results):
    """The run with a made-up sweep that deletion decides."""
    settings = msgspec.structs.replace(manifest.settings, criterion="deletion", margin=0.05)
    sweep = (
        swept(16, 16, deletion=0.3, symmetric_relevance_gain=0.5, insertion=0.6),
        swept(32, 16, deletion=0.2, symmetric_relevance_gain=None, insertion=0.7),
        swept(32, 32, deletion=0.2, symmetric_relevance_gain=0.4, insertion=0.7 - 1e-15),
        swept(56, 56, symmetric_relevance_gain=-0.1, insertion=0.1),
    )
    choice = msgspec.structs.replace(CHOICE, tied_with=("occlusion(32, 32)", "occlusion(56, 56)"))
    run = msgspec.structs.replace(manifest, settings=settings)
    return run, msgspec.structs.replace(results, patch_sweep=sweep, best_patch_size=choice)


def test_criterion_is_first_in_the_sweep_and_has_the_intervals(deciding):
    table = sweep_table(*deciding, 3)
    assert table.header == [
        "patch_size", "stride", "positions", "passes", "s/image",
        "deletion ↓", "symmetric_relevance_gain ↑", "insertion ↑",
    ]  # fmt: skip
    assert table.rows == [
        ["16", "16", "9", "10", "0.25", "0.300 [0.200, 0.400]", "0.500", "0.600"],
        ["> 32", "16", "9", "10", "0.25", "0.200 [0.100, 0.300]", "-", "0.700"],
        ["= 32", "32", "9", "10", "0.25", "0.200 [0.100, 0.300]", "0.400", "0.700"],
        ["= 56", "56", "9", "10", "0.25", "-", "-0.100", "0.100"],
    ]


def test_sweep_marks_best_by_direction_including_ties(deciding):
    assert sweep_table(*deciding, 3).best == {(1, 5), (2, 5), (0, 6), (1, 7), (2, 7)}


def test_best_of_the_sweep_is_by_rank_not_by_the_mean_of_other_images(deciding):
    run, results = deciding
    easy = msgspec.structs.replace(results.patch_sweep[0], metrics={"deletion": SweepScore(0.01, 0.0, 0.02, 5)})
    results = msgspec.structs.replace(results, patch_sweep=(easy, *results.patch_sweep[1:]))
    assert sweep_table(run, results, 1).best == {(1, 5), (2, 5)}


def test_the_sweep_has_as_many_metrics_as_fit_each_once(deciding):
    run, results = deciding
    most = len(run.metrics)
    titles = [sweep_table(run, results, count).header[5:] for count in (1, 2, 6, most, most + 7)]
    assert [len(one) for one in titles] == [1, 2, 6, most, most]
    assert all(one == titles[-1][: len(one)] for one in titles)
    assert len(set(titles[-1])) == most
    assert titles[0] == ["deletion ↓"]


def test_without_a_choice_no_size_is_marked(deciding):
    run, results = deciding
    table = sweep_table(run, msgspec.structs.replace(results, best_patch_size=None), 1)
    assert [cells[0] for cells in table.rows] == ["16", "32", "32", "56"]


@pytest.mark.parametrize(
    ("choice", "reason", "expected"),
    [
        (None, None, []),
        (None, "one patch size has nothing to be chosen from",
         ["No patch size is recommended: one patch size has nothing to be chosen from."]),
        ({}, None, ["> It is so."]),
        ({"tied_with": ("a",)}, None, ["> It is so.", "= also within the margin."]),
        ({"tied_with": ("a",), "decided": False}, None,
         ["> It is so.", "= not significantly different from it, compared within this table only."]),
        ({"chosen_share": 0.876}, None,
         ["> It is so.",
          "88 % of the bootstrap resamples of the images give the same choice (margin 0.05 of deletion)."]),
    ],
)  # fmt: skip
def test_choice_lines_have_the_reason(results, choice, reason, expected):
    made = None if choice is None else msgspec.structs.replace(CHOICE, **choice)
    said = choice_lines(
        msgspec.structs.replace(results, patch_sweep=(), best_patch_size=made, best_patch_size_reason=reason)
    )
    assert said == expected


def test_the_choice_at_each_shared_stride_is_a_line(results):
    strides = (StrideChoice(8, None), StrideChoice(16, CHOICE))
    results = msgspec.structs.replace(results, patch_sweep=(), at_equal_stride=strides)
    assert equal_stride_lines(results) == ["At stride 16: It is so."]
    assert equal_stride_lines(msgspec.structs.replace(results, at_equal_stride=())) == []


def test_object_size_rows_have_a_column_for_each_size(deciding):
    first, second = "occlusion(16, 16)", "occlusion(32, 16)"
    bins = (
        ObjectSizeBin("small", 0.0, 0.1, 12, {first: 0.25, second: None}, None, "fewer than 30 images"),
        ObjectSizeBin("medium", 0.1, 0.3, 40, {first: 0.5, second: 0.125}, CHOICE, None),
        ObjectSizeBin("large", 0.3, 1.0, 0, {first: None, second: None}, None, "fewer than 30 images"),
    )
    results = msgspec.structs.replace(deciding[1], by_object_size=bins, patch_sweep=deciding[1].patch_sweep[:2])
    header, rows, notes = object_size_rows(results)
    assert header == ["patch_size", "stride", "small (12)", "medium (40)", "large (0)"]
    assert rows == [["16", "16", "0.250", "0.500", "-"], ["32", "16", "-", "0.125", "-"]]
    assert notes == [
        "Medium objects: It is so.",
        "No recommendation for small objects: fewer than 30 images.",
        "Exploratory: the largest box covers under 10 %, 10 to 30 %, or over 30 % of the image.",
    ]
    assert object_size_rows(msgspec.structs.replace(results, by_object_size=())) == ([], [], [])


@pytest.fixture
def filled(results):
    """Results of a sweep over two sizes and two fills, and its manifest."""
    texts = [f"occlusion(patch_size={size}, fill={fill})" for size in (16, 32) for fill in ("black", "mean")]
    run = build_manifest([explainer_facts(text) for text in texts], ["insertion"], settings={"criterion": "insertion"})
    rows = tuple(
        SweepRow(text, size, size, 9, 10, 0.25, {"insertion": SweepScore(0.5, 0.4, 0.6, 40)}, {"fill": fill})
        for text, (size, fill) in zip(texts, [(s, f) for s in (16, 32) for f in ("black", "mean")], strict=True)
    )
    choice = msgspec.structs.replace(
        CHOICE, stride=32, criterion="insertion", explainer=texts[3], tied_with=(texts[2],), variant={"fill": "mean"}
    )
    scores = dict(zip(texts, [0.1, 0.2, 0.3, 0.4], strict=True))
    found = msgspec.structs.replace(
        results, leaderboard=(), patch_sweep=rows, best_patch_size=choice, parameter_sweeps=(), best_parameters={},
        at_equal_stride=(StrideChoice(16, CHOICE),),
        by_object_size=(ObjectSizeBin("small", 0.0, 0.1, 40, scores, None, None),),
    )  # fmt: skip
    return run, found


def test_rows_of_two_fills_read_differently(filled):
    run, results = filled
    table = sweep_table(run, results, 1)
    assert table.header[:4] == ["patch_size", "stride", "fill", "positions"]
    assert [cells[:3] for cells in table.rows] == [
        ["16", "16", "black"], ["16", "16", "mean"], ["= 32", "32", "black"], ["> 32", "32", "mean"],
    ]  # fmt: skip
    assert sweep_title(run, results) == "Patch size and fill of occlusion"
    header, rows, _ = object_size_rows(results)
    assert header == ["patch_size", "stride", "fill", "small (40)"]
    assert rows[3] == ["32", "32", "mean", "0.400"]
    assert equal_stride_lines(results) == [
        "At stride 16, among 2 settings that differ in patch_size and fill: It is so."
    ]


def test_fills_of_one_size_are_a_sweep_of_the_fill(filled):
    run, results = filled
    one_size = msgspec.structs.replace(results, patch_sweep=results.patch_sweep[:2])
    assert sweep_title(run, one_size) == "Fill of occlusion"
    nothing = msgspec.structs.replace(one_size, best_patch_size=None, best_patch_size_reason="so")
    assert choice_lines(nothing) == ["No setting is recommended: so."]


def test_the_answer_names_the_fill(filled):
    run, results = filled
    found = answers(run, results)
    assert [(one.question, one.main) for one in found] == [
        ("Which patch size and fill for occlusion?", "32 pixels, fill=mean"),
    ]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", [None, "mine.explainers:OcclusionWithANameThatFillsMostOfALine"])
def test_every_row_reads_differently_on_the_terminal(filled, width, name):
    run, results = filled
    if name:
        rows = [
            msgspec.structs.replace(row, variant={"name": name if row.variant["fill"] == "mean" else "occlusion"})
            for row in results.patch_sweep
        ]
        results = msgspec.structs.replace(results, patch_sweep=tuple(rows))
    printed = print_to_text(patch_size_parts(run, results, width=width), width=width, color=False)
    assert max(map(len, printed.splitlines())) <= width
    table = printed[printed.index("\u2500") : printed.index("> It is so.")]
    rows = [line for line in table.splitlines()[1:] if line.strip() and line.split()[-1] == "0.600]"]
    words = {"occlusion", "mine"} if name else {"black", "mean"}
    assert [line.split()[:2] for line in rows][:2] == [["16", "16"]] * 2
    assert len({" ".join(line.split()) for line in rows}) == 4
    assert all(sum(word in line for word in words) == 1 for line in rows)
