"""The audit of a finished run, from its stored scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.audit.agreement import agreement_of, clusters_of
from evalkit.analysis.audit.bias import bias_of
from evalkit.analysis.audit.probes import probed_explainers, probes_of
from evalkit.analysis.audit.reliability import HalvesByNumber, reliability_of
from evalkit.analysis.audit.results import (
    PROBES,
    Audit,
    MetricAudit,
    MetricBias,
    MetricProbes,
    Probes,
    Reliability,
    Thresholds,
)
from evalkit.analysis.audit.verdict import advice_of, advised_of, verdict_of
from evalkit.analysis.load import finished_manifest, metrics_of, read_run, table_of
from evalkit.analysis.scores import Scores, numbers_of, scores_of
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.core.settings import DEFAULT_CRITERION
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts, Manifest
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable
from evalkit.store.statistics import Statistics

__all__ = ["audit_of", "audit_scores"]

N_RESAMPLES = 1_000
_ROUNDING = 1e-12
_SMALLEST_SIZE = 1e-4

Floats = NDArray[np.float64]


def audit_of(folder: RunFolder) -> tuple[Manifest, Audit]:
    """Return the manifest and the audit of a run.

    Args:
        folder: the run folder, open for reading.

    Raises:
        StoreError: the run is not finished, or damaged.
    """
    manifest = finished_manifest(folder)
    settings = manifest.settings
    metrics = metrics_of(manifest)
    with folder.database.snapshot():
        table = table_of(folder, manifest)
    probes, probes_reason = _probes(folder, manifest, metrics)
    audit = audit_scores(
        table, metrics, manifest.explainers, seed=settings.seed, criterion=settings.criterion, probes=probes
    )
    return manifest, msgspec.structs.replace(audit, probes_reason=probes_reason)


def _probes(folder: RunFolder, manifest: Manifest, metrics: Sequence[Metric]) -> tuple[Probes | None, str | None]:
    """Return the stored probes of a run, or why there are none."""
    path = Path(folder.path) / PROBES
    probed = RunFolder.manifest_at(path)
    if probed is None:
        return None, "no maps were changed: add --probe, which scores changed maps with the model"
    if probed.finished is None:
        return None, "the probes are not finished: add --probe to continue them"
    known = {one.text for one in manifest.explainers}
    if (manifest.finished or "") > probed.finished or not known.issuperset(probed_explainers(probed)):
        return None, "the run changed after its probes: add --probe to repeat them"
    return probes_of(read_run(Path(folder.path)), read_run(path), metrics), None


def audit_scores(
    table: ScoreTable,
    metrics: Sequence[Metric],
    explainers: Sequence[ExplainerFacts],
    *,
    seed: int,
    criterion: str = DEFAULT_CRITERION,
    n_resamples: int = N_RESAMPLES,
    thresholds: Thresholds | None = None,
    probes: Probes | None = None,
) -> Audit:
    """Return the audit of scores. Entries of one photo count as one, by their mean.

    Args:
        table: the scores of the run.
        metrics: the metrics of the run, in the table's order.
        explainers: the explainers of the run, in the table's order.
        seed: random seed of halves and resamples.
        criterion: the criterion of the run, for the advice.
        n_resamples: number of random halves, each resampled once, and of resamples of the controls' scores.
        thresholds: the limits of the verdicts; None = the default ones.
        probes: how the metrics score changed maps; None = not known.
    """
    thresholds = thresholds or Thresholds()
    table = table.by_photo()
    halves, resampling = HalvesByNumber(seed, n_resamples), Resampling(seed, n_resamples)
    audited = tuple(
        _of_metric(
            table,
            metric,
            explainers,
            halves=halves,
            resampling=resampling,
            thresholds=thresholds,
            probes=None if probes is None else probes.of(metric.text),
        )
        for metric in metrics
    )
    own = np.array([not one.control for one in explainers], dtype=np.bool_)
    not_compared = {metric.text: reason for metric in metrics if (reason := _not_compared(metric))}
    compared = [metric for metric in metrics if metric.text not in not_compared]
    signs = np.array([1.0 if metric.spec.direction == "higher" else -1.0 for metric in compared])
    columns = [table.metrics.index(metric.text) for metric in compared]
    texts = [metric.text for metric in compared]
    agreement = agreement_of(
        signs * _of_one_size(table.values[:, own][:, :, columns]),
        texts,
        fewest_explainers=thresholds.fewest_explainers,
        fewest_images=thresholds.fewest_images,
    )
    return Audit(
        n_images=len(table.image_ids),
        explainers=tuple(one.text for one in explainers if not one.control),
        controls=tuple(one.text for one in explainers if one.control),
        metrics=audited,
        agreement=agreement,
        clusters=clusters_of(agreement, texts, thresholds.cluster_tau),
        not_compared=not_compared,
        advised=advised_of(audited),
        advice=advice_of(audited, criterion),
        thresholds=thresholds,
        n_resamples=n_resamples,
        probes=probes,
    )


def _of_metric(
    table: ScoreTable,
    metric: Metric,
    explainers: Sequence[ExplainerFacts],
    *,
    halves: HalvesByNumber,
    resampling: Resampling,
    thresholds: Thresholds,
    probes: MetricProbes | None,
) -> MetricAudit:
    scores = scores_of(metric, numbers_of(metric, table))
    columns = [at for at, one in enumerate(explainers) if not one.control]
    own = scores_of(metric, _of_columns(scores.numbers, columns))
    texts = [explainers[at].text for at in columns]
    nothing = _nothing_scored(table, metric, scores)
    equal_share, n_compared = _equal_share(own)
    if nothing:
        reliability: Reliability = Reliability(0, 0, reason=nothing, alpha_reason=nothing)
        bias = MetricBias(None, None, None, (), reason=nothing)
    else:
        reliability = reliability_of(own, texts, halves, thresholds)
        bias = (
            MetricBias(None, None, None, ())
            if metric.spec.descriptive
            else bias_of(metric, scores, explainers, resampling, thresholds)
        )
    verdict = verdict_of(
        reliability,
        bias,
        equal_share=equal_share,
        n_compared=n_compared,
        no_verdict=nothing or (_DESCRIPTIVE if metric.spec.descriptive else None),
        thresholds=thresholds,
        probes=probes,
    )
    return MetricAudit(
        metric=metric.text,
        direction="" if metric.spec.descriptive else metric.spec.direction,
        verdict=verdict.word,
        reason=verdict.reason,
        criterion=metric.decides,
        equal_share=equal_share,
        reliability=reliability,
        bias=bias,
        missing=verdict.missing,
    )


def _of_one_size(numbers: Floats) -> Floats:
    """Return the scores (n, E, M) of each metric divided by a power of two, so that the largest is 0.5 to 1.

    What counts as rounding then does not depend on the unit of the metric. Scores below 1e-4 stay below: differences of
    1e-16 can be rounding of terms that cancel.
    """
    sizes = np.abs(np.where(np.isfinite(numbers), numbers, 0.0)).max(axis=(0, 1), initial=_SMALLEST_SIZE)
    return np.asarray(numbers / np.exp2(np.frexp(sizes)[1]))


_DESCRIPTIVE = "it describes maps and has no better end: it gets no verdict"


def _of_columns(numbers: Floats | Statistics, columns: Sequence[int]) -> Floats | Statistics:
    """Return some columns of numbers (n, E, K); scores of single images are also brought to one size."""
    if isinstance(numbers, Statistics):
        return numbers.columns(columns)
    if columns and columns == list(range(columns[0], columns[-1] + 1)):  # as those without controls are
        return _of_one_size(numbers[:, columns[0] : columns[-1] + 1])
    return _of_one_size(numbers[:, list(columns)])


def _not_compared(metric: Metric) -> str | None:
    if metric.set_level:
        return "images have no ranking by a score of the whole set"
    return "no end of what they describe is better" if metric.spec.descriptive else None


def _nothing_scored(table: ScoreTable, metric: Metric, scores: Scores) -> str | None:
    """Return that nothing was scored, and the most frequent reason; None if something was."""
    if scores.scored.any():
        return None
    counts: dict[str, int] = {}
    for (_, text), reasons in table.reasons.items():
        if text == metric.text:
            for reason, count in reasons.items():
                counts[reason] = counts.get(reason, 0) + count
    because = f": {max(counts, key=lambda reason: counts[reason])}" if counts else ""
    return f"it scored no image{because}"


def _equal_share(scores: Scores) -> tuple[float | None, int]:
    """Return the share of images on which all scored explainers have the same score, and the number of images."""
    several = scores.scored.sum(axis=1) > 1
    if not several.any():
        return None, 0
    shape = (int(several.sum()), scores.numbers.shape[2])
    lowest, highest = np.full(shape, np.inf), np.full(shape, -np.inf)
    for column in range(scores.numbers.shape[1]):  # one at a time: the statistics of a set may need gigabytes
        numbers, scored = scores.numbers[several, column], scores.scored[several, column, None]
        lowest = np.minimum(lowest, np.where(scored, numbers, np.inf))
        highest = np.maximum(highest, np.where(scored, numbers, -np.inf))
    equal = (highest - lowest <= _ROUNDING).all(axis=1)
    return float(equal.mean()), int(several.sum())
