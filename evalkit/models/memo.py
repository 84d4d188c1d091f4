"""A memory for results that several explainers of one photo share, e.g. the activations of a layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np

__all__ = ["PassMemo"]

_LIMIT_BYTES = 256 * 2**20


class PassMemo:
    """Remembers results inside ``with memo.sharing(...)``; outside, nothing is remembered.

    The keys contain what the results depend on but the weights, which do not change while one photo is explained.

    Attributes:
        saved_s: the seconds that remembered results took when they were computed, added up over their uses: a map's
            own time plus these is its time as if its explainer ran alone.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.saved_s = 0.0
        self._blocks: list[frozenset[str]] = []
        self._results: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()

    @property
    def layers(self) -> frozenset[str]:
        """The paths of layers whose gradients are read in this block, besides their activations."""
        return frozenset().union(*self._blocks)

    @contextmanager
    def sharing(self, layers: Collection[str]) -> Iterator[None]:
        """Remember results until the block ends.

        Args:
            layers: the paths of layers whose activations and gradients are both read in this block.
        """
        block = frozenset(layers)
        self._blocks.append(block)
        try:
            yield
        finally:
            self._blocks.remove(block)  # blocks of generators may end in any order
            if not self._blocks:
                self._results.clear()

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is computed
        """Return a remembered result, or compute it. It is shared, so nobody may write to it.

        Args:
            key: everything that the result depends on.
            compute: the function that computes an array, or a tuple of arrays.
        """
        if not self._blocks:
            return compute()
        if key in self._results:
            self._results.move_to_end(key)
            result, seconds = self._results[key]
            self.saved_s += seconds
            return result
        start, saved = perf_counter(), self.saved_s
        result = compute()
        self._results[key] = (result, perf_counter() - start + self.saved_s - saved)
        while len(self._results) > 1 and self._size() > _LIMIT_BYTES:
            self._results.popitem(last=False)
        return result

    def clear(self) -> None:
        """Forget all results, because the weights have changed."""
        self._results.clear()

    def _size(self) -> int:
        return sum(_bytes(result) for result, _ in self._results.values())


def _bytes(result: Any) -> int:  # noqa: ANN401 - whatever is computed
    parts = result if isinstance(result, tuple) else (result,)
    return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))
