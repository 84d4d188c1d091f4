from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.coco import read_coco

Save = Callable[[str, np.ndarray], Path]
Write = Callable[..., Path]
HEIGHT, WIDTH = 30, 40


@pytest.fixture
def write(tmp_path: Path, save: Save) -> Write:
    """Write val.json over one photo a.png of 40 x 30, with categories 3 = cat and 7 = dog."""

    def make(*annotations: dict[str, Any], **changed: Any) -> Path:
        save("a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        document = {
            "images": [{"id": 5, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
            "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
            "annotations": [
                {"id": number, "image_id": 5, "category_id": 3, "iscrowd": 0, **one}
                for number, one in enumerate(annotations)
            ],
            **changed,
        }
        path = tmp_path / "val.json"
        path.write_text(json.dumps(document))
        return path

    return make


def boxed(x: float, y: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    return {"bbox": [x, y, width, height], **more}


def drawn(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def runs_of(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def plain_runs_of(mask: np.ndarray) -> dict[str, Any]:
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], ends, [mask.size]])).tolist()
    return {"size": list(mask.shape), "counts": [int(count) for count in counts]}


def reason(path: Path, number: int = 0) -> str:
    images = read_coco(path)
    with pytest.raises(ImageError) as caught:
        images.read(images.entries[number])
    return str(caught.value)


def test_each_photo_and_category_is_an_entry(write: Write) -> None:
    images = read_coco(write(boxed(1, 2, 3, 4), boxed(5, 6, 7, 8, category_id=7), boxed(9, 9, 2, 2)))
    assert [(entry.id, entry.label, entry.class_index) for entry in images.entries] == [
        ("a.png#cat", "cat", None),
        ("a.png#dog", "dog", None),
    ]
    assert images.entries[0].boxes == ((1, 2, 4, 6), (9, 9, 11, 11))
    assert (images.name, images.kind, images.class_names) == ("val.json", "coco", ("cat", "dog"))
    first = images.read(images.entries[0])
    assert np.array_equal(first.region, drawn(1, 2, 4, 6) | drawn(9, 9, 11, 11))
    assert (first.exact, first.ignore) == (False, None)


@pytest.mark.parametrize("encode", [runs_of, plain_runs_of])
def test_run_length_encodings_round_trip(write: Write, encode: Callable[..., dict[str, Any]]) -> None:
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.4
    (image,) = read_coco(write({"segmentation": encode(mask)}))
    assert image.exact
    assert np.array_equal(image.region, mask)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools against a newer NumPy
def test_outlines_equal_pycocotools(write: Write) -> None:
    rng = np.random.default_rng(1)
    annotations = [
        {"segmentation": [(rng.random(2 * corners) * np.tile([WIDTH, HEIGHT], corners)).round(2).tolist()], "area": 1}
        for corners in (3, 4, 5, 9)
    ]
    annotations.append({"segmentation": runs_of(drawn(3, 3, 9, 7)), "area": 1})
    path = write(*annotations)
    theirs = COCO(str(path))
    expected = np.logical_or.reduce([theirs.annToMask(one) for one in theirs.anns.values()])
    (image,) = read_coco(path)
    assert np.array_equal(image.region, expected)
    assert image.boxes.shape == (5, 4)


def test_polygons_are_close_to_opencv(write: Write) -> None:
    corners = np.array([[5, 4], [33, 8], [25, 26], [9, 22]])
    filled = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [corners], 1).astype(bool)
    (image,) = read_coco(write({"segmentation": [corners.ravel().tolist()]}))
    apart = image.region != filled
    # OpenCV fills its outline, COCO ends at it: they differ on the border alone.
    border = cv2.dilate(filled.astype(np.uint8), np.ones((3, 3))) != cv2.erode(filled.astype(np.uint8), np.ones((3, 3)))
    assert not (apart & ~border).any()
    assert image.region.sum() > 300


def test_crowds_are_ignored_outside_the_region(write: Write) -> None:
    images = read_coco(
        write(
            boxed(10, 10, 5, 5),
            {"segmentation": runs_of(drawn(12, 12, 30, 20)), "iscrowd": 1},
            boxed(0, 0, 2, 2, iscrowd=1),
        )
    )
    image = images.read(images.entries[0])
    assert np.array_equal(image.region, drawn(10, 10, 15, 15))
    assert np.array_equal(image.ignore, (drawn(12, 12, 30, 20) | drawn(0, 0, 2, 2)) & ~drawn(10, 10, 15, 15))


