"""The results of the regression gate, as plain values."""

from __future__ import annotations

import msgspec

from evalkit.store.baseline import Recommendation

__all__ = ["Gate", "GateCell", "MapDrift"]


class GateCell(msgspec.Struct, frozen=True):
    """One explainer under one metric, compared with the baseline.

    Attributes:
        explainer: text of the explainer.
        metric: text of the metric.
        direction: ``higher`` or ``lower`` is better.
        verdict: regressed, improved, unchanged (the interval lies within the tolerance), not worse (its lower end
            does), inconclusive, or not comparable.
        baseline_mean: mean in the baseline, over the images that both scored.
        mean: mean in the run, over the same images.
        change: change of the mean, positive = better.
        ci_low: lower end of the change's 95 % interval.
        ci_high: upper end of the interval.
        tolerance: largest accepted worsening.
        p_value: p-value of the worsening, one-sided, corrected by Holm over all cells; None if it was not tested.
        n_images: number of images that both scored; entries of one photo count once.
        n_lost: number of images that the baseline scored and the run did not score or does not have; a photo with
            several entries is lost when none of them is scored in both.
        lost_reason: the most frequent reason why.
        detectable: the smallest worsening that this many images detect in four of five runs; None if none can be.
        n_wanted: number of images that would decide an inconclusive cell in four of five runs; None if these images do
            not tell.
        reason: why the cell is not comparable or was not tested; None otherwise.
        n_lost_for_reason: number of the lost images with the most frequent reason.
        n_lost_entries: number of entries that are not scored in both, of images that are compared by other entries.
        lost_baseline_mean: mean in the baseline over the lost images; None if none is lost.
        n_any_class: number of images that both scored, whatever class each explained; 0 unless images are lost and the
            target is ``predicted``.
        any_class_baseline_mean: mean in the baseline over these images; None if there are none.
        any_class_mean: mean in the run over these images.
    """

    explainer: str
    metric: str
    direction: str
    verdict: str
    baseline_mean: float | None = None
    mean: float | None = None
    change: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    tolerance: float | None = None
    p_value: float | None = None
    n_images: int = 0
    n_lost: int = 0
    lost_reason: str | None = None
    detectable: float | None = None
    n_wanted: int | None = None
    reason: str | None = None
    n_lost_for_reason: int = 0
    n_lost_entries: int = 0
    lost_baseline_mean: float | None = None
    n_any_class: int = 0
    any_class_baseline_mean: float | None = None
    any_class_mean: float | None = None


class MapDrift(msgspec.Struct, frozen=True):
    """The difference between one explainer's maps and the baseline's.

    Attributes:
        explainer: text of the explainer.
        n_images: number of images with a map in both; entries of one photo count once, by their mean.
        n_moved: number of these whose rank hash differs in at least one bit.
        mean_bits: mean number of differing bits, of 64.
        changed: whether the maps differ more than rounding or another precision explains.
    """

    explainer: str
    n_images: int
    n_moved: int
    mean_bits: float
    changed: bool


class Gate(msgspec.Struct, frozen=True):
    """The results of the gate.

    Attributes:
        cells: one for every explainer and metric of the baseline.
        n_images: number of images that run and baseline share; entries of one photo count once, here and below.
        n_other_class: number of shared images for which the model explains another class than before; left out.
        n_baseline_images: number of images of the baseline.
        drift: map drift of every explainer whose settings are the baseline's.
        recommended_before: the baseline's recommended patch size; None without a sweep.
        recommended_now: the run's, chosen by the same criterion and margin.
        differs: what differs in model, precision and versions, one sentence each; differences are allowed.
        new: explainers of the run that the baseline lacks, without controls; they get no verdict.
        alpha: family-wise error rate of "regressed".
        fails_on: what else makes the exit code 1: ``inconclusive``, ``map drift``.
        exit_code: 0 no regression, 1 regressed, 3 not comparable.
        summary: one sentence.
        target: whose class was explained, ``label`` or ``predicted``.
    """

    cells: tuple[GateCell, ...]
    n_images: int
    n_other_class: int
    n_baseline_images: int
    drift: tuple[MapDrift, ...]
    recommended_before: Recommendation | None
    recommended_now: Recommendation | None
    differs: tuple[str, ...]
    new: tuple[str, ...]
    alpha: float
    fails_on: tuple[str, ...]
    exit_code: int
    summary: str
    target: str = "label"
