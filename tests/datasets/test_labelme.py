"""LabelMe's JSON files: shapes on known pixels, where photos are found, files that are wrong."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import DataError
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set

Save = Callable[[str, np.ndarray], Path]
Write = Callable[..., Path]
SQUARE = [[1, 1], [3, 1], [3, 3], [1, 3]]


def shape(label: str = "cat", points: Any = SQUARE, kind: Any = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


@pytest.fixture
def write(tmp_path: Path, photo: np.ndarray, save: Save) -> Write:
    """Write a photo of 4 x 6 pixels, and a JSON file of shapes as LabelMe does."""

    def write(*shapes: Any, name: str = "a", photo_name: str = "a.png", **document: Any) -> Path:
        if photo_name:
            save(photo_name, photo)
        whole = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None}
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(whole | {"imageHeight": 4, "imageWidth": 6} | document))
        return tmp_path

    return write


def png(values: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(np.asarray(values, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def ids(images: ImageSet) -> list[str]:
    return [entry.id for entry in images.entries]


SHAPES = {
    "polygon": (shape(), True, [(1, 1), (1, 2), (2, 1), (2, 2)]),
    "polygon of old versions": (shape(kind=None), True, [(1, 1), (1, 2), (2, 1), (2, 2)]),
    "polygon that reaches outside": (
        shape(points=[[4, 2], [8, 2], [8, 9], [4, 9]]),
        True,
        [(2, 4), (2, 5), (3, 4), (3, 5)],
    ),
    "rectangle": (shape(points=[[1, 1], [3, 2]], kind="rectangle"), False, [(1, 1), (1, 2)]),
    "rectangle from below": (shape(points=[[3, 2], [1, 1]], kind="rectangle"), False, [(1, 1), (1, 2)]),
    "rectangle of four": (shape(points=SQUARE, kind="rectangle"), False, [(1, 1), (1, 2), (2, 1), (2, 2)]),
    "rectangle rounded": (shape(points=[[-0.5, 3], [2, 4.4]], kind="rectangle"), False, [(3, 0), (3, 1)]),
    "oriented box": (shape(kind="rotation"), True, [(1, 1), (1, 2), (2, 1), (2, 2)]),
    "mask": (
        shape(points=[[3, 1], [5, 2]], kind="mask", mask=png([[1, 0, 1], [0, 1, 0]])),
        True,
        [(1, 3), (1, 5), (2, 4)],
    ),
}


@pytest.mark.parametrize(("given", "exact", "pixels"), SHAPES.values(), ids=SHAPES)
def test_shapes_are_drawn(write: Write, given: dict[str, Any], exact: bool, pixels: list[tuple[int, int]]) -> None:
    images = open_image_set(write(given))
    assert (images.kind, ids(images)) == ("labelme", ["a.png#cat"])
    (image,) = images
    assert image.exact is exact
    assert list(map(tuple, np.argwhere(image.region).tolist())) == pixels


def test_circle_is_drawn_as_far_as_its_rim(tmp_path: Path, save: Save) -> None:
    save("a.png", np.zeros((60, 80, 3), np.uint8))
    text = json.dumps({"shapes": [shape(points=[[40, 30], [52, 46]], kind="circle")], "imagePath": "a.png"})
    (tmp_path / "a.json").write_text(text)
    (image,) = open_image_set(tmp_path / "a.json")
    rows, columns = np.mgrid[:60, :80] + 0.5
    distance = np.hypot(rows - 30, columns - 40)
    assert image.region[distance < 19].all()
    assert not image.region[distance > 21].any()


def test_labels_of_a_photo_are_images_of_their_own(write: Write) -> None:
    box = shape("dog", [[0, 0], [2, 1]], "rectangle")
    images = open_image_set(write(shape(), box, shape("dog"), shape("_background_"), shape("bird", [[1, 1]], "point")))
    assert ids(images) == ["a.png#cat", "a.png#dog", "a.png#bird"]
    cat, dog, bird = images
    assert cat.exact
    assert (dog.exact, dog.boxes.tolist()) == (False, [[0, 0, 2, 1], [1, 1, 3, 3]])
    assert bird.region is None
    notes = " ".join(images.notes)
    assert "left out: 1 shapes labelled _background_ (the first: a.json shape 4)" in notes
    assert (
        "left out: 1 shapes that enclose nothing (point, points, line, linestrip) (the first: a.json shape 5)" in notes
    )


def test_ignored_shapes_are_ignored_pixels(write: Write) -> None:
    (image,) = open_image_set(write(shape(), shape("__ignore__", [[0, 0], [3, 3]], "rectangle")))
    assert (int(image.region.sum()), int(image.ignore.sum())) == (4, 5)


def test_flags_are_classes_only_without_shapes(write: Write) -> None:
    folder = write(flags={"cat": True, "blurred": False})
    images = open_image_set(folder)
    assert ids(images) == ["a.png#cat"]
    assert next(iter(images)).region is None
    assert "no file has a shape, so the flags that are true are the classes: 'cat'" in images.notes[0]
    write(shape("dog"), name="b", photo_name="b.png", imagePath="b.png")
    images = open_image_set(folder)
    assert ids(images) == ["b.png#dog"]
    assert "the flags 'cat' are not read, because files have shapes" in images.notes[0]
    assert "left out: 1 files without a shape (the first: a.json)" in images.notes[1]


@pytest.mark.parametrize(
    ("name", "photo_name", "image_path"),
    [
        ("a", "a.png", ""),
        ("labels", "a.png", "a.png"),
        ("annotations/a", "images/a.png", "..\\images\\a.png"),
        ("annotations/a", "images/a.png", "C:\\me\\a.png"),
        ("json/a", "a.png", "../a.png"),
        ("sub/a", "sub/a.png", "a.png"),
    ],
)
def test_photos_are_found(write: Write, tmp_path: Path, name: str, photo_name: str, image_path: str) -> None:
    folder = write(shape(), name=name, photo_name=photo_name, imagePath=image_path)
    images = open_image_set(folder, "labelme" if name == "sub/a" else None)
    assert [(entry.path, entry.problem) for entry in images.entries] == [(tmp_path / photo_name, "")]


def test_photos_inside_the_files_are_said(write: Write) -> None:
    images = open_image_set(write(shape(), photo_name="", imageData=png([[0]])))
    assert [entry.problem for entry in images.entries] == ["file is missing"]
    assert (
        "1 of the missing photos are inside their JSON files (imageData), where they are not read" in images.notes[-1]
    )


PROBLEMS = {
    "two corners": (shape(points=[[0, 0], [1, 1]]), "a polygon is not a list of x, y, x, y ... with three corners or"),
    "not numbers": (shape(points=[["a", 1]]), "points [['a', 1]] are not a list of [x, y] in pixels"),
    "NaN": (shape(points=[[float("nan"), 1]]), "points [[nan, 1]] are not a list of [x, y] in pixels"),
    "infinite": (shape(points=[[float("inf"), 1]]), "are not a list of [x, y] in pixels"),
    "no points": (shape(points=[]), "points [] are not a list of [x, y] in pixels"),
    "three numbers": (shape(points=[[1, 2, 3]]), "are not a list of [x, y] in pixels"),
    "flat rectangle": (shape(points=[[1, 1], [1, 3]], kind="rectangle"), "has no area"),
    "one corner": (
        shape(points=[[1, 1]], kind="rectangle"),
        "a rectangle has 1 points; two opposite corners are needed",
    ),
    "outside": (shape(points=[[1, 1], [9, 3]], kind="rectangle"), "reaches outside the photo of 6 x 4"),
    "polygon outside": (shape(points=[[7, 1], [9, 1], [9, 3]]), "has no area"),
    "polygon far outside": (shape(points=[[7, 1], [1e6, 1], [9, 3]]), "a polygon's corner lies far outside the photo"),
    "circle of one point": (shape(points=[[1, 1]], kind="circle"), "a circle has 1 points; its center and a point on"),
    "circle of radius 0": (shape(points=[[1, 1], [1, 1]], kind="circle"), "a circle has radius 0"),
    "unknown type": (
        shape(kind="cube"),
        "shape_type 'cube' is not read; allowed: polygon, rectangle, rotation, circle",
    ),
    "type of another type": (shape(kind=["x"]), "is not read; allowed: polygon"),
    "mask of another size": (
        shape(points=[[0, 0], [1, 1]], kind="mask", mask=png([[1]])),
        "are 1 x 1, its corners say 2 x 2",
    ),
    "mask outside": (
        shape(points=[[0, 0], [6, 1]], kind="mask", mask=png([[1]])),
        "from (0, 0) to (6, 1) is not inside",
    ),
    "mask without pixels": (
        shape(points=[[0, 0], [1, 1]], kind="mask"),
        "the pixels of a mask are not a PNG in base64",
    ),
    "damaged mask": (shape(points=[[0, 0], [1, 1]], kind="mask", mask="iVBORw0KGgo="), "a mask cannot be used"),
    "mask without base64": (shape(points=[[0, 0], [1, 1]], kind="mask", mask="?"), "a mask cannot be used"),
    "empty mask": (shape(points=[[0, 0], [0, 0]], kind="mask", mask=png([[0]])), "a mask is empty"),
}


@pytest.mark.parametrize(("given", "reason"), PROBLEMS.values(), ids=PROBLEMS)
def test_shape_that_cannot_be_used_is_the_reason(write: Write, given: dict[str, Any], reason: str) -> None:
    first, second = open_image_set(write(given, shape("dog"))).entries
    assert first.problem.startswith("a.json shape 1: ")
    assert reason in first.problem
    assert second.problem == ""


def test_wrong_size_is_the_reason(write: Write) -> None:
    (entry,) = open_image_set(write(shape(), imageHeight="4")).entries
    assert "imageHeight x imageWidth is 4 x 6; whole numbers of pixels, 1..1048576, are needed" in entry.problem


WRONG = {
    "not JSON": (b'{"shapes": [', "a.json line 1 is not valid JSON: "),
    "empty": (b"", "a.json line 1 is not valid JSON: "),
    "deep": (b'{"shapes": ' + b"[" * 10**5, "a.json is not valid JSON: maximum recursion depth"),
    "encoding": (b'{"shapes": [\xff]}', "a.json is not valid JSON: 'utf-8' codec"),
    "long number": (b'{"shapes": [' + b"9" * 10**7 + b"]}", "a.json is not valid JSON: Exceeds the limit"),
    "list": (b"[]", "a.json has no shapes; needed: LabelMe's object with shapes and imagePath"),
    "shapes": (b'{"shapes": {}}', "a.json: shapes is a dict; needed: LabelMe's object"),
    "shape": (b'{"shapes": [3]}', "a.json shape 1 is a int; an object is needed"),
    "no label": (b'{"shapes": [{}]}', "a.json shape 1: label 'None' is not allowed; write the name of the class"),
    "label": (b'{"shapes": [{"label": "a\\u001b"}]}', "shape 1: label 'a\\\\x1b' is not allowed"),
    "flags": (b'{"shapes": [], "flags": 3}', "a.json: flags is a int; an object of names with true or false"),
    "path": (b'{"shapes": [], "imagePath": ["x"]}', "the photo's file name is ['x']; give a path below"),
    "nothing": (
        b'{"shapes": []}',
        "has no shape and no flag that can be used: a.json: left out: 1 files without a flag",
    ),
}


@pytest.mark.parametrize(("data", "message"), WRONG.values(), ids=WRONG)
def test_wrong_file_is_refused_with_its_name(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(DataError) as caught:
        open_image_set(tmp_path / "a.json", "labelme")
    assert message in str(caught.value)


def test_two_files_of_one_photo_are_refused(write: Write) -> None:
    write(shape())
    with pytest.raises(DataError, match=r"b\.json and a\.json name the same photo and class; keep one of them"):
        open_image_set(write(shape(), name="b"))


def test_other_json_files_are_counted(write: Write) -> None:
    folder = write(shape())
    (folder / "settings.json").write_text("{}")
    assert "left out: 1 JSON files without shapes, which are not LabelMe's" in " ".join(open_image_set(folder).notes)


def test_files_in_class_folders_are_said(write: Write) -> None:
    folder = write(shape(), name="cat/a", photo_name="cat/a.png")
    images = open_image_set(folder)
    assert (images.kind, ids(images)) == ("folder", ["cat/a.png"])
    assert "LabelMe files are beside the photos ('a.json') and not read; --data-format labelme" in images.notes[0]


def test_photos_of_one_file_name_are_not_taken_for_one(write: Write) -> None:
    write(shape("cat"), name="x", imagePath="..\\a\\a.png")
    images = open_image_set(write(shape("dog"), name="y", imagePath="..\\b\\a.png"))
    (problem,) = {entry.problem for entry in images.entries}
    assert problem.startswith("imagePath '../a/a.png' of one file and '../b/a.png' of another have the same file name")


def test_hidden_folders_are_not_read(write: Write) -> None:
    assert ids(open_image_set(write(shape(), name=".checkpoints/b") and write(shape()))) == ["a.png#cat"]
