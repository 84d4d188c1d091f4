"""The export to FiftyOne with the real library, as far as it goes without its database.

The database is a MongoDB server, which is downloaded when FiftyOne is installed and is absent where only a package
registry can be reached. What is written to it, and when, is tested with a stand-in in ``test_fiftyone_datasets``.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from evalkit.analysis.load import table_of
from evalkit.integrations.fiftyone import sample_of
from evalkit.integrations.names import safe_name
from evalkit.integrations.photo_samples import samples
from evalkit.report.html.photos import Photos
from evalkit.store.run_folder import RunFolder

from .conftest import library

fo = library("fiftyone")
pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the library


def samples_of(run, images=None, into=None):
    folder = RunFolder.read(run)
    try:
        manifest = folder.read_manifest()
        plain = list(samples(folder, manifest, table_of(folder, manifest), Photos(manifest, images), into))
    finally:
        folder.close()
    return plain, [sample_of(fo, one) for one in plain]


def again(sample):
    """Return a sample as the database would give it back."""
    return fo.Sample.from_dict(sample.to_dict())


def test_sample_of_a_photo_with_boxes(run_folder, made):
    plain, written = samples_of(run_folder)
    sample = again(written[0])
    assert sample.filepath == str(made / "photo0.png")
    assert sample["image_id"] == "photo0.png"
    assert sample["ground_truth"].label == "class0"
    assert (sample["prediction"].label, sample["prediction"].confidence) == ("class0", 0.75)
    assert sample["correct"] is True
    (box,) = sample["boxes"].detections
    assert (box.label, box.bounding_box) == ("class0", [0.25, 0.25, 0.5, 0.5])
    heat = sample["map_gradcam"]
    assert isinstance(heat, fo.Heatmap)
    assert np.array_equal(heat.map, plain[0].maps["gradcam"].values)
    assert heat.range == [plain[0].maps["gradcam"].low, plain[0].maps["gradcam"].high]
    assert sample["map_uniform"]["note"] == "constant: 0.5 everywhere"
    assert sample["gain/gradcam"] == plain[0].scores["gain/gradcam"]
    assert isinstance(sample["gain/gradcam"], float)
    # What was not scored is not there; the misclassified photo has no confidence.
    assert "gain/gradcam" not in written[1]
    assert again(written[4])["prediction"].confidence is None


def test_sample_with_an_exact_mask(in_memory, tmp_path):
    run, images = in_memory
    _, written = samples_of(run, images, tmp_path / "photos")
    mask = again(written[0])["region"]
    assert isinstance(mask, fo.Segmentation)
    assert mask.mask.shape == (40, 48)
    assert mask.mask.sum() == 20 * 24
    assert "boxes" not in written[0]


def test_fields_have_names_that_datasets_take(run_folder):
    from fiftyone.core.odm.utils import validate_field_name

    _, written = samples_of(run_folder)
    for text in ("m:Mine(a=-1)", "🐟", "tf_explain.gradcam", "a$b"):
        validate_field_name(f"map_{safe_name(text)}")
        validate_field_name(f"gain/{safe_name(text)}")
    for field in written[0].field_names:
        validate_field_name(field)
    with pytest.raises(ValueError, match="cannot contain"):
        validate_field_name("gain/a$b")


def test_library_has_what_the_export_calls():
    inspect.signature(fo.Dataset).bind("name")
    inspect.signature(fo.Dataset.add_samples).bind(None, [], progress=False)
    inspect.signature(fo.Dataset.delete).bind(None)
    inspect.signature(fo.Dataset.save).bind(None)
    for name in ("name", "persistent", "info"):
        assert getattr(fo.Dataset, name).fset is not None
    for function in (fo.dataset_exists, fo.load_dataset, fo.delete_dataset):
        inspect.signature(function).bind("name")


def test_without_a_database_it_is_one_sentence(command, run_folder, monkeypatch):
    from fiftyone.core.config import FiftyOneConfigError

    def absent(_):
        raise FiftyOneConfigError("MongoDB could not be installed on your system.")

    monkeypatch.setattr(fo, "dataset_exists", absent)
    done = command("export", run_folder, "--to", "fiftyone")
    assert done.code == 2
    assert done.err == (
        "evalkit: FiftyOne refused the export: MongoDB could not be installed on your system; FiftyOne needs a MongoDB "
        "server: its own, or one that FIFTYONE_DATABASE_URI names\n"
    )
