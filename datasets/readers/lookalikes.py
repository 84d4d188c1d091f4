"""Formats that evalkit does not read, recognized by their names and keys, so that messages can name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FORMATS", "columns_look", "document_looks", "file_looks", "folder_looks"]

FORMATS = (
    "evalkit reads class folders, images/ with masks/, CSV manifests, COCO JSON, VOC XML, YOLO and LabelMe "
    "(`list datasets`)"
)

_FILES = {
    (".tfrecord", ".tfrecords"): "TFRecords",
    (".parquet", ".arrow"): "a Hugging Face data set",
    (".npz", ".npy"): "NumPy arrays; in Python, give them to ImageSet.from_arrays",
    (".h5", ".hdf5"): "HDF5; in Python, give its arrays to ImageSet.from_arrays",
    (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"): "an archive; unpack it",
    (".mat",): "MATLAB data",
    (".jsonl", ".ndjson"): "JSON lines",
}
_OPEN_IMAGES = "Open Images; its boxes are fractions: write image, label and x0 = XMin, y0 = YMin, x1 = XMax, y1 = YMax"
_TENSORFLOW = (
    "TensorFlow's object detection; rename filename to image, class to label, and xmin, ymin, xmax, ymax to x0, y0, "
    "x1, y1"
)
_NIH = (
    "NIH's list of findings; its boxes are in BBox_List_2017.csv; for classes without boxes, rename Image Index to "
    "image and Finding Labels to label"
)
_COLUMNS = (
    ({"imageid", "labelname", "xmin"}, _OPEN_IMAGES),
    ({"filename", "class", "xmin"}, _TENSORFLOW),
    ({"region_shape_attributes"}, "VGG Image Annotator (VIA)"),
    ({"encodedpixels"}, "run-length encodings (EncodedPixels); write mask files, or COCO JSON"),
    ({"image index", "finding labels"}, _NIH),
    ({"file_name"}, "a Hugging Face metadata.csv; rename file_name to image"),
)


def file_looks(path: Path) -> str:
    """Return what a file looks like by its ending, as the end of a sentence; empty if that is not known."""
    return next((what for endings, what in _FILES.items() if path.name.lower().endswith(endings)), "")


def folder_looks(folder: Path) -> str:
    """Return what a folder looks like, as the end of a sentence; empty if that is not known.

    Files are recognized directly in the folder.
    """
    try:
        inside = [child for child in sorted(folder.iterdir()) if child.name[0] != "."]
    except OSError:
        return ""
    names = {child.name.lower() for child in inside}
    if names & {"dataset_info.json", "dataset_dict.json", "state.json"} or _any_ending(inside, (".parquet", ".arrow")):
        return "a Hugging Face data set; save its photos as FOLDER/<class>/<image>"
    if _any_ending(inside, (".tfrecord", ".tfrecords")) or any(".tfrecord-" in name for name in names):
        return "TFRecords; save its photos as FOLDER/<class>/<image>"
    return ""


def document_looks(document: object) -> str:
    """Return what a JSON document looks like, as the end of a sentence; empty if that is not known."""
    if isinstance(document, list):
        first = document[0] if document else None
        keys = set(first) if isinstance(first, dict) else set()
        if {"image", "annotations"} <= keys:
            return "CreateML; convert it to COCO JSON"
        if "image_id" in keys and "score" in keys:
            return "COCO results (detections); name the annotations"
        return "Label Studio; export it as COCO" if "annotations" in keys and "data" in keys else ""
    return _object_looks(document) if isinstance(document, dict) else ""


def columns_look(columns: Iterable[str]) -> str:
    """Return what a CSV file looks like by its columns in lower case; empty if that is not known."""
    known = set(columns)
    return next((what for needed, what in _COLUMNS if needed <= known), "")


def _object_looks(document: dict[str, Any]) -> str:
    keys = set(document)
    if {"shapes", "imagePath"} <= keys:
        return "LabelMe; read it with --data-format labelme"
    if "_via_img_metadata" in keys or any(isinstance(one, dict) and "regions" in one for one in document.values()):
        return "VGG Image Annotator (VIA); export it as COCO"
    if "objects" in keys and "size" in keys:
        return "Supervisely; export it as COCO"
    if {"features", "splits"} & keys and "images" not in keys:
        return "a Hugging Face data set; save its photos as FOLDER/<class>/<image>"
    if document and all(isinstance(value, int | str) for value in document.values()):
        return "a list of class names; give it as --class-names"
    return ""


def _any_ending(files: Sequence[Path], endings: tuple[str, ...]) -> bool:
    return any(file.name.lower().endswith(endings) for file in files)
