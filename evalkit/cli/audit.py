"""``audit``: which metrics of a finished run can be trusted."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.console import color_wanted, print_result, quiet_native_stderr, stderr_console, terminal_width
from evalkit.cli.options import Flag
from evalkit.core.errors import ConfigError
from evalkit.core.names import escaped
from evalkit.models.environment import require_keras
from evalkit.report.formats import OutputFormat

__all__ = ["audit"]


def audit(
    run_folder: Path,
    /,
    *,
    probe: Flag = False,
    probe_explainers: str | None = None,
    probe_images: int | None = None,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
) -> None:
    """Say which metrics of a run can be trusted on its model and images: blind, biased, noisy or reliable.

    From the stored scores: would other images give the same order of explainers, do the metrics agree with each other,
    and what do controls score against chance? It advises which metric to use as `--criterion`. With --probe, changed
    maps are scored with the model: does a metric reward maps that are only blurred, does it see noise, and, on scenes,
    does it find the known order of maps? What is computed is kept in the run folder, and continued like a run.

    Args:
        run_folder: Folder that `run` or `score` has written.
        probe: Score maps that are changed in known ways, with the run's model and images: about ten times the passes
            that scoring one explainer takes, for each explainer probed.
        probe_explainers: Explainers of the run whose maps are changed, separated by commas. Default: the best of each
            family, at most three.
        probe_images: Number of images that are probed, 24 by default.
        format: Output format.
    """
    if probe:
        _probe(run_folder, probe_explainers, probe_images)
    elif probe_explainers is not None or probe_images is not None:
        raise ConfigError("--probe-explainers and --probe-images need --probe; add it")
    from evalkit.analysis.audit.service import audit_of
    from evalkit.analysis.service import results_of
    from evalkit.report import render_audit
    from evalkit.store.run_folder import RunFolder

    folder = RunFolder.read(run_folder)
    try:
        manifest, result = audit_of(folder)
        _, results = results_of(folder)
    finally:
        folder.close()
    width, color = terminal_width(), color_wanted()
    print_result(render_audit(manifest, result, format, width=width, color=color, results=results))


def _probe(run_folder: Path, explainers: str | None, n_images: int | None) -> None:
    console = stderr_console()

    def say(text: str) -> None:
        console.print(escaped(text), markup=False, highlight=False, soft_wrap=True)

    with quiet_native_stderr():
        require_keras()
        from evalkit.api.probe import N_PROBE_IMAGES, probe_run

    n_probed = N_PROBE_IMAGES if n_images is None else n_images
    probe_run(run_folder, console, say, explainers=explainers, n_images=n_probed)
