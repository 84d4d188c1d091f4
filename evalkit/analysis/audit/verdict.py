"""The verdict on a metric in one word, and which metric to use as ``--criterion``."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

from evalkit.analysis.audit.results import (
    ControlBias,
    Effect,
    MetricAudit,
    MetricBias,
    MetricProbes,
    Reliability,
    Thresholds,
)

__all__ = ["Verdict", "advice_of", "advised_of", "verdict_of"]


class Verdict(NamedTuple):
    """A verdict.

    Attributes:
        word: ``blind``, ``biased``, ``noisy`` or ``reliable``; None = no verdict.
        reason: one sentence with its numbers, or why there is none.
        missing: sentences about what the verdict does not rest on.
    """

    word: str | None
    reason: str
    missing: tuple[str, ...] = ()


def verdict_of(
    reliability: Reliability,
    bias: MetricBias,
    *,
    equal_share: float | None,
    n_compared: int,
    no_verdict: str | None,
    thresholds: Thresholds,
    probes: MetricProbes | None = None,
) -> Verdict:
    """Return the first that holds: blind, biased, noisy, reliable.

    Args:
        reliability: the reliability of the metric.
        bias: what controls score against chance.
        equal_share: share of images on which all explainers have the same score.
        n_compared: number of images that this share is of.
        no_verdict: why the metric gets no verdict, whatever its numbers; None = it may.
        thresholds: the limits.
        probes: how the metric scores changed maps; None if it was not probed.
    """
    may_fall = _may_fall_with_noise(probes, bias, thresholds)
    missing = tuple(f"bias: {reason}" for reason in [bias.reason] if reason) + ((may_fall,) if may_fall else ())
    if no_verdict:
        return Verdict(None, no_verdict, missing)
    if equal_share is not None and n_compared >= thresholds.fewest_images and equal_share >= thresholds.blind_share:
        n_equal = round(equal_share * n_compared)
        reason = (
            f"to differences between the explainers: they have the same score on {n_equal} of {n_compared} images "
            f"(limit: {_percent(thresholds.blind_share)})"
        )
        return Verdict("blind", reason, missing)
    to_noise = None if may_fall else _blind_to_noise(probes)
    if to_noise:
        return Verdict("blind", to_noise, missing)
    rewarded = [one for one in bias.controls if one.rewarded]
    if rewarded:
        return Verdict("biased", _biased(rewarded, bias), missing)
    biased = _rewards_smoothing(probes, bias, thresholds) or _prefers_noise(bias, reliability.n_explainers, thresholds)
    if biased:
        return Verdict("biased", biased, missing)
    if reliability.reason or reliability.split_half is None or reliability.low is None:
        missing = (f"reliability: {reliability.reason}", *missing)
        return Verdict(None, f"the reliability is not known: {reliability.reason}", missing)
    # Outwards, so that a lower end below the limit is not rounded up to it.
    lower, upper = floor(100 * reliability.low) / 100, ceil(100 * (reliability.high or 1.0)) / 100
    interval = f"{reliability.split_half:.2f} (95 % interval {lower:.2f} to {upper:.2f})"
    limit = thresholds.reliable_from
    if reliability.low < limit:
        reason = f"split-half reliability {interval} on {reliability.n_images} images, lower end below {limit:g}; "
        return Verdict("noisy", reason + _images_it_takes(reliability, thresholds), missing)
    reason = f"split-half reliability {interval} on {reliability.n_images} images, lower end at least {limit:g}"
    return Verdict("reliable", reason, missing)


def _may_fall_with_noise(probes: MetricProbes | None, bias: MetricBias, thresholds: Thresholds) -> str | None:
    """Return that too few images were probed to tell whether the score falls with noise; None if it can be told.

    The interval then contains both 0 and a fall by a share of the best explainer's lead that would count elsewhere.
    """
    if probes is None or probes.slope.ci_low is None or probes.slope.ci_high is None or not (bias.lead or 0.0) > 0:
        return None
    if not probes.slope.ci_low <= -thresholds.lead_share * (bias.lead or 0.0) < 0 <= probes.slope.ci_high:
        return None
    return (
        f"noise: {probes.slope.n_images} probed images are too few to show whether the score falls; it changes by "
        f"{_with_ends(probes.slope)}"
    )


def _blind_to_noise(probes: MetricProbes | None) -> str | None:
    """Return that the score is not shown to fall with noise, and by how much; None if it is, or is not known."""
    if probes is None or probes.slope.ci_high is None or probes.slope.ci_high < 0:
        return None
    return (
        f"to noise: from the maps to maps of shuffled pixels the score changes by {_with_ends(probes.slope)}, which is "
        f"not shown to be worse, on {probes.slope.n_images} images"
    )


def _rewards_smoothing(probes: MetricProbes | None, bias: MetricBias, thresholds: Thresholds) -> str | None:
    """Return how far blurred maps score better than the maps themselves; None if not shown, or by little.

    Without a known lead over chance there is nothing to compare it with.
    """
    if probes is None or bias.lead is None:
        return None
    best = max(probes.blur.items(), key=lambda item: -1.0 if item[1].ci_low is None else item[1].ci_low)
    sigma, effect = best
    limit = thresholds.lead_share * max(bias.lead, 0.0)
    if effect.mean is None or effect.ci_low is None or effect.ci_low <= limit:
        return None
    share = (
        f"{_percent(effect.mean / bias.lead)} of the lead of {bias.best} (limit: {_percent(thresholds.lead_share)})"
        if bias.lead > 0
        else "and no explainer exceeds chance"
    )
    return (
        f"toward smooth maps: blurring the maps by {sigma} px, which adds nothing to them, changes the score by "
        f"{_with_ends(effect)}, {share}"
    )


def _prefers_noise(bias: MetricBias, n_explainers: int, thresholds: Thresholds) -> str | None:
    """Return that pixel noise, which stands for chance, scores better than most explainers; None if not shown."""
    n_below = len(bias.below_noise)
    if n_below <= thresholds.noise_share * n_explainers:
        return None
    return (
        f"toward pixel noise: on these images {bias.chance} is shown to score better than {n_below} of {n_explainers} "
        f"explainers (limit: {_percent(thresholds.noise_share)})"
    )


def _with_ends(effect: Effect) -> str:
    low, high = (end or 0.0 for end in (effect.ci_low, effect.ci_high))
    return f"{effect.mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f}; positive = better)"


def _biased(rewarded: Sequence[ControlBias], bias: MetricBias) -> str:
    """Return toward what, and by how much: of several controls, the one that exceeds its limit most."""
    lead = bias.lead or 0.0
    worst = max(rewarded, key=lambda one: (one.low or 0.0) - one.limit * max(lead, 0.0))
    others = [one.control for one in rewarded if one is not worst]
    chance = bias.chance if isinstance(bias.chance, str) else f"{bias.chance:g}"
    photo = "" if worst.limit < _PHOTO_LIMIT else ", where the objects of these images may be"
    by = f"{worst.over_chance:.3f} (95 % interval {worst.low:.3f} to {worst.high:.3f})"
    share = (
        f"{_percent(worst.lead_share)} of the lead of the best explainer, {bias.best} (limit: {_percent(worst.limit)})"
        if worst.lead_share is not None
        else "and no explainer exceeds chance"
    )
    more = f"; also rewarded: {', '.join(others)}" if others else ""
    exceeds = f"on these images {worst.control} exceeds chance ({chance}) by {by}, {share}"
    return f"toward {worst.toward}{photo}: {exceeds}{more}"


_PHOTO_LIMIT = 0.5


def _images_it_takes(reliability: Reliability, thresholds: Thresholds) -> str:
    wanted, shown = reliability.images_for_agreement, reliability.images_for_reliable
    if wanted is None:
        return "the halves do not agree, so no number of images can be given"
    if wanted > reliability.n_images:
        return f"the halves of about {wanted:,} images would agree to {thresholds.agreed:g}"
    more = "more" if shown is None else f"at most {shown:,}"
    return f"halves of as many images agree to {thresholds.agreed:g}, and {more} images would show that it is reliable"


def advised_of(metrics: Sequence[MetricAudit]) -> tuple[str, ...]:
    """Return the metrics that can be used as ``--criterion``, the most reliable first."""
    usable = [one for one in metrics if one.verdict == "reliable" and one.criterion]
    return tuple(one.metric for one in sorted(usable, key=lambda one: -(one.reliability.low or 0.0)))


def advice_of(metrics: Sequence[MetricAudit], criterion: str) -> str:
    """Return which metric to use as ``--criterion``.

    Args:
        metrics: the audited metrics.
        criterion: the criterion of the run.
    """
    advised = advised_of(metrics)
    verdicts = {one.metric: one.verdict for one in metrics}
    no_verdict = "has no verdict here." if criterion in verdicts else "is not among its metrics."
    verdict = verdicts.get(criterion)
    present = f"The run's criterion, {criterion}, " + (f"is {verdict} here." if verdict else no_verdict)
    if not advised and not any(one.verdict for one in metrics):
        return (
            "No metric of this run has a verdict, so no --criterion is advised; what each lacks is listed: mostly more "
            f"images. {present}"
        )
    if not advised:
        return (
            "No metric of this run that scores single images is reliable here: no --criterion is advised, and a choice "
            f"by any of them may be another on other images. {present}"
        )
    others = f"; also reliable: {', '.join(advised[1:])}" if len(advised) > 1 else ""
    unchecked = next(one.missing for one in metrics if one.metric == advised[0])
    caution = f" Not checked: {'; '.join(unchecked)}." if unchecked else ""
    return f"Use --criterion {_quoted(advised[0])}{others}.{caution} {present}"


def _quoted(text: str) -> str:
    return f"'{text}'" if "(" in text else text


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
