"""``compare``: the same explainers in several runs, side by side."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.console import color_wanted, print_result, terminal_width
from evalkit.core.errors import ConfigError
from evalkit.report.formats import OutputFormat

__all__ = ["compare"]


def compare(
    *run_folders: Path,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
) -> None:
    """Compare the same explainers across runs: other models, precisions or versions.

    Images are paired by content. Results that were measured with other settings are left out and named; if nothing is
    left, the exit code is 3.

    Args:
        run_folders: Two or more folders that `run` or `score` has written; the others are compared with the first.
        format: Output format.
    """
    if len(run_folders) < 2:
        raise ConfigError(f"compare takes two or more run folders, not {len(run_folders)}")
    from evalkit.analysis.service import comparison_of
    from evalkit.report import render_comparison

    result = comparison_of(run_folders)
    print_result(render_comparison(result, format, width=terminal_width(), color=color_wanted()))
