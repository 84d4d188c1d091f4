"""Grid pointing game: does the map of a mosaic of four images stay in the cell of the class explained?

It needs no annotation of objects: where the evidence for the class can be is known from how the mosaic was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.core.resizing import resized
from evalkit.metrics.case import MISCLASSIFIED, Case
from evalkit.metrics.localization import mass_inside
from evalkit.metrics.requests import Cost, Explain, Kind, Request
from evalkit.metrics.spec import Answer, Metric, MetricSpec

__all__ = ["CELLS", "GridPointingGame", "cell_slices", "grid_pointing_game", "mosaic"]

Map = NDArray[np.floating]
Pixels = NDArray[Any]

CELLS = 4
"""Cells of a mosaic, in reading order: top left, top right, bottom left, bottom right."""

_SIDE = 2


def cell_slices(shape: tuple[int, ...], cell: int) -> tuple[slice, slice]:
    """Return the rows and columns of a cell.

    All cells have height // 2 rows and width // 2 columns. The middle row or column of an odd side is of no cell.

    Args:
        shape: height and width in pixels.
        cell: 0..3, in reading order.
    """
    height, width = shape[0] // _SIDE, shape[1] // _SIDE
    down, across = divmod(cell, _SIDE)
    top, left = (shape[0] - height) * down, (shape[1] - width) * across
    return slice(top, top + height), slice(left, left + width)


def mosaic(images: Sequence[Pixels]) -> Pixels:
    """Return four images of one size as one of the same size, each at half its height and width.

    The middle row or column of an odd side repeats the row above it or the column to its left.

    Args:
        images: the images in reading order, uint8 or float32 (H, W, C) in 0..255, H and W at least 2.

    Returns:
        (H, W, C) of the first image's dtype.
    """
    shape = images[0].shape
    made = np.zeros_like(images[0])
    for cell, image in enumerate(images):
        rows, columns = cell_slices(shape, cell)
        made[rows, columns] = resized(image, (rows.stop - rows.start, columns.stop - columns.start))
    middle_row, middle_column = shape[0] // _SIDE, shape[1] // _SIDE
    if shape[1] % _SIDE:
        made[:, middle_column] = made[:, middle_column - 1]
    if shape[0] % _SIDE:
        made[middle_row] = made[middle_row - 1]
    return made


def grid_pointing_game(saliency_map: Map, cell: int) -> float:
    """Return the share of the map's positive part that is in a cell; the middle row or column of odd sides is left out.

    Args:
        saliency_map: float (H, W), the map of a mosaic.
        cell: 0..3, in reading order.

    Returns:
        0..1, 0.25 for a constant map; NaN if the map is not finite, or varies without being positive anywhere.

    Reference: Boehle et al., CVPR 2021, section 4; Rao et al., CVPR 2022, section 3.1 (GridPG).
    """
    values = np.stack([saliency_map[cell_slices(saliency_map.shape, number)] for number in range(CELLS)])
    own = np.zeros(values.shape, dtype=np.bool_)
    own[cell] = True
    return mass_inside(values, own)


@dataclass(frozen=True)
class GridPointingGame(Metric):
    """Grid pointing game (GridPG): share of the positive part inside the image's own cell of a 2 x 2 mosaic.

    Attributes:
        confidence: the lowest score of its own class that the model may give any of the four images.
    """

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="grid_pointing_game",
        version=1,
        direction="higher",
        bounds=(0.0, 1.0),
        family="localization",
        summary="share of the map's positive part inside the image's cell of a mosaic of four classes; chance is 0.25",
        brief="share in its own cell of a 2 x 2 mosaic",
        reference="Rao et al., CVPR 2022 (GridPG); Boehle et al., CVPR 2021",
        nan_reason="the map of the mosaic is positive nowhere, or not finite",
        chance=1 / CELLS,
        column="grid",
    )
    draws: ClassVar[bool] = True
    n_partners: ClassVar[int] = CELLS - 1
    request_kinds: ClassVar[tuple[Kind, ...]] = ("explain",)
    confidence: float = 0.5

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.confidence <= 1:
            raise ConfigError(f"{self.name}: confidence={self.confidence} is not allowed; a score, 0 to 1")

    def unscored_reason(self, case: Case) -> str | None:
        """Return why there is no mosaic of four images that the model is sure of."""
        if case.not_finite or case.misclassified:
            return case.not_finite or MISCLASSIFIED
        if len(case.partners) < self.n_partners:
            return case.partners_reason
        if min(case.pixels.shape[:2]) < _SIDE:
            return "the model's input is too small for four cells"
        if not case.clean_score >= self.confidence:
            return f"the model's score of the image is below {self.confidence:g}"
        if not all(partner.is_right and partner.score >= self.confidence for partner in case.partners):
            return f"a partner image is misclassified, or its score is below {self.confidence:g}"
        return None

    def cost(self) -> Cost:
        """Return the map of the mosaic; the scores of the partners are shared by all maps."""
        return Cost(maps=1, shared_images=self.n_partners)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return the map of the mosaic."""
        images = [partner.pixels for partner in case.partners]
        images.insert(self.cell_of(case), case.pixels)
        return [Explain(pixels=mosaic(images).astype(np.float32))]

    @staticmethod
    def cell_of(case: Case) -> int:
        """Return the cell of the image itself, 0..3; its partners fill the others in their order."""
        return int(case.rng("grid_pointing_game").integers(CELLS))

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return ``grid_pointing_game`` of the mosaic's map."""
        return grid_pointing_game(answers[0], self.cell_of(case))
