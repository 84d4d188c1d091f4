"""Random groups of images, so that resampling many images costs no more memory and time than resampling a thousand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["grouped"]

Floats = NDArray[np.float64]


def grouped(rows: Floats, limit: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Return the sums of at most ``limit`` random groups of rows, and the groups' sizes.

    Resampling groups in place of rows keeps the variance of a mean: the mean over all rows is ``sums.sum(0) /
    sizes.sum()``, and the variance between random groups estimates the variance between rows.

    Args:
        rows: float64 (n, ...), what each image adds.
        limit: the largest number of groups, at least 1.
        rng: draws the groups; equal states give equal groups.

    Returns:
        float64 (G, ...), and int64 (G,), which differ by 1 at most; for n <= limit the rows themselves and ones.
    """
    n_rows = len(rows)
    if n_rows <= limit:
        return rows, np.ones(n_rows, dtype=np.int64)
    order = rng.permutation(n_rows)
    sums = np.empty((limit, *rows.shape[1:]))
    sizes = np.empty(limit, dtype=np.int64)
    for group in range(limit):
        members = order[group::limit]
        sums[group] = rows[members].sum(axis=0)
        sizes[group] = len(members)
    return sums, sizes
