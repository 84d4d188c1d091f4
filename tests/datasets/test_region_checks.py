"""Sentences about regions come from a few images, evenly spread over the set."""

import numpy as np
from PIL import Image

from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set
from evalkit.datasets.region_checks import RegionCounts, regions_of_some
from evalkit.datasets.validation import inspect


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


def test_boxes_of_photos_of_another_size_are_suspected(tmp_path) -> None:
    """Half of the boxes fit by chance; they are used, and said to be in the wrong place."""
    for name in "ab":
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "boxes.csv").write_text("image,label,x,y,width,height\na.png,cat,10,10,20,20\nb.png,cat,90,50,20,20\n")
    images = open_image_set(tmp_path / "boxes.csv")
    for notes in (regions_of_some(images), inspect(images).notes):
        assert "In 1 of 2 images a box reaches outside the photo. If the boxes were drawn on photos of another" in (
            " ".join(notes)
        )
    few = RegionCounts(regions=20, outside=2)
    assert few.notes() == []
