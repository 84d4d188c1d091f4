"""Scenes with a known cue: what a run says of the model and of each explainer."""

from __future__ import annotations

import json

import pytest

from evalkit.metrics.catalog import CUE_METRICS

RUN = (
    "run", "--data", "scenes(shortcut=mark, strength=0.5)", "--limit", "4", "--precision", "float32",
    "--explainers", "gradcam,uniform", "--metrics", ",".join(["pointing_game", *CUE_METRICS]),
)  # fmt: skip


def test_a_run_says_what_the_model_uses_and_the_maps_show(evalkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = evalkit(*RUN, "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["data"]["name"] == "scenes(shortcut=mark, strength=0.5)"
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("scenes-shortcut-mark-strength-0.5-vgg16-mini-")
    assert not any(cell["metric"] in CUE_METRICS for cell in found["leaderboard"])
    cells = {(cell["explainer"], cell["metric"]): cell for cell in found["shortcuts"]}
    # vgg16-mini was trained without marks: the object is its evidence, and the cue changes nothing.
    assert abs(cells["gradcam", "cue_drop"]["mean"]) < 0.05
    assert cells["gradcam", "object_drop"]["mean"] > 0.5
    assert cells["gradcam", "cue_drop"]["mean"] == cells["uniform", "cue_drop"]["mean"]
    assert cells["uniform", "cue_pixel_auc"]["mean"] == 0.5
    assert cells["uniform", "cue_false_alarm"]["mean"] == 0.0
    assert cells["gradcam", "cue_missed"]["mean"] is None
    assert {cells["gradcam", metric]["rank"] for metric in CUE_METRICS} == {None}
    assert not any(one["metric"] in CUE_METRICS for one in found["unscored"])
    said = found["shortcut_sentences"]
    assert said["model"].startswith("vgg16-mini: the target's score drops by ")
    assert list(said["explainers"]) == ["gradcam", "uniform (control)"]
    assert "shows it on 0 % [" in said["explainers"]["uniform (control)"]
    assert "misses" not in said["explainers"]["gradcam"]
    assert json.loads(evalkit("audit", str(folder), "--format", "json").out)["shortcut_sentences"] == said
    assert "the target's score drops by" in evalkit("audit", str(folder), "--format", "markdown").out
    shown = evalkit("show", str(folder))
    assert "Shortcuts\nvgg16-mini: the target's score drops by " in shown.out
    assert "cue_missed" not in shown.out.partition("Signature")[0]
    for form in ("markdown", "latex"):
        assert "the target's score drops by" in evalkit("show", str(folder), "--format", form).out.replace("\\_", "_")
    page = tmp_path / "report.html"
    assert evalkit("report", str(folder), "--output", str(page)).code == 0
    assert 'id="shortcuts"' in page.read_text(encoding="utf-8")


def test_without_cues_nothing_is_said(evalkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = evalkit("run", "--limit", "1", "--explainers", "uniform", "--metrics", "pointing_game", "--format", "json")
    assert json.loads(done.out)["shortcut_sentences"] is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("scenes(shortcut=frame)", "scenes: shortcut=frame is not allowed: Allowed: mark, tint"),
        ("scenes(shortcut=mark, strength=2)", "scenes: strength=2 is not allowed; it takes 0 to 1, for example 0.9"),
        ("scenes(folder)", "'folder' is not key=value; write scenes or scenes(shortcut=mark)"),
    ],
)
def test_bad_parameters_end_with_one_sentence(evalkit, data, message):
    done = evalkit("run", "--data", data)
    assert done.code == 2
    assert message in done.err


def test_the_list_of_formats_has_an_example(evalkit):
    assert "scenes(shortcut=mark)" in evalkit("list", "datasets", "scenes").out
    assert "vgg16-mini-shortcut" in evalkit("list", "models").out
