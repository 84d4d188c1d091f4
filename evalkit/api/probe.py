"""Probing a finished run: its maps are changed in known ways, and its metrics score them with the model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
from rich.console import Console

from evalkit.analysis.audit.probed import explainers_to_probe
from evalkit.analysis.audit.results import PROBES
from evalkit.analysis.load import finished_manifest, metrics_of, read_run
from evalkit.analysis.shards import require_whole
from evalkit.core.errors import ConfigError
from evalkit.metrics.spec import Metric
from evalkit.report.rerun import rerun_values
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

__all__ = ["N_PROBE_IMAGES", "probe_run"]

N_PROBE_IMAGES = 24
"""The number of images that are probed, unless told otherwise."""


def probe_run(
    path: Path,
    console: Console,
    say: Callable[[str], None],
    *,
    explainers: str | None = None,
    n_images: int = N_PROBE_IMAGES,
) -> None:
    """Compute what a run's probes lack; they are a run in the folder ``probes`` inside the run folder.

    Args:
        path: the run folder.
        console: shows progress.
        say: a function that prints one sentence on stderr.
        explainers: texts of explainers of the run, separated by commas; None = the best of each family.
        n_images: the largest number of images.

    Raises:
        StoreError: the run is not finished or damaged, or the folder cannot be written.
        ConfigError: a value that is not allowed, or a run that cannot be probed.
    """
    from evalkit.api.evaluate import run_plan
    from evalkit.harness.probing import probe_plan

    if n_images < 1:
        raise ConfigError(f"--probe-images {n_images} is not allowed; 1 or more")
    folder = RunFolder.read(path)
    try:
        manifest = finished_manifest(folder)
        require_whole(manifest, "--probe")
        _require_sources(path, "model" in manifest.files, bool(manifest.data.source))
        run = read_run(path)
        chosen = explainers_to_probe(run, _ordering(manifest), explainers)
        say(f"probed are the maps of {', '.join(chosen)}")
        plan = probe_plan(folder, manifest, rerun_values(manifest), chosen, n_images, say)
    finally:
        folder.close()
    probed, _ = run_plan(plan, path / PROBES, fresh=False, console=console)
    if (manifest.finished or "") > (probed.finished or ""):
        # Nothing was missing, so the probes are of the run as it is now.
        with closing(RunFolder.write(path / PROBES)) as probes:
            probes.write_manifest(msgspec.structs.replace(probed, finished=manifest.finished))


def _ordering(manifest: Manifest) -> Metric | None:
    """Return the metric that says which explainers are best: the criterion, else the first that can; None = none."""
    usable = [metric for metric in metrics_of(manifest) if metric.decides]
    return next((metric for metric in usable if metric.text == manifest.settings.criterion), next(iter(usable), None))


def _require_sources(path: Path, has_model: bool, has_images: bool) -> None:
    if has_model and has_images:
        return
    what = " and ".join(name for name, known in (("model", has_model), ("images", has_images)) if not known)
    raise ConfigError(
        f"--probe: {what} of '{path}' came from Python and cannot be opened again; save them and repeat the run with "
        "--model and --data"
    )
