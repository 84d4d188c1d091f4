"""The recognition of LabelMe's JSON files, by their first bytes."""

from __future__ import annotations

import re
from pathlib import Path

from evalkit.datasets.readers.base import visible_files

__all__ = ["is_labelme_file", "labelme_files"]

_JSON = ".json"
_HEAD = 65536  # bytes; what comes before the shapes is short
_LOOKED_AT = 20
_SHAPES = re.compile(rb'"shapes"\s*:\s*\[')
_COCO = re.compile(rb'"(annotations|categories)"\s*:\s*\[')


def is_labelme_file(path: Path) -> bool:
    """Return whether a file begins as LabelMe's JSON does: it has a list of shapes, and none of COCO's lists."""
    if not path.name.lower().endswith(_JSON):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return bool(_SHAPES.search(head)) and not _COCO.search(head)


def labelme_files(folder: Path) -> list[Path]:
    """Return the JSON files directly in a folder if at least half of the first 20 are LabelMe's, else none."""
    files = visible_files(folder, _JSON)
    looked_at = files[:_LOOKED_AT]
    return files if looked_at and 2 * sum(map(is_labelme_file, looked_at)) >= len(looked_at) else []
