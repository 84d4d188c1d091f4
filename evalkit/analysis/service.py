"""The analysis of a run folder: taken from the folder where it is still true, else made and kept there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evalkit.analysis.load import finished_manifest, metrics_of, read_run, table_of
from evalkit.analysis.results import ANALYSIS_VERSION, Results
from evalkit.core.errors import ConfigError, StoreError
from evalkit.core.registry import split_specs
from evalkit.core.settings import DEFAULT_ALPHA, DEFAULT_TOLERANCE
from evalkit.metrics.catalog import METRICS, find_criterion, find_metric
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

if TYPE_CHECKING:
    from evalkit.analysis.verdicts import Comparison, Gate
    from evalkit.store.baseline import Baseline, Recommendation

__all__ = ["baseline_of", "comparison_of", "gate_of", "results_of"]

_GATED = ("symmetric_relevance_gain", "insertion", "energy_pointing_game")


def results_of(
    folder: RunFolder, *, criterion: str | None = None, margin: float | None = None
) -> tuple[Manifest, Results]:
    """Return the manifest and the analysis of a run.

    Args:
        folder: open to look.
        criterion: the metric that decides the patch size, instead of the run's own.
        margin: the loss of it that is accepted, instead of the run's own.

    Raises:
        StoreError: the run is not finished, or damaged.
        ConfigError: the criterion is not among the run's metrics, or has no score an image.
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

    with folder.database.snapshot():
        key, table = folder.analysis_key(ANALYSIS_VERSION), table_of(folder, manifest)
    results = analyse(
        table,
        metrics,
        manifest.explainers,
        seed=own.seed,
        criterion=settings.criterion,
        margin=settings.margin,
    )
    if settings == own:
        with contextlib.suppress(OSError):  # a run that may only be read is analysed each time
            folder.write_analysis(results, key)
    return msgspec.structs.replace(manifest, settings=settings), results


def comparison_of(paths: Sequence[Path]) -> Comparison:
    """Compare finished runs; the first is what the others are held against.

    Raises:
        StoreError: a run is not finished, or damaged.
        NotComparableError: nothing in them can be compared; the setting that differs is named.
    """
    from evalkit.analysis.compare_runs import compare_runs

    runs = [read_run(path) for path in paths]
    return compare_runs(runs, metrics_of(runs[0].manifest), seed=runs[0].manifest.settings.seed)


def baseline_of(path: Path, metrics: str | None = None) -> Baseline:
    """Return what a finished run scored, for the gate.

    Args:
        path: the run folder.
        metrics: texts or names, separated by commas; None = the gain, insertion and the energy pointing game, as far as
            the run has them.

    Raises:
        StoreError: the run is not finished, or damaged.
        ConfigError: a metric that the run has not, or that scores the set as a whole.
    """
    import numpy as np

    from evalkit.store.baseline import BASELINE_VERSION, Baseline, BaselineModel
    from evalkit.store.identity import image_keys

    run = read_run(path)
    manifest, table, keys = run.manifest, run.table, image_keys(run.images)
    known = metrics_of(manifest)
    wanted = split_specs(metrics) if metrics else [one.text for one in known if one.name in _GATED]
    if not wanted:
        raise ConfigError(f"--metrics is missing: the run has none of {', '.join(_GATED)}; name one of its own metrics")
    gated = list(dict.fromkeys(find_metric(one, known, "--metrics").text for one in wanted))
    explained = [one.text for one in manifest.explainers if not one.control]
    columns = [table.explainers.index(text) for text in explained]
    scored = [np.isfinite(table.values[:, columns, table.metrics.index(text)]).sum(axis=0) for text in gated]
    empty = [text for text, counts in zip(gated, scored, strict=True) if max(counts, default=0) < 2]
    if empty and (metrics or empty == gated):
        raise ConfigError(f"--metrics: {empty[0]} scored fewer than two images in '{path}'; there is nothing to gate")
    gated = [text for text in gated if text not in empty]
    if not explained:
        raise ConfigError(f"'{path}' holds controls only; a baseline needs an explainer")
    rows = list(keys.values())
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
    )


def _recommended(path: Path, criterion: str | None = None, margin: float | None = None) -> Recommendation | None:
    """Return the run's patch size, by its own criterion and margin or by these; None if it has none by them."""
    from evalkit.store.baseline import Recommendation

    folder = RunFolder.read(path)
    try:
        manifest, results = results_of(folder, criterion=criterion, margin=margin)
    except ConfigError:  # the run lacks the metric, which the gate says of its scores
        return None
    finally:
        folder.close()
    chosen, settings = results.best_patch_size, manifest.settings
    if chosen is None:
        return None
    return Recommendation(settings.criterion, settings.margin, chosen.patch_size, chosen.stride, chosen.decided)


def gate_of(
    path: Path,
    baseline: Baseline,
    *,
    tolerance: str = DEFAULT_TOLERANCE,
    alpha: float = DEFAULT_ALPHA,
    fail_on_inconclusive: bool = False,
    fail_on_map_drift: bool = False,
) -> Gate:
    """Hold a finished run against a baseline.

    Args:
        path: the run folder.
        baseline: from ``read_baseline``.
        tolerance: see ``parse_tolerance``.
        alpha: family-wise error of "regressed".
        fail_on_inconclusive: an inconclusive cell makes the exit code 1.
        fail_on_map_drift: maps that changed make the exit code 1.

    Raises:
        StoreError: the run is not finished, or damaged.
        ConfigError: a tolerance that cannot be read, or of a metric that the baseline has not.
        NotComparableError: another target or geometry, or no image in common.
    """
    from evalkit.analysis.gate.check import hold_against
    from evalkit.analysis.gate.tolerance import parse_alpha, parse_tolerance

    was = baseline.recommended
    for text in baseline.metrics:
        if text.partition("(")[0] not in METRICS.names():
            raise StoreError(
                f"the baseline holds the metric '{text}', which this evalkit does not know; use the evalkit that wrote "
                "it, or write it anew: python -m evalkit baseline RUN --output FILE"
            )
    return hold_against(
        baseline,
        read_run(path),
        tolerance=parse_tolerance(tolerance, list(baseline.metrics)),
        recommended=_recommended(path, was.criterion, was.margin) if was else None,
        alpha=parse_alpha(alpha),
        fail_on_inconclusive=fail_on_inconclusive,
        fail_on_map_drift=fail_on_map_drift,
    )
