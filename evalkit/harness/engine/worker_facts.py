"""What must be the same for all processes that compute one run, and what may differ if it is said."""

from __future__ import annotations

import platform
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from evalkit.core.errors import ConfigError
from evalkit.core.provenance import DISTRIBUTION
from evalkit.core.versions import versions

__all__ = ["WorkerFacts", "differences", "facts_here", "require_same_versions"]

# What TensorFlow and OpenCV choose kernels by, so that last digits differ between processors.
_COUNTED = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")


@dataclass(frozen=True)
class WorkerFacts:
    """One process.

    Attributes:
        host: the name of its machine.
        versions: versions by package name, Python among them.
        processor: the instruction sets of the processor that kernels are chosen by.
        threads: the threads of one operation; 0 = not known yet.
        difference: the largest difference of its logits on the probe images from the driver's; NaN = not compared.
    """

    host: str
    versions: dict[str, str] = field(default_factory=dict)
    processor: tuple[str, ...] = ()
    threads: int = 0
    difference: float = float("nan")


def facts_here() -> WorkerFacts:
    """Return the facts of this process; imports no TensorFlow."""
    return WorkerFacts(socket.gethostname(), {"python": platform.python_version(), **versions()}, _instructions())


def require_same_versions(driver: WorkerFacts, worker: WorkerFacts) -> None:
    """Raise ConfigError if a package that can change a number has another version on a worker.

    Of Python only the first two numbers are compared: pickled functions need these.
    """
    for name in driver.versions:
        here, there = (facts.versions.get(name, "none") for facts in (driver, worker))
        if name == "python":
            here, there = (".".join(text.split(".")[:2]) for text in (here, there))
        if here != there:
            package = {"evalkit": DISTRIBUTION}.get(name, name)
            raise ConfigError(
                f"--engine ray: the worker on '{worker.host}' has {name} {there}, this process {here}; install "
                f"{package} {here} there, or leave that machine out"
            )


def differences(driver: WorkerFacts, workers: Sequence[WorkerFacts]) -> list[str]:
    """Return sentences about what differs between the processes of a run without being refused."""
    sentences = []
    for host in dict.fromkeys(worker.host for worker in workers):
        processors = {worker.processor for worker in workers if worker.host == host} - {driver.processor}
        if processors:
            sentences.append(
                f"the processor of '{host}' has {_named(min(processors))}, this one {_named(driver.processor)}: "
                "scores computed there can differ in their last digits"
            )
    return sentences


def _named(processor: Sequence[str]) -> str:
    return ", ".join(processor) or "no known instruction set"


@cache
def _instructions() -> tuple[str, ...]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    line = next((line for line in text.splitlines() if line.lower().startswith(("flags", "features"))), "")
    flags = set(line.split())
    return tuple(name for name in _COUNTED if name in flags)
