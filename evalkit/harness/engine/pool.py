"""A pool of workers that may die: who gets which job, and what is tried again. Needs a cluster, not Ray itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from evalkit.core.errors import EvalkitError
from evalkit.harness.engine.jobs import Cell, Job, Outcome
from evalkit.harness.engine.ray_worker import Done
from evalkit.harness.engine.worker_facts import WorkerFacts

__all__ = ["Answer", "Cluster", "ClusterError", "Death", "JobQueue", "WorkerPool"]

_IN_FLIGHT = 2  # jobs of a worker: one that it does, one that waits there
_MOST_TRIES = 3
_MOST_FAILED_STARTS = 3  # in a row
_POLL_S = 0.05


class ClusterError(EvalkitError, RuntimeError):
    """The workers cannot be started, or were lost."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a worker returned: its facts to a greeting, a job's results, or an error that ends the run."""

    worker: int
    value: WorkerFacts | Done | EvalkitError


@dataclass(frozen=True)
class Death:
    """A worker that is lost, with all that it was given."""

    worker: int
    reason: str


class Cluster(Protocol):
    """Starts workers and brings their answers."""

    def start(self) -> int:
        """Begin to start a worker, and greet it; return its number at once."""

    def greet(self, worker: int) -> None:
        """Let a worker answer with its facts."""

    def give(self, worker: int, job: Job) -> None:
        """Give a worker a job, which it does after those that it has."""

    def stop(self, worker: int) -> None:
        """End a worker; nothing of it arrives any more."""

    def wait(self, seconds: float) -> list[Answer | Death]:
        """Return what arrived, as soon as something did.

        Raises:
            ClusterError: the cluster is lost.
        """

    def why_waiting(self) -> str:
        """Return why workers that have not answered yet may wait, e.g. that no machine has room; empty if unknown."""


class JobQueue(Protocol):
    """Jobs that are read ahead, see ``ReadAhead``."""

    @property
    def is_over(self) -> bool:
        """Whether every job was taken."""

    def take(self) -> Job | None:
        """Return the next job; None if none is ready."""


@dataclass(eq=False)
class _Task:
    job: Job
    tries: int = 0
    died_at: float = -1.0

    @property
    def is_suspect(self) -> bool:
        return self.died_at >= 0


@dataclass(eq=False)
class _Seat:
    """One worker."""

    number: int
    started_at: float
    ready_at: float = -1.0
    answered_at: float = -1.0
    greeted: int = 1
    tasks: deque[_Task] = field(default_factory=deque)

    @property
    def is_ready(self) -> bool:
        return self.ready_at >= 0


