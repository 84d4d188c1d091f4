"""What ``compare`` and ``check`` say, as plain values: drawn by ``report``."""

from __future__ import annotations

import msgspec

from evalkit.store.baseline import Recommendation

__all__ = ["ComparedCell", "ComparedRun", "Comparison", "Gate", "GateCell", "MapDrift"]


class ComparedRun(msgspec.Struct, frozen=True):
    """What a reader has to know of one run.

    Attributes:
        letter: by which the table calls it; A is what the others are held against.
        name: of its folder.
        model: its name.
        fingerprint: of the model.
        precision: of the model.
        versions: package name to version.
        accuracy: share of its labelled images that the model gets right.
        median_clean_score: of its images.
        n_images: of the run.
    """

    letter: str
    name: str
    model: str
    fingerprint: str
    precision: str
    versions: dict[str, str]
    accuracy: float | None
    median_clean_score: float | None
    n_images: int


class ComparedCell(msgspec.Struct, frozen=True):
    """One explainer under one metric in a later run, held against the first.

    Attributes:
        explainer: its text.
        metric: its text.
        direction: ``higher`` or ``lower`` is better.
        run: letter of the later run.
        first_mean: of run A, over the images that both scored.
        mean: of the later run, over the same images.
        difference: later minus first.
        ci_low: lower end of the difference's 95 % interval.
        ci_high: upper end.
        ci_reason: why there is no interval, or why it is unreliable.
        n_images: that both scored.
        p_value: corrected within the metric; 1 where all differences are 0, None for fewer than two images.
        verdict: ``better``, ``worse``, ``tied`` (not told apart) or ``not scored``.
    """

    explainer: str
    metric: str
    direction: str
    run: str
    first_mean: float | None
    mean: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    ci_reason: str | None
    n_images: int
    p_value: float | None
    verdict: str


class Comparison(msgspec.Struct, frozen=True):
    """Several runs side by side.

    Attributes:
        runs: in the order given.
        n_shared: images that all runs hold.
        cells: every explainer, metric and later run.
        differs: settings of the subject that differ, one sentence each.
        left_out: what could not be compared and why, one sentence each.
        n_flips: sign flips a metric.
        n_resamples: bootstrap resamples.
    """

    runs: tuple[ComparedRun, ...]
    n_shared: int
    cells: tuple[ComparedCell, ...]
    differs: tuple[str, ...]
    left_out: tuple[str, ...]
    n_flips: int
    n_resamples: int


class GateCell(msgspec.Struct, frozen=True):
    """One explainer under one metric, held against the baseline.

    Attributes:
        explainer: its text.
        metric: its text.
        direction: ``higher`` or ``lower`` is better.
        verdict: regressed, improved, unchanged (the interval lies within the tolerance), not worse (its lower end
            does), inconclusive, or not comparable.
        baseline_mean: over the images that both scored.
        mean: now, over the same images.
        change: of the mean, positive = better.
        ci_low: lower end of the change's 95 % interval.
        ci_high: upper end.
        tolerance: how much worse is accepted.
        p_value: of the worsening, one-sided, Holm over all cells; None if it was not tested.
        n_images: that both scored; entries of one photo are one.
        n_lost: images that the baseline scored and the run did not, or does not hold.
        lost_reason: of most of these.
        detectable: the smallest worsening that this many images show in four of five runs; None where nothing varies,
            or no worsening can be significant.
        n_wanted: images that would decide an inconclusive cell in four of five runs.
        reason: why it is not comparable; None otherwise.
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


class MapDrift(msgspec.Struct, frozen=True):
    """How far the maps of one explainer have moved from the baseline's.

    Attributes:
        explainer: its text.
        n_images: on which both have a map.
        n_moved: of these, on which at least one bit of the rank hash differs.
        mean_bits: that differ, of 64.
        changed: more than rounding or another precision explains.
    """

    explainer: str
    n_images: int
    n_moved: int
    mean_bits: float
    changed: bool


class Gate(msgspec.Struct, frozen=True):
    """Everything that the gate says.

    Attributes:
        cells: every explainer and metric of the baseline.
        n_images: that run and baseline share.
        n_other_class: shared images of which the model explains another class than before: they are left out.
        n_baseline_images: of the baseline.
        drift: of the maps of every explainer whose settings are the baseline's.
        recommended_before: patch size of occlusion; None without a sweep.
        recommended_now: chosen by the same criterion and margin.
        differs: what differs in model, precision and versions, one sentence each: allowed, and said.
        new: explainers of the run that the baseline lacks, controls left out: they get no verdict.
        alpha: family-wise error of "regressed".
        fails_on: what beside a regression and what is not comparable: ``inconclusive``, ``map drift``.
        exit_code: 0 fine, 1 regressed, 3 not comparable.
        summary: one sentence.
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
