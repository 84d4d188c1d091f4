"""What sanity checks by re-initialized weights say of each explainer: mean curves, thresholds, a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.facts import metric_facts_of
from evalkit.analysis.results import LeaderboardCell, SanityResult
from evalkit.store.manifest import ExplainerFacts, Manifest
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import first_rows

__all__ = ["CHANGED_BELOW", "SAME_FROM", "Cascade", "cascades_of", "mean_cascade", "sanity_result"]

Floats = NDArray[np.float64]

SAME_FROM = 0.9
"""Maps that correlate at least as much count as the same: the layers between them do not matter."""
CHANGED_BELOW = 0.5
"""The correlation with the model's own map below which a map counts as another one."""

_ROUNDING = 1e-9


class Cascade(NamedTuple):
    """The maps of one explainer while more and more layers are re-initialized, means over images.

    Attributes:
        layers: number of the first layers that are re-initialized at each stage; the last is all of them.
        with_own: correlation with the map of the model itself; NaN = no image has any.
        with_last: correlation with the map of the last stage; NaN likewise.
        constant: share of the maps that are constant or not finite, which the means leave out.
        n_images: number of images.
    """

    layers: tuple[int, ...]
    with_own: Floats
    with_last: Floats
    constant: Floats
    n_images: int


def cascades_of(folder: RunFolder, manifest: Manifest) -> dict[tuple[str, str], Cascade]:
    """Return the mean cascades of a run by the texts of explainer and metric; a metric that keeps none has none."""
    photos = {row.image_id: row.sha256 or f"id:{row.image_id}" for row in folder.database.planned_images()}
    found = {}
    for metric in metric_facts_of(manifest):
        if metric.family != "sanity":
            continue
        for explainer in manifest.explainers:
            stored = folder.database.curves(explainer.text, metric.text)
            ids = [image_id for image_id in photos if image_id in stored]
            if ids:
                curves = [stored[image_id] for image_id in ids]
                found[explainer.text, metric.text] = mean_cascade(curves, [photos[image_id] for image_id in ids])
    return found


