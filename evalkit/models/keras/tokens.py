"""Outputs of a Keras model as grids of features: where the tokens of a transformer are in the photo.

A transformer puts out tokens (N, T, K): one for each patch of the photo, and often some for the class, for
distillation or registers. Which is which is seen on probe images: a token that no image changes, where tokens of that
number appear first, is none of a patch; and where only the upper or the left half of an image changes, the tokens of
that half change most. A grid that does not pass is not taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.models.keras.graph import TensorAt
from evalkit.models.keras.source import KerasSource

__all__ = ["Grid", "Grids", "SeenOutput"]

_SEED = 19
_MOST_EXTRA = 8  # class, distillation and register tokens
_FOLLOWS = (
    0.75  # the least share of pairs of tokens, one in the changed half and one not, of which the first moves more
)
_SIDE_ERROR = 0.35  # of the logarithm of height over width: a side may be rounded up where a stride does not divide it

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Where the outputs of a layer are in the photo.

    Attributes:
        height: the number of rows.
        width: the number of columns.
        tokens: the indices of the patches' tokens, row by row; None if the output itself is (N, h, w, K).
    """

    height: int
    width: int
    tokens: tuple[int, ...] | None = None

    def of(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return outputs (N, T, K) as a grid (N, h, w, K), the tokens of no patch left out."""
        if self.tokens is None:
            return outputs
        patches = tf.gather(outputs, self.tokens, axis=1)
        return tf.reshape(patches, [-1, self.height, self.width, outputs.shape[-1]])


@dataclass(frozen=True)
class SeenOutput:
    """One tensor of the model on probe images; a feature map (N, h, w, K) counts as h x w tokens.

    Attributes:
        shape: its shape without the batch dimension.
        constant: the tokens that no image changes, bool (T,).
        by_top: how far each token moves where the upper half of the image changes, float (T,).
        by_left: the same of the left half.
    """

    shape: tuple[int, ...]
    constant: NDArray[np.bool_]
    by_top: Floats
    by_left: Floats


class Grids:
    """The tensors of one model that may be grids of features."""

    def __init__(self, source: KerasSource) -> None:
        """Prepare; nothing is computed yet."""
        self._source = source
        self._known: dict[TensorAt, Grid | None] = {}

    @cached_property
    def seen(self) -> dict[TensorAt, SeenOutput]:
        """Every tensor (N, T, K) and (N, h, w, K) in the order computed, those inside layers of one's own too."""
        seen: dict[TensorAt, SeenOutput] = {}

        def look(at: TensorAt, tensor: Any) -> None:  # noqa: ANN401 - a tensor or a list of them
            shape = tuple(getattr(tensor, "shape", ()))
            # A tensor of a compiled function has no values out here.
            if len(shape) in (3, 4) and shape[0] == len(_PROBES) and not tf.is_symbolic_tensor(tensor):
                seen.pop(at, None)
                seen[at] = _seen(np.asarray(tf.cast(tensor, tf.float32)))

        images = tf.constant(_probes(self._source))
        self._source.run_graph(self._source.preprocess_tensor(images), look=look, inside=True)
        return seen

    def grid(self, at: TensorAt) -> Grid | None:
        """Return where a tensor's outputs are in the photo; None if no grid fits them."""
        if at not in self._known:
            output = self.seen.get(at)
            self._known[at] = None if output is None else self._grid_of(output)
        return self._known[at]

    def _grid_of(self, output: SeenOutput) -> Grid | None:
        if len(output.shape) == 3:
            height, width, _ = output.shape
            fits = self.has_shape(height, width) or _follows(output, np.arange(height * width), height, width)
            return Grid(height, width) if fits and min(height, width) > 1 else None
        number, channels = output.shape
        first = next(one for one in self.seen.values() if len(one.shape) == 2 and one.shape[0] == number)
        for extra, height, width in self._candidates(number, first):
            patches = np.setdiff1d(np.arange(number), extra)
            for tokens in (patches, patches.reshape(width, height).T.ravel()):  # row by row, else column by column
                # (N, K, T) of transposed tokens has the same shape if K equals T.
                if _follows(first, tokens, height, width) and (
                    number != channels or _follows(output, tokens, height, width)
                ):
                    return Grid(height, width, tuple(tokens.tolist()))
        return None

    def _candidates(self, number: int, first: SeenOutput) -> Iterator[tuple[tuple[int, ...], int, int]]:
        """Yield which tokens are of no patch, and the height and width of the others, the likeliest first."""
        constant = tuple(np.flatnonzero(first.constant).tolist())
        if len(constant) == number:
            return  # no token is of the image
        extras = [constant] if constant else [tuple(range(count)) for count in range(min(_MOST_EXTRA, number - 2) + 1)]
        sizes = list(dict.fromkeys(self._known_sizes()))
        yield from ((extra, *size) for extra in extras for size in sizes if math.prod(size) == number - len(extra))
        for extra in extras:
            patches = number - len(extra)
            pairs = [(side, patches // side) for side in range(2, patches // 2 + 1) if patches % side == 0]
            yield from ((extra, *pair) for pair in sorted(pairs, key=self._side_error) if pair not in sizes)

    def _known_sizes(self) -> Iterator[tuple[int, int]]:
        """Yield heights and widths that follow from the graph: of its feature maps, and of square patches."""
        maps = [one.shape[:2] for one in self.seen.values() if len(one.shape) == 3 and self.has_shape(*one.shape[:2])]
        for halvings in range(6):  # hierarchical transformers merge 2 x 2 tokens between stages
            for height, width in maps:
                yield -(-height // 2**halvings), -(-width // 2**halvings)
        height, width = self._source.input_size
        yield from ((height // patch, width // patch) for patch in range(2, min(height, width) // 2 + 1))

    def _side_error(self, size: tuple[int, int]) -> float:
        height, width = self._source.input_size
        return abs(math.log(size[0] / size[1] * width / height))

    def has_shape(self, height: int, width: int) -> bool:
        """Return whether a grid has about the shape of the photo."""
        return min(height, width) > 1 and self._side_error((height, width)) <= _SIDE_ERROR


_PROBES = ("clean", "other", "other above", "other at the left")


def _probes(source: KerasSource) -> NDArray[np.float32]:
    """Return four images (4, H, W, C): two of noise, and mixtures of them by halves."""
    height, width = source.input_size
    clean, other = np.random.default_rng(_SEED).uniform(0, 255, (2, height, width, source.channels))
    above, left = clean.copy(), clean.copy()
    above[: height // 2], left[:, : width // 2] = other[: height // 2], other[:, : width // 2]
    return np.stack([clean, other, above, left]).astype(np.float32)


def _seen(values: NDArray[np.float32]) -> SeenOutput:
    shape = values.shape[1:]
    tokens = values.reshape(len(_PROBES), -1, shape[-1]).astype(np.float64)
    moved = np.sqrt(np.square(tokens[1:] - tokens[0]).sum(axis=2))
    scale = np.abs(tokens).max(initial=0.0)
    return SeenOutput(shape, moved[0] <= 1e-6 * scale, moved[1], moved[2])


def _follows(output: SeenOutput, tokens: NDArray[np.integer], height: int, width: int) -> bool:
    """Return whether tokens move most where the image changes, if they are a grid of this size, row by row."""
    for moved, axis in ((output.by_top, 0), (output.by_left, 1)):
        grid = moved[tokens].reshape(height, width)
        side = grid.shape[axis]
        # The row or column in the middle of an odd number is changed in part.
        changed = np.take(grid, range(side // 2), axis=axis).ravel()
        unchanged = np.take(grid, range(side - side // 2, side), axis=axis).ravel()
        if not changed.size:
            continue
        order = np.sort(unchanged)
        below = np.searchsorted(order, changed, "left") + np.searchsorted(order, changed, "right")
        if below.mean() / (2 * order.size) < _FOLLOWS:
            return False
    return True
