"""The results of an analysis as plain values: stored in the run folder, shown by ``report``.

None means that there is no value, never zero; ``ci_reason`` and ``reason`` say why.
"""

from __future__ import annotations

import msgspec

from evalkit.core.specs import Literals

__all__ = [
    "ANALYSIS_VERSION",
    "Cost",
    "LeaderboardCell",
    "ObjectSizeBin",
    "ParameterChoice",
    "ParameterRow",
    "ParameterSweep",
    "PatchSizeChoice",
    "RegionDrops",
    "Results",
    "SanityResult",
    "StrideChoice",
    "SweepRow",
    "SweepScore",
    "TestedFamily",
    "Unscored",
]


ANALYSIS_VERSION = 9  # increased when equal scores give other results: stored results are then computed again


class LeaderboardCell(msgspec.Struct, frozen=True):
    """One explainer under one metric.

    Attributes:
        explainer: text of the explainer.
        metric: text of the metric.
        direction: ``higher`` or ``lower`` is better.
        mean: mean over the scored images, or the score of the whole set; None if nothing was scored.
        ci_low: lower end of the 95 % interval.
        ci_high: upper end of the interval.
        ci_reason: why there is no interval, or why it is unreliable (fewer than 20 images); None if neither.
        n_scored: number of images scored.
        n_unscored: number of images not scored.
        rank: rank by the mean over the images that all ranked explainers scored, 1 = best; equal means share a rank;
            None if nothing was scored, or too few of these images.
        better_than: explainers that are significantly worse (paired, family-wise 5 % within the metric).
        rank_reason: why there is no rank although images were scored; None otherwise.
        rank_images: number of images that the rank is by; None without a rank.
        bias: by how much the score of the whole set is estimated to be too high on these images, negative = too low;
            None for a mean over images, which has none.
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
    rank_reason: str | None = None
    rank_images: int | None = None
    bias: float | None = None


class SweepScore(msgspec.Struct, frozen=True):
    """One metric of one row of the sweep.

    Attributes:
        rank: rank among all explainers of the run, as in the leaderboard; None without a rank.
    """

    mean: float | None
    ci_low: float | None
    ci_high: float | None
    n_scored: int
    rank: int | None = None


class SweepRow(msgspec.Struct, frozen=True):
    """One candidate of the sweep: a patch size, a stride, and whatever else the candidates differ in.

    Attributes:
        explainer: text of the explainer.
        patch_size: side of the patch in pixels.
        stride: distance between patches in pixels.
        positions: number of patch positions for each image.
        forward_passes: number of forward passes for each image.
        seconds_per_image: measured time for each image; None if no map was computed.
        metrics: metric text to score.
        variant: each other parameter in which any two rows differ, and its value; ``name`` is the explainer's name.
        passes: what a map costs in passes, as in ``ParameterRow``; None = ``forward_passes``.
    """

    explainer: str
    patch_size: int
    stride: int
    positions: int
    forward_passes: int
    seconds_per_image: float | None
    metrics: dict[str, SweepScore]
    variant: dict[str, Literals] = {}
    passes: int | float | None = None


class PatchSizeChoice(msgspec.Struct, frozen=True):
    """The recommended candidate of the sweep.

    Attributes:
        patch_size: side of the patch in pixels.
        stride: distance between patches in pixels.
        reason: one sentence with its numbers.
        decided: whether the loss is shown to be below the margin.
        tied_with: texts of the other explainers that also qualify or, if undecided, do not differ significantly from
            the best.
        chosen_share: share of bootstrap resamples of the images that give the same choice, 0..1.
        criterion: text of the metric that decides.
        margin: largest accepted loss of the criterion, relative to the best size.
        n_images: number of images that every candidate scored.
        explainer: text of the chosen explainer.
        n_wanted: number of images on which a new run would decide in four of five cases; None if it is decided, or if
            these images do not tell.
        variant: as in its row of the sweep.
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
    variant: dict[str, Literals] = {}
    n_wanted: int | None = None


