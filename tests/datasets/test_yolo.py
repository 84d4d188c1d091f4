"""YOLO's text files: boxes and polygons on known pixels, the layouts that people have, files that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.classes import match_classes
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set

Save = Callable[[str, np.ndarray], Path]
YAML = "train: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n"
BOX = "0 0.5 0.5 0.333333 0.5\n"  # columns 2 and 3, rows 1 and 2 of 4 x 6 pixels


@pytest.fixture
def write(tmp_path: Path, photo: np.ndarray, save: Save) -> Callable[..., Path]:
    """Write text files, and photos of 4 x 6 pixels for the names of photos, below tmp_path."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            if name.endswith((".png", ".jpg")):
                save(name, photo)
            else:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(text)
        return tmp_path

    return write


def ids(images: ImageSet) -> list[str]:
    return [entry.id for entry in images.entries]


def test_boxes_and_polygons_are_drawn(write: Callable[..., Path]) -> None:
    lines = f"{BOX}1 0 0 0.5 0 0.5 0.5 0 0.5\n1 0.5 0.5 1 0.5 1 1 0.5 1\n"
    folder = write(**{"images/a.png": "", "labels/a.txt": lines, "data.yaml": "names: {0: cat, 1: dog}\ntrain: images"})
    images = open_image_set(folder)
    assert (images.kind, ids(images), images.class_names) == ("yolo", ["a.png#cat", "a.png#dog"], ("cat", "dog"))
    cat, dog = images
    assert (cat.exact, dog.exact) == (False, True)
    assert np.array_equal(np.argwhere(cat.region), [[1, 2], [1, 3], [2, 2], [2, 3]])
    expected = np.zeros((4, 6), bool)
    expected[:2, :3] = expected[2:, 3:] = True
    assert np.array_equal(dog.region, expected)
    assert "all of its 2 polygons have four corners; they count as exact masks, which oriented" in " ".join(
        images.notes
    )


def test_boxes_are_used_where_kinds_are_mixed(write: Callable[..., Path]) -> None:
    (image,) = open_image_set(write(**{"a.png": "", "a.txt": f"{BOX}0 0 0 0.5 0 0 0.5\n"}))
    assert not image.exact
    assert image.boxes.round(4).tolist() == [[2, 1, 4, 3], [0, 0, 3, 2]]


LAYOUTS = {
    "data.yaml": ("data.yaml", {"data.yaml": YAML, "images/val/a.png": "", "labels/val/a.txt": BOX}),
    "folder with data.yaml": ("", {"data.yaml": YAML, "images/val/a.png": "", "labels/val/a.txt": BOX}),
    "path of another machine": (
        "coco8.yaml",
        {"coco8.yaml": f"path: ../datasets/coco8\n{YAML}", "images/val/a.png": "", "labels/val/a.txt": BOX},
    ),
    "absolute Windows path": (
        "",
        {"data.yaml": "val: C:\\me\\set\\images\\val\nnames: [cat]", "images/val/a.png": "", "labels/val/a.txt": BOX},
    ),
    "splits outside": (
        "",
        {
            "data.yaml": YAML.replace("images/val", "../valid/images"),
            "valid/images/a.png": "",
            "valid/labels/a.txt": BOX,
        },
    ),
    "list of folders": (
        "",
        {"data.yaml": "val: [images/b, images/a]\nnames: [cat]", "images/a/a.png": "", "labels/a/a.txt": BOX},
    ),
    "list of photos": (
        "",
        {
            "data.yaml": "val: val.txt\nnames: [cat]",
            "val.txt": "/home/me/set/images/val/a.png\n",
            "images/val/a.png": "",
            "images/val/b.png": "",
            "labels/val/a.txt": BOX,
        },
    ),
    "list in a folder of lists": (
        "",
        {
            "data.yaml": "val: lists/val.txt\nnames: [cat]",
            "lists/val.txt": "data/images/val/a.png\n",
            "images/val/a.png": "",
            "labels/val/a.txt": BOX,
        },
    ),
    "folders of other names": (
        "",
        {"data.yaml": "val: photos\nnames: [cat]", "photos/a.png": "", "photos/labels/a.txt": BOX},
    ),
    "folders without a yaml": ("", {"images/a.png": "", "labels/a.txt": BOX, "classes.txt": "cat\ndog\n"}),
    "images folder": ("images/val", {"images/val/a.png": "", "labels/val/a.txt": BOX, "data.yaml": YAML}),
    "names in labels": ("images", {"images/a.png": "", "labels/a.txt": BOX, "labels/classes.txt": "cat\n"}),
    "texts beside photos": ("", {"a.png": "", "a.txt": BOX, "classes.txt": "cat\n"}),
    "exports of CVAT": ("", {"obj_train_data/a.png": "", "obj_train_data/a.txt": BOX, "obj.names": "cat\n"}),
    "COCO's yaml without COCO's JSON": ("", {"coco.yaml": YAML, "images/val/a.png": "", "labels/val/a.txt": BOX}),
}


