"""``audit``: which metrics of a finished run can be trusted."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.console import color_wanted, print_result, terminal_width
from evalkit.report.formats import OutputFormat

__all__ = ["audit"]


def audit(
    run_folder: Path,
    /,
    *,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
) -> None:
    """Say which metrics of a run can be trusted on its model and images: blind, biased, noisy or reliable.

    From the stored scores: would other images give the same order of explainers, do the metrics agree with each other,
    and what do controls score against chance? It advises which metric to use as `--criterion`.

    Args:
        run_folder: Folder that `run` or `score` has written.
        format: Output format.
    """
    from evalkit.analysis.audit.service import audit_of
    from evalkit.report import render_audit
    from evalkit.store.run_folder import RunFolder

    folder = RunFolder.read(run_folder)
    try:
        manifest, result = audit_of(folder)
    finally:
        folder.close()
    print_result(render_audit(manifest, result, format, width=terminal_width(), color=color_wanted()))
