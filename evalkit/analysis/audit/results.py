"""The results of an audit as plain values. None means that there is no value, never zero; a reason says why."""

from __future__ import annotations

import msgspec

__all__ = [
    "PROBES",
    "Audit",
    "ControlBias",
    "Effect",
    "MetricAudit",
    "MetricBias",
    "MetricProbes",
    "PairAgreement",
    "Probes",
    "Reliability",
    "Thresholds",
]


PROBES = "probes"
"""The run folder of a run's probes, inside its own."""


class Thresholds(msgspec.Struct, frozen=True):
    """The limits of the verdicts.

    Attributes:
        fewest_images: fewest images that a verdict needs.
        fewest_explainers: fewest explainers, without controls, that reliability and agreement need.
        blind_share: share of images on which all explainers have the same score, from which a metric is blind.
        lead_share: share of the best explainer's lead over chance that a control may be shown to exceed, if it depends
            on neither model nor photo.
        photo_lead_share: the same for a control that may find the object without the model: the center, edges.
        noise_share: share of the explainers that pixel noise may be shown to exceed, where it stands for chance.
        reliable_from: lower end of the split-half reliability from which a metric is reliable.
        agreed: correlation of two halves that ``Reliability.images_for_agreement`` is for.
        cluster_tau: mean Kendall's tau-b from which metrics are in one cluster.
        truth_from: mean tau-b with the known order of maps below which a metric is said not to find it.
    """

    fewest_images: int = 8
    fewest_explainers: int = 3
    blind_share: float = 0.95
    lead_share: float = 0.25
    photo_lead_share: float = 0.5
    noise_share: float = 0.5
    reliable_from: float = 0.8
    agreed: float = 0.9
    cluster_tau: float = 0.5
    truth_from: float = 0.8


class Reliability(msgspec.Struct, frozen=True):
    """How far the order of the explainers would be the same on other images, by one metric.

    Attributes:
        n_images: number of images that all compared explainers scored.
        n_explainers: number of compared explainers.
        halves: Pearson correlation of the explainers' scores in two halves of the images, mean over random halves.
        split_half: the same for two sets as large as the run's, by Spearman and Brown.
        low: lower end of the 95 % interval of ``split_half``.
        high: upper end of the interval.
        images_for_agreement: number of images whose halves would correlate by ``Thresholds.agreed``; None = no number,
            because the halves do not correlate.
        images_for_reliable: number of images from which the lower end would be at least ``Thresholds.reliable_from``,
            at most, if these images are typical; None = no number.
        without: the explainer without which ``split_half`` is smallest; None with fewer than four.
        split_half_without: ``split_half`` without it.
        alpha: Krippendorff's ordinal alpha of the images' rankings of the explainers; None for a score of the set.
        alpha_low: lower end of the 95 % interval of ``alpha``.
        alpha_high: upper end of the interval.
        reason: why there is no reliability; None otherwise.
        alpha_reason: why there is no alpha; None otherwise.
    """

    n_images: int
    n_explainers: int
    halves: float | None = None
    split_half: float | None = None
    low: float | None = None
    high: float | None = None
    images_for_agreement: int | None = None
    images_for_reliable: int | None = None
    without: str | None = None
    split_half_without: float | None = None
    alpha: float | None = None
    alpha_low: float | None = None
    alpha_high: float | None = None
    reason: str | None = None
    alpha_reason: str | None = None


class PairAgreement(msgspec.Struct, frozen=True):
    """How far two metrics rank the explainers alike.

    Attributes:
        first: text of a metric.
        second: text of another metric.
        tau: Kendall's tau-b between the two rankings of the explainers of each image, mean over images.
        low: lower end of the 95 % interval of the mean.
        high: upper end of the interval.
        n_images: number of images with a tau.
        reason: why there is no tau; None otherwise.
    """

    first: str
    second: str
    tau: float | None
    low: float | None
    high: float | None
    n_images: int
    reason: str | None = None


class ControlBias(msgspec.Struct, frozen=True):
    """How far one control is rewarded over chance.

    Attributes:
        control: text of the control.
        toward: what the control stands for, in words.
        over_chance: score minus chance, positive = better than chance; None if no image has both.
        low: lower end of the 95 % interval; the intervals of a metric's controls hold together.
        high: upper end of the interval.
        n_images: number of images with both.
        lead_share: ``over_chance`` as a share of the best explainer's lead; None if no explainer is above chance.
        limit: the share above which the metric is biased.
        rewarded: whether it is shown to exceed chance by more than ``limit`` of the lead.
    """

    control: str
    toward: str
    over_chance: float | None
    low: float | None
    high: float | None
    n_images: int
    lead_share: float | None
    limit: float
    rewarded: bool


