"""``assert_no_regression``: the regression gate in a test suite."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.analysis.service import gate_of
from evalkit.core.options import described
from evalkit.core.settings import DEFAULT_ALPHA, DEFAULT_MAX_LOST, DEFAULT_TOLERANCE, OPTIONS
from evalkit.report import render_gate
from evalkit.store.baseline import read_baseline

if TYPE_CHECKING:
    from evalkit.analysis.gate.results import Gate
    from evalkit.api.run import Run

__all__ = ["assert_no_regression"]

_WIDTH = 100


@described(OPTIONS)
def assert_no_regression(
    run: Run | str | PathLike[str],
    baseline: str | PathLike[str],
    *,
    tolerance: str | float = DEFAULT_TOLERANCE,
    alpha: float = DEFAULT_ALPHA,
    max_lost: str | float = DEFAULT_MAX_LOST,
    fail_on_inconclusive: bool = False,
    fail_on_map_drift: bool = False,
) -> Gate:
    """Fail unless ``python -m evalkit check`` would pass.

    Args:
        run: a run of ``evalkit.evaluate`` or ``evalkit.open_run``, or a run folder.
        baseline: a file that ``python -m evalkit baseline`` wrote.
        tolerance: {tolerance}
        alpha: {alpha}
        max_lost: {max_lost}
        fail_on_inconclusive: {fail_on_inconclusive}
        fail_on_map_drift: {fail_on_map_drift}

    Returns:
        All verdicts, for further assertions.

    Raises:
        AssertionError: explanations got worse, or something is not comparable; the message is what ``check`` prints.
        EvalkitError: the run or the baseline cannot be used.
    """
    __tracebackhide__ = True
    path = Path(run.path if hasattr(run, "path") else run)
    gate = gate_of(
        path,
        read_baseline(Path(baseline)),
        tolerance=str(tolerance),
        alpha=float(alpha),
        max_lost=OPTIONS["max_lost"].parsed(max_lost),
        fail_on_inconclusive=fail_on_inconclusive,
        fail_on_map_drift=fail_on_map_drift,
    )
    if gate.exit_code:
        raise AssertionError(f"{path} against {baseline}:\n{render_gate(gate, 'table', width=_WIDTH, color=False)}")
    return gate
