"""The comparison with a baseline, for ``run --baseline`` and ``check``: read it first, report the verdicts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.core.errors import ConfigError, NotComparableError, StoreError
from evalkit.core.settings import OPTIONS, RunOptions, merge
from evalkit.store.files import write_file

if TYPE_CHECKING:
    from evalkit.analysis.gate.results import Gate
    from evalkit.store.baseline import Baseline

__all__ = ["Gating", "gating_of"]


@dataclass(frozen=True, eq=False)
class Gating:
    """A baseline and the settings of the comparison with it.

    Attributes:
        file: the path of the baseline.
        baseline: its content.
        tolerance: see ``parse_tolerance``.
        alpha: family-wise error of "regressed".
        max_lost: largest accepted share of the baseline's scored images that the run did not score.
        fail_on_inconclusive: an inconclusive cell makes the exit code 1.
        fail_on_map_drift: changed maps make the exit code 1.
        junit: the JUnit XML file to write; None = none.
    """

    file: Path
    baseline: Baseline
    tolerance: str
    alpha: float
    max_lost: float
    fail_on_inconclusive: bool
    fail_on_map_drift: bool
    junit: Path | None

    @classmethod
    def of(cls, options: RunOptions) -> Gating:
        """Read the baseline that the options name.

        Raises:
            StoreError: the baseline cannot be used.
            ConfigError: an option is not allowed.
        """
        from evalkit.store.baseline import read_baseline

        file = Path(options.baseline or "")
        return cls(
            file,
            read_baseline(file),
            tolerance=options.tolerance,
            alpha=options.alpha,
            max_lost=options.max_lost,
            fail_on_inconclusive=options.fail_on_inconclusive,
            fail_on_map_drift=options.fail_on_map_drift,
            junit=Path(options.junit) if options.junit else None,
        )

    def __post_init__(self) -> None:
        """Check every option before anything is computed.

        Raises:
            ConfigError: an option is not allowed.
        """
        from evalkit.analysis.gate.tolerance import parse_alpha, parse_tolerance

        parse_tolerance(self.tolerance, list(self.baseline.metrics))
        parse_alpha(self.alpha)
        if self.junit is not None:
            _require_writable(self.junit)
            if self.junit.absolute() == self.file.absolute():
                raise ConfigError(f"--junit '{self.junit}' is the baseline's own file; name another")

    @property
    def precision(self) -> str | None:
        """The baseline's precision, if ``--precision`` accepts it."""
        precision = self.baseline.model.precision
        return precision if precision in ("float32", "tf32", "bfloat16", "float16") else None

    def require_comparable(self, target: str, geometry: str) -> None:
        """Raise NotComparableError, and report it, if a run with this target and geometry cannot be compared."""
        from evalkit.analysis.gate.check import require_comparable

        with self._refusal_reported():
            require_comparable(self.baseline, target, geometry)

    def gate_of(self, run_folder: Path) -> Gate:
        """Compare a finished run with the baseline, and report the verdicts as JUnit XML and to GitHub.

        Raises:
            NotComparableError: another target or geometry, or no image in common.
        """
        from evalkit.analysis.service import gate_of

        with self._refusal_reported():
            gate = gate_of(
                run_folder,
                self.baseline,
                tolerance=self.tolerance,
                alpha=self.alpha,
                max_lost=self.max_lost,
                fail_on_inconclusive=self.fail_on_inconclusive,
                fail_on_map_drift=self.fail_on_map_drift,
            )
        from evalkit.report.gate.github import step_summary, workflow_commands
        from evalkit.report.gate.junit import render_junit

        self._report(render_junit(gate), workflow_commands(gate), step_summary(gate))
        return gate

    @contextmanager
    def _refusal_reported(self) -> Iterator[None]:
        try:
            yield
        except NotComparableError as error:
            from evalkit.report.gate.github import refused
            from evalkit.report.gate.junit import refused_junit

            self._report(refused_junit(str(error)), refused(str(error)), f"# Not comparable\n\n{error}\n")
            raise

    def _report(self, junit: str, commands: str, summary: str) -> None:
        """Write the JUnit XML file, and annotations and the step's summary inside a GitHub workflow.

        A file that cannot be written is only a warning, so that the exit code remains the verdict's.
        """
        if self.junit is not None:
            try:
                write_file(self.junit, junit.encode("utf-8"), "--junit")
            except StoreError as error:
                sys.stderr.write(f"evalkit: {error}\n")
        if os.environ.get("GITHUB_ACTIONS") == "true":
            sys.stderr.write(commands)  # GitHub reads them from both streams; stdout is the result
            sys.stderr.flush()
            if path := os.environ.get("GITHUB_STEP_SUMMARY"):
                _append(Path(path), summary)


def gating_of(given: Mapping[str, object]) -> Gating | None:
    """Return the comparison with ``--baseline``; None if no baseline is given.

    Args:
        given: the options that were given, by name.

    Raises:
        StoreError: the baseline cannot be used.
        ConfigError: an option is not allowed, has no effect without ``--baseline``, or ``--shard`` is given.
    """
    if given.get("baseline") is not None:
        if given.get("shard") is not None:
            raise ConfigError(
                "--baseline compares the whole set, and --shard computes a part of it; leave out --baseline, and "
                "`check` the merged run"
            )
        return Gating.of(merge(given))
    for name, option in OPTIONS.items():
        if option.needs == "baseline" and given.get(name) is not None:
            raise ConfigError(f"{option.flag} needs --baseline FILE; add it, or leave both out")
    return None


def _require_writable(junit: Path) -> None:
    from evalkit.store.run_folder import require_outside_runs

    require_outside_runs(junit)
    folder = Path(os.path.realpath(junit)).parent
    written = junit if junit.exists() and not junit.is_file() else folder  # a file is replaced, not written into
    if junit.is_dir() or not folder.is_dir() or not os.access(written, os.W_OK):
        raise ConfigError(f"--junit '{junit}' cannot be written: name a file in a folder that exists")


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        sys.stderr.write(f"evalkit: '{path}' cannot be written: {error.strerror}\n")
