"""The executor of ``--engine ray``: worker processes on one or several machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from evalkit.core.engine_options import EngineOptions
from evalkit.harness.engine.jobs import Advance, Job, Outcome
from evalkit.harness.engine.pool import ClusterError, WorkerPool
from evalkit.harness.engine.ray_cluster import PICKLER, RayCluster
from evalkit.harness.engine.reading import ReadAhead
from evalkit.harness.engine.shipping import packed
from evalkit.harness.engine.worker_facts import differences, facts_here
from evalkit.harness.planning.recipe import WorkRecipe

__all__ = ["RayExecutor"]

_AHEAD = 3  # photos that are read ahead for each worker


class RayExecutor:
    """Does jobs in worker processes.

    Attributes:
        in_turn: False: several photos at once.

    Args:
        recipe: the model, images, explainers and metrics of the jobs.
        options: the cluster and its workers.
        threads: the threads of one operation in each worker.
        say: a function that prints a sentence.
    """

    in_turn = False

    def __init__(self, recipe: WorkRecipe, options: EngineOptions, threads: int, say: Callable[[str], None]) -> None:
        """See the class."""
        self._recipe, self._options, self._threads, self._say = recipe, options, threads, say
        self._pool: WorkerPool | None = None
        self._passes = 0
        self._driver = facts_here()

    def outcomes(self, jobs: Iterable[Job], advance: Advance) -> Iterator[Outcome]:  # noqa: ARG002 - the protocol's
        """Yield an outcome for every job, in any order.

        Raises:
            ClusterError: the cluster cannot be reached, has no room, or was lost.
            EvalkitError: the model cannot be sent, or a worker met an error that prevents all further jobs.
        """
        options, recipe = self._options, self._recipe
        read_here = options.read_on != "workers"
        data = packed(recipe, PICKLER, read_here=read_here)
        cluster = RayCluster(
            options.ray_address, self._cpus(), self._threads, options.gpus_per_worker or 0.0, self._driver, len(data)
        )
        reading = None
        try:
            count = self._count(cluster)
            cluster.ship(data)
            del data
            self._pool = WorkerPool(cluster, count, self._say)
            reading = ReadAhead(
                jobs, recipe.images if read_here else None, recipe.model.build(), recipe.geometry, _AHEAD * count
            )
            for outcome in self._pool.outcomes(reading):
                self._passes += outcome.forward_passes
                yield outcome
        finally:
            if reading is not None:
                reading.close()
            cluster.close()

    def passes(self) -> int:
        """Return the number of forward passes of the outcomes so far."""
        return self._passes

    def status(self) -> str:
        """Return the number of workers and of those that were replaced."""
        pool = self._pool
        if pool is None:
            return ""
        ready, wanted = pool.n_ready, pool.n_wanted
        count = f"{ready}" if ready == wanted else f"{ready} of {wanted}"
        return f"{count} worker{'s' * (wanted > 1)}" + (f", {pool.restarts} replaced" if pool.restarts else "")

    def notes(self) -> list[str]:
        """Return how much of their time the workers computed, and what differed between them."""
        pool = self._pool
        if pool is None or not pool.facts:
            return []
        hosts = len({facts.host for facts in pool.facts})
        replaced = f", {pool.restarts} of them replaced" if pool.restarts else ""
        where = f" on {hosts} machines" if hosts > 1 else ""
        used = (
            f"{pool.n_wanted} worker{'s' * (pool.n_wanted > 1)} of {self._threads} "
            f"thread{'s' * (self._threads > 1)}{where}{replaced}: they computed {pool.efficiency:.0%} of their time"
        )
        return [used, *differences(self._driver, pool.facts)]

    def _cpus(self) -> int:
        """Return the processors that a Ray of this machine alone offers: as many as the workers take."""
        workers = self._options.workers if isinstance(self._options.workers, int) else 1
        return max(len(os.sched_getaffinity(0)), workers * self._threads)

    def _count(self, cluster: RayCluster) -> int:
        room = cluster.room()
        if isinstance(self._options.workers, int):
            if room < 1:  # a machine may join
                self._say(f"no machine has room for a worker{cluster.why_waiting()}; waiting for one")
            return self._options.workers
        if room < 1:
            raise ClusterError(
                f"--engine ray: no machine has room for a worker{cluster.why_waiting()}; lower --threads-per-worker or "
                "--gpus-per-worker"
            )
        return room
