"""Boxes in 0..1 are fractions of the photo, in every format, if all of the set are; a mixed set is said or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.box_units import units_of
from evalkit.datasets.files import region_share
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set

Boxes = Sequence[tuple[float, float, float, float]]
HEIGHT, WIDTH = 40, 100
TAKEN = "lie in 0..1, so they are taken as fractions of the photo's width and height"
NAMES = "abcdefghij"


@pytest.fixture(params=["csv", "voc", "coco", "coco without sizes", "imagenet", "arrays"])
def open_with(request: pytest.FixtureRequest, tmp_path: Path, save: Callable[..., Path]) -> Callable[[Boxes], ImageSet]:
    """Return a function that opens photos of 100 x 40 with one box each, in one of the formats."""

    def make(boxes: Boxes) -> ImageSet:
        photos = [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in boxes]
        if request.param == "arrays":
            return ImageSet.from_arrays(photos, [0] * len(boxes), boxes=[[box] for box in boxes])
        names = [f"{name}.png" for name, _ in zip(NAMES, boxes, strict=False)]
        folder = {"voc": "V/JPEGImages", "imagenet": "val"}.get(request.param, ".")
        for name, photo in zip(names, photos, strict=True):
            save(f"{folder}/{name}", photo)
        return open_image_set(WRITERS[request.param](tmp_path, names, boxes))

    return make


def first_pixel(box: Sequence[float], boxes: Boxes) -> int:
    """Return 1 if the box is in pixels, which count from one here; 0 if it is written as fractions."""
    small = [all(0 <= edge <= 1 for edge in one) for one in (*boxes, box)]
    return 0 if small[-1] and any(edge not in (0, 1) for one in ([box], boxes)[all(small)] for edge in one) else 1


def write_csv(folder: Path, names: Sequence[str], boxes: Boxes) -> Path:
    rows = [f"{name},cat,{','.join(map(str, box))}\n" for name, box in zip(names, boxes, strict=True)]
    (folder / "l.csv").write_text(f"image,label,x0,y0,x1,y1\n{''.join(rows)}")
    return folder / "l.csv"


def write_voc(folder: Path, names: Sequence[str], boxes: Boxes) -> Path:
    (folder / "V/Annotations").mkdir()
    for name, box in zip(names, boxes, strict=True):
        first = first_pixel(box, boxes)
        edges = [box[0] + first, box[1] + first, box[2], box[3]]
        tags = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)
        inside = "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in tags)
        (folder / f"V/Annotations/{name[0]}.xml").write_text(
            f"<annotation><filename>{name}</filename><object><name>cat</name><bndbox>{inside}</bndbox></object>"
            "</annotation>"
        )
    return folder / "V"


def write_coco(folder: Path, names: Sequence[str], boxes: Boxes, sizes: bool = True) -> Path:
    size = {"height": HEIGHT, "width": WIDTH} if sizes else {}
    document = {
        "images": [{"id": number, "file_name": name, **size} for number, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for number, (x0, y0, x1, y1) in enumerate(boxes)
        ],
    }
    (folder / "c.json").write_text(json.dumps(document))
    return folder / "c.json"


def write_imagenet(folder: Path, names: Sequence[str], boxes: Boxes) -> Path:
    rows = []
    for name, box in zip(names, boxes, strict=True):
        first = first_pixel(box, boxes)
        rows.append(f"{name[0]},n01440764 {box[0] + first} {box[1] + first} {box[2]} {box[3]}\n")
    (folder / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\n{''.join(rows)}")
    return folder / "LOC_val_solution.csv"


WRITERS: dict[str, Callable[[Path, Sequence[str], Boxes], Path]] = {
    "csv": write_csv,
    "voc": write_voc,
    "coco": write_coco,
    "coco without sizes": lambda folder, names, boxes: write_coco(folder, names, boxes, sizes=False),
    "imagenet": write_imagenet,
}


def test_boxes_in_0_to_1_are_fractions_of_the_photo(open_with: Callable[[Boxes], ImageSet]) -> None:
    images = open_with([(0.1, 0.2, 0.6, 0.9), (0, 0, 1, 1)])
    assert TAKEN in images.notes[0]
    first, second = images
    assert first.boxes is not None
    assert second.boxes is not None
    assert first.region is not None
    assert first.boxes.tolist() == [[10, 8, 60, 36]]
    assert second.boxes.tolist() == [[0, 0, 100, 40]]
    assert first.region.sum() == 50 * 28
    assert region_share(images.entries[0], images.read) == pytest.approx(0.35)


def test_integer_boxes_of_one_pixel_stay_pixels(open_with: Callable[[Boxes], ImageSet]) -> None:
    images = open_with([(0, 0, 1, 1)])
    (image,) = images
    assert image.boxes is not None
    assert image.boxes.tolist() == [[0, 0, 1, 1]]
    assert "are 0 or 1, taken as pixels" in images.notes[0]


def test_boxes_in_pixels_stay_pixels(open_with: Callable[[Boxes], ImageSet]) -> None:
    images = open_with([(0, 0, 1, 1), (0.5, 0.5, 2, 2), (10, 20, 30, 40)])
    assert images.notes == ()
    assert [image.boxes.tolist() for image in images if image.boxes is not None] == [
        [[0, 0, 1, 1]],
        [[0.5, 0.5, 2, 2]],
        [[10, 20, 30, 40]],
    ]


def test_few_fractions_among_pixels_are_not_scored(open_with: Callable[[Boxes], ImageSet]) -> None:
    boxes = [(10, 20, 30, 40), (0.1, 0.2, 0.6, 0.75), (1, 2, 3, 4)]
    try:
        images = open_with(boxes)
    except DataError as error:
        assert "looks normalized to 0..1, but the set's other boxes are in pixels" in str(error)  # noqa: PT017 - arrays
        return
    assert "1 of 3 boxes lie in 0..1 (the first: " in images.notes[0]
    assert [bool(entry.problem) for entry in images.entries] == [False, True, False]
    with pytest.raises(ImageError, match=r"looks normalized to 0\.\.1, but the set's other boxes are in pixels"):
        images.read(images.entries[1])


def test_many_fractions_among_pixels_are_refused(open_with: Callable[[Boxes], ImageSet]) -> None:
    with pytest.raises(DataError, match=r"2 of 3 boxes lie in 0..1 .* others do not .* write all in pixels, or all as"):
        open_with([(10, 20, 30, 40), (0.1, 0.2, 0.6, 0.75), (0.25, 0.5, 0.75, 1)])


def test_rounding_beyond_the_frame_is_cut_off(tmp_path: Path, save: Callable[..., Path]) -> None:
    save("a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (image,) = open_image_set(write_csv(tmp_path, ["a.png"], [(0.5, 0.25, 1.004, 1.001)]))
    assert image.boxes is not None
    assert image.boxes.tolist() == [[50, 10, 100, 40]]


def test_no_boxes_have_no_unit() -> None:
    assert units_of([("a", ("x", 0, 1, 1))], "s").notes == ()
    assert units_of([], "s").normalized is False


def test_normalized_polygons_are_scaled(tmp_path: Path, save: Callable[..., Path]) -> None:
    save("a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    path = write_coco(tmp_path, ["a.png"], [(0.1, 0.25, 0.6, 0.75)])
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentation"] = [[0.1, 0.25, 0.6, 0.25, 0.6, 0.75, 0.1, 0.75]]
    path.write_text(json.dumps(document))
    images = open_image_set(path)
    (image,) = images
    assert image.boxes is not None
    assert image.boxes.tolist() == [[10, 10, 60, 30]]
    assert [TAKEN in note for note in images.notes] == [True, True]
    del document["images"][0]["width"], document["images"][0]["height"]
    path.write_text(json.dumps(document))
    assert "give the photo's width and height" in open_image_set(path).entries[0].problem


def test_pixel_polygons_beside_normalized_boxes_stay_pixels(tmp_path: Path, save: Callable[..., Path]) -> None:
    save("a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    path = write_coco(tmp_path, ["a.png"], [(0.1, 0.25, 0.6, 0.75)])
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentation"] = [[10, 10, 60, 10, 60, 30, 10, 30]]
    path.write_text(json.dumps(document))
    (image,) = open_image_set(path)
    assert image.boxes is not None
    assert image.boxes.tolist() == [[10, 10, 60, 30]]


def test_photo_found_elsewhere_keeps_its_boxs_problem(tmp_path: Path, save: Callable[..., Path]) -> None:
    names = ["a.png", "b.png", "c.png"]
    for name in names:
        save(f"images/{name}", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    images = open_image_set(write_csv(tmp_path, names, [(10, 20, 30, 40), (0.1, 0.2, 0.6, 0.75), (1, 2, 3, 4)]))
    assert [entry.problem for entry in images.entries][::2] == ["", ""]
    assert "looks normalized to 0..1" in images.entries[1].problem
