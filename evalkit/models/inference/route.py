"""Routes of patches through a chain of layers: where windows are gathered, and where the pass becomes a full one.

Between gathers several layers may run together on windows that are wider than needed (a halo), which is cheaper where
channels are few. The route with the least estimated work is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.models.inference.chain import Spatial
from evalkit.models.inference.windows import Axis, Windows

__all__ = ["Pair", "Route", "Segment", "plan_route"]

# The cost of moving one number in a gather, in multiplications of a convolution. On VGG16, 60 to 250 were equally fast
# in both precisions, 1,000 some percent slower.
_GATHER_WORK = 100.0
_CHUNK_NUMBERS = 12_000_000  # largest number of values in one tensor of a chunk of positions


@dataclass(frozen=True, eq=False)
class Pair:
    """Windows along both axes, one for each position."""

    rows: Windows
    columns: Windows

    @property
    def area(self) -> int:
        """Pixels of one window."""
        return self.rows.length * self.columns.length

    def mapped(self, layer: Spatial, way: Callable[[Axis, Windows], Windows]) -> Pair:
        """Return the windows on the other side of a layer."""
        return Pair(way(layer.rows, self.rows), way(layer.columns, self.columns))


@dataclass(frozen=True, eq=False)
class Segment:
    """Layers that run without a gather between them.

    Attributes:
        first: index of the first layer.
        read: the gathered windows of its input, one for each position.
        wanted: the computed windows of each layer's output; those of the last layer are what can change.
    """

    first: int
    read: Pair
    wanted: tuple[Pair, ...]


@dataclass(frozen=True, eq=False)
class Route:
    """The way of patches of one size through the chain.

    Attributes:
        patches: the positions of the patches on the image.
        segments: the segments, in order; the layers after the last one run in full.
        work: the estimated multiplications per position, to the end of the chain.
        full_work: the same for a full pass.
        chunk: the number of positions computed together.
    """

    patches: Pair
    segments: tuple[Segment, ...]
    work: float
    full_work: float
    chunk: int

    @property
    def n_windowed(self) -> int:
        """Number of layers that run on windows."""
        return self.segments[-1].first + len(self.segments[-1].wanted) if self.segments else 0


def plan_route(layers: Sequence[Spatial], patches: Pair) -> Route:
    """Choose where to gather and where to continue in full, by the least estimated work.

    Args:
        layers: the chain.
        patches: the rows and columns of each position's patch, inside the image.
    """
    changed = [patches]
    for layer in layers:
        changed.append(changed[-1].mapped(layer, Axis.changed))
    # best[m]: the least work up to windows at the output of layer m, and where the last segment begins.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(layers) + 1):
        best.append(min((best[begin][0] + _segment_work(layers, changed, begin, end), begin) for begin in range(end)))
    totals = [best[end][0] + _rest_work(layers, end) for end in range(len(layers) + 1)]
    stop = int(np.argmin(totals))
    segments, end = [], stop
    while end > 0:
        begin = best[end][1]
        segments.append(_segment(layers, changed, begin, end))
        end = begin
    in_order = tuple(reversed(segments))
    chunk = _chunk(layers, in_order, len(patches.rows.starts))
    return Route(patches, in_order, totals[stop], _rest_work(layers, 0), chunk)


def _segment(layers: Sequence[Spatial], changed: Sequence[Pair], begin: int, end: int) -> Segment:
    wanted = [changed[end]]
    for layer in reversed(layers[begin:end]):
        wanted.append(wanted[-1].mapped(layer, Axis.read))
    return Segment(begin, wanted[-1], tuple(reversed(wanted[:-1])))


def _segment_work(layers: Sequence[Spatial], changed: Sequence[Pair], begin: int, end: int) -> float:
    segment = _segment(layers, changed, begin, end)
    gathered = segment.read.area * layers[begin].channels_in * _GATHER_WORK
    return gathered + sum(pair.area * layer.work for pair, layer in zip(segment.wanted, layers[begin:end], strict=True))


def _rest_work(layers: Sequence[Spatial], begin: int) -> float:
    work = sum(layer.rows.size_out * layer.columns.size_out * layer.work for layer in layers[begin:])
    if begin:  # the windows before it are pasted into the whole layer
        last = layers[begin - 1]
        work += last.rows.size_out * last.columns.size_out * last.channels_out * _GATHER_WORK
    return work


def _chunk(layers: Sequence[Spatial], segments: Sequence[Segment], n_positions: int) -> int:
    """Return how many positions fit together, such that the last chunk is nearly full."""
    largest = 1
    for segment in segments:
        largest = max(largest, segment.read.area * layers[segment.first].channels_in)
        for pair, layer in zip(segment.wanted, layers[segment.first :], strict=False):
            largest = max(largest, pair.area * layer.channels_out)
    for layer in layers[segments[-1].first + len(segments[-1].wanted) - 1 :] if segments else []:
        largest = max(largest, layer.rows.size_out * layer.columns.size_out * layer.channels_out)
    most = min(max(1, _CHUNK_NUMBERS // largest), n_positions)
    return -(-n_positions // -(-n_positions // most))
