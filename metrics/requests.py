"""What a metric may request of the model and the explainer: perturbed images, other maps, a changed model.

A metric only describes what it needs; one engine (``evalkit.harness.engine.answers``) computes it, shares what several
metrics and maps request alike, and counts the passes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DRAWN",
    "Blend",
    "Canvas",
    "Composition",
    "Cost",
    "Explain",
    "ExplainWith",
    "Kind",
    "Masked",
    "Perturbation",
    "Request",
    "ScoreKind",
    "Shown",
    "Substrate",
    "Variant",
    "draws",
]

Canvas = Literal["image", "mean", "blur", "black", "noise"]
"""What a pixel may show: the image itself, or a substrate.

``mean``: the mean color; ``blur``: RISE's blur of the image; ``black``: 0; ``noise``: uniform values in 0..255, drawn
once an image, so that all maps of the image get the same.
"""

Substrate = Literal["mean", "blur", "road", "noise", "black"]
"""What may replace pixels in a ``Perturbation``.

``road``: ROAD's noisy linear imputation from the pixels that are not replaced, so it depends on which these are; if all
are replaced, the mean color and the same noise. The noise is drawn once an image.
"""

DRAWN: frozenset[Canvas | Substrate] = frozenset({"noise", "road"})
"""The substrates that the engine draws, from the run's seed."""

Kind = Literal["perturbation", "blend", "masked", "shown", "explain", "explain with"]
ScoreKind = Literal["softmax", "log_odds"]


@dataclass(frozen=True, eq=False)
class Perturbation:
    """Images in which more and more pixels have turned from one canvas into another, level by level.

    Composition k shows ``end`` where ``rank < cuts[k]`` and ``start`` elsewhere; all channels together. With
    ``cuts[0] == 0`` and ``cuts[-1] == H * W`` both ends are pure, and the model sees them once an image.
    The answer: the curve, float64 (2, S): the fraction of the pixels that have turned, and the target's score there.
    Requests that show the model the same images share its passes, whichever score they need. At most one of ``start``
    and ``end`` is ``road``.

    Attributes:
        start: what every pixel shows at first.
        end: what it turns into.
        rank: int64 (H, W), how many pixels turn strictly before the level that the pixel belongs to.
        cuts: int64 (S,), strictly ascending numbers of turned pixels.
        score: ``softmax``: the target's probability p; ``log_odds``: log p - log(1 - p), infinite where p is 0 or 1.
    """

    kind: ClassVar[Kind] = "perturbation"
    start: Canvas | Substrate
    end: Canvas | Substrate
    rank: NDArray[np.int64]
    cuts: NDArray[np.int64]
    score: ScoreKind = "softmax"

    @property
    def fractions(self) -> NDArray[np.float64]:
        """Share of the pixels that have turned at each cut, float64 (S,) in 0..1."""
        return np.asarray(self.cuts / self.rank.size, dtype=np.float64)

    @property
    def inner_cuts(self) -> NDArray[np.int64]:
        """The cuts at which some pixels have turned, but not all."""
        return self.cuts[(self.cuts > 0) & (self.cuts < self.rank.size)]

    @cached_property
    def rank_key(self) -> bytes:
        """Equal for equal ranks."""
        return hashlib.sha256(self.rank.tobytes()).digest()

    @property
    def images_key(self) -> Hashable:
        """Equal for requests that show the model the same images."""
        return (self.start, self.end, self.rank_key, self.cuts.tobytes())

    @property
    def key(self) -> Hashable:
        """Equal for equal requests."""
        return (self.images_key, self.score)


@dataclass(frozen=True, eq=False)
class Blend:
    """One image: ``weight * start + (1 - weight) * end``, pixel by pixel, all channels together.

    The answer: the target's score, float64 (1,).

    Attributes:
        start: shown where the weight is 1.
        end: shown where the weight is 0.
        weight: float64 (H, W) in 0..1.
    """

    kind: ClassVar[Kind] = "blend"
    start: Canvas
    end: Canvas
    weight: NDArray[np.float64]

    @property
    def key(self) -> Hashable:
        """Equal for equal requests."""
        return (self.start, self.end, self.weight.tobytes())


