"""Faithfulness by magnitude: do the map's values, not only their order, tell how far the score drops?

Parts of the photo turn into the mean color. The drops of the target's score are compared with the sums of the map over
those parts. The parts of ``mu_fidelity``, ``infidelity`` and ``sensitivity_n`` do not depend on the map, so all maps of
a photo share the passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Case
from evalkit.metrics.levels import TOLERANCE, is_constant, tied_ranks
from evalkit.metrics.requests import Cost, Masked, Request
from evalkit.metrics.spec import Answer, MetricSpec, PerturbationMetric

__all__ = [
    "NOT_FINITE",
    "Infidelity",
    "Magnitude",
    "MuFidelity",
    "SensitivityN",
    "cell_sums",
    "infidelity",
    "linear_correlation",
    "random_cells",
    "rank_correlation_of_sums",
]

Map = NDArray[np.floating]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_TO_MEAN: Mapping[str, str] = MappingProxyType({"substrate": "mean"})
_CONSTANT = "the map is constant"
NOT_FINITE = ", or a score of the model is not finite"
_LARGEST_GRID, _MOST_MASKS = 64, 10_000


def cell_sums(saliency_map: Map, grid: int) -> Floats:
    """Return the sum of the map over each cell of a grid, float64 (grid, grid); cells as in ``requests.Masked``.

    Args:
        saliency_map: float (H, W), H and W at least ``grid``.
        grid: cells along each side.
    """
    sums = np.asarray(saliency_map, dtype=np.float64)
    for axis, side in enumerate(sums.shape):
        # The first pixel of cell c is the smallest y with y * grid // side == c.
        starts = -(-np.arange(grid) * side // grid)
        sums = np.add.reduceat(sums, starts, axis=axis)
    return np.asarray(sums)


def random_cells(rng: np.random.Generator, count: int, grid: int, hidden: float | int) -> Flags:
    """Return random masks of cells, bool (count, grid, grid), True = hidden.

    Args:
        rng: the generator.
        count: number of masks.
        grid: cells along each side.
        hidden: a float: the probability that a cell is hidden; an int: the exact number of hidden cells.
    """
    drawn = rng.random((count, grid * grid))
    if isinstance(hidden, float):
        return np.asarray((drawn < hidden).reshape(count, grid, grid))
    order = np.argsort(np.argsort(drawn, axis=1), axis=1)
    return np.asarray((order < hidden).reshape(count, grid, grid))


def _sums_over(saliency_map: Map, masks: Flags) -> Floats:
    """Return the sum of the map over each mask of cells, float64 (N,)."""
    cells = cell_sums(saliency_map, masks.shape[1])
    return np.asarray(np.where(masks, cells, 0.0).reshape(len(masks), -1).sum(axis=1))


def linear_correlation(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation of two series (N,); NaN if either does not vary."""
    centered = [series - series.mean() for series in (first, second)]
    sizes = [float(np.linalg.norm(series)) for series in centered]
    floors = [TOLERANCE * float(np.linalg.norm(series)) for series in (first, second)]
    if any(size <= floor for size, floor in zip(sizes, floors, strict=True)):
        return np.nan
    return float(np.clip(centered[0] @ centered[1] / (sizes[0] * sizes[1]), -1.0, 1.0))


