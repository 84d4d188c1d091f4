"""Which images are worth looking at: the best and worst explained, and those that explainers disagree about."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evalkit.analysis.load import metrics_of
from evalkit.store.manifest import Manifest
from evalkit.store.scores import ScoreTable

__all__ = ["Group", "Pick", "gallery_metric", "picks"]


class Pick(NamedTuple):
    """One image.

    Attributes:
        image_id: its id.
        mean: of the metric over the explainers that are no controls.
        spread: the distance between the best and the worst of them.
    """

    image_id: str
    mean: float
    spread: float


class Group(NamedTuple):
    """Some images, and why they are shown."""

    title: str
    why: str
    images: tuple[Pick, ...]


def gallery_metric(table: ScoreTable, manifest: Manifest) -> str | None:
    """Return the text of the metric that images are chosen by: the run's criterion, or the first with image scores."""
    scored = [
        text
        for place, text in enumerate(table.metrics)
        if text not in table.statistics and np.isfinite(table.values[:, :, place]).any()
    ]
    return manifest.settings.criterion if manifest.settings.criterion in scored else next(iter(scored), None)


def picks(table: ScoreTable, manifest: Manifest, count: int) -> list[Group]:
    """Choose images by the scores of the explainers that are no controls (of all, if there are none but controls).

    Args:
        table: every score.
        manifest: of the run.
        count: the most images a group.
    """
    metric = gallery_metric(table, manifest)
    if metric is None:
        return []
    lower = next(one for one in metrics_of(manifest) if one.text == metric).spec.direction == "lower"
    own = [place for place, one in enumerate(manifest.explainers) if not one.control]
    places = own or list(range(len(manifest.explainers)))
    values = table.values[:, places, table.metrics.index(metric)]
    rows = np.flatnonzero(np.isfinite(values).any(axis=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # images that nothing scored are not looked at
        means = np.nanmean(values, axis=1)
        spreads = np.nanmax(values, axis=1) - np.nanmin(values, axis=1)

    def chosen(rows: Sequence[int]) -> tuple[Pick, ...]:
        photos = {} if table.photos is None else dict(enumerate(table.photos))
        first: dict[object, int] = {}  # a photo is shown once, whatever else it is an entry of
        for row in rows:
            first.setdefault(photos.get(row, row), row)
        shown = list(first.values())[:count]
        return tuple(Pick(table.image_ids[row], float(means[row]), float(spreads[row])) for row in shown)

    best_first = rows[np.argsort(means[rows] if lower else -means[rows], kind="stable")].tolist()
    # No image is shown as both, however few there are.
    half = (len(best_first) + 1) // 2
    groups = [
        Group("Best explained", f"best mean {metric} over the explainers", chosen(best_first[:half])),
        Group("Worst explained", f"worst mean {metric} over the explainers", chosen(best_first[half:][::-1])),
    ]
    if len(places) > 1:
        widest_first = rows[np.argsort(-spreads[rows], kind="stable")].tolist()
        why = f"widest gap in {metric} between the best and the worst explainer"
        groups.append(Group("Most disagreed about", why, chosen(widest_first)))
    return [group for group in groups if group.images]
