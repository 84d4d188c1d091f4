"""The report's gallery: photos as the model saw them and every explainer's map, as embedded images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evalkit.analysis.gallery import Group, Pick, gallery_metric, picks
from evalkit.core.kept_maps import read_kept_maps
from evalkit.report.html.photos import Photos, embedded_map, embedded_photo
from evalkit.report.tables.leaderboard import number
from evalkit.store.database import ImageRow
from evalkit.store.manifest import Manifest
from evalkit.store.maps import load_map
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable

__all__ = ["NO_MAPS", "Gallery", "ShownGroup", "ShownImage", "ShownMap", "explained_text", "gallery", "label_of"]

NO_MAPS = "The run kept no maps (--keep-maps none), so none can be shown."
_MOST_IMAGES = 170  # in all: about 25 KB each, five megabytes
_GROUP_SIZE = 3
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


def gallery(folder: RunFolder, manifest: Manifest, table: ScoreTable, photos: Photos) -> Gallery | None:
    """Select and draw images; None if no metric scores single images."""
    metric = gallery_metric(table, manifest)
    if metric is None:
        return None
    count = max(1, min(_GROUP_SIZE, _MOST_IMAGES // (3 * (len(manifest.explainers) + 1))))
    rows = {row.image_id: row for row in folder.database.planned_images()}
    draw = _Drawing(folder, manifest, table, metric, photos)
    kept = read_kept_maps("keep_maps", manifest.settings.keep_maps)
    among = None if kept.most is None else folder.database.images_with_maps()
    if among is not None and not among:
        return Gallery(metric, (), NO_MAPS)
    groups = [_shown(group, rows, draw) for group in picks(table, manifest, count, among)]
    lost = {image.name for group in groups for image in group.images if not image.photo}
    notes = [] if kept.most is None else [f"Only the {len(among or ()):,} images whose maps were kept are considered."]
    return Gallery(metric, tuple(groups), " ".join([*notes, *filter(None, [_note(photos, len(lost))])]))


def _note(photos: Photos, n_lost: int) -> str:
    """Return a sentence on missing photos; empty if none are missing."""
    if photos.problem:
        return f"The photos cannot be shown: {photos.problem}. The maps are shown without them."
    if n_lost:
        return f"{n_lost} of the photos below are missing or have changed; their maps are shown alone."
    return ""


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
            saliency_map = (
                None if stored is None else load_map(self.folder.path, stored.file, stored.sha256, explainer.text)
            )
            score = self.table.values[
                self.table.image_ids.index(row.image_id), column, self.table.metrics.index(self.metric)
            ]
            picture, note = ("", "no map is stored") if saliency_map is None else embedded_map(photo, saliency_map)
            shown.append(ShownMap(explainer.text, explainer.control, picture, _score(float(score)), note))
        names = self.manifest.model.class_names
        label, facts = label_of(row, names), _facts(row, pick, names)
        return ShownImage(row.image_id, label, facts, embedded_photo(photo), tuple(shown))


def _score(value: float) -> str:
    return number(value) if np.isfinite(value) else "not scored"


def label_of(row: ImageRow, names: Mapping[int, str]) -> str:
    """Return the name of an image's class, also where its label is a WordNet id; empty if unknown."""
    known = names.get(row.class_index, "")
    return known or row.label if not row.label or _WORDNET_ID.fullmatch(row.label) else row.label


def _facts(row: ImageRow, pick: Pick, names: Mapping[int, str]) -> str:
    other = explained_text(row, names)
    known = label_of(row, names)
    parts: Sequence[str] = [
        *([other] if other else [] if known else [f"class {row.class_index}"]),
        *([] if row.clean_score is None else [f"{'its' if other else 'class'} score {number(row.clean_score)}"]),
        *(["misclassified"] if row.correct == 0 else []),
        f"mean {number(pick.mean)}, difference {number(pick.spread)}",
    ]
    return " \N{MIDDLE DOT} ".join(parts)


def explained_text(row: ImageRow, names: Mapping[int, str]) -> str:
    """Return which class is explained if it is not the label, as with ``--target predicted``; else empty."""
    other = row.target is not None and row.target != row.class_index
    return f"explained: {_class(row.target, names)}" if other else ""


def _class(index: int | None, names: Mapping[int, str]) -> str:
    return names.get(index, f"class {index}") if index is not None else ""
