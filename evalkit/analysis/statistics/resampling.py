"""Bootstrap resamples of images in memory that does not grow with the number of images.

More than 1,000 images are divided into 1,000 groups of equal size at random, and groups are resampled instead of
images: the variance and the skewness of a mean stay right, because the images are independent, and a group's sum is all
that is needed of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.randomness import generator

__all__ = ["MOST_GROUPS", "Groups", "Resampling", "resample_counts", "resampled_sums"]

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16]
MOST_GROUPS = 1_000
_BLOCK = 4_000_000  # numbers in memory at once, beside the counts themselves
_KEPT = 4  # numbers of groups whose counts are kept


class Groups(NamedTuple):
    """Sums over groups of images.

    Attributes:
        sums: float64 (G, ...).
        sizes: float64 (G,), numbers of images.
    """

    sums: Floats
    sizes: Floats


def resample_counts(rng: np.random.Generator, n_groups: int, n_resamples: int) -> Counts:
    """Return how often each group is drawn in each resample, uint16 (n_resamples, n_groups); rows sum to n_groups.

    They are drawn row by row, so fewer resamples are the first rows of more.
    """
    counts = np.empty((n_resamples, n_groups), dtype=np.uint16)
    rows = max(1, _BLOCK // n_groups)
    for start in range(0, n_resamples, rows):
        block = counts[start : start + rows]
        draws = rng.integers(n_groups, size=block.shape)
        draws += np.arange(len(block))[:, None] * n_groups
        block[:] = np.bincount(draws.ravel(), minlength=block.size).reshape(block.shape)
    return counts


def resampled_sums(counts: Counts, numbers: Floats) -> Floats:
    """Return the sums of each resample, float64 (R, ...), of numbers (G, ...)."""
    flat = numbers.reshape(len(numbers), -1)
    sums = np.empty((len(counts), flat.shape[1]))
    rows = max(1, _BLOCK // max(len(numbers), 1))
    for start in range(0, len(counts), rows):
        sums[start : start + rows] = counts[start : start + rows].astype(np.float64) @ flat
    return sums.reshape(len(counts), *numbers.shape[1:])


class Resampling:
    """Resamples by number of images.

    Args:
        seed: random seed of the run.
        n_resamples: number of resamples.
    """

    def __init__(self, seed: int, n_resamples: int) -> None:
        """See the class."""
        self.n_resamples = n_resamples
        self._seed = seed
        self._all: Resampling | None = None
        self._known: OrderedDict[int, Counts] = OrderedDict()

    def first(self, n_resamples: int) -> Resampling:
        """Return the first of these resamples."""
        if n_resamples >= self.n_resamples:
            return self
        first = Resampling(self._seed, n_resamples)
        first._all = self
        return first

    def counts(self, n_images: int) -> Counts:
        """Return how often each group is drawn in each resample, uint16 (R, G)."""
        if self._all is not None:
            return self._all.counts(n_images)[: self.n_resamples]
        n_groups = min(max(n_images, 1), MOST_GROUPS)
        if n_groups not in self._known:
            rng = generator(self._seed, "bootstrap", n_groups)
            self._known[n_groups] = resample_counts(rng, n_groups, self.n_resamples)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(n_groups)
        return self._known[n_groups]

    def blocks(self, n_images: int, size: int) -> Iterator[tuple[slice, Floats]]:
        """Yield the counts in blocks of resamples, as float64, and where they are."""
        counts = self.counts(n_images)
        for start in range(0, len(counts), size):
            block = slice(start, start + size)
            yield block, counts[block].astype(np.float64)

    def grouped(self, numbers: NDArray[Any], rows: NDArray[np.bool_] | None = None) -> Groups:
        """Return the sums of numbers over groups of images.

        Args:
            numbers: (n, ...), finite; whole numbers of any type are added exactly.
            rows: (n,), the images that count; None = all.
        """
        counted = np.ones(len(numbers)) if rows is None else rows.astype(np.float64)
        kept = numbers if rows is None else np.where(rows.reshape(-1, *[1] * (numbers.ndim - 1)), numbers, 0.0)
        if len(numbers) <= MOST_GROUPS:
            return Groups(kept.astype(np.float64, copy=False), counted)
        order = generator(self._seed, "groups", len(numbers)).permutation(len(numbers))
        starts = np.linspace(0, len(numbers), MOST_GROUPS, endpoint=False).astype(np.int64)
        sums = np.add.reduceat(kept[order], starts, axis=0, dtype=np.float64)
        return Groups(sums, np.add.reduceat(counted[order], starts))

    def means(self, numbers: Floats) -> Floats:
        """Return the mean of numbers (n, ...) in each resample, float64 (R, ...)."""
        groups = self.grouped(numbers)
        counts = self.counts(len(numbers))
        sizes = resampled_sums(counts, groups.sizes)
        return resampled_sums(counts, groups.sums) / sizes.reshape(-1, *[1] * (numbers.ndim - 1))
