"""Sets of a Hugging Face dataset, with a double of it; tests/integrations has the same with the library itself."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from evalkit import ImageSet
from evalkit.core.errors import ConfigError, DataError, ImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)
BOXES = [[[1, 2, 4, 5]], [[0, 0, 10, 8]], [], [[1, 1, 2, 2], [5, 5, 3, 3]], [[2, 2, 3, 3]], [[1, 1, 30, 2]]]


class ImageFeature:
    pass


class ClassLabel:
    names = ("cat", "dog", "ant")


ImageFeature.__name__ = "Image"


class Double:
    """Rows of a table as ``datasets.Dataset`` gives them."""

    def __init__(self, columns, features):
        self.columns, self.features, self.decoded = columns, features, 0

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        self.decoded += "image" in self.columns
        return {name: values[key] for name, values in self.columns.items()}

    def select_columns(self, names):
        chosen = Double({name: self.columns[name] for name in names}, {name: self.features[name] for name in names})
        self.chosen = chosen
        return chosen

    def take(self, count):
        raise NotImplementedError


def double(**columns):
    kinds = {"image": ImageFeature(), "label": ClassLabel()}
    photos = [Image.fromarray(pixels) for pixels in PIXELS]
    columns = {"image": photos, "label": [0, 1, 2, 0, 1, 2], **columns}
    columns = {name: values for name, values in columns.items() if values is not None}
    return Double(columns, {name: kinds.get(name, "a value") for name in columns})


def test_images_are_decoded_when_they_are_needed():
    dataset = double()
    images = ImageSet.from_huggingface(dataset)
    assert images.class_names == ClassLabel.names
    assert [(entry.class_index, entry.label) for entry in images.entries[:2]] == [(0, "cat"), (1, "dog")]
    assert dataset.chosen.decoded == 0
    np.testing.assert_array_equal(images.read(images.entries[3]).pixels, PIXELS[3])
    assert dataset.chosen.decoded == 1
    assert len(ImageSet.from_huggingface(dataset, limit=3)) == 3


@pytest.mark.parametrize(
    "objects",
    [[{"bbox": boxes} for boxes in BOXES], [[{"bbox": box} for box in boxes] for boxes in BOXES]],
    ids=["dictionary of lists", "list of dictionaries"],
)
def test_boxes_of_coco_become_corners(objects):
    images = ImageSet.from_huggingface(double(objects=objects), boxes="objects/bbox")
    assert images.entries[0].boxes == ((1, 2, 5, 7),)
    assert images.entries[2].boxes == ()
    image = images.read(images.entries[0])
    assert image.region.sum() == 20
    assert not image.exact
    with pytest.raises(ImageError, match="outside"):
        images.read(images.entries[5])
    assert "dataset: boxes are read as xywh" in images.notes
    assert not [note for note in images.notes if "the region of an image holds all" in note]
    classes = {"category": [0, 1]}
    several = [one | classes if isinstance(one, dict) else [item | classes for item in one] for one in objects]
    notes = ImageSet.from_huggingface(double(objects=several), boxes="objects/bbox").notes
    assert "the region of an image holds all of its boxes, whatever 'objects/category' says" in " ".join(notes)


@pytest.mark.parametrize(
    ("box_format", "box"),
    [("xyxy", [0.1, 0.25, 0.5, 0.75]), ("yxyx", [0.25, 0.1, 0.75, 0.5]), ("cxcywh", [0.3, 0.5, 0.4, 0.5])],
)
def test_fractions_in_other_orders(box_format, box):
    images = ImageSet.from_huggingface(double(box=[box] * 6), boxes="box", box_format=box_format)
    np.testing.assert_allclose(images.read(images.entries[0]).boxes, [[1, 2, 5, 6]])


def test_labels_are_names_numbers_or_missing():
    named = ImageSet.from_huggingface(double(kind=["cat", "dog"] * 3), label="kind")
    assert [(entry.class_index, entry.label) for entry in named.entries[:2]] == [(None, "cat"), (None, "dog")]
    hidden = ImageSet.from_huggingface(double(label=[-1] * 6))
    assert {(entry.class_index, entry.label) for entry in hidden.entries} == {(None, "")}
    without = ImageSet.from_huggingface(double(label=None))
    assert {entry.class_index for entry in without.entries} == {None}
    assert without.notes == ("dataset: no column of classes, so its images are unlabelled; label='COLUMN' names one",)


def test_a_photo_that_cannot_be_decoded_is_one_image_only():
    images = ImageSet.from_huggingface(double(image=[None, *map(Image.fromarray, PIXELS[1:])]))
    with pytest.raises(ImageError, match="the row has no image"):
        images.read(images.entries[0])
    assert images.read(images.entries[1]).pixels.shape == (8, 10, 3)


@pytest.mark.parametrize(
    ("dataset", "options", "sentence"),
    [
        (
            {"train": double(), "test": double()},
            {},
            r"dictionary of splits \(train, test\); give one .*dataset\['train'\]",
        ),
        (PIXELS, {}, "dataset is ndarray; a datasets.Dataset of Hugging Face is needed"),
        (double(), {"image": "photo"}, "image='photo' is no column; Allowed: image, label"),
        (double(), {"label": "labl"}, "did you mean 'label'"),
        (double(), {"boxes": "objects/bbox"}, "boxes='objects/bbox' is no column"),
        (
            double(objects=[{"box": []}] * 6),
            {"boxes": "objects/bbox"},
            "row 0: boxes='objects/bbox' is not there; .*box",
        ),
        (double(label=[0.5] * 6), {}, "row 0: label 0.5 is no whole number and no name"),
    ],
)
def test_what_cannot_be_read_is_refused(dataset, options, sentence):
    with pytest.raises(DataError, match=sentence):
        ImageSet.from_huggingface(dataset, **options)


def test_a_streamed_dataset_is_refused():
    class Streamed:
        features = ()

        def take(self, count):
            raise NotImplementedError

        def __iter__(self):
            raise NotImplementedError

    with pytest.raises(DataError, match=r"is streamed.* Dataset.from_list\(list\(dataset.take\(N\)\)"):
        ImageSet.from_huggingface(Streamed())


def test_an_unknown_order_of_boxes_is_refused():
    with pytest.raises(ConfigError, match="box_format='xyz' is unknown"):
        ImageSet.from_huggingface(double(), box_format="xyz")


def test_a_transform_is_refused_and_a_format_is_taken_off():
    dataset = double()
    dataset.format = {"type": "custom", "columns": ["image", "label"]}
    with pytest.raises(DataError, match=r"has a transform .* give dataset\.with_format\(None\)"):
        ImageSet.from_huggingface(dataset)
    dataset.format = {"type": "numpy", "columns": ["image"]}
    dataset.with_format = lambda kind: double() if kind is None else None
    np.testing.assert_array_equal([image.pixels for image in ImageSet.from_huggingface(dataset)], PIXELS)


@pytest.mark.parametrize("wrong", [{"image": 0}, {"label": 5}, {"boxes": 1}])
def test_columns_are_named_by_texts(wrong):
    with pytest.raises(DataError, match=r"is not allowed; write the name of a column"):
        ImageSet.from_huggingface(double(), **wrong)
