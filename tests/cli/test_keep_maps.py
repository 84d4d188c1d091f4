"""Runs that keep no maps, some, or pictures of them: the same scores, resumed, gated, shown."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest

from evalkit.explainers.cam import GradCam
from tests.builders import stored_maps

RUN = ("run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--steps", "4", "--explainers",
       "gradcam,random", "--precision", "float32")  # fmt: skip
FIRST, MORE = ("--metrics", "deletion"), ("--metrics", "deletion,sparseness")
KEPT = {"none": 0, "2": 2, "all,float16": 6, "all": 6}


def stored(run):
    with sqlite3.connect(run / "results.sqlite") as database:
        scores = database.execute("SELECT image_id, explainer, metric, value, reason, key FROM scores ORDER BY 1, 2, 3")
        maps = database.execute("SELECT image_id, explainer, key, sha256, rank_hash FROM maps ORDER BY 1, 2")
        found = scores.fetchall(), maps.fetchall()
    database.close()
    return found


@pytest.fixture
def runs(evalkit, prepared):
    """A finished run for each way of keeping maps, in a folder of its name."""

    def make(_):
        for keep in KEPT:
            assert evalkit(*RUN, *FIRST, "--keep-maps", keep, "--output", keep).code == 0

    return prepared("keep_maps", make)


@pytest.fixture
def counted(monkeypatch):
    """The number of times that Grad-CAM explained."""
    calls = []
    own = GradCam.explain_with_facts

    def explain(*arguments):
        calls.append(1)
        return own(*arguments)

    monkeypatch.setattr(GradCam, "explain_with_facts", explain)
    return calls


@pytest.mark.parametrize("keep", KEPT)
def test_scores_keys_and_hashes_are_the_same(evalkit, runs, counted, keep):
    assert stored(runs / keep) == stored(runs / "all")
    files = list((runs / keep / "maps").glob("*.npz"))
    assert len(files) == KEPT[keep]
    form = np.float16 if "float16" in keep else np.float32
    assert {stored_maps(file)[text].dtype for file in files for text in ("gradcam", "random")} <= {np.dtype(form)}
    manifest = json.loads((runs / keep / "manifest.json").read_text())
    assert manifest["settings"]["keep_maps"] == keep
    done = evalkit(*RUN, *FIRST, "--output", keep)  # nothing is computed again
    assert (done.code, len(counted)) == (0, 0), done.err
    assert "missing or truncated" not in done.err
    assert "6 of 6 images are already in the run folder" in done.err
    assert json.loads((runs / keep / "manifest.json").read_text()) == manifest


@pytest.mark.parametrize(("keep", "n_explained"), [("none", 6), ("2", 4), ("all,float16", 6), ("all", 0)])
def test_a_later_metric_computes_maps_that_are_not_there(evalkit, runs, counted, keep, n_explained):
    done = evalkit(*RUN, *MORE, "--output", keep, "--format", "json")
    assert done.code == 0, done.err
    assert len(counted) == n_explained
    assert "damaged" not in done.err
    assert ("metrics that are added later compute maps again" in done.err) == (keep != "all")
    assert evalkit(*RUN, *MORE, "--output", "whole").code == 0
    assert stored(runs / keep) == stored(runs / "whole")
    assert len(list((runs / keep / "maps").glob("*.npz"))) == KEPT[keep]  # as the run began
    assert json.loads((runs / keep / "manifest.json").read_text())["settings"]["keep_maps"] == keep


def test_such_a_run_is_gated(evalkit, runs):
    assert evalkit("baseline", "none", "--output", "b.json", "--metrics", "deletion").code == 0
    assert evalkit("check", "all", "--baseline", "b.json").code == 0
    assert evalkit("check", "none", "--baseline", "b.json", "--fail-on-map-drift").code == 0


def test_the_report_says_that_there_are_no_maps(evalkit, runs):
    pages = {}
    for keep in KEPT:
        assert evalkit("report", keep).code == 0
        pages[keep] = (runs / keep / "report.html").read_text(encoding="utf-8")
    none = "The run kept no maps (--keep-maps none), so none can be shown."
    assert [page.count(none) for page in pages.values()] == [2, 0, 0, 0]
    assert "Only the 2 images whose maps were kept are considered." in pages["2"]
    assert "no map is stored" not in pages["2"] + pages["all,float16"] + pages["all"]
    assert "--keep-maps none" in pages["none"]
    assert "--keep-maps" not in pages["all"]
    done = evalkit("report", "none", "--maps", "written")
    assert (done.code, "'none' has no maps to write" in done.err) == (2, True)
    assert evalkit("report", "2", "--maps", "written").out.endswith("written: 4 maps\n")


def test_the_audit_names_what_it_lacks(evalkit, runs):
    for keep in ("none", "all,float16"):
        done = evalkit("audit", keep, "--probe")
        assert done.code == 2
        assert f"'{keep}' has no exact maps to change (keep_maps is {keep}); repeat the run with" in done.err
