"""The local executor: one worker in this process, which scores one photo while the model runs on the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from evalkit.harness.engine.algebra import one_algebra_thread
from evalkit.harness.engine.jobs import Advance, Job, Outcome
from evalkit.harness.engine.worker import Worker
from evalkit.harness.planning.recipe import WorkRecipe

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Does jobs in this process, in their order.

    The model runs in the calling thread. Metrics, which need no model, score its answers in one other thread meanwhile;
    the results are the same as one after another, because each photo has its own data.

    Attributes:
        in_turn: True: a job begins when the one before needs no more passes.

    Args:
        recipe: the model, images, explainers and metrics of the jobs.
    """

    in_turn = True

    def __init__(self, recipe: WorkRecipe) -> None:
        """See the class."""
        self._worker = Worker(recipe)

    def outcomes(self, jobs: Iterable[Job], advance: Advance) -> Iterator[Outcome]:
        """Yield an outcome for every job, in order; that of a job when the next one no longer needs the model.

        If a job ends with an error or Ctrl-C, the outcomes of those before it are yielded first.
        """
        scored: deque[Future[Outcome]] = deque()
        with one_algebra_thread(), ThreadPoolExecutor(1, thread_name_prefix="scores") as thread:
            try:
                for job in jobs:
                    scored.append(thread.submit(self._worker.begin(job, advance)))
                    if len(scored) > 1:
                        outcome = scored[0].result()
                        scored.popleft()
                        yield outcome
            except GeneratorExit:
                raise
            except BaseException:
                yield from (future.result() for future in scored)
                raise
            yield from (future.result() for future in scored)

    def passes(self) -> int:
        """Return the number of forward passes so far."""
        return self._worker.classifier.count.forward

    def status(self) -> str:
        """Return nothing: progress is shown step by step."""
        return ""

    def notes(self) -> list[str]:
        """Return nothing: this process is all there is."""
        return []
