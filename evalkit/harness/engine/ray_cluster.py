"""Workers as Ray actors, on this machine or in a cluster. The only module that imports Ray."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Any

import ray
import ray.cloudpickle
import ray.exceptions

from evalkit.core.errors import EvalkitError, ModelError
from evalkit.core.imports import first_line
from evalkit.core.native import quiet_native_code
from evalkit.harness.engine.jobs import Job
from evalkit.harness.engine.pool import Answer, ClusterError, Death
from evalkit.harness.engine.quiet_threads import quiet_threads
from evalkit.harness.engine.ray_worker import RemoteWorker
from evalkit.harness.engine.shipping import Pickler
from evalkit.harness.engine.worker_facts import WorkerFacts

__all__ = ["PICKLER", "RayCluster", "room_for"]

PICKLER = Pickler(
    ray.cloudpickle.dumps, ray.cloudpickle.register_pickle_by_value, ray.cloudpickle.unregister_pickle_by_value
)
_HEAD_S = 2.0  # between two looks at the cluster
_LOST_S = 20.0  # without an answer of the head
_END_S = 8.0
_FETCH_S = 60.0  # to bring a result from another machine
_STORE_BYTES = 512 * 1024**2  # for photos and results
_LOST = (
    ray.exceptions.RayActorError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.RaySystemError,
)


class RayCluster:
    """A connection to Ray, and the workers that were started over it.

    Args:
        address: ``auto`` or HOST:PORT; None = workers on this machine alone.
        cpus: the processors that a Ray of this machine alone offers.
        threads: the processors that a worker takes.
        gpus_per_worker: the GPUs that a worker takes.
        driver: the facts of this process.
        run_bytes: the size of the run that is sent, which a Ray of this machine alone must have room for.
        worker: the class of workers; another one only to measure Ray itself.

    Raises:
        ClusterError: the cluster cannot be reached.
    """

    def __init__(
        self,
        address: str | None,
        cpus: int,
        threads: int,
        gpus_per_worker: float,
        driver: WorkerFacts,
        run_bytes: int = 0,
        worker: type = RemoteWorker,
    ) -> None:
        """See the class."""
        self._address, self._threads, self._gpus, self._driver = address, threads, gpus_per_worker, driver
        self._is_ours = not ray.is_initialized()
        self._streams = ExitStack()
        self._streams.enter_context(quiet_threads("ray_"))  # whatever ray.init is told, they print on stdout
        if self._is_ours:
            try:
                _connect(address, cpus, _STORE_BYTES + 2 * run_bytes)
            except BaseException:
                self._streams.close()
                raise
        self._node = ray.get_runtime_context().get_node_id()
        self._worker = worker
        self._workers: dict[int, Any] = {}
        self._starting: dict[int, Future[Any]] = {}
        # Starting and ending a worker needs the head, and such a call never returns when it is lost.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray calls")
        self._calls: dict[Any, int] = {}  # by reference, the worker
        self._next = 0
        self._packed: Any = None
        self._head = _Head(self._node)

    def ship(self, packed: bytes) -> None:
        """Store the recipe of the run, once for all workers."""
        self._packed = ray.put(packed)

    def room(self) -> int:
        """Return how many workers all machines have room for."""
        return sum(room_for(node["Resources"], self._threads, self._gpus) for node in _nodes() if node["Alive"])

    def start(self) -> int:
        """Begin to start a worker, and greet it; return its number."""
        self._next += 1
        self._starting[self._next] = self._thread.submit(self._started)
        return self._next

    def _started(self) -> Any:  # noqa: ANN401 - an actor of Ray
        options = {"num_cpus": self._threads, "num_gpus": self._gpus, "max_restarts": 0, "max_task_retries": 0}
        kind: Any = ray.remote(self._worker).options(**options)
        return kind.remote(self._driver, self._packed, self._threads)

    def greet(self, worker: int) -> None:
        """Let a worker answer with its facts."""
        self._calls[self._workers[worker].greet.remote()] = worker

    def give(self, worker: int, job: Job) -> None:
        """Give a worker a job."""
        self._calls[self._workers[worker].do.remote(job)] = worker

    def stop(self, worker: int) -> None:
        """End a worker; nothing of it arrives any more."""
        self._calls = {call: number for call, number in self._calls.items() if number != worker}
        starting, actor = self._starting.pop(worker, None), self._workers.pop(worker, None)
        if actor is not None:
            self._thread.submit(_kill, actor)
        elif starting is not None and not starting.cancel():
            starting.add_done_callback(lambda done: None if done.exception() else _kill(done.result()))

    def wait(self, seconds: float) -> list[Answer | Death]:
        """Return what arrived, as soon as something did.

        Raises:
            ClusterError: the cluster is lost.
        """
        self._head.require_there()
        for worker in [number for number, starting in self._starting.items() if starting.done()]:
            self._workers[worker] = self._starting.pop(worker).result()
            self.greet(worker)
        if not self._calls:
            sleep(seconds)
            return []
        arrived, _ = ray.wait([*self._calls], num_returns=1, timeout=seconds)
        return [self._event(call) for call in arrived]

    def why_waiting(self) -> str:
        """Return what room workers need and what there is."""
        with contextlib.suppress(Exception):
            free, whole = _resources()
            return (
                f" (a worker needs {_amount(self._threads, self._gpus)}; the cluster has "
                f"{_amount(whole.get('CPU', 0), whole.get('GPU', 0))}, free "
                f"{_amount(free.get('CPU', 0), free.get('GPU', 0))})"
            )
        return ""

    def close(self) -> None:
        """End all workers and the connection, even if the cluster does not answer."""
        with self._streams:
            self._close()

    def _close(self) -> None:
        self._head.close()
        if self._head.is_lost:
            self._thread.shutdown(wait=False, cancel_futures=True)
            _forget_ray()
            return
        for worker in [*self._starting, *self._workers]:
            self.stop(worker)
        ending = threading.Thread(target=self._end, daemon=True)
        ending.start()
        ending.join(_END_S)

    def _end(self) -> None:
        self._thread.shutdown(wait=True)
        if self._is_ours:
            ray.shutdown()

    def _event(self, call: Any) -> Answer | Death:  # noqa: ANN401 - a reference of Ray
        worker = self._calls.pop(call)
        try:
            return Answer(worker, ray.get(call, timeout=_FETCH_S))
        except (*_LOST, ray.exceptions.GetTimeoutError) as error:
            return Death(worker, _reason(error))
        except ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, EvalkitError):
                return Answer(worker, cause)
            return Answer(worker, ModelError(f"a worker failed: {type(cause).__name__}: {first_line(cause or error)}"))


class _Head:
    """Looks at the cluster from a thread, because a call to a lost head never returns."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._answered = monotonic()
        self._here_is_alive = True
        self._is_over = threading.Event()
        threading.Thread(target=self._look, name="ray head", daemon=True).start()

    @property
    def is_lost(self) -> bool:
        return not self._here_is_alive or monotonic() - self._answered > _LOST_S

    def require_there(self) -> None:
        """Raise ClusterError if the head or the Ray of this machine no longer answers."""
        if not self.is_lost:
            return
        what = "the Ray of this machine was lost" if not self._here_is_alive else "the head of the Ray cluster is lost"
        error = ClusterError(
            f"--engine ray: {what}; computed results are kept: start it again, and repeat the command to resume"
        )
        error.ends_process = True  # threads of Ray wait for the head for ever
        raise error

    def close(self) -> None:
        self._is_over.set()

    def _look(self) -> None:
        while not self._is_over.wait(_HEAD_S):
            with contextlib.suppress(Exception):  # not answered
                alive = {node["NodeID"] for node in _nodes() if node["Alive"]}
                self._answered = monotonic()
                self._here_is_alive = self._node in alive


