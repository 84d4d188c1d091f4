"""Logits of one image under many patches: by windows where that is faster, else by full passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evalkit.models.inference.chain import Spatial, spatial_layers
from evalkit.models.inference.route import Pair, Route, plan_route
from evalkit.models.inference.windowed import WindowedPass
from evalkit.models.inference.windows import Windows
from evalkit.models.keras import graph
from evalkit.models.keras.precision import has_fewer_digits
from evalkit.models.keras.source import KerasSource
from evalkit.models.runner import Runner

__all__ = ["FULL", "WINDOWED", "OccludedPass"]

FULL, WINDOWED = "full pass", "windowed"
_PAYS = 1.3  # smallest ratio of the whole model's work, full to windowed
_KEPT_ROUTES = 16
_AGREEING = (1e-3, 2e-2)  # of the logits' range: float32, 16 bits

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
Places = NDArray[np.int64]
Tensor = Any


class OccludedPass:
    """Passes of images with a patch on them through one classifier.

    Attributes:
        windowed: False = full passes only; set when windows have failed on this model.
    """

    def __init__(self, runner: Runner) -> None:
        """Analyze the classifier's graph, if it has one; nothing is computed yet."""
        self.windowed = True
        self._runner = runner
        self._layers: list[Spatial] = []
        self._compiled: dict[tuple[object, ...], WindowedPass] = {}
        self._routes: dict[tuple[object, ...], Route | None] = {}
        self._compiled_rest = tf.function(self._rest, autograph=False, reduce_retracing=True)
        if isinstance(runner.source, KerasSource):
            source = self._source = runner.source
            self.windowed = source.preprocessing.pixelwise  # else a patch may change all of the model's input
            own_first, self._layers = spatial_layers(
                source.computed, runner.input_size, runner.channels, source.replaced
            )
            self._first: Callable[[Tensor], Tensor] = lambda images: own_first(source.preprocess_tensor(images))

    def reload(self) -> None:
        """Give the copies of layers the weights of these again, after they were changed in place."""
        for layer in self._layers:
            if layer.copied is not None:
                layer.copied.set_weights(layer.operations[0].get_weights())

    def method(self, rows: Places, columns: Places, patch_size: int) -> str:
        """Return how patches of this size at these positions are computed: ``windowed`` or ``full pass``."""
        return FULL if self._route(rows, columns, patch_size) is None else WINDOWED

    def logits(self, image: Image, filled: Image, rows: Places, columns: Places, patch_size: int) -> Floats:
        """Return the logits of an image, and of the image under each patch.

        Args:
            image: the clean image, float32 (H, W, C) in 0..255.
            filled: the content of the patch at every position, float32 (H, W, C).
            rows: the first row of each patch, int64 (R,).
            columns: the first column of each patch, int64 (K,).
            patch_size: the side of the patch in pixels.

        Returns:
            float64 (1 + R * K, n_classes): the clean image first, then the patches, row by row.
        """
        route = self._route(rows, columns, patch_size)
        if route is None:
            return self.in_full(image, filled, list(product(rows.tolist(), columns.tolist())), patch_size)
        logits = self._by_windows(route, image, filled, rows, columns, patch_size)
        return self.logits(image, filled, rows, columns, patch_size) if logits is None else logits

    def _by_windows(
        self, route: Route, image: Image, filled: Image, rows: Places, columns: Places, patch_size: int
    ) -> Floats | None:
        """Return the logits; None if windowed inference fails or disagrees with a full pass; it is then disabled."""
        key = _key(rows, columns, patch_size)
        known = key in self._compiled
        try:
            logits = self._windowed(route, key).logits(image, filled)
        except Exception:  # too little memory for a single position, or a layer that only works on whole images
            self._disable()
            return None
        ends = [(int(rows[end]), int(columns[end])) for end in (0, -1)]
        if not known and not self._agrees(logits, image, filled, ends, patch_size):
            self._disable()
            return None
        return logits

    def _disable(self) -> None:
        self.windowed = False
        self._compiled.clear()

    def _agrees(
        self, logits: Floats, image: Image, filled: Image, corners: Sequence[tuple[int, int]], patch_size: int
    ) -> bool:
        """Compare the clean image and two positions with full passes, as a check of ``spatial_layers``."""
        passes = self._runner.count.forward
        expected = self.in_full(image, filled, corners, patch_size)
        self._runner.count.forward = passes  # a check is not part of the job
        difference = np.abs(logits[[0, 1, -1]] - expected).max()
        return bool(difference <= _AGREEING[has_fewer_digits(self._runner.precision)] * np.ptp(expected))

    def in_full(self, image: Image, filled: Image, places: Sequence[tuple[int, int]], patch_size: int) -> Floats:
        """Return the same logits by full passes; ``places`` has the first row and column of each patch."""

        def occluded(number: int) -> Image:
            if number == 0:
                return image
            row, column = places[number - 1]
            window = np.s_[row : row + patch_size, column : column + patch_size]
            patched = image.copy()
            patched[window] = filled[window]
            return patched

        return self._runner.logits_from(1 + len(places), occluded)

    def _route(self, rows: Places, columns: Places, patch_size: int) -> Route | None:
        """Return the windowed route if it is worth it, else None."""
        if not self.windowed or not self._layers:
            return None
        key = _key(rows, columns, patch_size)
        if key not in self._routes:
            places = np.array(list(product(rows, columns)), dtype=np.int64).reshape(-1, 2)
            patches = Pair(Windows(places[:, 0], patch_size), Windows(places[:, 1], patch_size))
            route = plan_route(self._layers, patches)
            behind = max(0.0, self._source.work - route.full_work)
            pays = bool(route.segments) and route.full_work + behind >= _PAYS * (route.work + behind)
            self._routes[key] = route if pays else None
        return self._routes[key]

    def _windowed(self, route: Route, key: tuple[object, ...]) -> WindowedPass:
        if key not in self._compiled:
            if len(self._compiled) >= _KEPT_ROUTES:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[key] = WindowedPass(self._runner, self._layers, route, self._first, self._compiled_rest)
        return self._compiled[key]

    def _rest(self, features: Tensor) -> Tensor:
        """Run the model from the end of the chain to its logits."""
        last = self._layers[-1].operations[-1]
        skipped: dict[int, Callable[[Tensor], Tensor]] = {}
        for operation in graph.straight_operations(self._source.computed):
            skipped[id(operation)] = lambda tensor: tensor
            if operation is last:
                break
        return self._source.run_graph(features, skipped)


def _key(rows: Places, columns: Places, patch_size: int) -> tuple[object, ...]:
    return (patch_size, rows.tobytes(), columns.tobytes())
