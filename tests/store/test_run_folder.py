"""The run folder: manifest, analysis, lock, and what a fresh start removes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from evalkit.core.errors import StoreError
from evalkit.store.maps import map_path, save_map
from evalkit.store.run_folder import RunFolder
from tests.builders import manifest, score_row


@pytest.fixture
def folder(tmp_path):
    opened = RunFolder.write(tmp_path / "run")
    yield opened
    opened.close()


class Note(msgspec.Struct):
    text: str


def test_manifest_round_trip_and_damage(folder):
    folder.write_manifest(manifest())
    assert folder.read_manifest() == manifest()
    (folder.path / "manifest.json").write_text('{"schema_version": 1, "sig')
    with pytest.raises(StoreError, match=r"manifest.json' is damaged"):
        folder.read_manifest()
    (folder.path / "manifest.json").write_text(json.dumps({"schema_version": 9}))
    with pytest.raises(StoreError, match="has schema version 9, this evalkit reads 1"):
        folder.read_manifest()


def test_analysis_is_true_only_for_the_scores_it_was_made_of(folder):
    folder.write_manifest(manifest())
    assert folder.read_analysis(Note, 1) is None
    folder.write_analysis(Note("hello"), folder.analysis_key(1))
    assert folder.read_analysis(Note, 1) == Note("hello")
    assert folder.read_analysis(Note, 2) is None  # another evalkit says other things of the same scores
    with folder.database as database:
        database.touch()
    assert folder.read_analysis(Note, 1) is None
    folder.write_analysis(Note("again"), folder.analysis_key(1))
    folder.write_manifest(manifest(metrics=("deletion", "insertion")))
    assert folder.read_analysis(Note, 1) is None


def test_what_is_no_run_folder_is_refused_and_left_alone(tmp_path):
    with pytest.raises(StoreError, match="is not a run folder"):
        RunFolder.read(tmp_path)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"contains 'thesis.txt' and is not a run folder"):
        RunFolder.write(tmp_path, fresh=True)
    with pytest.raises(StoreError, match="is a file; name a folder"):
        RunFolder.write(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_fresh_forgets_everything_that_evalkit_wrote(tmp_path):
    first = RunFolder.write(tmp_path / "run")
    with first.database as database:
        database.put_scores([score_row("a", "e", "m", 1.0)])
    save_map(first.path, map_path("e", "a"), np.ones((2, 2)))
    first.write_manifest(manifest())
    first.close()
    kept = RunFolder.write(tmp_path / "run")
    assert kept.database.score_keys_of("a")
    kept.close()
    fresh = RunFolder.write(tmp_path / "run", fresh=True)
    assert not fresh.database.score_keys_of("a")
    assert sorted(one.name for one in fresh.path.iterdir() if not one.name.startswith("results")) == [".lock"]
    fresh.close()


def test_lock_names_its_writer_and_ends_with_the_process(tmp_path):
    folder = RunFolder.write(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from evalkit.store.run_folder import RunFolder\n"
        "try:\n    RunFolder.write(Path(sys.argv[1]))\nexcept Exception as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    refused = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"is being written by process {os.getpid()}" in refused
    folder.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
    RunFolder.write(tmp_path / "run").close()


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("what", ["maps/precious.npy", "manifest.json", "results.sqlite", "thesis.tex"])
def test_a_folder_of_others_is_refused_untouched(tmp_path, what, fresh):
    theirs = tmp_path / "theirs"
    (theirs / what).parent.mkdir(parents=True)
    if what == "results.sqlite":
        connection = sqlite3.connect(theirs / what)
        connection.execute("CREATE TABLE mine (value)")
        connection.commit()
        connection.close()
    else:
        (theirs / what).write_text('{"name": "an app"}')
    before = (theirs / what).read_bytes()
    with pytest.raises(StoreError, match="is not a run folder; name a new or empty folder"):
        RunFolder.write(theirs, fresh=fresh)
    assert (theirs / what).read_bytes() == before
    assert [one for one in theirs.rglob("*") if one.is_file()] == [theirs / what]


def test_fresh_removes_only_what_evalkit_wrote(tmp_path):
    run = tmp_path / "run"
    RunFolder.write(run).close()
    (run / "maps" / "gradcam").mkdir(parents=True)
    (run / "maps" / "gradcam" / "a-01234567.npy").write_bytes(b"")
    (run / "maps" / "notes.txt").write_text("mine")
    RunFolder.write(run, fresh=True).close()
    assert sorted(one.name for one in run.rglob("*")) == [".lock", "maps", "notes.txt", "results.sqlite"]


def test_fresh_follows_no_link_and_leaves_maps_of_others(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "y-01234567.npy").write_text("mine")
    run = tmp_path / "run"
    RunFolder.write(run).close()
    for name in ("maps/mine/x.npy", "maps/mine/deep/x-01234567.npy"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
    (run / "maps" / "link").symlink_to(tmp_path / "precious")
    RunFolder.write(run, fresh=True).close()
    assert (tmp_path / "precious" / "y-01234567.npy").exists()
    assert (run / "maps/mine/x.npy").exists()
    assert (run / "maps/mine/deep/x-01234567.npy").exists()


def test_a_folder_with_somebody_elses_partial_folder_is_refused(tmp_path):
    (tmp_path / "theirs" / ".partial").mkdir(parents=True)
    (tmp_path / "theirs" / ".partial" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"contains '.partial' and is not a run folder"):
        RunFolder.write(tmp_path / "theirs")
    assert (tmp_path / "theirs" / ".partial" / "thesis.txt").exists()


@pytest.mark.parametrize("moment", range(1, 11))
def test_a_fresh_start_that_was_killed_can_be_repeated(tmp_path, monkeypatch, moment):
    run = tmp_path / "run"
    first = RunFolder.write(run)
    for name in "abc":
        save_map(run, map_path("e", name), np.ones((2, 2)))
    first.write_manifest(manifest())
    first.close()
    for name in ("report.html", "analysis.json", "notes.txt"):
        (run / name).write_text("words")

    class KilledError(BaseException):
        pass

    whole, seen = Path.unlink, []

    def unlink(self, missing_ok=False):
        seen.append(self)
        if len(seen) == moment:
            raise KilledError
        whole(self, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink)
        with contextlib.suppress(KilledError):
            RunFolder.write(run, fresh=True).close()
    assert len(seen) >= min(moment, 9)
    again = RunFolder.write(run, fresh=True)
    assert not again.database.images()
    again.close()
    assert sorted(path.name for path in run.iterdir()) == [".lock", "notes.txt", "results.sqlite"]


@pytest.mark.parametrize("what", ["folder", "database"])
def test_a_run_whose_files_are_taken_away_meanwhile_is_said(tmp_path, what):
    folder = RunFolder.write(tmp_path / "run")
    with folder.database as database:
        database.touch()
    if what == "folder":
        shutil.rmtree(tmp_path / "run")
    else:
        (tmp_path / "run" / "results.sqlite").unlink()
    with (
        pytest.raises(StoreError, match=r"results.sqlite' was removed or replaced by another process"),
        folder.database,
    ):
        pass
    folder.close()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious.txt")
    with pytest.raises(StoreError, match="cannot be written"):
        RunFolder.write(tmp_path / "run")
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_places_that_can_be_no_folder_are_named(tmp_path):
    (tmp_path / "file").write_text("words")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"cannot be created: '.*file' is a file"):
        RunFolder.check_writable(tmp_path / "file" / "run")
    with pytest.raises(StoreError, match="is a broken link"):
        RunFolder.check_writable(tmp_path / "link")
