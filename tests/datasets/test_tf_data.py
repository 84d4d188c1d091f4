"""Sets of a ``tf.data.Dataset``: what its elements are, what is refused, and that nothing is guessed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from evalkit import ImageSet
from evalkit.core.errors import ConfigError, DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 8, 10, 3), dtype=np.uint8)
LABELS = np.arange(9) % 3


def tf_set(*parts, batch=None, **options):
    dataset = tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])
    return ImageSet.from_dataset(dataset if batch is None else dataset.batch(batch), **options)


def pixels_of(images):
    return [image.pixels for image in images]


@pytest.mark.parametrize("batch", [None, 4])
def test_images_and_labels_are_those_of_the_dataset(batch):
    images = tf_set(PIXELS, LABELS, batch=batch)
    assert [entry.class_index for entry in images.entries] == LABELS.tolist()
    np.testing.assert_array_equal(pixels_of(images), PIXELS)
    assert images.notes == ()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LABELS.astype(np.int32)[:, None], LABELS.tolist()),
        (np.eye(3, dtype=np.float32)[LABELS], LABELS.tolist()),
        ((LABELS > 0).astype(np.float32)[:, None], (LABELS > 0).astype(int).tolist()),
        ((LABELS > 0).astype(np.float32), (LABELS > 0).astype(int).tolist()),
    ],
    ids=["column", "one-hot", "binary column", "binary"],
)
def test_labels_of_every_form(labels, expected):
    assert [entry.class_index for entry in tf_set(PIXELS, labels, batch=4).entries] == expected


def test_names_are_matched_with_those_of_the_model():
    images = tf_set(PIXELS, np.array(["cat", "dog", "ant"])[LABELS])
    assert [(entry.label, entry.class_index) for entry in images.entries[:3]] == [
        ("cat", None), ("dog", None), ("ant", None)
    ]  # fmt: skip


def test_images_without_labels_are_unlabelled():
    assert [entry.class_index for entry in tf_set(PIXELS).entries] == [None] * 9


@pytest.mark.parametrize(
    ("values", "value_range", "dtype"),
    [
        (PIXELS.astype(np.float32), None, np.uint8),
        (PIXELS.astype(np.float32) / 255, (0, 1), np.uint8),
        (PIXELS.astype(np.float32) / 127.5 - 1, (-1, 1), np.uint8),
        (PIXELS.astype(np.float16) * 0.5, (0, 255), np.float32),
    ],
)
def test_values_become_pixels(values, value_range, dtype):
    images = tf_set(values, LABELS, value_range=value_range)
    expected = PIXELS if dtype == np.uint8 else values.astype(np.float32)
    for image, wanted in zip(images, expected, strict=True):
        assert image.pixels.dtype == dtype
        np.testing.assert_array_equal(image.pixels, wanted)
    taken = [note for note in images.notes if "taken as 0..255" in note]
    assert len(taken) == (value_range is None)


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (PIXELS.astype(np.float32) / 255, {}, r"does not say what black and white are; give value_range=\(0, 1\)"),
        (PIXELS.astype(np.float32) - 100, {}, "does not say what black and white are"),
        (PIXELS.astype(np.float32), {"value_range": (0, 1)}, "image '0': values from .* are outside value_range"),
        (PIXELS, {"label": "label"}, "label='label' is no part of its elements; Allowed: 0, 1"),
    ],
)
def test_what_cannot_be_known_is_refused(values, options, sentence):
    with pytest.raises(DataError, match=sentence):
        tf_set(values, LABELS, **options)


@pytest.mark.parametrize(
    "options", [{"value_range": (1, 0)}, {"value_range": 255}, {"box_format": "xyz"}, {"limit": 0}]
)
def test_arguments_that_are_not_allowed(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}.* is (not allowed|unknown)"):
        tf_set(PIXELS, LABELS, **options)


def test_shuffled_augmented_and_endless_datasets_are_refused():
    dataset = tf.data.Dataset.from_tensor_slices((PIXELS, LABELS))
    with pytest.raises(DataError, match=r"another order, in every pass.* leave out shuffle"):
        ImageSet.from_dataset(dataset.shuffle(9, seed=1))
    # After tf.random.set_seed, TensorFlow's own random numbers are the same in every pass.
    rng = np.random.default_rng(0)

    def brighter(image):
        return tf.numpy_function(lambda pixels: np.float32(pixels + rng.uniform(0, 9)), [image], tf.float32)

    noisy = dataset.map(lambda image, label: (tf.ensure_shape(brighter(image), PIXELS.shape[1:]), label))
    with pytest.raises(DataError, match="other images"):
        ImageSet.from_dataset(noisy, value_range=(-9, 264))
    with pytest.raises(DataError, match=r"has no end; leave out repeat\(\)"):
        ImageSet.from_dataset(dataset.repeat())
    fixed = ImageSet.from_dataset(dataset.shuffle(9, seed=1, reshuffle_each_iteration=False))
    assert sorted(entry.class_index for entry in fixed.entries) == sorted(LABELS.tolist())


def test_an_order_that_changes_late_is_refused():
    """Only the first images of two passes are compared before all are read."""
    passes = iter(range(100))

    def generate():
        last = next(passes)
        for number in range(70):
            yield np.full((4, 4, 3), last if number == 69 else number, dtype=np.uint8)

    dataset = tf.data.Dataset.from_generator(generate, output_signature=tf.TensorSpec((4, 4, 3), tf.uint8))
    with pytest.raises(DataError, match=r"in every pass.*\(the first that differs: image 69\)"):
        ImageSet.from_dataset(dataset)


def test_the_limit_is_drawn_evenly_and_is_all_that_is_held():
    images = tf_set(
        np.sort(LABELS)[:, None, None, None].astype(np.uint8) * np.ones((8, 8, 3), np.uint8), np.sort(LABELS), limit=3
    )
    assert sorted(entry.class_index for entry in images.entries) == [0, 1, 2]
    assert len(images.reader.arrays) == 3
    for image in images:
        assert (image.pixels == image.class_index).all()


def test_images_of_several_sizes_and_of_gray():
    sizes = [(4, 5, 1), (6, 3, 1)]
    dataset = tf.data.Dataset.from_generator(
        lambda: (np.full(size, 7, np.uint8) for size in sizes),
        output_signature=tf.TensorSpec((None, None, 1), tf.uint8),
    )
    assert [image.pixels.shape for image in ImageSet.from_dataset(dataset)] == sizes
    ragged = dataset.ragged_batch(2)
    assert [image.pixels.shape for image in ImageSet.from_dataset(ragged)] == sizes


def test_dictionaries_with_boxes_of_tensorflow_datasets():
    boxes = tf.ragged.constant(
        [[[0.25, 0.1, 0.75, 0.5]]] * 8 + [[[0.0, 0.0, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]]], ragged_rank=1
    )
    dataset = tf.data.Dataset.from_tensor_slices({"image": PIXELS, "label": LABELS, "objects": {"bbox": boxes}})
    images = ImageSet.from_dataset(dataset, boxes="objects/bbox")
    assert images.entries[0].boxes == ((1.0, 2.0, 5.0, 6.0),)  # x0, y0, x1, y1 of 10 x 8 pixels
    assert len(images.entries[8].boxes) == 2
    assert any("fractions of the photo's width and height" in note for note in images.notes)
    padded = dataset.map(
        lambda row: (
            row["image"],
            row["label"],
            row["objects"]["bbox"].to_tensor()
            if hasattr(row["objects"]["bbox"], "to_tensor")
            else row["objects"]["bbox"],
        )
    )
    padded = padded.padded_batch(4, padded_shapes=((8, 10, 3), (), (None, 4)))
    again = ImageSet.from_dataset(padded, boxes=2)
    assert [entry.boxes for entry in again.entries] == [entry.boxes for entry in images.entries]


def test_a_third_part_is_a_mask_or_said_to_be_unused():
    masks = np.zeros((9, 8, 10, 1), dtype=np.uint8)
    masks[:, 2:6, 3:7] = 255
    images = tf_set(PIXELS, LABELS, masks, batch=2, regions=2)
    image = next(iter(images))
    assert image.exact
    assert image.region.sum() == 16
    unused = tf_set(PIXELS, LABELS, np.ones(9, np.float32))
    assert unused.notes == ("dataset: part 2 of its elements is not used; boxes=2 or regions=2 says what it is",)


def test_too_little_memory_is_said_before_it_is_used_up(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(DataError, match=r"more than half of the free memory: 2 of 9 images .* give limit=N"):
        tf_set(PIXELS, LABELS)


def test_what_is_no_dataset_is_refused():
    with pytest.raises(DataError, match=r"dataset is ndarray; a tf\.data\.Dataset is needed"):
        ImageSet.from_dataset(PIXELS)


def test_a_folder_as_keras_reads_it(tmp_path):
    for number, label in enumerate(LABELS):
        (tmp_path / f"class{label}").mkdir(exist_ok=True)
        Image.fromarray(PIXELS[number]).save(tmp_path / f"class{label}" / f"{number}.png")
    options = {"directory": tmp_path, "image_size": (8, 10), "batch_size": 4, "verbose": False}
    with pytest.raises(DataError, match="shuffle=False"):
        ImageSet.from_dataset(keras.utils.image_dataset_from_directory(**options))
    images = ImageSet.from_dataset(keras.utils.image_dataset_from_directory(**options, shuffle=False))
    assert images.class_names == ("class0", "class1", "class2")
    assert [entry.id for entry in images.entries[:2]] == ["class0/0.png", "class0/3.png"]
    np.testing.assert_array_equal(next(iter(images)).pixels, PIXELS[0])


def test_a_part_named_for_boxes_or_regions_is_no_label():
    masks = np.zeros((9, 8, 10), np.uint8)
    masks[:, 2:4, 3:6] = 1
    images = tf_set(PIXELS, masks, regions=1)
    assert [entry.class_index for entry in images.entries] == [None] * 9
    assert [int(image.region.sum()) for image in images] == [6] * 9
    corners = np.tile(np.array([0, 0, 1, 1], np.int32), (9, 1))
    assert [entry.id for entry in tf_set(PIXELS, corners, boxes=1).entries] == list("012345678")


def test_names_of_labels_are_found_among_given_names():
    labels = np.array(["cat", "dog", "ant"])[LABELS]
    images = tf_set(PIXELS, labels, class_names=["ant", "bee", "cat", "dog"])
    assert [entry.class_index for entry in images.entries[:3]] == [2, 3, 0]
    with pytest.raises(DataError, match="label 'ant' is not among class_names"):
        tf_set(PIXELS, labels, class_names=["cat", "dog"])
    column = tf_set(PIXELS, labels[:, None], class_names=["ant", "cat", "dog"])
    assert [entry.class_index for entry in column.entries[:3]] == [1, 2, 0]


@pytest.mark.parametrize("high", [1.02, 1.1, 8.0])
def test_floats_slightly_above_1_are_not_taken_for_0_to_255(high):
    pixels = np.float32(PIXELS / 255 * high)
    with pytest.raises(DataError, match="value_range"):
        tf_set(pixels, LABELS)


@pytest.mark.parametrize("images", [np.array([b"photo.png"] * 9), np.zeros((9, 0, 0, 3), np.uint8)])
def test_images_that_are_no_pixels_are_refused(images):
    with pytest.raises(DataError):
        tf_set(images, LABELS)


def test_the_order_of_boxes_and_their_own_classes_are_said():
    objects = {"bbox": np.tile([[0.0, 0.0, 4.0, 4.0]], (len(LABELS), 1, 1)), "label": LABELS[:, None]}
    dataset = tf.data.Dataset.from_tensor_slices({"image": PIXELS, "label": LABELS, "objects": objects})
    notes = " ".join(ImageSet.from_dataset(dataset, boxes="objects/bbox").notes)
    assert "boxes are read as yxyx" in notes  # the default, as of TensorFlow Datasets
    assert "the region of an image holds all of its boxes, whatever 'objects/label' says" in notes
