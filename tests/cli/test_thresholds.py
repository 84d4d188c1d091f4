"""Thresholds chosen by one run score the images of another, each image by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.test_run import quick, scores

BOTH = "max_box_acc_v1,max_box_acc_v2"
GIVEN = "max_box_acc_v1(threshold_from=thresholds.json),max_box_acc_v2(threshold_from=thresholds.json)"


@pytest.fixture
def calibrated(evalkit, prepared):
    """A run of MaxBoxAcc in ``out``, and its thresholds in ``thresholds.json``."""

    def make(folder):
        done = evalkit(*quick(metrics=BOTH))
        assert done.code == 0, done.err
        assert evalkit("thresholds", "out", "--output", "thresholds.json").code == 0

    return prepared("calibrated_run", make)


def leaderboard(evalkit, folder):
    done = evalkit("show", folder, "--format", "json")
    return json.loads(done.out)["leaderboard"]


def test_on_the_same_images_given_thresholds_give_maxboxacc(evalkit, calibrated):
    """The thresholds are the best ones of these images, so the mean over images is the score of the set."""
    stored = json.loads((calibrated / "thresholds.json").read_text())
    assert {name: len(of["random"]) for name, of in stored["thresholds"].items()} == {
        "max_box_acc_v1": 1,
        "max_box_acc_v2": 3,
    }
    done = evalkit(*quick(metrics=f"{BOTH},{GIVEN}"))
    assert done.code == 0, done.err
    cells = {(cell["metric"], cell["explainer"]): cell for cell in leaderboard(evalkit, "out")}
    for name in BOTH.split(","):
        for explainer in stored["thresholds"][name]:
            given = cells[f"{name}(threshold_from=thresholds.json)", explainer]
            assert given["mean"] == pytest.approx(cells[name, explainer]["mean"])
            assert given["bias"] is None
            assert cells[name, explainer]["bias"] is not None
    text = "max_box_acc_v1(threshold_from=thresholds.json)"
    values = {row[3] for row in scores() if row[2] == text and row[4] is None}
    assert values <= {0.0, 1.0}


def test_show_needs_the_file_no_longer(evalkit, calibrated):
    done = evalkit(*quick(metrics=GIVEN))
    assert done.code == 0, done.err
    (calibrated / "thresholds.json").unlink()
    assert len(leaderboard(evalkit, "out")) == 2 * 5
    (calibrated / "out" / "analysis.json").unlink()
    assert len(leaderboard(evalkit, "out")) == 2 * 5


def test_another_file_is_another_metric(evalkit, calibrated):
    def v1_of_gradcam():
        done = evalkit(*quick(metrics=GIVEN, limit="6"))
        assert done.code == 0, done.err
        signatures = json.loads((calibrated / "out" / "manifest.json").read_text())["signature"]["metrics"]
        lines = {line for text, line in signatures.items() if text.startswith("max_box_acc_v1")}
        return lines, [row[3] for row in scores() if row[1] == "gradcam" and row[2].startswith("max_box_acc_v1")]

    first, _ = v1_of_gradcam()
    stored = json.loads((calibrated / "thresholds.json").read_text())
    stored["thresholds"]["max_box_acc_v1"]["gradcam"] = [0.99]
    (calibrated / "thresholds.json").write_text(json.dumps(stored))
    later, values = v1_of_gradcam()
    assert first != later
    assert not np.any(values)  # no box of a single peak overlaps the object by half


def test_an_explainer_that_the_file_lacks_is_not_scored(evalkit, calibrated):
    done = evalkit(*quick(metrics=GIVEN, explainers="gradcam,cam"))
    assert done.code == 0, done.err
    rows = scores()
    scored = {row[0] for row in rows if row[1] == "gradcam" and row[4] is None}
    assert scored
    reasons = {row[4] for row in rows if row[1] == "cam" and row[0] in scored}
    assert reasons == {"threshold_from has no threshold for this explainer"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not a file of thresholds"),
        ('{"schema_version": 1}', "is not a file of thresholds"),
        ({"schema_version": 2, "thresholds": {}}, "has schema version 2, this evalkit reads 1"),
        ({"thresholds": {"max_box_acc_v2": {"cam": [0.1, 0.2, 0.3]}}}, "has no thresholds for max_box_acc_v1"),
        ({"thresholds": {"max_box_acc_v1": {"cam": [0.1, 0.2]}}}, "cam has [0.1, 0.2], expected 1 numbers from 0 to 1"),
        ({"thresholds": {"max_box_acc_v1": {"cam": [1.5]}}}, "cam has [1.5], expected 1 numbers from 0 to 1"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_computed(evalkit, workplace, content, message):
    if content is not None:
        known = {"schema_version": 1, "run": "r", "model": "m", "data": "d"}
        text = content if isinstance(content, str) else json.dumps(known | content)
        (workplace / "thresholds.json").write_text(text)
    done = evalkit(*quick(metrics="max_box_acc_v1(threshold_from=thresholds.json)"))
    assert done.code == 2
    assert message in done.err
    assert "python -m evalkit thresholds RUN --output FILE" in done.err
    assert not (workplace / "out").exists()


def test_a_run_without_thresholds_is_refused(evalkit, workplace):
    assert evalkit(*quick(metrics="sparseness")).code == 0
    done = evalkit("thresholds", "out", "--output", "thresholds.json")
    assert done.code == 2
    assert "'out' has no thresholds" in done.err
    assert not (workplace / "thresholds.json").exists()
