"""A box drawn into a photo comes back on exactly its pixels: every reader, every EXIF orientation, both geometries."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.datasets.geometry import fit
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.open import open_image_set

Box = tuple[int, int, int, int]
FLIP = Image.Transpose
# What turns the upright photo into what is stored under each orientation.
STORED = {
    2: FLIP.FLIP_LEFT_RIGHT,
    3: FLIP.ROTATE_180,
    4: FLIP.FLIP_TOP_BOTTOM,
    5: FLIP.TRANSPOSE,
    6: FLIP.ROTATE_90,
    7: FLIP.TRANSVERSE,
    8: FLIP.ROTATE_270,
}


def coco(folder: Path, box: Box, size: tuple[int, int], segmentation: Any = None) -> Path:
    x0, y0, x1, y1 = box
    one = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [one | ({"segmentation": segmentation} if segmentation else {})],
    }
    (folder / "a.json").write_text(json.dumps(document))
    return folder / "a.json"


def coco_polygon(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    x0, y0, x1, y1 = box
    return coco(folder, box, size, [[x0, y0, x1, y0, x1, y1, x0, y1]])


def coco_runs(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    flat = np.concatenate([[False], mask_of(box, size).ravel(order="F")])
    starts = np.flatnonzero(flat[1:] != flat[:-1]).tolist()
    counts = np.diff([0, *starts, size[0] * size[1]]).tolist()
    return coco(folder, box, size, {"size": list(size), "counts": counts})


def voc(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    edges = zip(("xmin", "ymin", "xmax", "ymax"), (box[0] + 1, box[1] + 1, box[2], box[3]), strict=True)
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in edges)
    said = f"<size><height>{size[0]}</height><width>{size[1]}</width></size>"
    text = f"<annotation>{said}<object><name>cat</name><bndbox>{inside}</bndbox></object></annotation>"
    (folder / "a.xml").write_text(text)
    return folder / "a.xml"


def imagenet(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    row = f"a,n02123045 {box[0] + 1} {box[1] + 1} {box[2]} {box[3]}"
    (folder / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\n{row}\n")
    return folder / "LOC_val_solution.csv"


def csv(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    (folder / "a.csv").write_text(f"image,label,x0,y0,x1,y1\na.png,cat,{','.join(map(str, box))}\n")
    return folder / "a.csv"


def csv_mask(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    Image.fromarray(mask_of(box, size)).save(folder / "m.png")
    (folder / "a.csv").write_text("image,label,mask\na.png,cat,m.png\n")
    return folder / "a.csv"


def yolo(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    (height, width), (x0, y0, x1, y1) = size, box
    values = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    (folder / "a.txt").write_text("0 " + " ".join(f"{value:.6f}" for value in values))
    return folder


def yolo_polygon(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    (height, width), (x0, y0, x1, y1) = size, box
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    (folder / "a.txt").write_text("0 " + " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in corners))
    return folder


def labelme(folder: Path, box: Box, size: tuple[int, int], **shape: Any) -> Path:
    given = {"label": "cat", "shape_type": "rectangle", "points": [[box[2], box[1]], [box[0], box[3]]]} | shape
    document = {"shapes": [given], "imagePath": "a.png", "imageHeight": size[0], "imageWidth": size[1]}
    (folder / "a.json").write_text(json.dumps(document))
    return folder / "a.json"


def labelme_polygon(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    x0, y0, x1, y1 = box
    return labelme(folder, box, size, shape_type="polygon", points=[[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def labelme_mask(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    file = io.BytesIO()
    Image.fromarray(np.full((box[3] - box[1], box[2] - box[0]), 1, np.uint8)).save(file, "PNG")
    corners = [[box[0], box[1]], [box[2] - 1, box[3] - 1]]
    text = base64.b64encode(file.getvalue()).decode()
    return labelme(folder, box, size, shape_type="mask", points=corners, mask=text)


def pets(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    for name in ("images", "annotations/trimaps"):
        (folder / name).mkdir(parents=True)
    (folder / "a.png").rename(folder / "images" / "cat_1.png")
    trimap = np.where(mask_of(box, size), 1, 2).astype(np.uint8)
    Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / "cat_1.png")
    (folder / "annotations" / "test.txt").write_text("cat_1 1 1 1\n")
    return folder


def box_csv(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    x0, y0, x1, y1 = box
    (folder / "a.csv").write_text(
        f"Image Index,Finding Label,Bbox [x,y,w,h],,,\na.png,cat,{x0},{y0},{x1 - x0},{y1 - y0},,,\n"
    )
    return folder / "a.csv"


def box_csv_fractions(folder: Path, box: Box, size: tuple[int, int]) -> Path:
    (height, width), (x0, y0, x1, y1) = size, box
    values = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    row = ",".join(f"{value:.6f}" for value in values)
    (folder / "a.csv").write_text(f"image,label,cx_norm,cy_norm,w_norm,h_norm\na,cat,{row}\n")
    return folder / "a.csv"


WRITERS: list[Callable[[Path, Box, tuple[int, int]], Path]] = [
    coco, coco_polygon, coco_runs, voc, imagenet, csv, csv_mask, yolo, yolo_polygon, labelme, labelme_polygon,
    labelme_mask, pets, box_csv, box_csv_fractions,
]  # fmt: skip


def mask_of(box: Box, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@st.composite
def boxed(draw: st.DrawFn) -> tuple[tuple[int, int], Box]:
    height, width = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (height, width), (x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))


def save_turned(folder: Path, pixels: np.ndarray, orientation: int) -> None:
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    stored = image if orientation == 1 else image.transpose(STORED[orientation])
    stored.save(folder / "a.png", exif=exif)


def seen(image: LabelledImage) -> np.ndarray:
    """Where the box's columns are red and its rows green: bilinear enlarging crosses half the range at their edges."""
    return np.asarray((image.pixels[..., :2] > 127).all(axis=-1))


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@given(drawn=boxed(), orientation=st.integers(1, 8), factor=st.integers(3, 5), cut=st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_drawn_box_is_read_back(
    write: Callable[..., Path], drawn: tuple[tuple[int, int], Box], orientation: int, factor: int, cut: int
) -> None:
    (height, width), box = drawn
    white = mask_of(box, (height, width))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, box[0] : box[2], 0] = 255
    pixels[box[1] : box[3], :, 1] = 255
    with tempfile.TemporaryDirectory() as folder:
        save_turned(Path(folder), pixels, orientation)
        (image,) = open_image_set(write(Path(folder), box, (height, width)))
    assert np.array_equal(seen(image), white)
    assert np.array_equal(image.region, white)
    squashed = fit(image, (height * factor, width * (factor + 1)), "squash")
    assert np.array_equal(squashed.region, white.repeat(factor, axis=0).repeat(factor + 1, axis=1))
    assert np.array_equal(squashed.region, seen(squashed))
    narrow = max(1, width - cut)
    cropped = fit(image, (height * factor, narrow * factor), "center-crop")
    assert np.array_equal(cropped.region, seen(cropped))
