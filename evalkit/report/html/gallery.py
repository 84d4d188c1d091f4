"""The report's gallery: photos as the model saw them, every explainer's map beside them, as small pictures in text."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.gallery import Group, Pick, gallery_metric, picks
from evalkit.core.errors import EvalkitError, ImageError
from evalkit.datasets.geometry import Geometry, fit
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import FORMATS, open_image_set
from evalkit.report.images.overlay import outlined, overlay
from evalkit.report.tables.leaderboard import number
from evalkit.store.database import ImageRow
from evalkit.store.manifest import Manifest
from evalkit.store.maps import load_map
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable

__all__ = ["Gallery", "Photos", "ShownGroup", "ShownImage", "ShownMap", "gallery"]

_SIDE_PX = 288
_QUALITY = 72
_PICTURES = 170  # in all: at about 25 KB each, in text, five megabytes
_A_GROUP = 3
_GRAY = 128


class ShownMap(NamedTuple):
    """One explainer's map of one image; ``picture`` is empty where no map is kept, and ``note`` says so."""

    explainer: str
    control: bool
    picture: str
    score: str
    note: str


class ShownImage(NamedTuple):
    """One image: its label, empty where it has none, its photo, empty where it is gone, and all of its maps."""

    name: str
    label: str
    facts: str
    photo: str
    maps: tuple[ShownMap, ...]


class ShownGroup(NamedTuple):
    """Some images, and why they are shown."""

    title: str
    why: str
    images: tuple[ShownImage, ...]


class Gallery(NamedTuple):
    """Everything that is shown of single images.

    Attributes:
        metric: that the scores are of.
        note: why photos are missing; empty if they are there.
    """

    metric: str
    groups: tuple[ShownGroup, ...]
    note: str


class Photos:
    """Reads the run's photos again, from where the run read them, and only if photo and place are what was scored.

    Attributes:
        problem: why no photo can be shown; empty if some can.
        changed: those that were not what the run explained, or were gone.
    """

    def __init__(self, manifest: Manifest, images: ImageSet | None = None) -> None:
        """See the class.

        Args:
            manifest: of the run.
            images: the set, for one that was in memory.
        """
        self._geometry: Geometry = "center-crop" if manifest.settings.geometry == "center-crop" else "squash"
        self._size = manifest.model.input_size
        self.problem = ""
        self.changed: set[str] = set()
        if images is None and not manifest.data.source:
            self.problem = "the run does not say where its photos were read"
        elif images is None:
            try:
                kind = manifest.data.kind
                images = open_image_set(manifest.data.source, kind if kind in FORMATS else None)
            except EvalkitError as error:
                self.problem = str(error)
        self._images = images
        self._entries = {entry.id: entry for entry in images.entries} if images else {}

    def read(self, row: ImageRow) -> LabelledImage | None:
        """Return the photo as the model saw it; None if it is gone or another."""
        if self._images is None:
            return None
        try:
            image = self._images.read(self._entries[row.image_id])
            same = image.sha256 == row.sha256 and image.place == (row.place or "")
            found = fit(image, self._size, self._geometry) if same else None
        except (KeyError, ImageError):
            found = None
        if found is None:
            self.changed.add(row.image_id)
        return found

    def note(self) -> str:
        """Say what is missing; nothing if nothing is."""
        if self.problem:
            return f"The photos cannot be shown: {self.problem}. The maps are shown alone."
        if self.changed:
            said = f"{len(self.changed)} of the photos below are gone or no longer what was explained"
            return f"{said}; their maps stand alone."
        return ""


def gallery(folder: RunFolder, manifest: Manifest, table: ScoreTable, photos: Photos) -> Gallery | None:
    """Choose images and draw them; None where no image has a score of its own."""
    metric = gallery_metric(table, manifest)
    if metric is None:
        return None
    count = max(1, min(_A_GROUP, _PICTURES // (3 * (len(manifest.explainers) + 1))))
    rows = {row.image_id: row for row in folder.database.planned_images()}
    draw = _Drawing(folder, manifest, table, metric, photos)
    groups = [_shown(group, rows, draw) for group in picks(table, manifest, count)]
    return Gallery(metric, tuple(groups), photos.note())


def _shown(group: Group, rows: dict[str, ImageRow], draw: _Drawing) -> ShownGroup:
    return ShownGroup(group.title, group.why, tuple(draw.image(rows[pick.image_id], pick) for pick in group.images))


class _Drawing(NamedTuple):
    folder: RunFolder
    manifest: Manifest
    table: ScoreTable
    metric: str
    photos: Photos

    def image(self, row: ImageRow, pick: Pick) -> ShownImage:
        photo = self.photos.read(row)
        maps = self.folder.database.maps_of(row.image_id)
        shown = []
        for place, one in enumerate(self.manifest.explainers):
            kept = maps.get(one.text)
            saliency_map = None if kept is None else load_map(self.folder.path, kept.file, kept.sha256)
            score = self.table.values[
                self.table.image_ids.index(row.image_id), place, self.table.metrics.index(self.metric)
            ]
            picture, note = ("", "no map is kept") if saliency_map is None else _over(photo, saliency_map)
            shown.append(ShownMap(one.text, one.control, picture, _score(float(score)), note))
        return ShownImage(row.image_id, row.label, _facts(row, pick), _alone(photo), tuple(shown))


def _over(photo: LabelledImage | None, saliency_map: NDArray[np.float32]) -> tuple[str, str]:
    ground = np.full((*saliency_map.shape, 3), _GRAY, dtype=np.uint8) if photo is None else photo.pixels
    # Photo and map are on the model's grid already, whatever the geometry.
    drawn = overlay(ground, saliency_map, region=None if photo is None else photo.region, sides=(_SIDE_PX, _SIDE_PX))
    return _data_uri(drawn.pixels), drawn.scale.note


def _alone(photo: LabelledImage | None) -> str:
    if photo is None:
        return ""
    drawn = overlay(photo.pixels, np.zeros(photo.pixels.shape[:2]), sides=(_SIDE_PX, _SIDE_PX)).photo
    return _data_uri(drawn if photo.region is None else outlined(drawn, photo.region))


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _score(value: float) -> str:
    return number(value) if np.isfinite(value) else "not scored"


def _facts(row: ImageRow, pick: Pick) -> str:
    # Explained is the label's class, or, with --target predicted, the one that the model took for it.
    other = row.target is not None and row.target != row.class_index
    parts: Sequence[str] = [
        *([f"explained: class {row.target}"] if other else [] if row.label else [f"class {row.class_index}"]),
        *([] if row.clean_score is None else [f"{'its' if other else 'class'} score {number(row.clean_score)}"]),
        *(["misclassified"] if row.correct == 0 else []),
        f"mean {number(pick.mean)}, gap {number(pick.spread)}",
    ]
    return " \N{MIDDLE DOT} ".join(parts)
