"""Sanity checks by re-initialized weights: does the map change when the model forgets what it has learned?

A map that does not change shows nothing that was learned. A method of fresh noise would pass, so these are descriptive,
and to be read beside the controls, which depend on no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.core.randomness import generator
from evalkit.metrics.case import Case
from evalkit.metrics.levels import is_constant, tied_ranks
from evalkit.metrics.randomization import rank_correlation
from evalkit.metrics.requests import Cost, ExplainWith, Request, Variant
from evalkit.metrics.spec import Answer, Metric, MetricSpec

__all__ = ["BINS", "Emprt", "Mprt", "cascade_of", "histogram_entropy", "stage_layers"]

Map = NDArray[np.floating]
Floats = NDArray[np.float64]

BINS = 100
_MOST_DRAWS, _MOST_STAGES = 10, 100


def stage_layers(n_layers: int, stages: int) -> tuple[int, ...]:
    """Return how many of the first layers are re-initialized at each stage: evenly spread, the last time all.

    Args:
        n_layers: the number of layers with weights.
        stages: the largest number of stages.

    >>> stage_layers(16, 8), stage_layers(3, 8), stage_layers(21, 4)
    ((2, 4, 6, 8, 10, 12, 14, 16), (1, 2, 3), (5, 11, 16, 21))
    """
    count = max(1, min(stages, n_layers))
    return tuple((2 * stage * n_layers + count) // (2 * count) for stage in range(1, count + 1))


def histogram_entropy(saliency_map: Map) -> float:
    """Return the entropy, in nats, of the histogram of a map's values: 100 equal bins from minimum to maximum.

    Args:
        saliency_map: float (H, W), with its sign.

    Returns:
        Above 0, at most log 100; NaN if the map is constant or not finite.
    """
    if not np.isfinite(saliency_map).all() or is_constant(saliency_map):
        return np.nan
    counts, _ = np.histogram(np.asarray(saliency_map, dtype=np.float64), bins=BINS)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def cascade_of(saliency_map: Map, changed: Sequence[Sequence[Map]]) -> Floats:
    """Return the rank correlations of a cascade, means over seeds.

    Args:
        saliency_map: the map of the model itself, finite float (H, W).
        changed: for each seed the map at each stage.

    Returns:
        float64 (3, S): the correlation with the model's own map; with the map of the last stage and the same seed; the
        share of the seeds whose map is constant or not finite, which the means leave out. NaN where nothing is left.
    """
    own = _unit_ranks(saliency_map)
    with_own, with_last, constant = [], [], []
    for maps in changed:
        ranks = [_unit_ranks(one) for one in maps]
        with_own.append([_product(own, one) for one in ranks])
        with_last.append([_product(ranks[-1], one) for one in ranks])
        constant.append([one is None for one in ranks])
    return np.stack([_mean_of_known(with_own), _mean_of_known(with_last), np.mean(constant, axis=0)])


@dataclass(frozen=True)
class Mprt(Metric):
    """Model parameter randomization test: how alike the maps of the model and of one with new weights are.

    New weights are drawn by each layer's own initializers, from seeds of the run: all images and explainers share the
    changed models.

    Attributes:
        layers: ``bottom_up``: the first layers with weights, at each stage more of them, at last all; ``output``: the
            last layer with weights alone.
        draws_per_map: seeds, 1 to 10.
        stages: largest number of stages, 1 to 100, evenly spread over the layers; with ``bottom_up``.

    Reference: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, section 3.
    """

    draws: ClassVar[bool] = True
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="mprt",
        version=3,
        direction="lower",
        bounds=(-1.0, 1.0),
        family="sanity",
        summary="rank correlation of the maps before and after the model's layers are re-initialized, bottom-up",
        brief="rank correlation of maps before and after new weights",
        reference="Adebayo et al., NeurIPS 2018, section 3",
        nan_reason="a map is constant or not finite",
        descriptive=True,
    )
    layers: Literal["bottom_up", "output"] = "bottom_up"
    draws_per_map: int = 3
    stages: int = 8

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check("mprt", "draws_per_map", self.draws_per_map, _MOST_DRAWS)
        _check("mprt", "stages", self.stages, _MOST_STAGES)

    def cost(self) -> Cost:
        """Return one map a seed and stage."""
        return Cost(maps=self.draws_per_map * (1 if self.layers == "output" else self.stages))

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return a map of each changed model, stage by stage for each seed."""
        seeds = self.variant_seeds(case)
        if self.layers == "output":
            return [ExplainWith(Variant("output", seed)) for seed in seeds]
        stages = stage_layers(case.n_layers, self.stages)
        return [ExplainWith(Variant("first", seed, first)) for seed in seeds for first in stages]

    def variant_seeds(self, case: Case) -> list[int]:
        """Return the seeds of the changed models: of the run, not of the image."""
        return _variant_seeds(case, self.layers, self.draws_per_map)

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return the mean rank correlation.

        With ``output`` over the seeds, NaN if any map is constant or not finite; with ``bottom_up`` over the stages of
        the means over the seeds whose map is neither, NaN if a stage has none.
        """
        if self.layers == "output":
            return float(np.mean([rank_correlation(saliency_map, changed) for changed in answers]))
        return float(np.mean(self._cascade(saliency_map, answers)[0]))

    def kept_curve(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> Floats | None:
        """Return ``cascade_of`` in one row behind the numbers of re-initialized layers, which are repeated."""
        if self.layers == "output":
            return None
        layers = stage_layers(case.n_layers, self.stages)
        return np.stack([np.tile(np.array(layers, dtype=np.float64), 3), self._cascade(saliency_map, answers).ravel()])

    def _cascade(self, saliency_map: Map, answers: Sequence[Answer]) -> Floats:
        stages = len(answers) // self.draws_per_map
        by_seed = [answers[start : start + stages] for start in range(0, len(answers), stages)]
        return cascade_of(saliency_map, by_seed)


@dataclass(frozen=True)
class Emprt(Metric):
    """Efficient MPRT: relative rise of the entropy of the map when all layers are re-initialized.

    The changed models are those of the last stage of ``mprt``.

    Attributes:
        draws_per_map: seeds, 1 to 10.

    Reference: Hedstrom et al., "Sanity Checks Revisited", 2023, arXiv 2401.06465, section 4.2.
    """

    draws: ClassVar[bool] = True
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="emprt",
        version=1,
        direction="higher",
        bounds=(-1.0, np.inf),
        family="sanity",
        summary="relative rise of the map's histogram entropy after all layers are re-initialized",
        brief="rise of the map's entropy with new weights",
        reference="Hedstrom et al., arXiv 2401.06465, section 4.2",
        nan_reason="a map is constant or not finite",
        descriptive=True,
    )
    draws_per_map: int = 3

    def __post_init__(self) -> None:
        """Check the range."""
        _check("emprt", "draws_per_map", self.draws_per_map, _MOST_DRAWS)

    def cost(self) -> Cost:
        """Return one map a seed."""
        return Cost(maps=self.draws_per_map)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return a map of each model whose layers are all re-initialized."""
        seeds = _variant_seeds(case, "bottom_up", self.draws_per_map)
        return [ExplainWith(Variant("first", seed, case.n_layers)) for seed in seeds]

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return (H(changed) - H) / H, mean over the seeds whose map is not constant; NaN if there is none."""
        own = histogram_entropy(saliency_map)
        return float(_mean_of_known([[(histogram_entropy(changed) - own) / own] for changed in answers])[0])


def _check(metric: str, parameter: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise ConfigError(f"{metric}: {parameter}={value} is not allowed; 1 to {most}")


def _variant_seeds(case: Case, layers: str, count: int) -> list[int]:
    rng = generator(case.run_seed, "mprt", layers)
    return [int(seed) for seed in rng.integers(0, 2**31, count)]


def _unit_ranks(saliency_map: Map) -> Floats | None:
    """Return the centered mean ranks of a map's levels, scaled to length 1; None if it is constant or not finite."""
    if not np.isfinite(saliency_map).all():
        return None
    ranks = tied_ranks(np.asarray(saliency_map, dtype=np.float64).ravel())
    ranks -= ranks.mean()
    length = float(np.linalg.norm(ranks))
    return ranks / length if length > 0 else None


def _product(first: Floats | None, second: Floats | None) -> float:
    return np.nan if first is None or second is None else float(np.clip(first @ second, -1.0, 1.0))


def _mean_of_known(numbers: Sequence[Sequence[float]]) -> Floats:
    """Return the mean of each column's numbers that are not NaN; NaN if all are."""
    table = np.asarray(numbers, dtype=np.float64)
    known = np.isfinite(table)
    total = np.where(known, table, 0.0).sum(axis=0)
    mean: Floats = np.divide(total, known.sum(axis=0), out=np.full(len(total), np.nan), where=known.any(axis=0))
    return mean
