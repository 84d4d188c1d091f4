"""Scenarios of the gate: false alarms, detection, and promised numbers of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evalkit.analysis.gate.results import GateCell
from evalkit.core.randomness import generator
from simulation import tested
from simulation.cells import Cell, Row, rate
from simulation.populations import normal_scores_to

__all__ = ["ALARMS", "PROMISES", "alarms", "detection", "promises"]

Floats = NDArray[np.float64]
ALARMS, PROMISES = "every cell is worse", "promised numbers of images, gate"
CELLS, SPREADS = 24, (0.05, 0.1, 0.2)
_TOLERANCE = tested.TOLERANCE.amount
_MOST_IMAGES = 5_000  # of a promise that is tried
_RARE = 0.04
_SCORES = partial(stats.beta.ppf, a=2.0, b=1.5, loc=0.1, scale=0.8)


def _lognormal(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    return np.asarray((rng.lognormal(0.0, 1.0, size) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e))


def _rare(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Return large numbers on few images and slightly negative ones elsewhere: mean 0, standard deviation 1."""
    large = np.sqrt((1 - _RARE) / _RARE)
    return np.where(rng.random(size) < _RARE, large, -1 / large) * 0.99 + 0.14 * rng.normal(size=size)


# Changes with mean 0 and standard deviation 1, positive = better.
_SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "symmetric": lambda rng, size: rng.normal(size=size),
    "right-skewed": _lognormal,
    "rare improvements": _rare,
    "left-skewed": lambda rng, size: -_lognormal(rng, size),
    "rare losses": lambda rng, size: -_rare(rng, size),
}


def _check(rng: np.random.Generator, n_images: int, shape: str, spread: float, worse: Floats) -> list[GateCell]:
    """Return a simulated check; the scores of the cells are correlated on an image."""
    normal = np.sqrt(0.6) * rng.normal(size=(n_images, 1)) + np.sqrt(0.4) * rng.normal(size=(n_images, CELLS))
    before = normal_scores_to(_SCORES, normal)
    return tested.check(before, before + spread * _SHAPES[shape](rng, before.shape) - worse)


def _cell(title: str, shape: str, spread: float, worse: float, n_images: int, simulate: Callable[..., Row]) -> Cell:
    labels: dict[str, str | int | float] = {"changes": shape, "spread": spread, "worse": worse, "n": n_images}
    return Cell(title, labels, simulate, (shape, spread, worse, n_images))


def alarms(numbers: Sequence[int]) -> Iterator[Cell]:
    """Yield cells: how often a check fails when every cell is worse by none, half or all of the tolerance."""
    for worse in (0.0, _TOLERANCE / 2, _TOLERANCE):
        for shape in _SHAPES:
            for spread in SPREADS:
                for n_images in numbers:
                    yield _cell(ALARMS, shape, spread, worse, n_images, _alarms)


def _alarms(trials: int, seed: int, shape: str, spread: float, worse: float, n_images: int) -> Row:
    failing = 0
    verdicts: Counter[str] = Counter()
    for trial in range(trials):
        rng = generator(seed, "gate", shape, str(spread), str(worse), n_images, trial)
        of_check = [cell.verdict for cell in _check(rng, n_images, shape, spread, np.full(CELLS, worse))]
        verdicts.update(of_check)
        failing += "regressed" in of_check
    shares = {name: verdicts[name] / (trials * CELLS) for name in ("unchanged", "not worse", "inconclusive")}
    return {**rate(failing, trials, "fails"), **shares}


def detection(numbers: Sequence[int]) -> Iterator[Cell]:
    """Yield cells: how often the one cell that is worse is called regressed."""
    for worse in (0.05, 0.1):
        for shape in ("symmetric", "right-skewed", "left-skewed"):
            for spread in SPREADS:
                for n_images in numbers:
                    yield _cell("one cell is worse", shape, spread, worse, n_images, _detection)


def _detection(trials: int, seed: int, shape: str, spread: float, worse: float, n_images: int) -> Row:
    found = 0
    for trial in range(trials):
        rng = generator(seed, "detection", shape, str(spread), str(worse), n_images, trial)
        losses = np.where(np.arange(CELLS) == 0, worse, 0.0)
        found += _check(rng, n_images, shape, spread, losses)[0].verdict == "regressed"
    return rate(found, trials, "detected")


def promises(numbers: Sequence[int]) -> Iterator[Cell]:
    """Yield cells: how often the number of images that an inconclusive cell names gives a new check a verdict."""
    for worse in (0.0, 0.05):
        for shape in _SHAPES:
            for spread in SPREADS:
                for n_images in numbers:
                    yield _cell(PROMISES, shape, spread, worse, n_images, _promises)


def _promises(trials: int, seed: int, shape: str, spread: float, worse: float, n_images: int) -> Row:
    undecided = named = tried = kept = 0
    losses = np.where(np.arange(CELLS) == 0, worse, 0.0)
    for trial in range(max(trials // 4, 1)):
        rng = generator(seed, "promise", shape, str(spread), str(worse), n_images, trial)
        first = _check(rng, n_images, shape, spread, losses)[0]
        if first.verdict != "inconclusive":
            continue
        undecided += 1
        if first.n_wanted:
            named += 1
            if first.n_wanted <= _MOST_IMAGES:
                tried += 1
                kept += _check(rng, first.n_wanted, shape, spread, losses)[0].verdict != "inconclusive"
    return {
        "undecided": undecided,
        "names a number": named / undecided if undecided else None,
        "more than tried": 1 - tried / named if named else None,
        **rate(kept, tried, "kept"),
    }
