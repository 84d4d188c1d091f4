"""A worker process: computes jobs that it is sent. Imports Ray never, and TensorFlow only when its threads are set."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.errors import EvalkitError
from evalkit.core.native import quiet_native_code
from evalkit.harness.engine.worker_facts import WorkerFacts, facts_here, require_same_versions

if TYPE_CHECKING:
    from evalkit.harness.engine.jobs import Job, Outcome
    from evalkit.harness.engine.worker import Worker

__all__ = ["Done", "RemoteWorker"]


@dataclass(frozen=True, eq=False)
class Done:
    """A job that was done.

    Attributes:
        outcome: its results, or the error that prevents all further jobs.
        seconds: its wall time.
    """

    outcome: Outcome | EvalkitError
    seconds: float


class RemoteWorker:
    """Computes jobs, one after another.

    Args:
        driver: the facts of the process that plans the run.
        packed: the recipe of the run, pickled.
        threads: the threads of one operation.
    """

    def __init__(self, driver: WorkerFacts, packed: bytes, threads: int) -> None:
        """See the class. Nothing is loaded until ``greet``, so that every error is an answer."""
        self._driver, self._packed, self._threads = driver, packed, threads
        self._worker: Worker | None = None

    def greet(self) -> WorkerFacts | EvalkitError:
        """Load the model if it is not loaded, and return the facts of this process, or why it cannot take part."""
        facts = facts_here()
        try:
            require_same_versions(self._driver, facts)
            worker = self._worker or self._loaded()
        except EvalkitError as error:
            return error
        self._worker = worker
        return replace(facts, threads=self._threads, difference=self._difference)

    def do(self, job: Job) -> Done:
        """Do one job."""
        assert self._worker is not None  # noqa: S101 - greet comes first
        start = perf_counter()
        try:
            outcome: Outcome | EvalkitError = self._worker.do(job)
        except EvalkitError as error:
            outcome = error
        return Done(outcome, perf_counter() - start)

    def _loaded(self) -> Worker:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet_native_code():
            from evalkit.models.environment import require_keras

            require_keras()
        from evalkit.models.threads import use_threads

        use_threads(self._threads)
        from evalkit.harness.engine.algebra import one_algebra_thread
        from evalkit.harness.engine.worker import Worker

        one_algebra_thread().__enter__()  # as long as the process lives
        recipe = pickle.loads(self._packed)  # noqa: S301 - the driver of this job sent it
        worker = Worker(recipe)
        self._difference = float(np.nanmax(np.abs(worker.classifier.probe_logits - recipe.model.probes), initial=0.0))
        self._packed = b""
        return worker
