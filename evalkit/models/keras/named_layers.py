"""Layers of a model by name: their paths, and whether their outputs are a grid of features."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.core.errors import ModelError, nearest
from evalkit.models.keras import ends, graph
from evalkit.models.keras.default_layer import DefaultLayer, depends_on
from evalkit.models.keras.source import KerasSource
from evalkit.models.keras.tokens import Grids

__all__ = ["NamedLayers"]


class NamedLayers:
    """The layers of one model.

    Args:
        source: its graph.
        grids: where the outputs of its layers are in the photo.
        default: its default layer.
    """

    def __init__(self, source: KerasSource, grids: Grids, default: DefaultLayer) -> None:
        """See the class."""
        self._source, self._grids, self._default = source, grids, default

    def resolve(self, layer: str) -> str:
        """Return the full path of a layer given by its path or by a unique end of it.

        Raises:
            ModelError: no such layer, several of that name, or one whose outputs are neither feature maps (N, h, w, K)
                nor the tokens (N, T, K) of a grid of patches.
        """
        shapes = self._source.shapes
        paths = [path for path in shapes if path == layer or path.endswith(f"/{layer}")]
        if not paths:  # it may be inside a layer of one's own
            inside = {at.path: (None, *output.shape) for at, output in self._grids.seen.items() if not at.entering}
            shapes = {**inside, **shapes}
            paths = [path for path in inside if path == layer or path.endswith(f"/{layer}")]
        if len(paths) != 1:
            problem = "has no layer" if not paths else f"has {len(paths)} layers called"
            fitting = [path for path, shape in shapes.items() if self._is_grid(path, shape)]
            advice = nearest(layer, fitting) if fitting else "no layer returns a feature map (N, h, w, K)"
            raise ModelError(f"model '{self._source.name}' {problem} '{layer}': {advice}")
        if not self._is_grid(paths[0], shapes[paths[0]]):
            raise ModelError(
                f"layer '{layer}' of model '{self._source.name}' has outputs of shape {shapes[paths[0]]}; a feature "
                "map (N, h, w, K) is needed, or tokens (N, T, K) of which each patch of the photo has one"
            )
        if paths[0] in graph.repeated(self._source.model):
            raise ModelError(
                f"layer '{layer}' of model '{self._source.name}' runs more than once in one pass, e.g. on the photo "
                "and its mirror image, so it has no single feature map; use occlusion, or a layer that runs once"
            )
        return paths[0]

    def _is_grid(self, path: str, shape: Sequence[int | None]) -> bool:
        sides = [side or 2 for side in shape[1:-1]]
        if len(shape) == 4 and (min(sides) == 1 or self._grids.has_shape(*sides)):
            return shape[0] in (None, 1)
        if len(shape) == 4 and path == self._default.path:
            return True
        return len(shape) in (3, 4) and self._grids.grid(graph.TensorAt(path)) is not None

    def are_needed(self, path: str) -> bool:
        """Return whether the outputs depend on a layer's features; if they are tokens, on those of patches.

        Args:
            path: the layer's path, from ``resolve``.
        """
        if len(self._source.shapes.get(path, ())) == 4:
            return True
        grid = self._grids.grid(graph.TensorAt(path))
        return grid is not None and depends_on(self._source, path, grid)

    def pooled_end(self) -> ends.Pooled | None:
        """Return the end of the model for CAM; None unless it is global average pooling and one dense layer.

        Tokens that are pooled must all be of patches.
        """
        end = ends.pooled_end(self._source.model)
        if end is None or not end.of_tokens:
            return end
        grid = self._grids.grid(end.features)
        pooled = self._grids.seen.get(end.features)
        return end if grid and pooled and grid.tokens and len(grid.tokens) == pooled.shape[0] else None
