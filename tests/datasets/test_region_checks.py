"""Sentences about regions come from a few images, evenly spread over the set."""

import numpy as np

from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.region_checks import regions_of_some


def whole(count: int) -> ImageSet:
    return ImageSet.from_arrays(np.zeros((count, 4, 6, 3), np.uint8), [0] * count, np.ones((count, 4, 6), bool))


def test_small_set_is_read_wholly() -> None:
    (note,) = regions_of_some(whole(3))
    assert note.startswith("In 3 images the region is the whole photo, so every map is right.")


def test_large_set_is_sampled_and_said() -> None:
    (note,) = regions_of_some(whole(100), most=8)
    assert note.startswith("Of 8 images looked at: in 8 images the region is the whole photo")


def test_set_without_regions_needs_no_sentence() -> None:
    assert regions_of_some(ImageSet.from_arrays(np.zeros((2, 4, 6, 3), np.uint8), [0, 0])) == []