def test_category_with_only_crowds_has_no_entry(write: Write) -> None:
    images = read_coco(write(boxed(1, 1, 2, 2), boxed(5, 5, 9, 9, category_id=7, iscrowd=1)))
    assert [entry.id for entry in images.entries] == ["a.png#cat"]
    assert images.read(images.entries[0]).ignore is None
    note = "val.json: left out: 1 categories that have only crowds in a photo (the first: annotation 1)"
    assert images.notes == (note,)


def test_category_with_outlines_and_boxes_uses_boxes(write: Write) -> None:
    images = read_coco(write({"segmentation": [[2, 2, 8, 2, 8, 6]]}, boxed(20, 20, 3, 3)))
    assert images.entries[0].boxes == ((2, 2, 8, 6), (20, 20, 23, 23))
    assert not images.read(images.entries[0]).exact
    path = write({"segmentation": runs_of(drawn(1, 1, 3, 3))}, boxed(20, 20, 3, 3))
    assert "some objects have only a bbox, others only a run-length encoding" in reason(path)


def test_outlines_are_decoded_when_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError

    path = write({"segmentation": runs_of(drawn(1, 1, 3, 3))})
    monkeypatch.setattr("evalkit.datasets.files.decode_photo", forbidden)
    monkeypatch.setattr("evalkit.datasets.files.decode_segment", forbidden)
    assert len(read_coco(path)) == 1


@pytest.mark.parametrize("layout", ["a.png", "images/a.png", "val/a.png", "../val/a.png", "../images/val/a.png"])
def test_photos_are_found_in_cocos_layout(write: Write, tmp_path: Path, save: Save, layout: str) -> None:
    text = write(boxed(1, 2, 3, 4)).read_bytes()
    (tmp_path / "a.png").unlink()
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "instances_val.json"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(b", ", b",\r\n"))
    file = save(f"annotations/{layout}" if not layout.startswith("..") else layout[3:], np.zeros((30, 40, 3), np.uint8))
    images = open_image_set(path)
    assert images.entries[0].path == file
    assert not images.entries[0].problem


BAD_ENTRIES = [
    (boxed(1, 2, 0, 4), "val.json annotation 0: box (1, 2, 1, 6) has no area"),
    (boxed(1, 2, -3, 4), "val.json annotation 0: box (1, 2, -2, 6) has no area"),
    (boxed(float("nan"), 2, 3, 4), "val.json annotation 0: bbox [nan, 2, 3, 4] is not x, y, width, height in pixels"),
    ({"bbox": [1, 2, 3]}, "bbox [1, 2, 3] is not x, y, width, height in pixels"),
    (boxed(30, 2, 30, 4), "box (30, 2, 60, 6) reaches outside the photo of 40 x 30"),
    ({}, "val.json annotation 0: neither a segmentation nor a bbox"),
    ({"segmentation": [[1, 2, 3, 4]]}, "a polygon is not a list of x, y, x, y ... with three corners or more"),
    ({"segmentation": [[1, 2, 3, float("nan"), 5, 6]]}, "a polygon's corner is nan; allowed: pixels"),
    ({"segmentation": [[1, 2, 3, 1e9, 5, 6]]}, "a polygon's corner lies far outside the photo"),
    ({"segmentation": "x"}, "the segmentation is str, not a list"),
    (
        {"segmentation": {"size": [40, 30], "counts": [1200]}},
        "the run-length encoding is 30 x 40, the photo 40 x 30 (width x height)",
    ),
    ({"segmentation": {"size": [30, 40], "counts": [1, 2]}}, "covers 3 pixels, the photo of 40 x 30 has 1200"),
    ({"segmentation": {"size": [30, 40], "counts": "~~~"}}, "the run-length encoding's counts are damaged"),
    ({"segmentation": {"size": [30, 40], "counts": "P"}}, "the run-length encoding's counts end too early"),
    ({"segmentation": {"size": [30, 40], "counts": [1300, -100]}}, "counts are not whole numbers of 0 or more"),
    ({"segmentation": {"size": [30, 40]}}, "the run-length encoding has no counts"),
    ({"segmentation": {"size": [30], "counts": ""}}, "the run-length encoding has size [30]"),
    ({"segmentation": {"size": [30, 40], "counts": [1200]}}, "mask is empty"),
    (boxed(1, 2, 3, 4, iscrowd="yes"), "iscrowd 'yes' is not allowed; write 0 or 1"),
]


