"""Mean curves of deletion and insertion over the images of a run, and scores by object size: what plots are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.sweep import OBJECT_SIZES
from evalkit.analysis.statistics.intervals import Resampling, bca_means, resampled_sums
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable, first_rows, mean_of_units

__all__ = ["CURVE_METRICS", "MeanCurve", "SizeScore", "by_object_size", "curves_of", "mean_curve", "variants"]

Floats = NDArray[np.float64]
CURVE_METRICS = ("deletion", "insertion")
_RESAMPLES = 2_000
_TAILS = (0.025, 0.975)


class MeanCurve(NamedTuple):
    """One explainer's curve under one metric, averaged over the images that it was kept for.

    Attributes:
        explainer: its text.
        metric: its text.
        fractions: float64 (S,), the share of the pixels turned, 0..1.
        mean: float64 (S,), the mean softmax score there.
        low: lower end of the 95 % interval at each fraction (percentile bootstrap over images).
        high: upper end.
        area: the mean over images of the area under each one's own curve: the metric.
        n_images: averaged over.
    """

    explainer: str
    metric: str
    fractions: Floats
    mean: Floats
    low: Floats
    high: Floats
    area: float
    n_images: int


class SizeScore(NamedTuple):
    """An explainer's mean on the images whose object is of one size.

    Attributes:
        explainer: its text.
        object_size: ``small``, ``medium`` or ``large``.
        mean: None if no such image was scored.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
        n_images: scored, with such an object.
    """

    explainer: str
    object_size: str
    mean: float | None
    low: float | None
    high: float | None
    n_images: int


def mean_curve(
    explainer: str,
    metric: str,
    curves: Sequence[Floats],
    steps: int,
    resampling: Resampling,
    photos: Sequence[str] | None = None,
) -> MeanCurve:
    """Average curves that were cut at places of their own, by straight lines between them.

    Args:
        explainer: its text.
        metric: its text.
        curves: float64 (2, S) each, S its own: shares turned, ascending from 0 to 1, and scores; one at least.
        steps: the mean is given at each k/steps.
        resampling: of the images.
        photos: which curves are of one photo: equal texts. They are averaged first, as scores are; None = none are.
    """
    fractions = np.linspace(0.0, 1.0, steps + 1)
    scores = np.stack([np.interp(fractions, *curve) for curve in curves])
    areas = np.array([np.trapezoid(curve[1], curve[0]) for curve in curves])
    if photos is not None:
        _, unit = first_rows(photos)
        scores, areas = mean_of_units(scores, unit), mean_of_units(areas, unit)
    low, high = np.quantile(resampled_sums(resampling.counts(len(scores)), scores) / len(scores), _TAILS, axis=0)
    return MeanCurve(explainer, metric, fractions, scores.mean(axis=0), low, high, float(areas.mean()), len(scores))


def curves_of(folder: RunFolder, manifest: Manifest) -> dict[str, list[MeanCurve]]:
    """Return the mean curves that a run has kept, by explainer, deletion before insertion.

    The curves are read from the run folder.
    """
    planned = {row.image_id: row.sha256 or f"id:{row.image_id}" for row in folder.database.planned_images()}
    resampling = Resampling(manifest.settings.seed, _RESAMPLES)
    found: dict[str, list[MeanCurve]] = {}
    for one in manifest.explainers:
        for metric in sorted(manifest.metrics):
            if metric.partition("(")[0] not in CURVE_METRICS:
                continue
            kept: Mapping[str, Floats] = folder.database.curves(one.text, metric)
            there = [image_id for image_id in planned if image_id in kept]
            if there:
                curves, photos = [kept[one] for one in there], [planned[one] for one in there]
                steps = max(manifest.settings.steps, 2)
                found.setdefault(one.text, []).append(mean_curve(one.text, metric, curves, steps, resampling, photos))
    return found


def variants(curves: Sequence[MeanCurve]) -> dict[str, list[MeanCurve]]:
    """Return the curves by the parameters of their metrics, empty for none: those of one are drawn together."""
    found: dict[str, list[MeanCurve]] = {}
    for curve in curves:
        found.setdefault(curve.metric.partition("(")[2].removesuffix(")"), []).append(curve)
    return dict(sorted(found.items()))


def by_object_size(table: ScoreTable, metric: str, seed: int) -> list[SizeScore]:
    """Return every explainer's mean by object size: the bins of the patch-size sweep, smallest first.

    Args:
        table: every score.
        metric: the text of one that scores each image.
        seed: of the bootstrap.
    """
    table = table.by_photo()
    if table.object_shares is None or metric not in table.metrics or metric in table.statistics:
        return []
    values = table.values[:, :, table.metrics.index(metric)]
    resampling = Resampling(seed, _RESAMPLES)
    found = []
    for name, low, high in OBJECT_SIZES:
        inside = (table.object_shares >= low) & (table.object_shares < high)
        for place, explainer in enumerate(table.explainers):
            scored = values[inside & np.isfinite(values[:, place]), place]
            if not scored.size:
                found.append(SizeScore(explainer, name, None, None, None, 0))
                continue
            (interval,) = bca_means(scored[:, None], resampling.counts(scored.size))
            found.append(
                SizeScore(explainer, name, float(scored.mean()), interval.low, interval.high, int(scored.size))
            )
    return found if any(one.n_images for one in found) else []