@pytest.mark.parametrize(("data", "files"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_are_read(write: Callable[..., Path], data: str, files: dict[str, str]) -> None:
    images = open_image_set(write(**files) / data)
    assert (images.kind, ids(images)) == ("yolo", ["a.png#cat"])
    assert next(iter(images)).region.sum() == 4


@pytest.mark.parametrize(
    ("splits", "read"),
    [
        (("train", "val", "test"), "val"),
        (("train", "test"), "test"),
        (("train", "valid"), "valid"),
        (("train",), "train"),
    ],
)
@pytest.mark.parametrize("layout", ["images/{}", "{}/images"])
def test_one_of_several_splits_is_read_and_said(
    write: Callable[..., Path], splits: tuple[str, ...], read: str, layout: str
) -> None:
    files = {}
    for split in splits:
        folder = layout.format(split)
        files |= {f"{folder}/{split}.png": "", f"{folder.replace('images', 'labels')}/{split}.txt": BOX}
    images = open_image_set(write(**files))
    assert ids(images) == [f"{read}.png#0"]
    said = [note for note in images.notes if "of its splits" in note]
    assert bool(said) == (len(splits) > 1)
    assert all(f"'{layout.format(read)}' is read; to read another (" in note for note in said)
    other = layout.format(splits[0])
    assert ids(open_image_set(write() / other)) == [f"{splits[0]}.png#0"]


def test_names_from_above_the_folder_are_said(write: Callable[..., Path]) -> None:
    folder = write(**{"images/val/a.png": "", "labels/val/a.txt": BOX, "data.yaml": YAML})
    assert open_image_set(folder).notes == ()
    (note,) = open_image_set(folder / "images" / "val").notes
    assert note == f"val: the names of the classes are those of '{folder / 'data.yaml'}'"


def test_absent_and_equal_splits_of_data_yaml_are_said(write: Callable[..., Path]) -> None:
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat]\n"
    folder = write(**{"train/images/a.png": "", "train/labels/a.txt": BOX, "data.yaml": yaml})
    (note,) = open_image_set(folder).notes
    assert "val '../valid/images', test '../test/images' of data.yaml are not there; train is read" in note
    folder = write(**{"images/a.png": "", "labels/a.txt": BOX, "data.yaml": yaml.replace("test", "other")})
    (folder / "train" / "images" / "a.png").unlink()
    (folder / "train" / "images").rmdir()
    assert "val and train of data.yaml are the same place here, 'images'" in " ".join(open_image_set(folder).notes)


def test_polygons_of_equally_many_corners_may_be_keypoints(write: Callable[..., Path]) -> None:
    line = "0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6 0.5 0.6\n"
    photos = {f"{name}.{end}": line if end == "txt" else "" for name in "abc" for end in ("png", "txt")}
    notes = open_image_set(write(**photos, **{"classes.txt": "cat\n"}), "yolo").notes
    assert "all of its 3 polygons have 5 corners; if the lines are boxes with keypoints, data.yaml must say kpt_" in (
        " ".join(notes)
    )


def test_photos_without_objects_are_counted(write: Callable[..., Path]) -> None:
    files = {f"images/{name}.png": "" for name in "abcd"}
    labels = {"labels/a.txt": BOX, "labels/b.txt": "\n", "labels/c.txt": "7 0.5 0.5 0.1 0.1\n", "labels/z.txt": BOX}
    images = open_image_set(write(**files, **labels, **{"classes.txt": "cat\ndog\n"}))
    assert ids(images) == ["a.png#cat"]
    notes = " ".join(images.notes)
    assert "left out: 1 photos without a label file (the first: d.png)" in notes
    assert "left out: 1 photos without an object (empty label files) (the first: b.png)" in notes
    assert "left out: 1 objects of classes that have no name (the first: labels/c.txt line 1, class 7)" in notes
    assert "left out: 1 label files without a photo (the first: labels/z.txt)" in notes


def test_numbers_are_the_classes_without_names(write: Callable[..., Path]) -> None:
    images = open_image_set(write(**{"a.png": "", "a.txt": BOX.replace("0", "1", 1)}))
    assert "no data.yaml, classes.txt or *.names, so the classes are called by their numbers" in images.notes[0]
    assert match_classes(images, None, 2, require_labels=True).images.entries[0].class_index == 1


PROBLEMS = {
    "0 0.5 0.5 0.2": "3 numbers follow the class; a line is: class x-center y-center width height, or",
    "0 0.5 0.5 0.2 0.2 0.9": "5 numbers follow the class (a prediction with its confidence is no label)",
    "0 0.5 0.5 x 0.2": "'x' is not a number",
    "0 0.5 0.5 1_0 0.2": "'1_0' is not a number",
    "0 0.5 0.5 nan 0.2": "box (0.5, 0.5, nan, 0.2) is not four finite numbers",
    "0 0.5 0.5 inf 0.2": "box (0.5, 0.5, inf, 0.2) is not four finite numbers",
    "0 0.5 0.5 -0.2 0.2": "box (0.5, 0.5, -0.2, 0.2) has no area (center and size)",
    "0 0.9 0.5 0.3 0.2": "box (0.75, 0.4, 1.05, 0.6), in fractions, reaches outside the photo",
    "0 0 0 1.2 0 0.5 0.5": "a polygon's corner at 1.2, in fractions, reaches outside the photo",
    "0 0 0 nan 0 0.5 0.5": "a polygon's corners are not finite numbers",
    "0 0.1 0.1 0.5 0.1 0.9 0.1": "the polygon has no area",
    "0 120 80 40 30": "in fractions, reaches outside the photo",
}


@pytest.mark.parametrize(("line", "reason"), PROBLEMS.items())
def test_object_that_cannot_be_used_is_the_reason(write: Callable[..., Path], line: str, reason: str) -> None:
    images = open_image_set(write(**{"a.png": "", "a.txt": f"{line}\n1 0.5 0.5 0.2 0.5\n"}), "yolo")
    first, second = images.entries
    assert reason in first.problem
    assert first.problem.startswith("a.txt line 1: ")
    with pytest.raises(ImageError):
        images.read(first)
    assert second.problem == ""


def test_rounding_beyond_the_frame_is_clipped(write: Callable[..., Path]) -> None:
    (image,) = open_image_set(write(**{"a.png": "", "a.txt": "0 0.5 0.5 1.004 1\n0 0 0 1.009 0 1 1 -0.009 1\n"}))
    assert image.boxes.tolist() == [[0, 0, 6, 4], [0, 0, 6, 4]]


def test_keypoints_behind_a_box_are_passed_over(write: Callable[..., Path]) -> None:
    yaml = "val: images\nnames: [cat]\nkpt_shape: [2, 2]\n"
    lines = f"{BOX.strip()} 0.1 0.1 0.2 0.2\n"
    folder = write(**{"data.yaml": yaml, "images/a.png": "", "labels/a.txt": lines, "images/b.png": ""})
    (image,) = open_image_set(folder)
    assert (image.exact, int(image.region.sum())) == (False, 4)
    (folder / "labels" / "b.txt").write_text("0 0 0 1 0 1 1\n")
    assert (
        "6 numbers follow the class; kpt_shape says 4 and 4 of keypoints" in open_image_set(folder).entries[1].problem
    )


@pytest.mark.parametrize("points", ["0.1 0.1 1 0.2 0.2 1", "0.1 0.1 2 0 0 0", "0.3 0.4 0 0.2 0.2 1 0.1 0.3 2 0 0 0"])
def test_keypoints_are_no_corners_of_a_polygon(write: Callable[..., Path], points: str) -> None:
    (entry,) = open_image_set(write(**{"a.png": "", "a.txt": f"0 0.25 0.25 0.5 0.5 {points}\n"}), "yolo").entries
    count = 4 + len(points.split())
    assert f"{count} numbers follow the class: those of a box and of keypoints" in entry.problem
    assert "kpt_shape" in entry.problem


@pytest.mark.parametrize("line", ["0.5 1 1 1 1 0 0 0 0 1", "1 1 1 0 0 0 0 1 0.5 1", "0.5 0.5 1 1 0 1 0 0"])
def test_corners_on_the_frame_are_no_keypoints(write: Callable[..., Path], line: str) -> None:
    (entry,) = open_image_set(write(**{"a.png": "", "a.txt": f"0 {line}\n"}), "yolo").entries
    assert entry.problem == ""


def test_photos_of_one_stem_are_not_scored(write: Callable[..., Path]) -> None:
    images = open_image_set(write(**{"a.png": "", "a.jpg": "", "a.txt": BOX}))
    assert [entry.problem for entry in images.entries] == [
        "'a.txt' is for several photos of this name; rename them"
    ] * 2


def test_missing_photos_of_a_list_are_counted(write: Callable[..., Path]) -> None:
    yaml = "val: val.txt\nnames: [cat]\n"
    photos = {"images/a.png": "", "labels/a.txt": BOX, "labels/gone.txt": BOX}
    images = open_image_set(write(**photos, **{"data.yaml": yaml, "val.txt": "./images/a.png\n./images/gone.png\n"}))
    assert [entry.problem for entry in images.entries] == ["", "file is missing"]
    assert "1 of 2 photos are missing; searched '" in images.notes[-1]
    (write() / "val.txt").write_text("images/a.png\nimages/a.png\n")
    with pytest.raises(DataError, match=r"val\.txt photo 2: 'images/a\.png' is listed twice; keep one"):
        open_image_set(write())


WRONG = {
    "class": ("labels/a.txt", b"cat 0.5 0.5 0.2 0.2", "labels/a.txt line 1: class 'cat' is not a whole number from 0"),
    "negative class": ("labels/a.txt", b"-1 0.5 0.5 0.2 0.2", "class '-1' is not a whole number from 0"),
    "fraction of a class": ("labels/a.txt", b"0.5 0.5 0.5 0.2 0.2", "class '0.5' is not a whole number from 0"),
    "commas": ("labels/a.txt", b"0,0.5,0.5,0.2,0.2", "class '0,0.5,0.5,0.2,0.2' is not a whole number from 0"),
    "encoding": ("labels/a.txt", "0 0.5".encode("utf-16"), "a.txt is not UTF-8 text (byte 0); save it as UTF-8"),
    "null bytes": ("labels/a.txt", b"0 \0", "a.txt is not UTF-8 text: it has null bytes"),
    "long line": ("labels/a.txt", b"0 " + b"9" * 10**7, "more than 4,194,304 bytes, too many for a photo's label file"),
    "nc": ("data.yaml", b"val: images\nnames: [cat]\nnc: 3", "nc is 3, but names has 1; correct one of them"),
    "no names": ("data.yaml", b"val: images\nnames:\n", "the names of the classes are missing; needed: names"),
    "name twice": ("data.yaml", b"val: images\nnames: [cat, cat]", "two classes have the name 'cat'; rename one"),
    "key twice": ("data.yaml", b"val: images\nnames:\n  0: cat\n  0: dog", "'0' is there twice; keep one"),
    "odd key": ("data.yaml", b"val: images\nnames: {cat: 0}", "the class number 'cat' is not a whole number from 0"),
    "no text": ("data.yaml", b"val: images\nnames: [[a]]", "the name 'a list' of class 0 is not allowed"),
    "aliases": ("data.yaml", b"a: &a [1]\nval: images\nnames: [*a, *a]", "aliases (*) are not allowed"),
    "path": ("data.yaml", b"path: [a]\nval: images\nnames: [cat]", "path is a list; write the path of a folder"),
    "split": ("data.yaml", b"val: [[a]]\nnames: [cat]", "val is 'a list'; write the path of a folder or list"),
    "kpt_shape": (
        "data.yaml",
        b"kpt_shape: 3\nval: images\nnames: [cat]",
        "kpt_shape is 3; write [number of keypoints",
    ),
    "large yaml": (
        "data.yaml",
        b"val: images\nnames: [" + b"a" * 10**7,
        "more than 262,144 bytes, too many for data.yaml",
    ),
    "deep yaml": ("data.yaml", b"val: images\nnames: " + b"[" * 10000, "data.yaml is not valid YAML: "),
    "open yaml": ("data.yaml", b"val: images\nnames: [cat", "data.yaml is not valid YAML: "),
    "blank name": ("classes.txt", b"cat\n\ndog\n", "classes.txt line 2 is empty; write the name of one class a line"),
    "no classes": ("classes.txt", b"\n", "classes.txt is empty; write the name of one class a line, class 0 first"),
    "name in latin-1": ("classes.txt", "kätzchen".encode("latin-1"), "classes.txt is not UTF-8 text"),
}


@pytest.mark.parametrize(("file", "data", "message"), WRONG.values(), ids=WRONG)
def test_wrong_file_is_refused_with_its_name(write: Callable[..., Path], file: str, data: bytes, message: str) -> None:
    folder = write(**{"images/a.png": "", "labels/a.txt": BOX})
    (folder / file).write_bytes(data)
    with pytest.raises(DataError) as caught:
        open_image_set(folder, "yolo")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_photos_elsewhere_are_never_named(write: Callable[..., Path], tmp_path: Path) -> None:
    inside = {"set/data.yaml": "val: ../secret\nnames: [cat]", "secret/a.png": "", "secret/a.txt": BOX}
    folder = write(**inside) / "set"
    with pytest.raises(DataError, match=r"its photos are not in its folder \(val '../secret'\); move it beside them"):
        open_image_set(folder)
    (folder / "data.yaml").write_text("val: list.txt\nnames: [cat]")
    (folder / "list.txt").write_text(f"{tmp_path}/secret/a.png\n")
    with pytest.raises(DataError, match="and no label file of any"):
        open_image_set(folder)


def test_several_yaml_files_are_refused(write: Callable[..., Path]) -> None:
    folder = write(**{"a.yaml": YAML, "b.yaml": YAML, "images/val/a.png": "", "labels/val/a.txt": BOX})
    with pytest.raises(DataError, match=r"has several files like data\.yaml: .*a\.yaml, .*b\.yaml; name one"):
        open_image_set(folder)
    assert ids(open_image_set(folder / "b.yaml")) == ["a.png#cat"]


COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}],
    }
)
OTHERS = {
    "COCO with a yaml": (
        "coco",
        {"annotations/x.json": COCO, "data.yaml": YAML, "images/val/a.png": "", "labels/val/a.txt": BOX},
    ),
    "masks with labels": ("masks", {"images/cat/a.png": "", "masks/cat/a.png": "", "labels/cat/a.txt": BOX}),
    "class folders with texts": ("folder", {"cat/a.png": "", "cat/a.txt": BOX, "dog/b.png": "", "dog/b.txt": BOX}),
    "class folders with a yaml": ("folder", {"cat/a.png": "", "dog/b.png": "", "data.yaml": YAML}),
    "class folders of another task": ("folder", {"cat/a.png": "", "settings.yaml": "names: [cat]\n"}),
}


