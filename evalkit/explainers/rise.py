"""RISE: the mean of random masks, each weighted by the class's score of the photo seen through it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.core.randomness import generator
from evalkit.core.specs import Literals
from evalkit.explainers.base import Explainer, Family, MapFacts, Maps, Need, Outputs, Passes, Photos
from evalkit.explainers.controls import image_digest
from evalkit.metrics.randomization import rank_correlation
from evalkit.models.probabilities import score_of

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["BLOCK", "Masks", "Rise"]

BLOCK = 250
"""The number of masks after which the maps of odd and even masks are compared."""

_CHUNK = 25  # masks in memory at a time while they are summed, in float64


class Masks:
    """The masks of one photo: grids of 0 and 1, enlarged bilinearly, each cropped at a shift of its own.

    As in RISE's code: with cells of ceil(side / grid) pixels, a grid is enlarged to grid + 1 cells a side, so that a
    crop of the photo's size fits at every shift of less than one cell.

    Reference: ``RISE.generate_masks`` in RISE's explanations.py (Petsiuk et al., 2018).
    """

    def __init__(self, size: tuple[int, int], grid: int) -> None:
        """Prepare the bilinear weights.

        Args:
            size: (height, width) of the masks in pixels.
            grid: the number of cells along each side.
        """
        self._size, self._grid = size, grid
        self._cells = [-(-side // grid) for side in size]
        # Bilinear enlargement works along one axis after the other, so a matrix for each axis says all of it.
        self._rows, self._columns = (_enlargement(grid, (grid + 1) * cell) for cell in self._cells)

    def draw(
        self, rng: np.random.Generator, count: int, probability: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return the grids, bool (count, grid, grid), and the shifts down and across in pixels, (count, 2)."""
        grids = rng.random((count, self._grid, self._grid)) < probability
        return grids, rng.integers(0, self._cells, (count, 2))

    def make(self, grids: NDArray[np.bool_], shifts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the masks of these grids and shifts, float32 (n, H, W) in 0..1."""
        height, width = self._size
        down = self._rows[shifts[:, :1] + np.arange(height)]
        across = self._columns[shifts[:, 1:] + np.arange(width)]
        return np.asarray(down @ grids.astype(np.float32) @ across.transpose(0, 2, 1))

    def between(
        self, grids: NDArray[np.bool_], shifts: NDArray[np.int64], start: int, stop: int
    ) -> NDArray[np.float32]:
        """Return the masks from one index to another, as ``make``."""
        return self.make(grids[start:stop], shifts[start:stop])


def _enlargement(grid: int, side: int) -> NDArray[np.float32]:
    """Return the bilinear weights of ``grid`` values in each of ``side`` pixels, float32 (side, grid)."""
    from skimage.transform import resize

    weights = resize(np.eye(grid), (side, grid), order=1, mode="reflect", anti_aliasing=False)
    return np.asarray(weights, dtype=np.float32)


@dataclass(frozen=True)
class Rise(Explainer):
    """RISE as in the paper: the class's scores behind random masks.

    Attributes:
        masks: the largest number of masks, each of which costs a forward pass.
        grid: the number of cells of a mask along each side.
        probability: the probability that a cell shows the photo.
        tolerance: masks are drawn until the maps of odd and of even masks have a Spearman correlation of at least
            1 - ``tolerance``, which is looked at after every 250 masks; 0 = always all masks.
        seed: Random seed; the run's seed if not given.

    Reference: Petsiuk et al., "RISE", BMVC 2018, equations 5 and 6, and their code.
    """

    name: ClassVar[str] = "rise"
    family: ClassVar[Family] = "masks"
    cost: ClassVar[str] = "up to 4,000 F"
    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})
    draws: ClassVar[bool] = True
    summary: ClassVar[str] = "random masks weighted by the score behind them"
    reference: ClassVar[str] = "Petsiuk et al., RISE, BMVC 2018, equation 6"
    masks: int = 4000
    grid: int = 7
    probability: float = 0.5
    tolerance: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges, and store whole numbers of tolerance as floats."""
        if self.masks < 2:
            raise ConfigError(f"rise: masks={self.masks} is not allowed; at least 2")
        if self.grid < 2:
            raise ConfigError(f"rise: grid={self.grid} is not allowed; at least 2 cells along each side")
        if not 0.0 < self.probability < 1.0:
            raise ConfigError(f"rise: probability={self.probability} is not allowed; between 0 and 1, e.g. 0.5")
        if not 0.0 <= self.tolerance < 1.0:
            raise ConfigError(
                f"rise: tolerance={self.tolerance} is not allowed; 0 (always all masks) or more, less than 1"
            )
        object.__setattr__(self, "tolerance", float(self.tolerance))

    @property
    def substrate(self) -> str:
        """The mean color."""
        return "mean"

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the mean of the masks weighted by the scores, over ``probability``, float64 (B, H, W)."""
        return Rise.explain_with_facts(self, classifier, images, targets)[0]

    def explain_with_facts(
        self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]
    ) -> tuple[Maps, list[MapFacts]]:
        """Return the maps, the masks that each took, and the correlation of its odd and even masks' maps."""
        found = [self._explained(classifier, image, target) for image, target in zip(images, targets, strict=True)]
        return np.stack([values for values, _ in found]), [facts for _, facts in found]

    def _explained(
        self, classifier: Classifier, image: NDArray[np.uint8 | np.float32], target: Outputs
    ) -> tuple[NDArray[np.float64], MapFacts]:
        clean = image.astype(np.float32)
        mean = np.full_like(clean, classifier.required_mean_color())
        masks = Masks((clean.shape[0], clean.shape[1]), self.grid)
        digest = image_digest(image)
        sums = np.zeros((2, *clean.shape[:2]))  # of even masks and of odd masks
        used, agreement = 0, np.nan
        while used < self.masks:
            # Each block has a generator of its own and is drawn whole, so that more masks keep the first ones.
            rng = generator(self.seed, digest, "rise", used // BLOCK)
            count = min(BLOCK, self.masks - used)
            make = partial(masks.between, *masks.draw(rng, BLOCK, self.probability))
            logits = classifier.blended.logits(clean, mean, count, make)
            scores = score_of(classifier.head.scores(logits), target)
            sums += _weighted_sums(scores, make)
            used += count
            if self.tolerance or used == self.masks:
                agreement = rank_correlation(*sums)
            if not np.isfinite(scores).all() or (self.tolerance and agreement >= 1.0 - self.tolerance):
                break
        values = {"masks": float(used), "agreement": agreement}
        facts = {name: value for name, value in values.items() if np.isfinite(value)}
        return sums.sum(axis=0) / (used * self.probability), MapFacts(Passes(used), facts)

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the largest number of masks."""
        return self.masks

    @classmethod
    def sweep_settings(cls, parameters: Mapping[str, Literals], swept: Collection[str]) -> Mapping[str, Literals]:
        """Return ``tolerance=0`` where numbers of masks are compared, so that each takes all of its own."""
        return {"tolerance": 0.0} if "masks" in swept and "tolerance" not in parameters else {}

    def sentences(self, facts: Sequence[Mapping[str, float]]) -> list[str]:
        """Return how many images used all masks before the maps of odd and even masks agreed."""
        agreements = [values["agreement"] for values in facts if "agreement" in values]
        wanted = 1.0 - self.tolerance
        short = [agreement for agreement in agreements if agreement < wanted]
        if not self.tolerance or not short:
            return []
        low, high = f"{min(short):.2f}", f"{max(short):.2f}"
        sentence = (
            f"on {len(short)} of {len(agreements)} images the maps of odd and even masks still differed "
            f"after all {self.masks:,} masks: Spearman correlation {low if low == high else f'{low} to {high}'}, "
            f"{wanted:.2f} wanted; use more masks or a larger tolerance"
        )
        return [sentence]

    def check(self, classifier: Classifier) -> None:
        """Raise ConfigError if the grid is finer than the model's input, ModelError if the mean color is not known."""
        super().check(classifier)
        classifier.required_mean_color()
        if self.grid > min(classifier.input_size):
            raise ConfigError(
                f"rise: grid={self.grid} is more cells than the model's input has pixels along its shorter side, "
                f"{min(classifier.input_size)}"
            )


def _weighted_sums(scores: NDArray[np.float64], make: Callable[[int, int], NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the sums of the even masks and of the odd masks times their scores, float64 (2, H, W)."""
    of_parity = scores * (np.arange(len(scores)) % 2 == np.array([[0], [1]]))
    parts = [
        np.tensordot(of_parity[:, start : start + _CHUNK], make(start, min(start + _CHUNK, len(scores))), axes=1)
        for start in range(0, len(scores), _CHUNK)
    ]
    return np.asarray(sum(parts))
