"""Formats that are not read are named by what they look like, and hints are given only when they are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.core.errors import DataError, nearest
from evalkit.datasets.open import open_image_set

LABELME = json.dumps({"shapes": [], "imagePath": "0.jpg", "imageHeight": 4, "imageWidth": 6})


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_image_set(path)
    return str(caught.value)


FOLDERS = {
    "Hugging Face": ({"dataset_info.json": "{}", "data-0.arrow": ""}, "this looks like a Hugging Face data set"),
    "Parquet": ({"data.parquet": ""}, "this looks like a Hugging Face data set"),
    "TFRecords": ({"pets-train.tfrecord-00000-of-00002": ""}, "this looks like TFRecords"),
}


@pytest.mark.parametrize(("files", "message"), FOLDERS.values(), ids=FOLDERS)
def test_folder_of_another_format_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    write(tmp_path, files)
    text = refusal(tmp_path)
    assert message in text
    assert (
        "reads class folders, images/ with masks/, CSV manifests, COCO JSON, VOC XML, YOLO and LabelMe (`list" in text
    )


DOCUMENTS = {
    "VIA": ('{"_via_img_metadata": {}}', "looks like VGG Image Annotator (VIA)"),
    "VIA regions": ('{"a.jpg1": {"filename": "a.jpg", "regions": []}}', "looks like VGG Image Annotator (VIA)"),
    "CreateML": ('[{"image": "a.jpg", "annotations": []}]', "looks like CreateML"),
    "Label Studio": ('[{"id": 1, "data": {}, "annotations": []}]', "looks like Label Studio"),
    "COCO results": ('[{"image_id": 1, "bbox": [], "score": 1, "category_id": 1}]', "looks like COCO results"),
    "names": ('{"cat": 0, "dog": 1}', "looks like a list of class names; give it as --class-names"),
    "other": ('{"a": []}', "the list 'images' is missing; needed: an object with the lists images, categories and"),
    "other list": ("[1]", "holds a list; needed: an object with the lists"),
}


@pytest.mark.parametrize(("text", "message"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_json_of_another_format_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, {"x.json": text})
    assert message in refusal(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.tfrecord", "looks like TFRecords."),
        ("x.parquet", "looks like a Hugging Face data set."),
        ("x.zip", "looks like an archive; unpack it."),
        ("x.tar.gz", "looks like an archive; unpack it."),
        ("x.npz", "give them to ImageSet.from_arrays."),
        ("x.odd", "has no format that is recognized; name one of `list datasets`"),
    ],
)
def test_file_of_another_format_is_named(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path, {name: ""})
    assert message in refusal(tmp_path / name)


HEADERS = {
    "Open Images": (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded\n",
        "the column 'image' is missing; this looks like Open Images; its boxes are fractions: write image, label and",
    ),
    "TensorFlow": (
        "filename,width,height,class,xmin,ymin,xmax,ymax\n",
        "this looks like TensorFlow's object detection; rename filename to image, class to label, and xmin, ymin,",
    ),
    "Hugging Face": ("file_name,label\n", "this looks like a Hugging Face metadata.csv; rename file_name to image"),
    "NIH's findings": ("Image Index,Finding Labels\n", "NIH's list of findings; its boxes are in BBox_List_2017.csv"),
    "no header": ("a.jpg,1,2,3,4,cat\n", "there is no header line; write one; needed: image, and class_index or label"),
    "edges only": ("xmin,ymin,xmax,ymax,label\n", "the column 'image' is missing; needed: image, and class_index or"),
    "file name": ("filename,label\n", "the column 'image' is missing (is it 'filename'? rename it)"),
    "no class": ("image,xmin,ymin,xmax,ymax\n", "the columns 'class_index' and 'label' are missing; needed: image"),
}


@pytest.mark.parametrize(("header", "message"), HEADERS.values(), ids=HEADERS)
def test_columns_of_another_format_are_named(manifest: Callable[[str], Path], header: str, message: str) -> None:
    assert message in refusal(manifest(header + "\n"))


def test_labelme_that_is_not_read_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"0.jpg": "", "1.jpg": "", "0.json": LABELME, "1.json": LABELME})
    images = open_image_set(tmp_path, "folder")
    assert [entry.label for entry in images.entries] == ["", ""]
    (note,) = images.notes
    assert note.endswith(
        "LabelMe files are beside the photos ('0.json') and not read; --data-format labelme reads them"
    )
    with pytest.raises(DataError, match="is no COCO JSON; it looks like LabelMe; read it with --data-format labelme"):
        open_image_set(tmp_path / "0.json", "coco")


def test_text_beside_photos_is_yolo_only_with_numbers(tmp_path: Path) -> None:
    write(tmp_path, {"0.jpg": "", "0.txt": "a cat on a mat, far away"})
    assert (open_image_set(tmp_path).kind, open_image_set(tmp_path).notes) == ("folder", ())
    write(tmp_path, {"0.txt": "0 0.5 0.5 0.2 0.2"})
    assert open_image_set(tmp_path).kind == "yolo"


def test_cvat_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"x.xml": "<annotations/>"})
    assert "this looks like CVAT: export it as Pascal VOC or COCO" in refusal(tmp_path / "x.xml")


@pytest.mark.parametrize(("name", "hinted"), [("occulsion", True), ("ymax", False), ("gradcm", True), ("lime", False)])
def test_only_near_names_are_hinted(name: str, hinted: bool) -> None:
    assert ("did you mean" in nearest(name, ["gradcam", "occlusion", "image", "rise"])) is hinted
