"""What an executor is: something that does jobs, here or elsewhere, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from evalkit.harness.engine.jobs import Job, Outcome
from evalkit.harness.engine.worker import Advance

__all__ = ["Executor"]


class Executor(Protocol):
    """Does jobs; the driver commits what comes back."""

    def outcomes(self, jobs: Iterable[Job], advance: Advance) -> Iterator[Outcome]:
        """Yield an outcome for every job, in any order.

        Args:
            jobs: taken one by one, so that stored maps are loaded only when their job begins.
            advance: called with what is being done and how many passes more it took, as far as this is known before a
                job ends.

        Raises:
            EvalkitError: the jobs as a whole cannot go on.
        """

    def passes(self) -> int:
        """Return how many forward passes were made so far, for the progress bar."""
