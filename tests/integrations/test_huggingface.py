"""Sets of the library ``datasets`` itself; it is the extra ``huggingface``."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from evalkit import ImageSet
from evalkit.core.errors import DataError

library = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
if not hasattr(library, "Dataset"):  # the folder of this project, which has no such name
    pytest.skip("the extra huggingface is not installed", allow_module_level=True)

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)
BOXES = [[[1, 2, 4, 5]], [[0, 0, 10, 8]], [], [[1, 1, 2, 2], [5, 5, 3, 3]], [[2, 2, 3, 3]], [[1, 1, 3, 2]]]


@pytest.fixture(scope="module")
def dataset():
    numbers = library.Sequence(library.Sequence(library.Value("float32")))
    features = library.Features(
        {
            "image": library.Image(),
            "label": library.ClassLabel(names=["cat", "dog", "ant"]),
            "objects": {"bbox": numbers},
            "kind": library.Value("string"),
        }
    )
    rows = {
        "image": [Image.fromarray(pixels) for pixels in PIXELS],
        "label": [0, 1, 2, 0, 1, 2],
        "objects": [{"bbox": boxes} for boxes in BOXES],
        "kind": ["a", "b"] * 3,
    }
    return library.Dataset.from_dict(rows, features=features)


def test_images_labels_and_boxes(dataset):
    images = ImageSet.from_huggingface(dataset, boxes="objects/bbox")
    assert images.class_names == ("cat", "dog", "ant")
    assert [entry.class_index for entry in images.entries] == [0, 1, 2, 0, 1, 2]
    assert [len(entry.boxes) for entry in images.entries] == [1, 1, 0, 2, 1, 1]
    assert images.entries[0].boxes == ((1, 2, 5, 7),)
    for image, pixels in zip(images, PIXELS, strict=True):
        np.testing.assert_array_equal(image.pixels, pixels)


def test_names_and_arrays(dataset):
    images = ImageSet.from_huggingface(dataset.with_format("numpy"), label="kind")
    assert [entry.label for entry in images.entries] == ["a", "b"] * 3
    np.testing.assert_array_equal(next(iter(images)).pixels, PIXELS[0])


def test_a_set_can_be_pickled(dataset):
    images = ImageSet.from_huggingface(dataset, limit=3)
    again = pickle.loads(pickle.dumps(images))  # noqa: S301
    np.testing.assert_array_equal(next(iter(again)).pixels, next(iter(images)).pixels)


def test_splits_and_streams_are_refused(dataset):
    with pytest.raises(DataError, match=r"dictionary of splits \(test\)"):
        ImageSet.from_huggingface(library.DatasetDict(test=dataset))
    streamed = dataset.to_iterable_dataset()
    with pytest.raises(DataError, match="is streamed"):
        ImageSet.from_huggingface(streamed)
    some = library.Dataset.from_list(list(streamed.take(2)), features=streamed.features)  # what the message says
    assert len(ImageSet.from_huggingface(some)) == 2
