"""ROAD's linear imputation: hidden pixels become weighted means of their neighbors, by one exact sparse solve.

Reference: Rong et al., A consistent and efficient evaluation strategy for attribution methods, ICML 2022, section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from evalkit.metrics.requests import Canvas, Perturbation, Substrate

__all__ = ["NOISE_SD", "RoadImages", "imputed"]

NOISE_SD = 2.55
"""Standard deviation of ROAD's noise, in 0..255: 0.01 of the range."""

_DIRECT, _DIAGONAL = 2.0, 1.0  # twelve times the weights, so that the matrix holds whole numbers
_LEAF = 4  # sides in pixels of the blocks that are not divided further; 8 took 15 % longer, 16 took 65 %
_LARGEST_RESIDUAL = 1e-6

Floats = NDArray[np.float64]
Image = NDArray[np.float32]


class _Grid(NamedTuple):
    """The equations of all pixels of a grid, in the order of elimination.

    Attributes:
        order: int64 (N,), the pixels, numbered by rows, in that order.
        equations: sparse (N, N): of each pixel the weight of its neighbors inside the image on the diagonal, and minus
            each neighbor's weight.
    """

    order: NDArray[np.int64]
    equations: sparse.csr_array


def imputed(pixels: NDArray[Any], hidden: NDArray[np.bool_]) -> Floats:
    """Return the values of the hidden pixels, each the weighted mean of its eight neighbors.

    Weights are 1/6 for the four direct and 1/12 for the four diagonal neighbors, divided by their sum where some are
    outside the image. Neighbors that are hidden too have the values that are solved for, so the values are the one
    solution of a system of linear equations. All are within the range of the pixels that are known.

    Args:
        pixels: the image, (H, W, C); values of hidden pixels are not used.
        hidden: bool (H, W), at least one pixel True and one False.

    Returns:
        float64 (n hidden, C), in the order of ``pixels[hidden]``, without noise.

    Raises:
        ArithmeticError: the solution does not satisfy the equations.
    """
    grid = _grid(*hidden.shape)
    is_hidden = hidden.ravel()[grid.order]
    unknown = np.flatnonzero(is_hidden)
    values = pixels.reshape(hidden.size, -1)[grid.order].astype(np.float64)
    values[unknown] = 0.0
    rows = grid.equations[unknown]
    matrix, right = rows[:, unknown].tocsc(), -(rows @ values)
    # Symmetric and diagonally dominant: eliminating in any fixed order, without pivoting, is stable.
    # Columns have few numbers, so the blocks that SuperLU makes of them cost more than they save.
    factors = splu(
        matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, relax=1, panel_size=1, options={"SymmetricMode": True}
    )
    solution = factors.solve(right)
    residual = float(np.abs(matrix @ solution - right).max())
    if not residual <= _LARGEST_RESIDUAL:
        raise ArithmeticError(
            f"the imputation of {len(unknown)} pixels left a residual of {residual:g} color levels, "
            f"{_LARGEST_RESIDUAL:g} is allowed: are all pixels finite?"
        )
    of_pixel = np.empty((hidden.size, solution.shape[1]))
    of_pixel[grid.order[unknown]] = solution
    return np.asarray(of_pixel[hidden.ravel()])


# Cutting the image into halves again and again, and eliminating each cut after both its halves ("nested dissection"),
# takes half the time of SuperLU's own orders on 224 x 224. It depends on the size only.
@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> _Grid:
    order = np.concatenate(_dissected(np.arange(height * width, dtype=np.int64).reshape(height, width)))
    down, across = (sparse.diags_array([1.0, 1.0], offsets=[-1, 1], shape=(n, n)) for n in (height, width))
    rows, columns = sparse.eye_array(height), sparse.eye_array(width)
    weights = _DIRECT * (sparse.kron(rows, across) + sparse.kron(down, columns))
    weights = (weights + _DIAGONAL * sparse.kron(down, across)).tocsr()
    equations = (sparse.diags_array(weights.sum(axis=1)) - weights).tocsr()
    return _Grid(order, equations[order][:, order].tocsr())


def _dissected(block: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the pixels of a block in parts: those of the first half, of the second half, of the line between them."""
    if max(block.shape) <= _LEAF:
        return [block.ravel()]
    block = block if block.shape[0] >= block.shape[1] else block.T
    middle = len(block) // 2
    return [*_dissected(block[:middle]), *_dissected(block[middle + 1 :]), block[middle]]


class RoadImages:
    """The images inside curves to or from ``road``, each distinct one made once, when it is needed."""

    def __init__(
        self, curves: Sequence[Perturbation], canvas: Callable[[Canvas | Substrate], Image], noise: Floats
    ) -> None:
        """List the images; none is made yet.

        Args:
            curves: the curves, of one photo.
            canvas: the function from the name of what is not replaced to its pixels, (H, W, C).
            noise: what is added to the imputed pixels, (H, W, C).
        """
        self._canvas, self._noise = canvas, noise
        self._images: list[tuple[Perturbation, int]] = []
        self._numbers: dict[Hashable, list[int]] = {}
        index_of: dict[Hashable, int] = {}
        for curve in curves:
            numbers = self._numbers[curve.images_key] = []
            for cut in curve.inner_cuts.tolist():
                key = (_kept(curve), sha256(np.packbits(_hidden(curve, cut)).tobytes()).digest())
                if key not in index_of:
                    index_of[key] = len(self._images)
                    self._images.append((curve, cut))
                numbers.append(index_of[key])

    def logits(
        self, logits_from: Callable[[int, Callable[[int], Image]], Floats], tick: Callable[[int], None]
    ) -> dict[Hashable, Floats]:
        """Return the logits of each curve's images, float64 (S, C), by the curve's ``images_key``.

        Args:
            logits_from: the function from a number of images and how to make one to their logits.
            tick: a function of the number of images since its last call.
        """
        counted = 0

        def make(number: int) -> Image:
            nonlocal counted
            image = self._made(*self._images[number])
            # Making an image takes about as long as its pass; a batch that is made again is not counted again.
            if number >= counted:
                tick(1)
                counted = number + 1
            return image

        logits = logits_from(len(self._images), make)
        return {key: logits[numbers] for key, numbers in self._numbers.items()}

    def _made(self, curve: Perturbation, cut: int) -> Image:
        hidden, image = _hidden(curve, cut), self._canvas(_kept(curve)).copy()
        image[hidden] = imputed(image, hidden) + self._noise[hidden]
        return image


def _kept(curve: Perturbation) -> Canvas | Substrate:
    """Return what the pixels show that are not imputed."""
    return curve.start if curve.end == "road" else curve.end


def _hidden(curve: Perturbation, cut: int) -> NDArray[np.bool_]:
    """Return the pixels that are imputed at a cut, bool (H, W)."""
    turned = curve.rank < cut
    return turned if curve.end == "road" else ~turned
