"""Shards put together are the whole run, bit for bit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import evalkit
from benchmarks.same_numbers import differences
from evalkit.core.errors import ConfigError, StoreError
from evalkit.store.run_folder import RunFolder
from tests.harness.shards import (
    OPTIONS,
    SETS,
    Runs,
    class_folders,
    joined,
    manifest_set,
    photos_in,
    require_equal,
    without_times,
)


def require_equal_scores(first, second):
    assert list(differences(first, second, {})) == []


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("name", SETS)
def test_merged_shards_are_the_whole_run(runs_of, tmp_path, name, count):
    runs = runs_of(name)
    whole, parts = runs.at("whole"), runs.shards(count)
    held = [len(RunFolder.read(part).database.planned_images()) for part in parts]
    assert max(held) - min(held) <= 1
    assert sum(held) == len(RunFolder.read(whole).database.planned_images())
    joined(parts[::-1], tmp_path / "merged")
    require_equal(whole, tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged"]


def test_references_and_gradients_are_those_of_the_whole_run(runs_of, tmp_path):
    runs = runs_of("manifest")
    given = {"explainers": "gradcam,expected_gradients(samples=4)", "metrics": "deletion"}
    parts = [runs.at(f"gradients-{number}", shard=f"{number}/2", **given) for number in (1, 2)]
    joined(parts, tmp_path / "merged")
    require_equal(runs.at("gradients", **given), tmp_path / "merged")


def test_repeatability_is_that_of_the_first_images_of_the_whole_set(tiny, tmp_path, monkeypatch):
    for module in ("engine.driver", "planning.stored_facts"):
        monkeypatch.setattr(f"evalkit.harness.{module}.REPEATED_IMAGES", 3)
    data = tmp_path / "data"
    data.mkdir()
    runs = Runs(tmp_path, tiny, {**class_folders(data, np.random.default_rng(5)), "metrics": "deletion"}, None)
    manifest = joined(runs.shards(2), tmp_path / "merged")
    assert [one.n_repeated for one in manifest.explainers] == [0, 3]
    require_equal(runs.at("whole"), tmp_path / "merged")


@pytest.mark.slow
def test_scenes_with_cues_are_the_whole_run(tmp_path):
    given = {"data": "scenes(shortcut=mark)", "limit": 3, "explainers": "gradcam", "metrics": "deletion,pointing_game"}
    runs = Runs(tmp_path, None, given, None)
    joined(runs.shards(2), tmp_path / "merged")
    require_equal(runs.at("whole"), tmp_path / "merged")
    evalkit.merge_runs(runs.shards(2), tmp_path / "merged").report()


def test_the_analysis_of_merged_shards_is_that_of_the_whole_run(runs_of, tmp_path):
    runs = runs_of("manifest")
    merged = evalkit.merge_runs(runs.shards(3), tmp_path / "merged")
    first, second = (
        without_times(json.loads(run.render("json"))) for run in (evalkit.open_run(runs.at("whole")), merged)
    )
    assert first == second


def test_merging_again_or_into_the_whole_run_changes_nothing(runs_of, tmp_path):
    runs = runs_of("manifest")
    parts = runs.shards(3)
    for _ in range(2):
        manifest = joined(parts, tmp_path / "merged")
        require_equal(runs.at("whole"), tmp_path / "merged")
    assert joined(parts, tmp_path / "merged") == manifest
    of_parts = [RunFolder.manifest_at(part) for part in parts]
    assert manifest.seconds == pytest.approx(sum(part.seconds for part in of_parts), abs=0.1)
    assert manifest.forward_passes == sum(part.forward_passes for part in of_parts)
    shutil.copytree(runs.at("whole"), tmp_path / "whole")
    joined(parts, tmp_path / "whole")
    require_equal(runs.at("whole"), tmp_path / "whole")


def test_a_merged_run_is_continued_like_any_other(runs_of, tmp_path):
    runs = runs_of("folders")
    merged = tmp_path / "merged"
    passes = joined(runs.shards(2), merged).forward_passes
    assert runs.compute(merged).forward_passes == passes
    added = f"{OPTIONS['metrics']},sparseness"
    assert runs.compute(merged, metrics=added).forward_passes < passes + 20  # the clean scores
    require_equal_scores(merged, runs.at("more", metrics=added))


def test_a_shard_becomes_the_whole_run_and_the_other_way_is_refused(runs_of, tmp_path):
    runs = runs_of("folders")
    folder = tmp_path / "grown"
    shutil.copytree(runs.shards(2)[0], folder)
    manifest = runs.compute(folder)
    assert manifest.settings.shard == ""
    assert manifest.data.whole is None
    require_equal_scores(runs.at("whole"), folder)
    with pytest.raises(StoreError, match="holds a run of 6 images without --shard; give shard 1/2 a folder of its own"):
        runs.compute(folder, shard="1/2")


def test_maps_are_copied_where_links_are_impossible(runs_of, tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError

    runs = runs_of("folders")
    joined(runs.shards(2), tmp_path / "linked")
    monkeypatch.setattr("os.link", refused)
    joined(runs.shards(2), tmp_path / "copied")
    for name, linked in (("linked", True), ("copied", False)):
        maps = [path for path in (tmp_path / name / "maps").rglob("*") if path.is_file()]
        assert maps
        assert all((path.stat().st_nlink > 1) == linked for path in maps)
        require_equal(runs.at("whole"), tmp_path / name)


def test_a_photo_that_can_be_read_again_is_merged_again(tiny, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    given = {**manifest_set(data, np.random.default_rng(5)), "explainers": "gradcam", "metrics": "deletion"}
    runs = Runs(tmp_path, tiny, given, None)
    assert joined(runs.shards(2), tmp_path / "out").data.n_unreadable == 2
    photos_in(data, np.random.default_rng(8), ["2.png"])
    runs.compute(tmp_path / "1-of-2", shard="1/2")
    assert joined(runs.shards(2), tmp_path / "out").data.n_unreadable == 1
    require_equal(runs.at("whole"), tmp_path / "out")


def test_a_shard_without_a_readable_photo_is_a_run(tiny, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    given = {**manifest_set(data, np.random.default_rng(5)), "explainers": "gradcam,random", "metrics": "deletion"}
    runs = Runs(tmp_path, tiny, given, None)
    manifest = runs.compute(tmp_path / "unreadable", shard="3/9")
    assert (manifest.data.n_images, manifest.data.n_unreadable) == (1, 1)
    run = evalkit.open_run(tmp_path / "unreadable")
    assert "shard 3 of 9 (1 of 9 images)" in str(run)
    with pytest.raises(ConfigError, match=r"--shard 10/12: 'labels.csv' has 9 images, so this shard is empty"):
        runs.compute(tmp_path / "empty", shard="10/12")
    joined(runs.shards(9), tmp_path / "out")
    require_equal(runs.at("whole"), tmp_path / "out")
