"""Analyses of run folders: results, comparison, baseline, gate. A run's results are cached in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evalkit.analysis.facts import metric_facts_of
from evalkit.analysis.load import finished_manifest, metrics_of, read_run, table_of
from evalkit.analysis.results import ANALYSIS_VERSION, Results
from evalkit.analysis.shards import require_whole
from evalkit.core.errors import ConfigError, StoreError
from evalkit.core.registry import parse_spec, split_specs
from evalkit.core.settings import DEFAULT_ALPHA, DEFAULT_MAX_LOST, DEFAULT_TOLERANCE
from evalkit.metrics.catalog import METRICS, find_criterion, find_metric
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

if TYPE_CHECKING:
    from evalkit.analysis.comparison import Comparison
    from evalkit.analysis.gate.results import Gate
    from evalkit.store.baseline import Baseline, Recommendation

__all__ = ["baseline_of", "comparison_of", "gate_of", "results_of"]


def results_of(
    folder: RunFolder, *, criterion: str | None = None, margin: float | None = None
) -> tuple[Manifest, Results]:
    """Return the manifest and the analysis of a run.

    Args:
        folder: the run folder, open for reading.
        criterion: the metric that decides the patch size; None = the run's own.
        margin: largest accepted loss of the criterion, relative to the best size; None = the run's own.

    Raises:
        StoreError: the run is not finished, or damaged.
        ConfigError: the criterion is not among the run's metrics, or does not score single images.
    """
    manifest = finished_manifest(folder)
    metrics = metrics_of(manifest)
    own = manifest.settings
    settings = msgspec.structs.replace(
        own,
        criterion=own.criterion if criterion is None else find_criterion(criterion, metrics).text,
        margin=own.margin if margin is None else margin,
    )
    stored = folder.read_analysis(Results, ANALYSIS_VERSION) if settings == own else None
    if stored is not None:
        return manifest, stored
    from evalkit.analysis.leaderboard import analyse
    from evalkit.analysis.region_drops import region_drops_of
    from evalkit.analysis.sanity import cascades_of

    with folder.database.snapshot():
        key, table = folder.analysis_key(ANALYSIS_VERSION), table_of(folder, manifest)
        drops = region_drops_of(folder.database.image_facts.of_run(), folder.database.planned_images())
        cascades = cascades_of(folder, manifest)
    results = analyse(
        table,
        metrics,
        manifest.explainers,
        seed=own.seed,
        criterion=settings.criterion,
        margin=settings.margin,
        cascades=cascades,
    )
    results = msgspec.structs.replace(results, region_drops=drops)
    if settings == own:
        with contextlib.suppress(OSError):  # a read-only run is analysed each time
            folder.write_analysis(results, key)
    return msgspec.structs.replace(manifest, settings=settings), results


def comparison_of(paths: Sequence[Path]) -> Comparison:
    """Compare finished runs with the first of them.

    Raises:
        StoreError: a run is not finished, or damaged.
        NotComparableError: nothing in them can be compared; the message names the setting that differs.
    """
    from evalkit.analysis.compare_runs import compare_runs

    runs = [read_run(path) for path in paths]
    return compare_runs(runs, metrics_of(runs[0].manifest), seed=runs[0].manifest.settings.seed)


def baseline_of(path: Path, metrics: str | None = None) -> Baseline:
    """Return the baseline of a finished run.

    Args:
        path: the run folder.
        metrics: texts or names of the gated metrics, separated by commas; None = the run's metrics that are gated by
            default.

    Raises:
        StoreError: the run is not finished, or damaged.
        ConfigError: the run lacks the metric, or the metric scores the image set as a whole; or it is a shard.
    """
    import numpy as np

    from evalkit.store.baseline import BASELINE_VERSION, Baseline, BaselineModel
    from evalkit.store.identity import image_keys
    from evalkit.store.scores import first_rows

    run = read_run(path)
    require_whole(run.manifest, "a baseline")
    manifest, table, keys = run.manifest, run.table, image_keys(run.images)
    known = metrics_of(manifest)
    wanted = split_specs(metrics) if metrics else [facts.text for facts in metric_facts_of(manifest) if facts.gated]
    if not wanted:
        usable = ", ".join(metric.text for metric in known if metric.decides)
        advice = f"name one or several of {usable}" if usable else "no other can be either: run it with more metrics"
        raise ConfigError(f"--metrics is missing: none of the run's metrics is gated by default; {advice}")
    gated = list(dict.fromkeys(find_metric(text, known, "--metrics").text for text in wanted))
    explained = [explainer.text for explainer in manifest.explainers if not explainer.control]
    columns = [table.explainers.index(text) for text in explained]
    photos = table.by_photo().values
    scored = [np.isfinite(photos[:, columns, table.metrics.index(text)]).sum(axis=0) for text in gated]
    empty = [text for text, counts in zip(gated, scored, strict=True) if max(counts, default=0) < 2]
    if empty and (metrics or empty == gated):
        raise ConfigError(f"--metrics: {empty[0]} scored fewer than two images in '{path}'; a baseline needs two")
    gated = [text for text in gated if text not in empty]
    if not explained:
        raise ConfigError(f"'{path}' has controls only; a baseline needs an explainer")
    rows = list(keys.values())
    _, photo_of = first_rows([run.images[row].sha256 for row in rows])
    model = manifest.model
    return Baseline(
        schema_version=BASELINE_VERSION,
        created=manifest.finished or "",
        target=manifest.settings.target,
        geometry=manifest.settings.geometry,
        model=BaselineModel(model.name, model.fingerprint, model.precision, model.accuracy, model.median_clean_score),
        data=manifest.data.name,
        versions=dict(sorted(manifest.versions.items())),
        metrics={text: manifest.signature.metrics[text] for text in gated},
        explainers={text: manifest.signature.explainers[text] for text in explained},
        recommended=_recommended(path),
        images=tuple(keys),
        targets=tuple(run.images[row].target for row in rows),
        scores={
            explainer: {
                metric: tuple(
                    None if np.isnan(value) else float(value)
                    for value in table.values[rows, table.explainers.index(explainer), table.metrics.index(metric)]
                )
                for metric in gated
            }
            for explainer in explained
        },
        rank_hashes={explainer: tuple(run.rank_hashes[explainer][row] for row in rows) for explainer in explained},
        photos=tuple(photo_of.tolist()),
    )


def _recommended(path: Path, criterion: str | None = None, margin: float | None = None) -> Recommendation | None:
    """Return the run's recommended patch size by this criterion and margin; None if there is none."""
    from evalkit.analysis.choice.candidates import SWEPT_BY
    from evalkit.store.baseline import Recommendation

    folder = RunFolder.read(path)
    try:
        manifest, results = results_of(folder, criterion=criterion, margin=margin)
    except ConfigError:  # the run lacks the criterion; the gate's cells say so
        return None
    finally:
        folder.close()
    chosen, settings = results.best_patch_size, manifest.settings
    if chosen is None:
        return None
    explainer = next(facts for facts in manifest.explainers if facts.text == chosen.explainer)
    return Recommendation(
        settings.criterion,
        settings.margin,
        chosen.patch_size,
        chosen.stride,
        chosen.decided,
        explainer.name,
        {key: value for key, value in explainer.parameters.items() if key not in SWEPT_BY},
    )


