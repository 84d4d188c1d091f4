"""The tested functions of evalkit, with the number of resamples of the simulations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.patch_size import Criterion, choose_patch_size
from evalkit.analysis.gate.results import GateCell
from evalkit.analysis.gate.tolerance import Tolerance
from evalkit.analysis.gate.verdict import paired_scores, verdicts
from evalkit.analysis.results import PatchSizeChoice
from evalkit.analysis.scores import Scores, scores_of
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts

__all__ = ["ALPHA", "TOLERANCE", "Tests", "check", "choose", "compare_pairs", "intervals", "metric_of", "wanted"]

Floats = NDArray[np.float64]
ALPHA, RESAMPLES = 0.05, 1_000
TOLERANCE = Tolerance(0.02, relative=False)


class Tests(NamedTuple):
    """The tests of pairs: each (P,)."""

    pairs: NDArray[np.int64]
    differences: Floats
    p_values: Floats
    low: Floats
    high: Floats


@lru_cache
def metric_of(text: str) -> Metric:
    """Return a metric with its default parameters."""
    return METRICS.build(text, steps=28)


def _scores(metric: str, values: Floats) -> Scores:
    return scores_of(metric_of(metric), values[..., None])


def intervals(metric: str, values: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % interval of the mean of each column (n, E); NaN = there is none."""
    computed = _scores(metric, values).intervals(Resampling(seed, 2 * RESAMPLES))
    ends = [(np.nan if one.low is None else one.low, np.nan if one.high is None else one.high) for one in computed]
    low, high = np.array(ends).T
    return low, high


def compare_pairs(
    metric: str,
    values: Floats,
    seed: int,
    pairs: NDArray[np.int64] | None = None,
    typical: NDArray[np.bool_] | None = None,
) -> Tests:
    """Test pairs of columns of (n, E) scores as one family.

    Args:
        metric: text of the metric.
        values: the scores.
        seed: random seed.
        pairs: which pairs; None = all.
        typical: which columns are no controls; None = all.
    """
    family = _scores(metric, values).family(Resampling(seed, RESAMPLES), pairs, typical)
    return Tests(family.pairs, family.differences, family.p_values, family.low, family.high)


def choose(
    metric: str, sweep: Sequence[ExplainerFacts], values: Floats, margin: float, seed: int
) -> PatchSizeChoice | None:
    """Choose the patch size by scores (n, E)."""
    spec = metric_of(metric).spec
    criterion = Criterion(metric, spec.direction, spec.bounds[1] - spec.bounds[0], margin)
    return choose_patch_size(sweep, values, criterion, seed=seed, n_resamples=RESAMPLES)


def wanted(choice: PatchSizeChoice) -> int | None:
    """Return the number of images that an undecided choice names."""
    return choice.n_wanted


def check(before: Floats, now: Floats) -> list[GateCell]:
    """Return the gate's verdicts on scores (n, cells), of which higher ones are better."""
    family = [
        paired_scores(
            (f"explainer{column}", "insertion"), "higher", before[:, column], now[:, column], TOLERANCE
        )._replace(width=1.0)
        for column in range(before.shape[1])
    ]
    return verdicts(family, ALPHA, 2 * RESAMPLES)