def rank_correlation_of_sums(first: Floats, second: Floats) -> float:
    """Return Spearman's correlation of two series (N,), equal values at their mean rank.

    NaN if either is constant or not finite.
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.nan
    ranks = [tied_ranks(series) for series in (first, second)]
    return linear_correlation(ranks[0] - ranks[0].mean(), ranks[1] - ranks[1].mean()) if _vary(ranks) else np.nan


def _vary(ranks: Sequence[Floats]) -> bool:
    return all(np.ptp(each) > 0 for each in ranks)


def infidelity(sums: Floats, drops: Floats) -> float:
    """Return the mean squared difference between the drops and the sums scaled by the best factor.

    The factor is E[sum * drop] / E[sum ** 2], so the scale of the map does not matter, and neither does its sign.

    Args:
        sums: float64 (N,), the map's sum over each mask.
        drops: float64 (N,), how far the score drops behind each mask, -1..1.

    Returns:
        0..1; NaN if every sum is 0.
    """
    size = float(np.abs(sums).max(initial=0.0))
    if not size > 0:
        return np.nan
    scaled = sums / size  # squares of very small sums would vanish
    factor = float((scaled * drops).mean() / np.square(scaled).mean())
    return float(np.square(factor * scaled - drops).mean())


@dataclass(frozen=True)
class Magnitude(PerturbationMetric):
    """Base of the metrics that compare the map's values with drops of the score."""

    draws: ClassVar[bool] = True
    always_signed: ClassVar[Mapping[str, str]] = _TO_MEAN

    def unscored_map_reason(self, saliency_map: Map) -> str | None:
        """Return that the map is constant: its sums would tell the size of the parts only."""
        return _CONSTANT if is_constant(saliency_map) else None

    def drops(self, case: Case, scores: Answer) -> Floats:
        """Return how far the target's score drops behind each mask, float64 (N,)."""
        return np.asarray(case.clean_score - scores, dtype=np.float64)


@dataclass(frozen=True)
class _Cells(Magnitude):
    """Base of the metrics that hide random cells of a grid.

    Attributes:
        grid: cells along each side.
    """

    grid: int = 9

    def check_grid(self) -> None:
        """Check the grid.

        Raises:
            ConfigError: it is out of range.
        """
        if not 2 <= self.grid <= _LARGEST_GRID:
            raise ConfigError(f"{self.name}: grid={self.grid} is not allowed; 2 to {_LARGEST_GRID} cells along a side")

    def unscored_reason(self, case: Case) -> str | None:
        """Return why the image cannot be masked: it is smaller than the grid."""
        height, width = case.pixels.shape[:2]
        too_small = f"the photo is {height} x {width}, smaller than the grid of {self.grid} x {self.grid} cells"
        return super().unscored_reason(case) or (too_small if min(height, width) < self.grid else None)


@dataclass(frozen=True)
class _Bernoulli(_Cells):
    """Base of the metrics that hide each cell with one probability; equal parameters share the masks.

    Attributes:
        masks: masks of a photo, 10 to 10,000; each costs one pass, shared by all maps of the photo.
        hidden: probability that a cell is hidden.
        grid: cells along each side.
    """

    masks: int = 200
    hidden: float = 0.2

    def __post_init__(self) -> None:
        """Check the ranges."""
        self.check_grid()
        if not 10 <= self.masks <= _MOST_MASKS:
            raise ConfigError(f"{self.name}: masks={self.masks} is not allowed; 10 to {_MOST_MASKS}")
        if not 0 < self.hidden < 1:
            raise ConfigError(f"{self.name}: hidden={self.hidden} is not allowed; above 0 and below 1")

    def cost(self) -> Cost:
        """Return one image a mask, for all maps of a photo together."""
        return Cost(shared_images=self.masks)

    def cells(self, case: Case) -> Flags:
        """Return the photo's masks, bool (masks, grid, grid)."""
        return _bernoulli_cells(case.run_seed, case.content, self.masks, self.grid, float(self.hidden))

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return the photo behind every mask."""
        return [Masked(self.cells(case))]


@lru_cache(maxsize=2)  # the maps of one image in turn, for two metrics
def _bernoulli_cells(seed: int, content: bytes, masks: int, grid: int, hidden: float) -> Flags:
    from evalkit.core.randomness import generator

    drawn = random_cells(generator(seed, content, "random cells"), masks, grid, hidden)
    drawn.setflags(write=False)
    return drawn


@dataclass(frozen=True)
class MuFidelity(_Bernoulli):
    """Rank correlation of the map's sums over random masks and the drops of the score behind them."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="mu_fidelity",
        version=1,
        direction="higher",
        bounds=(-1.0, 1.0),
        family="faithfulness",
        summary="rank correlation of what random masks hide of the map and what they take from the score",
        brief="rank correlation of sums and drops",
        reference="Bhatt et al., IJCAI 2020; by ranks and on a grid as in Fel et al., NeurIPS 2021",
        nan_reason="the map's sums or the drops of the score do not vary over the masks" + NOT_FINITE,
    )

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return Spearman's correlation, -1..1; NaN if sums or drops do not vary."""
        if is_constant(saliency_map):
            return np.nan
        return rank_correlation_of_sums(_sums_over(saliency_map, self.cells(case)), self.drops(case, answers[0]))