class WorkerPool:
    """Gives jobs to workers, replaces dead ones, and tries their jobs again.

    A worker that dies was doing the first of its jobs. That one counts as tried; it is tried again alone, by a worker
    that answered after the death, because what killed one worker may have killed others too. After three tries its
    cells are not scored. A job is never given to two workers at once, so that it has one outcome.

    Args:
        cluster: starts the workers.
        count: the number of workers.
        say: a function that prints a sentence.
        clock: a function that returns seconds.
        room_s: the time after which the run ends if no worker could be started.
    """

    def __init__(
        self,
        cluster: Cluster,
        count: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = monotonic,
        room_s: float = 120.0,
    ) -> None:
        """See the class."""
        self._cluster, self._count, self._say, self._clock, self._room_s = cluster, count, say, clock, room_s
        self._seats: dict[int, _Seat] = {}
        self._again: deque[_Task] = deque()
        self._failed_starts = 0
        self._began = clock()
        self._busy_s = self._alive_s = 0.0
        self.facts: list[WorkerFacts] = []
        self.restarts = self.done = 0

    def outcomes(self, jobs: JobQueue) -> Iterator[Outcome]:
        """Yield the outcome of every job, in any order.

        Raises:
            ClusterError: no worker can be started, or the cluster is lost.
            EvalkitError: a worker met an error that prevents all further jobs.
        """
        self._began = self._clock()
        while not (jobs.is_over and not self._again and not any(seat.tasks for seat in self._seats.values())):
            self._start_missing()
            self._assign(jobs)
            for event in self._cluster.wait(_POLL_S):
                yield from self._died(event) if isinstance(event, Death) else self._answered(event)
            self._require_some()
        for seat in self._seats.values():
            self._retire(seat)

    @property
    def n_ready(self) -> int:
        """The number of workers that can do jobs."""
        return sum(seat.is_ready for seat in self._seats.values())

    @property
    def n_wanted(self) -> int:
        """The number of workers, ready or not."""
        return self._count

    @property
    def efficiency(self) -> float:
        """The share of their time in which the workers did jobs, 0..1; NaN before one was ready."""
        now = self._clock()
        alive = self._alive_s + sum(now - seat.ready_at for seat in self._seats.values() if seat.is_ready)
        return self._busy_s / alive if alive > 0 else float("nan")

    def _start_missing(self) -> None:
        while len(self._seats) < self._count:
            seat = _Seat(self._cluster.start(), self._clock())
            self._seats[seat.number] = seat

    def _assign(self, jobs: JobQueue) -> None:
        for seat in self._seats.values():
            if not seat.is_ready or (seat.tasks and seat.tasks[0].is_suspect):
                continue
            if self._again and not seat.tasks:
                self._try_again(seat)
                continue
            # A worker that is free is kept for jobs that are tried again, unless others will be free for them.
            while len(seat.tasks) < (1 if self._again else _IN_FLIGHT):
                job = jobs.take()
                if job is None:
                    break
                self._give(seat, _Task(job))

    def _try_again(self, seat: _Seat) -> None:
        """Give a job of a dead worker to one that answered after the death; let it answer first if it did not."""
        task = self._again[0]
        if seat.answered_at > task.died_at:
            self._give(seat, self._again.popleft())
        elif not seat.greeted:
            seat.greeted += 1
            self._cluster.greet(seat.number)

    def _give(self, seat: _Seat, task: _Task) -> None:
        seat.tasks.append(task)
        self._cluster.give(seat.number, task.job)

    def _answered(self, answer: Answer) -> Iterator[Outcome]:
        seat = self._seats.get(answer.worker)
        if seat is None:
            return
        seat.answered_at = self._clock()
        if isinstance(answer.value, EvalkitError):
            raise answer.value
        if isinstance(answer.value, WorkerFacts):
            seat.greeted = 0
            if not seat.is_ready:
                seat.ready_at = seat.answered_at
                self._failed_starts = 0
                self.facts.append(answer.value)
            return
        seat.tasks.popleft()
        self._busy_s += answer.value.seconds
        if isinstance(answer.value.outcome, EvalkitError):
            raise answer.value.outcome
        self.done += 1
        yield answer.value.outcome

    def _died(self, death: Death) -> Iterator[Outcome]:
        seat = self._seats.pop(death.worker, None)
        if seat is None:
            return
        self._cluster.stop(seat.number)
        if not seat.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                self._give_up_a_seat(death)
            return
        self._retire(seat)
        self.restarts += 1
        now = self._clock()
        for position, task in enumerate(seat.tasks):
            task.tries += position == 0
            task.died_at = now
            if task.tries >= _MOST_TRIES:
                yield _not_scored(task, death.reason)
            else:
                self._again.append(task)

    def _give_up_a_seat(self, death: Death) -> None:
        if not self.n_ready:
            raise ClusterError(
                f"--engine ray: {_MOST_FAILED_STARTS} workers died while they started ({death.reason}); results so far "
                "are kept; give them more memory or fewer --workers, and repeat the command to resume"
            )
        self._count = len(self._seats)
        self._failed_starts = 0
        self._say(f"a worker cannot be started ({death.reason}); going on with {self._count}")

    def _require_some(self) -> None:
        """Raise ClusterError if no worker has become ready for long."""
        if self.n_ready or not self._seats:
            return
        waited = self._clock() - max(self._began, *(seat.started_at for seat in self._seats.values()))
        if waited > self._room_s:
            raise ClusterError(
                f"--engine ray: no worker was ready after {waited:.0f} s{self._cluster.why_waiting()}; results so far "
                "are kept; lower --threads-per-worker or --gpus-per-worker, or free the cluster, and repeat the command"
            )

    def _retire(self, seat: _Seat) -> None:
        if seat.is_ready:
            self._alive_s += self._clock() - seat.ready_at
            seat.ready_at = -1.0


def _not_scored(task: _Task, reason: str) -> Outcome:
    """Return the outcome of a job that killed every worker that did it; the next run tries its cells again."""
    job, why = task.job, f"the worker died {task.tries} times on this photo: {reason}"
    cells = [Cell(explainer, metric, reason=why, failed=True) for explainer, metrics in job.cells for metric in metrics]
    return Outcome(
        job.entry.id,
        sha256=job.sha256,
        region_digest=job.region_digest or "",
        cells=tuple(cells),
        lost=tuple(explainer for explainer, _ in job.cells if explainer not in job.stored),
    )
