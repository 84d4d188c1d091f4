"""Every set goes through pickle, and its source reads single entries elsewhere."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import ImageError
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import ImageSet, ImageSource
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.catalog import all_readers
from evalkit.datasets.scenes.scenes import scenes

RNG = np.random.default_rng(0)
SIZE = 20, 30
BOX = "<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>20</xmax><ymax>15</ymax></bndbox>"
COCO = (
    '{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "cat"}], "annotations": ['
    '{"image_id": 1, "category_id": 1, "segmentation": [[2, 2, 20, 2, 20, 15]]},'
    '{"image_id": 1, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 9, 9]}]}'
)


def save_photos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(folder / name)


def save_masks(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((RNG.random(SIZE) < 0.5).astype(np.uint8) * 255).save(folder / name)


def folder(path: Path) -> Path:
    save_photos(path, "cat/a.png", "dog/b.png")
    (path / "dog" / "damaged.png").write_bytes(b"x")
    return path


def masks(path: Path) -> Path:
    save_photos(path, "images/cat/a.png", "images/dog/b.png")
    save_masks(path, "masks/cat/a.png", "ignore/cat/a.png")
    return path


def csv(path: Path) -> Path:
    save_photos(path, "a.png", "b.png")
    (path / "x.csv").write_text("image,label,x0,y0,x1,y1\na.png,cat,1,2,10,12\nb.png,dog,,,,\nmissing.png,dog,,,,\n")
    return path / "x.csv"


def coco(path: Path) -> Path:
    save_photos(path, "a.png")
    (path / "x.json").write_text(COCO)
    return path / "x.json"


def voc(path: Path) -> Path:
    save_photos(path, "a.png")
    (path / "a.xml").write_text(
        f"<annotation><object><name>cat</name>{BOX}</object>"
        f"<object><name>cat</name><difficult>1</difficult>{BOX.replace('20', '29')}</object></annotation>"
    )
    return path


def imagenet(path: Path) -> Path:
    save_photos(path, "a.png")
    (path / "x.csv").write_text("ImageId,PredictionString\na,n02123045 1 1 9 9 n02123045 5 5 15 15\n")
    return path / "x.csv"


def pets(path: Path) -> Path:
    save_photos(path, "images/Bengal_1.png", "images/Bengal_2.png")
    (path / "annotations" / "trimaps").mkdir(parents=True)
    (path / "annotations" / "list.txt").write_text("Bengal_1 6 1 2\nBengal_2 6 1 2\nBengal_3 6 1 2\n")
    Image.fromarray(RNG.integers(1, 4, SIZE, dtype=np.uint8)).save(path / "annotations" / "trimaps" / "Bengal_1.png")
    return path


def boxes(path: Path) -> Path:
    save_photos(path, "a.png", "b.png")
    (path / "x.csv").write_text("patientId,x,y,width,height,Target\na,3,2,9,9,1\nb,,,,,0\nmissing,,,,,0\n")
    return path / "x.csv"


def labelme(path: Path) -> Path:
    save_photos(path, "a.png")
    outline = '{"label": "cat", "points": [[2, 2], [20, 2], [20, 15]]}'
    ignored = '{"label": "__ignore__", "shape_type": "rectangle", "points": [[0, 0], [9, 9]]}'
    (path / "a.json").write_text(f'{{"shapes": [{outline}, {ignored}], "imagePath": "a.png"}}')
    return path


def yolo(path: Path) -> Path:
    save_photos(path, "a.png", "b.png")
    (path / "a.txt").write_text("0 0.5 0.5 0.4 0.4\n1 0.1 0.1 0.6 0.1 0.6 0.7\n")
    (path / "b.txt").write_text("0 0.9 0.5 0.4 0.4\n")
    return path


LAYOUTS = {
    "folder": folder,
    "masks": masks,
    "pets": pets,
    "csv": csv,
    "boxes": boxes,
    "labelme": labelme,
    "coco": coco,
    "voc": voc,
    "yolo": yolo,
    "imagenet": imagenet,
}


def arrays() -> ImageSet:
    pixels = RNG.integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
    regions = [RNG.random(SIZE) < 0.3, None, None]
    ignores = [RNG.random(SIZE) < 0.3, None, RNG.random(SIZE) < 0.3]
    return ImageSet.from_arrays(
        pixels, [1, 0, 1], regions, [None, (2, 2, 9, 9), None], class_names=["cat", "dog"], ignores=ignores
    )


@pytest.fixture(params=[*(reader.name for reader in all_readers()), "arrays"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> ImageSet:
    """A small set of each reader."""
    if request.param == "arrays":
        return arrays()
    if request.param == "scenes":
        return scenes(count=3, seed=7)
    return open_image_set(LAYOUTS[request.param](tmp_path), request.param)


def outcome(source: ImageSet | ImageSource, entry) -> dict[str, object] | str:
    """Return every attribute of an image, or the reason why it cannot be read."""
    try:
        image = source.read(entry)
    except ImageError as error:
        return str(error)
    return {field.name: plain(getattr(image, field.name)) for field in fields(LabelledImage)}


def through_pickle(value, protocol: int = pickle.DEFAULT_PROTOCOL):
    return pickle.loads(pickle.dumps(value, protocol))  # noqa: S301


def plain(value: object) -> object:
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def test_pickled_set_reads_equal_images(images: ImageSet) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = through_pickle(images, protocol)
        for name in ("name", "kind", "entries", "class_names", "notes", "labels"):
            assert getattr(copy, name) == getattr(images, name)
        for entry, copied in zip(images.entries, copy.entries, strict=True):
            assert copied.truth_digest == entry.truth_digest
            assert outcome(copy, copied) == outcome(images, entry)


def test_pickled_source_reads_single_entries(images: ImageSet) -> None:
    source = through_pickle(images.source)
    for entry in images.entries:
        with_outputs = replace(entry, class_index=1, outputs=(1, 2))
        for single in (entry, with_outputs, replace(entry, problem="file is missing")):
            assert outcome(source, through_pickle(single)) == outcome(images, single)


def test_pickled_source_of_files_is_small(images: ImageSet) -> None:
    if images.kind != "arrays":
        assert len(pickle.dumps(images.source)) < 300


def test_pickled_arrays_that_change_are_refused() -> None:
    copy = through_pickle(arrays())
    copy.reader.arrays["0"].region[:] = True
    with pytest.raises(ImageError, match="an array was changed"):
        copy.read(copy.entries[0])
