"""The options that say where a run is computed: in this process, or by workers on one or several machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Literal

from evalkit.core.errors import ConfigError, MissingPackageError
from evalkit.core.options import Option, read_count_or_auto

__all__ = ["EngineOptions"]

_NO_NUMBER = "it changes no score"
_OF_RAY = ("ray_address", "workers", "gpus_per_worker", "read_on")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where a run is computed; ``RunOptions`` contains these options. None: not given."""

    engine: Annotated[
        Literal["local", "ray"],
        Option(
            "engine",
            "What computes the run: local, this process; or ray, worker processes on this machine or in a Ray cluster "
            "(docs/cluster.md).",
            not_repeated=_NO_NUMBER,
        ),
    ] = "local"
    ray_address: Annotated[
        str | None,
        Option(
            "engine",
            "With --engine ray: the cluster, auto (the one of this machine) or HOST:PORT.",
            default="workers on this machine alone",
            not_repeated=_NO_NUMBER,
        ),
    ] = None
    workers: Annotated[
        int | str | None,
        Option(
            "engine",
            "With --engine ray: number of worker processes, or auto, as many as there is room for.",
            default="auto",
            read=read_count_or_auto,
            not_repeated=_NO_NUMBER,
        ),
    ] = None
    threads_per_worker: Annotated[
        int | None,
        Option(
            "engine",
            "Threads of the model in each worker, or in this process with --engine local. Another number changes the "
            "last digits of scores; a resumed run keeps its own.",
            default="1 with --engine ray; else one for each core",
            at_least=1,
            not_repeated="it depends on the cores of the machine",
        ),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        Option(
            "engine",
            "With --engine ray: GPUs of each worker; 0.5 lets two share one.",
            default="0",
            at_least=0,
            not_repeated=_NO_NUMBER,
        ),
    ] = None
    read_on: Annotated[
        Literal["driver", "workers"] | None,
        Option(
            "engine",
            "With --engine ray: who reads the photos. driver sends them to the workers, fitted to the model's input; "
            "workers read them by their paths, which must be the same on every machine.",
            default="driver",
            not_repeated=_NO_NUMBER,
        ),
    ] = None

    def require_engine(self) -> None:
        """Check the options before anything is loaded.

        Raises:
            ConfigError: an option that has no effect or is not allowed.
            MissingPackageError: Ray is not installed.
        """
        if self.engine == "ray":
            if not math.isfinite(self.gpus_per_worker or 0):
                raise ConfigError(
                    f"--gpus-per-worker {self.gpus_per_worker} is not allowed; write for example 1 or 0.5"
                )
            if find_spec("ray") is None:
                raise MissingPackageError(
                    "--engine ray needs Ray, which is not installed: pip install 'evalkit-saliency[ray]', on every "
                    "machine; or leave --engine out"
                )
            return
        for name in _OF_RAY:
            value = getattr(self, name)
            if value is not None:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} {value} has no effect with --engine local; add --engine ray or leave it out")
