"""The choice among candidates: the cheapest whose loss to the best is shown to be below a margin.

"Not significantly worse" would not be enough: with few images that rule always picks the cheapest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.choice.candidates import cost_text
from evalkit.analysis.choice.loss_bounds import (
    ROUNDING,
    LossBounds,
    cheapest_best,
    chosen_share,
    images_wanted,
    loss_bounds,
)
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.metrics.spec import Metric

__all__ = ["Candidate", "Choice", "Criterion", "choose", "criterion_of"]

Floats = NDArray[np.float64]
_FEWEST_IMAGES = 10  # with fewer, resampling does not bound the error of a mean


class Criterion(NamedTuple):
    """The criterion of the choice.

    Attributes:
        metric: text of the metric.
        direction: ``higher`` or ``lower`` is better.
        width: difference between the metric's largest and smallest possible value.
        margin: largest accepted loss, relative to the best candidate.
    """

    metric: str
    direction: str
    width: float
    margin: float


class Candidate(NamedTuple):
    """One candidate.

    Attributes:
        name: what distinguishes it from the others, e.g. ``layer=block5_conv3``.
        explainer: text of its explainer.
        passes: what a map costs in passes, from ``cost_in_passes``.
    """

    name: str
    explainer: str
    passes: int | float


class Choice(NamedTuple):
    """The recommended candidate.

    Attributes:
        chosen: its index.
        reason: one sentence with its numbers.
        decided: whether the loss is shown to be below the margin.
        tied_with: texts of the other explainers that also qualify or, if undecided, do not differ significantly from
            the best.
        chosen_share: share of bootstrap resamples of the images that give the same choice, 0..1.
        n_images: number of images that every candidate scored.
        n_wanted: number of images on which a new run would decide in four of five cases; None if it is decided, or if
            these images do not tell.
    """

    chosen: int
    reason: str
    decided: bool
    tied_with: tuple[str, ...]
    chosen_share: float
    n_images: int
    n_wanted: int | None


def criterion_of(metrics: Sequence[Metric], text: str, margin: float) -> Criterion | str:
    """Return the criterion of a run, or why it cannot decide.

    Args:
        metrics: the metrics of the run.
        text: text of the metric that decides.
        margin: largest accepted loss, relative to the best candidate.
    """
    metric = next((metric for metric in metrics if metric.text == text), None)
    if metric is None:
        return f"the criterion {text} is not among the run's metrics"
    if metric.set_level:
        return f"{text} scores the image set as a whole; a choice needs a metric that scores single images"
    low, high = metric.spec.bounds
    return Criterion(text, metric.spec.direction, high - low, margin)


def choose(
    candidates: Sequence[Candidate], values: Floats, criterion: Criterion, *, noun: str, seed: int, n_resamples: int
) -> Choice | None:
    """Choose a candidate.

    The choice is decided if the upper bound of a candidate's loss to the best is below the margin. The best candidate
    is not known, so the loss is bounded against every other one, each bound simultaneous over that candidate's
    differences (``loss_bounds``): for the truly best candidate, all bounds hold together in 95 % of runs.

    Args:
        candidates: the candidates.
        values: float64 (n, C), the criterion's score of each image, NaN = not scored.
        criterion: the criterion of the choice.
        noun: what the candidates are, e.g. ``size``.
        seed: random seed of the resampling.
        n_resamples: number of resamples.

    Returns:
        The choice, or None unless two candidates were scored on the same two images.

    Reference: multiple comparisons with the best, Hsu, Annals of Statistics 1981.
    """
    scores = values * (1.0 if criterion.direction == "higher" else -1.0)
    scores = scores[np.isfinite(scores).all(axis=1)]
    n_images = len(scores)
    if len(candidates) < 2 or n_images < 2:
        return None
    resampling = _resampling(seed, n_resamples)
    means = scores.mean(axis=0)
    means = np.where(means >= means.max() - ROUNDING, means.max(), means)  # equal but for rounding
    passes = np.array([candidate.passes for candidate in candidates], dtype=np.float64)
    best = int(cheapest_best(means, passes))
    n_best = int((means == means[best]).sum())
    bounds = loss_bounds(scores, resampling, criterion.width, criterion.margin)
    enough = n_images >= _FEWEST_IMAGES
    qualifying = [index for index in range(len(candidates)) if enough and bounds.losses[index] < criterion.margin]
    decided = bool(qualifying)
    chosen = min(qualifying, key=lambda index: (passes[index], -means[index])) if decided else best
    wanted = None if decided else images_wanted(scores, bounds, criterion.margin, _FEWEST_IMAGES, seed)
    if decided:
        tied = qualifying
        reason = _decided_reason(candidates, chosen, best, bounds.losses, criterion.metric, n_images, noun)
    else:
        tied = [index for index in range(len(candidates)) if enough and bounds.pairs[index, best] >= 0]
        equal = f", equal to that of {n_best - 1} other{'s' if n_best > 2 else ''}" if n_best > 1 else ""
        reason = (
            f"Undecided on {n_images} images: {candidates[best].name} has the best mean {criterion.metric}{equal}; "
            + _undecided_reason(candidates, best, means, bounds, criterion, noun, _how_many(wanted))
        )
    return Choice(
        chosen=chosen,
        reason=reason,
        decided=decided,
        tied_with=tuple(candidates[index].explainer for index in tied if index != chosen),
        chosen_share=chosen_share(scores, resampling, bounds, passes, criterion.margin if enough else -np.inf, chosen),
        n_images=n_images,
        n_wanted=wanted,
    )


@lru_cache(maxsize=2)  # all choices of a run use the same counts
def _resampling(seed: int, n_resamples: int) -> Resampling:
    return Resampling(seed, n_resamples)


def _at_equal_cost(candidates: Sequence[Candidate], noun: str) -> str:
    """Return that all candidates cost the same, in words; empty if they do not."""
    costs = {candidate.passes for candidate in candidates}
    if len(costs) > 1:
        return ""
    (passes,) = costs
    return f"every {noun} needs {cost_text(passes)} {'pass' if passes == 1 else 'passes'}"


def _decided_reason(
    candidates: Sequence[Candidate], chosen: int, best: int, losses: Floats, metric: str, n_images: int, noun: str
) -> str:
    pick, top = candidates[chosen], candidates[best]
    loss = f"at most {max(losses[chosen], 0.0):.3f} of {metric} worse than"
    if chosen == best and losses[chosen] <= 0:
        return f"{pick.name} has significantly the best {metric} of these {noun}s, on {n_images} images."
    if chosen == best:
        no_cheaper = (
            _at_equal_cost(candidates, noun)
            or f"no {noun} shown to be within the margin needs fewer than its {cost_text(pick.passes)} passes"
        )
        return f"{pick.name} has the best mean on {n_images} images and is {loss} any other {noun}; {no_cheaper}."
    if pick.passes >= top.passes:
        return (
            f"{pick.name} is {loss} any other {noun} on {n_images} images; {top.name} has the best mean, but a "
            "larger bound of its loss."
        )
    return (
        f"{pick.name} is {loss} the best ({top.name}) on {n_images} images, and needs "
        f"{cost_text(pick.passes)} passes instead of {cost_text(top.passes)}."
    )


def _undecided_reason(
    candidates: Sequence[Candidate],
    best: int,
    means: Floats,
    bounds: LossBounds,
    criterion: Criterion,
    noun: str,
    ending: str,
) -> str:
    margin, top = criterion.margin, candidates[best]
    cheaper = [index for index, candidate in enumerate(candidates) if candidate.passes < top.passes]
    near = [index for index in cheaper if margin - float(means[best] - means[index]) > 1e-9]
    if near:
        rival = max(near, key=lambda index: means[index])
        return f"{candidates[rival].name} is cheaper and may be less than {margin:g} worse; {ending}"
    rival = int(np.where(np.arange(len(candidates)) == best, -np.inf, bounds.pairs[:, best]).argmax())
    may_be_better = f"{candidates[rival].name} may be better by {margin:g}; {ending}"
    if equal := _at_equal_cost(candidates, noun):
        return f"{equal}, and {may_be_better}"
    return f"no cheaper {noun} is within {margin:g} of it, but {may_be_better}"


def _how_many(wanted: int | None) -> str:
    if wanted:
        return f"about {wanted:,} images would decide."
    return "these images do not tell how many would decide."
