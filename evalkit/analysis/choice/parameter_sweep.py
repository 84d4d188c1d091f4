"""The sweep of any explainer's parameters: score and cost of each variant, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.candidates import differing_parameters, variant_text
from evalkit.analysis.choice.rule import Candidate, Criterion, choose
from evalkit.analysis.choice.sweep import Sweep, scores_by_explainer, seconds_per_image
from evalkit.analysis.facts import cost_in_passes, origin_of
from evalkit.analysis.results import LeaderboardCell, ParameterChoice, ParameterRow, ParameterSweep
from evalkit.core.specs import Literals
from evalkit.store.manifest import ExplainerFacts
from evalkit.store.scores import ScoreTable

__all__ = ["ParameterSweeps", "sweep_parameters"]

Floats = NDArray[np.float64]
_Parameters = dict[str, dict[str, Literals]]


class ParameterSweeps(NamedTuple):
    """The results of all sweeps; the fields are those of ``Results``."""

    parameter_sweeps: tuple[ParameterSweep, ...]
    best_parameters: dict[str, ParameterChoice | None]


def sweep_parameters(
    table: ScoreTable,
    explainers: Sequence[ExplainerFacts],
    cells: Sequence[LeaderboardCell],
    of_patch_size: Sweep,
    criterion: Criterion | str,
    *,
    seed: int,
    n_resamples: int,
) -> ParameterSweeps:
    """Compare the variants of each explainer that has several; controls and maps from files are not swept.

    Args:
        table: the scores of the run.
        explainers: the explainers of the run, in the table's order.
        cells: the leaderboard.
        of_patch_size: the patch-size sweep, whose choice is taken where it has exactly the variants of one explainer.
        criterion: the criterion of the choice, or why it cannot decide, from ``criterion_of``.
        seed: random seed of the resampling.
        n_resamples: number of resamples.
    """
    scores = scores_by_explainer(cells)
    of_patches = {row.explainer for row in of_patch_size.patch_sweep}
    sweeps: list[ParameterSweep] = []
    best: dict[str, ParameterChoice | None] = {}
    for name, columns in _by_name(explainers).items():
        variants = [explainers[column] for column in columns]
        parameters = differing_parameters(variants)
        names = tuple(dict.fromkeys(key for of_variant in parameters.values() for key in of_variant))
        if not names:
            continue
        choice: ParameterChoice | None = None
        reason: str | None
        left_out: tuple[str, ...] = ()
        if {facts.text for facts in variants} == of_patches:
            choice, reason = _of_patch_size(of_patch_size, parameters), of_patch_size.best_patch_size_reason
        elif isinstance(criterion, str):
            reason = criterion
        else:
            values = table.values[:, columns, table.metrics.index(criterion.metric)]
            choice, reason, left_out = _choose(variants, parameters, values, criterion, seed, n_resamples)
        best[name] = choice
        rows = tuple(
            ParameterRow(
                explainer=facts.text,
                parameters=parameters[facts.text],
                passes=cost_in_passes(facts),
                seconds_per_image=seconds_per_image(facts),
                metrics=scores.get(facts.text, {}),
            )
            for facts in variants
        )
        sweeps.append(ParameterSweep(name, names, rows, reason, left_out))
    return ParameterSweeps(tuple(sweeps), best)


def _by_name(explainers: Sequence[ExplainerFacts]) -> dict[str, list[int]]:
    """Return the columns of the explainers of each name that has several; of equal ones, the first."""
    columns: dict[str, list[int]] = {}
    for column, facts in enumerate(explainers):
        of_name = columns.setdefault(facts.name, [])
        # A layer may be named that is the default one.
        is_new = all(explainers[other].parameters != facts.parameters for other in of_name)
        if is_new and not facts.control and origin_of(facts) != "precomputed":
            of_name.append(column)
    return {name: of_name for name, of_name in columns.items() if len(of_name) > 1}


def _of_patch_size(sweep: Sweep, parameters: _Parameters) -> ParameterChoice | None:
    """Return the choice of the patch-size sweep in the words of any sweep."""
    choice = sweep.best_patch_size
    if choice is None:
        return None
    return ParameterChoice(
        parameters=parameters[choice.explainer],
        explainer=choice.explainer,
        reason=choice.reason,
        decided=choice.decided,
        tied_with=choice.tied_with,
        chosen_share=choice.chosen_share,
        criterion=choice.criterion,
        margin=choice.margin,
        n_images=choice.n_images,
        n_wanted=choice.n_wanted,
    )


def _choose(
    variants: Sequence[ExplainerFacts],
    parameters: _Parameters,
    values: Floats,
    criterion: Criterion,
    seed: int,
    n_resamples: int,
) -> tuple[ParameterChoice | None, str | None, tuple[str, ...]]:
    """Return the choice, why there is none, and the explainers that were not scored and so not compared."""
    scored = np.flatnonzero(np.isfinite(values).any(axis=0)).tolist()
    compared = [variants[column] for column in scored]
    left_out = tuple(facts.text for facts in variants if facts not in compared)
    choice = choose(
        [Candidate(variant_text(parameters[facts.text]), facts.text, cost_in_passes(facts)) for facts in compared],
        values[:, scored],
        criterion,
        noun="setting",
        seed=seed,
        n_resamples=n_resamples,
    )
    if choice is None:
        few = "fewer than two settings were scored" if len(compared) < 2 else "fewer than two images were scored"
        every = "" if len(compared) < 2 else " for every setting"
        return None, f"{few} by {criterion.metric}{every}", left_out
    facts = compared[choice.chosen]
    chosen = ParameterChoice(
        parameters=parameters[facts.text],
        explainer=facts.text,
        reason=choice.reason,
        decided=choice.decided,
        tied_with=choice.tied_with,
        chosen_share=choice.chosen_share,
        criterion=criterion.metric,
        margin=criterion.margin,
        n_images=choice.n_images,
        n_wanted=choice.n_wanted,
    )
    return chosen, None, left_out
