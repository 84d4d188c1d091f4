"""From a path to a labelled image set: the reader is chosen by what stands there."""

from __future__ import annotations

from pathlib import Path

from evalkit.datasets.image_set import ImageSet
from evalkit.errors import DataError

__all__ = ["open_image_set"]


def open_image_set(path: str | Path) -> ImageSet:
    """Open the scenes, a CSV manifest, a folder of class folders or a flat folder of images; no photo is read.

    Args:
        path: ``scenes``, or a path; ``~`` stands for the home folder. A folder of that name is ``./scenes``.

    Raises:
        DataError: nothing stands there, it is of another kind, or its reader refuses it.
    """
    if path == "scenes":
        from evalkit.datasets.scenes import scenes

        return scenes()
    place = Path(path).expanduser()
    if place.is_dir():
        from evalkit.datasets.class_folder import read_class_folder

        return read_class_folder(place)
    if not place.exists():
        raise DataError(
            f"--data '{path}' does not exist; name a CSV manifest, or a folder with <class>/<image>; "
            "'scenes' is built in"
        )
    if place.suffix.lower() != ".csv":
        raise DataError(
            f"--data '{path}' is neither a folder nor a .csv file; name a folder with <class>/<image>, "
            "or a CSV manifest (image,class_index or image,label)"
        )
    from evalkit.datasets.csv_manifest import read_csv_manifest

    return read_csv_manifest(place)
