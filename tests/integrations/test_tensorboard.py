"""The export to TensorBoard, read back by TensorBoard's own reader."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import ConfigError, StoreError
from evalkit.integrations import tensorboard as tracker

from .conftest import library

library("tensorboard")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # warnings of the library
    pytest.mark.usefixtures("few"),
]


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def texts_of(accumulator, tag):
    from tensorboard.util.tensor_util import make_ndarray

    (event,) = accumulator.Tensors(tag)
    return make_ndarray(event.tensor_proto)


@pytest.fixture(scope="module")
def _loaded():
    import tensorflow  # noqa: F401 - its seconds are counted to no test


@pytest.mark.usefixtures("_loaded")
def test_event_file_has_numbers_pictures_and_texts(run_folder, few, tmp_path):
    exported = tracker.export(run_folder, log_dir="logs")
    assert exported.id == "logs/my run"
    assert sorted(path.name.partition(".")[0] for path in (tmp_path / "logs" / "my run").iterdir()) == [
        "events", "report",
    ]  # fmt: skip
    assert list((tmp_path / "logs").iterdir()) == [tmp_path / "logs" / "my run"]
    found = read(tmp_path / "logs" / "my run")
    plugins = {name: set(found.PluginTagToContent(name)) for name in ("scalars", "images", "text", "hparams")}
    assert plugins["scalars"] == set(few.numbers)
    for name, value in few.numbers.items():
        assert float(texts_of(found, name)) == np.float32(value), name
    assert plugins["images"] == {picture.name for picture in few.pictures}
    picture = few.pictures[1]
    width, height, png = texts_of(found, picture.name).tolist()
    assert (int(width), int(height)) == picture.pixels.shape[1::-1]
    assert np.array_equal(np.array(Image.open(io.BytesIO(png))), picture.pixels)
    assert plugins["text"] == {f"evalkit/{name}" for name in ("leaderboard", "methods", "signature", "parameters")}
    assert texts_of(found, "evalkit/methods").item().decode() == few.methods
    leaderboard = texts_of(found, "evalkit/leaderboard").item().decode()
    assert "not scored" in leaderboard
    assert len(leaderboard.splitlines()) == 2 + len(few.scores)
    assert plugins["hparams"]


@pytest.mark.usefixtures("_loaded")
def test_second_export_is_refused(run_folder):
    tracker.export(run_folder)
    with pytest.raises(ConfigError, match="'logs/my run' exists"):
        tracker.export(run_folder)
    assert tracker.export(run_folder, name="again").id == "logs/again"


@pytest.mark.usefixtures("_loaded")
def test_nothing_half_written_is_left(run_folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker, "_write", full)
    with pytest.raises(StoreError, match="No space left"):
        tracker.export(run_folder)
    assert list((tmp_path / "logs").iterdir()) == []


@pytest.mark.usefixtures("_loaded")
def test_command_prints_the_folder(command, run_folder):
    done = command("export", run_folder, "--to", "tensorboard", "--log-dir", "elsewhere")
    assert (done.code, done.out) == (0, "elsewhere/my run\n"), done.err
    assert "Look at it: tensorboard --logdir elsewhere" in done.err
