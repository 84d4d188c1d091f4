"""Per-image scores to everything that is shown of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.sweep import sweep
from evalkit.analysis.results import Cost, LeaderboardCell, Results, TestedFamily, Unscored
from evalkit.analysis.statistics.intervals import Interval, Resampling, bca_means, bca_statistic, wilson_interval
from evalkit.analysis.statistics.permutation_tests import ALPHA, Family, compare_means, compare_sets, sign_flips
from evalkit.core.randomness import generator
from evalkit.core.settings import DEFAULT_CRITERION, DEFAULT_MARGIN
from evalkit.metrics.spec import Metric, SetMetric
from evalkit.store.manifest import ExplainerFacts
from evalkit.store.scores import ScoreTable

__all__ = ["analyse"]

Floats = NDArray[np.float64]
_SET_FLIPS, _SET_RESAMPLES = 500, 1_000  # dataset-level metrics are computed anew for each, and for each pair


def analyse(
    table: ScoreTable,
    metrics: Sequence[Metric],
    explainers: Sequence[ExplainerFacts],
    *,
    seed: int,
    n_resamples: int = 10_000,
    n_flips: int = 10_000,
    criterion: str = DEFAULT_CRITERION,
    margin: float = DEFAULT_MARGIN,
) -> Results:
    """Return intervals, ranks, tests, the patch-size choice and costs.

    Entries of one photo count as one, by their mean.

    Args:
        table: every score.
        metrics: in the table's order.
        explainers: in the table's order.
        seed: of resampling and sign flips.
        n_resamples: bootstrap resamples.
        n_flips: sign flips a metric.
        criterion: the text of the metric that decides the patch size.
        margin: the loss of it that is accepted.
    """
    table = table.by_photo()
    resampling = Resampling(seed, n_resamples)
    found = [
        _of_metric(table, index, metric, explainers, resampling, seed, n_flips) for index, metric in enumerate(metrics)
    ]
    cells = [cell for one in found for cell in one.cells]
    return Results(
        n_images=len(table.image_ids),
        leaderboard=tuple(cells),
        **sweep(
            table,
            metrics,
            explainers,
            cells,
            criterion=criterion,
            margin=margin,
            seed=seed,
            n_resamples=n_resamples,
        )._asdict(),
        cost=tuple(_cost(one) for one in explainers),
        unscored=_unscored(table),
        families=tuple(one.family for one in found),
        n_flips=n_flips,
        n_resamples=n_resamples,
        not_beating_controls={one.family.metric: one.not_beating_controls for one in found},
    )


class _OfMetric(NamedTuple):
    cells: list[LeaderboardCell]
    family: TestedFamily
    not_beating_controls: tuple[str, ...]


def _of_metric(
    table: ScoreTable,
    index: int,
    metric: Metric,
    explainers: Sequence[ExplainerFacts],
    resampling: Resampling,
    seed: int,
    n_flips: int,
) -> _OfMetric:
    means, intervals, scored = _summarize(table, index, metric, resampling)
    family = _family(table, index, metric, seed, n_flips)
    sign = 1.0 if metric.spec.direction == "higher" else -1.0
    ranks = _ranks(means * sign)
    better = _better_than(family, sign, table.explainers)
    cells = [
        LeaderboardCell(
            explainer=text,
            metric=metric.text,
            direction=metric.spec.direction,
            mean=_number(means[place]),
            ci_low=intervals[place].low,
            ci_high=intervals[place].high,
            ci_reason=intervals[place].reason,
            n_scored=int(scored[place]),
            n_unscored=len(table.image_ids) - int(scored[place]),
            rank=ranks[place],
            better_than=better[text],
        )
        for place, text in enumerate(table.explainers)
    ]
    tested = TestedFamily(metric.text, len(family.pairs), family.n_images, family.smallest_p)
    return _OfMetric(cells, tested, _not_beating(means * sign, explainers))


def _summarize(
    table: ScoreTable, index: int, metric: Metric, resampling: Resampling
) -> tuple[Floats, list[Interval], NDArray[np.int64]]:
    """Return mean, interval and number of scored images of every explainer."""
    if isinstance(metric, SetMetric):
        return _summarize_sets(_statistics(table, metric), metric, resampling)
    values = table.values[:, :, index]
    scored = np.isfinite(values)
    counts = scored.sum(axis=0)
    means = np.where(scored, values, 0.0).sum(axis=0) / np.where(counts > 0, counts, np.nan)
    intervals: list[Interval] = [Interval(None, None, None)] * len(means)
    # Explainers that scored the same images share one product.
    patterns, group = np.unique(scored, axis=1, return_inverse=True)
    for which in range(patterns.shape[1]):
        places = np.flatnonzero(group.reshape(-1) == which)
        found = values[patterns[:, which]][:, places]
        if metric.spec.binary and np.isin(found, (0.0, 1.0)).all():  # a photo's mean lies between
            made = [wilson_interval(int(found[:, one].sum()), len(found)) for one in range(len(places))]
        else:
            made = bca_means(found, resampling.counts(max(len(found), 1)))
        for place, interval in zip(places, made, strict=True):
            intervals[place] = interval
    return means, intervals, counts


def _summarize_sets(
    statistics: Floats, metric: SetMetric, resampling: Resampling
) -> tuple[Floats, list[Interval], NDArray[np.int64]]:
    means, intervals, counts = [], [], []
    for place in range(statistics.shape[1]):
        found = statistics[:, place]
        found = found[np.isfinite(found).all(axis=1)]
        counts.append(len(found))
        means.append(float(metric.aggregate(found.mean(axis=0))) if len(found) else np.nan)
        drawn = resampling.counts(max(len(found), 1))[:_SET_RESAMPLES]
        intervals.append(bca_statistic(found, drawn, metric.aggregate))
    return np.array(means), intervals, np.array(counts)


def _statistics(table: ScoreTable, metric: Metric) -> Floats:
    found = table.statistics.get(metric.text)
    if found is not None:
        return np.asarray(found)
    return np.full((len(table.image_ids), len(table.explainers), 1), np.nan)


def _family(table: ScoreTable, index: int, metric: Metric, seed: int, n_flips: int) -> Family:
    # Named by the metric alone: another explainer in the run draws the same signs.
    rng = generator(seed, "sign flips", metric.spec.name)
    n_images = len(table.image_ids)
    if isinstance(metric, SetMetric):
        flips, exact = sign_flips(rng, n_images, min(n_flips, _SET_FLIPS))
        return compare_sets(_statistics(table, metric), metric.aggregate, flips, exact=exact)
    flips, exact = sign_flips(rng, n_images, n_flips)
    return compare_means(table.values[:, :, index], flips, exact=exact)


def _ranks(goodness: Floats) -> list[int | None]:
    """Rank from 1 = best; means closer than rounding share a rank; None where there is no mean."""
    return [None if np.isnan(one) else 1 + int(np.count_nonzero(goodness > one + 1e-12)) for one in goodness]


def _better_than(family: Family, sign: float, explainers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {text: [] for text in explainers}
    for (first, second), difference, p_value in zip(family.pairs, family.differences, family.p_values, strict=True):
        if p_value < ALPHA and difference != 0:
            winner, loser = (first, second) if difference * sign > 0 else (second, first)
            found[explainers[winner]].append(explainers[loser])
    return {text: tuple(losers) for text, losers in found.items()}


def _not_beating(goodness: Floats, explainers: Sequence[ExplainerFacts]) -> tuple[str, ...]:
    controls = [value for value, one in zip(goodness, explainers, strict=True) if one.control and np.isfinite(value)]
    if not controls:
        return ()
    return tuple(
        one.text
        for value, one in zip(goodness, explainers, strict=True)
        if not one.control and np.isfinite(value) and value <= max(controls) + 1e-12
    )


def _cost(one: ExplainerFacts) -> Cost:
    per_image = one.seconds / one.n_maps if one.n_maps else None
    return Cost(one.text, one.forward_passes, one.seconds, per_image, one.method)


def _unscored(table: ScoreTable) -> tuple[Unscored, ...]:
    return tuple(
        Unscored(explainer, metric, reason, count)
        for (explainer, metric), reasons in sorted(table.reasons.items())
        for reason, count in sorted(reasons.items())
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
