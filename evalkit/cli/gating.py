"""What ``run --baseline`` and ``check`` do alike: read the baseline first, and say the verdicts everywhere."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.config import DEFAULT_ALPHA, DEFAULT_TOLERANCE, RunOptions
from evalkit.errors import ConfigError, EvalkitError

if TYPE_CHECKING:
    from evalkit.analysis.verdicts import Gate
    from evalkit.store.baseline import Baseline

__all__ = ["Gating", "gating_of"]


@dataclass(frozen=True, eq=False)
class Gating:
    """A baseline, and how a run is held against it.

    Attributes:
        baseline: what it is held against.
        tolerance: see ``parse_tolerance``.
        alpha: family-wise error of "regressed".
        fail_on_inconclusive: an inconclusive cell makes the exit code 1.
        fail_on_map_drift: maps that changed make the exit code 1.
        junit: where JUnit XML goes; None = nowhere.
    """

    baseline: Baseline
    tolerance: str
    alpha: float
    fail_on_inconclusive: bool
    fail_on_map_drift: bool
    junit: Path | None

    def __post_init__(self) -> None:
        """Check every option before hours are spent.

        Raises:
            ConfigError: an option is not allowed.
        """
        from evalkit.analysis.tolerance import parse_alpha, parse_tolerance

        parse_tolerance(self.tolerance, list(self.baseline.metrics))
        parse_alpha(self.alpha)
        junit = self.junit
        if junit is not None and (junit.is_dir() or not junit.absolute().parent.is_dir()):
            raise ConfigError(f"--junit '{junit}' cannot be written: name a file in a folder that exists")

    @property
    def precision(self) -> str | None:
        """The baseline's precision, where it is one that a run can be asked for."""
        precision = self.baseline.model.precision
        return precision if precision in ("float32", "bfloat16") else None

    def require_comparable(self, target: str, geometry: str) -> None:
        """Raise NotComparableError if a run with this target and geometry cannot be held against the baseline."""
        from evalkit.analysis.gate import require_comparable

        require_comparable(self.baseline, target, geometry)

    def gate_of(self, run_folder: Path) -> Gate:
        """Hold a finished run against the baseline."""
        from evalkit.analysis.stored import gate_of

        return gate_of(
            run_folder,
            self.baseline,
            tolerance=self.tolerance,
            alpha=self.alpha,
            fail_on_inconclusive=self.fail_on_inconclusive,
            fail_on_map_drift=self.fail_on_map_drift,
        )

    def tell(self, gate: Gate) -> None:
        """Write JUnit XML where asked, and annotations and the step's summary inside a GitHub workflow.

        Raises:
            EvalkitError: a file cannot be written.
        """
        from evalkit.report import render_junit

        if self.junit is not None:
            _write(self.junit, render_junit(gate), "--junit", "w")
        if os.environ.get("GITHUB_ACTIONS") == "true":
            from evalkit.report.github import step_summary, workflow_commands

            # GitHub reads commands from both streams; stdout is the result.
            sys.stderr.write(workflow_commands(gate))
            sys.stderr.flush()
            summary = os.environ.get("GITHUB_STEP_SUMMARY")
            if summary:
                _write(Path(summary), step_summary(gate), "GITHUB_STEP_SUMMARY", "a")


def gating_of(options: RunOptions) -> Gating | None:
    """Return what ``run`` was asked to do with a baseline; None without one.

    Raises:
        StoreError: the baseline cannot be used.
        ConfigError: an option is not allowed, or means nothing without ``--baseline``.
    """
    from evalkit.store.baseline import read_baseline

    if options.baseline is None:
        for key in ("tolerance", "alpha", "fail_on_inconclusive", "fail_on_map_drift", "junit"):
            if getattr(options, key) is not None:
                raise ConfigError(f"--{key.replace('_', '-')} needs --baseline FILE; add it, or leave both out")
        return None
    return Gating(
        read_baseline(Path(options.baseline)),
        tolerance=DEFAULT_TOLERANCE if options.tolerance is None else str(options.tolerance),
        alpha=DEFAULT_ALPHA if options.alpha is None else options.alpha,
        fail_on_inconclusive=bool(options.fail_on_inconclusive),
        fail_on_map_drift=bool(options.fail_on_map_drift),
        junit=Path(options.junit) if options.junit else None,
    )


def _write(path: Path, text: str, what: str, mode: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise EvalkitError(f"{what} '{path}' cannot be written: {error.strerror}; name another file") from error
