"""From a path to a labelled image set: the reader is chosen by what stands there, or by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from evalkit.datasets.image_set import ImageSet
from evalkit.errors import ConfigError, DataError, nearest
from evalkit.names import path_of

__all__ = ["FORMATS", "open_image_set"]

# By name: what is not asked for is not imported.
_READERS = {
    "folder": ("class_folder", "read_class_folder"),
    "masks": ("mask_folder", "read_mask_folder"),
    "csv": ("csv_manifest", "read_csv_manifest"),
    "coco": ("coco", "read_coco"),
    "voc": ("voc", "read_voc"),
    "imagenet": ("imagenet_csv", "read_imagenet_csv"),
}
FORMATS = tuple(_READERS)
"""What ``--data-format`` takes."""

_SUFFIXES = {".csv": "csv", ".json": "coco", ".xml": "voc"}


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
    if path == "scenes" and data_format is None:
        from evalkit.datasets.scenes import scenes

        return scenes()
    place = path_of(path)
    if not place.exists():
        raise DataError(
            f"--data '{path}' does not exist; name a CSV manifest, or a folder with <class>/<image>, or another of "
            "`list datasets`; 'scenes' is built in"
        )
    if data_format is not None:
        _require_kind(place, data_format)
        return _reader(data_format)(place)
    place = _annotations_of(place)
    return _reader(_recognized(place))(place)


def _require_kind(place: Path, data_format: str) -> None:
    """Raise DataError if a forced format cannot be what stands there."""
    wanted = "a file" if data_format in ("csv", "coco", "imagenet") else "a folder"
    if data_format != "voc" and place.is_dir() != (wanted == "a folder"):
        found = "a folder" if place.is_dir() else "a file"
        raise DataError(
            f"--data '{place}' is {found}; --data-format {data_format} takes {wanted}; name one, or leave the option "
            "out"
        )


def _annotations_of(place: Path) -> Path:
    """Return COCO's own file where its folder is named, else the place itself."""
    found = [] if _has_masks(place) else sorted([*(place / "annotations").glob("*.json"), *place.glob("*.coco.json")])
    if len(found) > 1:
        raise DataError(
            f"--data '{place}' has several annotations; name one of {', '.join(str(file) for file in found[:5])}"
            + (f", and {len(found) - 5} more" if len(found) > 5 else "")
        )
    return found[0] if found else place


def _recognized(place: Path) -> str:
    """Return the format of what stands there."""
    if place.is_dir():
        return _recognized_folder(place)
    found = _SUFFIXES.get(place.suffix.lower())
    if found is None:
        raise DataError(
            f"--data '{place}' is neither a folder nor a .csv file, nor a .json or .xml; name a folder with "
            "<class>/<image>, a CSV manifest (image,class_index or image,label), or another of `list datasets`"
        )
    if found == "csv" and _begins(place).startswith("imageid,"):
        return "imagenet"
    return found


def _recognized_folder(folder: Path) -> str:
    if _has_masks(folder):
        return "masks"
    annotated = folder / "Annotations"
    if annotated.is_dir() or any(child.suffix.lower() == ".xml" for child in folder.glob("*")):
        return "voc"
    return "folder"


def _has_masks(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _begins(path: Path) -> str:
    """Return the beginning of a file's first line, in small letters without spaces."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline(200).replace(" ", "").lower()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _reader(data_format: str) -> Callable[[Path], ImageSet]:
    module, function = _READERS[data_format]
    reader: Callable[[Path], ImageSet] = getattr(import_module(f"evalkit.datasets.{module}"), function)
    return reader
