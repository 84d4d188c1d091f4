"""What is said of a run that has only a part of the images, and what such a run may not be used for."""

from __future__ import annotations

from evalkit.core.errors import ConfigError, EvalkitError
from evalkit.store.manifest import Manifest

__all__ = ["require_whole", "shard_lines"]


def shard_lines(manifest: Manifest) -> list[str]:
    """Return the sentence that a run is a shard; none for a run that has all images."""
    shard = manifest.shard_in_words
    if not shard:
        return []
    return [f"This is {shard}, not the whole set: python -m evalkit merge puts the shards together."]


def require_whole(manifest: Manifest, purpose: str, error: type[EvalkitError] = ConfigError) -> None:
    """Raise an error for a shard, whose numbers are not those of the whole set.

    Args:
        manifest: the manifest of the run.
        purpose: what the run is to be used for, as the message names it.
        error: the kind of error.
    """
    if manifest.shard_in_words:
        raise error(
            f"the run is {manifest.shard_in_words} and cannot stand for the whole set: {purpose} needs all of it; put "
            "the shards together (python -m evalkit merge RUN RUN ... --output DIR) and use that run"
        )
