"""What the export to FiftyOne writes to the database, and when: with a stand-in for the library."""

from __future__ import annotations

import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import ConfigError, StoreError
from evalkit.integrations import fiftyone as tracker
from evalkit.integrations.photo_samples import photo_name


class Label(SimpleNamespace):
    """A label of any kind, which keeps what it is given."""


class Sample(dict):
    """A sample, which keeps its fields."""


def stand_in():
    """Return a module with datasets in memory, under their names."""
    module = ModuleType("fiftyone")
    module.kept = kept = {}

    class Dataset:
        def __init__(self, name):
            assert name not in kept
            self.samples, self.info, self.persistent, self._name = [], {}, False, name
            kept[name] = self

        @property
        def name(self):
            return self._name

        @name.setter
        def name(self, name):
            assert name not in kept
            kept[name] = kept.pop(self._name)
            self._name = name

        def add_samples(self, samples, progress):
            self.samples += samples

        def save(self):
            self.saved = dict(self.info)

        def delete(self):
            del kept[self._name]

    module.Dataset, module.Sample = Dataset, Sample
    for label in ("Classification", "Detection", "Detections", "Heatmap", "Segmentation"):
        setattr(module, label, Label)
    module.dataset_exists = kept.__contains__
    module.load_dataset = kept.__getitem__
    module.delete_dataset = kept.__delitem__
    return module


@pytest.fixture
def fo(monkeypatch):
    module = stand_in()
    monkeypatch.setitem(sys.modules, "fiftyone", module)
    return module


def test_dataset_has_every_image_and_says_what_it_is(fo, run_folder):
    exported = tracker.export(run_folder)
    assert exported.id == "my run"
    assert exported.notes[0] == "6 samples"
    (dataset,) = fo.kept.values()
    assert dataset.persistent
    assert [sample["image_id"] for sample in dataset.samples] == [f"photo{number}.png" for number in range(6)]
    info = dataset.saved["evalkit"]
    assert info["model"]["name"] == "vgg16.keras"
    assert info["signature"].startswith("run|")
    assert len(info["digest"]) == 8


def test_existing_dataset_is_replaced_only_if_wanted(fo, run_folder):
    tracker.export(run_folder, name="mine")
    first = fo.kept["mine"]
    with pytest.raises(ConfigError, match="'mine' exists; give another --name, or --overwrite"):
        tracker.export(run_folder, name="mine")
    assert fo.kept == {"mine": first}
    tracker.export(run_folder, name="mine", overwrite=True)
    assert list(fo.kept) == ["mine"]
    assert fo.kept["mine"] is not first


def test_datasets_of_others_are_never_replaced(fo, run_folder):
    theirs = fo.Dataset("theirs")
    with pytest.raises(ConfigError, match="'theirs' was not written by evalkit"):
        tracker.export(run_folder, name="theirs", overwrite=True)
    assert fo.kept == {"theirs": theirs}


def test_photos_in_no_file_are_written(fo, in_memory, tmp_path):
    run, images = in_memory
    exported = tracker.export(run, images=images, photos="new/photos")
    assert f"The photos are in {tmp_path / 'new' / 'photos'}" in " ".join(exported.notes)
    (dataset,) = fo.kept.values()
    paths = [sample["filepath"] for sample in dataset.samples]
    assert paths[2] == str(tmp_path / "new" / "photos" / photo_name("2"))
    assert np.array_equal(np.array(Image.open(paths[2])), images.read(images.entries[2]).pixels)


def test_nothing_half_written_is_left(fo, in_memory, tmp_path, monkeypatch):
    run, images = in_memory
    tracker.export(run, images=images, photos="first")
    first = fo.kept["arrays"]

    def full(*_):
        raise RuntimeError("no space left")

    monkeypatch.setattr(fo.Dataset, "save", full)
    with pytest.raises(StoreError, match="FiftyOne refused the export: no space left"):
        tracker.export(run, images=images, photos="second", overwrite=True)
    assert fo.kept == {"arrays": first}
    assert len(list((tmp_path / "first").iterdir())) == 6
    assert not (tmp_path / "second").exists()


def test_what_a_killed_export_left_is_removed(fo, run_folder):
    fo.Dataset("my run being written by evalkit")
    tracker.export(run_folder)
    assert list(fo.kept) == ["my run"]


def test_missing_photos_are_left_out_and_counted(fo, command, run_folder, made, tmp_path):
    for path in made.glob("*.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "photo5.png").unlink()
    done = command("export", run_folder, "--to", "fiftyone", "--data", "labels.csv", "--name", "some")
    assert (done.code, done.out) == (0, "some\n"), done.err
    assert "5 samples\n1 of 6 images left out: their photos are missing or have changed\n" in done.err
    for number in range(5):
        (tmp_path / f"photo{number}.png").unlink()
    done = command("export", run_folder, "--to", "fiftyone", "--data", "labels.csv", "--name", "none")
    assert done.code == 2
    assert "every photo of the run is missing or has changed; name them with --data" in done.err
    assert list(fo.kept) == ["some"]
