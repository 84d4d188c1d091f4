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
from evalkit.analysis.results import PatchSizeChoice
from evalkit.analysis.statistics.intervals import resample_counts, resampled_sums
from evalkit.core.randomness import generator
from evalkit.store.manifest import ExplainerFacts

__all__ = ["Criterion", "choose_patch_size"]

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16]
_LEVEL = 0.95
_BLOCK = 512
_FEWEST_IMAGES = 10  # with fewer, resampling does not bound the error of a mean
_ROUNDING = 1e-12


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


class _Bounds(NamedTuple):
    """Bounds of the candidates' true means.

    Attributes:
        pairs: float64 (C, C), upper end of the interval of (row minus column).
        losses: float64 (C,), upper bound of a candidate's loss to the best, whichever that is.
        critical: float64 (C,), half width of a row's intervals in standard errors.
    """

    pairs: Floats
    losses: Floats
    critical: Floats


class _Rule(NamedTuple):
    """The rule that is repeated on each resample: margin, whether there are enough images, index of the choice."""

    margin: float
    enough: bool
    chosen: int


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
    (studentized max-T bootstrap over images): for the truly best size, all bounds hold together in 95 % of runs.

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
    counts = _counts(seed, criterion.metric, n_images, n_resamples)
    means = scores.mean(axis=0)
    best = int(means.argmax())
    bounds = _bounds(scores, counts, criterion.width)
    passes = np.array([candidate.facts.forward_passes for candidate in candidates])
    enough = n_images >= _FEWEST_IMAGES
    qualifying = [index for index in range(len(candidates)) if enough and bounds.losses[index] < criterion.margin]
    decided = bool(qualifying)
    chosen = min(qualifying, key=lambda index: (passes[index], -means[index])) if decided else best
    if decided:
        tied = qualifying
        reason = _decided_reason(candidates, chosen, best, bounds.losses, criterion.metric, n_images)
    else:
        tied = [index for index in range(len(candidates)) if bounds.pairs[index, best] >= 0]
        reason = _undecided_reason(candidates, best, scores, bounds, criterion)
    pick = candidates[chosen]
    return PatchSizeChoice(
        patch_size=pick.patch_size,
        stride=pick.stride,
        reason=reason,
        decided=decided,
        tied_with=tuple(candidates[index].facts.text for index in tied if index != chosen),
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
        variant=dict(pick.variant),
    )


@lru_cache(maxsize=2)  # the choices at equal stride use the same counts
def _counts(seed: int, metric: str, n_images: int, n_resamples: int) -> Counts:
    return resample_counts(generator(seed, "patch size", metric), n_images, n_resamples)


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
    """Return the 95 % quantile of the largest studentized error among these differences."""
    n_images = len(gaps)
    constant = errors <= _ROUNDING
    highest = []
    for start in range(0, len(counts), _BLOCK):
        drawn = counts[start : start + _BLOCK].astype(np.float64)
        resampled = drawn @ gaps / n_images
        variance = np.maximum(drawn @ gaps**2 / n_images - resampled**2, 0.0) / (n_images - 1)
        # A resample of one image has no spread; the error of the data is used instead.
        spread = np.where(variance > _ROUNDING**2, np.sqrt(variance), errors)
        studentized = (gaps.mean(axis=0) - resampled) / np.where(constant, 1.0, np.maximum(spread, _ROUNDING))
        highest.append(np.where(constant, 0.0, studentized).max(axis=1))
    return float(np.quantile(np.concatenate(highest), _LEVEL))


def _unseen(gaps: Floats, width: float) -> Floats:
    """Return a bound for photos unlike any of these, (E,): the rule of three, for scores that are mostly equal.

    If most differences are exactly zero, as in the pointing game, ten equal photos show only that fewer than three in
    ten differ, whereas resampling them would suggest that none does.
    """
    mostly_equal = (np.abs(gaps) <= _ROUNDING).mean(axis=0) > 0.5
    return np.where(mostly_equal, width * (1 - (1 - _LEVEL) ** (1 / len(gaps))), 0.0)


def _chosen_share(scores: Floats, counts: Counts, slack: Floats, passes: NDArray[np.int64], rule: _Rule) -> float:
    """Return the share of resamples on which the same rule, with the same error bounds, makes the same choice."""
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
    candidates: Sequence[_Candidate], best: int, scores: Floats, bounds: _Bounds, criterion: Criterion
) -> str:
    means, margin = scores.mean(axis=0), criterion.margin
    top = candidates[best]
    text = f"Undecided on {len(scores)} images: {top.text} has the best mean {criterion.metric}"
    cheaper = [
        index for index, candidate in enumerate(candidates) if candidate.facts.forward_passes < top.facts.forward_passes
    ]
    near = [index for index in cheaper if margin - float(means[best] - means[index]) > 1e-9]
    if near:
        rival = max(near, key=lambda index: means[index])
        wanted = _wanted(scores[:, best] - scores[:, rival], float(bounds.critical[best]), margin, criterion.width)
        return (
            f"{text}; {candidates[rival].text} is cheaper and may be less than {margin:g} worse; about {wanted:,} "
            "images would decide."
        )
    rival = int(np.where(np.arange(len(candidates)) == best, -np.inf, bounds.pairs[:, best]).argmax())
    gap = scores[:, rival] - scores[:, best]
    wanted = _wanted(gap, float(bounds.critical[rival]), margin, criterion.width)
    return (
        f"{text}; no cheaper {top.noun} is within {margin:g} of it, but {candidates[rival].text} may be better by "
        f"{margin:g}; about {wanted:,} images would decide."
    )


def _wanted(gap: Floats, critical: float, margin: float, width: float) -> int:
    """Return the number of images at which the bound of this difference falls to the margin, other things equal."""
    room = margin - float(gap.mean())
    wanted = (critical * gap.std(ddof=1) / room) ** 2
    if (np.abs(gap) <= _ROUNDING).mean() > 0.5:
        wanted = max(wanted, np.log(1 - _LEVEL) / np.log1p(-min(room / width, 1 - _ROUNDING)))
    return max(int(np.ceil(wanted)), len(gap) + 1, _FEWEST_IMAGES)
