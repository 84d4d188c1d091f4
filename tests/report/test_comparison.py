"""What a comparison of runs looks like in every format."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from evalkit.analysis.comparison import ComparedCell, ComparedRun, Comparison
from evalkit.report import FORMATS, render_comparison
from evalkit.report.tables.latex import escape as latex_escape
from evalkit.report.tables.markdown import escape as markdown_escape

from .conftest import TRICKY

NAMES = ("gradcam", "occlusion(patch_size=56, stride=28, fill=blur)", "tf_explain.occlusion(patch_size=40)")
METRICS = (("deletion", "lower"), ("insertion", "higher"), ("relevance_rank_accuracy", "higher"))
VERDICTS = ("better", "worse", "tied", "not scored")


def run(letter, name=None, **changes):
    facts = {
        "model": "vgg16.keras",
        "fingerprint": "f" * 64,
        "precision": "float32",
        "versions": {"evalkit": "0.1.0"},
        "accuracy": 0.875,
        "median_clean_score": 0.93,
        "n_images": 25,
    }
    return ComparedRun(letter=letter, name=name or f"runs/{letter}", **{**facts, **changes})


def made_up(letters="AB", names=NAMES, **changes):
    """Return a comparison with every verdict; cells without a score among them."""
    cells = []
    for metric, direction in METRICS:
        for name in names:
            for letter in letters[1:]:
                verdict = VERDICTS[len(cells) % 4]
                if verdict == "not scored":
                    numbers = (None, None, None, None, None, "nothing was scored", 0, None)
                else:
                    gap = (0.1234, -0.2345, -0.0001)[len(cells) % 3]
                    numbers = (0.5, 0.5 + gap, gap, gap - 0.05, gap + 0.05, None, 12, 0.0123)
                cells.append(ComparedCell(name, metric, direction, letter, *numbers, verdict))
    facts = {
        "runs": tuple(run(letter) for letter in letters),
        "n_shared": 12,
        "cells": tuple(cells),
        "differs": ("model: A vgg16.keras, B res.keras",),
        "left_out": ("explainer cam: not in B", "3 images: the models explain different classes"),
        "n_resamples": 10_000,
    }
    return Comparison(**{**facts, **changes})


def shown(form="table", comparison=None, width=80, *, color=False):
    return render_comparison(comparison or made_up(), form, width=width, color=color)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("letters", ["AB", "ABC", "ABCDE"])
def test_tables_keep_to_the_width(width, letters):
    assert max(map(len, shown("table", made_up(letters), width).splitlines())) <= width


@pytest.mark.parametrize(("letters", "width"), [("AB", 80), ("AB", 120), ("ABCDE", 120)])
def test_tables_lose_nothing(letters, width):
    text = shown("table", made_up(letters), width)
    assert "…" not in text
    for word in ("gradcam", "tf_explain.occlusion", "(patch_size=56,", "+0.123", "-0.234", "+0.073 to +0.173"):
        assert word in text


def test_a_title_for_each_metric_says_which_way_is_better():
    text = shown()
    assert re.search(r"^deletion ↓$", text, re.MULTILINE)
    assert re.search(r"^insertion ↑$", text, re.MULTILINE)


def test_notes_list_runs_differences_counts_tests_left_out():
    text = " ".join(shown().split())
    assert "A: runs/A (vgg16.keras, float32, 25 images, right on 87.5 %, median clean score 0.930)" in text
    assert "Differs: model: A vgg16.keras, B res.keras." in text
    assert "Of 9 comparisons B is better in 3 and worse in 2; 2 are tied, 2 not scored." in text
    assert "studentized bootstrap (10,000 resamples; fewer for scores of the whole set), max-T, and one unseen" in text
    assert "The intervals of a metric hold together" in text
    assert "sign flips" not in text
    assert "of 12 shared" in text
    assert "Left out: explainer cam: not in B." in text
    assert "Left out: 3 images: the models explain different classes." in text


def test_unknown_facts_of_a_run_are_omitted():
    odd = made_up(runs=(run("A", accuracy=None, median_clean_score=None), run("B")))
    assert "A: runs/A (vgg16.keras, float32, 25 images)\n" in shown("table", odd)


def test_table_of_three_runs_has_letters_of_later_runs():
    text = shown("table", made_up("ABC"))
    assert re.search(r"gradcam +B +0\.500", text)
    assert re.search(r"explainer +run +A +mean +difference", text)
    assert "Of 9 comparisons C is" in text
    assert not re.search(r"explainer +run", shown())


def test_a_difference_that_rounds_to_zero_has_no_sign():
    text = shown("table") + shown("markdown") + shown("latex")
    assert "-0.000" not in text
    assert "+0.000" not in text


def test_color_is_only_an_addition():
    colored = shown(color=True)
    assert "\x1b[" in colored
    plain = re.sub(r"\x1b\[[\d;]*m", "", colored).splitlines()
    assert [line.rstrip() for line in plain] == shown().splitlines()


def test_json_is_strict_and_has_null_where_nothing_was_scored():
    comparison = made_up("ABC")
    found = json.loads(shown("json", comparison), parse_constant=pytest.fail)
    assert found["schema_version"] == 1
    assert set(found) == {"schema_version", *Comparison.__struct_fields__}
    assert len(found["cells"]) == len(comparison.cells) == 18
    assert set(found["cells"][0]) == set(ComparedCell.__struct_fields__)
    blank = [cell for cell in found["cells"] if cell["verdict"] == "not scored"]
    assert {(cell["mean"], cell["difference"], cell["p_value"], cell["ci_low"]) for cell in blank} == {(None,) * 4}
    assert [one["letter"] for one in found["runs"]] == ["A", "B", "C"]


def test_csv_has_a_line_a_cell():
    comparison = made_up("ABC")
    rows = list(csv.DictReader(io.StringIO(shown("csv", comparison))))
    assert [(row["explainer"], row["metric"], row["run"]) for row in rows] == [
        (cell.explainer, cell.metric, cell.run) for cell in comparison.cells
    ]
    for row, cell in zip(rows, comparison.cells, strict=True):
        assert (None if row["difference"] == "" else float(row["difference"])) == cell.difference
        assert row["verdict"] == cell.verdict


def tricky():
    return made_up(
        names=(TRICKY, "gradcam"),
        runs=(run("A", TRICKY), run("B", "[bold]runs[/bold]/\n:smile:")),
        left_out=(f"explainer {TRICKY}: not in B",),
    )


def cells_of(line):
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_markdown_escapes_names_and_keeps_its_columns():
    text = shown("markdown", tricky())
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) == 3 * (2 + 2)
    assert {len(cells_of(line)) for line in tables} == {6}
    assert f"| {markdown_escape(TRICKY)} |" in text
    assert f"* A: {markdown_escape(TRICKY)} (vgg16.keras" in text
    assert f"* Left out: explainer {markdown_escape(TRICKY)}: not in B." in text
    assert re.search(r"^\* B: \\\[bold\\\]runs\\\[/bold\\\]/ :smile:", text, re.MULTILINE)


def test_latex_escapes_names_and_balances():
    text = shown("latex", tricky())
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert latex_escape(TRICKY) in body
    for line in body.splitlines():
        plain = re.sub(r"\\textbackslash\{\}|\\text\w+\{\}|\\[&%$#_{}]|\$\\\w+\$", "", line)
        assert not re.search(r"[#%$_^~<>]", plain), line
        if line.endswith(r" \\"):
            assert plain.count("&") == 5
    assert "relevance_rank_accuracy ↑" in text


def test_the_table_shows_names_as_they_are():
    text = shown("table", tricky(), 120)
    assert "[bold]runs[/bold]/" in text
    assert ":smile:" in text
    assert TRICKY in text.replace("\n", "")
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_scored_at_all_is_shown_in_every_format(form):
    blank = ComparedCell(
        "cam", "pxap", "higher", "B", None, None, None, None, None, "nothing was scored", 0, None, "not scored"
    )
    text = shown(form, made_up(cells=(blank,), differs=(), left_out=()))
    assert "not scored" in text
    assert "nan" not in text.lower()
    assert "None" not in text
