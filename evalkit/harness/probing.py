"""Probes of a finished run: its maps, changed in known ways, are scored by its metrics in a run folder of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.core.errors import ConfigError
from evalkit.core.kept_maps import read_kept_maps
from evalkit.core.settings import OPTIONS, merge
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.base import Explainer
from evalkit.explainers.probes import CHANGES, NOISE_DOSES, DegradedMap, KnownMap
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.prepare import prepare
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.requirements import needs_of
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import Manifest
from evalkit.store.maps import SavedMap
from evalkit.store.run_folder import RunFolder

__all__ = ["probe_plan", "probed_metrics", "truth_is_known"]

_OWN = ("explainers", "metrics", "criterion", "patch_sizes", "strides", "limit", "output", "keep_maps")


def probe_plan(
    folder: RunFolder,
    manifest: Manifest,
    values: Mapping[str, object],
    explainers: Sequence[str],
    n_images: int,
    say: Callable[[str], None],
) -> Plan:
    """Plan the probes of a run: the same model, images and metrics; changed maps in place of explainers.

    Args:
        folder: the run folder, open for reading.
        manifest: its manifest.
        values: the options that made the run, by name.
        explainers: the texts of the explainers whose maps are changed.
        n_images: the largest number of images, drawn as ``--limit`` draws them.
        say: a function that prints one sentence on stderr.

    Raises:
        ConfigError: no metric of the run can be probed, or the model is not the run's any more.
        EvalkitError: model or images cannot be opened.
    """
    metrics = probed_metrics(manifest)
    if not metrics:
        raise ConfigError(
            f"--probe: none of the metrics of '{folder.path}' can score a changed map; add one, for example "
            "symmetric_relevance_gain, to the run"
        )
    kept = read_kept_maps("keep_maps", manifest.settings.keep_maps)
    if kept.half or kept.most == 0:
        raise ConfigError(
            f"--probe: '{folder.path}' has no exact maps to change (keep_maps is {kept}); repeat the run with "
            "--keep-maps all --fresh"
        )
    if kept.most is not None:
        say(f"only the first {kept.most} images have maps (keep_maps is {kept}); probes of others are not scored")
    limit = n_images if manifest.settings.limit is None else min(n_images, manifest.settings.limit)
    own = {name: value for name, value in values.items() if name in OPTIONS and name not in _OWN}
    options = merge(own, {"explainers": "uniform", "metrics": [metric.text for metric in metrics], "limit": limit})
    plan = prepare(options, say)
    if plan.classifier.fingerprint != manifest.model.fingerprint:
        raise ConfigError(
            f"--probe: model '{plan.classifier.name}' is not the one of '{folder.path}' any more; repeat the run first"
        )
    probes: list[Explainer] = _degraded(folder, explainers, manifest.settings.seed)
    if truth_is_known(plan.images):
        probes += [KnownMap(dose, manifest.settings.seed) for dose in (0.0, *NOISE_DOSES)]
    return replace(plan, explainers=probes)


def truth_is_known(images: ImageSet) -> bool:
    """Return whether the object is the only evidence for its class on every image: scenes without a shortcut."""
    return images.kind == "scenes" and not any(entry.has_cue for entry in images.entries)


def probed_metrics(manifest: Manifest) -> list[Metric]:
    """Return the metrics of a run that have a better end and score one map of one image without explaining again."""
    metrics = [METRICS.build(text, steps=manifest.settings.steps) for text in manifest.metrics]
    return [metric for metric in metrics if metric.decides and {"maps", "models"}.isdisjoint(needs_of(metric))]


def _degraded(folder: RunFolder, explainers: Sequence[str], seed: int) -> list[Explainer]:
    rows = folder.database.planned_images()
    photos = {row.image_id: row.sha256 for row in rows}
    files: dict[str, dict[str, SavedMap]] = {text: {} for text in explainers}
    for row in rows:
        maps = folder.database.maps_of(row.image_id)
        for text in explainers:
            if text in maps:
                saved = maps[text]
                files[text][row.image_id] = SavedMap(saved.file, saved.sha256, saved.size_bytes)
    root = Path(folder.path)
    return [
        DegradedMap(text, change, dose, root, files[text], photos, seed)
        for text in explainers
        for change, dose in CHANGES
    ]
