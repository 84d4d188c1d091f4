"""The analysis of a run: intervals, ranks, tests, the choice of a patch size and other parameters, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.parameter_sweep import sweep_parameters
from evalkit.analysis.choice.rule import criterion_of
from evalkit.analysis.choice.sweep import seconds_per_image, sweep
from evalkit.analysis.facts import typical_of
from evalkit.analysis.ranking import ranking_of
from evalkit.analysis.results import Cost, LeaderboardCell, Results, SanityResult, TestedFamily, Unscored
from evalkit.analysis.sanity import Cascade, sanity_result
from evalkit.analysis.scores import Scores, numbers_of, scores_of
from evalkit.analysis.statistics.paired_tests import ALPHA, FEWEST_IMAGES, Family, smallest_p
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.core.settings import DEFAULT_CRITERION, DEFAULT_MARGIN
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts
from evalkit.store.scores import ScoreTable

__all__ = ["analyse"]

Floats = NDArray[np.float64]
TEST_RESAMPLES = 2_500
_NO_CASCADES: Mapping[tuple[str, str], Cascade] = MappingProxyType({})


def analyse(  # noqa: PLR0913 - all that the results of a run depend on
    table: ScoreTable,
    metrics: Sequence[Metric],
    explainers: Sequence[ExplainerFacts],
    *,
    seed: int,
    n_resamples: int = 10_000,
    n_test_resamples: int = TEST_RESAMPLES,
    criterion: str = DEFAULT_CRITERION,
    margin: float = DEFAULT_MARGIN,
    cascades: Mapping[tuple[str, str], Cascade] = _NO_CASCADES,
) -> Results:
    """Return intervals, ranks, tests, the choice of parameters and costs.

    Entries of one photo count as one, by their mean.

    Args:
        table: the scores of the run.
        metrics: the metrics of the run, in the table's order.
        explainers: the explainers of the run, in the table's order.
        seed: random seed of the resampling.
        n_resamples: number of bootstrap resamples of intervals and of the choice of parameters.
        n_test_resamples: number of bootstrap resamples of the tests.
        criterion: the text of the metric that decides the choice.
        margin: largest accepted loss of the criterion, relative to the best setting.
        cascades: curves of sanity checks, by the texts of explainer and metric.
    """
    table = table.by_photo()
    resampling = Resampling(seed, n_resamples)
    tests = resampling.first(n_test_resamples)
    ranked = [metric for metric in metrics if metric.spec.is_ranked]
    by_metric = [_of_metric(table, metric, explainers, resampling, tests) for metric in ranked]
    cells = [cell for of_metric in by_metric for cell in of_metric.cells]
    sizes = sweep(
        table, metrics, explainers, cells, criterion=criterion, margin=margin, seed=seed, n_resamples=n_resamples
    )
    parameters = sweep_parameters(
        table, explainers, cells, sizes, criterion_of(metrics, criterion, margin), seed=seed, n_resamples=n_resamples
    )
    return Results(
        n_images=len(table.image_ids),
        leaderboard=tuple(cells),
        **sizes._asdict(),
        **parameters._asdict(),
        cost=tuple(_cost(explainer) for explainer in explainers),
        unscored=_unscored(table, metrics),
        families=tuple(of_metric.family for of_metric in by_metric),
        n_test_resamples=tests.n_resamples,
        n_resamples=n_resamples,
        not_beating_controls={of_metric.family.metric: of_metric.not_beating_controls for of_metric in by_metric},
        sanity=_sanity(table, metrics, explainers, resampling, cascades),
        shortcuts=tuple(
            cell
            for metric in metrics
            if metric.spec.family == "shortcut"
            for cell in _cells(table, metric, scores_of(metric, numbers_of(metric, table)), resampling)
        ),
    )


def _sanity(
    table: ScoreTable,
    metrics: Sequence[Metric],
    explainers: Sequence[ExplainerFacts],
    resampling: Resampling,
    cascades: Mapping[tuple[str, str], Cascade],
) -> tuple[SanityResult, ...]:
    """Return what metrics without ranks and tests say of each explainer, the controls last."""
    found = []
    for metric in metrics:
        if metric.spec.family == "sanity":
            cells = _cells(table, metric, scores_of(metric, numbers_of(metric, table)), resampling)
            for cell, explainer in sorted(zip(cells, explainers, strict=True), key=lambda pair: pair[1].control):
                cascade = cascades.get((cell.explainer, cell.metric))
                found.append(sanity_result(cell, explainer, metric.spec.name, cascade))
    return tuple(found)


class _OfMetric(NamedTuple):
    cells: list[LeaderboardCell]
    family: TestedFamily
    not_beating_controls: tuple[str, ...]


def _of_metric(
    table: ScoreTable,
    metric: Metric,
    explainers: Sequence[ExplainerFacts],
    resampling: Resampling,
    tests: Resampling,
) -> _OfMetric:
    scores = scores_of(metric, numbers_of(metric, table))
    family = scores.family(tests, typical=typical_of(table.explainers, explainers))
    sign = 1.0 if metric.spec.direction == "higher" else -1.0
    ranking = ranking_of(scores, sign)
    better = _better_than(family, sign, table.explainers)
    cells = [
        msgspec.structs.replace(
            cell,
            rank=ranking.ranks[column],
            better_than=better[cell.explainer],
            rank_reason=ranking.reasons[column],
            rank_images=None if ranking.ranks[column] is None else ranking.n_images,
        )
        for column, cell in enumerate(_cells(table, metric, scores, resampling))
    ]
    return _OfMetric(cells, _tested(metric, family, scores.counts()), _not_beating(ranking.goodness, explainers))


def _cells(table: ScoreTable, metric: Metric, scores: Scores, resampling: Resampling) -> list[LeaderboardCell]:
    """Return the cells of a metric without ranks and tests."""
    means, intervals, counts = scores.means(), scores.intervals(resampling), scores.counts()
    return [
        LeaderboardCell(
            explainer=text,
            metric=metric.text,
            direction=metric.spec.direction,
            mean=_number(means[column]),
            ci_low=intervals[column].low,
            ci_high=intervals[column].high,
            ci_reason=intervals[column].reason,
            n_scored=int(counts[column]),
            n_unscored=len(table.image_ids) - int(counts[column]),
            rank=None,
            better_than=(),
            bias=intervals[column].bias,
        )
        for column, text in enumerate(table.explainers)
    ]


def _tested(metric: Metric, family: Family, counts: NDArray[np.int64]) -> TestedFamily:
    scored = (counts[family.pairs] > 0).all(axis=1)
    n_images = int(family.n_images[family.tested].min(initial=np.iinfo(np.int64).max)) if family.tested.any() else 0
    return TestedFamily(
        metric=metric.text,
        n_pairs=len(family.pairs),
        n_images=n_images,
        smallest_p=smallest_p(n_images, family.n_resamples),
        n_untested=int(np.count_nonzero(~family.tested & scored)),
        fewest_images=FEWEST_IMAGES,
    )


def _better_than(family: Family, sign: float, explainers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    beaten: dict[str, list[str]] = {text: [] for text in explainers}
    for (first, second), difference, p_value in zip(family.pairs, family.differences, family.p_values, strict=True):
        if p_value < ALPHA and difference != 0:
            winner, loser = (first, second) if difference * sign > 0 else (second, first)
            beaten[explainers[winner]].append(explainers[loser])
    return {text: tuple(losers) for text, losers in beaten.items()}


def _not_beating(goodness: Floats, explainers: Sequence[ExplainerFacts]) -> tuple[str, ...]:
    controls = [value for value, one in zip(goodness, explainers, strict=True) if one.control and np.isfinite(value)]
    if not controls:
        return ()
    return tuple(
        one.text
        for value, one in zip(goodness, explainers, strict=True)
        if not one.control and np.isfinite(value) and value <= max(controls) + 1e-12
    )


def _cost(explainer: ExplainerFacts) -> Cost:
    return Cost(
        explainer=explainer.text,
        forward_passes=explainer.forward_passes,
        seconds=explainer.seconds,
        seconds_per_image=seconds_per_image(explainer),
        method=explainer.method,
        backward_passes=explainer.backward_passes,
        mean_passes=explainer.mean_passes,
        repeatability=explainer.repeatability,
        n_repeated=explainer.n_repeated,
        notes=explainer.notes,
    )


def _unscored(table: ScoreTable, metrics: Sequence[Metric]) -> tuple[Unscored, ...]:
    # The images that such a metric is about are a part of all; its sentence says how many there are.
    expected = {metric.text: metric.spec.nan_reason for metric in metrics if metric.spec.family == "shortcut"}
    return tuple(
        Unscored(explainer, metric, reason, count)
        for (explainer, metric), reasons in sorted(table.reasons.items())
        for reason, count in sorted(reasons.items())
        if expected.get(metric) != reason
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
