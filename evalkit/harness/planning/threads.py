"""The threads of the model in a run: those of the options, or those that the run folder was begun with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evalkit.core.errors import ConfigError
from evalkit.core.settings import RunOptions
from evalkit.models.threads import threads_here, use_threads
from evalkit.store.run_folder import RunFolder

__all__ = ["other_threads", "planned_threads"]


def planned_threads(options: RunOptions, say: Callable[[str], None]) -> int:
    """Return the threads of one operation, and set them in this process if it computes the run.

    Call it before a model is loaded: afterwards TensorFlow keeps its threads.

    Args:
        options: ``engine``, ``threads_per_worker``, ``output`` and ``fresh`` are used.
        say: a function that prints a sentence.

    Raises:
        ConfigError: the option comes too late.
    """
    kept = 0 if options.fresh or options.output is None else _kept(Path(options.output))
    if options.engine == "ray":
        return options.threads_per_worker or kept or 1
    if options.threads_per_worker:
        use_threads(options.threads_per_worker)
    elif kept:
        try:
            use_threads(kept)
        except ConfigError:
            say(other_threads(kept, threads_here()))
    return threads_here()


def other_threads(kept: int, now: int) -> str:
    """Return the sentence that a run goes on with another number of threads."""
    return (
        f"the run folder was begun with {kept} threads, this process has {now}: scores can differ in their last "
        f"digits; --threads-per-worker {kept} in a new process gives the same"
    )


def _kept(path: Path) -> int:
    earlier = RunFolder.manifest_at(path)
    return 0 if earlier is None else earlier.settings.threads
