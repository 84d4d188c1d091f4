"""Progress on stderr: a bar with rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["RunProgress"]

_SECONDS_BETWEEN_LINES = 30.0


class RunProgress:
    """Shows the number of photos, and estimates the time left from model passes.

    Args:
        console: the console on stderr.
        n_photos: the number of photos.
        work: the total work, in model passes.
        passes: a function that returns the number of passes so far.
    """

    def __init__(self, console: Console, n_photos: int, work: float, passes: Callable[[], int]) -> None:
        """See the class."""
        self._console = console
        self._n_photos = n_photos
        self._passes = passes
        self._photos = 0
        self._start = perf_counter()
        self._last_line = self._start
        self._first_pass = passes()
        self._done = self._until = 0.0
        self._work = max(work, 1.0)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("photo {task.fields[photo]}/{task.fields[photos]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=self._work, photo=0, photos=n_photos, rate="")

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        self._bar.stop()

    def begin_photo(self, work: float) -> None:
        """Begin a photo; the one before counts as finished, whatever its real number of passes.

        Args:
            work: the expected work of this photo, in model passes.
        """
        self._photos += 1
        self._done, self._until = self._until, self._until + work
        self._bar.update(self._task, photo=self._photos, completed=self._done)

    def advance(self, what: str, work: float) -> None:
        """Add finished work.

        Args:
            what: the name of the finished step: an explainer, or the scoring.
            work: the number of model passes.
        """
        self._done = min(self._done + work, self._until)
        self._show(what, self._rate())

    def end_photo(self, work: float, who: str) -> None:
        """Count a photo that was computed elsewhere.

        Args:
            work: the expected work of this photo, in model passes.
            who: who computes, e.g. ``2 workers``.
        """
        self._photos += 1
        self._done = self._until = self._until + work
        self._bar.update(self._task, photo=self._photos)
        elapsed = perf_counter() - self._start
        self._show(who, f"{self._photos / elapsed:.2f} photos/s" if elapsed > 0 else "")

    def _show(self, what: str, rate: str) -> None:
        self._bar.update(self._task, description=what[:32], completed=self._done, rate=rate)
        now = perf_counter()
        if not self._console.is_terminal and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = _in_words((now - self._start) * (self._work / self._done - 1)) if self._done else "time left unknown"
            by = f" by {what}" if rate.endswith("photos/s") else ""
            self._console.print(
                f"photo {self._photos}/{self._n_photos}, {rate}{by}, {left}",
                highlight=False,
            )

    def _rate(self) -> str:
        elapsed = perf_counter() - self._start
        return f"{(self._passes() - self._first_pass) / elapsed:.1f} passes/s" if elapsed > 0 else ""


def _in_words(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min left" if seconds >= 60 else "less than a minute left"
