"""What ``--data`` understands, for ``list datasets``."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DATA_FORMATS", "DataFormat"]


class DataFormat(NamedTuple):
    """One kind of labelled images.

    Attributes:
        data: what ``--data`` points to.
        name: what ``--data-format`` calls it; empty where it cannot be forced.
        what: one line.
        example: two lines of files or of a file's text.
    """

    data: str
    name: str
    what: str
    example: str


DATA_FORMATS = (
    DataFormat(
        "scenes",
        "",
        "1,000 images made on the fly: ten shapes, each the only evidence for its class, with exact masks; for --model "
        "vgg16-mini, or any model with ten outputs in the order of their names",
        "--data scenes --limit 99\n--data scenes --model x.keras",
    ),
    DataFormat(
        "FOLDER",
        "folder",
        "class folders: FOLDER/<class>/<image>; or a flat folder of unlabelled images, with --target predicted",
        "photos/cat/1.jpg\nphotos/dog/2.png",
    ),
    DataFormat(
        "FOLDER",
        "masks",
        "images/ as above, masks/ with a mask for each by name, perhaps ignore/; non-zero pixels are the object",
        "photos/images/cat/1.jpg\nphotos/masks/cat/1.png",
    ),
    DataFormat(
        "FILE.csv",
        "csv",
        "a manifest: image, class_index or label; optionally x0,y0,x1,y1 (half-open pixels) or mask, and ignore (masks "
        "of what is neither object nor background); one row a box",
        "image,label,x0,y0,x1,y1\na.jpg,cat,12,30,180,200",
    ),
    DataFormat(
        "FILE.json",
        "coco",
        "COCO: boxes, polygons or RLE; an entry for each photo and category; crowds are ignored",
        "annotations/val.json\nval/000000000139.jpg",
    ),
    DataFormat(
        "FOLDER or\nFILE.xml",
        "voc",
        "Pascal VOC or ImageNet XML; an entry for each photo and class; objects marked difficult are ignored",
        "VOC/Annotations/27.xml\nVOC/JPEGImages/27.jpg",
    ),
    DataFormat(
        "FILE.csv",
        "imagenet",
        "ImageNet's LOC_val_solution.csv, beside ILSVRC/; labels are WordNet ids",
        "ImageId,PredictionString\nval_81,n03995372 85 1 499 272",
    ),
)
