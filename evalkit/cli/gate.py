"""``baseline`` and ``check``: the gate that fails if explanations got worse."""

from __future__ import annotations

import sys
from pathlib import Path

from evalkit.cli.console import color_wanted, print_result, stderr_console, terminal_width
from evalkit.cli.gating import Gating
from evalkit.cli.options import GATE, takes
from evalkit.core.settings import merge
from evalkit.report.formats import OutputFormat

__all__ = ["baseline", "check"]


def baseline(run_folder: Path, /, *, output: Path, metrics: str | None = None) -> None:
    """Save a baseline file that `check` compares later runs with.

    Args:
        run_folder: Folder that `run` or `score` has written.
        output: The file to write; commit it.
        metrics: Metrics that `check` compares. [default: symmetric_relevance_gain,insertion,energy_pointing_game, if
            the run has them]
    """
    from evalkit.analysis.service import baseline_of
    from evalkit.store.baseline import write_baseline
    from evalkit.store.run_folder import require_outside_runs

    require_outside_runs(output)
    saved = baseline_of(run_folder, metrics)
    write_baseline(output, saved)
    stderr_console().print(
        f"{output}: {saved.n_photos} images, {len(saved.explainers)} explainers, {', '.join(saved.metrics)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@takes(*(name for name in GATE if name != "baseline"))
def check(
    run_folder: Path,
    /,
    *,
    baseline: str,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    **options: object,
) -> None:
    """Compare a run with a baseline: exit 0 if explanations did not get worse, 1 if they did, 3 if not comparable.

    Explainers whose maps changed are always listed. Inside a GitHub workflow it also writes annotations and the step's
    summary.

    Args:
        run_folder: Folder that `run` or `score` has written, with images of the baseline.
        baseline: Baseline file, written by `baseline`.
        format: Output format.
    """
    from evalkit.report import render_gate

    gate = Gating.of(merge({"baseline": baseline}, options)).gate_of(run_folder)
    print_result(render_gate(gate, format, width=terminal_width(), color=color_wanted()))
    if gate.exit_code:
        sys.exit(gate.exit_code)
