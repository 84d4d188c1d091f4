"""``run`` with nothing given: the embedded benchmark."""

from __future__ import annotations

import json

import pytest

from evalkit.explainers.catalog import DEFAULT_EXPLAINERS, SCENES_PATCH_SIZES, expand
from evalkit.metrics.catalog import DEFAULT_METRICS


def leaderboard(printed):
    return {(cell["explainer"], cell["metric"]): cell["mean"] for cell in json.loads(printed)["leaderboard"]}


def test_run_without_options_runs_the_embedded_benchmark(evalkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = evalkit("run", "--limit", "2", "--steps", "4", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["data"]["name"], found["model"]["name"], found["n_images"]) == ("scenes", "vgg16-mini", 2)
    assert [row["patch_size"] for row in found["patch_sweep"]] == [16, 24, 32, 40, 56]
    assert {row["method"] for row in found["cost"] if row["explainer"].startswith("occlusion")} == {"windowed"}
    fitting = expand([name for name in DEFAULT_EXPLAINERS if name != "cam"], SCENES_PATCH_SIZES, 0)
    assert len(found["leaderboard"]) == len(fitting) * len(DEFAULT_METRICS)
    assert "left out: cam" in done.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("scenes-vgg16-mini-")
    # The last lines say how to go on.
    assert done.err.rstrip().endswith("--model my_model.keras --preprocess vgg16 --data photos/")


@pytest.mark.slow
def test_the_same_leaderboard_in_two_runs_and_two_batch_sizes(evalkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boards = []
    for number, batch_size in enumerate(("16", "16", "7")):
        done = evalkit(
            "run", "--limit", "2", "--explainers", "gradcam,occlusion(patch_size=56),edges", "--steps", "7",
            "--batch-size", batch_size, "--output", str(number), "--format", "json",
        )  # fmt: skip
        assert done.code == 0, done.err
        boards.append(leaderboard(done.out))
    assert boards[1] == boards[0]
    assert boards[2] == pytest.approx(boards[0], abs=1e-6)
