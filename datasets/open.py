"""From a path to a labelled image set: the reader is chosen by what stands there, or by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from evalkit.core.errors import ConfigError, DataError, nearest
from evalkit.core.names import path_of
from evalkit.datasets.image_set import ImageSet

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

# What the folders of a downloaded set are called that are no classes.
_PARTS = frozenset(
    (
        *("train", "training", "val", "valid", "validation", "test", "testing", "dev"),
        *("images", "image", "imgs", "img", "photos", "jpegimages", "data"),
        *("masks", "mask", "trimaps", "segmentations", "segmentationclass", "segmentationobject"),
        *("labels", "label", "annotations", "annotation", "imagesets", "parts"),
        *("ilsvrc", "voc2007", "voc2012", "train2014", "val2014", "test2014", "train2017", "val2017", "test2017"),
    )
)
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
        from evalkit.datasets.scenes.scenes import scenes

        return scenes()
    place = path_of(path)
    if not place.exists():
        raise DataError(
            f"--data '{path}' does not exist; name a CSV manifest, or a folder with <class>/<image>, or another of "
            "`list datasets`; 'scenes' is built in"
        )
    if data_format is not None:
        place = _annotations_of(place) if data_format == "coco" else place
        _require_kind(place, data_format)
        return _reader(data_format)(place)
    if not place.is_file() and not place.is_dir():
        raise DataError(f"--data '{path}' is neither a file nor a folder; name one of `list datasets`")
    place = _annotations_of(place)
    recognized = _recognized(place)
    if recognized == "folder":
        _require_classes(place)
    return _reader(recognized)(place)


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
    found = [] if _has_masks(place) else [*_visible(place / "annotations", ".json"), *_visible(place, ".coco.json")]
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
    if found == "csv" and _begins(place).startswith("imageid,predictionstring"):
        return "imagenet"
    return found


def _recognized_folder(folder: Path) -> str:
    if _has_masks(folder):
        return "masks"
    annotated = folder / "Annotations"
    if annotated.is_dir() or _visible(folder, ".xml"):
        return "voc"
    return "folder"


def _visible(folder: Path, ending: str) -> list[Path]:
    """Return the files of a folder that end so, but hidden ones, which other systems leave behind."""
    try:
        return sorted(one for one in folder.glob("*") if one.name.lower().endswith(ending) and one.name[0] != ".")
    except OSError:
        return []  # its reader says why


def _require_classes(folder: Path) -> None:
    """Raise DataError if the folders in a folder are parts of a set, by their names, and no classes."""
    try:
        inside = sorted(child.name for child in folder.iterdir() if child.is_dir() and child.name[0] != ".")
    except OSError:
        return  # its reader says why
    parts = [name for name in inside if name.casefold() in _PARTS]
    if not parts or len(parts) < len(inside):
        return
    also = [one.name for ending in (".csv", ".json") for one in _visible(folder, ending)]
    ways = [f"one of them, for example {folder / parts[-1]}", *([f"its list, {folder / also[0]}"] if also else [])]
    raise DataError(
        f"--data '{folder}': its folders {', '.join(parts[:6])} are parts of a set, by their names, and no classes; "
        f"name {' or '.join(ways)}, or its annotations; --data-format folder takes them as classes"
    )


def _has_masks(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _begins(path: Path) -> str:
    """Return the beginning of a file's first line, in small letters without spaces."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline(200).replace(" ", "").replace('"', "").lower()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _reader(data_format: str) -> Callable[[Path], ImageSet]:
    module, function = _READERS[data_format]
    reader: Callable[[Path], ImageSet] = getattr(import_module(f"evalkit.datasets.readers.{module}"), function)
    return reader