class MetricBias(msgspec.Struct, frozen=True):
    """What controls score against chance.

    Attributes:
        chance: what chance is: a number, or the text of the control that stands for it; None = unknown.
        best: the explainer with the largest lead over chance; None without one.
        lead: its score minus chance, positive = better than chance.
        controls: the controls, except the one that stands for chance.
        below_noise: explainers that are shown to be worse than pixel noise; empty where chance is known beforehand.
        reason: why there is nothing to compare, or less than there should be; None otherwise.
    """

    chance: float | str | None
    best: str | None
    lead: float | None
    controls: tuple[ControlBias, ...]
    below_noise: tuple[str, ...] = ()
    reason: str | None = None


class Effect(msgspec.Struct, frozen=True):
    """A mean over images with its 95 % interval.

    Attributes:
        mean: the mean; None for fewer than 8 images.
        ci_low: lower end of the interval.
        ci_high: upper end of the interval.
        n_images: number of images.
        reason: why there is no interval, or why it is unreliable.
    """

    mean: float | None
    ci_low: float | None
    ci_high: float | None
    n_images: int
    reason: str | None = None


class MetricProbes(msgspec.Struct, frozen=True):
    """How one metric scores changed maps. Every number is in the metric's own unit, positive = better.

    Attributes:
        metric: text of the metric.
        blur: change of the score by blur, by sigma in pixels.
        coarsen: change by coarsening to 7 x 7 parts.
        sharpen: change by unsharp masking.
        noise: change by noise, by the share of the pixels that are shuffled.
        slope: change of the score per share of shuffled pixels, least squares through the doses of each image.
        monotone_share: share of the images whose score never rises from one dose to the next; None for fewer than 8.
        truth: Kendall's tau-b of the scores of the object's exact mask at six doses of noise with the known order; None
            where the truth is not known.
    """

    metric: str
    blur: dict[str, Effect]
    coarsen: Effect
    sharpen: Effect
    noise: dict[str, Effect]
    slope: Effect
    monotone_share: float | None
    truth: Effect | None = None


class Probes(msgspec.Struct, frozen=True):
    """The probes of a run.

    Attributes:
        explainers: texts of the explainers whose maps were changed.
        n_images: number of images.
        metrics: one for each metric that can score a changed map.
    """

    explainers: tuple[str, ...]
    n_images: int
    metrics: tuple[MetricProbes, ...]

    def of(self, metric: str) -> MetricProbes | None:
        """Return the probes of one metric; None if it was not probed."""
        return next((probes for probes in self.metrics if probes.metric == metric), None)


class MetricAudit(msgspec.Struct, frozen=True):
    """The audit of one metric.

    Attributes:
        metric: text of the metric.
        direction: ``higher`` or ``lower`` is better; empty if the metric has no better end.
        verdict: ``blind``, ``biased``, ``noisy`` or ``reliable``, the first that holds; None = no verdict.
        reason: one sentence with the numbers of the verdict, or why there is none.
        criterion: whether the metric may decide a choice: it scores single images and has a better end.
        equal_share: share of images on which all explainers have the same score; None if none has two scores.
        reliability: how far its order of explainers holds on other images.
        bias: what controls score against chance.
        missing: sentences about what the verdict does not rest on, and why.
    """

    metric: str
    direction: str
    verdict: str | None
    reason: str
    criterion: bool
    equal_share: float | None
    reliability: Reliability
    bias: MetricBias
    missing: tuple[str, ...] = ()


class Audit(msgspec.Struct, frozen=True):
    """The audit of a run.

    Attributes:
        n_images: number of photos of the run.
        explainers: texts of the explainers, without controls.
        controls: texts of the controls.
        metrics: one entry for each metric, in the run's order.
        agreement: one entry for each pair of metrics that score single images and have a better end.
        clusters: texts of the metrics that rank the explainers alike, one tuple a cluster.
        not_compared: metric text to the reason why it is in no pair.
        advised: texts of the metrics that can be used as ``--criterion``, the most reliable first.
        advice: one or two sentences on which metric to use as ``--criterion``.
        thresholds: the limits of the verdicts.
        n_resamples: number of random halves, each resampled once.
        probes: how the metrics score changed maps; None if maps were not changed.
        probes_reason: why there are no probes; None otherwise.
    """

    n_images: int
    explainers: tuple[str, ...]
    controls: tuple[str, ...]
    metrics: tuple[MetricAudit, ...]
    agreement: tuple[PairAgreement, ...]
    clusters: tuple[tuple[str, ...], ...]
    not_compared: dict[str, str]
    advised: tuple[str, ...]
    advice: str
    thresholds: Thresholds
    n_resamples: int
    probes: Probes | None = None
    probes_reason: str | None = None
