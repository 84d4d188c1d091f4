"""Names of folders that are parts of a set, not classes: splits, annotations, and folders around photos."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["FOREIGN", "PartKind", "part_kind"]

PartKind = Literal["", "split", "annotations", "container"]

FOREIGN = frozenset(
    ("@eaDir", "__MACOSX", "__pycache__", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle")
)
"""Thumbnails and leftovers of other systems and programs."""

_SPLIT_WORDS = frozenset(
    (
        *("train", "training", "trainset", "trainval", "val", "valid", "validation", "valset"),
        *("test", "testing", "testset", "dev", "eval", "holdout", "fold"),
    )
)
_AROUND_SPLITS = frozenset(("set", "data", "dataset", "images", "image", "imgs", "split", "seg", "pred", "new", "real"))
_ANNOTATIONS = frozenset(
    (
        *("masks", "mask", "trimaps", "trimap", "segmentations", "segmentation", "segmentationclass"),
        *("segmentationobject", "segmentationmasks", "labels", "label", "annotations", "annotation", "imagesets"),
        *("xmls", "xml", "jsons", "json", "bboxes", "bbox", "boxes", "groundtruth", "gt", "parts"),
    )
)
_CONTAINERS = frozenset(
    (
        *("images", "image", "imgs", "img", "photos", "jpegimages", "data", "dataset", "datasets"),
        *("ilsvrc", "voc2007", "voc2012", "vocdevkit"),
    )
)


def part_kind(name: str) -> PartKind:
    """Return what part of a set a folder's name says that it is; empty if it can be a class.

    >>> part_kind("training_set"), part_kind("val2017"), part_kind("trimaps"), part_kind("train station")
    ('split', 'split', 'annotations', '')
    """
    folded = name.casefold()
    words = set(re.findall(r"[^\W\d_]+", folded))
    if words & _SPLIT_WORDS and words <= _SPLIT_WORDS | _AROUND_SPLITS:
        return "split"
    joined = re.sub(r"[\s_-]", "", folded)
    if joined in _ANNOTATIONS:
        return "annotations"
    return "container" if joined in _CONTAINERS else ""
