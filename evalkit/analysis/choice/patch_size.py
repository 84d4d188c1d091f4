"""Choice of the patch size among the explainers of the patch-size sweep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.candidates import candidate_name, is_candidate, size_and_stride, variants_of
from evalkit.analysis.choice.rule import Candidate, Criterion, choose
from evalkit.analysis.facts import cost_in_passes
from evalkit.analysis.results import PatchSizeChoice
from evalkit.store.manifest import ExplainerFacts

__all__ = ["Criterion", "choose_patch_size"]

Floats = NDArray[np.float64]


def choose_patch_size(
    explainers: Sequence[ExplainerFacts],
    values: Floats,
    criterion: Criterion,
    *,
    seed: int,
    n_resamples: int,
    sweep: Sequence[ExplainerFacts] | None = None,
) -> PatchSizeChoice | None:
    """Choose among the explainers of the patch-size sweep, by the rule of ``choose``.

    Args:
        explainers: the explainers of the run.
        values: float64 (n, E), the criterion's score of each image, NaN = not scored.
        criterion: the criterion of the choice.
        seed: random seed of the resampling.
        n_resamples: number of resamples.
        sweep: all explainers of the sweep, if ``explainers`` are some of them; names say in what all of these differ.

    Returns:
        The choice, or None unless two candidates were scored on the same two images.
    """
    columns = [index for index, explainer in enumerate(explainers) if is_candidate(explainer)]
    swept = [explainers[index] for index in columns]
    variants = variants_of([facts for facts in sweep or explainers if is_candidate(facts)])
    choice = choose(
        [
            Candidate(candidate_name(*size_and_stride(facts), variants[facts.text]), facts.text, cost_in_passes(facts))
            for facts in swept
        ],
        values[:, columns],
        criterion,
        noun="setting" if any(variants.values()) else "size",
        seed=seed,
        n_resamples=n_resamples,
    )
    if choice is None:
        return None
    facts = swept[choice.chosen]
    patch_size, stride = size_and_stride(facts)
    return PatchSizeChoice(
        patch_size=patch_size,
        stride=stride,
        reason=choice.reason,
        decided=choice.decided,
        tied_with=choice.tied_with,
        chosen_share=choice.chosen_share,
        criterion=criterion.metric,
        margin=criterion.margin,
        n_images=choice.n_images,
        explainer=facts.text,
        variant=dict(variants[facts.text]),
        n_wanted=choice.n_wanted,
    )
