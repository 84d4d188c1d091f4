"""Lists of which only some photos are there: found beside the list, counted, and drawn first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.settings import merge
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers import photo_finder

Save = Callable[[str, np.ndarray], Path]
NAMES = [f"p{number:02d}" for number in range(12)]
THERE = NAMES[2::4]
BLACK = np.zeros((4, 6, 3), np.uint8)


def _imagenet(folder: Path) -> Path:
    path = folder / "LOC_val_solution.csv"
    rows = [f"{name},n0000000{number % 3} 1 1 2 2\n" for number, name in enumerate(NAMES)]
    path.write_text("ImageId,PredictionString\n" + "".join(rows))
    return path


def _csv(folder: Path) -> Path:
    path = folder / "labels.csv"
    path.write_text("image,label\n" + "".join(f"{name}.png,c{number % 3}\n" for number, name in enumerate(NAMES)))
    return path


def _csv_without_extensions(folder: Path) -> Path:
    path = folder / "labels.csv"
    path.write_text("image,label\n" + "".join(f"{name},c{number % 3}\n" for number, name in enumerate(NAMES)))
    return path


def _coco(folder: Path) -> Path:
    path = folder / "instances.json"
    document = {
        "images": [{"id": number, "file_name": f"{name}.png"} for number, name in enumerate(NAMES)],
        "categories": [{"id": number, "name": f"c{number}"} for number in range(3)],
        "annotations": [
            {"id": number, "image_id": number, "category_id": number % 3, "bbox": [0, 0, 2, 2]}
            for number in range(len(NAMES))
        ],
    }
    path.write_text(json.dumps(document))
    return path


def _voc(folder: Path) -> Path:
    (folder / "Annotations").mkdir()
    for number, name in enumerate(NAMES):
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
        text = f"<annotation><object><name>c{number % 3}</name>{box}</object></annotation>"
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    return folder


FORMATS = [_imagenet, _csv, _csv_without_extensions, _coco, _voc]


@pytest.mark.parametrize("photos", ["image", "images"])
@pytest.mark.parametrize("write", FORMATS)
def test_photos_beside_the_list_are_found_counted_and_drawn(
    tmp_path: Path, save: Save, write: Callable[[Path], Path], photos: str
) -> None:
    for name in THERE:
        save(f"{photos}/{name}.png", BLACK)
    images = open_image_set(write(tmp_path))
    found = {entry.path.stem for entry in images.entries if entry.path and not entry.problem}
    assert found == set(THERE)
    (note,) = images.notes
    assert f": 9 of 12 photos are missing; 3 are in '{tmp_path / photos}'; searched" in note
    assert all(folder in note for folder in ("image", "images", "Images", str(tmp_path)))
    assert note.endswith("; --limit draws from those that are there")
    for seed in range(5):
        assert {entry.problem for entry in images.limit(2, seed).entries} == {""}
    # More than are there: all of them, and some that are reported as missing.
    assert sum(not entry.problem for entry in images.limit(5, 0).entries) == 3


@pytest.mark.parametrize("write", FORMATS)
def test_a_list_without_any_photo_says_where_was_searched(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    images = open_image_set(write(tmp_path))
    (note,) = images.notes
    assert ": 12 of 12 photos are missing; searched" in note
    assert "--limit" not in note
    assert len(images.limit(2, 0)) == 2


def test_the_draw_of_complete_sets_is_as_before(tmp_path: Path, save: Save) -> None:
    for name in NAMES:
        save(f"{name}.png", BLACK)
    images = open_image_set(_csv(tmp_path))
    assert images.notes == ()
    assert [entry.id for entry in images.limit(4, 0).entries] == ["p02.png", "p03.png", "p05.png", "p07.png"]


def test_a_photo_where_the_manifest_says_wins(tmp_path: Path, save: Save) -> None:
    save("p00.png", BLACK)
    for name in NAMES:
        save(f"images/{name}.png", BLACK + 1)
    images = open_image_set(_csv(tmp_path))
    assert images.entries[0].path == tmp_path / "p00.png"
    assert images.entries[1].path == tmp_path / "images" / "p01.png"
    assert images.notes == ()


def test_absolute_paths_are_searched_nowhere_else(tmp_path: Path, save: Save) -> None:
    save("images/gone/a.png", BLACK)
    (tmp_path / "labels.csv").write_text("image,label\n/gone/a.png,c\n../a.png,c\n")
    assert [entry.problem for entry in open_image_set(tmp_path / "labels.csv").entries] == ["file is missing"] * 2


def test_folders_are_listed_once_and_missing_photos_are_not_tried(
    tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THERE:
        save(f"image/{name}.png", BLACK)
    path, tried = _imagenet(tmp_path), []
    isfile = photo_finder.os.path.isfile
    monkeypatch.setattr(photo_finder.os.path, "isfile", lambda path: tried.append(path) or isfile(path))
    open_image_set(path)
    assert {Path(name).name.lower() for name in tried} == {f"{name}.png" for name in THERE}


def test_names_that_some_disks_take_for_one_are_tried(tmp_path: Path) -> None:
    finder = photo_finder.PhotoFinder([tmp_path], ["a"])
    (tmp_path / "CAFE\N{COMBINING ACUTE ACCENT}.JPG").touch()
    for name in ("caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg", "CAFE\N{COMBINING ACUTE ACCENT}.JPG"):
        assert photo_finder._folded(name) in (finder._listed.clear() or finder._names_in(str(tmp_path)))


def test_run_and_validate_draw_the_same_images(tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from evalkit.harness.planning.prepare import prepare
    from evalkit.harness.validate import validate_data

    for name in THERE:
        save(f"image/{name}.png", BLACK)
    model = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    model.save(tmp_path / "model.keras")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("c0\nc1\nc2\n")
    options = {
        "data": str(_csv(tmp_path)), "model": "model.keras", "preprocess": "none", "class_names": "names.txt",
        "limit": 2, "seed": 3, "precision": "float32", "explainers": "random", "metrics": "sparseness",
    }  # fmt: skip
    seen: list[str] = []
    said: list[str] = []

    def watch(entries):
        seen.extend(entry.id for entry in entries)
        return entries

    validation = validate_data(merge(options), watch)
    plan = prepare(merge(options), said.append)
    assert seen == [entry.id for entry in plan.images.entries]
    assert validation.data.n_read == 2
    assert said[:-1] == list(validation.data.notes)
    assert "images looked at" in said[-1]