def mean_cascade(curves: Sequence[Floats], photos: Sequence[str]) -> Cascade:
    """Average stored cascades; entries of one photo count as one.

    Args:
        curves: one float64 (2, 3 S) for each image, from ``Mprt.kept_curve``; at least one.
        photos: (n,), equal texts for entries of one photo.
    """
    layers = curves[0][0, : curves[0].shape[1] // 3]
    tables = np.stack([curve[1].reshape(3, -1) for curve in curves])
    _, unit = first_rows(photos)
    by_photo = np.stack([_mean_of_known(tables[unit == one]) for one in np.unique(unit)])
    with_own, with_last, constant = _mean_of_known(by_photo)
    return Cascade(tuple(int(one) for one in layers), with_own, with_last, constant, len(by_photo))


def sanity_result(
    cell: LeaderboardCell, explainer: ExplainerFacts, metric: str, cascade: Cascade | None
) -> SanityResult:
    """Return what one metric says of one explainer.

    Args:
        cell: its mean and interval.
        explainer: its facts.
        metric: the metric's name.
        cascade: its curves; None if the metric keeps none, or no image has any.
    """
    insensitive, changed = (None, None) if cascade is None else (_insensitive(cascade), _changed_after(cascade))
    return SanityResult(
        explainer=cell.explainer,
        metric=cell.metric,
        control=explainer.control,
        direction=cell.direction,
        mean=cell.mean,
        ci_low=cell.ci_low,
        ci_high=cell.ci_high,
        ci_reason=cell.ci_reason,
        n_scored=cell.n_scored,
        n_unscored=cell.n_unscored,
        sentence=_sentence(cell, explainer, metric, cascade, insensitive, changed),
        layers=() if cascade is None else cascade.layers,
        correlation=() if cascade is None else _plain(cascade.with_own),
        correlation_with_last=() if cascade is None else _plain(cascade.with_last),
        constant=() if cascade is None else tuple(cascade.constant.tolist()),
        insensitive_to_last=insensitive,
        changed_after=changed,
    )


def _insensitive(cascade: Cascade) -> int | None:
    """Return the number of last layers that do not matter once all below them are re-initialized; None = unknown.

    From the stage before them on, every map correlates with that of the last stage by ``SAME_FROM`` or more.
    """
    # Before the first stage the map is the model's own.
    layers, with_last = (0, *cascade.layers), [cascade.with_own[-1], *cascade.with_last]
    if np.isnan(with_last[-2]):
        return None
    stage = len(layers) - 1
    while stage > 0 and with_last[stage - 1] >= SAME_FROM:
        stage -= 1
    return layers[-1] - layers[stage]


def _changed_after(cascade: Cascade) -> int | None:
    """Return the number of re-initialized layers at the first stage below ``CHANGED_BELOW``; None = at none."""
    below = np.flatnonzero(cascade.with_own < CHANGED_BELOW)
    return cascade.layers[below[0]] if below.size else None


def _sentence(
    cell: LeaderboardCell,
    explainer: ExplainerFacts,
    metric: str,
    cascade: Cascade | None,
    insensitive: int | None,
    changed: int | None,
) -> str:
    name = f"{cell.metric}, {cell.explainer}{' (control)' if explainer.control else ''}"
    unchanged = 0.0 if metric == "emprt" else 1.0
    if explainer.control and (cell.mean is None or abs(cell.mean - unchanged) < _ROUNDING):
        layers = "all layers'" if cascade is None else _all(cascade.layers[-1])
        return f"{name}: insensitive to {layers} weights, by construction."
    if cascade is not None and np.isfinite(cascade.with_own).any():
        return f"{name}: {_of_cascade(cell, cascade, insensitive, changed)}."
    if cell.mean is None:
        return f"{name}: scored on no image."
    if metric == "emprt":
        way = "rises" if cell.mean > 0 else "falls" if cell.mean < 0 else "stays"
        said = f"the map's entropy {way} when all layers are re-initialized, relative change"
    else:
        said = "rank correlation with the map after the output layer is re-initialized"
    return f"{name}: {said} {_number(cell)}, {_images(cell.n_scored)}."


def _of_cascade(cell: LeaderboardCell, cascade: Cascade, insensitive: int | None, changed: int | None) -> str:
    count = cascade.layers[-1]
    last = count - (cascade.layers[-2] if len(cascade.layers) > 1 else 0)
    # Before the first stage the map is the model's own.
    with_last = dict(zip((0, *cascade.layers), (cascade.with_own[-1], *cascade.with_last), strict=True))
    if insensitive is None:
        first = f"whether the last {_owner(last)} weights matter, of {count}, is not known: too many maps are constant"
    elif insensitive == count:
        first = f"insensitive to {_all(count)} weights: its map shows nothing that the model has learned"
    else:
        kind, layers = ("insensitive", insensitive) if insensitive else ("sensitive", last)
        lowest = min(value for stage, value in with_last.items() if stage >= count - layers)
        first = (
            f"{kind} to the last {_owner(layers)} weights, of {count} (correlation {lowest:.2f} of the maps before "
            "and after, those below re-initialized)"
        )
    if changed is None:
        second = f"correlation with the model's own map never falls below {CHANGED_BELOW}"
    else:
        second = f"correlation with the model's own map falls below {CHANGED_BELOW} after {changed} of {count} layers"
    mean = "" if cell.mean is None else f", mean over the stages {_number(cell)}"
    constant = float(cascade.constant.mean())
    left_out = f"; {100 * constant:.0f} % of the changed models' maps are constant and left out" if constant else ""
    return f"{first}; {second}{mean}, {_images(cascade.n_images)}{left_out}"


def _all(count: int) -> str:
    return "the only layer's" if count == 1 else f"all {count} layers'"


def _owner(count: int) -> str:
    return "layer's" if count == 1 else f"{count} layers'"


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _number(cell: LeaderboardCell) -> str:
    interval = "" if cell.ci_low is None or cell.ci_high is None else f" [{cell.ci_low:.3f}, {cell.ci_high:.3f}]"
    return f"{cell.mean:.3f}{interval}"


def _plain(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)


def _mean_of_known(tables: Floats) -> Floats:
    """Return the mean over the first axis of what is not NaN; NaN where nothing is."""
    known = np.isfinite(tables)
    total = np.where(known, tables, 0.0).sum(axis=0)
    mean: Floats = np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))
    return mean
