"""The results of comparing runs, as plain values."""

from __future__ import annotations

import msgspec

__all__ = ["ComparedCell", "ComparedRun", "Comparison"]


class ComparedRun(msgspec.Struct, frozen=True):
    """One run of a comparison.

    Attributes:
        letter: the run's name in the table; the others are compared with A.
        name: path of the run folder.
        model: name of the model.
        fingerprint: fingerprint of the model.
        precision: precision of the model.
        versions: package name to version.
        accuracy: share of the labelled images that the model classifies correctly.
        median_clean_score: median softmax score of the target on unchanged images.
        n_images: number of images of the run; entries of one photo count once, here and below.
        shard: the shard in words; empty of a run that has all images.
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
    shard: str = ""


class ComparedCell(msgspec.Struct, frozen=True):
    """One explainer under one metric in a later run, compared with the first run.

    Attributes:
        explainer: text of the explainer.
        metric: text of the metric.
        direction: ``higher`` or ``lower`` is better; empty if the metric has no better end.
        run: letter of the later run.
        first_mean: mean in run A, over the images that both scored.
        mean: mean in the later run, over the same images.
        difference: later minus first.
        ci_low: lower end of the difference's 95 % interval, simultaneous over the metric's comparisons.
        ci_high: upper end of the interval.
        ci_reason: why there is no interval.
        n_images: number of images that both scored.
        p_value: p-value, corrected within the metric; 1 if all differences are 0, None for too few images.
        verdict: ``better``, ``worse``, ``tied`` (not significantly different), ``not tested`` (too few images) or
            ``not scored``; ``different`` in place of better and worse if the metric has no better end.
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
    """The results of comparing runs.

    Attributes:
        runs: the runs, in the order given.
        n_shared: number of images that all runs have.
        cells: one for every explainer, metric and later run.
        differs: what differs in model, precision and versions, one sentence each.
        left_out: what could not be compared and why, one sentence each.
        n_resamples: number of bootstrap resamples.
    """

    runs: tuple[ComparedRun, ...]
    n_shared: int
    cells: tuple[ComparedCell, ...]
    differs: tuple[str, ...]
    left_out: tuple[str, ...]
    n_resamples: int