def room_for(resources: dict[str, float], threads: int, gpus: float) -> int:
    """Return how many workers a machine has room for.

    Args:
        resources: what Ray says of the machine, ``CPU`` and ``GPU`` among them.
        threads: the processors that a worker takes.
        gpus: the GPUs that it takes.
    """
    by_cpus = int(resources.get("CPU", 0) // threads)
    if not gpus:
        return by_cpus
    available = resources.get("GPU", 0)
    # A fraction shares one GPU: 0.4 fits twice into each.
    by_gpus = int(available // gpus) if gpus >= 1 else int(available) * int(1 / gpus + 1e-9)
    return min(by_cpus, by_gpus)


def _kill(actor: Any) -> None:  # noqa: ANN401 - an actor of Ray
    with contextlib.suppress(Exception):  # it is dead already
        ray.kill(actor)


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _resources() -> tuple[dict[str, float], dict[str, float]]:
    """Return what is free in the cluster, and all that it has."""
    return ray.available_resources(), ray.cluster_resources()  # type: ignore[no-untyped-call]


def _connect(address: str | None, cpus: int, store_bytes: int) -> None:
    """Start or join Ray; it must not replace the handlers of signals."""
    # "local", because without an address Ray joins a cluster that it finds on this machine.
    local = {"address": "local", "num_cpus": cpus, "object_store_memory": store_bytes}
    started = local if address is None else {"address": address}
    with _same_handlers(), quiet_native_code():
        try:
            ray.init(
                **started,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                namespace="evalkit",
            )
        except Exception as error:
            what = "cannot be started on this machine" if address is None else f"at '{address}' cannot be reached"
            raise ClusterError(
                f"--engine ray: Ray {what} ({type(error).__name__}: {first_line(error)}); "
                "docs/cluster.md says how machines and their token are set up"
            ) from error


@contextlib.contextmanager
def _same_handlers() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:
                signal.signal(number, handler)


def _forget_ray() -> None:
    """Keep Ray from waiting for a lost head when this process ends."""
    import atexit

    with contextlib.suppress(Exception):
        atexit.unregister(sys.modules["ray._private.worker"].shutdown)


def _amount(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'s' * (cpus != 1)}" + (f" and {gpus:g} GPU{'s' * (gpus != 1)}" if gpus else "")


def _reason(error: BaseException) -> str:
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "it used too much memory"
    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return "it did not answer"
    if isinstance(error, ray.exceptions.NodeDiedError) or "node has died" in str(error).lower():
        return "its machine was lost"
    return "its process ended"
