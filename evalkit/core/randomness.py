"""Random generators that depend only on the seed and on the names of what they are for."""

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
        what: the names, in a fixed order: the image, the purpose, the replicate ...
    """
    digest = hashlib.sha256()
    for part in (seed, *what):
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(f"{type(part).__name__}:{len(data)}:".encode())
        digest.update(data)
    return np.random.default_rng(np.frombuffer(digest.digest(), dtype=np.uint32))
