"""The numbers of a run by name: means with their intervals, and facts of the run as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from evalkit.analysis.facts import metric_facts_of
from evalkit.analysis.results import LeaderboardCell, Results, SanityResult
from evalkit.integrations.names import OF_RUN, metric_name, safe_name
from evalkit.store.manifest import Manifest

__all__ = ["ScoreRow", "metric_names", "numbers_of", "score_rows"]


class ScoreRow(NamedTuple):
    """One explainer under one metric.

    Attributes:
        name: ``<metric>/<explainer>``, the name of its mean.
        explainer: text of the explainer.
        metric: text of the metric.
        direction: ``higher`` or ``lower`` is better.
        mean: mean over the scored images, or the score of the whole set; None if nothing was scored.
        low: lower end of the 95 % interval; None without one.
        high: upper end of the interval.
        n_scored: number of images scored.
        rank: rank within the metric, 1 = best; None without one.
    """

    name: str
    explainer: str
    metric: str
    direction: str
    mean: float | None
    low: float | None
    high: float | None
    n_scored: int
    rank: int | None


def metric_names(manifest: Manifest) -> dict[str, str]:
    """Return the names of a run's metrics, by text."""
    return {facts.text: metric_name(facts) for facts in metric_facts_of(manifest)}


def score_rows(manifest: Manifest, results: Results) -> tuple[ScoreRow, ...]:
    """Return every cell of the leaderboards, then those of sanity checks and of known cues."""
    names = metric_names(manifest)
    cells: list[LeaderboardCell | SanityResult] = [*results.leaderboard, *results.sanity, *results.shortcuts]
    return tuple(_row(cell, names) for cell in cells)


def _row(cell: LeaderboardCell | SanityResult, names: Mapping[str, str]) -> ScoreRow:
    return ScoreRow(
        f"{names[cell.metric]}/{safe_name(cell.explainer)}",
        cell.explainer,
        cell.metric,
        cell.direction,
        cell.mean,
        cell.ci_low,
        cell.ci_high,
        cell.n_scored,
        cell.rank if isinstance(cell, LeaderboardCell) else None,
    )


def numbers_of(manifest: Manifest, results: Results) -> dict[str, float]:
    """Return all numbers by name: means, ``/low`` and ``/high`` of their intervals, ``/n`` images; what the run cost.

    A number that is not defined is left out, never 0.
    """
    return dict(_finite(manifest, results))


def _finite(manifest: Manifest, results: Results) -> Iterator[tuple[str, float]]:
    for name, value in _all_numbers(manifest, results):
        if value is not None and math.isfinite(value):
            yield name, float(value)


def _all_numbers(manifest: Manifest, results: Results) -> Iterator[tuple[str, float | None]]:
    for row in score_rows(manifest, results):
        yield row.name, row.mean
        yield f"{row.name}/low", row.low
        yield f"{row.name}/high", row.high
        yield f"{row.name}/n", row.n_scored
    model, drops = manifest.model, results.region_drops
    of_run = {
        "images": results.n_images,
        "images_not_usable": manifest.data.n_unreadable,
        "accuracy": model.accuracy,
        "median_clean_score": model.median_clean_score,
        "seconds": manifest.seconds,
        "forward_passes": manifest.forward_passes,
        "backward_passes": manifest.backward_passes,
        "drop_inside_region": None if drops is None else drops.inside,
        "drop_outside_region": None if drops is None else drops.outside,
    }
    for key, value in of_run.items():
        yield f"{OF_RUN}/{key}", value
    for cost in results.cost:
        yield f"{OF_RUN}/seconds_per_image/{safe_name(cost.explainer)}", cost.seconds_per_image
