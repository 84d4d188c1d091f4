"""``baseline`` and ``check``: the gate that fails when explanations get worse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evalkit.cli.console import color_wanted, print_result, stderr_console, terminal_width
from evalkit.cli.gating import Gating
from evalkit.core.settings import DEFAULT_ALPHA, DEFAULT_TOLERANCE
from evalkit.report.formats import OutputFormat

__all__ = ["baseline", "check"]


def baseline(run_folder: Path, /, *, output: Path, metrics: str | None = None) -> None:
    """Write what a run scored into a small file to commit, for `check` to hold later runs against.

    Parameters
    ----------
    run_folder
        Made by `run`.
    output
        The file.
    metrics
        The gated ones. [default: symmetric_relevance_gain,insertion,energy_pointing_game, as far as the run has them]
    """
    from evalkit.analysis.service import baseline_of
    from evalkit.store.baseline import write_baseline
    from evalkit.store.run_folder import require_outside_runs

    require_outside_runs(output)
    made = baseline_of(run_folder, metrics)
    write_baseline(output, made)
    stderr_console().print(
        f"{output}: {len(made.images)} images, {len(made.explainers)} explainers, {', '.join(made.metrics)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def check(
    run_folder: Path,
    /,
    *,
    baseline: Path,
    tolerance: str = DEFAULT_TOLERANCE,
    alpha: float = DEFAULT_ALPHA,
    fail_on_inconclusive: Annotated[bool, Parameter(negative="")] = False,
    fail_on_map_drift: Annotated[bool, Parameter(negative="")] = False,
    junit: Path | None = None,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
) -> None:
    """Hold a run against a baseline: exit 0 fine, 1 explanations got worse, 3 something is not comparable.

    Explainers whose maps changed are named whatever the scores say. Inside a GitHub workflow it writes annotations and
    the step's summary as well.

    Parameters
    ----------
    run_folder
        Made by `run`, on the baseline's images.
    baseline
        Written by `baseline`.
    tolerance
        How much worse a mean may be: 0.02, 5% (of the baseline's mean), or by metric: deletion=0.02,insertion=5%.
    alpha
        The chance that a run that is no worse fails, over all comparisons.
    fail_on_inconclusive
        Exit 1 as well where the images do not suffice to say.
    fail_on_map_drift
        Exit 1 as well where an explainer's maps changed, whatever the scores.
    junit
        Write the verdicts to this file as JUnit XML.
    format
        How to print the result.
    """
    from evalkit.report import render_gate
    from evalkit.store.baseline import read_baseline

    gating = Gating(
        baseline,
        read_baseline(baseline),
        tolerance=tolerance,
        alpha=alpha,
        fail_on_inconclusive=fail_on_inconclusive,
        fail_on_map_drift=fail_on_map_drift,
        junit=junit,
    )
    gate = gating.gate_of(run_folder)
    print_result(render_gate(gate, format, width=terminal_width(), color=color_wanted()))
    if gate.exit_code:
        sys.exit(gate.exit_code)
