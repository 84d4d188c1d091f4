"""Random generators that depend on what they are for, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["generator"]


def generator(seed: int, *what: str | int | bytes) -> np.random.Generator:
    """Return a generator that is a function of ``seed`` and ``what`` alone.

    Two calls with equal arguments give equal streams, in any process, order or worker. Name everything that the
    numbers belong to: ``generator(seed, image_digest, "random")``.

    Args:
        seed: the run's seed.
        what: the image, the purpose, the replicate ... in a fixed order.
    """
    digest = hashlib.sha256()
    for part in (seed, *what):
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(f"{type(part).__name__}:{len(data)}:".encode())
        digest.update(data)
    return np.random.default_rng(np.frombuffer(digest.digest(), dtype=np.uint32))
