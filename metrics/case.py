"""What a metric may know of the image whose map it scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.randomness import generator

__all__ = ["MISCLASSIFIED", "NO_CUE", "NO_PARTNERS", "NO_REGION", "ONLY_BOXES", "Case", "Cue", "Partner", "Region"]

NO_CUE = "no known cue"
MISCLASSIFIED, NO_REGION, ONLY_BOXES = "misclassified", "no region", "only boxes, no exact mask"
NO_PARTNERS = "no images of other classes are known"


@dataclass(frozen=True, eq=False)
class Region:
    """Where the object is, on the map's own grid.

    Attributes:
        mask: bool (H, W), the object's pixels if ``exact``, else the union of its boxes; at least one is True.
        boxes: float (K, 4), x0, y0, x1, y1 half-open pixels, K >= 1.
        exact: the mask is the object's own pixels.
        pixel_size: how many of the photo's own pixels one map pixel spans, (down, across).
        ignore: bool (H, W), pixels that no metric counts, none of them in ``mask``; None = every pixel counts.
    """

    mask: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    exact: bool
    pixel_size: tuple[float, float] = (1.0, 1.0)
    ignore: NDArray[np.bool_] | None = None

    def counted(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return what is not ignored of an array (H, W): the array itself, or its counted pixels in a row, (N,)."""
        return pixels if self.ignore is None else pixels[~self.ignore]


@dataclass(frozen=True, eq=False)
class Partner:
    """An image of another class of the set, for metrics that show several images together.

    Attributes:
        image_id: unique within the set.
        pixels: uint8 or float32 (H, W, C), 0..255, at the model's input size.
        score: the model's score of the image's own class, 0..1; NaN if it is not finite.
        is_right: whether the model is right on the image.
    """

    image_id: str
    pixels: NDArray[np.uint8 | np.float32]
    score: float
    is_right: bool = True


@dataclass(frozen=True, eq=False)
class Cue:
    """A shortcut that is known to be in the image, on the map's own grid.

    Attributes:
        mask: bool (H, W), the pixels of the cue; at least one is True.
        background: bool (H, W), the pixels that are neither cue nor object nor ignored; at least one is True.
        without: uint8 or float32 (H, W, C), the image without the cue.
        without_object: the image without the object and with the cue; None if there is no such image.
        output: the model's output for the class that the cue tells; None if unknown.
        agrees: whether that is the class of the label; None if unknown.
    """

    mask: NDArray[np.bool_]
    background: NDArray[np.bool_]
    without: NDArray[np.uint8 | np.float32]
    without_object: NDArray[np.uint8 | np.float32] | None = None
    output: int | None = None
    agrees: bool | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """One image, its target, and what the model says of it.

    Attributes:
        image_id: unique within the set.
        pixels: uint8 or float32 (H, W, C), 0..255, at the model's input size.
        target: the outputs that are explained and scored together; mostly one.
        clean_scores: float64 (C,), every output's score on the unchanged image.
        clean_score: that of the target.
        not_finite: why the model's scores are no finite numbers; empty if they are.
        misclassified: the labelled class is scored, and the model's first choice is another one.
        region: where the object is; None where a metric may not use it.
        region_reason: why there is no region; empty if there is one.
        partners: as many images of other classes as the metric declares, each of another class; empty if there are
            fewer.
        partners_reason: why there are no partners.
        partners_failed: whether the reason is an error, which the next run tries again.
        cue: a shortcut in the image; None without one, or where nothing can be measured with it.
        cue_reason: why there is no cue.
        seed: the run's seed; None for a metric that does not declare that it draws random numbers.
        content: what stands for the image in derived seeds: a digest of its content.
        explainer: text of the explainer whose map is scored.
        n_layers: number of the model's layers with weights, see ``Variant``; 0 if it has none, or cannot be changed.
    """

    image_id: str
    pixels: NDArray[np.uint8 | np.float32]
    target: tuple[int, ...]
    clean_scores: NDArray[np.float64]
    clean_score: float
    not_finite: str = ""
    misclassified: bool = False
    region: Region | None = None
    region_reason: str = NO_REGION
    partners: tuple[Partner, ...] = ()
    partners_reason: str = NO_PARTNERS
    partners_failed: bool = False
    cue: Cue | None = None
    cue_reason: str = NO_CUE
    seed: int | None = None
    content: bytes = b""
    explainer: str = ""
    n_layers: int = 0

    def rng(self, *what: str | int) -> np.random.Generator:
        """Return a generator of random numbers that depends on the run's seed, the image's content and ``what``."""
        return generator(self.run_seed, self.content, *what)

    @property
    def run_seed(self) -> int:
        """The run's seed, for numbers that all images share.

        Raises:
            TypeError: the metric does not declare that it draws, so that its signature lacks the seed.
        """
        if self.seed is None:
            raise TypeError("a metric that draws random numbers must declare it: draws = True")
        return self.seed
