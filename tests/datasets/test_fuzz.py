"""Whatever a file holds, a reader answers with a set or with one of evalkit's own errors; so does every photo of it.

A few seconds by default; ``FUZZ_EXAMPLES=4000 python -m pytest tests/datasets/test_fuzz.py`` takes ten minutes.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.core.errors import EvalkitError, ImageError
from evalkit.datasets.classes import match_classes
from evalkit.datasets.open import open_image_set

Write = Callable[[Path], Path]
LIMITS = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), deadline=None, suppress_health_check=list(HealthCheck)
)

odd_texts = st.sampled_from(
    ["", "a.png", "b.png", "../a.png", "/a.png", "C:\\a.png", "a\0.png", "\ud800", "ä", "nan", "-1", "1e9", "9" * 400]
)
texts = odd_texts | st.text(max_size=8)
odd_numbers = st.sampled_from(
    [0, 1, -1, 6, 4, 5.5, float("nan"), float("inf"), -1e300, 2**31, 2**63, 10**400, True, None]
)
values = st.recursive(
    odd_numbers | texts | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw what is expected three times of four, else anything."""
    return st.integers(0, 3).flatmap(lambda turn: values if turn == 0 else usual)


def survives(write: Write, data_format: str | None = None) -> None:
    """Write a set beside two photos of 6 x 4 pixels, open it, match its classes, read every entry."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.png", "b.png"):
            Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(Path(folder) / name)
        try:
            images = open_image_set(write(Path(folder)), data_format)
            images = match_classes(images, ["cat", "dog"], 2, require_labels=False).images
        except EvalkitError:
            return
        for entry in images.limit(10, seed=0).entries:
            assert len(entry.truth_digest) == 64
            try:
                image = images.read(entry)
            except ImageError:
                continue
            for truth in (image.region, image.ignore):
                assert truth is None or truth.shape == image.pixels.shape[:2]
            assert len(image.place) in (0, 16)


def file_of(name: str, data: bytes) -> Write:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


sides, coordinates = st.integers(1, 8), st.floats(-1, 8) | st.integers(-1, 8)
runs = st.fixed_dictionaries(
    {
        "size": mostly(st.just([4, 6])),
        "counts": mostly(
            st.lists(st.integers(0, 12), max_size=6)
            | st.just([3, 4, 17])
            | st.text("0123456789:;<=>?@PQRSTUo", max_size=8)
        ),
    }
)
polygons = st.lists(mostly(st.lists(coordinates, min_size=6, max_size=10)), max_size=3)
coco_documents = st.fixed_dictionaries(
    {
        "images": mostly(
            st.lists(
                mostly(
                    st.fixed_dictionaries(
                        {"id": mostly(st.integers(0, 3)), "file_name": mostly(st.sampled_from(["a.png", "b.png"]))},
                        optional={"height": mostly(st.just(4)), "width": mostly(st.just(6))},
                    )
                ),
                max_size=3,
            )
        ),
        "categories": mostly(st.just([{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])),
        "annotations": mostly(
            st.lists(
                mostly(
                    st.fixed_dictionaries(
                        {"image_id": mostly(st.integers(0, 3)), "category_id": mostly(st.integers(1, 2))},
                        optional={
                            "id": mostly(st.integers()),
                            "bbox": mostly(st.lists(coordinates, min_size=4, max_size=4)),
                            "segmentation": mostly(polygons | runs),
                            "iscrowd": mostly(st.integers(0, 1)),
                        },
                    )
                ),
                max_size=5,
            )
        ),
    }
)


def coco(document: Any) -> None:
    survives(file_of("x.json", json.dumps(document).encode()))


def raw(name: str) -> Callable[[bytes], None]:
    return lambda data: survives(file_of(name, data))


cells = st.sampled_from(
    ["image", "label", "class_index", "x0", "y0", "x1", "y1", "mask", "ignore", "a.png", "b.png", "cat", "0", "1", "3"]
)
lines = st.lists(mostly(cells).map(lambda cell: str(cell)[:20]), max_size=8).map(",".join)
tables = st.builds(
    lambda header, rows, end: end.join([header, *rows]),
    st.sampled_from(
        ["image,label,x0,y0,x1,y1", "image,class_index,mask,ignore", "\ufeffimage,label", "ImageId,PredictionString"]
    )
    | lines,
    st.lists(lines | st.sampled_from(["a.png,cat,0,0,3,3", "a.png,0,b.png,a.png", "a.png,cat"]), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
)


def table(text: str) -> None:
    survives(file_of("x.csv", text.encode("utf-8", "surrogatepass")))


elements = st.sampled_from(["annotation", "object", "name", "bndbox", "xmin", "xmax", "size", "filename", "x"])
contents = st.sampled_from(["a.png", "cat", "1", "3", "0", "-1", "nan", "1e999", "../a", "&lt;", "", "9" * 30])
edges = st.lists(contents, min_size=4, max_size=4).map(
    lambda texts: "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), texts, strict=True))
)
objects = st.builds("<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>".format, contents,
                    contents, edges)  # fmt: skip
trees = st.recursive(
    contents, lambda inner: st.builds("<{0}>{1}</{0}>".format, elements, st.lists(inner, max_size=4).map("".join))
)
markup = st.builds(
    "<annotation><filename>{}</filename><size><width>{}</width><height>{}</height></size>{}</annotation>".format,
    contents, contents, contents, st.lists(objects | trees, max_size=4).map("".join),
)  # fmt: skip
predictions = st.lists(st.sampled_from(["n02123045", "1", "2", "0", "-5", "nan", "inf", "x"]) | texts, max_size=11)
solutions = st.lists(
    st.builds("{},{}".format, contents, predictions.map(" ".join))
    | st.sampled_from(["a,n02123045 1 1 3 3", "b,n02123045 1 1 99 99"]),
    max_size=4,
).map(lambda rows: "\n".join(["ImageId,PredictionString", *rows]))


def xml(text: str) -> None:
    survives(file_of("a.xml", text.encode()))


yolo_numbers = st.sampled_from(
    ["0", "1", "0.5", "0.2", "1.005", "-0.1", "7", "nan", "inf", "1e-9", "x", "1_0", "9" * 400]
)
yolo_lines = st.lists(st.lists(yolo_numbers, max_size=9).map(" ".join) | st.just("0 0.5 0.5 0.4 0.4"), max_size=4)
yaml_texts = st.sampled_from(
    [
        "names: [cat, dog]\nval: .",
        "names: {0: cat}\nval: images",
        "names: [a, a]",
        "names: &a [*a]",
        "nc: 3",
        "{",
        "\t",
        "",
    ]
) | st.text(max_size=20)


def yolo(drawn: tuple[list[str], str]) -> None:
    def write(folder: Path) -> Path:
        (folder / "a.txt").write_text("\n".join(drawn[0]))
        (folder / "data.yaml").write_text(drawn[1], encoding="utf-8", errors="replace")
        return folder

    survives(write, "yolo")


shapes = st.fixed_dictionaries(
    {
        "label": mostly(st.sampled_from(["cat", "dog", "__ignore__", "_background_"])),
        "points": mostly(st.lists(st.lists(coordinates, min_size=2, max_size=2), min_size=1, max_size=5)),
    },
    optional={
        "shape_type": mostly(st.sampled_from(["polygon", "rectangle", "circle", "mask", "point", "line"])),
        "mask": mostly(st.just("iVBORw0KGgo=")),
    },
)
labelme_documents = st.fixed_dictionaries(
    {"shapes": mostly(st.lists(mostly(shapes), max_size=4)), "imagePath": mostly(st.just("a.png"))},
    optional={
        "imageHeight": mostly(st.just(4)),
        "imageWidth": mostly(st.just(6)),
        "flags": mostly(st.dictionaries(texts, st.booleans(), max_size=2)),
        "imageData": texts,
    },
)


def labelme(document: Any) -> None:
    survives(file_of("a.json", json.dumps(document).encode()), "labelme")


pet_lines = st.lists(
    st.sampled_from(["cat_1 1 1 1", "dog_2 2 2 1", "# x", "cat", "../cat_1 1", "cat_1 x"]) | texts, max_size=4
)


def pets(drawn: tuple[list[str], bytes]) -> None:
    def write(folder: Path) -> Path:
        for name in ("images", "annotations/trimaps"):
            (folder / name).mkdir(parents=True)
        (folder / "a.png").rename(folder / "images/cat_1.png")
        (folder / "annotations/trimaps/cat_1.png").write_bytes(drawn[1])
        (folder / "annotations/list.txt").write_text("\n".join(drawn[0]), encoding="utf-8", errors="replace")
        return folder

    survives(write, "pets")


box_cells = st.sampled_from(["a.png", "b", "cat", "0", "1", "3", "0.5", "", "nan", "inf", "-2", "1e999", "x"])
box_tables = st.builds(
    lambda header, rows: "\n".join([header, *rows]),
    st.sampled_from(
        ["patientId,x,y,width,height,Target", "image,label,cx_norm,cy_norm,w_norm,h_norm", "image,label,x,y,w,h"]
    ),
    st.lists(st.lists(box_cells, min_size=5, max_size=7).map(",".join) | st.just("a.png,1,1,2,2,1"), max_size=5),
)


def box_table(text: str) -> None:
    survives(file_of("x.csv", text.encode()), "boxes")


@st.composite
def damaged_masks(draw: st.DrawFn) -> bytes:
    """A palette mask with Pascal's void, some of its bytes changed."""
    image = Image.fromarray(np.array([[0, 15, 255], [255, 0, 1]] * 2, np.uint8).repeat(2, axis=1)).convert("P")
    image.putpalette([0, 0, 0] + [128, 64, 0] * 254 + [224, 224, 192])
    file = io.BytesIO()
    image.save(file, draw(st.sampled_from(["PNG", "GIF", "TIFF", "BMP"])))
    data = bytearray(file.getvalue())
    for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=4)):
        data[place] = draw(st.integers(0, 255))
    return bytes(data)