@pytest.mark.parametrize(("annotation", "message"), BAD_ENTRIES, ids=[message for _, message in BAD_ENTRIES])
def test_unusable_annotation_is_its_entrys_problem(write: Write, annotation: dict[str, Any], message: str) -> None:
    path = write(annotation, boxed(1, 2, 3, 4, category_id=7))
    assert message in reason(path)
    images = read_coco(path)
    assert images.read(images.entries[1]).region.sum() == 12


def test_annotations_without_entry_are_counted(write: Write) -> None:
    images = read_coco(
        write(
            boxed(1, 1, 2, 2),
            boxed(1, 1, 2, 2, image_id=99),
            boxed(1, 1, 2, 2, image_id=[1]),
            boxed(1, 1, 2, 2, category_id=99),
            images=[
                {"id": 5, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
                {"id": 6, "file_name": "b.png"},
            ],
        )
    )
    assert images.notes == (
        "val.json: left out: 2 annotations of images that are not listed (the first: annotation 1, image_id 99)",
        "val.json: left out: 1 annotations of categories that are not listed (the first: annotation 3, category 99)",
        "val.json: left out: 1 photos without an object (the first: b.png)",
    )


def test_wrong_size_and_missing_photo_are_problems(write: Write, save: Save) -> None:
    path = write(boxed(1, 2, 3, 4))
    save("a.png", np.zeros((WIDTH, HEIGHT, 3), np.uint8))
    assert reason(path) == "the photo is 30 x 40 (width x height, upright), its annotation says 40 x 30"
    (path.parent / "a.png").unlink()
    assert reason(path) == "file is missing"


def test_rounding_pixel_beyond_the_photo_is_clipped(write: Write) -> None:
    assert read_coco(write(boxed(-0.4, 0, 40.6, 30.5))).entries[0].boxes == ((0, 0, 40, 30),)


IMAGE = {"id": 5, "file_name": "a.png"}
BAD_FILES = [
    ({"images": [IMAGE, IMAGE]}, "val.json: the image id 5 is there twice"),
    ({"images": [IMAGE, {**IMAGE, "id": 6}]}, "val.json image 6 is the same file as image 5: 'a.png'"),
    ({"images": [{"id": 5}]}, "val.json image 5: the photo's file name is None"),
    ({"images": [{"id": 5, "file_name": "\ud800"}]}, "is not valid text"),
    ({"images": [{"id": 5, "file_name": "a", "width": 0, "height": 4}]}, "val.json image 5: height x width is 4 x 0"),
    ({"images": [{"file_name": "a"}]}, "val.json images[0]: id None is not a whole number"),
    ({"images": [3]}, "val.json images[0] is a int"),
    ({"images": None}, "the list 'images' is missing"),
    ({"categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]}, "val.json category 2: another category has"),
    ({"categories": [{"id": 1, "name": ""}]}, "val.json category 1: name '' is not allowed"),
    ({"annotations": [boxed(1, 1, 2, 2, id=4), boxed(1, 1, 2, 2, id=4)]}, "the annotation id 4 is there twice"),
    ({"annotations": []}, "val.json has no annotation that can be used"),
]


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "x\\..\\..\\a.png", "C:\\a.png"])
def test_path_on_another_machine_is_searched_by_its_name(write: Write, name: str) -> None:
    path = write(boxed(1, 2, 3, 4), images=[{"id": 5, "file_name": name}])
    images = read_coco(path)
    (entry,) = images.entries
    assert (entry.path, entry.problem) == (path.parent / "a.png", "")
    assert images.notes[0].startswith("val.json: 1 photos are named by a path that is not below their folder (the fir")


@pytest.mark.parametrize(("listed", "used"), [(5, 5.0), ("5", 5), (5.0, "5"), ("5.0", "5"), ("005", "005"), ("x", "x")])
def test_ids_are_matched_as_numbers_or_texts(write: Write, listed: object, used: object) -> None:
    path = write(
        {**boxed(1, 2, 3, 4), "image_id": used, "category_id": used},
        images=[{"id": listed, "file_name": "a.png"}],
        categories=[{"id": listed, "name": "cat"}],
    )
    images = read_coco(path)
    assert [(entry.id, entry.problem) for entry in images.entries] == [("a.png#cat", "")]
    assert images.notes == ()


def test_sizes_and_crowds_may_be_floats_or_texts(write: Write) -> None:
    image = {"id": 5, "file_name": "a.png", "height": float(HEIGHT), "width": str(WIDTH)}
    images = read_coco(
        write({**boxed(1, 2, 3, 4), "iscrowd": "0"}, {**boxed(9, 9, 3, 4), "iscrowd": "1"}, images=[image])
    )
    (entry,) = images.entries
    assert (entry.size, entry.problem) == ((HEIGHT, WIDTH), "")
    assert (entry.boxes, entry.ignore.boxes) == (((1, 2, 4, 6),), ((9, 9, 12, 13),))


@pytest.mark.parametrize("used", [5.5, True, None, [5], "5.5", "05"])
def test_other_ids_are_of_no_listed_image(write: Write, used: object) -> None:
    path = write(boxed(1, 2, 3, 4), {**boxed(1, 2, 3, 4), "image_id": used})
    (note,) = read_coco(path).notes
    assert "left out: 1 annotations of images that are not listed" in note


def test_ids_that_are_the_same_number_are_refused(write: Write) -> None:
    with pytest.raises(DataError, match="image id 5 is there twice"):
        read_coco(write(boxed(1, 2, 3, 4), images=[{"id": 5, "file_name": "a.png"}, {"id": "5", "file_name": "b.png"}]))


@pytest.mark.parametrize(("changed", "message"), BAD_FILES, ids=[message for _, message in BAD_FILES])
def test_unusable_file_is_refused_with_the_id(write: Write, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_coco(write(boxed(1, 2, 3, 4), **changed))
    assert message in str(caught.value)
    assert "val.json" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1 is not valid JSON"),
        (b"{\r\n\r\n'a'}", "line 3 is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"\xff\xfe\xfa", "is not valid JSON"),
        (b"[]", "holds a list; needed: an object with the lists images, categories and annotations"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "val.json").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_coco(tmp_path / "val.json")


def test_huge_outline_is_its_entrys_problem(write: Write) -> None:
    zigzag = [corner for _ in range(50_000) for corner in (-5, -5, 11, 11)]
    assert "outline is over 64 times as long" in reason(write(boxed(1, 1, 2, 2, segmentation=[zigzag])))


def test_photos_are_found_if_only_the_last_exist(tmp_path: Path, save: Save) -> None:
    save("val2017/59.png", np.zeros((4, 6, 3), np.uint8))
    document = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(60)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [boxed(1, 1, 2, 2, id=number, image_id=number, category_id=1) for number in range(60)],
    }
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document))
    assert [entry.id for entry in read_coco(path).entries if not entry.problem] == ["59.png#cat"]


