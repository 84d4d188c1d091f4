"""The first screen: golden files of made-up runs, and what holds of every screen."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.cells import cell_len

from evalkit.analysis.leaderboard import analyse
from evalkit.analysis.results import RegionDrops
from evalkit.metrics.catalog import METRICS
from evalkit.report import render
from evalkit.report.rerun import more_commands
from tests.builders import explainer_facts, score_table
from tests.builders import manifest as manifest_of

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


def made_up(values, explainers, metrics=("insertion",)):
    """Return manifest and results of scores (n, E, M); NaN = not scored."""
    known = [explainer_facts(text, control=text in CONTROLS) for text in explainers]
    built = [METRICS.build(text) for text in metrics]
    described = manifest_of(known, metrics, settings={"criterion": metrics[0]}, data={"n_images": len(values)})
    table = score_table(values, explainers, metrics)
    return described, analyse(table, built, known, seed=0, n_resamples=200, n_test_resamples=200)


def scores(*means, n_images=24):
    return np.array(means)[:, None] + np.random.default_rng(0).normal(0, 0.02, (n_images, len(means), 1))


def shown(values, explainers, metrics=("insertion",), width=80):
    run_of_it = made_up(values, explainers, metrics)
    return " ".join(render(*run_of_it, "table", width=width, wide=False, color=False, more=()).split())


def test_an_explainer_without_scores_is_not_beaten():
    values = scores(0.8, 0.5, 0.2)
    values[:, 1] = np.nan
    text = shown(values, ["gradcam", "cam", "uniform"])
    assert "significantly better than every other that was scored" in text
    assert "1 of 1 explainer beats every control by insertion; not scored: cam" in text


def test_a_control_without_scores_need_not_be_beaten():
    values = scores(0.8, 0.5, 0.2, 0.1)
    values[:, 3] = np.nan  # as a constant map in metrics of correlation
    text = shown(values, ["gradcam", "cam", "random", "uniform"])
    assert "2 of 2 explainers beat every control by insertion; not scored: uniform" in text
    assert "†" not in text
    values[:, 2] = np.nan
    assert "controls not known: insertion scored no control" in shown(values, ["gradcam", "cam", "random", "uniform"])


def test_too_few_images_for_a_test_are_no_tie():
    text = shown(scores(0.8, 0.5, 0.2, n_images=5), ["gradcam", "cam", "uniform"])
    assert "on 5 images; not tested on fewer than 6 images" in text
    assert "controls not tested on fewer than 6 images" in text
    assert not set("=†") & set(text)


def test_a_column_without_marks_for_lack_of_images_is_named():
    values = np.concatenate([scores(0.8, 0.2), scores(0.8, 0.2)], axis=2)
    values[5:, :, 1] = np.nan
    text = shown(values, ["gradcam", "uniform"], ("insertion", "pointing_game"))
    assert "> best insertion; not tested, fewer than 6 images: pointing" in text


def test_ranks_by_fewer_images_than_the_means_are_said():
    values = scores(0.6, 0.58, 0.1)
    values[:3, 0] = np.nan
    values[:3, 1] = 1
    text = shown(values, ["gradcam", "cam", "uniform"])
    assert "> gradcam 0.597" in text
    assert "= cam 0.6" in text
    assert "ranked by the 21 images that all ranked explainers share" in text


def test_a_control_that_shares_the_first_rank_is_called_one():
    values = scores(0.8, 0.5, 0.2)
    values[:, 2] = values[:, 0]
    assert "explainer gradcam, equal to uniform (control): insertion" in shown(values, ["gradcam", "cam", "uniform"])


def test_controls_are_no_other_explainers():
    values = np.full((24, 8, 1), 0.5)
    text = shown(values, ["gradcam", "cam", "hirescam", "layercam", "uniform", "random", "center", "edges"])
    assert (
        "explainer gradcam, cam and 2 others, equal to uniform (control), random (control) and 2 others: insertion"
    ) in text
    alone = shown(scores(0.2, 0.8), ["gradcam", "uniform"])
    assert "explainer None: no mean is better than that of uniform (control): insertion" in alone


def test_many_at_the_first_rank_are_counted():
    names = [f"e{index}" for index in range(5)]
    text = shown(np.ones((24, 5, 1)), names, ("pointing_game",))
    assert "explainer e0, e1 and 3 others: pointing 1.000" in text
    assert "explainer e0, e1 and e2: pointing 1.000" in shown(np.ones((24, 3, 1)), names[:3], ("pointing_game",))


def test_a_control_that_ties_with_the_best_is_called_one():
    values = scores(0.605, 0.6, 0.2)
    assert "not significantly different: random (control)" in shown(values, ["gradcam", "random", "uniform"])


def test_with_controls_only_the_best_is_named():
    assert "explainer uniform (control): insertion" in shown(scores(0.8, 0.2), ["uniform", "random"])


def test_a_criterion_that_scored_no_image_is_said():
    values = np.concatenate([np.full((24, 2, 1), np.nan), scores(0.8, 0.2)], axis=2)
    text = shown(values, ["gradcam", "uniform"], ("saco", "insertion"))
    assert "The criterion, saco, scored no image: the first column is insertion." in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_of_wide_characters_are_not_too_long(width):
    run_of_it = made_up(scores(0.8, 0.7, 0.6), ["漢字" * 10, "データ" * 7, "uniform"])
    text = render(*run_of_it, "table", width=width, wide=False, color=False, more=())
    assert max(map(cell_len, text.splitlines())) <= width


def test_a_warning_on_regions_says_of_which_images(manifest, results):
    drops = RegionDrops(40, 0.1, 0.05, 0.2, 0.6, 0.5, 0.7, 0.25)
    results = msgspec.structs.replace(results, region_drops=drops)
    text = " ".join(render(manifest, results, "table", width=80, wide=False, color=False, more=()).split())
    assert "Warning: on 75 % of 40 images (with a region, and the model right) hiding the region" in text


def test_the_commands_that_show_more_repeat_the_options_of_show():
    more, report = more_commands(Path("my runs"), {"criterion": "deletion(steps=14)", "margin": 0.1})
    assert more == "More:  python -m evalkit show 'my runs' --criterion 'deletion(steps=14)' --margin 0.1 --all"
    assert report == "       python -m evalkit report 'my runs' --criterion 'deletion(steps=14)' --margin 0.1"