def masked(data: bytes) -> None:
    def write(folder: Path) -> Path:
        for name in ("images/cat", "masks/cat", "ignore/cat"):
            (folder / name).mkdir(parents=True)
        (folder / "a.png").rename(folder / "images/cat/a.png")
        for name in ("masks", "ignore"):
            (folder / name / "cat" / "a.png").write_bytes(data)
        return folder

    survives(write)


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


def foldered(layout: dict[str, list[str]]) -> None:
    def write(folder: Path) -> Path:
        root = folder / "photos"
        root.mkdir()
        for name, files in layout.items():
            try:
                (root / name).mkdir(exist_ok=True)
                for file in files:
                    (root / name / f"{file}.png").write_bytes((folder / "a.png").read_bytes())
            except OSError:  # a name that the system does not take
                continue
        return root

    survives(write)


READERS = {
    "folder": (st.dictionaries(names, st.lists(names, max_size=3), max_size=3), foldered),
    "masks": (damaged_masks(), masked),
    "voc": (markup, xml),
    "voc, any bytes": (st.binary(max_size=60), raw("a.xml")),
    "imagenet": (solutions, table),
    "coco": (coco_documents, coco),
    "coco, any bytes": (st.binary(max_size=60), raw("x.json")),
    "yolo": (st.tuples(yolo_lines, yaml_texts), yolo),
    "labelme": (labelme_documents, labelme),
    "pets": (st.tuples(pet_lines, damaged_masks()), pets),
    "boxes": (box_tables, box_table),
    "csv": (tables, table),
    "csv, any bytes": (st.binary(max_size=60), raw("x.csv")),
}


@pytest.mark.parametrize("reader", READERS)
def test_any_file_raises_only_evalkit_errors(reader: str) -> None:
    drawn, run = READERS[reader]
    LIMITS(given(drawn)(lambda drawing: run(drawing)))()  # noqa: PLW0108 - hypothesis wants a name of an argument
