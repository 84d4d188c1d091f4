"""The report's gallery: photos as the model saw them and every explainer's map, as embedded images."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.gallery import Group, Pick, gallery_metric, picks
from evalkit.core.errors import EvalkitError, ImageError
from evalkit.datasets.geometry import fit, geometry_of
from evalkit.datasets.image import LabelledImage, Pixels
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.catalog import reader_names
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
_MOST_IMAGES = 170  # in all: about 25 KB each, five megabytes
_GROUP_SIZE = 3
_GRAY = 128
_WORDNET_ID = re.compile(r"n[0-9]{8}")


class ShownMap(NamedTuple):
    """One explainer's map of one image; ``picture`` is empty if no map is stored, and ``note`` says so."""

    explainer: str
    control: bool
    picture: str
    score: str
    note: str


class ShownImage(NamedTuple):
    """One image: its label and photo, empty if there is none, and all of its maps."""

    name: str
    label: str
    facts: str
    photo: str
    maps: tuple[ShownMap, ...]


class ShownGroup(NamedTuple):
    """Images of the gallery, and why they are shown."""

    title: str
    why: str
    images: tuple[ShownImage, ...]


class Gallery(NamedTuple):
    """The gallery of single images.

    Attributes:
        metric: text of the metric whose scores are shown.
        groups: the groups of images.
        note: why photos are missing; empty if none are.
    """

    metric: str
    groups: tuple[ShownGroup, ...]
    note: str


class Photos:
    """Reads the run's photos again, only if content and region are unchanged.

    Attributes:
        problem: why no photo can be shown; empty if some can.
        changed: ids of images whose photo is missing or has changed.
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
        self.changed: set[str] = set()
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
        if self._images is None:
            return None
        try:
            image = self._images.read(self._entries[row.image_id])
            same = image.sha256 == row.sha256 and image.place == (row.place or "")
            fitted = fit(image, self._size, self._geometry) if same else None
        except (KeyError, ImageError):
            fitted = None
        if fitted is None:
            self.changed.add(row.image_id)
        return fitted

    def note(self) -> str:
        """Return a sentence on missing photos; empty if none are missing."""
        if self.problem:
            return f"The photos cannot be shown: {self.problem}. The maps are shown without them."
        if self.changed:
            return f"{len(self.changed)} of the photos below are missing or have changed; their maps are shown alone."
        return ""


def gallery(folder: RunFolder, manifest: Manifest, table: ScoreTable, photos: Photos) -> Gallery | None:
    """Select and draw images; None if no metric scores single images."""
    metric = gallery_metric(table, manifest)
    if metric is None:
        return None
    count = max(1, min(_GROUP_SIZE, _MOST_IMAGES // (3 * (len(manifest.explainers) + 1))))
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
        for column, explainer in enumerate(self.manifest.explainers):
            stored = maps.get(explainer.text)
            saliency_map = None if stored is None else load_map(self.folder.path, stored.file, stored.sha256)
            score = self.table.values[
                self.table.image_ids.index(row.image_id), column, self.table.metrics.index(self.metric)
            ]
            picture, note = ("", "no map is stored") if saliency_map is None else _over(photo, saliency_map)
            shown.append(ShownMap(explainer.text, explainer.control, picture, _score(float(score)), note))
        names = self.manifest.model.class_names
        return ShownImage(row.image_id, _label(row, names), _facts(row, pick, names), _alone(photo), tuple(shown))


def _over(photo: LabelledImage | None, saliency_map: NDArray[np.float32]) -> tuple[str, str]:
    ground: Pixels = np.full((*saliency_map.shape, 3), _GRAY, dtype=np.uint8) if photo is None else photo.pixels
    # Photo and map have the model's input size already, with any geometry.
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


def _label(row: ImageRow, names: Mapping[int, str]) -> str:
    """Return the name of an image's class, also where its label is a WordNet id; empty if unknown."""
    known = names.get(row.class_index, "")
    return known or row.label if not row.label or _WORDNET_ID.fullmatch(row.label) else row.label


def _facts(row: ImageRow, pick: Pick, names: Mapping[int, str]) -> str:
    # The explained class is the label, or, with --target predicted, the model's first choice.
    other = row.target is not None and row.target != row.class_index
    known = _label(row, names)
    parts: Sequence[str] = [
        *([f"explained: {_class(row.target, names)}"] if other else [] if known else [f"class {row.class_index}"]),
        *([] if row.clean_score is None else [f"{'its' if other else 'class'} score {number(row.clean_score)}"]),
        *(["misclassified"] if row.correct == 0 else []),
        f"mean {number(pick.mean)}, difference {number(pick.spread)}",
    ]
    return " \N{MIDDLE DOT} ".join(parts)


def _class(index: int | None, names: Mapping[int, str]) -> str:
    return names.get(index, f"class {index}") if index is not None else ""
