"""The sentences of sanity checks in every format that has notes, their fields in JSON, and no column anywhere."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.cli.test_run import quick

ASKED = {"explainers": "gradient,edges", "metrics": "deletion,mprt,emprt"}
CONTROL = "mprt, edges (control): insensitive to all 3 layers' weights, by construction."
FIRST = "mprt, gradient: "


@pytest.fixture
def checked(evalkit, prepared):
    """A finished run with sanity checks in ``out``."""

    def make(_folder):
        done = evalkit(*quick(**ASKED))
        assert done.code == 0, done.err

    return prepared("sanity_run", make)


def one_line(text):
    return " ".join(text.replace("\\", "").split())


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_every_format_with_notes_has_the_sentences(form, checked, evalkit):
    shown = evalkit("show", "out", "--format", form)
    assert shown.code == 0, shown.err
    text = one_line(shown.out)
    assert FIRST in text
    assert CONTROL in text
    assert "emprt, edges (control): insensitive to all layers' weights, by construction." in text
    assert "A method of fresh noise would pass these checks" in text
    assert "mprt ↓" not in text
    assert "mprt $downarrow$" not in text


def test_json_has_the_fields_and_no_column(checked, evalkit):
    document = json.loads(evalkit("show", "out", "--format", "json").out)
    assert {cell["metric"] for cell in document["leaderboard"]} == {"deletion"}
    gradient, edges, *_ = document["sanity"]
    assert (gradient["explainer"], edges["sentence"]) == ("gradient", CONTROL)
    assert edges["layers"] == [1, 2, 3]
    assert edges["correlation"] == pytest.approx([1.0, 1.0, 1.0])
    assert (edges["insensitive_to_last"], edges["changed_after"], edges["control"]) == (3, None, True)


def test_csv_has_the_means_without_ranks(checked, evalkit):
    rows = list(csv.DictReader(io.StringIO(evalkit("show", "out", "--format", "csv").out)))
    (edges,) = [row for row in rows if (row["metric"], row["explainer"]) == ("mprt", "edges")]
    assert float(edges["mean"]) == pytest.approx(1.0)
    assert edges["rank"] == edges["better_than"] == ""


def test_the_page_has_the_sentences(checked, evalkit):
    assert evalkit("report", "out").code == 0
    page = (checked / "out" / "report.html").read_text(encoding="utf-8")
    assert "mprt, edges (control): insensitive to all 3 layers&#39; weights, by construction." in page


def test_a_run_of_sanity_checks_alone_is_shown(prepared, evalkit, workplace):
    done = evalkit(*quick(explainers="gradient,edges", metrics="mprt,emprt"))
    assert done.code == 0, done.err
    assert CONTROL in one_line(done.out)
    for form in ("json", "csv", "markdown", "latex"):
        assert evalkit("show", "out", "--format", form).code == 0
    assert evalkit("report", "out").code == 0
