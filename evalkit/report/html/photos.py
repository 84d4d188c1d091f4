"""Photos and maps as the report shows them: read again from their files, drawn, and embedded as text."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import EvalkitError, ImageError
from evalkit.datasets.geometry import fit, geometry_of
from evalkit.datasets.image import LabelledImage, Pixels
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.catalog import reader_names
from evalkit.report.images.overlay import outlined, overlay
from evalkit.store.database import ImageRow
from evalkit.store.manifest import Manifest

__all__ = ["Photos", "data_uri", "embedded_map", "embedded_photo"]

_SIDE_PX = 288
_QUALITY = 72
_GRAY = 128


class Photos:
    """Reads the run's photos again, only if content and region are unchanged.

    Attributes:
        problem: why no photo can be shown; empty if some can.
    """

    def __init__(self, manifest: Manifest, images: ImageSet | None = None) -> None:
        """See the class.

        Args:
            manifest: the manifest of the run.
            images: the images of a run whose images were in memory.
        """
        self._geometry = geometry_of(manifest.settings.geometry)
        self._size = manifest.model.input_size
        self.problem = ""
        if images is None and not manifest.data.source:
            self.problem = "the run does not record where its photos are"
        elif images is None:
            try:
                kind = manifest.data.kind
                images = open_image_set(manifest.data.source, kind if kind in reader_names() else None)
            except EvalkitError as error:
                self.problem = str(error)
        self._images = images
        self._entries = {entry.id: entry for entry in images.entries} if images else {}

    def read(self, row: ImageRow) -> LabelledImage | None:
        """Return the photo as the model saw it; None if it is missing or has changed."""
        try:
            image = self.original(row)
            return None if image is None else fit(image, self._size, self._geometry)
        except ImageError:
            return None

    def file_of(self, row: ImageRow) -> Path | None:
        """Return the photo's file, which may be missing or have changed; None if it is in no file, as in scenes."""
        entry = self._entries.get(row.image_id)
        return None if entry is None else entry.path

    def original(self, row: ImageRow) -> LabelledImage | None:
        """Return the photo at its own size; None if it is missing or has changed."""
        if self._images is None:
            return None
        try:
            image = self._images.read(self._entries[row.image_id])
        except (KeyError, ImageError):
            return None
        return image if image.sha256 == row.sha256 and image.place == (row.place or "") else None


def embedded_map(photo: LabelledImage | None, saliency_map: NDArray[np.float32]) -> tuple[str, str]:
    """Return a map over its photo, or over gray without one, and a note on unusual maps."""
    ground: Pixels = np.full((*saliency_map.shape, 3), _GRAY, dtype=np.uint8) if photo is None else photo.pixels
    # Photo and map have the model's input size already, with any geometry.
    drawn = overlay(ground, saliency_map, region=None if photo is None else photo.region, sides=(_SIDE_PX, _SIDE_PX))
    return data_uri(drawn.pixels), drawn.scale.note


def embedded_photo(photo: LabelledImage | None) -> str:
    """Return a photo with the outline of its object; empty without a photo."""
    if photo is None:
        return ""
    drawn = overlay(photo.pixels, np.zeros(photo.pixels.shape[:2]), sides=(_SIDE_PX, _SIDE_PX)).photo
    return data_uri(drawn if photo.region is None else outlined(drawn, photo.region))


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return RGB pixels as an image in a text that pages can embed."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