@dataclass(frozen=True, eq=False)
class Masked:
    """The image with parts hidden, once for each mask; all channels together.

    The answer: the target's score behind each mask, float64 (N,). Masks that do not depend on the map are scored once
    an image, whichever maps and metrics request them.

    Attributes:
        hidden: bool (N, h, w), True = hidden. A grid coarser than the image is enlarged: pixel (y, x) of (H, W) belongs
            to cell (y * h // H, x * w // W).
        substrate: what hidden pixels show.
    """

    kind: ClassVar[Kind] = "masked"
    hidden: NDArray[np.bool_]
    substrate: Canvas = "mean"

    @cached_property
    def key(self) -> Hashable:
        """Equal for equal requests."""
        packed = np.packbits(self.hidden).tobytes()
        return (self.kind, self.substrate, self.hidden.shape, hashlib.sha256(packed).digest())


@dataclass(frozen=True, eq=False)
class Shown:
    """An image of its own. The answer: every output's score, float64 (C,); computed once for equal pixels.

    Attributes:
        pixels: uint8 or float32 (H, W, C) in 0..255, at the model's input size.
    """

    kind: ClassVar[Kind] = "shown"
    pixels: NDArray[np.uint8 | np.float32]

    @cached_property
    def key(self) -> Hashable:
        """Equal for equal requests."""
        return (self.kind, _digest(self.pixels.astype(np.float32)))


Composition = Perturbation | Blend | Masked | Shown


@dataclass(frozen=True, eq=False)
class Explain:
    """Another map of the same explainer: on changed pixels, of another target, or both.

    The answer: the map, float32 (H, W).

    Attributes:
        pixels: float32 (H, W, C) in 0..255; None = the image's own.
        target: the outputs to explain together; None = the image's own.
    """

    kind: ClassVar[Kind] = "explain"
    pixels: NDArray[np.float32] | None = None
    target: tuple[int, ...] | None = None

    @property
    def key(self) -> Hashable:
        """Equal for equal requests of one explainer."""
        return (self.kind, None if self.pixels is None else _digest(self.pixels), self.target)


@dataclass(frozen=True)
class Variant:
    """A changed model: some of its layers have new random weights.

    Attributes:
        layers: ``output``: the last layer with weights, which makes the scores; ``first``: the first layers with
            weights in the order computed, nested models entered, a shared layer once.
        seed: of the weights, which are drawn by each layer's own initializers.
        first: the number of these layers, from 1 to ``Case.n_layers``; 0 with ``output``.
    """

    layers: Literal["output", "first"]
    seed: int
    first: int = 0


@dataclass(frozen=True)
class ExplainWith:
    """A map of the same explainer, image and target on a changed model. The answer: the map, float32 (H, W).

    Attributes:
        variant: how the model is changed.
    """

    kind: ClassVar[Kind] = "explain with"
    variant: Variant

    @property
    def key(self) -> Hashable:
        """Equal for equal requests of one explainer."""
        return (self.kind, self.variant)


Request = Perturbation | Blend | Masked | Shown | Explain | ExplainWith


def draws(request: Request) -> bool:
    """Tell whether the answer depends on the run's seed, because a substrate of the request is drawn."""
    return not DRAWN.isdisjoint(getattr(request, name, "") for name in ("start", "end", "substrate"))


@dataclass(frozen=True)
class Cost:
    """The most that a metric requests for one map.

    Attributes:
        images: perturbed images that pass through the model once.
        shared_images: those that do not depend on the map, and pass once for all maps of a photo.
        maps: other maps of the explainer, each of which costs what the explainer costs.
    """

    images: int = 0
    maps: int = 0
    shared_images: int = 0


def _digest(pixels: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
