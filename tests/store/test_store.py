"""The run folder: what is written is read back, and nothing is half there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from evalkit.core.errors import StoreError
from evalkit.store.database import Database, ImageRow, MapRow, ScoreRow
from evalkit.store.files import write_bytes
from evalkit.store.manifest import DataFacts, Manifest, ModelFacts, Settings, Signatures
from evalkit.store.maps import load_map, map_path, save_map
from evalkit.store.run_folder import RunFolder


def image(name, position=0):
    return ImageRow(name, position, 1, "cat", f"/photos/{name}", 10, 20, "truth", "sum", None)


def score(name, explainer, metric, value=None, reason=None, statistics=None):
    return ScoreRow(name, explainer, metric, value, reason, statistics, "key")


def manifest(**changes):
    one = Manifest(
        schema_version=1,
        signature=Signatures(
            run="protocol|seed:0", metrics={"deletion": "deletion|v:1"}, explainers={"random": "random|v:1"}
        ),
        model=ModelFacts("m", "f" * 64, "none", (32, 32), 3, None, "float32"),
        data=DataFacts("d", "csv", 2),
        settings=Settings("label", "squash", 28, 0, 16, None),
        explainers=(),
        metrics=("deletion",),
        versions={"evalkit": "0"},
        created="2026-01-01T00:00:00+00:00",
    )
    return msgspec.structs.replace(one, **changes)


@pytest.fixture
def folder(tmp_path):
    opened = RunFolder.write(tmp_path / "run")
    yield opened
    opened.close()


def test_table_holds_values_statistics_and_reasons_of_the_planned_images_only(folder):
    database = folder.database
    with database:
        database.plan_images([image("old"), image("b", 1)])
        database.put_scores([score("old", "e", "m", 9.0)])
    with database:
        database.plan_images([image("b", 0), image("a", 1)])
        database.put_scores(
            [
                score("a", "e", "m", 0.25),
                score("b", "e", "m", reason="misclassified"),
                score("a", "e", "s", statistics=np.array([1.0, 2.0])),
                score("b", "e", "s", reason="no region"),
                score("a", "other", "m", 5.0),
            ]
        )
    table = database.table(["e"], ["m", "s"])
    assert table.image_ids == ("b", "a")
    np.testing.assert_array_equal(table.values[:, 0, 0], [np.nan, 0.25])
    np.testing.assert_array_equal(table.statistics["s"][:, 0], [[np.nan, np.nan], [1, 2]])
    assert table.reasons == {("e", "m"): {"misclassified": 1}, ("e", "s"): {"no region": 1}}


def test_scores_table_is_readable_by_anyone(folder):
    with folder.database as database:
        database.put_scores([score("a", "e", "m", 0.5), score("a", "e", "n", reason="no region")])
    with sqlite3.connect(folder.path / "results.sqlite") as plain:
        rows = plain.execute("SELECT image_id, explainer, metric, value, reason FROM scores ORDER BY metric").fetchall()
    plain.close()
    assert rows == [("a", "e", "m", 0.5, None), ("a", "e", "n", None, "no region")]


def test_a_transaction_that_fails_leaves_nothing(folder):
    def fail():
        with folder.database as database:
            database.put_scores([score("a", "e", "m", 0.5)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert folder.database.score_keys_of("a") == {}


def test_dropping_an_image_forgets_its_maps_and_scores_alone(folder):
    with folder.database as database:
        for name in ("a", "b"):
            database.put_images([image(name)])
            database.put_scores([score(name, "e", "m", 0.5)])
            database.put_maps([MapRow(name, "e", "k", "file", "sum", 9, 1.5, None)])
        database.drop_cells("a")
    assert folder.database.maps_of("a") == {}
    assert folder.database.score_keys_of("b") == {("e", "m"): "key"}
    assert folder.database.map_costs() == {"e": (1, 1.5)}


def test_images_come_back_as_they_were_put(folder):
    rows = [replace(image("a", 1), problem="gone"), replace(image("b", 0), clean_score=0.5, predicted=2)]
    with folder.database as database:
        database.plan_images(rows)
    assert folder.database.planned_images() == rows[::-1]


def test_maps_are_checked_by_their_sum(tmp_path):
    path = map_path("occlusion(patch_size=40)", "a/ü b.jpg")
    digest = save_map(tmp_path, path, np.arange(6.0).reshape(2, 3)).sha256
    np.testing.assert_array_equal(load_map(tmp_path, path, digest), np.arange(6, dtype=np.float32).reshape(2, 3))
    data = bytearray((tmp_path / path).read_bytes())
    data[-1] ^= 1
    (tmp_path / path).write_bytes(data)
    assert load_map(tmp_path, path, digest) is None
    (tmp_path / path).unlink()
    assert load_map(tmp_path, path, digest) is None


@pytest.mark.parametrize("image_id", ["../../etc/passwd", "/abs", "a" * 300, "", "..", "a\0b", "x/y"])
def test_map_paths_stay_inside_and_differ(image_id):
    path = map_path("random", image_id)
    assert path.startswith("maps/random/")
    assert path.count("/") == 2
    assert ".." not in path.split("/")
    assert map_path("random", image_id + "!") != path
    assert len(path) < 150


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file"
    write_bytes(path, b"first")

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"second")
    assert path.read_bytes() == b"first"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_manifest_round_trip_and_damage(folder):
    folder.write_manifest(manifest())
    assert folder.read_manifest() == manifest()
    (folder.path / "manifest.json").write_text('{"schema_version": 1, "sig')
    with pytest.raises(StoreError, match=r"manifest.json' is damaged"):
        folder.read_manifest()
    (folder.path / "manifest.json").write_text(json.dumps({"schema_version": 9}))
    with pytest.raises(StoreError, match="has schema version 9, this evalkit reads 1"):
        folder.read_manifest()


class Note(msgspec.Struct):
    text: str


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
    with pytest.raises(StoreError, match=r"holds 'thesis.txt' and is no run folder"):
        RunFolder.write(tmp_path, fresh=True)
    with pytest.raises(StoreError, match="is a file; name a folder"):
        RunFolder.write(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_database_of_another_kind_or_schema_is_refused(tmp_path):
    path = tmp_path / "results.sqlite"
    path.write_bytes(b"no database at all, just some text" * 40)
    with pytest.raises(StoreError, match="cannot be used as a results database"):
        Database(path, create=True)
    path.unlink()
    Database(path, create=True).close()
    with sqlite3.connect(path) as plain:
        plain.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    plain.close()
    with pytest.raises(StoreError, match="has schema version 7, this evalkit reads 5"):
        Database(path)


def test_fresh_forgets_everything_that_evalkit_wrote(tmp_path):
    first = RunFolder.write(tmp_path / "run")
    with first.database as database:
        database.put_scores([score("a", "e", "m", 1.0)])
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


def test_a_second_writer_is_told_who_the_first_is_and_a_dead_one_leaves_no_lock(tmp_path):
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
def test_somebody_elses_folder_is_refused_and_not_touched(tmp_path, what, fresh):
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
    with pytest.raises(StoreError, match="is no run folder; name a new or empty folder"):
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


def test_a_finished_database_stands_alone(tmp_path):
    RunFolder.write(tmp_path / "run").close()
    assert sorted(one.name for one in (tmp_path / "run").iterdir()) == [".lock", "results.sqlite"]


def test_a_finished_database_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    RunFolder.write(tmp_path / "run").close()
    before = sorted(one.name for one in (tmp_path / "run").iterdir())
    monkeypatch.setattr("evalkit.store.connection.os.access", lambda *_: False)
    database = Database(tmp_path / "run" / "results.sqlite")
    assert database.images() == {}
    assert sorted(one.name for one in (tmp_path / "run").iterdir()) == before
    database.close()


def test_curves_are_kept_beside_their_cells_and_go_with_them(folder):
    curve = np.array([[0.0, 0.5, 1.0], [0.9, 0.4, 0.1]])
    database = folder.database
    with database:
        database.plan_images([image("a"), image("b", 1)])
        database.put_scores([replace(score(name, "e", "deletion", 0.4), curve=curve) for name in "ab"])
    assert set(database.curves("e", "deletion")) == {"a", "b"}
    np.testing.assert_array_equal(database.curves("e", "deletion")["a"], curve)
    assert database.curves("e", "insertion") == {}
    with database:
        database.put_scores([score("a", "e", "deletion", reason="misclassified")])
        database.drop_cells("b")
    assert database.curves("e", "deletion") == {}


def test_explainers_that_look_alike_as_files_have_folders_of_their_own():
    texts = ("maps(m a b)", "maps(m_a_b)", "maps(m a+b)", "a, b", "a,_b ", "é" * 90, "é" * 91)
    folders = {map_path(text, "a.jpg").split("/")[1] for text in texts}
    assert len(folders) == len(texts)
    assert map_path("occlusion(patch_size=16, stride=8)", "a").split("/")[1] == "occlusion(patch_size=16,_stride=8)"


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
    with pytest.raises(StoreError, match=r"holds '.partial' and is no run folder"):
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


def test_what_is_read_in_a_snapshot_is_of_one_moment(tmp_path):
    folder = RunFolder.write(tmp_path / "run")
    with folder.database as database:
        database.touch()
    reader = Database(tmp_path / "run" / "results.sqlite")
    with reader.snapshot():
        before = reader.revision()
        with folder.database as database:
            database.put_images([image("a")])
            database.touch()
        assert (reader.revision(), reader.images()) == (before, {})
    assert reader.revision() != before
    assert list(reader.images()) == ["a"]
    reader.close()
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
    with pytest.raises(StoreError, match=r"cannot be made: '.*file' is a file"):
        RunFolder.check_writable(tmp_path / "file" / "run")
    with pytest.raises(StoreError, match="is a link that leads nowhere"):
        RunFolder.check_writable(tmp_path / "link")


def test_files_have_the_permissions_that_the_user_wants(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; os.umask(0o077)\n"
        "from evalkit.store.files import write_bytes; write_bytes(Path(sys.argv[1]), b'x')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=True)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
