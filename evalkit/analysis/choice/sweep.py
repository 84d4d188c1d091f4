"""The patch-size sweep: score and cost of each size, the choice, also for equal strides and by object size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.candidates import is_candidate, size_and_stride, variants_of
from evalkit.analysis.choice.patch_size import choose_patch_size
from evalkit.analysis.choice.rule import Criterion, criterion_of
from evalkit.analysis.facts import cost_in_passes
from evalkit.analysis.results import (
    LeaderboardCell,
    ObjectSizeBin,
    PatchSizeChoice,
    StrideChoice,
    SweepRow,
    SweepScore,
)
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts
from evalkit.store.scores import ScoreTable

__all__ = ["OBJECT_SIZES", "Sweep", "scores_by_explainer", "seconds_per_image", "sweep"]

Floats = NDArray[np.float64]
OBJECT_SIZES = (("small", 0.0, 0.1), ("medium", 0.1, 0.3), ("large", 0.3, np.inf))
_FEWEST_OF_A_SIZE = 30


class Sweep(NamedTuple):
    """The results of the patch-size sweep; the fields are those of ``Results``."""

    patch_sweep: tuple[SweepRow, ...]
    best_patch_size: PatchSizeChoice | None
    best_patch_size_reason: str | None
    at_equal_stride: tuple[StrideChoice, ...]
    by_object_size: tuple[ObjectSizeBin, ...]


class _Chooser(NamedTuple):
    criterion: Criterion
    seed: int
    n_resamples: int
    swept: Sequence[ExplainerFacts]

    def __call__(self, explainers: Sequence[ExplainerFacts], values: Floats) -> PatchSizeChoice | None:
        return choose_patch_size(
            explainers, values, self.criterion, seed=self.seed, n_resamples=self.n_resamples, sweep=self.swept
        )


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
    """Compare the explainers of a run that are swept by patch size and stride, in whatever they differ.

    Args:
        table: the scores of the run.
        metrics: the metrics of the run, in the table's order.
        explainers: the explainers of the run, in the table's order.
        cells: the leaderboard.
        criterion: text of the metric that decides.
        margin: largest accepted loss of the criterion, relative to the best size.
        seed: random seed of the resampling.
        n_resamples: number of resamples.
    """
    columns = [column for column, explainer in enumerate(explainers) if is_candidate(explainer)]
    swept = [explainers[column] for column in columns]
    rows = _rows(swept, cells)
    if len(swept) < 2:
        return Sweep(rows, None, "only one patch size was run" if swept else None, (), ())
    deciding = criterion_of(metrics, criterion, margin)
    if isinstance(deciding, str):
        return Sweep(rows, None, deciding, (), ())
    choose = _Chooser(deciding, seed, n_resamples, swept)
    values = table.values[:, columns, table.metrics.index(criterion)]
    choice = choose(swept, values)
    every = "setting" if any(row.variant for row in rows) else "patch size"
    no_choice = None if choice else f"fewer than two images were scored by {criterion} for every {every}"
    by_size = () if table.object_shares is None else _by_object_size(swept, values, table.object_shares, choose)
    return Sweep(rows, choice, no_choice, _at_equal_stride(swept, values, choose), by_size)


def scores_by_explainer(cells: Sequence[LeaderboardCell]) -> dict[str, dict[str, SweepScore]]:
    """Return the scores of a sweep by the texts of explainer and metric."""
    scores: dict[str, dict[str, SweepScore]] = {}
    for cell in cells:
        score = SweepScore(cell.mean, cell.ci_low, cell.ci_high, cell.n_scored, cell.rank)
        scores.setdefault(cell.explainer, {})[cell.metric] = score
    return scores


def seconds_per_image(explainer: ExplainerFacts) -> float | None:
    """Return the measured time of a map; None if no map was computed."""
    return explainer.seconds / explainer.n_maps if explainer.n_maps else None


def _rows(swept: Sequence[ExplainerFacts], cells: Sequence[LeaderboardCell]) -> tuple[SweepRow, ...]:
    scores = scores_by_explainer(cells)
    variants = variants_of(swept)
    rows = []
    for explainer in swept:
        patch_size, stride = size_and_stride(explainer)
        rows.append(
            SweepRow(
                explainer=explainer.text,
                patch_size=patch_size,
                stride=stride,
                positions=explainer.positions or 0,
                forward_passes=explainer.forward_passes,
                seconds_per_image=seconds_per_image(explainer),
                metrics=scores.get(explainer.text, {}),
                variant=variants[explainer.text],
                passes=cost_in_passes(explainer),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.patch_size, row.stride)))


def _at_equal_stride(swept: Sequence[ExplainerFacts], values: Floats, choose: _Chooser) -> tuple[StrideChoice, ...]:
    """Choose among the sizes of each stride that several sizes have, so that size and stride are not confounded."""
    pairs = [size_and_stride(explainer) for explainer in swept]
    strides = sorted({stride for _, stride in pairs})
    if len(strides) < 2:
        return ()
    choices = []
    for stride in strides:
        columns = [column for column, pair in enumerate(pairs) if pair[1] == stride]
        if len({pairs[column][0] for column in columns}) > 1:
            choice = choose([swept[column] for column in columns], values[:, columns])
            choices.append(StrideChoice(stride, choice))
    return tuple(choices)


def _by_object_size(
    swept: Sequence[ExplainerFacts], values: Floats, shares: Floats, choose: _Chooser
) -> tuple[ObjectSizeBin, ...]:
    scored = np.isfinite(values).all(axis=1)
    if not (np.isfinite(shares) & scored).any():
        return ()
    bins = []
    for name, low, high in OBJECT_SIZES:
        within = values[scored & (shares >= low) & (shares < high)]
        n_images = len(within)
        enough = n_images >= _FEWEST_OF_A_SIZE
        means = within.mean(axis=0) if n_images else np.full(len(swept), np.nan)
        choice = choose(swept, within) if enough else None
        few = f"fewer than {_FEWEST_OF_A_SIZE} images"
        bins.append(
            ObjectSizeBin(
                object_size=name,
                share_from=low,
                share_to=min(high, 1.0),
                n_images=n_images,
                means={
                    explainer.text: None if np.isnan(mean) else float(mean)
                    for explainer, mean in zip(swept, means, strict=True)
                },
                best_patch_size=choice,
                reason=None if choice else few,
            )
        )
    return tuple(bins)
