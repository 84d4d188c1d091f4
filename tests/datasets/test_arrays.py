from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.image_set import ImageSet

PIXELS = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)


def test_arrays_become_labelled_images() -> None:
    images = ImageSet.from_arrays(PIXELS, [1, 0], class_names=["cat", "dog"], ids=["x", "y"])
    assert (images.name, images.kind, images.class_names) == ("arrays", "arrays", ("cat", "dog"))
    first, second = images
    assert (first.id, first.class_index, first.label, first.region, first.boxes) == ("x", 1, "dog", None, None)
    assert (second.id, second.class_index, second.label) == ("y", 0, "cat")
    assert np.array_equal(second.pixels, PIXELS[1])


def test_ids_are_positions_that_sort() -> None:
    images = ImageSet.from_arrays(np.zeros((11, 1, 1, 3), np.uint8), np.zeros(11, np.int64))
    assert [entry.id for entry in images.entries][::5] == ["00", "05", "10"]


def test_photos_may_differ_in_size() -> None:
    images = ImageSet.from_arrays([np.zeros((2, 3, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)], [0, 0])
    assert [image.pixels.shape for image in images] == [(2, 3, 3), (5, 4, 3)]


def test_region_is_exact_and_has_its_tight_box() -> None:
    region = np.zeros((4, 6), bool)
    region[1:3, 2] = True
    first, second = ImageSet.from_arrays(PIXELS, [0, 0], regions=[region, None])
    assert first.exact
    assert first.boxes.tolist() == [[2, 1, 3, 3]]
    assert np.array_equal(first.region, region)
    assert (second.exact, second.region, second.boxes) == (False, None, None)


def test_boxes_give_the_region_by_pixel_centers() -> None:
    first, second = ImageSet.from_arrays(PIXELS, [0, 0], boxes=[(0, 0, 2, 1), [[0, 0, 1, 1], [5, 3, 6, 4]]])
    assert not first.exact
    assert first.boxes.tolist() == [[0, 0, 2, 1]]
    assert np.argwhere(first.region).tolist() == [[0, 0], [0, 1]]
    assert np.argwhere(second.region).tolist() == [[0, 0], [3, 5]]


def test_single_boxes_may_be_one_array() -> None:
    images = ImageSet.from_arrays(PIXELS, [0, 0], boxes=np.array([[0, 0, 2, 1], [1, 1, 2, 2.0]]))
    assert [entry.boxes for entry in images.entries] == [((0, 0, 2, 1),), ((1, 1, 2, 2),)]


def test_images_without_class_indices_are_unlabelled() -> None:
    images = ImageSet.from_arrays(PIXELS, None)
    assert [entry.class_index for entry in images.entries] == [None, None]
    assert [image.class_index for image in images] == [-1, -1]


def test_digests_follow_the_contents() -> None:
    region = np.ones((4, 6), bool)
    plain, turned = ImageSet.from_arrays(PIXELS[:1], [0]), ImageSet.from_arrays(PIXELS[:1].reshape(1, 6, 4, 3), [0])
    marked = ImageSet.from_arrays(PIXELS[:1], [0], regions=[region])
    other = ImageSet.from_arrays(PIXELS[1:], [0])
    again = ImageSet.from_arrays(PIXELS[:1].copy(), [0])
    sha = [next(iter(images)).sha256 for images in (plain, turned, marked, other, again)]
    assert sha[0] == sha[2] == sha[4]
    assert len({sha[0], sha[1], sha[3]}) == 3
    truth = [images.entries[0].truth_digest for images in (plain, turned, marked, other, again)]
    assert truth[0] == truth[4]
    assert len(set(truth)) == 4


def test_arrays_are_read_only_through_the_image() -> None:
    before = PIXELS.copy()
    image = next(iter(ImageSet.from_arrays(PIXELS, [0, 0])))
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1
    assert PIXELS.flags.writeable
    assert np.array_equal(PIXELS, before)


def test_changed_pixels_are_refused() -> None:
    pixels = PIXELS.copy()
    images = ImageSet.from_arrays(pixels, [0, 0])
    pixels[1, 0, 0, 0] ^= 1
    assert np.array_equal(images.read(images.entries[0]).pixels, PIXELS[0])
    with pytest.raises(ImageError, match="an array was changed after the set was created; create the set again"):
        images.read(images.entries[1])


def test_changed_regions_are_refused() -> None:
    region = np.zeros((1, *PIXELS.shape[1:3]), bool)
    region[0, 0, 0] = True
    images = ImageSet.from_arrays(PIXELS[:1], [0], region)
    region[0, 1, 1] = True
    with pytest.raises(ImageError, match="was changed after the set was created"):
        images.read(images.entries[0])


def test_pixels_without_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"pixels is generator; give uint8 \(N, H, W, C\)"):
        ImageSet.from_arrays((one for one in PIXELS), [0, 0])