def gate_of(
    path: Path,
    baseline: Baseline,
    *,
    tolerance: str = DEFAULT_TOLERANCE,
    alpha: float = DEFAULT_ALPHA,
    max_lost: float = DEFAULT_MAX_LOST,
    fail_on_inconclusive: bool = False,
    fail_on_map_drift: bool = False,
) -> Gate:
    """Compare a finished run with a baseline.

    Args:
        path: the run folder.
        baseline: the baseline, from ``read_baseline``.
        tolerance: largest accepted worsening; see ``parse_tolerance``.
        alpha: family-wise error rate of "regressed".
        max_lost: largest accepted share of the baseline's scored images that the run did not score.
        fail_on_inconclusive: whether an inconclusive cell makes the exit code 1.
        fail_on_map_drift: whether changed maps make the exit code 1.

    Raises:
        StoreError: the run is not finished or damaged, or the baseline has an unknown metric.
        ConfigError: a tolerance that cannot be read, or for a metric that the baseline lacks.
        NotComparableError: another target or geometry, or no image in common.
    """
    from evalkit.analysis.gate.check import check_against
    from evalkit.analysis.gate.tolerance import parse_alpha, parse_tolerance

    before = baseline.recommended
    for text in baseline.metrics:
        name = parse_spec(text).name
        if ":" not in name and name not in METRICS.names():
            raise StoreError(
                f"the baseline has the metric '{text}', which this version of evalkit does not know; use the version "
                "that wrote it, or write a new baseline: python -m evalkit baseline RUN --output FILE"
            )
    fails_on = {"inconclusive": fail_on_inconclusive, "map drift": fail_on_map_drift}
    return check_against(
        baseline,
        read_run(path),
        tolerance=parse_tolerance(tolerance, list(baseline.metrics)),
        recommended=_recommended(path, before.criterion, before.margin) if before else None,
        alpha=parse_alpha(alpha),
        max_lost=max_lost,
        fails_on=tuple(kind for kind, fails in fails_on.items() if fails),
    )
