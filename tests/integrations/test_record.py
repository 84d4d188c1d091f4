"""What trackers get of a run."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from evalkit.api.run import open_run
from evalkit.core.errors import ConfigError
from evalkit.integrations.parameters import nested
from evalkit.integrations.record import record_of
from evalkit.store.manifest import WholeSet
from evalkit.store.run_folder import RunFolder
from tests.builders import manifest

from .conftest import EXPLAINERS, GAIN, MASS


def test_numbers_are_those_of_the_leaderboard(record, run_folder):
    cells = open_run(run_folder).leaderboard()
    gain = next(cell for cell in cells if (cell.metric, cell.explainer) == (GAIN, "gradcam"))
    assert record.numbers["gain/gradcam"] == gain.mean
    assert record.numbers["gain/gradcam/n"] == gain.n_scored == 5
    assert len([name for name in record.numbers if re.fullmatch(r"(gain|pointing)/\w+", name)]) == 8
    assert len(record.scores) == len(cells)


def test_what_is_not_scored_is_left_out_and_counted(record, run_folder):
    cells = [cell for cell in open_run(run_folder).leaderboard() if cell.metric == MASS]
    assert all(cell.mean is None for cell in cells)
    assert [name for name in record.numbers if name.startswith("mass/") and not name.endswith("/n")] == []
    assert record.numbers["mass/gradcam/n"] == 0
    assert all(np.isfinite(value) for value in record.numbers.values())


def test_run_facts_and_parameters(record):
    assert record.numbers["run/images"] == 6
    assert record.numbers["run/seconds_per_image/occlusion__patch_size__8"] == 0.5
    parameters = record.parameters
    assert parameters["model/name"] == "vgg16.keras"
    assert parameters["data/images"] == 6
    assert parameters["settings/seed"] == 0
    assert parameters["versions/evalkit"] == "0.1.0"
    assert parameters["versions/tf_explain"] == "0.3.1"
    assert parameters["best_patch_size/patch_size"] in (8, 16)
    assert parameters["best_patch_size/decided"] in (True, False)
    assert "occlusion(patch_size=8)" in parameters["settings/explainers"]
    assert not [value for value in parameters.values() if str(value).startswith("/")]


def test_files_are_those_of_the_other_commands(record, run_folder):
    assert list(record.files) == ["report.html", "manifest.json", "results.json", "citation.txt"]
    assert record.files["manifest.json"] == (run_folder / "manifest.json").read_bytes()
    assert json.loads(record.files["results.json"])["n_images"] == 6
    assert b'id="leaderboard"' in record.files["report.html"]
    assert record.methods.encode()[:40] in record.files["citation.txt"]


def test_pictures_are_those_of_the_gallery(record):
    explainers = [picture.explainer for picture in record.pictures]
    assert set(explainers) == {"photo", "gradcam", "occlusion__patch_size__8", "occlusion__patch_size__16", "uniform"}
    assert {picture.group for picture in record.pictures} == {
        "best_explained", "worst_explained", "largest_disagreement",
    }  # fmt: skip
    assert len({picture.name for picture in record.pictures}) == len(record.pictures) == 5 * 9
    shapes = {picture.pixels.shape for picture in record.pictures}
    assert shapes == {(288, 288, 3)}
    uniform = next(picture for picture in record.pictures if picture.explainer == "uniform")
    assert re.fullmatch(rf"uniform: photo\d.png \(class\d\); {GAIN} 0.\d+; constant: 0.5 everywhere", uniform.caption)
    assert record.notes == ()


def test_run_whose_photos_are_gone(record, run_folder):
    moved = json.loads((run_folder / "manifest.json").read_text())
    moved["data"]["source"] = "nowhere.csv"
    (run_folder / "manifest.json").write_text(json.dumps(moved))
    without = record_of(open_run(run_folder), "other")
    assert (record.name, without.name) == ("my run", "other")
    assert without.digest == record.digest
    assert re.fullmatch("[0-9a-f]{8}", record.digest)
    assert without.numbers == record.numbers
    assert "photo" not in {picture.explainer for picture in without.pictures}
    assert "The photos cannot be shown" in without.notes[0]


def test_a_shard_is_not_exported(run_folder):
    folder = RunFolder.write(run_folder)
    folder.write_manifest(
        manifest(EXPLAINERS, (GAIN,), settings={"shard": "1/2"}, data={"whole": WholeSet(12, "d" * 64)})
    )
    folder.close()
    with pytest.raises(ConfigError, match="an export needs all of it"):
        record_of(run_folder)


def test_nested_parameters():
    assert nested({"a/b/c": 1, "a/b/d": 2, "e": 3}) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