def test_a_limited_set_of_arrays_can_be_read() -> None:
    limited = ImageSet.from_arrays(PIXELS, [0, 1]).limit(1, seed=0)
    assert [image.id for image in limited] == [limited.entries[0].id]


REGION = np.ones((4, 6), bool)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"pixels": PIXELS[:0], "class_indices": []}, "pixels holds no image"),
    ({"pixels": PIXELS / 255}, "2 images: the pixels are floats that all lie in 0..1, and evalkit takes 0..255"),
    ({"pixels": PIXELS / 127.5 - 1}, "image '0': pixels are float64 from -"),
    ({"pixels": PIXELS / 127.5 - 1}, "give 0..255 (not preprocessed), for example (x + 1) * 127.5 if x is in -1..1"),
    ({"pixels": PIXELS * 16.0}, "for example x / x.max() * 255"),
    ({"pixels": PIXELS * np.uint16(257)}, "for example x / 65535 * 255 as float32"),
    ({"pixels": PIXELS * np.nan}, "image '0': pixels are float64 from nan to nan"),
    ({"pixels": PIXELS > 9}, "image '0': pixels are bool; give uint8 or float32 in 0..255"),
    ({"pixels": PIXELS[0, 0]}, "image '0': pixels have shape (3,); give (height, width, channels)"),
    ({"pixels": PIXELS[0, :2]}, "pixels has shape (2, 6, 3), which is one image (H, W, C), or images (N, H, W)"),
    ({"pixels": [PIXELS[0], PIXELS[1, ..., 0]]}, "images '0' and '1' have 3 and 1 channels"),
    ({"pixels": PIXELS[:, :0]}, "image '0': pixels have shape (0, 6, 3)"),
    ({"class_indices": [0]}, "class_indices is int64 of shape (1,) for 2 images; give whole numbers of shape (2,)"),
    ({"class_indices": [0.0, 1.5]}, "class_indices[1] is 1.5; give whole numbers from 0"),
    ({"class_indices": [0, -1]}, "class_indices[1] is -1; allowed: 0 and more"),
    ({"class_indices": [0, 2], "class_names": ["a", "b"]}, "class_indices[1] is 2; allowed: 0..1"),
    ({"ids": ["a"]}, "ids has length 1 for 2 images"),
    ({"ids": ["a", "a"]}, "arrays: several images have the id 'a'"),
    ({"regions": [REGION]}, "regions has length 1 for 2 images; give one per image, None if it has none"),
    (
        {"regions": [REGION, REGION.T]},
        "image '1': the region is bool of shape (6, 4); give bool of the image's shape",
    ),
    ({"regions": [REGION, REGION * 1.0]}, "image '1': the region is float64"),
    ({"regions": [~REGION, None]}, "image '0': the region has no True pixel"),
    ({"boxes": [(0, 0, 1, 1)]}, "boxes has length 1 for 2 images"),
    ({"boxes": [(0, 0, 1), None]}, "image '0': boxes have shape (1, 3); give (K, 4)"),
    ({"boxes": [["a"] * 4, None]}, "image '0': boxes are not numbers"),
    ({"boxes": [(2, 0, 1, 1), None]}, "image '0': box (2, 0, 1, 1) is not allowed"),
    ({"boxes": [(-1, 0, 1, 1), None]}, "image '0': box (-1, 0, 1, 1) is not allowed"),
    ({"boxes": [(0, np.nan, 1, 1), None]}, "image '0': box (0, nan, 1, 1) is not allowed"),
    ({"boxes": [None, (0, 0, 7, 1)]}, "image '1': the photo is 6 x 4, smaller than its box (0, 0, 7, 1)"),
    ({"regions": [REGION, None], "boxes": [(0, 0, 1, 1), None]}, "image '0': both a region and boxes"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_arrays_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        ImageSet.from_arrays(**{"pixels": PIXELS, "class_indices": [0, 1], **arguments})
    assert message in str(caught.value)


def test_ignored_pixels_exclude_the_region(photo: np.ndarray) -> None:
    region, ignore = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    region[0, :2] = ignore[0, 1:3] = True
    images = ImageSet.from_arrays([photo, photo], [0, 0], regions=[region, None], ignores=[ignore, None])
    first, second = images
    assert np.argwhere(first.ignore).tolist() == [[0, 2]]
    assert second.ignore is None
    (plain,) = ImageSet.from_arrays([photo], [0], regions=[region])
    assert first.place != plain.place
    with pytest.raises(DataError, match=r"the ignore mask is bool of shape \(2, 6\); give bool of the image's"):
        ImageSet.from_arrays([photo], [0], ignores=[ignore[:2]])


@pytest.mark.parametrize(
    "given",
    [
        np.array([2, 0]),
        np.array([[2], [0]]),
        np.array([2.0, 0.0], np.float32),
        np.array([[2.0], [0.0]]),
        np.array([[0, 0, 1], [1, 0, 0]]),
        np.array([[0, 0, 1], [1, 0, 0]], np.float32),
        np.array([[0, 0, 1], [1, 0, 0]], bool),
        [[0, 0, 1], [1, 0, 0]],
    ],
    ids=lambda given: f"{np.asarray(given).dtype}{np.asarray(given).shape}",
)
def test_class_indices_may_be_columns_floats_or_one_hot(given: Any) -> None:
    images = ImageSet.from_arrays(PIXELS, given, class_names=["cat", "dog", "emu"])
    found = [(entry.id, entry.class_index, entry.label) for entry in images.entries]
    assert found == [("0", 2, "emu"), ("1", 0, "cat")]
    named = ImageSet.from_arrays(PIXELS, given, class_names={"dog": 1, "emu": 2, "cat": 0})
    assert (named.class_names, named.entries) == (images.class_names, images.entries)
    assert images.notes == ()


def test_indicator_matrix_gives_an_image_for_each_class_present() -> None:
    pixels = np.concatenate([PIXELS, PIXELS[:1] + 1])
    region = np.zeros((3, 4, 6), bool)
    region[:, 1, 1] = True
    images = ImageSet.from_arrays(pixels, [[1, 0, 1], [0, 0, 0], [0, 1, 0]], regions=region, ids=["a", "b", "c"])
    assert [(entry.id, entry.class_index) for entry in images.entries] == [("a#0", 0), ("a#2", 2), ("c#1", 1)]
    assert images.notes == ("arrays: left out: 1 photos without a class (the first: pixels[1])",)
    first, second, third = images
    assert np.array_equal(first.pixels, second.pixels)
    assert first.sha256 == second.sha256 != third.sha256  # one photo counts once
    assert first.exact
    assert images.labels.columns == 3
    named = ImageSet.from_arrays(PIXELS, [[1, 1], [0, 1]], class_names=["cat", "dog"])
    assert [entry.id for entry in named.entries] == ["0#cat", "0#dog", "1#dog"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0.9, 0.1], [0, 1]], "class_indices[0, 0] is 0.9; a matrix must be one-hot or have a 1 for each class"),
        ([[0, 2], [1, 0]], "class_indices[0, 1] is 2"),
        ([[0, 0], [0, 0]], "class_indices has no 1, so no image has a class"),
        ([[0], [1, 2]], "class_indices has rows of different lengths; give whole numbers of shape (2,), or a matrix"),
        ([0, float("nan")], "class_indices[1] is nan; give whole numbers from 0"),
        (["cat", "dog"], "of shape (2,) for 2 images; give whole numbers of shape (2,), or a matrix of 0 and 1"),
        (np.zeros((2, 2, 2), int), "of shape (2, 2, 2) for 2 images"),
    ],
)
def test_wrong_labels_of_arrays_are_refused(given: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        ImageSet.from_arrays(PIXELS, given)
    assert message in str(caught.value)


def test_columns_need_as_many_class_names() -> None:
    with pytest.raises(DataError, match="class_indices has 2 columns for 3 class_names"):
        ImageSet.from_arrays(PIXELS, np.eye(2), class_names=["a", "b", "c"])


def test_gray_images_have_one_channel() -> None:
    gray = PIXELS[..., 0]
    for given in (gray, gray[..., None], list(gray), gray.astype(np.int64), gray.astype(np.float64)):
        image = next(iter(ImageSet.from_arrays(given, [0, 1])))
        assert image.pixels.shape == (4, 6, 1)
        assert image.pixels.dtype == (np.float32 if np.asarray(given).dtype == np.float64 else np.uint8)
        np.testing.assert_array_equal(image.pixels[..., 0], gray[0])


def test_any_number_of_channels_is_kept() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 6, 7)).astype(np.float32)
    image = next(iter(ImageSet.from_arrays(pixels, [0, 1])))
    assert np.shares_memory(image.pixels, pixels)
    assert image.pixels.shape == (4, 6, 7)


def test_one_dark_float_image_among_others_is_kept() -> None:
    dark, light = np.zeros((4, 6, 3)), np.full((4, 6, 3), 200.0)
    assert len(ImageSet.from_arrays([dark, light], [0, 1])) == 2