@dataclass(frozen=True)
class Infidelity(_Bernoulli):
    """Mean squared difference between the drops of the score and the map's sums, scaled by the best factor."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="infidelity",
        version=1,
        direction="lower",
        bounds=(0.0, 1.0),
        family="faithfulness",
        summary="squared error of the map's best scaled sums as a prediction of the score's drops behind random masks",
        brief="error of predicting drops by sums",
        reference="Yeh et al., NeurIPS 2019, definition 2.1, with their optimal factor",
        nan_reason="the map is zero under every mask" + NOT_FINITE,
    )

    def unscored_map_reason(self, saliency_map: Map) -> str | None:
        """Return None: a constant map is a prediction too."""
        return None

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return ``infidelity``, 0..1; NaN if every sum is 0."""
        return infidelity(_sums_over(saliency_map, self.cells(case)), self.drops(case, answers[0]))


@dataclass(frozen=True)
class SensitivityN(_Cells):
    """Correlation of the map's sums over random masks of n cells and the drops of the score, mean over several n.

    Attributes:
        cells: the numbers of hidden cells, joined by ``+``.
        masks: masks of each number, 10 to 10,000; each costs one pass, shared by all maps of the photo.
        grid: cells along each side.
    """

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="sensitivity_n",
        version=1,
        direction="higher",
        bounds=(-1.0, 1.0),
        family="faithfulness",
        summary="correlation of the map's sums over n hidden cells and the score's drops, mean over n",
        brief="correlation of sums and drops, n cells",
        reference="Ancona et al., ICLR 2018, section 4",
        nan_reason="the map's sums or the drops of the score do not vary over the masks of one size" + NOT_FINITE,
        column="sens_n",
    )
    cells: str | int = "8+16+32+64"
    masks: int = 100

    def __post_init__(self) -> None:
        """Check the ranges."""
        self.check_grid()
        if not 10 <= self.masks <= _MOST_MASKS:
            raise ConfigError(f"{self.name}: masks={self.masks} is not allowed; 10 to {_MOST_MASKS}")
        parts = str(self.cells).split("+")
        if not all(part.strip().isdecimal() and 0 < int(part) < self.grid**2 for part in parts):
            raise ConfigError(
                f"{self.name}: cells={self.cells} is not allowed; numbers from 1 to {self.grid**2 - 1} joined by +, "
                "for example 8+16+32+64"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of hidden cells."""
        return tuple(int(part) for part in str(self.cells).split("+"))

    def cost(self) -> Cost:
        """Return one image a mask, for all maps of a photo together."""
        return Cost(shared_images=self.masks * len(self.sizes))

    def cells_of(self, size: int, case: Case) -> Flags:
        """Return the photo's masks that hide ``size`` cells, bool (masks, grid, grid)."""
        return random_cells(case.rng("random cells", size), self.masks, self.grid, size)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return the photo behind the masks of each size."""
        return [Masked(self.cells_of(size, case)) for size in self.sizes]

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return the mean of Pearson's correlations, -1..1; NaN if sums or drops of any size do not vary."""
        if is_constant(saliency_map):
            return np.nan
        return float(
            np.mean(
                [
                    linear_correlation(_sums_over(saliency_map, self.cells_of(size, case)), self.drops(case, scores))
                    for size, scores in zip(self.sizes, answers, strict=True)
                ]
            )
        )
