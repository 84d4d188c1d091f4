from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import DataError
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.imagenet_csv import read_imagenet_csv

Save = Callable[[str, np.ndarray], Path]
HEADER = "ImageId,PredictionString"
DOG, CAT = "n02099601", "n02123045"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str, name: str = "LOC_val_solution.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return make


def test_rows_become_entries_with_half_open_boxes(write: Callable[[str], Path], save: Save) -> None:
    save("ILSVRC/Data/CLS-LOC/val/a.png", np.zeros((4, 6, 3), np.uint8))
    images = open_image_set(write(f"\ufeff{HEADER}\r\na,{DOG} 1 1 2 2 {DOG} 6 4 6 4 \r\n"))
    (entry,) = images.entries
    assert (images.kind, entry.id, entry.label) == ("imagenet", f"a#{DOG}", DOG)
    assert entry.boxes == ((0, 0, 2, 2), (5, 3, 6, 4))
    (image,) = images
    assert image.region.sum() == 5


def test_training_photos_are_found_in_class_folders(write: Callable[..., Path], save: Save) -> None:
    file = save(f"ILSVRC/Data/CLS-LOC/train/{DOG}/{DOG}_1.png", np.zeros((4, 6, 3), np.uint8))
    images = read_imagenet_csv(write(f"{HEADER}\n{DOG}_1,{DOG} 1 1 2 2\n", name="LOC_train_solution.csv"))
    assert images.entries[0].path == file


def test_each_class_is_an_entry_with_its_own_problem(write: Callable[[str], Path]) -> None:
    images = read_imagenet_csv(write(f"{HEADER}\na,{DOG} 1 1 2 2 {CAT} 5 1 2 2\n"))
    assert [entry.label for entry in images.entries] == [DOG, CAT]
    assert images.entries[0].problem == "file is missing"


def test_wrong_box_is_a_problem_with_its_line(write: Callable[[str], Path], save: Save) -> None:
    save("val/a.png", np.zeros((4, 6, 3), np.uint8))
    images = read_imagenet_csv(write(f"{HEADER}\na,{DOG} 1 1 2 2 {CAT} nan 1 2 2\n"))
    expected = "LOC_val_solution.csv line 2: box (nan, 0, 2, 2) is not four finite numbers"
    assert [entry.problem for entry in images.entries] == ["", expected]


WRONG = [
    ("", "is empty"),
    (HEADER, "has a header but no rows"),
    (f"{HEADER};x".replace(",", ";"), "the columns are separated by semicolons"),
    ("image,label\na,cat", "the columns are image, label"),
    (f"{HEADER}\na", "line 2: expected 2 fields, found 1"),
    (f"{HEADER}\na,", "line 2: PredictionString has 0 words"),
    (f"{HEADER}\na,{DOG} 1 2 3", "line 2: PredictionString has 4 words"),
    (f"{HEADER}\na,dog 1 1 2 2", "line 2: 'dog' is not a WordNet id"),
    (f"{HEADER}\na,{DOG} 1 1 2 x", "line 2: box (1, 1, 2, x) is not four numbers"),
    (f"{HEADER}\n../a,{DOG} 1 1 2 2", "line 2: the photo's file name '../a' leads out"),
    (f"{HEADER}\n/a,{DOG} 1 1 2 2", "line 2: the photo's file name '/a' leads out"),
    (f"{HEADER}\na,{DOG} 1 1 2 2\na,{DOG} 1 1 2 2", "line 3: 'a' is listed in LOC_val_solution.csv line 2 too"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_row_is_refused_with_file_and_line(write: Callable[[str], Path], text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_imagenet_csv(write(text))
    assert "LOC_val_solution.csv" in str(caught.value)
    assert message in str(caught.value)


def test_photo_with_and_without_extension_is_one(write: Callable[[str], Path], save: Save) -> None:
    save("val/a.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DataError, match=r"line 3 and .* line 2 name the same photo and class; keep one of them"):
        read_imagenet_csv(write(f"{HEADER}\na,{DOG} 1 1 2 2\na.png,{DOG} 1 1 2 2\n"))
