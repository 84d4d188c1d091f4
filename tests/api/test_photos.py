"""What ``explain`` and ``evaluate`` take as photos and sets: as its file, or refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import evalkit
from evalkit.api.photos import image_set_of, photo_of
from evalkit.core.errors import DataError


@pytest.fixture
def photo(photos):
    return photos[0]


def test_whole_numbers_of_any_type_are_the_same_photo(photo):
    for other in (photo.astype(np.float32), photo.astype(np.int64), photo.astype(np.float16), tf.constant(photo)):
        found = photo_of(other)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, photo)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA", "CMYK", "I;16"])
def test_a_pillow_image_is_read_as_its_file(mode, photo, tmp_path):
    image = Image.fromarray(photo[..., 0].astype(np.uint16) * 200) if mode == "I;16" else Image.fromarray(photo)
    image = image.convert("RGBA") if mode in ("RGBA", "LA") else image
    if mode in ("RGBA", "LA"):
        image.putalpha(100)
    image = image if image.mode == mode else image.convert(mode)
    path = tmp_path / ("photo.tiff" if mode == "CMYK" else "photo.png")
    image.save(path)
    from evalkit.harness.explain import read_photo

    found, expected = read_photo(photo_of(image)), read_photo(path)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert (found.own_channels is None) == (mode not in ("RGBA", "LA", "I;16"))
    if expected.own_channels is not None:
        np.testing.assert_array_equal(found.own_channels, expected.own_channels)


def test_a_pillow_image_is_upright_as_its_file_is(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo[:20]).save(tmp_path / "turned.png", exif=exif)
    image = Image.open(tmp_path / "turned.png")
    np.testing.assert_array_equal(photo_of(image).pixels, np.rot90(photo[:20], -1))
    assert (image.size, image.getexif()[0x0112]) == ((32, 20), 6)  # the given image is not changed


def test_gray_arrays_become_rgb(photo):
    np.testing.assert_array_equal(photo_of(photo[..., 0]), photo_of(Image.fromarray(photo[..., 0])).pixels)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda photo: photo / 255, r"image is float64 with values from 0.* give pixels in 0\.\.255: multiply by 255"),
        (lambda photo: photo / 127.5 - 1, r"image has values from -1 to 1; give pixels in 0\.\.255, before any"),
        (lambda photo: photo * 257.0, r"image has values from 0 to 65535; give pixels in 0\.\.255"),
        (lambda photo: photo * np.nan, "image has values that are not finite"),
        (lambda photo: photo[None], r"shape \(1, 32, 32, 3\), several photos; give one .* or list\(photos\) for all"),
        (lambda photo: photo.tolist(), "image is list; a file, a Pillow image, or an array"),
    ],
)
def test_numbers_in_another_range_are_refused(change, sentence, photo):
    photo = photo.copy()
    photo.flat[:2] = 0, 255
    with pytest.raises(DataError, match=sentence):
        photo_of(change(photo))


LABELS = np.array([0, 1, 2, 0])


@pytest.mark.parametrize(
    "pair",
    [
        lambda x: (x, LABELS),
        lambda x: (x, LABELS.reshape(-1, 1)),  # as keras.datasets.cifar10 has them
        lambda x: [x.astype(np.float32), LABELS.astype(np.float32)],
        lambda x: (list(x), LABELS.tolist()),
        lambda x: (tf.constant(x), tf.constant(LABELS)),
    ],
)
def test_a_pair_of_arrays_is_a_labelled_set(pair, photos):
    found, expected = image_set_of(pair(photos)), evalkit.ImageSet.from_arrays(photos, LABELS)
    assert found is not None
    assert found.entries == expected.entries


def test_images_without_classes_are_an_unlabelled_set(photos):
    for given in (photos, list(photos), (photos, None)):
        assert [entry.class_index for entry in image_set_of(given).entries] == [None] * 4


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (lambda x: ((x, LABELS), (x, LABELS)), r"a pair of pairs, e\.g\. training and test set; give one"),
        (lambda x: (x, LABELS, LABELS), "images is a tuple of 3; give an ImageSet, a pair"),
        (lambda x: (x / 255, LABELS), r"images is float64 with values from .*: multiply by 255"),
        (lambda x: (x, LABELS + 0.5), r"class_indices\[0\] is 0.5; give whole numbers"),
        (lambda x: x[0], r"which is one image \(H, W, C\), or images \(N, H, W\) that are 3 wide"),
        (lambda _: (["a.jpg"], [0]), "list them in a CSV manifest"),
        (lambda _: tf.data.Dataset.range(3), "images is _RangeDataset; give an ImageSet, a pair"),
        (lambda _: 3, "images is int; give an ImageSet"),
        (lambda _: [], "images is list; give an ImageSet"),
    ],
)
def test_what_is_no_set_is_said(given, sentence, photos):
    with pytest.raises(DataError, match=sentence):
        image_set_of(given(photos))


def test_a_model_may_be_a_path(tiny_model, photos, tmp_path):
    tiny_model.save(tmp_path / "model.keras")
    path = Path(tmp_path / "model.keras")
    expected = evalkit.explain(tiny_model, photos[0])
    np.testing.assert_array_equal(evalkit.explain(path, photos[0]).saliency_map, expected.saliency_map)
    run = evalkit.evaluate(path, (photos, LABELS), explainers="gradcam", metrics="sparseness", progress=False)
    assert run.leaderboard()[0].n_scored == 4
