"""Windowed inference: logits of an image under many patches, computing only what each patch can change.

The activation of every layer on the clean image is kept. For each patch position a window of each layer is computed;
its input is gathered from the window of the layer before, from the kept activation around it, and from the padding.
Once windows fill a layer, or would cost more than they save, they are pasted into the kept activation and the rest of
the model runs in full. Nothing is approximated.

Reference: Nakandala et al., "Incremental and Approximate Inference for Faster Occlusion-based Deep CNN Explanations"
(Krypton), SIGMOD 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.models.inference.chain import Spatial
from evalkit.models.inference.route import Pair, Route
from evalkit.models.inference.windows import Windows
from evalkit.models.memory import OUT_OF_MEMORY
from evalkit.models.runner import Runner

__all__ = ["WindowedPass"]

Tensor = Any


class WindowedPass:
    """One route through one model, compiled.

    Attributes:
        route: the route.
        chunk: the number of positions computed together; halved when memory runs out.
    """

    def __init__(
        self,
        runner: Runner,
        layers: Sequence[Spatial],
        route: Route,
        first: Callable[[Tensor], Tensor],
        rest: Callable[[Tensor], Tensor],
    ) -> None:
        """See the class.

        Args:
            runner: the runner, which counts the passes.
            layers: the chain.
            route: the route, with at least one segment.
            first: the pixelwise function from images (N, H, W, C) in 0..255 to the chain's input.
            rest: the compiled function from the chain's output to logits.
        """
        self.route, self.chunk = route, route.chunk
        self._runner, self._layers, self._first = runner, layers, first
        image = tf.TensorSpec([1, *runner.input_size, runner.channels], tf.float32)
        self._keep = tf.function(self._trace_keep, autograph=False).get_concrete_function(image, image)
        self._windows: dict[int, Callable[..., Tensor]] = {}
        self._rest = rest
        self._sources, self._insides = self._all_sources(), self._all_insides()
        self._chunks: dict[tuple[int, int], list[list[Tensor]]] = {}

    def logits(self, image: NDArray[np.float32], filled: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logits of the clean image, and of the image with each patch in turn.

        Args:
            image: the clean image, float32 (H, W, C) in 0..255.
            filled: the content of the patch at every position, of the same shape.

        Returns:
            float64 (1 + N, n_classes), the clean image first.
        """
        kept, other, end = self._keep(tf.constant(image[None]), tf.constant(filled[None]))
        count, start, parts = len(self.route.patches.rows.starts), 0, [self._scores(end, 1)]
        while start < count:
            try:
                features = self._compiled(kept, other, *self._indices(start, count))
                parts.append(self._scores(features, min(self.chunk, count - start)))
            except OUT_OF_MEMORY:
                if self.chunk == 1:
                    raise
                self.chunk = -(-self.chunk // 2)
                continue
            start += self.chunk
        self._runner.count.forward += 1 + count
        return np.concatenate(parts)

    def _compiled(self, *given: Any) -> Tensor:  # noqa: ANN401 - what ``_trace_windows`` takes
        """Compute one chunk; compiled once for each number of positions."""
        if self.chunk not in self._windows:
            self._windows[self.chunk] = tf.function(self._trace_windows, autograph=False).get_concrete_function(*given)
        return self._windows[self.chunk](*given)

    def _indices(self, start: int, count: int) -> list[list[Tensor]]:
        """Return where one chunk's pixels are read, as ``_trace_windows`` takes it; made once, for all images."""
        if (self.chunk, start) not in self._chunks:
            # The last chunk is padded, so that all have one shape.
            chosen = np.minimum(np.arange(start, start + self.chunk), count - 1)
            patches = self.route.patches
            width = self._layers[0].columns.size_in
            arrays: list[list[NDArray[Any]]] = [
                [_grid(patches.rows.pixels[chosen] * width, patches.columns.pixels[chosen]).astype(np.int32)],
                [source.index(chosen) for source in self._sources],
                [_both(rows[chosen], columns[chosen])[..., None] for rows, columns in self._insides],
            ]
            self._chunks[self.chunk, start] = [[tf.constant(array) for array in group] for group in arrays]
        return self._chunks[self.chunk, start]

    def _scores(self, features: Tensor, count: int) -> NDArray[np.float64]:
        outputs = np.asarray(self._rest(features).numpy()[:count], dtype=np.float64)
        return self._runner.head.class_logits(outputs)

    def _all_sources(self) -> list[_Source]:
        """Return the sources of each gather's pixels; the last gather is the whole last windowed layer."""
        sources, own = [], self.route.patches
        for segment in self.route.segments:
            layer = self._layers[segment.first]
            sources.append(_Source(segment.read, own, (layer.rows.size_in, layer.columns.size_in)))
            own = segment.wanted[-1]
        last = self._layers[self.route.n_windowed - 1]
        origin = np.zeros_like(own.rows.starts)
        whole = Pair(Windows(origin, last.rows.size_out), Windows(origin, last.columns.size_out))
        sources.append(_Source(whole, own, (last.rows.size_out, last.columns.size_out)))
        return sources

    def _all_insides(self) -> list[list[NDArray[np.bool_]]]:
        """Return, for each layer inside a segment, which rows and columns of its windows lie inside the layer."""
        return [
            [
                (windows.pixels >= 0) & (windows.pixels < axis.size_out)
                for windows, axis in ((wanted.rows, layer.rows), (wanted.columns, layer.columns))
            ]
            for segment in self.route.segments
            for wanted, layer in zip(segment.wanted[:-1], self._layers[segment.first :], strict=False)
        ]

    def _trace_keep(self, image: Tensor, filled: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the kept activations of the clean image, the content of patches, and the chain's clean output.

        A kept activation is (pixels + 1, channels); its last row is the padding beyond the border.
        """
        pads = {segment.first: self._layers[segment.first].pad_value for segment in self.route.segments}
        pads[self.route.n_windowed] = 0.0
        kept, tensor = [], self._first(image)
        for index in range(len(self._layers) + 1):
            if index in pads:
                flat = tf.reshape(tensor, (-1, tensor.shape[-1]))
                kept.append(tf.concat([flat, tf.fill((1, flat.shape[1]), tf.cast(pads[index], flat.dtype))], axis=0))
            if index < len(self._layers):
                tensor = self._layers[index].full(tensor)
        return kept, tf.reshape(self._first(filled), (-1, kept[0].shape[1])), tensor

    def _trace_windows(
        self,
        kept: list[Tensor],
        filled: Tensor,
        patches: list[Tensor],
        sources: list[Tensor],
        insides: list[Tensor],
    ) -> Tensor:
        own = tf.gather(filled, patches[0])  # the patches themselves
        remaining = iter(insides)
        for segment, table, source in zip(self.route.segments, kept, sources, strict=False):
            tensor = _gathered(table, own, source)
            layers = self._layers[segment.first : segment.first + len(segment.wanted)]
            for layer, behind in pairwise(layers):
                tensor = layer.valid(tensor)
                tensor = tf.where(next(remaining), tensor, tf.cast(behind.pad_value, tensor.dtype))
            own = layers[-1].valid(tensor)
        tensor = _gathered(kept[-1], own, sources[-1])
        for layer in self._layers[self.route.n_windowed :]:
            tensor = layer.full(tensor)
        return tensor


@dataclass(frozen=True, eq=False)
class _Source:
    """Where the pixels of windows are: own pixels where they exist, else kept ones, else the padding.

    Attributes:
        wanted: the windows to gather.
        own: the windows just computed.
        size: (height, width) of the kept layer.
    """

    wanted: Pair
    own: Pair
    size: tuple[int, int]

    def index(self, chosen: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return each pixel's row in the table of ``_gathered``, int32 (N, rows, columns), of the chosen positions."""
        height, width = self.size
        kept_rows, kept_columns = self.wanted.rows.pixels[chosen], self.wanted.columns.pixels[chosen]
        own_rows = kept_rows - self.own.rows.starts[chosen, None]
        own_columns = kept_columns - self.own.columns.starts[chosen, None]
        inside = _both(_within(kept_rows, height), _within(kept_columns, width))
        mine = _both(_within(own_rows, self.own.rows.length), _within(own_columns, self.own.columns.length))
        first = height * width + 1 + np.arange(len(chosen))[:, None] * self.own.area
        kept = np.where(inside, _grid(kept_rows * width, kept_columns), height * width)
        return np.where(mine, _grid(first + own_rows * self.own.columns.length, own_columns), kept).astype(np.int32)


def _grid(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(rows[:, :, None] + columns[:, None, :])


def _both(rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(rows[:, :, None] & columns[:, None, :])


def _within(pixels: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    return np.asarray((pixels >= 0) & (pixels < length))


def _gathered(kept: Tensor, own: Tensor, index: Tensor) -> Tensor:
    """Return windows (N, rows, columns, channels).

    Args:
        kept: the kept activation, (pixels + 1, channels), the padding last.
        own: the windows just computed, (N, h, w, channels).
        index: each pixel's row in the two, one after the other, int32 (N, rows, columns).
    """
    table = tf.concat([kept, tf.reshape(own, (-1, own.shape[-1]))], axis=0)
    return tf.gather(table, index)