@pytest.mark.parametrize(("kind", "files"), OTHERS.values(), ids=OTHERS)
def test_files_of_other_formats_stay_theirs(write: Callable[..., Path], kind: str, files: dict[str, str]) -> None:
    assert open_image_set(write(**files)).kind == kind


@pytest.mark.parametrize("names", [("train2017", "val2017", "test2017"), ("training_set", "val_set")])
def test_splits_with_more_in_their_names_are_known(write: Callable[..., Path], names: tuple[str, ...]) -> None:
    files = {}
    for name in names:
        files |= {f"images/{name}/{name}.png": "", f"labels/{name}/{name}.txt": BOX}
    assert ids(open_image_set(write(**files))) == [f"{names[1]}.png#0"]


def test_a_loose_picture_does_not_mix_the_splits(write: Callable[..., Path]) -> None:
    files = {"results.png": ""}
    for split in ("train", "valid"):
        files |= {f"{split}/images/{split}.png": "", f"{split}/labels/{split}.txt": BOX}
    images = open_image_set(write(**files))
    assert ids(images) == ["valid.png#0"]
    assert any("of its splits" in note for note in images.notes)


def test_classes_txt_is_read_before_other_lists(write: Callable[..., Path]) -> None:
    files = {"a_classes.txt": "wrong\nother\n", "classes.txt": "cat\ndog\n", "a.png": "", "a.txt": BOX}
    assert ids(open_image_set(write(**files))) == ["a.png#cat"]
