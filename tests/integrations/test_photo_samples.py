"""Samples for FiftyOne as plain values, and the folder for photos that are in no file; FiftyOne is not needed."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from evalkit.analysis.load import table_of
from evalkit.core.errors import ConfigError, StoreError
from evalkit.datasets.open import open_image_set
from evalkit.integrations.fiftyone import _photo_folder
from evalkit.integrations.photo_samples import map_over_photo, photo_name, samples
from evalkit.report.html.photos import Photos
from evalkit.store.run_folder import RunFolder

from .conftest import EXPLAINERS, saliency_map


@pytest.fixture
def samples_of():
    opened = []

    def call(run, images=None, into=None):
        folder = RunFolder.read(run)
        opened.append(folder)
        manifest = folder.read_manifest()
        return list(samples(folder, manifest, table_of(folder, manifest), Photos(manifest, images), into))

    yield call
    for folder in opened:
        folder.close()


def test_samples_of_files(samples_of, run_folder, made):
    found = samples_of(run_folder)
    assert [sample.image_id for sample in found] == [f"photo{number}.png" for number in range(6)]
    first, second, fifth = found[0], found[1], found[4]
    assert first.path == made / "photo0.png"
    assert first.pixels is None
    assert first.mask is None
    # The box (12, 10, 36, 30) of a photo 48 wide and 40 high.
    assert first.boxes.tolist() == [[0.25, 0.25, 0.5, 0.5]]
    assert (first.label, first.predicted, first.confidence, first.correct) == ("class0", "class0", 0.75, True)
    assert (fifth.label, fifth.predicted, fifth.confidence, fifth.correct) == ("class1", "class0", None, False)
    assert list(first.maps) == ["gradcam", "occlusion__patch_size__8", "occlusion__patch_size__16", "uniform"]
    assert np.array_equal(first.maps["gradcam"].values, saliency_map(EXPLAINERS[0], 0))
    assert (first.maps["uniform"].low, first.maps["uniform"].high) == (0.0, 0.5)
    assert len(first.scores) == 8
    assert "gain/gradcam" in first.scores
    assert "gain/gradcam" not in second.scores
    assert not [name for sample in found for name in sample.scores if name.startswith("mass/")]


def test_signed_maps_have_a_range_about_zero(samples_of, run_folder):
    heat = samples_of(run_folder)[2].maps["gradcam"]
    assert heat.low == -heat.high < 0


def test_changed_and_missing_photos_are_left_out(samples_of, run_folder, tmp_path, made):
    for path in made.glob("*.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "photo0.png").unlink()
    Image.new("RGB", (48, 40)).save(tmp_path / "photo3.png")
    found = samples_of(run_folder, open_image_set(tmp_path / "labels.csv"))
    assert [sample.image_id for sample in found] == ["photo1.png", "photo2.png", "photo4.png", "photo5.png"]
    assert found[0].path == tmp_path / "photo1.png"


def test_samples_in_memory(samples_of, in_memory, tmp_path):
    run, images = in_memory
    found = samples_of(run, images, tmp_path / "photos")
    assert found[3].path == tmp_path / "photos" / photo_name("3")
    assert np.array_equal(found[3].pixels, images.read(images.entries[3]).pixels)
    assert found[3].boxes is None
    assert found[3].mask.sum() == 20 * 24
    assert set(np.unique(found[3].mask)) == {0, 1}


def test_folder_for_photos_is_asked_for_where_needed(in_memory, run_folder, tmp_path):
    run, images = in_memory

    def folder_of(path, given, images=None):
        folder = RunFolder.read(path)
        try:
            return _photo_folder(folder, Photos(folder.read_manifest(), images), given)
        finally:
            folder.close()

    assert folder_of(run_folder, None) is None
    with pytest.raises(ConfigError, match="--photos 'x' has no effect: every photo is in a file"):
        folder_of(run_folder, "x")
    with pytest.raises(ConfigError, match="--photos is missing: 6 of 6 photos are in no file"):
        folder_of(run, None, images)
    with pytest.raises(StoreError, match="the run does not record where its photos are"):
        folder_of(run, None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        folder_of(run, tmp_path / "full", images)
    with pytest.raises(ConfigError, match="is a file"):
        folder_of(run, tmp_path / "full" / "mine.txt", images)
    assert folder_of(run, tmp_path / "new", images) == tmp_path / "new"
    assert not (tmp_path / "new").exists()


def test_map_covers_the_whole_photo():
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    whole = map_over_photo(values, (8, 16), "squash")
    assert np.array_equal(whole.values, values)
    # Of a photo 16 wide and 8 high the model saw the middle 8 x 8: two map pixels are left on each side.
    middle = map_over_photo(values, (8, 16), "center-crop")
    assert middle.values.shape == (4, 8)
    assert np.array_equal(middle.values[:, 2:6], values)
    assert not middle.values[:, [0, 1, 6, 7]].any()
    assert (middle.low, middle.high) == (0.0, 15.0)


def test_unusual_maps_have_a_range_and_a_note():
    zero = map_over_photo(np.zeros((2, 2), dtype=np.float32), (2, 2), "squash")
    assert (zero.low, zero.high) == (0.0, 1.0)
    assert zero.note.startswith("constant: 0")
    broken = map_over_photo(np.array([[np.nan, 1], [2, 3]], dtype=np.float32), (2, 2), "squash")
    assert broken.values.tolist() == [[0, 1], [2, 3]]
    assert "25 % of the values are not finite" in broken.note


@pytest.mark.parametrize("image_id", ["a/b c.jpg", "..", "🐟", "x" * 200])
def test_photo_names_are_safe(image_id):
    assert re.fullmatch(r"[A-Za-z0-9_-]{0,61}[0-9a-f]{8}\.png", photo_name(image_id))
