"""How metrics score maps that were changed in known ways: blur, coarsening, sharpening, noise, known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.audit.results import Effect, MetricProbes, Probes
from evalkit.analysis.load import RunScores
from evalkit.analysis.statistics.intervals import bca_means
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts, Manifest
from evalkit.store.scores import first_rows, mean_of_units

__all__ = ["probed_explainers", "probes_of"]

Floats = NDArray[np.float64]

_DEGRADED, _KNOWN = "degraded", "known"  # the names of the explainers in explainers/probes.py
_FEWEST_IMAGES = 8
_RESAMPLES = 2000
_EQUAL = 1e-9  # smaller changes of a score are rounding


def probes_of(run: RunScores, probed: RunScores, metrics: Sequence[Metric]) -> Probes:
    """Compare the scores of changed maps with those of the run's own maps, image by image.

    Entries of one photo count as one image, by the mean of what is found of them.

    Args:
        run: the run.
        probed: the run of its probes.
        metrics: the run's metrics.
    """
    by_text = {metric.text: metric for metric in metrics}
    explainers = probed_explainers(probed.manifest)
    texts = [text for text in probed.manifest.metrics if text in by_text]
    photos = _Photos.of(probed, Resampling(run.manifest.settings.seed, _RESAMPLES))
    found = tuple(_metric_probes(run, probed, by_text[text], explainers, photos) for text in texts)
    return Probes(explainers, photos.count, found)


def probed_explainers(probed: Manifest) -> tuple[str, ...]:
    """Return the texts of the explainers whose maps were changed, from the manifest of the probes; empty if none."""
    return tuple(dict.fromkeys(str(one.parameters["of"]) for one in probed.explainers if one.name == _DEGRADED))


@dataclass(frozen=True, eq=False)
class _Photos:
    """The photos of the probed images.

    Attributes:
        unit: int64 (n,), the number of each image's photo.
        count: number of photos.
        resampling: resampling of the photos.
    """

    unit: NDArray[np.int64]
    count: int
    resampling: Resampling

    @classmethod
    def of(cls, probed: RunScores, resampling: Resampling) -> _Photos:
        table = probed.table
        first, unit = first_rows(table.image_ids if table.photos is None else table.photos)
        return cls(unit, len(first), resampling)

    def means(self, values: Floats) -> Floats:
        """Return the mean of each photo's images (n, ...) that have a value; NaN if none has."""
        return mean_of_units(values, self.unit)

    def effect(self, values: Floats) -> Effect:
        """Return the mean over photos, with its interval, of values of images (n,)."""
        return _effect(self.means(values), self.resampling)


def _named(probed: RunScores, name: str) -> list[ExplainerFacts]:
    return [one for one in probed.manifest.explainers if one.name == name]


def _metric_probes(
    run: RunScores, probed: RunScores, metric: Metric, explainers: Sequence[str], photos: _Photos
) -> MetricProbes:
    sign = 1.0 if metric.spec.direction == "higher" else -1.0
    own = sign * _scores(run, metric.text, explainers, probed.table.image_ids)
    changed: dict[tuple[str, float], Floats] = {}
    for one in _named(probed, _DEGRADED):
        key, column = (str(one.parameters["change"]), _number(one.parameters["dose"])), one.parameters["of"]
        scores = sign * _scores(probed, metric.text, [one.text], probed.table.image_ids)[:, 0]
        changed.setdefault(key, np.full(own.shape, np.nan))[:, explainers.index(str(column))] = scores
    effects = {key: photos.effect(_mean_of_rows(scores - own)) for key, scores in changed.items()}
    doses = sorted(dose for change, dose in changed if change == "noise")
    # Only maps that every dose scored, so that a missing cell is no step of the curve.
    curves = np.stack([own, *(changed["noise", dose] for dose in doses)])
    curves = _mean_of_rows(np.where(np.isfinite(curves).all(axis=0), curves, np.nan))
    whole = photos.means(curves.T).T
    whole = whole[:, np.isfinite(whole).all(axis=0)]
    return MetricProbes(
        metric.text,
        blur={f"{dose:g}": effects["blur", dose] for change, dose in changed if change == "blur"},
        coarsen=next(effect for (change, _), effect in effects.items() if change == "coarsen"),
        sharpen=next(effect for (change, _), effect in effects.items() if change == "sharpen"),
        noise={f"{dose:g}": effects["noise", dose] for dose in doses},
        slope=photos.effect(_slopes(np.array([0.0, *doses]), curves)),
        monotone_share=_monotone_share(whole),
        truth=_truth(probed, metric, sign, photos),
    )


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"a dose is a number, not {value!r}")
    return float(value)


def _scores(run: RunScores, metric: str, explainers: Sequence[str], image_ids: Sequence[str]) -> Floats:
    """Return stored scores, float64 (n, E), in the order of these images; NaN where there is none."""
    rows = {image_id: number for number, image_id in enumerate(run.table.image_ids)}
    values = run.table.values[:, :, run.table.metrics.index(metric)]
    known = np.concatenate([values, np.full((1, values.shape[1]), np.nan)])
    columns = [run.table.explainers.index(text) for text in explainers]
    return np.asarray(known[[rows.get(image_id, -1) for image_id in image_ids]][:, columns])


def _mean_of_rows(values: Floats) -> Floats:
    """Return the mean over the last axis of what is scored; NaN where nothing is."""
    counts = np.isfinite(values).sum(axis=-1)
    sums = np.where(np.isfinite(values), values, 0.0).sum(axis=-1)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def _slopes(doses: Floats, curves: Floats) -> Floats:
    """Return the slope of each image's scores (D, n) over the doses, (n,)."""
    centered = doses - doses.mean()
    return np.asarray(centered @ curves / (centered @ centered))


def _monotone_share(curves: Floats) -> float | None:
    """Return the share of curves (D, n) that never rise; None if there are too few."""
    if curves.shape[1] < _FEWEST_IMAGES:
        return None
    return float((np.diff(curves, axis=0) <= _EQUAL).all(axis=0).mean())


def _effect(values: Floats, resampling: Resampling) -> Effect:
    values = values[np.isfinite(values)]
    if len(values) < _FEWEST_IMAGES:
        return Effect(None, None, None, len(values), f"fewer than {_FEWEST_IMAGES} images")
    if np.ptp(values) <= _EQUAL:  # the same on all images: nothing to resample
        mean = float(values.mean())
        mean = mean if abs(mean) > _EQUAL else 0.0
        return Effect(mean, mean, mean, len(values))
    interval = bca_means(values[:, None], resampling)[0]
    return Effect(float(values.mean()), interval.low, interval.high, len(values), interval.reason)


def _truth(probed: RunScores, metric: Metric, sign: float, photos: _Photos) -> Effect | None:
    from scipy.stats import kendalltau

    known = _named(probed, _KNOWN)
    if not known:
        return None
    doses = np.array([_number(one.parameters["dose"]) for one in known])
    scores = sign * _scores(probed, metric.text, [one.text for one in known], probed.table.image_ids)
    taus = [
        # A metric that gives every map the same score orders none of them.
        (float(kendalltau(-doses, row).statistic) if np.ptp(row) > _EQUAL else 0.0)
        if np.isfinite(row).all()
        else np.nan
        for row in scores
    ]
    return photos.effect(np.array(taus))