class StrideChoice(msgspec.Struct, frozen=True):
    """The recommendation among the candidates with one stride."""

    stride: int
    best_patch_size: PatchSizeChoice | None


class ParameterRow(msgspec.Struct, frozen=True):
    """One candidate of the sweep of an explainer's parameters.

    Attributes:
        explainer: text of the explainer.
        parameters: each parameter in which any two rows differ, and its value.
        passes: what a map costs in passes, a backward pass as two; a float if it is a mean over images.
        seconds_per_image: measured time for each image; None if no map was computed.
        metrics: metric text to score.
    """

    explainer: str
    parameters: dict[str, Literals]
    passes: int | float
    seconds_per_image: float | None
    metrics: dict[str, SweepScore]


class ParameterSweep(msgspec.Struct, frozen=True):
    """All variants of one explainer.

    Attributes:
        explainer: name of the explainer.
        parameters: names of the parameters in which any two rows differ.
        rows: the variants, in the order of the run.
        reason: why none is recommended; None if one is.
        not_compared: texts of the explainers that the criterion scored on no image.
    """

    explainer: str
    parameters: tuple[str, ...]
    rows: tuple[ParameterRow, ...]
    reason: str | None = None
    not_compared: tuple[str, ...] = ()


class ParameterChoice(msgspec.Struct, frozen=True):
    """The recommended variant of one explainer.

    Attributes:
        parameters: as in its row of the sweep.
        explainer: text of the chosen explainer.
        reason: one sentence with its numbers.
        decided: whether the loss is shown to be below the margin.
        tied_with: as in ``PatchSizeChoice``.
        chosen_share: share of bootstrap resamples of the images that give the same choice, 0..1.
        criterion: text of the metric that decides.
        margin: largest accepted loss of the criterion, relative to the best variant.
        n_images: number of images that every compared variant scored.
        n_wanted: as in ``PatchSizeChoice``.
    """

    parameters: dict[str, Literals]
    explainer: str
    reason: str
    decided: bool
    tied_with: tuple[str, ...]
    chosen_share: float | None
    criterion: str
    margin: float
    n_images: int
    n_wanted: int | None = None


