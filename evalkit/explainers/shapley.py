"""Shapley values by the regression of KernelSHAP: which coalitions are scored, their weights, and the fit."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

__all__ = ["coalitions", "is_exhaustive", "largest_number", "shapley_fit"]

Floats = NDArray[np.float64]
Coalitions = NDArray[np.bool_]

_ALWAYS_LISTED = 8  # with so few players all 2^8 - 2 coalitions are scored, whatever the number of samples


def is_exhaustive(players: int, samples: int) -> bool:
    """Return whether all coalitions of so many players are scored."""
    return players <= _ALWAYS_LISTED or 2**players - 2 <= samples


def largest_number(samples: int) -> int:
    """Return the largest number of coalitions that are scored, whatever the number of players."""
    return max(samples // 2 * 2, (1 << _ALWAYS_LISTED) - 2)


def coalitions(players: int, samples: int, rng: np.random.Generator) -> tuple[Coalitions, Floats]:
    """Return the coalitions to score and their weights in the regression.

    Where not all are scored: sizes from the outside in, 1 and ``players`` - 1 first, are listed whole as long as that
    many samples would be drawn of them anyway; the other sizes are drawn by their share of the kernel's weight. Each
    coalition is followed by its complement.

    Args:
        players: the number of players, 2 or more.
        samples: the number of coalitions.
        rng: the random generator.

    Returns:
        bool (N, ``players``), and float64 (N,): the Shapley kernel, (M - 1) / (binom(M, size) size (M - size)), or a
        sample's share of it.
    """
    if is_exhaustive(players, samples):
        numbers = np.arange(1, 2**players - 1)
        listed = (numbers[:, None] >> np.arange(players) & 1).astype(np.bool_)
        sizes = listed.sum(axis=1)
        return listed, _weight_of_size(players, sizes) / [comb(players, size) for size in sizes.tolist()]
    parts, weights, left = [], [], samples // 2
    sizes = np.arange(1, players // 2 + 1)
    # Of two sizes that are complements; the middle size is its own.
    mass = _weight_of_size(players, sizes) * np.where(2 * sizes == players, 1.0, 2.0)
    while len(sizes):
        size = int(sizes[0])
        pairs = comb(players, size) // (2 if 2 * size == players else 1)
        if left * mass[0] / mass.sum() < pairs:
            break
        listed = _of_members([*combinations(range(players), size)][:pairs], players)
        parts.append(listed)
        weights.append(np.full(pairs, mass[0] / pairs / 2.0))
        left, sizes, mass = left - pairs, sizes[1:], mass[1:]
    if left and len(sizes):
        drawn = rng.choice(sizes, left, p=mass / mass.sum())
        order = np.argsort(rng.random((left, players)), axis=1)
        parts.append(np.argsort(order, axis=1) < drawn[:, None])
        weights.append(np.full(left, mass.sum() / left / 2.0))
    half = np.concatenate(parts)
    return np.stack([half, ~half], axis=1).reshape(-1, players), np.repeat(np.concatenate(weights), 2)


def _weight_of_size(players: int, sizes: NDArray[np.int64]) -> Floats:
    """Return the kernel's weight of all coalitions of a size together."""
    return np.asarray((players - 1) / (sizes * (players - sizes)))


def _of_members(members: list[tuple[int, ...]], players: int) -> Coalitions:
    present = np.zeros((len(members), players), dtype=np.bool_)
    np.put_along_axis(present, np.array(members), True, axis=1)
    return present


def shapley_fit(present: Coalitions, weights: Floats, gains: Floats, whole: float) -> Floats | None:
    """Return the weighted least-squares fit of additive values that sum exactly to ``whole``.

    Args:
        present: the coalitions, bool (N, M), M >= 2.
        weights: their weights, float64 (N,).
        gains: the value of each minus that of the empty coalition, float64 (N,).
        whole: the same of the full coalition.

    Returns:
        float64 (M,); None if the coalitions do not determine the values.
    """
    # The last value is the rest of the sum, which leaves an ordinary regression on the others.
    last = present[:, -1]
    design = present[:, :-1].astype(np.float64) - last[:, None]
    root = np.sqrt(weights)
    values, _, rank, _ = np.linalg.lstsq(design * root[:, None], (gains - last * whole) * root, rcond=None)
    if rank < design.shape[1]:
        return None
    return np.append(values, whole - values.sum())
