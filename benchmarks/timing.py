"""Ratios of times of two ways of doing one thing, run in turns in one process."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from evalkit.core.provenance import DISTRIBUTION

__all__ = ["Ratio", "machine", "ratio"]


@dataclass(frozen=True)
class Ratio:
    """The ratio of the times of two ways.

    Attributes:
        what: the job.
        slow: the reference way.
        fast: evalkit's way.
        slow_seconds: the median of the reference, in seconds.
        fast_seconds: the median of evalkit, in seconds.
        repeats: the number of turns.
        note: another observation.
    """

    what: str
    slow: str
    fast: str
    slow_seconds: float
    fast_seconds: float
    repeats: int
    note: str = ""

    @property
    def times(self) -> float:
        """The ratio of the medians."""
        return self.slow_seconds / self.fast_seconds

    def as_dict(self) -> dict[str, object]:
        """Return all fields and the ratio, for JSON."""
        return {**asdict(self), "times": self.times}


def ratio(
    what: str,
    slow: tuple[str, Callable[[], object]],
    fast: tuple[str, Callable[[], object]],
    repeats: int,
    note: str = "",
) -> Ratio:
    """Run both ways once to warm up, then in turns, and compare the medians."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for seconds, (_, run) in zip(times, (slow, fast), strict=True):
            start = perf_counter()
            run()
            if turn:
                seconds.append(perf_counter() - start)
    return Ratio(what, slow[0], fast[0], *map(statistics.median, times), repeats, note)


def machine() -> dict[str, str]:
    """Return the date, the processor and the versions."""
    import os

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in pairs}
    flags = facts.get("flags", "").split()
    return {
        "date": date.today().isoformat(),  # noqa: DTZ011 - the day where it was run
        "processor": facts.get("model name", platform.processor()),
        "cores": str(os.cpu_count()),
        "bfloat16 units": " ".join(flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags) or "none",
        "evalkit": version(DISTRIBUTION),
        **{name: version(name) for name in ("tensorflow", "keras", "numpy", "tf-explain")},
    }
