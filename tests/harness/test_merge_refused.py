"""What ``merge`` refuses, and what it leaves when it fails."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import pytest

import evalkit
from evalkit.core.errors import ConfigError, StoreError
from tests.harness.shards import joined, require_equal, tables


def refused(paths, output, error=ConfigError):
    """Return the message of a merge that is refused and leaves nothing."""
    before = sorted(output.parent.iterdir())
    with pytest.raises(error) as caught:
        joined(paths, output)
    assert sorted(output.parent.iterdir()) == before
    return str(caught.value)


def interrupted(*_):
    raise KeyboardInterrupt


def changed(path, **changes):
    """Change fields of a manifest, ``settings`` and the like as dictionaries."""
    document = json.loads((path / "manifest.json").read_text())
    for name, value in changes.items():
        document[name] = {**document[name], **value} if isinstance(value, dict) else value
    (path / "manifest.json").write_text(json.dumps(document))


def test_wrong_sets_of_shards_are_refused(runs_of, parts, tmp_path):
    out = tmp_path / "out"
    runs = runs_of("folders")
    first, second = parts
    assert "takes the run folders of all shards" in refused([], out)
    assert f"of the 2 shards of '{first}', 2/2 is missing" in refused([first], out)
    assert f"shard 1/2 is there twice: '{first}' and '{first}'" in refused([first, first], out)
    assert f"'{runs.at('whole')}' is no shard" in refused([runs.at("whole"), second], out)
    assert "is shard 1/2 and" in refused([first, runs.shards(3)[1]], out)
    assert "is not a run folder" in refused([first, tmp_path], out, StoreError)
    other = runs.at("seed-2-of-2", shard="2/2", seed=4)
    assert f"'{first}' and '{other}' are not of one run: seed 3 and 4" in refused([first, other], out)
    other = runs.at("less-2-of-2", shard="2/2", metrics="deletion")
    assert "are not of one run: metrics deletion, pointing_game" in refused([first, other], out)
    five = runs.shards(4)
    assert "of the 4 shards of" in refused([five[2]], out)
    assert "1/4, 2/4, 4/4 are missing" in refused([five[2]], out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finished": None}, "is not finished; repeat the command that started it"),
        ({"versions": {"numpy": "1.0"}}, "are not of one run: numpy"),
        ({"model": {"fingerprint": "0" * 64}}, "are not of one run: model's fingerprint"),
        ({"settings": {"margin": 0.5}}, "are not of one run: margin 0.02 and 0.5"),
        ({"data": {"whole": {"n_images": 6, "digest": "0" * 64}}}, "digest of the images' ids and classes"),
    ],
)
def test_a_shard_of_another_run_is_named(parts, tmp_path, changes, message):
    changed(parts[1], **changes)
    assert message in refused(parts, tmp_path / "out", (ConfigError, StoreError))


def test_damaged_shards_are_refused_and_leave_nothing(parts, tmp_path):
    out = tmp_path / "out"
    saved = next(path for path in (parts[1] / "maps").rglob("*") if path.is_file())
    saved.unlink()
    assert "is missing or truncated; repeat the command of this shard" in refused(parts, out, StoreError)
    with closing(sqlite3.connect(parts[0] / "results.sqlite")) as database, database:
        database.execute("DELETE FROM images WHERE position = 2")
    assert "it has 2 of the 3 images of shard 1/2" in refused(parts, out, StoreError)
    with closing(sqlite3.connect(parts[0] / "results.sqlite")) as database, database:
        database.execute("UPDATE images SET position = 9 WHERE position = 4")
    assert "of the 3 images of shard 1/2" in refused(parts, out, StoreError)


def test_a_map_outside_its_run_folder_is_refused(parts, tmp_path):
    with closing(sqlite3.connect(parts[1] / "results.sqlite")) as database, database:
        (file,) = database.execute("SELECT file FROM maps LIMIT 1").fetchone()
        database.execute("UPDATE maps SET file = ? WHERE file = ?", (f"maps/../../{parts[0].name}/{file}", file))
    shutil.copytree(parts[1] / "maps", parts[0] / "maps", dirs_exist_ok=True)
    assert "outside maps/" in refused(parts, tmp_path / "out", StoreError)


def test_other_folders_are_not_written_over(runs_of, parts, tmp_path):
    runs = runs_of("folders")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    assert "contains 'notes.txt' and is not a run folder" in refused(parts, foreign, StoreError)
    assert f"--output '{parts[0]}' holds shard 1 of 2 (3 of 6 images)" in refused(parts, parts[0])
    shutil.copytree(runs.at("seed", seed=4), tmp_path / "other")
    before = tables(tmp_path / "other")
    assert "holds another run: seed 4 and 3" in refused(parts, tmp_path / "other")
    assert tables(tmp_path / "other") == before
    (tmp_path / "empty").mkdir()
    joined(parts, tmp_path / "empty")
    require_equal(runs.at("whole"), tmp_path / "empty")


def test_a_full_disk_leaves_nothing(parts, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evalkit.harness.merge.copy_map_file", full)
    message = refused(parts, tmp_path / "out", StoreError)
    assert "/out' cannot be written: No space left on device; free some space and repeat the command" in message


def test_merging_into_a_folder_is_unfinished_meanwhile(runs_of, parts, tmp_path, monkeypatch):
    out = tmp_path / "out"
    joined(parts, out)
    with monkeypatch.context() as patched:
        patched.setattr("evalkit.store.database.copy_planned", interrupted)
        with pytest.raises(KeyboardInterrupt):
            joined(parts, out)
    with pytest.raises(StoreError, match="is not finished"):
        evalkit.open_run(out)
    joined(parts, out)
    require_equal(runs_of("folders").at("whole"), out)


def test_an_interrupted_merge_leaves_nothing(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("evalkit.store.database.copy_planned", interrupted)
    refused(parts, tmp_path / "out", KeyboardInterrupt)


def test_what_a_killed_merge_left_is_used_up(runs_of, parts, tmp_path):
    (tmp_path / ".out.merging" / ".partial").mkdir(parents=True)
    (tmp_path / ".out.merging" / ".partial" / ".half").write_text("half a map")
    joined(parts, tmp_path / "out")
    require_equal(runs_of("folders").at("whole"), tmp_path / "out")
    assert not (tmp_path / ".out.merging").exists()
