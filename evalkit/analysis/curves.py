"""The data of plots: mean perturbation curves over the images of a run, and scores by object size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.sweep import OBJECT_SIZES
from evalkit.analysis.facts import metric_facts_of, variant_of
from evalkit.analysis.statistics.intervals import mean_intervals
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.store.manifest import Manifest, MetricFacts
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable, first_rows, mean_of_units

__all__ = ["MeanCurve", "SizeScore", "by_object_size", "curves_of", "mean_curve", "variants"]

Floats = NDArray[np.float64]
_RESAMPLES = 2_000
_TAILS = (0.025, 0.975)


class MeanCurve(NamedTuple):
    """One explainer's curve under one metric, averaged over the images that have one.

    Attributes:
        explainer: text of the explainer.
        metric: text of the metric.
        draws: ``removal`` or ``insertion`` of pixels.
        fractions: float64 (S,), share of the pixels replaced, 0..1.
        mean: float64 (S,), mean value of the curves at each fraction.
        low: lower end of the 95 % interval at each fraction (percentile bootstrap over images).
        high: upper end of the interval.
        area: mean over images of the area under each image's own curve, which is the metric.
        n_images: number of images.
        value: values of the curve: ``score``, in 0..1, or ``log-odds``, unbounded.
    """

    explainer: str
    metric: str
    draws: str
    fractions: Floats
    mean: Floats
    low: Floats
    high: Floats
    area: float
    n_images: int
    value: str = "score"


class SizeScore(NamedTuple):
    """An explainer's mean on the images whose object has one size.

    Attributes:
        explainer: text of the explainer.
        object_size: ``small``, ``medium`` or ``large``.
        mean: mean score; None if no such image was scored.
        low: lower end of the 95 % interval; None if there is none.
        high: upper end of the interval.
        n_images: number of scored images with such an object.
    """

    explainer: str
    object_size: str
    mean: float | None
    low: float | None
    high: float | None
    n_images: int


def mean_curve(
    explainer: str,
    metric: MetricFacts,
    curves: Sequence[Floats],
    steps: int,
    resampling: Resampling,
    photos: Sequence[str] | None = None,
) -> MeanCurve:
    """Average curves with cuts at different fractions, by linear interpolation.

    Args:
        explainer: text of the explainer.
        metric: facts of the metric.
        curves: one float64 (2, S) for each image, S may differ: shares of pixels replaced, ascending from 0 to 1, and
            scores; at least one.
        steps: number of intervals; the mean is computed at each k/steps.
        resampling: resampling of the images.
        photos: (n,), equal texts for curves of one photo, which are averaged first, as scores are; None = all are
            different.
    """
    fractions = np.linspace(0.0, 1.0, steps + 1)
    scores = np.stack([np.interp(fractions, *curve) for curve in curves])
    areas = np.array([np.trapezoid(curve[1], curve[0]) for curve in curves])
    if photos is not None:
        _, unit = first_rows(photos)
        scores, areas = mean_of_units(scores, unit), mean_of_units(areas, unit)
    low, high = np.quantile(resampling.means(scores), _TAILS, axis=0)
    mean, area = scores.mean(axis=0), float(areas.mean())
    return MeanCurve(
        explainer, metric.text, metric.draws_curve, fractions, mean, low, high, area, len(scores), metric.curve_value
    )


def curves_of(folder: RunFolder, manifest: Manifest) -> dict[str, list[MeanCurve]]:
    """Return the mean curves stored in a run folder, by explainer, sorted by metric."""
    planned = {row.image_id: row.sha256 or f"id:{row.image_id}" for row in folder.database.planned_images()}
    resampling = Resampling(manifest.settings.seed, _RESAMPLES)
    metrics = sorted((one for one in metric_facts_of(manifest) if one.draws_curve), key=lambda one: one.text)
    steps = max(manifest.settings.steps, 2)
    mean_curves: dict[str, list[MeanCurve]] = {}
    for explainer in manifest.explainers:
        for metric in metrics:
            stored: Mapping[str, Floats] = folder.database.curves(explainer.text, metric.text)
            image_ids = [image_id for image_id in planned if image_id in stored]
            if image_ids:
                curves = [stored[image_id] for image_id in image_ids]
                photos = [planned[image_id] for image_id in image_ids]
                curve = mean_curve(explainer.text, metric, curves, steps, resampling, photos)
                mean_curves.setdefault(explainer.text, []).append(curve)
    return mean_curves


def variants(curves: Sequence[MeanCurve]) -> dict[str, list[MeanCurve]]:
    """Group curves by the parameters of their metrics, empty if there are none; one plot shows one group."""
    groups: dict[str, list[MeanCurve]] = {}
    for curve in curves:
        groups.setdefault(variant_of(curve.metric), []).append(curve)
    return dict(sorted(groups.items()))


def by_object_size(manifest: Manifest, table: ScoreTable) -> list[SizeScore]:
    """Return every explainer's mean of the criterion by object size, smallest first, as the patch-size sweep's bins."""
    table, criterion = table.by_photo(), manifest.settings.criterion
    facts = next((one for one in metric_facts_of(manifest) if one.text == criterion), None)
    if table.object_shares is None or facts is None or criterion in table.statistics:
        return []
    values = table.values[:, :, table.metrics.index(criterion)]
    low, high = facts.bounds
    bounds = (-np.inf if low is None else low, np.inf if high is None else high)
    resampling = Resampling(manifest.settings.seed, _RESAMPLES)
    scores = []
    for name, smallest, largest in OBJECT_SIZES:
        inside = (table.object_shares >= smallest) & (table.object_shares < largest)
        for column, explainer in enumerate(table.explainers):
            scored = values[inside & np.isfinite(values[:, column]), column]
            if not scored.size:
                scores.append(SizeScore(explainer, name, None, None, None, 0))
                continue
            (interval,) = mean_intervals(scored[:, None], bounds, resampling)
            scores.append(
                SizeScore(explainer, name, float(scored.mean()), interval.low, interval.high, int(scored.size))
            )
    return scores if any(score.n_images for score in scores) else []