class ObjectSizeBin(msgspec.Struct, frozen=True):
    """The sweep on the images whose object has one size (exploratory).

    Attributes:
        object_size: ``small``, ``medium`` or ``large``.
        share_from: smallest share of the image that the largest box covers, 0..1.
        share_to: upper limit of this share, exclusive.
        n_images: number of images with such an object.
        means: explainer text to the mean of the criterion; None if nothing was scored.
        best_patch_size: the recommendation; None for fewer than 30 images.
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
    """The cost of one explainer's maps.

    Attributes:
        forward_passes: number of forward passes for each image.
        seconds: time over the whole run.
        seconds_per_image: time for each image; None if no map was computed.
        method: how the passes were computed.
        backward_passes: number of backward passes for each image.
        mean_passes: forward and backward passes used, mean over images, if they vary by image; else None.
        repeatability: mean rank correlation of the maps with those of a second seed; None if it was not computed.
        n_repeated: number of images that the repeatability is the mean of.
        notes: sentences about what the maps have besides their values.
    """

    explainer: str
    forward_passes: int
    seconds: float
    seconds_per_image: float | None
    method: str
    backward_passes: int = 0
    mean_passes: tuple[float, float] | None = None
    repeatability: float | None = None
    n_repeated: int = 0
    notes: tuple[str, ...] = ()


class Unscored(msgspec.Struct, frozen=True):
    """Images of one cell that were not scored for one reason."""

    explainer: str
    metric: str
    reason: str
    n_images: int


class TestedFamily(msgspec.Struct, frozen=True):
    """The tests within one metric.

    Attributes:
        n_pairs: number of pairs of explainers.
        n_images: smallest number of images that a tested pair shares; 0 if none is tested.
        smallest_p: smallest p-value that a pair with this number of images can reach.
        n_untested: number of pairs of scored explainers that share too few images to be tested; they do not count in
            the correction.
        fewest_images: fewest images of a pair that can be tested.
    """

    metric: str
    n_pairs: int
    n_images: int
    smallest_p: float
    n_untested: int = 0
    fewest_images: int = 0


class RegionDrops(msgspec.Struct, frozen=True):
    """How far the model looks at the object: drops of its score, means over images that have a region and are right.

    Attributes:
        n_images: number of these images.
        inside: mean drop of the target's score when the region shows the mean color.
        inside_low: lower end of its 95 % interval; None without one.
        inside_high: upper end of the interval.
        outside: mean drop when everything else does.
        outside_low: lower end of its 95 % interval; None without one.
        outside_high: upper end of the interval.
        share_inside_more: share of the images on which the drop is larger for the region, 0..1.
        ci_reason: why there are no intervals; None if there are.
    """

    n_images: int
    inside: float
    inside_low: float | None
    inside_high: float | None
    outside: float
    outside_low: float | None
    outside_high: float | None
    share_inside_more: float
    ci_reason: str | None = None


class SanityResult(msgspec.Struct, frozen=True):
    """What a sanity check by re-initialized weights says of one explainer; such a metric has no leaderboard column.

    Attributes:
        explainer: text of the explainer.
        metric: text of the metric.
        control: whether the explainer is a control, which depends on no weight.
        direction: ``higher`` or ``lower``: which way its table would be sorted; neither is better.
        mean: mean over the scored images; None if nothing was scored.
        ci_low: lower end of the 95 % interval.
        ci_high: upper end of the interval.
        ci_reason: why there is no interval, or why it is unreliable; None if neither.
        n_scored: number of images scored.
        n_unscored: number of images not scored.
        sentence: what follows, in one sentence with its numbers.
        layers: number of the first layers that are re-initialized at each stage, the last is all of them; empty for a
            metric without stages.
        correlation: rank correlation with the map of the model itself at each stage, mean over images and seeds.
        correlation_with_last: the same with the map of the last stage.
        constant: share of the maps at each stage that are constant or not finite, which the means leave out.
        insensitive_to_last: number of last layers whose weights do not matter once all below are re-initialized; 0 =
            those of the last stage matter; None = not known.
        changed_after: number of re-initialized layers from which on the map is another one; None = at no stage.
    """

    explainer: str
    metric: str
    control: bool
    direction: str
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    ci_reason: str | None
    n_scored: int
    n_unscored: int
    sentence: str
    layers: tuple[int, ...] = ()
    correlation: tuple[float | None, ...] = ()
    correlation_with_last: tuple[float | None, ...] = ()
    constant: tuple[float, ...] = ()
    insensitive_to_last: int | None = None
    changed_after: int | None = None


class Results(msgspec.Struct, frozen=True):
    """All results of a run."""

    n_images: int
    leaderboard: tuple[LeaderboardCell, ...]
    patch_sweep: tuple[SweepRow, ...]
    best_patch_size: PatchSizeChoice | None
    best_patch_size_reason: str | None
    """Why no patch size is recommended although several were run; None otherwise."""
    at_equal_stride: tuple[StrideChoice, ...]
    by_object_size: tuple[ObjectSizeBin, ...]
    cost: tuple[Cost, ...]
    unscored: tuple[Unscored, ...]
    families: tuple[TestedFamily, ...]
    n_test_resamples: int
    n_resamples: int
    not_beating_controls: dict[str, tuple[str, ...]]
    """Metric text to the ranked explainers whose mean over the shared images is not better than every control's."""
    parameter_sweeps: tuple[ParameterSweep, ...] = ()
    """One for each explainer of which several variants were run."""
    best_parameters: dict[str, ParameterChoice | None] = {}
    """The recommended variant of each of them, by the explainer's name; None without one, for the sweep's reason."""
    region_drops: RegionDrops | None = None
    """None where it was not measured, or no image has a region and a model that is right on it."""
    sanity: tuple[SanityResult, ...] = ()
    """One for each explainer and metric of the family ``sanity``, controls last."""
    shortcuts: tuple[LeaderboardCell, ...] = ()
    """One for each explainer and metric of the family ``shortcut``, without ranks."""
