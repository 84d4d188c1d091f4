"""Maps over their photos as pictures for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import tensorflow as tf

from evalkit.core.errors import MissingPackageError
from evalkit.datasets.geometry import Geometry
from evalkit.datasets.image import LabelledImage
from evalkit.harness.engine.jobs import MadeMap
from evalkit.report.images.overlay import overlay

__all__ = ["OverlayWriter"]

_SIDES = (240, 480)  # smallest and largest longer side of a picture, in pixels


class OverlayWriter:
    """Writes pictures into a folder of TensorBoard's, in a run of its own, ``explanations``.

    Args:
        log_dir: TensorBoard's folder.

    Raises:
        MissingPackageError: TensorBoard, which writes pictures, is not installed.
    """

    def __init__(self, log_dir: Path) -> None:
        """See the class."""
        if find_spec("tensorboard") is None:
            raise MissingPackageError(
                "pictures are written by TensorBoard, which is not installed; python -m pip install tensorboard, or "
                "leave pictures out"
            )
        self._folder = log_dir / "explanations"
        self._writer: tf.summary.SummaryWriter | None = None

    def write(
        self,
        epoch: int,
        maps: Mapping[str, Sequence[MadeMap]],
        read: Callable[[str], LabelledImage],
        geometry: Geometry,
    ) -> None:
        """Write one picture for each map, under the names of explainer and image.

        Args:
            epoch: the epoch, from 0, as Keras' callback for TensorBoard counts.
            maps: the maps of each image, by its id.
            read: a function from an image's id to the image at its own size.
            geometry: how photos are fitted to the model's input.
        """
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default():
            for image_id, of_image in maps.items():
                if not of_image:  # it could not be read
                    continue
                image = read(image_id)
                for made in of_image:
                    drawn = overlay(
                        image.pixels, made.saliency_map, geometry=geometry, region=image.region, sides=_SIDES
                    )
                    tf.summary.image(f"explanation/{made.explainer}/{image_id}", drawn.pixels[None], step=epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file; a later picture begins another one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
