"""The patch-size sweep: score beside cost, the choice, and what it looks like at one stride and by object size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.patch_size import Criterion, choose_patch_size, is_candidate
from evalkit.analysis.results import (
    LeaderboardCell,
    ObjectSizeBin,
    PatchSizeChoice,
    StrideChoice,
    SweepRow,
    SweepScore,
)
from evalkit.metrics.spec import Metric, SetMetric
from evalkit.store.manifest import ExplainerFacts
from evalkit.store.scores import ScoreTable

__all__ = ["OBJECT_SIZES", "Sweep", "sweep"]

Floats = NDArray[np.float64]
OBJECT_SIZES = (("small", 0.0, 0.1), ("medium", 0.1, 0.3), ("large", 0.3, np.inf))
_FEWEST_OF_A_SIZE = 30


class Sweep(NamedTuple):
    """Everything that is said of patch sizes; the fields are those of ``Results``."""

    patch_sweep: tuple[SweepRow, ...]
    best_patch_size: PatchSizeChoice | None
    best_patch_size_reason: str | None
    at_equal_stride: tuple[StrideChoice, ...]
    by_object_size: tuple[ObjectSizeBin, ...]


class _Chooser(NamedTuple):
    criterion: Criterion
    seed: int
    n_resamples: int

    def __call__(self, explainers: Sequence[ExplainerFacts], values: Floats) -> PatchSizeChoice | None:
        return choose_patch_size(explainers, values, self.criterion, seed=self.seed, n_resamples=self.n_resamples)


def sweep(
    table: ScoreTable,
    metrics: Sequence[Metric],
    explainers: Sequence[ExplainerFacts],
    cells: Sequence[LeaderboardCell],
    *,
    criterion: str,
    margin: float,
    seed: int,
    n_resamples: int,
) -> Sweep:
    """Compare the ``occlusion`` explainers of a run.

    Args:
        table: every score.
        metrics: in the table's order.
        explainers: in the table's order.
        cells: the leaderboard.
        criterion: the text of the metric that decides.
        margin: the loss of it that is accepted.
        seed: of the resampling.
        n_resamples: how many.
    """
    places = [place for place, one in enumerate(explainers) if is_candidate(one)]
    swept = [explainers[place] for place in places]
    rows = _rows(swept, cells)
    index = next((at for at, metric in enumerate(metrics) if metric.text == criterion), None)
    if len({(_size(one), _stride(one)) for one in swept}) < 2:
        return Sweep(rows, None, "one patch size has nothing to be chosen from" if swept else None, (), ())
    if index is None:
        return Sweep(rows, None, f"{criterion} decides the patch size, and is not among the metrics", (), ())
    metric = metrics[index]
    if isinstance(metric, SetMetric):
        return Sweep(rows, None, f"{criterion} scores the set as a whole; a choice needs a score per image", (), ())
    low, high = metric.spec.bounds
    choose = _Chooser(Criterion(metric.text, metric.spec.direction, high - low, margin), seed, n_resamples)
    values = table.values[:, places, index]
    choice = choose(swept, values)
    reason = None if choice else f"no two images were scored on {criterion} for every patch size"
    by_size = () if table.object_shares is None else _by_object_size(swept, values, table.object_shares, choose)
    return Sweep(rows, choice, reason, _at_equal_stride(swept, values, choose), by_size)


def _rows(swept: Sequence[ExplainerFacts], cells: Sequence[LeaderboardCell]) -> tuple[SweepRow, ...]:
    scores: dict[str, dict[str, SweepScore]] = {}
    for cell in cells:
        found = SweepScore(cell.mean, cell.ci_low, cell.ci_high, cell.n_scored)
        scores.setdefault(cell.explainer, {})[cell.metric] = found
    rows = [
        SweepRow(
            explainer=one.text,
            patch_size=_size(one),
            stride=_stride(one),
            positions=one.positions or 0,
            forward_passes=one.forward_passes,
            seconds_per_image=one.seconds / one.n_maps if one.n_maps else None,
            metrics=scores.get(one.text, {}),
        )
        for one in swept
    ]
    return tuple(sorted(rows, key=lambda row: (row.patch_size, row.stride)))


def _size(facts: ExplainerFacts) -> int:
    return int(facts.parameters["patch_size"] or 0)


def _stride(facts: ExplainerFacts) -> int:
    return int(facts.parameters["stride"] or 0)


def _at_equal_stride(swept: Sequence[ExplainerFacts], values: Floats, choose: _Chooser) -> tuple[StrideChoice, ...]:
    """Choose among the sizes of each stride that several share: otherwise finer strides and sizes go together."""
    strides = sorted({_stride(one) for one in swept})
    if len(strides) < 2:
        return ()
    found = []
    for stride in strides:
        places = [place for place, one in enumerate(swept) if _stride(one) == stride]
        if len({_size(swept[place]) for place in places}) > 1:
            found.append(StrideChoice(stride, choose([swept[place] for place in places], values[:, places])))
    return tuple(found)


def _by_object_size(
    swept: Sequence[ExplainerFacts], values: Floats, shares: Floats, choose: _Chooser
) -> tuple[ObjectSizeBin, ...]:
    scored = np.isfinite(values).all(axis=1)
    if not (np.isfinite(shares) & scored).any():
        return ()
    found = []
    for name, low, high in OBJECT_SIZES:
        within = values[scored & (shares >= low) & (shares < high)]
        n_images = len(within)
        enough = n_images >= _FEWEST_OF_A_SIZE
        means = within.mean(axis=0) if n_images else np.full(len(swept), np.nan)
        choice = choose(swept, within) if enough else None
        few = f"fewer than {_FEWEST_OF_A_SIZE} images"
        found.append(
            ObjectSizeBin(
                object_size=name,
                share_from=low,
                share_to=min(high, 1.0),
                n_images=n_images,
                means={
                    one.text: None if np.isnan(mean) else float(mean) for one, mean in zip(swept, means, strict=True)
                },
                best_patch_size=choice,
                reason=None if choice else few,
            )
        )
    return tuple(found)
