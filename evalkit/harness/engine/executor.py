"""The protocol of executors, which do jobs in this process or elsewhere, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from evalkit.harness.engine.jobs import Advance, Job, Outcome

__all__ = ["Executor"]


class Executor(Protocol):
    """Does jobs; the driver commits the outcomes.

    Attributes:
        in_turn: whether jobs are done one after another, so that ``advance`` says how far the present one is; otherwise
            progress is counted by outcomes.
    """

    in_turn: bool

    def outcomes(self, jobs: Iterable[Job], advance: Advance) -> Iterator[Outcome]:
        """Yield an outcome for every job, in any order.

        Args:
            jobs: the jobs, consumed one by one, so that stored maps are loaded only when their job begins.
            advance: a function of the current step and its number of passes, as far as known before a job ends.

        Raises:
            EvalkitError: an error that prevents all further jobs.
        """

    def passes(self) -> int:
        """Return the number of forward passes so far, for the progress bar."""

    def status(self) -> str:
        """Return who computes at present, e.g. ``2 workers``, for the progress bar; empty = this process."""

    def notes(self) -> list[str]:
        """Return sentences about the finished work: its workers, and what differed between them."""
