"""The row of pictures on the report's first screen: one photo, and the maps of a few explainers over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.gallery import gallery_metric
from evalkit.analysis.results import Results
from evalkit.report.html.gallery import NO_MAPS, explained_text, label_of
from evalkit.report.html.photos import Photos, embedded_map, embedded_photo
from evalkit.report.tables.answers import short_of
from evalkit.report.tables.leaderboard import number
from evalkit.report.tables.screen import ScreenRow
from evalkit.store.database import ImageRow
from evalkit.store.manifest import Manifest
from evalkit.store.maps import load_map
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable

__all__ = ["PictureRow", "RowMap", "picture_row"]

_PHOTOS_TRIED = 20  # that are missing or have changed, before the row is given up


class RowMap(NamedTuple):
    """One explainer's map of the image.

    Attributes:
        role: why this explainer is shown; empty if there is nothing to choose.
        explainer: its text.
        control: whether it is a control.
        picture: its map over the photo.
        note: on an unusual map; else empty.
        score: its score on the image, with the metric's short title.
    """

    role: str
    explainer: str
    control: bool
    picture: str
    note: str
    score: str


class PictureRow(NamedTuple):
    """The row of pictures.

    Attributes:
        name: id of the image.
        label: its class, and the class that is explained if it is another; empty if unknown.
        photo: the photo.
        maps: the maps of the best and the worst explainer, and of a control, as far as the run has them.
        why: why this image is shown; or, if no photo and no map is, why not.
    """

    name: str
    label: str
    photo: str
    maps: tuple[RowMap, ...]
    why: str


class _Chosen(NamedTuple):
    role: str
    explainer: str
    control: bool


def picture_row(
    folder: RunFolder,
    manifest: Manifest,
    results: Results,
    rows: Sequence[ScreenRow],
    photos: Photos,
    table: ScoreTable,
) -> PictureRow | None:
    """Select an image and draw it; None if no metric scores single images.

    Args:
        folder: the run folder, open for reading.
        manifest: the manifest of the run.
        results: the analysis of the run.
        rows: the leaderboard of the first screen.
        photos: reads the photos again.
        table: the scores of the run.
    """
    answering = rows[0].cells[0].metric if rows else ""
    metric = answering if answering in table.metrics and answering not in table.statistics else None
    metric = metric or gallery_metric(table, manifest)
    if metric is None or not rows:
        return None
    if photos.problem:
        return _without(f"The photos cannot be shown: {photos.problem}.")
    short = short_of(manifest, metric)
    chosen = _chosen(rows)
    images = {row.image_id: row for row in folder.database.planned_images()}
    ids = _closest(table, metric, results, [one.explainer for one in chosen], images)
    n_unread = 0
    if manifest.settings.keep_maps != "all":
        kept = folder.database.images_with_maps()
        ids = [image_id for image_id in ids if image_id in kept]
        if not kept:
            return _without(NO_MAPS)
    for image_id in ids:
        maps = _maps(folder, image_id, chosen)
        photo = photos.read(images[image_id]) if maps else None
        if photo is not None:
            scores = table.values[table.image_ids.index(image_id), :, table.metrics.index(metric)]
            drawn = [
                RowMap(*one, *embedded_map(photo, saliency_map), f"{short} {number(float(scores[column]))}")
                for one, saliency_map in zip(chosen, maps, strict=True)
                for column in [table.explainers.index(one.explainer)]
            ]
            names = manifest.model.class_names
            parts = (label_of(images[image_id], names), explained_text(images[image_id], names))
            label = "; ".join(part for part in parts if part)
            why = _why(images[image_id], short, len(ids), len(chosen))
            return PictureRow(image_id, label, embedded_photo(photo), tuple(drawn), why)
        n_unread += bool(maps)
        if n_unread == _PHOTOS_TRIED:
            break
    if n_unread:
        return _without("The photos cannot be shown: they are missing or have changed.")
    return _without("No image has a map and a score of each explainer that would be shown here.")


def _maps(folder: RunFolder, image_id: str, chosen: Sequence[_Chosen]) -> list[NDArray[np.float32]]:
    """Return the stored maps of one image; empty if any of them is missing."""
    stored = folder.database.maps_of(image_id)
    found = [stored[one.explainer] for one in chosen if one.explainer in stored]
    maps = [load_map(folder.path, row.file, row.sha256, row.explainer) for row in found]
    present = [saliency_map for saliency_map in maps if saliency_map is not None]
    return present if len(present) == len(chosen) else []


def _without(why: str) -> PictureRow:
    return PictureRow("", "", "", (), why)


def _chosen(rows: Sequence[ScreenRow]) -> list[_Chosen]:
    """Return the best and the worst explainer by rank, without controls unless there are only these, and a control."""
    entrants = [row for row in rows if not row.control]
    controls = [row for row in rows if row.control]
    compared = entrants or controls
    ranked = [row for row in compared if row.cells[0].rank is not None]
    if len(ranked) > 1:
        kind = "explainer" if entrants else "control"
        chosen = [
            _Chosen(f"{which} {kind}", row.explainer, row.control)
            for which, row in (("best", ranked[0]), ("worst", ranked[-1]))
        ]
    else:
        scored = [row for row in compared if row.cells[0].mean is not None][:2]
        chosen = [_Chosen("", row.explainer, row.control) for row in scored]
    if entrants and controls:
        first = controls[0]
        role = "best control" if first.cells[0].rank is not None and len(controls) > 1 else "control"
        chosen.append(_Chosen(role, first.explainer, True))
    return chosen


def _closest(
    table: ScoreTable, metric: str, results: Results, explainers: Sequence[str], images: Mapping[str, ImageRow]
) -> list[str]:
    """Return the images that are scored for all explainers, those whose scores are closest to the means first.

    Misclassified images come last. The distance is the mean absolute difference; of equals the first in the set's
    order comes first.
    """
    means = {cell.explainer: cell.mean for cell in results.leaderboard if cell.metric == metric}
    centers = np.array([means.get(explainer) for explainer in explainers], dtype=np.float64)
    columns = [table.explainers.index(explainer) for explainer in explainers]
    distances = np.abs(table.values[:, columns, table.metrics.index(metric)] - centers).mean(axis=1)
    wrong = np.array([images[image_id].correct == 0 for image_id in table.image_ids])
    order = np.lexsort((distances, wrong))
    return [table.image_ids[row] for row in order if np.isfinite(distances[row])]


def _why(image: ImageRow, short: str, n_images: int, n_explainers: int) -> str:
    """Return why an image is shown, as a sentence that goes on after its name."""
    wrong = " The model misclassifies it." if image.correct == 0 else ""
    if n_images == 1:
        return f"the only one that is scored for {'this explainer' if n_explainers == 1 else 'all of these'}.{wrong}"
    means = "its mean" if n_explainers == 1 else "their means"
    these = "this explainer" if n_explainers == 1 else "these explainers"
    of = "images that the model classifies correctly" if image.correct == 1 else "images"
    return f"of the {of}, the one whose {short} for {these} is closest to {means}.{wrong}"
