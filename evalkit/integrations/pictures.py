"""The pictures of the report's gallery, for trackers."""

from __future__ import annotations

import base64
import io
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.integrations.names import safe_name
from evalkit.report.html.gallery import Gallery, ShownImage

__all__ = ["Picture", "pictures_of", "png_of"]


class Picture(NamedTuple):
    """A photo, or a map over its photo.

    Attributes:
        group: why it is shown, e.g. ``best_explained``.
        explainer: name of the explainer, from ``safe_name``; ``photo`` for the photo itself.
        place: place of the image in its group, from 1.
        caption: the image's id and class; of a map also its explainer, its score, and what is unusual about the map.
        pixels: uint8 (H, W, 3), RGB.
    """

    group: str
    explainer: str
    place: int
    caption: str
    pixels: NDArray[np.uint8]

    @property
    def name(self) -> str:
        """The name in trackers, e.g. ``gallery/best_explained/1/gradcam``."""
        return f"gallery/{self.group}/{self.place}/{self.explainer}"

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        return png_of(self.pixels)


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels, uint8 (H, W, 3), as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pictures_of(gallery: Gallery | None) -> tuple[Picture, ...]:
    """Return the pictures of a gallery as pixels; none if there is no gallery."""
    if gallery is None:
        return ()
    pictures = []
    for group in gallery.groups:
        name = re.sub(r"[^a-z]+", "_", group.title.lower())
        for place, image in enumerate(group.images, start=1):
            drawn = _drawn(image, gallery.metric)
            pictures += [Picture(name, part, place, caption, _pixels(uri)) for part, caption, uri in drawn]
    return tuple(pictures)


def _drawn(image: ShownImage, metric: str) -> list[tuple[str, str, str]]:
    """Return explainer, caption and picture as text of the photo, if it is there, and of every map that is stored."""
    of_image = f"{image.name} ({image.label})" if image.label else image.name
    drawn = [("photo", of_image, image.photo)]
    for shown in image.maps:
        facts = "; ".join(filter(None, [f"{metric} {shown.score}", shown.note]))
        drawn.append((safe_name(shown.explainer), f"{shown.explainer}: {of_image}; {facts}", shown.picture))
    return [one for one in drawn if one[2]]


def _pixels(uri: str) -> NDArray[np.uint8]:
    """Return the pixels of an embedded picture."""
    from PIL import Image

    data = base64.b64decode(uri.partition(",")[2])
    with Image.open(io.BytesIO(data)) as opened:
        return np.array(opened.convert("RGB"), dtype=np.uint8)