def test_error_while_drawing_names_the_outline(write: Write) -> None:
    bad = runs_of(drawn(1, 2, 3, 4)) | {"counts": [5, 5]}
    whole = runs_of(drawn(1, 2, 3, 4))
    images = read_coco(write({"segmentation": whole}, {"segmentation": bad}))
    with pytest.raises(ImageError, match="outline 2 of 2: the run-length encoding covers 10 pixels"):
        images.read(images.entries[0])
    images = read_coco(write({"segmentation": whole}, {"segmentation": bad, "iscrowd": 1}))
    with pytest.raises(ImageError, match="crowd 1 of 1: the run-length encoding covers 10 pixels"):
        images.read(images.entries[0])


def test_box_is_clipped_if_the_size_is_unknown(write: Write) -> None:
    images = read_coco(write(boxed(-1, -0.5, WIDTH + 2, HEIGHT), images=[{"id": 5, "file_name": "a.png"}]))
    (cat,) = images
    assert cat.boxes.tolist() == [[0, 0, WIDTH, HEIGHT - 0.5]]


def test_control_character_in_file_name_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"val.json image 5: .* 'a\\x1b.png' is not valid text"):
        read_coco(write(boxed(1, 2, 3, 4), images=[{"id": 5, "file_name": "a\x1b.png"}]))


def test_folder_with_one_annotation_file_is_opened(write: Write, tmp_path: Path) -> None:
    document = write(boxed(1, 2, 3, 4)).read_text()
    (tmp_path / "val.json").unlink()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(document)
    assert (open_image_set(tmp_path).kind, open_image_set(tmp_path).name) == ("coco", "instances_val2017.json")
    assert open_image_set(tmp_path, "coco").name == "instances_val2017.json"
    beside = tmp_path / "train"
    beside.mkdir()
    (beside / "_annotations.coco.json").write_text(document)
    assert (open_image_set(beside).kind, open_image_set(beside).name) == ("coco", "_annotations.coco.json")
    (tmp_path / "annotations" / "captions.json").write_text("{}")
    with pytest.raises(DataError, match=r"has several annotations; name one of .*captions.json, .*instances_val2017"):
        open_image_set(tmp_path)


