"""From a path to a labelled image set: the reader is chosen by what stands there, or by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evalkit.datasets.image_set import ImageSet
from evalkit.errors import ConfigError, DataError, nearest

__all__ = ["FORMATS", "open_image_set"]

FORMATS = ("folder", "csv", "coco")
"""What ``--data-format`` takes: the readers by name."""

_EXPECTED = {"folder": "a folder", "csv": "a .csv file", "coco": "a COCO .json file"}


def open_image_set(path: str | Path, data_format: str | None = None) -> ImageSet:
    """Open the scenes, a folder of photos, or a file that says what is on them; no photo is read.

    Args:
        path: ``scenes``, or a path; ``~`` stands for the home folder. A folder of that name is ``./scenes``.
        data_format: one of ``FORMATS``; None looks at what stands there.

    Raises:
        DataError: nothing stands there, it is of another kind, or its reader refuses it.
        ConfigError: an unknown format.
    """
    if data_format is not None and data_format not in FORMATS:
        raise ConfigError(f"--data-format '{data_format}' is unknown: {nearest(data_format, FORMATS)}")
    if path == "scenes":
        from evalkit.datasets.scenes import scenes

        return scenes()
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(
            f"--data '{path}' does not exist; name a CSV manifest, or a folder with <class>/<image>, or another of "
            "`list datasets`; 'scenes' is built in"
        )
    return _reader(data_format or _recognized(place))(place)


def _recognized(place: Path) -> str:
    """Return the format of what stands there."""
    if place.is_dir():
        return "folder"
    found = {".csv": "csv", ".json": "coco"}.get(place.suffix.lower())
    if found is None:
        raise DataError(
            f"--data '{place}' is neither a folder nor a .csv file, nor {_EXPECTED['coco']}; name a folder with "
            "<class>/<image>, a CSV manifest (image,class_index or image,label), or another of `list datasets`"
        )
    return found


def _reader(data_format: str) -> Callable[[Path], ImageSet]:
    # Each in its own import: what is not asked for is not loaded.
    if data_format == "csv":
        from evalkit.datasets.csv_manifest import read_csv_manifest

        return read_csv_manifest
    if data_format == "coco":
        from evalkit.datasets.coco import read_coco

        return read_coco
    from evalkit.datasets.class_folder import read_class_folder

    return read_class_folder
