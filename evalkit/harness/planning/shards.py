"""Shards: parts of a run's images that are computed as runs of their own, and put together later (harness/merge)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from evalkit.core.errors import ConfigError, StoreError
from evalkit.core.options import Shard
from evalkit.core.settings import RunOptions
from evalkit.datasets.image_set import ImageSet
from evalkit.store.manifest import WholeSet
from evalkit.store.run_folder import RunFolder

__all__ = ["require_same_shard", "shard_of", "whole_set"]


def shard_of(images: ImageSet, shard: Shard | None, say: Callable[[str], None]) -> ImageSet:
    """Return the images of a shard.

    Args:
        images: the images of all shards.
        shard: the shard; None = all images.
        say: a function that prints how many images the shard has.

    Raises:
        ConfigError: there are more shards than images, and none is left for this one.
    """
    if shard is None:
        return images
    positions = shard.positions(len(images))
    if not positions:
        raise ConfigError(
            f"--shard {shard}: '{images.name}' has {len(images)} images, so this shard is empty; use at most "
            f"{len(images)} shards (`merge` needs no empty ones)"
        )
    say(f"shard {shard}: {len(positions)} of {len(images)} images")
    return images.with_entries(images.entries[position] for position in positions)


def whole_set(images: ImageSet) -> WholeSet:
    """Return what the manifest of a shard holds of the images of all shards."""
    listed = [repr((entry.id, entry.label, entry.class_index, entry.outputs)) for entry in images.entries]
    return WholeSet(len(images), sha256("\n".join(listed).encode()).hexdigest())


def require_same_shard(options: RunOptions) -> None:
    """Raise StoreError if the output folder holds other images than the shard, which would take their place.

    A folder that holds a shard may be continued by the whole run, which has its images too.

    Args:
        options: the options; ``shard``, ``output`` and ``fresh`` are used.
    """
    shard, path = options.shard, options.output
    if shard is None or path is None or options.fresh:
        return
    earlier = RunFolder.manifest_at(Path(path))
    if earlier is None or earlier.settings.shard == str(shard):
        return
    held = earlier.shard_in_words or f"a run of {earlier.data.n_images:,} images without --shard"
    raise StoreError(
        f"--output '{path}' holds {held}; give shard {shard} a folder of its own, or delete those results with --fresh"
    )
