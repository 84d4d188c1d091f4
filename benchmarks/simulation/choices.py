"""Scenarios of the patch-size choice: wrong decisions, and promised numbers of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.core.randomness import generator
from evalkit.store.manifest import ExplainerFacts
from simulation import tested
from simulation.cells import Cell, Row, rate
from simulation.populations import SMOOTH, Population, Rare, Real, Smooth

__all__ = ["PROMISES", "decisions", "promises", "sweep_facts"]

Floats = NDArray[np.float64]
PROMISES = "promised numbers of images, patch size"
MARGIN = 0.02
_JUST_TOO_BAD = MARGIN + 0.001
_PASSES = (785, 197, 101, 50, 37, 17)
_MOST_IMAGES = 5_000  # of a promise that is tried
_NOISE = (0.005, 0.035)  # beside rare large losses: small against the margin, and just not
_CRITERIA = (
    "symmetric_relevance_gain",
    "deletion",
    "insertion",
    "pointing_game",
    "energy_pointing_game",
    "relevance_rank_accuracy",
)
# True losses to the best, the most expensive size first; the hardest case: cheap sizes lose a little more than the
# margin.
_ONE_BEST = "one best, the cheaper ones just too bad"
_ALIKE = "all alike"
_LOSSES = {
    _ONE_BEST: (0.0, *(_JUST_TOO_BAD,) * 5),
    "a ladder": (0.0, 0.005, 0.012, 0.021, 0.03, 0.06),
    "the best is not the dearest": (0.03, 0.021, 0.0, 0.021, 0.022, 0.1),
    _ALIKE: (0.0,) * 6,
    "cheap ones lose 0.01": (0.0, 0.0, 0.0, 0.01, 0.01, 0.01),
}


@dataclass(frozen=True, eq=False)
class _Sweep:
    """A patch-size sweep.

    Attributes:
        population: the scores, one explainer for each size.
        losses: what is subtracted from the scores of each size.
        true: true losses to the best.
        facts: the explainers.
    """

    population: Population
    losses: tuple[float, ...]
    true: tuple[float, ...]
    facts: tuple[ExplainerFacts, ...]

    def choose(self, rng: np.random.Generator, n_images: int, seed: int) -> tuple[bool, bool, int | None]:
        """Return for a sample whether it is decided, whether wrongly, and the number of images wanted."""
        scores = self.population.worsen(rng, self.population.draw(rng, n_images), np.array(self.losses))
        choice = tested.choose(self.population.metric, self.facts, scores, MARGIN, seed)
        if choice is None:
            return False, False, None
        chosen = [facts.text for facts in self.facts].index(choice.explainer)
        return choice.decided, choice.decided and self.true[chosen] > MARGIN, tested.wanted(choice)


def sweep_facts() -> tuple[ExplainerFacts, ...]:
    """Return six sizes of occlusion, the most expensive first."""
    return tuple(
        ExplainerFacts(
            text=f"occlusion(patch_size={size})",
            name="occlusion",
            parameters={"patch_size": size, "stride": size},
            control=False,
            positions=n_passes,
            forward_passes=n_passes,
            method="",
            swept_by=("patch_size", "stride"),
        )
        for size, n_passes in enumerate(_PASSES, start=1)
    )


def _shifted(population: Population, losses: tuple[float, ...], facts: tuple[ExplainerFacts, ...]) -> _Sweep:
    losses = losses[: population.n_explainers]
    return _Sweep(population, losses, losses, facts[: len(losses)])


def _smooth(name: str) -> Iterator[_Sweep]:
    for metric in SMOOTH:
        yield _shifted(Smooth(metric, len(_PASSES)), _LOSSES[name], sweep_facts())


def _real(runs: Sequence[Real], name: str) -> Iterator[_Sweep]:
    for run in runs:
        sweep = run.sweep()
        if run.metric in _CRITERIA and sweep.n_explainers >= 2:
            yield _shifted(sweep.centered(), _LOSSES[name], sweep.facts)


def _as_they_are(runs: Sequence[Real]) -> Iterator[_Sweep]:
    for run in runs:
        sweep = run.sweep()
        if run.metric in _CRITERIA and sweep.n_explainers >= 2:
            means = run.sign * sweep.means
            yield _Sweep(sweep, (0.0,) * len(means), tuple((means.max() - means).tolist()), sweep.facts)


def _cells(scenario: str, case: str, sweeps: Iterator[_Sweep], numbers: Sequence[int]) -> Iterator[Cell]:
    simulate = _promises if scenario == PROMISES else _decisions
    for sweep in sweeps:
        for n_images in numbers:
            labels = {"case": case, "population": sweep.population.source, "metric": sweep.population.metric}
            yield Cell(scenario, {**labels, "n": n_images}, simulate, (sweep, case, n_images))


def decisions(runs: Sequence[Real], numbers: Sequence[int]) -> Iterator[Cell]:
    """Yield cells: how often a decided choice truly loses more than the margin, and how often it is decided."""
    title = "patch size"
    for name in _LOSSES:
        yield from _cells(title, name, _smooth(name), numbers)
    for name in (_ONE_BEST, _ALIKE):
        yield from _cells(title, name, _real(runs, name), numbers)
    for noise in _NOISE:
        for count in (2, 6):
            sweep = _shifted(Rare(count, noise), _LOSSES[_ONE_BEST][:count], sweep_facts())
            case = f"{count - 1} cheap with rare large losses, noise {noise}"
            yield from _cells(title, case, iter([sweep]), (*numbers, 400))


def _decisions(trials: int, seed: int, sweep: _Sweep, case: str, n_images: int) -> Row:
    wrong = decided = 0
    for trial in range(trials):
        rng = generator(seed, "choice", case, sweep.population.source, sweep.population.metric, n_images, trial)
        is_decided, is_wrong, _ = sweep.choose(rng, n_images, trial)
        decided, wrong = decided + is_decided, wrong + is_wrong
    return {"decided": decided / trials, **rate(wrong, trials, "wrong")}


def promises(runs: Sequence[Real], numbers: Sequence[int]) -> Iterator[Cell]:
    """Yield cells: how often the number of images that an undecided choice names decides a new run."""
    for name in (_ONE_BEST, _ALIKE, "cheap ones lose 0.01"):
        yield from _cells(PROMISES, name, _smooth(name), numbers)
    yield from _cells(PROMISES, _ALIKE, _real(runs, _ALIKE), numbers)
    yield from _cells(PROMISES, "as they are", _as_they_are(runs), numbers)


def _promises(trials: int, seed: int, sweep: _Sweep, case: str, n_images: int) -> Row:
    undecided = named = tried = kept = 0
    for trial in range(max(trials // 4, 1)):
        rng = generator(seed, "promise", case, sweep.population.source, sweep.population.metric, n_images, trial)
        decided, _, wanted = sweep.choose(rng, n_images, trial)
        if not decided:
            undecided += 1
            if wanted:
                named += 1
                if wanted <= _MOST_IMAGES:
                    tried += 1
                    kept += sweep.choose(rng, wanted, trial)[0]
    return {
        "undecided": undecided,
        "names a number": named / undecided if undecided else None,
        "more than tried": 1 - tried / named if named else None,
        **rate(kept, tried, "kept"),
    }
