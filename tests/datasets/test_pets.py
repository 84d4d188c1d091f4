"""Oxford-IIIT Pets: trimaps on known pixels, the lists, files that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set

Save = Callable[[str, np.ndarray], Path]
TRIMAP = np.array([[2, 2, 2, 2, 2, 2], [2, 3, 3, 3, 2, 2], [2, 3, 1, 1, 3, 2], [2, 2, 3, 3, 2, 2]], np.uint8)
LIST = "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\nyorkshire_terrier_2 37 2 25\n"


@pytest.fixture
def pets(tmp_path: Path, save: Save, photo: np.ndarray) -> Path:
    """Two photos with trimaps in the layout of the data set, with the files that a Mac leaves behind."""
    for name in ("Abyssinian_100", "yorkshire_terrier_2"):
        save(f"pets/images/{name}.png", photo)
        save(f"pets/annotations/trimaps/{name}.png", TRIMAP)
    annotations = tmp_path / "pets" / "annotations"
    (annotations / "trimaps" / "._Abyssinian_100.png").write_bytes(b"\0\5\x16\7")
    (annotations / "xmls").mkdir()
    (annotations / "xmls" / "Abyssinian_100.xml").write_text("<annotation/>")
    (annotations / "list.txt").write_text(LIST)
    return tmp_path / "pets"


def ids(images: ImageSet) -> list[str]:
    return [entry.id for entry in images.entries]


def test_trimap_is_region_and_border(pets: Path) -> None:
    images = open_image_set(pets)
    assert (images.kind, images.name, ids(images)) == ("pets", "pets", ["Abyssinian_100", "yorkshire_terrier_2"])
    assert images.class_names == ("Abyssinian", "yorkshire_terrier")
    assert images.notes == ()
    image = next(iter(images))
    assert image.exact
    assert image.label == "Abyssinian"
    assert np.array_equal(image.region, TRIMAP == 1)
    assert np.array_equal(image.ignore, TRIMAP == 3)
    assert image.boxes.tolist() == [[2, 2, 4, 3]]


@pytest.mark.parametrize(
    ("data", "read", "others"),
    [
        ("", "test.txt", "annotations/list.txt, annotations/trainval.txt"),
        ("annotations/trainval.txt", "trainval.txt", "annotations/test.txt, annotations/list.txt"),
        ("annotations/mine.txt", "mine.txt", "annotations/test.txt, annotations/list.txt, annotations/trainval.txt"),
    ],
)
def test_one_of_several_lists_is_read_and_said(pets: Path, data: str, read: str, others: str) -> None:
    for name in ("test.txt", "trainval.txt", "mine.txt"):
        first = LIST.splitlines()[1 + (name == "trainval.txt")]
        (pets / "annotations" / name).write_text(f"{first}\n")
    images = open_image_set(pets / data)
    assert ids(images) == ["yorkshire_terrier_2" if read == "trainval.txt" else "Abyssinian_100"]
    assert images.notes[0].endswith(f"annotations/{read} are read; to read those of another list, name it ({others})")


def test_photos_without_a_trimap_have_no_region(pets: Path) -> None:
    (pets / "annotations" / "trimaps" / "Abyssinian_100.png").unlink()
    images = open_image_set(pets)
    assert [image.region is None for image in images] == [True, False]
    assert images.notes == ("pets: without a region: 1 photos, which have no trimap (the first: Abyssinian_100)",)


def test_missing_photos_are_counted(pets: Path) -> None:
    (pets / "images" / "Abyssinian_100.png").unlink()
    images = open_image_set(pets)
    assert [entry.problem for entry in images.entries] == ["file is missing", ""]
    assert "1 of 2 photos are missing; 1 are in '" in images.notes[0]


REASONS = {
    "0": (np.where(TRIMAP == 2, 0, TRIMAP), "the trimap has the value 0; allowed: 1 (pet), 2 (background), 3 (border)"),
    "255": (np.where(TRIMAP == 1, 255, TRIMAP), "the trimap has the value 255; allowed: 1"),
    "size": (TRIMAP[:, :5], "the trimap is 5 x 4, the photo 6 x 4 (width x height, upright)"),
    "no pet": (np.full((4, 6), 2), "mask is empty: the trimap has no pixel of value 1"),
    "color": (np.repeat(TRIMAP[..., None], 3, axis=2), "trimap: has pixels of mode RGB; one label of 8 bits a pixel"),
}


@pytest.mark.parametrize(("trimap", "reason"), REASONS.values(), ids=REASONS)
def test_wrong_trimap_is_the_reason(pets: Path, trimap: np.ndarray, reason: str) -> None:
    Image.fromarray(trimap.astype(np.uint8)).save(pets / "annotations/trimaps/Abyssinian_100.png")
    images = open_image_set(pets)
    with pytest.raises(ImageError) as caught:
        images.read(images.entries[0])
    assert reason in str(caught.value)


def test_damaged_trimap_is_the_reason(pets: Path) -> None:
    (pets / "annotations/trimaps/Abyssinian_100.png").write_bytes(b"\0")
    images = open_image_set(pets)
    with pytest.raises(ImageError, match="trimap: cannot be decoded: not a file of the formats"):
        images.read(images.entries[0])


def test_palette_trimaps_are_read_by_index(pets: Path) -> None:
    image = Image.fromarray(TRIMAP)
    image.putpalette([255, 0, 0] * 256)
    image.save(pets / "annotations/trimaps/Abyssinian_100.png")
    assert next(iter(open_image_set(pets))).region.sum() == 2


WRONG = {
    "no number": (
        b"Abyssinian 1 1 1",
        "list.txt line 1: 'Abyssinian' is not a class, '_' and a number; a line is: image",
    ),
    "class": (b"# x\n\na_1 one 1 1", "list.txt line 3: 'one' is not a whole number; a line is: image class species"),
    "negative": (b"a_1 -1 1 1", "list.txt line 1: '-1' is not a whole number"),
    "fraction": (b"a_1 1.5 1 1", "'1.5' is not a whole number"),
    "outside": (b"../a_1 1 1 1", "the photo's file name '../a_1' leads out of the photos' folder"),
    "absolute": (b"/a_1 1 1 1", "the photo's file name '/a_1' leads out of the photos' folder"),
    "twice": (b"a_1 1 1 1\na_1 1 1 1", "list.txt line 2: 'a_1' is listed in list.txt line 1 too; keep one"),
    "two classes": (b"a_1 1 1 1\nb_1 1 1 1", "line 2: class 1 is 'b' by the photo's name, but 'a' in list.txt line 1"),
    "empty": (b"# nothing\n", "list.txt names no photo; a line is: image class species breed"),
    "encoding": ("ä_1 1 1 1".encode("latin-1"), "list.txt is not UTF-8 text (byte 0); save it as UTF-8"),
    "long": (b"a" * 20_000_000, "list.txt has more than 16,777,216 bytes, too many for a list of photos"),
}


@pytest.mark.parametrize(("data", "message"), WRONG.values(), ids=WRONG)
def test_wrong_list_is_refused_with_its_line(pets: Path, data: bytes, message: str) -> None:
    (pets / "annotations" / "list.txt").write_bytes(data)
    with pytest.raises(DataError) as caught:
        open_image_set(pets)
    assert message in str(caught.value)


def test_folders_that_are_missing_are_named(pets: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*annotations/images; expected images/ and annotations/"):
        open_image_set(pets / "annotations", "pets")
    (pets / "annotations" / "list.txt").unlink()
    with pytest.raises(DataError, match=r"has no list of photos; expected one of test\.txt, list\.txt, trainval\.txt"):
        open_image_set(pets, "pets")


def test_masks_beside_images_stay_masks(pets: Path, save: Save, photo: np.ndarray) -> None:
    save("other/images/cat/1.png", photo)
    save("other/masks/cat/1.png", TRIMAP)
    assert open_image_set(pets.parent / "other").kind == "masks"
