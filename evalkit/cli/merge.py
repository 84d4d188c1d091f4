"""``merge``: the shards of a run become one run folder."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.console import print_result, stderr_console
from evalkit.core.names import escaped

__all__ = ["merge"]


def merge(*run_folders: Path, output: Path) -> None:
    """Put the shards of a run together: run folders of `run --shard 1/N` to `run --shard N/N`.

    The result is an ordinary run folder, the same as one run without --shard would have left: repeat the command
    without --shard and with this --output to add a metric or an explainer. Nothing is computed, and the shards' folders
    are not changed. Repeat the command after a shard was computed again.

    Args:
        run_folders: Folders of all shards, in any order.
        output: Run folder to write.
    """
    from evalkit.harness.merge import merge_shards

    console = stderr_console()

    def say(text: str) -> None:
        console.print(escaped(text), markup=False, highlight=False, soft_wrap=True)

    manifest = merge_shards(run_folders, output, say)
    say(f"{len(run_folders)} shards, {manifest.data.n_images:,} images; python -m evalkit show {output}")
    print_result(escaped(str(output)))
