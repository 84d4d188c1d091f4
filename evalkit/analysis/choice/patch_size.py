"""Choice of the patch size: the cheapest whose loss to the best is shown to be below a margin.

"Not significantly worse" would not be enough: with few images that rule always picks the cheapest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.candidates import Variant, candidate_name, is_candidate, size_and_stride, variants_of
from evalkit.analysis.choice.loss_bounds import LossBounds, chosen_share, images_wanted, loss_bounds
from evalkit.analysis.results import PatchSizeChoice
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.store.manifest import ExplainerFacts

__all__ = ["Criterion", "choose_patch_size"]

Floats = NDArray[np.float64]
_FEWEST_IMAGES = 10  # with fewer, resampling does not bound the error of a mean


class Criterion(NamedTuple):
    """The criterion of the choice.

    Attributes:
        metric: text of the metric.
        direction: ``higher`` or ``lower`` is better.
        width: difference between the metric's largest and smallest possible value.
        margin: largest accepted loss, relative to the best size.
    """

    metric: str
    direction: str
    width: float
    margin: float


class _Candidate(NamedTuple):
    facts: ExplainerFacts
    patch_size: int
    stride: int
    variant: Variant

    @property
    def text(self) -> str:
        return candidate_name(self.patch_size, self.stride, self.variant)

    @property
    def noun(self) -> str:
        """What the candidates are: sizes, or settings if more than size and stride differs."""
        return "setting" if self.variant else "size"


def choose_patch_size(
    explainers: Sequence[ExplainerFacts],
    values: Floats,
    criterion: Criterion,
    *,
    seed: int,
    n_resamples: int,
    sweep: Sequence[ExplainerFacts] | None = None,
) -> PatchSizeChoice | None:
    """Choose among the explainers of the patch-size sweep.

    The choice is decided if the upper bound of a size's loss to the best is below the margin. The best size is not
    known, so the loss is bounded against every other size, each bound simultaneous over that size's differences
    (``loss_bounds``): for the truly best size, all bounds hold together in 95 % of runs.

    Args:
        explainers: the explainers of the run.
        values: float64 (n, E), the criterion's score of each image, NaN = not scored.
        criterion: the criterion of the choice.
        seed: random seed of the resampling.
        n_resamples: number of resamples.
        sweep: all explainers of the sweep, if ``explainers`` are some of them; names say in what all of these differ.

    Returns:
        The choice, or None unless two candidates were scored on the same two images.

    Reference: multiple comparisons with the best, Hsu, Annals of Statistics 1981.
    """
    columns = [index for index, explainer in enumerate(explainers) if is_candidate(explainer)]
    variants = variants_of([facts for facts in sweep or explainers if is_candidate(facts)])
    candidates = [
        _Candidate(explainers[index], *size_and_stride(explainers[index]), variants[explainers[index].text])
        for index in columns
    ]
    scores = values[:, columns] * (1.0 if criterion.direction == "higher" else -1.0)
    scores = scores[np.isfinite(scores).all(axis=1)]
    n_images = len(scores)
    if len(candidates) < 2 or n_images < 2:
        return None
    resampling = _resampling(seed, n_resamples)
    means = scores.mean(axis=0)
    best = int(means.argmax())
    bounds = loss_bounds(scores, resampling, criterion.width, criterion.margin)
    passes = np.array([candidate.facts.forward_passes for candidate in candidates])
    enough = n_images >= _FEWEST_IMAGES
    qualifying = [index for index in range(len(candidates)) if enough and bounds.losses[index] < criterion.margin]
    decided = bool(qualifying)
    chosen = min(qualifying, key=lambda index: (passes[index], -means[index])) if decided else best
    wanted = None if decided else images_wanted(scores, bounds, criterion.margin, _FEWEST_IMAGES, seed)
    if decided:
        tied = qualifying
        reason = _decided_reason(candidates, chosen, best, bounds.losses, criterion.metric, n_images)
    else:
        tied = [index for index in range(len(candidates)) if bounds.pairs[index, best] >= 0]
        reason = (
            f"Undecided on {n_images} images: {candidates[best].text} has the best mean {criterion.metric}; "
            + _undecided_reason(candidates, best, means, bounds, criterion, _how_many(wanted))
        )
    pick = candidates[chosen]
    return PatchSizeChoice(
        patch_size=pick.patch_size,
        stride=pick.stride,
        reason=reason,
        decided=decided,
        tied_with=tuple(candidates[index].facts.text for index in tied if index != chosen),
        chosen_share=chosen_share(scores, resampling, bounds, passes, criterion.margin if enough else -np.inf, chosen),
        criterion=criterion.metric,
        margin=criterion.margin,
        n_images=n_images,
        explainer=pick.facts.text,
        variant=dict(pick.variant),
        n_wanted=wanted,
    )


@lru_cache(maxsize=2)  # the choices at equal stride use the same counts
def _resampling(seed: int, n_resamples: int) -> Resampling:
    return Resampling(seed, n_resamples)


def _decided_reason(
    candidates: Sequence[_Candidate], chosen: int, best: int, losses: Floats, metric: str, n_images: int
) -> str:
    pick, top = candidates[chosen], candidates[best]
    loss = f"at most {max(losses[chosen], 0.0):.3f} of {metric} worse than"
    if chosen == best and losses[chosen] <= 0:
        return f"{pick.text} has significantly the best {metric} of these {pick.noun}s, on {n_images} images."
    if chosen == best:
        return (
            f"{pick.text} has the best mean on {n_images} images and is {loss} any other {pick.noun}; no "
            f"{pick.noun} shown to be within the margin needs fewer than its {pick.facts.forward_passes} passes."
        )
    if pick.facts.forward_passes >= top.facts.forward_passes:
        return (
            f"{pick.text} is {loss} any other {pick.noun} on {n_images} images; {top.text} has the best mean, but a "
            "larger bound of its loss."
        )
    return (
        f"{pick.text} is {loss} the best ({top.text}) on {n_images} images, and needs "
        f"{pick.facts.forward_passes} passes instead of {top.facts.forward_passes}."
    )


def _undecided_reason(
    candidates: Sequence[_Candidate], best: int, means: Floats, bounds: LossBounds, criterion: Criterion, ending: str
) -> str:
    margin, top = criterion.margin, candidates[best]
    cheaper = [
        index for index, candidate in enumerate(candidates) if candidate.facts.forward_passes < top.facts.forward_passes
    ]
    near = [index for index in cheaper if margin - float(means[best] - means[index]) > 1e-9]
    if near:
        rival = max(near, key=lambda index: means[index])
        return f"{candidates[rival].text} is cheaper and may be less than {margin:g} worse; {ending}"
    rival = int(np.where(np.arange(len(candidates)) == best, -np.inf, bounds.pairs[:, best]).argmax())
    return (
        f"no cheaper {top.noun} is within {margin:g} of it, but {candidates[rival].text} may be better by "
        f"{margin:g}; {ending}"
    )


def _how_many(wanted: int | None) -> str:
    if wanted:
        return f"about {wanted:,} images would decide."
    return "these images do not tell how many would decide."
