"""The maps of a run as single ``.npy`` files, for other programs."""

from __future__ import annotations

from pathlib import Path

from evalkit.core.errors import StoreError
from evalkit.store.files import write_file
from evalkit.store.maps import load_map, map_path, npy_bytes
from evalkit.store.run_folder import RunFolder

__all__ = ["export_maps"]


def export_maps(folder: RunFolder, into: Path) -> list[Path]:
    """Write every kept map of a run as ``<explainer>/<image>.npy``, float32 (H, W), and return the paths.

    Args:
        folder: the run folder, open for reading.
        into: the folder to write to; created if missing.

    Raises:
        StoreError: no map was kept, a map is damaged or missing, or a file cannot be written.
    """
    written = []
    for image in folder.database.planned_images():
        for row in folder.database.maps_of(image.image_id).values():
            if not row.file:
                continue
            saliency_map = load_map(folder.path, row.file, row.sha256, row.explainer)
            if saliency_map is None:
                raise StoreError(
                    f"'{folder.path / row.file}' is damaged or missing; repeat the command that created the run, then "
                    "this one"
                )
            path = into / Path(map_path(row.explainer, row.image_id)).relative_to("maps")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, npy_bytes(saliency_map), "--maps")
            written.append(path)
    if not written:
        raise StoreError(f"'{folder.path}' has no maps to write")
    return written
