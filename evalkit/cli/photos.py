"""The photos of a run that have moved, for commands that read them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet

__all__ = ["photos_at"]


def photos_at(run_folder: Path, data: str | None) -> ImageSet | None:
    """Return the labelled set that ``--data`` names, read as the run read its own; None without the option.

    Raises:
        DataError: the path does not exist, or is of another format.
    """
    if data is None:
        return None
    from evalkit.datasets.open import open_image_set
    from evalkit.datasets.readers.catalog import reader_names
    from evalkit.store.run_folder import RunFolder

    run = RunFolder.manifest_at(run_folder)
    return open_image_set(data, run.data.kind if run and run.data.kind in reader_names() else None)
