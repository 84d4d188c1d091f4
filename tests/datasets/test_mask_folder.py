"""Masks beside photos, Pascal's void, and the ``ignore`` column."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.decode import decode_mask
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.mask_folder import read_mask_folder

Save = Callable[[str, np.ndarray], Path]
MASK = np.array([[0, 255, 255, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 9]], np.uint8)


def test_masks_are_found_by_name(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save("images/cat/1.jpg", photo)
    save("images/dog/2.png", photo)
    save("images/dog/3.png", photo)
    save("masks/cat/1.png", MASK)
    save("masks/dog/2.png.png", MASK)
    save("ignore/cat/1.png", np.full((4, 6), 7, np.uint8))
    images = open_image_set(tmp_path)
    assert (images.name, images.kind, images.class_names) == (tmp_path.name, "masks", ("cat", "dog"))
    cat, dog, bare = images
    by_opencv = cv2.imread(str(tmp_path / "masks/cat/1.png"), cv2.IMREAD_GRAYSCALE) > 0
    assert np.array_equal(cat.region, by_opencv)
    assert np.array_equal(cat.ignore, ~by_opencv)
    assert cat.exact
    assert (dog.label, dog.ignore) == ("dog", None)
    assert bare.region is None
    assert images.notes == (f"{tmp_path.name}: without a region: 1 photos, which have no mask (the first: dog/3.png)",)


def test_empty_and_wrong_size_masks_are_problems(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    for number, mask in enumerate((MASK * 0, MASK[:3])):
        save(f"images/{number}.png", photo)
        save(f"masks/{number}.png", mask)
    images = read_mask_folder(tmp_path)
    for entry, reason in zip(images.entries, ("mask is empty", "the mask is 6 x 3, the photo 6 x 4"), strict=True):
        with pytest.raises(ImageError, match=reason):
            images.read(entry)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("images/1.jpg", "masks/1.png", "masks/1.jpg.png"), "'1.png' and '1.jpg.png' in 'masks' are both for this"),
        (("images/1.jpg", "masks/1.png", "masks/1.bmp"), "'1.png' and '1.bmp' in 'masks' are both for this photo"),
        (
            ("images/1.jpg", "images/1.png", "masks/1.png"),
            "'1.png' in 'masks' is for several photos; rename it to '1.jpg.png'",
        ),
        (("images/1.jpg", "masks/1.png", "ignore/1.png", "ignore/1.tif"), "'1.png' and '1.tif' in 'ignore' are both"),
    ],
)
def test_ambiguous_mask_is_its_photos_problem(
    tmp_path: Path, save: Save, photo: np.ndarray, files: tuple[str, ...], reason: str
) -> None:
    for file in files:
        save(file, photo if file.startswith("images") else MASK)
    assert reason in read_mask_folder(tmp_path).entries[0].problem


def test_photos_of_one_stem_need_masks_by_full_name(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    for file in ("images/1.jpg", "images/1.png", "masks/1.jpg.png", "masks/1.png.PNG"):
        save(file, photo if file.startswith("images") else MASK)
    assert [entry.masks[0].name for entry in read_mask_folder(tmp_path).entries] == ["1.jpg.png", "1.png.PNG"]


def test_both_folders_are_required(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="has no folder 'masks'"):
        open_image_set(tmp_path, "masks")


def palette_png(color: tuple[int, int, int]) -> bytes:
    image = Image.fromarray(np.array([[0, 15], [255, 0]], np.uint8)).convert("P")
    palette = [0, 0, 0] + [128, 64, 0] * 254 + list(color)
    image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_pascal_void_is_not_the_object() -> None:
    data = palette_png((224, 224, 192))
    assert decode_mask(data).object.tolist() == [[False, True], [False, False]]
    assert decode_mask(data).void.tolist() == [[False, False], [True, False]]


def test_other_255_is_the_object() -> None:
    assert decode_mask(palette_png((255, 255, 255))).object.tolist() == [[False, True], [True, False]]
    assert not decode_mask(palette_png((255, 255, 255))).void.any()


def test_void_is_ignored(tmp_path: Path, save: Save) -> None:
    save("images/a.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(palette_png((224, 224, 192)))
    (image,) = read_mask_folder(tmp_path)
    assert image.region.tolist() == [[False, True], [False, False]]
    assert image.ignore.tolist() == [[False, False], [True, False]]


def test_manifest_may_name_ignored_pixels(
    save: Save, manifest: Callable[[str], Path], photo: np.ndarray, tmp_path: Path
) -> None:
    save("a.png", photo)
    save("i.png", MASK)
    images = open_image_set(manifest("image,label,x0,y0,x1,y1,ignore\na.png,cat,1,0,2,2,i.png\n"))
    (image,) = images
    assert np.argwhere(image.ignore).tolist() == [[0, 2], [3, 5]]
    before = images.entries[0].truth_digest
    save("i.png", MASK * 0)
    assert images.entries[0].truth_digest != before
    assert images.read(images.entries[0]).ignore is None


@pytest.mark.parametrize(("form", "options"), [("JPEG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_bright_masks_of_any_format_are_read(form: str, options: dict[str, bool]) -> None:
    stream = io.BytesIO()
    bright = np.kron(MASK > 0, np.full((8, 8), 255, np.uint8)).astype(np.uint8)
    Image.fromarray(bright).save(stream, form, **options)
    mask = decode_mask(stream.getvalue())
    assert np.array_equal(mask.object, bright > 0)
    assert mask.kind == ("" if form == "PNG" or options else "soft")


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_dark_lossy_mask_is_refused(form: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.kron(MASK > 0, np.full((8, 8), 60, np.uint8)).astype(np.uint8)).save(stream, form)
    with pytest.raises(ImageError, match="lossy, zeros do not stay zero, and no value reaches half of white; save it"):
        decode_mask(stream.getvalue())
