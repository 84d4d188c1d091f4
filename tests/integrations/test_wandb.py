"""The export to W&B, with the real library offline, read back from the file that it writes."""

from __future__ import annotations

import json
import struct

import pytest

from evalkit.core.errors import StoreError
from evalkit.integrations import wandb as tracker
from evalkit.integrations.parameters import nested

from .conftest import library

wandb = library("wandb")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # warnings of the library
    pytest.mark.usefixtures("few"),
]


_MAGIC, _HEADER, _BLOCK = 7, 7, 32768
_WHOLE, _LAST = 1, 4  # kinds of parts; 2 and 3 are the first and the middle ones


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    """Write into the test's own folder; W&B reads its variables once, until it is torn down."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "of wandb"))
    yield
    wandb.teardown()


def records_in(folder):
    """Return the records of an offline run, in order: a log of blocks, as LevelDB writes it, behind seven bytes."""
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # waits until the process that writes the file has ended
    (path,) = folder.glob("*.wandb")
    data, place, parts, records = path.read_bytes(), _MAGIC, b"", []
    while place + _HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + _HEADER])
        parts += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_WHOLE, _LAST):
            records.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return records


def test_run_has_numbers_config_pictures_and_files(run_folder, few, tmp_path):
    exported = tracker.export(run_folder, project="explanations")
    project, _, run_id = exported.id.partition("/")
    (folder,) = (tmp_path / "wandb").glob(f"offline-run-*-{run_id}")
    found = records_in(folder)
    (run,) = [one.run for one in found if one.WhichOneof("record_type") == "run"]
    assert (project, run.project, run.display_name) == ("explanations", "explanations", "my run")
    assert list(run.tags) == [f"evalkit-{few.digest}"]
    assert run.notes == few.methods
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {**nested(dict(few.parameters)), "signature": few.signature, "digest": few.digest}.items() <= (
        config.items()
    )
    (history,) = [one.history for one in found if one.WhichOneof("record_type") == "history"]
    logged = {}
    for item in history.item:
        *outer, last = item.nested_key or [item.key]
        (logged.setdefault(outer[0], {}) if outer else logged)[last] = json.loads(item.value_json)
    assert {name: logged[name] for name in few.numbers} == few.numbers
    assert all(logged[picture.name]["_type"] == "image-file" for picture in few.pictures)
    assert [logged[picture.name]["caption"] for picture in few.pictures] == [
        picture.caption for picture in few.pictures
    ]
    assert logged["leaderboard"]["nrows"] == len(few.scores)
    assert logged["report"]["_type"] == "html-file"
    artifacts = [
        one for one in found if one.WhichOneof("record_type") == "artifact" and one.artifact.type == "evalkit-run"
    ]
    (artifact,) = [one.artifact for one in artifacts]
    assert {entry.path for entry in artifact.manifest.contents} == set(few.files)
    assert f"wandb sync {folder}" in " ".join(exported.notes)
    html = (folder / "files" / logged["report"]["path"]).read_bytes()
    assert html == few.files["report.html"]


def test_every_export_is_a_new_run(run_folder, tmp_path):
    first, second = tracker.export(run_folder), tracker.export(run_folder)
    assert first.id != second.id
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_active_run_is_left_alone(run_folder):
    active = wandb.init(project="mine")
    try:
        exported = tracker.export(run_folder)
        assert wandb.run is active
        assert not exported.id.endswith(active.id)
        active.log({"loss": 1.0})  # it is not finished
    finally:
        active.finish()


def test_without_an_account_it_is_one_sentence(command, run_folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "short")
    done = command("export", run_folder, "--to", "wandb")
    assert done.code == 2, done.err
    assert "evalkit: W&B refused the export: " in done.err
    assert "or set WANDB_MODE=offline" in done.err
    assert "Traceback" not in done.err


def test_run_that_could_not_be_written_fails(run_folder, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker, "_write", full)
    with pytest.raises(StoreError, match="No space left"):
        tracker.export(run_folder)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (exit_record,) = [one.exit for one in records_in(folder) if one.WhichOneof("record_type") == "exit"]
    assert exit_record.exit_code == 1


def test_command_prints_the_id(command, run_folder):
    done = command("export", run_folder, "--to", "wandb", "--project", "explanations")
    assert done.code == 0, done.err
    assert done.out.startswith("explanations/")
    assert "upload it with: wandb sync" in done.err
