"""The first screen: golden files of made-up runs, and what holds of every screen."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from evalkit.report import render

from .screens import CASES, CONTROLS, DEFAULT, LONG, run

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
MORE = ("More:  python -m evalkit show runs/photos --all", "       python -m evalkit report runs/photos")


@functools.cache
def made(case):
    return CASES[case]()


def screen(case, width):
    return render(*made(case), "table", width=width, wide=False, color=False, more=MORE)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("case", CASES)
def test_golden_screens(case, width):
    assert screen(case, width) == (GOLDEN / f"screen-{case}-{width}.txt").read_text(encoding="utf-8")


def test_the_default_run_fits_one_screen():
    assert len(screen("default", 80).splitlines()) <= 40


@pytest.mark.parametrize("width", [40, 60, 79, 80, 100, 120, 200])
@pytest.mark.parametrize("case", CASES)
def test_no_line_is_too_long_and_no_name_is_broken(case, width):
    shown = screen(case, width)
    longest = max(width, len(LONG) + 12, *map(len, MORE)) if case == "long-names" or width < 60 else width
    assert max(map(cell_len, shown.splitlines())) <= longest
    manifest, results = made(case)
    if any(cell.mean is not None for cell in results.leaderboard):
        rows = shown.partition("─" * 9)[2]
        assert all(one.text in rows for one in manifest.explainers)


def test_numbers_are_those_of_all_tables():
    _, results = made("default")
    cells = {(cell.explainer, cell.metric): cell for cell in results.leaderboard}
    (line,) = (line for line in screen("default", 120).splitlines() if line.startswith("> gradcam "))
    assert line.split()[2] == f"{cells['gradcam', 'symmetric_relevance_gain'].mean:.3f}"
    assert line.split()[5].rstrip("†") == f"{cells['gradcam', 'deletion'].mean:.3f}"


def test_best_is_first_and_ties_are_marked_by_the_tests():
    _, results = made("default")
    gain = {cell.explainer: cell for cell in results.leaderboard if cell.metric == "symmetric_relevance_gain"}
    (best,) = (cell for cell in gain.values() if cell.rank == 1)
    lines = screen("default", 120).splitlines()
    for text in (text for text in DEFAULT if text not in CONTROLS):
        (mark,) = (line[0] for line in lines if line[1:].startswith(f" {text} "))
        assert mark == (">" if text == best.explainer else " " if text in best.better_than else "=")


def test_a_score_that_does_not_beat_every_control_has_a_dagger():
    manifest, results = made("undecided")
    controls = {one.text for one in manifest.explainers if one.control}
    (line,) = (line for line in screen("undecided", 120).splitlines() if line[2:].startswith("gradcam "))
    cells = {cell.metric: cell for cell in results.leaderboard if cell.explainer == "gradcam"}
    assert ("†" in line.split("]")[0] + line.split("]")[1][:1]) == (
        not controls <= set(cells["symmetric_relevance_gain"].better_than)
    )


def test_one_column_a_metric_name_and_its_parameters_in_the_legend():
    shown = screen("no-controls", 80)
    assert "deletion: deletion(steps=14)" in shown
    assert "steps=7" not in shown
    assert "sparseness" not in shown  # it has no better end


def test_columns_without_a_score_are_left_out_and_said():
    shown = screen("no-regions", 120)
    assert "pointing ↑" not in shown
    assert "no region" in shown


def test_a_title_that_is_too_long_becomes_a_letter():
    manifest, results = run(("gradcam", "uniform"), ("deletion", "insertion"))
    facts = manifest.metric_facts or ()
    assert not facts  # an older run: titles come from the metrics themselves
    assert "deletion ↓" in render(manifest, results, "table", width=80, wide=False, color=False, more=())


def test_color_only_adds_styles():
    colored = render(*made("default"), "table", width=80, wide=False, color=True, more=MORE)
    plain = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", colored).splitlines()]
    assert plain == screen("default", 80).splitlines()
