"""``merge_runs``: the shards of a run, put together."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from evalkit.api.run import Run

__all__ = ["merge_runs"]


def merge_runs(runs: Sequence[str | PathLike[str]], output: str | PathLike[str]) -> Run:
    """Put the shards of a run together, as ``python -m evalkit merge`` does, and return the whole run.

    Nothing is computed again and TensorFlow is not imported: scores, maps and facts are copied, and are those of one
    run without ``shard``, bit for bit.

    Args:
        runs: the run folders of all shards, in any order.
        output: the run folder to write; it appears only when it is complete. If it holds the same run, it is brought
            up to date.

    Raises:
        ConfigError: the folders are not all shards of one run, or ``output`` holds another run.
        StoreError: a folder is not a finished run, is damaged, or cannot be read or written.
    """
    from evalkit.harness.merge import merge_shards

    merge_shards([Path(run) for run in runs], Path(output), lambda _: None)
    return Run(Path(output))
