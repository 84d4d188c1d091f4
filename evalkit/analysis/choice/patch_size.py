"""Which patch size: the cheapest that is shown to lose less than a margin to the best.

"Not significantly worse" is not enough: with few images that rule picks the cheapest, whatever the data say.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.results import PatchSizeChoice
from evalkit.analysis.statistics.intervals import resample_counts, resampled_sums
from evalkit.core.randomness import generator
from evalkit.store.manifest import ExplainerFacts

__all__ = ["Criterion", "choose_patch_size", "is_candidate"]

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16]
_LEVEL = 0.95
_BLOCK = 512
_FEWEST_IMAGES = 10  # below it no resampling says how far a mean may be off
_ROUNDING = 1e-12


class Criterion(NamedTuple):
    """What a patch size is chosen by.

    Attributes:
        metric: its text.
        direction: ``higher`` or ``lower`` is better.
        width: from the metric's smallest to its largest value.
        margin: the loss to the best that is accepted.
    """

    metric: str
    direction: str
    width: float
    margin: float


class _Candidate(NamedTuple):
    facts: ExplainerFacts
    patch_size: int
    stride: int

    @property
    def text(self) -> str:
        return f"patch_size={self.patch_size}, stride={self.stride}"


class _Bounds(NamedTuple):
    """What is known of the candidates' true means.

    Attributes:
        pairs: float64 (C, C), upper end of the interval of (row minus column).
        losses: float64 (C,), how much a candidate loses at most to the best, whichever that is.
        critical: float64 (C,), standard errors in the interval of a row's differences.
    """

    pairs: Floats
    losses: Floats
    critical: Floats


class _Rule(NamedTuple):
    """How a choice is made again on a resample: the margin, whether there are enough images, what was chosen."""

    margin: float
    enough: bool
    chosen: int


def is_candidate(facts: ExplainerFacts) -> bool:
    """Tell whether an explainer takes part in the sweep."""
    return facts.name == "occlusion"


def choose_patch_size(
    explainers: Sequence[ExplainerFacts],
    values: Floats,
    criterion: Criterion,
    *,
    seed: int,
    n_resamples: int,
) -> PatchSizeChoice | None:
    """Choose among the ``occlusion`` explainers.

    A size is decided for when the upper end of its loss to the best is below the margin. The best is not known, so
    the loss is bounded against every other size, each bound simultaneous over that size's differences (studentized
    max-T bootstrap over images): whichever size is truly best, its own differences hold together in 95 % of runs.

    Args:
        explainers: of the run.
        values: float64 (n, E), the criterion's score of each image, NaN = not scored.
        criterion: what to choose by.
        seed: of the resampling.
        n_resamples: how many.

    Returns:
        The choice, or None without two sizes that were scored on the same two images.

    Reference: multiple comparisons with the best, Hsu, Annals of Statistics 1981.
    """
    columns = [index for index, one in enumerate(explainers) if is_candidate(one)]
    candidates = [_candidate(explainers[index]) for index in columns]
    scores = values[:, columns] * (1.0 if criterion.direction == "higher" else -1.0)
    scores = scores[np.isfinite(scores).all(axis=1)]
    n_images = len(scores)
    if len({(one.patch_size, one.stride) for one in candidates}) < 2 or n_images < 2:
        return None
    counts = _counts(seed, criterion.metric, n_images, n_resamples)
    means = scores.mean(axis=0)
    best = int(means.argmax())
    bounds = _bounds(scores, counts, criterion.width)
    passes = np.array([one.facts.forward_passes for one in candidates])
    enough = n_images >= _FEWEST_IMAGES
    qualifying = [index for index in range(len(candidates)) if enough and bounds.losses[index] < criterion.margin]
    decided = bool(qualifying)
    chosen = min(qualifying, key=lambda index: (passes[index], -means[index])) if decided else best
    if decided:
        alike = qualifying
        reason = _decided_reason(candidates, chosen, best, bounds.losses, criterion.metric, n_images)
    else:
        alike = [index for index in range(len(candidates)) if bounds.pairs[index, best] >= 0]
        reason = _undecided_reason(candidates, best, scores, bounds, criterion)
    pick = candidates[chosen]
    return PatchSizeChoice(
        patch_size=pick.patch_size,
        stride=pick.stride,
        reason=reason,
        decided=decided,
        tied_with=tuple(candidates[index].facts.text for index in alike if index != chosen),
        chosen_share=_chosen_share(
            scores,
            counts,
            bounds.pairs - (means[:, None] - means[None]),
            passes,
            _Rule(criterion.margin, enough, chosen),
        ),
        criterion=criterion.metric,
        margin=criterion.margin,
        n_images=n_images,
        explainer=pick.facts.text,
    )


@lru_cache(maxsize=2)  # the choices at one stride ask for the same again
def _counts(seed: int, metric: str, n_images: int, n_resamples: int) -> Counts:
    return resample_counts(generator(seed, "patch size", metric), n_images, n_resamples)


def _candidate(facts: ExplainerFacts) -> _Candidate:
    return _Candidate(facts, int(facts.parameters["patch_size"] or 0), int(facts.parameters["stride"] or 0))


def _bounds(scores: Floats, counts: Counts, width: float) -> _Bounds:
    n_images, n_candidates = scores.shape
    pairs = np.full((n_candidates, n_candidates), 0.0)
    critical = np.zeros(n_candidates)
    for row in range(n_candidates):
        others = [index for index in range(n_candidates) if index != row]
        gaps = scores[:, [row]] - scores[:, others]
        errors = gaps.std(axis=0, ddof=1) / np.sqrt(n_images)
        critical[row] = _critical(gaps, errors, counts)
        pairs[row, others] = gaps.mean(axis=0) + np.maximum(critical[row] * errors, _unseen(gaps, width))
    losses = np.where(np.eye(n_candidates, dtype=bool), 0.0, pairs).max(axis=0)
    return _Bounds(pairs, losses, critical)


def _critical(gaps: Floats, errors: Floats, counts: Counts) -> float:
    """Return how many standard errors the largest of these differences is overestimated by, at the 95 % point."""
    n_images = len(gaps)
    alike = errors <= _ROUNDING
    highest = []
    for start in range(0, len(counts), _BLOCK):
        drawn = counts[start : start + _BLOCK].astype(np.float64)
        resampled = drawn @ gaps / n_images
        variance = np.maximum(drawn @ gaps**2 / n_images - resampled**2, 0.0) / (n_images - 1)
        # A resample of one image has no spread: it says nothing of the error and is held against the data's own.
        spread = np.where(variance > _ROUNDING**2, np.sqrt(variance), errors)
        studentized = (gaps.mean(axis=0) - resampled) / np.where(alike, 1.0, np.maximum(spread, _ROUNDING))
        highest.append(np.where(alike, 0.0, studentized).max(axis=1))
    return float(np.quantile(np.concatenate(highest), _LEVEL))


def _unseen(gaps: Floats, width: float) -> Floats:
    """Return what photos like none of these could add, (E,): the rule of three, for scores that are mostly equal.

    Where most differences are exactly zero, as in the pointing game, ten equal photos say only that fewer than three
    in ten differ; resampling them would say that none does.
    """
    mostly_equal = (np.abs(gaps) <= _ROUNDING).mean(axis=0) > 0.5
    return np.where(mostly_equal, width * (1 - (1 - _LEVEL) ** (1 / len(gaps))), 0.0)


def _chosen_share(scores: Floats, counts: Counts, slack: Floats, passes: NDArray[np.int64], rule: _Rule) -> float:
    """Return how often the same rule, with the same allowance for error, chooses the same one over resamples."""
    means = resampled_sums(counts, scores) / len(scores)
    same = 0
    for drawn in np.array_split(means, max(1, len(means) // _BLOCK)):
        gaps = drawn[:, :, None] - drawn[:, None, :] + slack
        gaps[:, np.arange(len(slack)), np.arange(len(slack))] = 0.0
        near = (gaps.max(axis=1) < rule.margin) & rule.enough
        price = np.where(near, passes[None] - drawn * 1e-6, np.inf)
        chosen = np.where(near.any(axis=1), price.argmin(axis=1), drawn.argmax(axis=1))
        same += int((chosen == rule.chosen).sum())
    return same / len(means)


def _decided_reason(
    candidates: Sequence[_Candidate], chosen: int, best: int, losses: Floats, metric: str, n_images: int
) -> str:
    pick, top = candidates[chosen], candidates[best]
    most = f"at most {max(losses[chosen], 0.0):.3f} of {metric}"
    if chosen == best and losses[chosen] <= 0:
        return f"{pick.text} is shown to have the best {metric} of these sizes, on {n_images} images."
    if chosen == best:
        return (
            f"{pick.text} has the best mean on {n_images} images and loses {most} to any other; "
            f"no size that is shown to come near needs fewer than its {pick.facts.forward_passes} passes."
        )
    if pick.facts.forward_passes >= top.facts.forward_passes:
        return (
            f"{pick.text} loses {most} to any other on {n_images} images; the best mean, {top.text}, is not shown to "
            "come as near to the best."
        )
    return (
        f"{pick.text} loses {most} to the best ({top.text}) on {n_images} images, and needs "
        f"{pick.facts.forward_passes} passes instead of {top.facts.forward_passes}."
    )


def _undecided_reason(
    candidates: Sequence[_Candidate], best: int, scores: Floats, bounds: _Bounds, criterion: Criterion
) -> str:
    means, margin = scores.mean(axis=0), criterion.margin
    top = candidates[best]
    text = f"Undecided on {len(scores)} images: {top.text} has the best mean {criterion.metric}"
    cheaper = [index for index, one in enumerate(candidates) if one.facts.forward_passes < top.facts.forward_passes]
    near = [index for index in cheaper if margin - float(means[best] - means[index]) > 1e-9]
    if near:
        rival = max(near, key=lambda index: means[index])
        wanted = _wanted(scores[:, best] - scores[:, rival], float(bounds.critical[best]), margin, criterion.width)
        return (
            f"{text}; {candidates[rival].text} may lose less than {margin:g} to it, which about "
            f"{wanted:,} images would show."
        )
    rival = int(np.where(np.arange(len(candidates)) == best, -np.inf, bounds.pairs[:, best]).argmax())
    gap = scores[:, rival] - scores[:, best]
    wanted = _wanted(gap, float(bounds.critical[rival]), margin, criterion.width)
    return (
        f"{text}, and no cheaper size comes within {margin:g} of it; that {candidates[rival].text} is not better by "
        f"{margin:g}, about {wanted:,} images would show."
    )


def _wanted(gap: Floats, critical: float, margin: float, width: float) -> int:
    """Return the images at which the upper end of this difference falls to the margin, if mean and spread stay."""
    room = margin - float(gap.mean())
    wanted = (critical * gap.std(ddof=1) / room) ** 2
    if (np.abs(gap) <= _ROUNDING).mean() > 0.5:
        wanted = max(wanted, np.log(1 - _LEVEL) / np.log1p(-min(room / width, 1 - _ROUNDING)))
    return max(int(np.ceil(wanted)), len(gap) + 1, _FEWEST_IMAGES)
