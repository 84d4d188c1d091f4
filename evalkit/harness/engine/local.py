"""The local executor: one worker in this process, one job after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evalkit.harness.engine.jobs import Job, Outcome
from evalkit.harness.engine.worker import Advance, Worker
from evalkit.harness.planning.recipe import WorkRecipe

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Does jobs in this process, in their order.

    Args:
        recipe: the model, images, explainers and metrics of the jobs.
    """

    def __init__(self, recipe: WorkRecipe) -> None:
        """See the class."""
        self._worker = Worker(recipe)

    def outcomes(self, jobs: Iterable[Job], advance: Advance) -> Iterator[Outcome]:
        """Yield an outcome for every job, in order."""
        for job in jobs:
            yield self._worker.do(job, advance)

    def passes(self) -> int:
        """Return the number of forward passes so far."""
        return self._worker.classifier.count.forward
