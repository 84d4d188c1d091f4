"""The images of the report's gallery: best explained, worst explained, most different between explainers."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from evalkit.analysis.facts import metric_facts_of
from evalkit.store.manifest import Manifest
from evalkit.store.scores import ScoreTable

__all__ = ["Group", "Pick", "gallery_metric", "picks"]


class Pick(NamedTuple):
    """One image.

    Attributes:
        image_id: id of the image.
        mean: mean of the metric over the explainers, without controls.
        spread: difference between the best and the worst explainer.
    """

    image_id: str
    mean: float
    spread: float


class Group(NamedTuple):
    """Images of the gallery, and why they are shown."""

    title: str
    why: str
    images: tuple[Pick, ...]


def gallery_metric(table: ScoreTable, manifest: Manifest) -> str | None:
    """Return the text of the metric that selects images: the run's criterion, or the first that scores images."""
    scored = [
        text
        for index, text in enumerate(table.metrics)
        if text not in table.statistics and np.isfinite(table.values[:, :, index]).any()
    ]
    return manifest.settings.criterion if manifest.settings.criterion in scored else next(iter(scored), None)


def picks(table: ScoreTable, manifest: Manifest, count: int, among: Collection[str] | None = None) -> list[Group]:
    """Select images by the scores of the explainers, without controls unless there are only controls.

    Args:
        table: the scores of the run.
        manifest: the manifest of the run.
        count: largest number of images in a group.
        among: ids of the images to select from; None = all.
    """
    metric = gallery_metric(table, manifest)
    if metric is None:
        return []
    lower = next(facts for facts in metric_facts_of(manifest) if facts.text == metric).direction == "lower"
    no_controls = [index for index, explainer in enumerate(manifest.explainers) if not explainer.control]
    columns = no_controls or list(range(len(manifest.explainers)))
    values = table.values[:, columns, table.metrics.index(metric)]
    allowed = np.array([among is None or image_id in among for image_id in table.image_ids], dtype=np.bool_)
    rows = np.flatnonzero(np.isfinite(values).any(axis=1) & allowed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows without any score are not used
        means = np.nanmean(values, axis=1)
        spreads = np.nanmax(values, axis=1) - np.nanmin(values, axis=1)

    def chosen(rows: Sequence[int]) -> tuple[Pick, ...]:
        photos = {} if table.photos is None else dict(enumerate(table.photos))
        first: dict[object, int] = {}  # a photo with several entries is shown once
        for row in rows:
            first.setdefault(photos.get(row, row), row)
        shown = list(first.values())[:count]
        return tuple(Pick(table.image_ids[row], float(means[row]), float(spreads[row])) for row in shown)

    best_first = rows[np.argsort(means[rows] if lower else -means[rows], kind="stable")].tolist()
    # No image is in both groups, even if there are few.
    half = (len(best_first) + 1) // 2
    groups = [
        Group("Best explained", f"best mean {metric} over the explainers", chosen(best_first[:half])),
        Group("Worst explained", f"worst mean {metric} over the explainers", chosen(best_first[half:][::-1])),
    ]
    if len(columns) > 1:
        widest_first = rows[np.argsort(-spreads[rows], kind="stable")].tolist()
        why = f"largest difference in {metric} between the best and the worst explainer"
        groups.append(Group("Largest disagreement", why, chosen(widest_first)))
    return [group for group in groups if group.images]
