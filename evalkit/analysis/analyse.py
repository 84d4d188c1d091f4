"""Per-image scores to everything that is shown of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.comparisons import ALPHA, Family, compare_means, compare_sets, sign_flips
from evalkit.analysis.intervals import Interval, bca_mean, bca_statistic, resample_counts, wilson_interval
from evalkit.analysis.patch_size import choose_patch_size
from evalkit.analysis.results import (
    Cost,
    LeaderboardCell,
    PatchSizeChoice,
    Results,
    SweepRow,
    SweepScore,
    TestedFamily,
    Unscored,
)
from evalkit.metrics.spec import DatasetMetric, Metric
from evalkit.randomness import generator
from evalkit.store.manifest import ExplainerFacts
from evalkit.store.scores import ScoreTable

__all__ = ["analyse"]

Floats = NDArray[np.float64]
_SET_FLIPS = 1_000  # dataset-level metrics are computed anew for every flip


def analyse(
    table: ScoreTable,
    metrics: Sequence[Metric],
    explainers: Sequence[ExplainerFacts],
    *,
    seed: int,
    n_resamples: int = 10_000,
    n_flips: int = 10_000,
    criterion: str = "symmetric_relevance_gain",
    margin: float = 0.02,
) -> Results:
    """Return intervals, ranks, tests, the patch-size choice and costs.

    Args:
        table: every score.
        metrics: in the table's order.
        explainers: in the table's order.
        seed: of resampling and sign flips.
        n_resamples: bootstrap resamples.
        n_flips: sign flips a metric.
        criterion: the metric that decides the patch size.
        margin: the loss of it that is accepted.
    """
    resampling = _Resampling(seed, n_resamples)
    cells: list[LeaderboardCell] = []
    families: list[TestedFamily] = []
    beaten: dict[str, tuple[str, ...]] = {}
    for index, metric in enumerate(metrics):
        means, intervals, scored = _summarize(table, index, metric, resampling)
        family = _family(table, index, metric, seed, n_flips)
        sign = 1.0 if metric.spec.direction == "higher" else -1.0
        ranks = _ranks(means * sign)
        better = _better_than(family, sign, table.explainers)
        families.append(TestedFamily(metric.text, len(family.pairs), family.n_images, family.smallest_p))
        beaten[metric.text] = _not_beating(means * sign, explainers)
        for place, text in enumerate(table.explainers):
            interval = intervals[place]
            cells.append(
                LeaderboardCell(
                    explainer=text,
                    metric=metric.text,
                    direction=metric.spec.direction,
                    mean=_number(means[place]),
                    ci_low=interval.low,
                    ci_high=interval.high,
                    ci_reason=interval.reason,
                    n_scored=int(scored[place]),
                    n_unscored=len(table.image_ids) - int(scored[place]),
                    rank=ranks[place],
                    better_than=better[text],
                )
            )
    return Results(
        n_images=len(table.image_ids),
        leaderboard=tuple(cells),
        patch_sweep=_sweep(explainers, cells),
        best_patch_size=_choice(table, metrics, explainers, seed, n_resamples, criterion, margin),
        cost=tuple(_cost(one) for one in explainers),
        unscored=_unscored(table),
        families=tuple(families),
        n_flips=n_flips,
        n_resamples=n_resamples,
        not_beating_controls=beaten,
    )


class _Resampling:
    """Resample counts, drawn once for each number of images."""

    def __init__(self, seed: int, n_resamples: int) -> None:
        self._seed, self._n_resamples = seed, n_resamples
        self._known: dict[int, Floats] = {}

    def counts(self, n_images: int) -> Floats:
        if n_images not in self._known:
            rng = generator(self._seed, "bootstrap", n_images)
            self._known[n_images] = resample_counts(rng, n_images, self._n_resamples)
        return self._known[n_images]


def _summarize(
    table: ScoreTable, index: int, metric: Metric, resampling: _Resampling
) -> tuple[Floats, list[Interval], NDArray[np.int64]]:
    """Return mean, interval and number of scored images of every explainer."""
    means, intervals, scored = [], [], []
    for place in range(len(table.explainers)):
        if isinstance(metric, DatasetMetric):
            statistics = _statistics(table, metric)[:, place]
            statistics = statistics[np.isfinite(statistics).all(axis=1)]
            n_scored = len(statistics)
            mean = float(metric.aggregate(statistics.mean(axis=0))) if n_scored else np.nan
            interval = bca_statistic(statistics, resampling.counts(max(n_scored, 1)), metric.aggregate)
        else:
            values = table.values[:, place, index]
            values = values[np.isfinite(values)]
            n_scored = len(values)
            mean = float(values.mean()) if n_scored else np.nan
            if metric.spec.binary:
                interval = wilson_interval(int(values.sum()), n_scored)
            else:
                interval = bca_mean(values, resampling.counts(max(n_scored, 1)))
        means.append(mean)
        intervals.append(interval)
        scored.append(n_scored)
    return np.array(means), intervals, np.array(scored)


def _statistics(table: ScoreTable, metric: Metric) -> Floats:
    found = table.statistics.get(metric.text)
    if found is not None:
        return np.asarray(found)
    return np.full((len(table.image_ids), len(table.explainers), 1), np.nan)


def _family(table: ScoreTable, index: int, metric: Metric, seed: int, n_flips: int) -> Family:
    # Named by the metric alone: another explainer in the run draws the same signs.
    rng = generator(seed, "sign flips", metric.spec.name)
    n_images = len(table.image_ids)
    if isinstance(metric, DatasetMetric):
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


def _sweep(explainers: Sequence[ExplainerFacts], cells: Sequence[LeaderboardCell]) -> tuple[SweepRow, ...]:
    occlusions = [one for one in explainers if one.name == "occlusion"]
    rows = []
    for one in occlusions:
        scores = {
            cell.metric: SweepScore(cell.mean, cell.ci_low, cell.ci_high, cell.n_scored)
            for cell in cells
            if cell.explainer == one.text
        }
        rows.append(
            SweepRow(
                explainer=one.text,
                patch_size=int(one.parameters["patch_size"] or 0),
                stride=int(one.parameters["stride"] or 0),
                positions=one.positions or 0,
                forward_passes=one.forward_passes,
                seconds_per_image=one.seconds / one.n_maps if one.n_maps else None,
                metrics=scores,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.patch_size, row.stride)))


def _choice(
    table: ScoreTable,
    metrics: Sequence[Metric],
    explainers: Sequence[ExplainerFacts],
    seed: int,
    n_resamples: int,
    criterion: str,
    margin: float,
) -> PatchSizeChoice | None:
    for index, metric in enumerate(metrics):
        if metric.spec.name == criterion and not isinstance(metric, DatasetMetric):
            return choose_patch_size(
                explainers,
                table.values[:, :, index],
                direction=metric.spec.direction,
                criterion=metric.text,
                margin=margin,
                seed=seed,
                n_resamples=n_resamples,
            )
    return None


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
