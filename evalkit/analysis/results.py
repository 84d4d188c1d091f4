"""What analysis says of a finished run, as plain values: stored in the run folder, drawn by ``report``.

None stands for "cannot be said", never for zero; ``ci_reason`` and ``reason`` say why.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "ANALYSIS_VERSION",
    "Cost",
    "LeaderboardCell",
    "ObjectSizeBin",
    "PatchSizeChoice",
    "Results",
    "StrideChoice",
    "SweepRow",
    "SweepScore",
    "TestedFamily",
    "Unscored",
]


ANALYSIS_VERSION = 3  # grows when other results come out of the same scores: what a run folder keeps is then made anew


class LeaderboardCell(msgspec.Struct, frozen=True):
    """One explainer under one metric.

    Attributes:
        explainer: its text.
        metric: its text.
        direction: ``higher`` or ``lower`` is better.
        mean: over the scored images; the set's score for dataset-level metrics; None if nothing was scored.
        ci_low: lower end of the 95 % interval.
        ci_high: upper end.
        ci_reason: why there is no interval, or why it is unreliable (fewer than 20 images); None if neither.
        n_scored: images that count.
        n_unscored: images that do not.
        rank: 1 = best by mean; equal means share a rank; None if nothing was scored.
        better_than: explainers that this one beats significantly (paired, family-wise 5 % within the metric).
    """

    explainer: str
    metric: str
    direction: str
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    ci_reason: str | None
    n_scored: int
    n_unscored: int
    rank: int | None
    better_than: tuple[str, ...]


class SweepScore(msgspec.Struct, frozen=True):
    """One metric of one patch size."""

    mean: float | None
    ci_low: float | None
    ci_high: float | None
    n_scored: int


class SweepRow(msgspec.Struct, frozen=True):
    """One (patch size, stride) pair of ``occlusion``.

    Attributes:
        explainer: its text.
        patch_size: pixels.
        stride: pixels.
        positions: patches an image.
        forward_passes: model passes an image.
        seconds_per_image: measured; None if no map was made.
        metrics: metric text to score.
    """

    explainer: str
    patch_size: int
    stride: int
    positions: int
    forward_passes: int
    seconds_per_image: float | None
    metrics: dict[str, SweepScore]


class PatchSizeChoice(msgspec.Struct, frozen=True):
    """The recommended (patch size, stride).

    Attributes:
        patch_size: pixels.
        stride: pixels.
        reason: one sentence with its numbers.
        decided: the data show that it loses less than the margin to the best.
        tied_with: texts of the other pairs that also qualify or, undecided, cannot be told from the best.
        chosen_share: how often it is chosen over bootstrap resamples of the images, 0..1.
        criterion: the metric decided by.
        margin: largest loss to the best that is accepted.
        n_images: images that every size scored.
        explainer: text of the chosen one.
    """

    patch_size: int
    stride: int
    reason: str
    decided: bool
    tied_with: tuple[str, ...]
    chosen_share: float | None
    criterion: str
    margin: float
    n_images: int
    explainer: str


class StrideChoice(msgspec.Struct, frozen=True):
    """The recommendation among the patch sizes that were run at one stride."""

    stride: int
    best_patch_size: PatchSizeChoice | None


class ObjectSizeBin(msgspec.Struct, frozen=True):
    """The sweep on the images whose object is of one size: an exploration.

    Attributes:
        object_size: ``small``, ``medium`` or ``large``.
        share_from: smallest share of the image that the largest box takes, 0..1.
        share_to: it is below this share.
        n_images: with such an object.
        means: explainer text to the mean of the criterion; None if nothing was scored.
        best_patch_size: None under 30 images.
        reason: why there is no recommendation; None if there is one.
    """

    object_size: str
    share_from: float
    share_to: float
    n_images: int
    means: dict[str, float | None]
    best_patch_size: PatchSizeChoice | None
    reason: str | None


class Cost(msgspec.Struct, frozen=True):
    """What one explainer cost.

    Attributes:
        forward_passes: model passes an image.
        seconds: over the whole run.
        seconds_per_image: None if no map was made.
        method: how the passes were made.
    """

    explainer: str
    forward_passes: int
    seconds: float
    seconds_per_image: float | None
    method: str


class Unscored(msgspec.Struct, frozen=True):
    """Why images of one cell count for nothing."""

    explainer: str
    metric: str
    reason: str
    n_images: int


class TestedFamily(msgspec.Struct, frozen=True):
    """What was tested within one metric.

    Attributes:
        n_pairs: pairs of explainers compared.
        n_images: the fewest images that a pair shares.
        smallest_p: the smallest p that this many images and flips can reach.
    """

    metric: str
    n_pairs: int
    n_images: int
    smallest_p: float


class Results(msgspec.Struct, frozen=True):
    """Everything that is shown of a run."""

    n_images: int
    leaderboard: tuple[LeaderboardCell, ...]
    patch_sweep: tuple[SweepRow, ...]
    best_patch_size: PatchSizeChoice | None
    best_patch_size_reason: str | None
    """Why nothing is recommended although sizes were swept; None otherwise."""
    at_equal_stride: tuple[StrideChoice, ...]
    by_object_size: tuple[ObjectSizeBin, ...]
    cost: tuple[Cost, ...]
    unscored: tuple[Unscored, ...]
    families: tuple[TestedFamily, ...]
    n_flips: int
    n_resamples: int
    not_beating_controls: dict[str, tuple[str, ...]]
    """Metric text to the explainers whose mean does not beat every control's."""
