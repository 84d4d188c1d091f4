"""The gate inside a test suite: ``assert_no_regression``."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.analysis.service import gate_of
from evalkit.core.settings import DEFAULT_ALPHA, DEFAULT_TOLERANCE
from evalkit.report import render_gate
from evalkit.store.baseline import read_baseline

if TYPE_CHECKING:
    from evalkit.analysis.verdicts import Gate
    from evalkit.api.run import Run

__all__ = ["assert_no_regression"]

_WIDTH = 100


def assert_no_regression(
    run: Run | str | PathLike[str],
    baseline: str | PathLike[str],
    *,
    tolerance: str | float = DEFAULT_TOLERANCE,
    alpha: float = DEFAULT_ALPHA,
    fail_on_inconclusive: bool = False,
    fail_on_map_drift: bool = False,
) -> Gate:
    """Fail unless ``python -m evalkit check`` would pass.

    Args:
        run: of ``evalkit.evaluate`` or ``evalkit.open_run``, or a run folder.
        baseline: file that ``python -m evalkit baseline`` wrote.
        tolerance: how much worse a mean may be: 0.02, ``"5%"``, or by metric, ``"deletion=0.02,insertion=5%"``.
        alpha: the chance that a run that is no worse fails, over all comparisons.
        fail_on_inconclusive: fail as well where the images do not suffice to say.
        fail_on_map_drift: fail as well where maps changed, whatever the scores.

    Returns:
        Every verdict, for assertions of your own.

    Raises:
        AssertionError: explanations got worse, or something is not comparable; the message is what ``check`` prints.
        EvalkitError: run or baseline cannot be used.
    """
    __tracebackhide__ = True
    path = Path(run.path if hasattr(run, "path") else run)
    gate = gate_of(
        path,
        read_baseline(Path(baseline)),
        tolerance=str(tolerance),
        alpha=float(alpha),
        fail_on_inconclusive=fail_on_inconclusive,
        fail_on_map_drift=fail_on_map_drift,
    )
    if gate.exit_code:
        raise AssertionError(f"{path} against {baseline}:\n{render_gate(gate, 'table', width=_WIDTH, color=False)}")
    return gate
