"""What a run looks like in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter

import msgspec
import numpy as np
import pytest

from evalkit.analysis.leaderboard import analyse
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.report import FORMATS, render
from evalkit.report.tables.latex import escape as latex_escape
from evalkit.report.tables.leaderboard import beaten, leaderboards, legend, number, tied_for_best
from evalkit.report.tables.markdown import escape as markdown_escape
from evalkit.report.tables.patch_size import choice_lines, object_size_rows
from tests.builders import manifest as build_manifest
from tests.builders import score_table

from .conftest import EXPLAINERS, N_IMAGES, TRICKY, explainer, made_up, scored


@pytest.fixture
def shown(manifest, results):
    def call(form="table", width=80, *, wide=False, color=False):
        return render(manifest, results, form, width=width, wide=wide, color=color)

    return call


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("wide", [False, True])
def test_tables_keep_to_the_width(shown, width, wide):
    text = shown(width=width, wide=wide)
    assert max(map(len, text.splitlines())) <= max(width, 120 if wide else width)
    assert "…" not in text


def test_every_score_is_complete_in_the_table(shown, results):
    text = shown(width=80)
    for cell in results.leaderboard:
        if cell.mean is not None:
            assert number(cell.mean) in text
    assert "gradcam" in text
    assert "tf_explain.occlusion" in text


def test_no_leaderboard_is_wider_than_five_metrics(manifest, results):
    boards = leaderboards(manifest, results)
    assert all(1 <= len(board.columns) <= 5 for board in boards)
    assert boards[0].columns[0].metric == "symmetric_relevance_gain"
    assert sorted(column.metric for board in boards for column in board.columns) == sorted(manifest.metrics)


def test_rows_are_sorted_by_the_first_metric_with_scores(manifest, results):
    board = leaderboards(manifest, results)[0]
    ranks = [row.cells[0].rank for row in board.rows]
    assert ranks == sorted(ranks)


def test_intervals_are_shown_at_120_columns_or_if_wide(shown, results):
    cell = next(one for one in results.leaderboard if one.metric == "deletion" and one.explainer == "gradcam")
    interval = f"{number(cell.mean)} [{number(cell.ci_low)}, {number(cell.ci_high)}]"
    assert interval not in shown(width=80)
    assert interval in shown(width=120)
    assert interval in shown(width=80, wide=True)


def test_arrows_marks_and_what_they_mean(shown):
    text = shown()
    assert "↑" in text
    assert "↓" in text
    assert re.search(r"\d\.\d{3}\*", text)
    assert "* significantly better than every control; ! mean not better than every control's." in text.replace(
        "\n", " "
    )
    assert "(control)" in text


def test_unscored_and_unusable_images_are_listed(shown):
    text = " ".join(shown().split())
    assert "24 images: only boxes, no exact mask (relevance_mass_accuracy; every explainer)" in text
    assert "it cannot be decoded" in text


def test_sweep_shows_score_cost_and_choice(shown, results):
    text = shown(width=120)
    begin = text.index("Patch size and fill of occlusion")
    part = text[begin : text.index("Cost of the maps")]
    for row in results.patch_sweep:
        fill = row.variant["fill"]
        assert re.search(rf"{row.patch_size} +{row.stride} +{fill} +{row.positions} +{row.forward_passes} ", part)
    assert f"> {results.best_patch_size.reason}"[:60] in part


def test_signatures_are_printed_below(shown, manifest):
    tail = "".join(shown()[shown().rindex("Signature") :].split())
    assert "".join(manifest.signature.run.split()) in tail
    assert "deletion|v:1|steps:28" in tail


def test_color_is_only_an_addition(shown):
    colored = shown(color=True)
    assert "\x1b[" in colored
    assert "\x1b[" not in shown()
    assert [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", colored).splitlines()] == shown().splitlines()


def test_json_is_strict_with_null_for_unscored_cells(shown, results):
    found = json.loads(shown("json"), parse_constant=pytest.fail)
    assert len(found["leaderboard"]) == len(EXPLAINERS) * len(DEFAULT_METRICS)
    blank = [one for one in found["leaderboard"] if one["metric"] == "relevance_mass_accuracy"]
    assert {(one["mean"], one["ci_low"], one["ci_reason"], one["n_unscored"]) for one in blank} == {
        (None, None, "nothing was scored", N_IMAGES)
    }
    assert found["best_patch_size"]["patch_size"] == results.best_patch_size.patch_size
    assert found["data"]["unreadable"] == [[TRICKY, "it cannot be decoded"]]


def test_a_number_that_is_not_finite_becomes_null(manifest, results):
    odd = msgspec.structs.replace(manifest, model=msgspec.structs.replace(manifest.model, accuracy=float("nan")))
    found = json.loads(render(odd, results, "json", width=80, wide=False, color=False), parse_constant=pytest.fail)
    assert found["model"]["accuracy"] is None


def test_csv_has_one_line_a_cell(shown, results):
    rows = list(csv.DictReader(io.StringIO(shown("csv"))))
    assert len(rows) == len(results.leaderboard)
    for row, cell in zip(rows, results.leaderboard, strict=True):
        assert row["explainer"] == cell.explainer
        assert (float(row["mean"]) if row["mean"] else None) == cell.mean
        assert tuple(filter(None, row["better_than"].split(";"))) == cell.better_than


def test_markdown_tables_are_whole(shown):
    text = shown("markdown")
    tables = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
    assert len(tables) >= 5
    for table in tables:
        lines = table.strip().splitlines()
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(bars) == 1
        assert re.fullmatch(r"\|(?: ---:? \|)+", lines[1])


def test_latex_is_balanced_and_escaped(shown):
    text = shown("latex")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count(r"\begin{tabular}") == body.count(r"\end{tabular}") >= 4
    assert not re.search(r"(?<!\\)[_#]", body)
    for table in body.split(r"\begin{tabular}")[1:]:
        width = len(re.match(r"\{([lr]+)\}", table)[1])
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {width - 1}


def test_escapes():
    assert markdown_escape(TRICKY) == "pictures/a\\|b\\_\\<i\\>&50%$\\#^~\\\\{}.jpg"
    assert latex_escape(TRICKY) == (
        r"pictures/a|b\_\textless{}i\textgreater{}\&50\%\$\#\textasciicircum{}\textasciitilde{}\textbackslash{}\{\}.jpg"
    )


def test_every_format_is_drawn(shown):
    assert {form: bool(shown(form).endswith("\n")) for form in FORMATS} == dict.fromkeys(FORMATS, True)


def test_report_without_controls_or_sweep_omits_them(manifest, results):
    plain = tuple(one for one in manifest.explainers if one.text == "gradcam")
    few = msgspec.structs.replace(manifest, explainers=plain)
    mine = tuple(cell for cell in results.leaderboard if cell.explainer == "gradcam")
    alone = msgspec.structs.replace(
        results, leaderboard=mine, patch_sweep=(), best_patch_size=None, families=(), cost=results.cost[:1],
        unscored=(), parameter_sweeps=(), best_parameters={},
    )  # fmt: skip
    text = render(few, alone, "table", width=80, wide=False, color=False)
    assert "control" not in text
    assert "Patch size" not in text
    assert "Tests:" not in text


THIRTY = (
    *EXPLAINERS,
    *(
        explainer(f"occlusion(patch_size={size}, stride={stride})", passes=9, patch_size=size, stride=stride)
        for size in (24, 32, 40, 64)
        for stride in (4, 8, 12, 20, 24)
    ),
    *(explainer(f"tf_explain.occlusion(patch_size={size})", patch_size=size) for size in (16, 24, 32, 48)),
)


@pytest.fixture(scope="module")
def crowd():
    """A run of thirty explainers with objects of every size, and the same with every second row beaten by all."""
    run = made_up(THIRTY)
    found = scored(run, np.linspace(0.02, 0.6, N_IMAGES))
    every_second = tuple(one.text for one in THIRTY[::2])
    scattered = msgspec.structs.replace(
        found,
        leaderboard=tuple(
            one if one.mean is None else msgspec.structs.replace(one, better_than=every_second)
            for one in found.leaderboard
        ),
    )
    assert len(THIRTY) == 30
    return run, {"as scored": found, "scattered": scattered}


@pytest.mark.parametrize("which", ["as scored", "scattered"])
@pytest.mark.parametrize(("width", "wide"), [(80, False), (80, True), (120, False), (200, False)])
def test_thirty_explainers_keep_to_the_width_and_lose_no_letter(crowd, which, width, wide):
    run, results = crowd[0], crowd[1][which]
    text = render(run, results, "table", width=width, wide=wide, color=False)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    boards = leaderboards(run, results)
    tables = re.sub(r"The best, and.*?\.\n", "", text[: text.index("Patch size and fill of")], flags=re.DOTALL)
    letters = Counter(re.findall(r"(?<![\w(.=])[a-z]{1,2}(?:-[a-z]{1,2})?(?![\w(.=])", tables))
    numbers = Counter(re.findall(r"\d\.\d{3}", tables))
    cells = [(board, cell) for board in boards for row in board.rows for cell in row.cells]
    wanted = Counter(part for board, cell in cells for part in beaten(board, cell).split(",") if part)
    assert wanted
    assert wanted <= letters
    assert Counter(number(cell.mean) for _, cell in cells if cell.mean is not None) <= numbers


def test_thirty_explainers_have_letters_beyond_z_in_every_format(crowd):
    run, results = crowd[0], crowd[1]["as scored"]
    for form in ("table", "markdown", "latex"):
        text = render(run, results, form, width=120, wide=False, color=False)
        found = re.findall(r"^(?:\| )?(a[a-d]) ", text, flags=re.MULTILINE)
        assert set(found) == {"aa", "ab", "ac", "ad"}, form


def test_letters_follow_the_scores_in_every_format(shown, manifest, results):
    table, markdown, latex = shown(width=200), shown("markdown"), shown("latex")
    boards = leaderboards(manifest, results)
    lettered = [(cell, beaten(board, cell)) for board in boards for row in board.rows for cell in row.cells]
    assert any(letters for _, letters in lettered)
    for cell, letters in lettered:
        if letters:
            assert f"<sup>{letters}</sup>" in markdown
            assert f"$^{{\\mathrm{{{letters}}}}}$" in latex
            mean = re.escape(number(cell.mean))
            if len(letters) <= 5:
                assert re.search(rf"{mean} \[[^]]*\][*!]? +{letters}(?: |$)", table, flags=re.MULTILINE)
    assert markdown.count("<sup>") == latex.count(r"$^{\mathrm{") == sum(bool(letters) for _, letters in lettered)
    joined = " ".join(table.split())
    for board in boards:
        assert tied_for_best(board) in joined
        assert markdown_escape(tied_for_best(board)) in markdown


def test_terminal_and_markdown_show_choice_and_object_sizes(crowd):
    run, results = crowd[0], crowd[1]["as scored"]
    table = render(run, results, "table", width=120, wide=False, color=False)
    markdown = render(run, results, "markdown", width=80, wide=False, color=False)
    _, rows, notes = object_size_rows(results)
    assert len(rows) == len(results.patch_sweep) == 22
    for line in [*choice_lines(results), *notes]:
        assert line in " ".join(table.split())
        assert markdown_escape(line) in markdown
    assert "symmetric_relevance_gain by object size (images)" in table
    assert re.search(r"^ *> \d+ ", table, flags=re.MULTILINE)


def test_sweep_of_metrics_with_parameters_fits_80_columns(manifest, results):
    renamed = {"deletion": "deletion(steps=56)"}
    sweep = tuple(
        msgspec.structs.replace(row, metrics={renamed.get(text, text): score for text, score in row.metrics.items()})
        for row in results.patch_sweep
    )
    run = msgspec.structs.replace(manifest, metrics=tuple(renamed.get(text, text) for text in manifest.metrics))
    cells = tuple(
        msgspec.structs.replace(cell, metric=renamed.get(cell.metric, cell.metric)) for cell in results.leaderboard
    )
    found = msgspec.structs.replace(results, patch_sweep=sweep, leaderboard=cells)
    text = render(run, found, "table", width=80, wide=False, color=False)
    assert "…" not in text


def insertion_run(*columns):
    """Return a run of explainers with these scores of ``insertion``, and its results."""
    explainers = tuple(explainer(f"occlusion(patch_size={16 + at})", patch_size=16 + at) for at in range(len(columns)))
    run = build_manifest(explainers, ("insertion",))
    table = score_table(np.stack(columns, axis=1)[..., None], [one.text for one in explainers], ("insertion",))
    metrics = [METRICS.build("insertion")]
    return run, analyse(table, metrics, explainers, seed=0, n_resamples=500)


def legend_of(run, results):
    return " ".join(legend(run, results))


def test_an_explainer_of_few_images_does_not_deny_the_marks_of_others():
    rng = np.random.default_rng(4)
    few = np.where(np.arange(24) < 5, 0.5, np.nan)
    run, results = insertion_run(0.9 - 0.1 * rng.random(24), 0.2 + 0.1 * rng.random(24), few)
    assert results.leaderboard[0].better_than == ("occlusion(patch_size=17)",)
    text = legend_of(run, results)
    assert "fewest shared images 24, smallest possible p 0.003." in text
    assert "Not tested, because they share fewer than 6 images: up to 2 of a metric's pairs." in text
    assert "no difference could reach" not in text


def test_the_legend_names_the_tests_and_their_resamples():
    run, results = insertion_run(np.linspace(0.1, 0.9, 24), np.linspace(0.1, 0.5, 24))
    text = legend_of(run, results)
    assert "paired by image, studentized bootstrap (500 resamples" in text
    assert "one unseen image of the opposite kind; family-wise 5 %" in text
    assert "fewer than" not in text


def test_five_images_have_no_tests_and_the_legend_says_so():
    run, results = insertion_run(np.full(5, 0.9), np.full(5, 0.1))
    for form in ("table", "markdown"):
        assert "ot significantly different" not in render(run, results, form, width=80, wide=False, color=False)
    text = legend_of(run, results)
    assert "Tests:" not in text
    assert "Not tested, because they share fewer than 6 images: up to 1 of a metric's pairs." in text