HALF = "\ud800\x1b[2J"


@pytest.mark.parametrize(
    ("annotations", "changed"),
    [
        ([{"segmentation": [[1, 1, 5, 1, 5, HALF]]}], {}),
        ([{"bbox": HALF}], {}),
        ([{"bbox": [HALF, 1, 1, 1]}], {}),
        ([{"bbox": [1, 1, 0, 0], "id": HALF}], {}),
        ([{"segmentation": {"size": [HALF, 1], "counts": "1"}}], {}),
        ([{"bbox": [1, 1, 2, 2], "iscrowd": HALF}], {}),
        ([{"bbox": [1, 1, 2, 2]}], {"images": [{"id": 5, "file_name": "a.png", "height": HALF, "width": 1}]}),
        ([{"bbox": [1, 1, 2, 2]}], {"images": [{"id": HALF, "file_name": ""}]}),
        ([{"bbox": [1, 1, 2, 2]}, {"bbox": [1, 1, 2, 2], "image_id": HALF}], {}),
    ],
)
def test_control_characters_are_escaped_in_messages(
    write: Write, annotations: list[dict[str, Any]], changed: dict[str, Any]
) -> None:
    try:
        images = read_coco(write(*annotations, **changed))
        said = [*images.notes, *(entry.problem for entry in images.entries), *(one.where for one in images.entries)]
    except DataError as error:
        said = [str(error)]
    assert any("\\ud800" in one for one in said)
    for one in said:
        assert "\x1b" not in one
        one.encode()


def test_folder_with_most_photos_is_used(write: Write, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(4)]
    annotations = [boxed(1, 2, 3, 4, image_id=number) for number in range(4)]
    path = write(*annotations, images=[{"id": number, "file_name": name} for number, name in enumerate(names)])
    (tmp_path / "images").mkdir()
    for name in names:
        (tmp_path / "images" / name).write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "0.png").write_bytes(b"a stale copy")
    assert {entry.path.parent.name for entry in read_coco(path).entries} == {"images"}


@pytest.mark.parametrize("place", ["val2017/a.png", "data/a.png"])
@pytest.mark.parametrize("file_name", ["a.png", "val2017/a.png"])
def test_photos_in_the_parent_folder_are_found(
    tmp_path: Path, save: Save, write: Write, place: str, file_name: str
) -> None:
    document = write(boxed(1, 2, 3, 4), images=[{"id": 5, "file_name": file_name}]).read_text()
    (tmp_path / "set" / "annotations").mkdir(parents=True)
    (tmp_path / "set" / "annotations" / "instances_val2017.json").write_text(document)
    save(f"set/{place}", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    images = open_image_set(tmp_path / "set")
    found = place.startswith("val") or file_name == "a.png"
    assert (images.entries[0].problem == "") == found
    assert any("photos are missing; searched" in note for note in images.notes) != found


def test_lvis_photos_are_named_by_url(write: Write, save: Save, tmp_path: Path) -> None:
    listed = [{"id": 5, "coco_url": "http://images.cocodataset.org/val2017/000000397133.jpg"}]
    path = write(boxed(1, 2, 3, 4), images=listed).rename(tmp_path / "lvis_v1_val.json")
    save("val2017/000000397133.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (entry,) = read_coco(path).entries
    assert (entry.id, entry.problem) == ("val2017/000000397133.jpg#cat", "")


def test_unused_parent_category_is_no_class(write: Write) -> None:
    names = [{"id": 0, "name": "cat", "supercategory": "none"}, {"id": 3, "name": "cat", "supercategory": "cat"},
             {"id": 4, "name": "dog", "supercategory": "cat"}]  # fmt: skip
    images = read_coco(write(boxed(1, 2, 3, 4), categories=names))
    assert (images.class_names, images.entries[0].label) == (("cat", "dog"), "cat")


def test_outline_precedes_box_unless_empty(write: Write) -> None:
    outline = [[1, 1, 9, 1, 9, 9]]
    images = read_coco(write({"segmentation": outline, "bbox": [0, 0, 0, 0]}))
    assert images.read(images.entries[0]).region.any()
    images = read_coco(write({"segmentation": [[]], "bbox": [1, 2, 3, 4]}))
    assert images.read(images.entries[0]).region.sum() == 12
