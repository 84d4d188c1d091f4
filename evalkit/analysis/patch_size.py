"""Which patch size: the cheapest that is shown to lose less than a margin to the best.

"Not significantly worse" is not enough: with few images that rule picks the cheapest, whatever the data say.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.intervals import resample_counts
from evalkit.analysis.results import PatchSizeChoice
from evalkit.randomness import generator
from evalkit.store.manifest import ExplainerFacts

__all__ = ["choose_patch_size"]

Floats = NDArray[np.float64]
_LEVEL = 0.95
_BLOCK = 512
_FEWEST_IMAGES = 10  # below it no resampling says how far a mean may be off


class _Candidate(NamedTuple):
    facts: ExplainerFacts
    patch_size: int
    stride: int

    @property
    def text(self) -> str:
        return f"patch_size={self.patch_size}, stride={self.stride}"


def choose_patch_size(
    explainers: Sequence[ExplainerFacts],
    values: Floats,
    *,
    direction: str,
    criterion: str,
    margin: float,
    seed: int,
    n_resamples: int,
) -> PatchSizeChoice | None:
    """Choose among the run's ``occlusion`` explainers.

    The interval of every "other minus it" is simultaneous over all ordered pairs (studentized max-T bootstrap over
    images), so that it also covers the pair that the data themselves pick as best.

    Args:
        explainers: of the run.
        values: float64 (n, E), the criterion's score of each image, NaN = not scored.
        direction: ``higher`` or ``lower`` is better.
        criterion: its text.
        margin: the loss that is accepted.
        seed: of the resampling.
        n_resamples: how many.

    Returns:
        The choice, or None without two sizes that were scored on the same two images.
    """
    columns = [index for index, one in enumerate(explainers) if one.name == "occlusion"]
    candidates = [_candidate(explainers[index]) for index in columns]
    scores = values[:, columns] * (1.0 if direction == "higher" else -1.0)
    scores = scores[np.isfinite(scores).all(axis=1)]
    n_images = len(scores)
    if len({(one.patch_size, one.stride) for one in candidates}) < 2 or n_images < 2:
        return None
    counts = resample_counts(generator(seed, "patch size", criterion), n_images, n_resamples)
    means = scores.mean(axis=0)
    best = int(means.argmax())
    upper = _upper_losses(scores, counts)[best]
    passes = np.array([one.facts.forward_passes for one in candidates])
    enough = n_images >= _FEWEST_IMAGES
    qualifying = [index for index in range(len(candidates)) if index == best or (enough and upper[index] < margin)]
    decided = len(qualifying) > 1
    chosen = min(qualifying, key=lambda index: (passes[index], -means[index])) if decided else best
    share = _chosen_share(scores, counts, passes, margin, chosen)
    if decided:
        tied = [candidates[index].facts.text for index in qualifying if index != chosen]
        reason = _decided_reason(candidates, chosen, best, upper, criterion, n_images)
    else:
        tied = [
            candidates[index].facts.text
            for index in range(len(candidates))
            if index != best and _ties(scores, best, index)
        ]
        reason = _undecided_reason(candidates, best, scores, means, criterion, margin)
    pick = candidates[chosen]
    return PatchSizeChoice(
        patch_size=pick.patch_size,
        stride=pick.stride,
        reason=reason,
        decided=decided,
        tied_with=tuple(tied),
        chosen_share=share,
        criterion=criterion,
        margin=margin,
    )


def _candidate(facts: ExplainerFacts) -> _Candidate:
    return _Candidate(facts, int(facts.parameters["patch_size"] or 0), int(facts.parameters["stride"] or 0))


def _upper_losses(scores: Floats, counts: Floats) -> Floats:
    """Return upper ends of the simultaneous interval of (row's mean minus column's mean), float64 (C, C)."""
    n_images, n_candidates = scores.shape
    upper = np.zeros((n_candidates, n_candidates))
    pairs = np.array(list(permutations(range(n_candidates), 2)))
    gaps = scores[:, pairs[:, 0]] - scores[:, pairs[:, 1]]
    means = gaps.mean(axis=0)
    errors = gaps.std(axis=0, ddof=1) / np.sqrt(n_images)
    alike = errors <= 1e-12
    highest = []
    for start in range(0, len(counts), _BLOCK):
        drawn = counts[start : start + _BLOCK]
        resampled = drawn @ gaps / n_images
        variance = np.maximum(drawn @ gaps**2 / n_images - resampled**2, 0.0) / (n_images - 1)
        # A resample of one image has no spread: it says nothing of the error and is held against the data's own.
        spread = np.where(variance > 1e-24, np.sqrt(variance), errors)
        studentized = (means - resampled) / np.where(alike, 1.0, np.maximum(spread, 1e-12))
        highest.append(np.where(alike, 0.0, studentized).max(axis=1))
    critical = float(np.quantile(np.concatenate(highest), _LEVEL))
    upper[pairs[:, 0], pairs[:, 1]] = means + critical * errors
    return upper


def _chosen_share(scores: Floats, counts: Floats, passes: NDArray[np.int64], margin: float, chosen: int) -> float:
    """Return how often the cheapest within the margin of the best mean is the chosen one, over resamples."""
    means = counts @ scores / len(scores)
    within = means > means.max(axis=1, keepdims=True) - margin
    price = np.where(within, passes[None] - means * 1e-6, np.inf)
    return float((price.argmin(axis=1) == chosen).mean())


def _ties(scores: Floats, best: int, other: int) -> bool:
    """Tell whether the best's lead is within twice its standard error."""
    gap = scores[:, best] - scores[:, other]
    return bool(gap.mean() <= 2 * gap.std(ddof=1) / np.sqrt(len(gap)))


def _decided_reason(
    candidates: Sequence[_Candidate], chosen: int, best: int, upper: Floats, criterion: str, n_images: int
) -> str:
    pick, top = candidates[chosen], candidates[best]
    if chosen == best:
        return (
            f"{pick.text} has the best {criterion} on {n_images} images and is the cheapest of those shown to come "
            f"near, with {pick.facts.forward_passes} passes."
        )
    return (
        f"{pick.text} loses at most {max(upper[chosen], 0.0):.3f} of {criterion} to the best ({top.text}) on "
        f"{n_images} images, and needs {pick.facts.forward_passes} passes instead of {top.facts.forward_passes}."
    )


def _undecided_reason(
    candidates: Sequence[_Candidate], best: int, scores: Floats, means: Floats, criterion: str, margin: float
) -> str:
    cheaper = [
        index
        for index, one in enumerate(candidates)
        if one.facts.forward_passes < candidates[best].facts.forward_passes
    ]
    near = [index for index in cheaper if means[best] - means[index] < margin]
    text = f"Undecided on {len(scores)} images: {candidates[best].text} has the best mean {criterion}"
    if not near:
        return f"{text}, and no cheaper size comes within {margin:g} of it."
    rival = max(near, key=lambda index: means[index])
    gap = scores[:, best] - scores[:, rival]
    room = margin - gap.mean()
    # Images at which the upper end of the pair's own 95 % interval falls to the margin, if mean and spread stay.
    wanted = int(np.ceil((1.96 * gap.std(ddof=1) / room) ** 2))
    return (
        f"{text}; {candidates[rival].text} may lose less than {margin:g} to it, "
        f"which about {max(wanted, len(scores) + 1):,} images would show."
    )
