"""The perturbation engine: scores every perturbed image that a metric requests.

Shared by all metrics and maps: unmixed substrates are scored once per photo, curves that metrics share once per map,
and batches are filled across maps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evalkit.core.randomness import generator
from evalkit.metrics.requests import Blend, Canvas, Composition, Masked, Perturbation, ScoreKind, Shown, Substrate
from evalkit.models.heads import Head
from evalkit.models.inference.blended import BlendedPass, DirectBlendedPass
from evalkit.models.inference.composition import ComposedPass, DirectComposedPass
from evalkit.models.inference.imputation import NOISE_SD, RoadImages
from evalkit.models.probabilities import Outputs, score_of

__all__ = ["MEAN_COLOR", "PhotoScores", "blurred", "enlarged", "rise_kernel"]

# ImageNet's mean color, RGB: zero in the model space of RISE's code and of Keras' caffe-style preprocessing.
MEAN_COLOR = (123.68, 116.779, 103.939)

Image = NDArray[np.float32]
Floats = NDArray[np.float64]


def rise_kernel(size_px: int = 11, sigma_px: float = 5.0) -> Floats:
    """Return RISE's blur kernel as in its code, float64 (size, size), summing to 1.

    scipy reflects the unit impulse inside the small array, so the kernel is nearly a box (center 1.14 times the
    corner) rather than a Gaussian of that sigma.

    Reference: ``gkern`` in RISE's evaluation.py (Petsiuk et al., 2018).
    """
    from scipy.ndimage import gaussian_filter

    impulse = np.zeros((size_px, size_px))
    impulse[size_px // 2, size_px // 2] = 1.0
    return np.asarray(gaussian_filter(impulse, sigma_px))


def blurred(
    image: NDArray[np.floating] | NDArray[np.uint8], mean_color: Sequence[float] | NDArray[np.floating] = MEAN_COLOR
) -> Image:
    """Return the blurred start image of RISE's insertion; the border is padded with the mean color.

    Args:
        image: the image, (H, W, C) in 0..255.
        mean_color: the mean of each channel, (C,).

    Returns:
        float32 (H, W, C) in 0..255.
    """
    import cv2

    around_mean, kernel = np.asarray(image, dtype=np.float64) - mean_color, rise_kernel()
    smooth = [
        cv2.filter2D(np.ascontiguousarray(channel), cv2.CV_64F, kernel, borderType=cv2.BORDER_CONSTANT)
        for channel in np.moveaxis(around_mean, 2, 0)
    ]
    return np.asarray(np.stack(smooth, axis=2) + mean_color, dtype=np.float32)


class PerturbedModel(Protocol):
    """The parts of a classifier that the engine needs."""

    @property
    def head(self) -> Head:
        """How logits become scores of classes."""

    @property
    def composed(self) -> ComposedPass | DirectComposedPass:
        """Logits of images composed of two others, pixel by pixel."""

    @property
    def blended(self) -> BlendedPass | DirectBlendedPass:
        """Logits of a photo blended toward a substrate by masks of weights."""

    def logits_from(self, count: int, make: Callable[[int], NDArray[np.floating]]) -> NDArray[np.float64]:
        """Return the logits of images that are created when needed, float64 (N, C)."""


class PhotoScores:
    """The scores of one class on a photo and its perturbations.

    Attributes:
        pixels: the photo, float32 (H, W, C) in 0..255.
        target: the output that is scored, or the outputs whose scores are summed.
    """

    def __init__(
        self,
        model: PerturbedModel,
        pixels: NDArray[Any],
        target: Outputs,
        clean_logits: Floats,
        mean_color: Sequence[float] = MEAN_COLOR,
        seed: int = 0,
    ) -> None:
        """See the class.

        Args:
            model: the classifier.
            pixels: the photo, uint8 or float32 (H, W, C), at the classifier's input size.
            target: the output or outputs.
            clean_logits: the logits of the clean photo, float64 (n_classes,).
            mean_color: the mean of each channel, (C,): the substrate, and what the blur is padded with.
            seed: Random seed of the substrates that draw, ``noise`` and ``road``.
        """
        self._model = model
        self._mean_color = np.asarray(mean_color, dtype=np.float64)
        self.pixels: Image = pixels.astype(np.float32)
        self.target = target
        self._rng_key = (seed, sha256(pixels.tobytes()).digest())
        self._pure: dict[Canvas | Substrate, Floats] = {"image": clean_logits}
        self._canvases: dict[Canvas | Substrate, Image] = {"image": self.pixels}
        self._answered: dict[Hashable, Floats] = {}

    def canvas(self, name: Canvas | Substrate) -> Image:
        """Return a substrate as it is where all pixels show it, float32 (H, W, C), made once."""
        if name not in self._canvases:
            self._canvases[name] = self._made(name)
        return self._canvases[name]

    def _made(self, name: Canvas | Substrate) -> Image:
        if name == "blur":
            return blurred(self.pixels, self._mean_color)
        if name == "noise":
            rng = generator(*self._rng_key, "noise substrate")
            return np.asarray(rng.uniform(0.0, 255.0, self.pixels.shape), dtype=np.float32)
        if name == "road":  # no pixel is known that others could be imputed from
            return np.asarray(self._mean_color + self._road_noise, dtype=np.float32)
        color = self._mean_color if name == "mean" else np.zeros_like(self._mean_color)
        return np.broadcast_to(color.astype(np.float32), self.pixels.shape)

    @cached_property
    def _road_noise(self) -> Floats:
        """The noise of imputed pixels, float64 (H, W, C), one draw for all maps of the photo."""
        return generator(*self._rng_key, "road noise").normal(0.0, NOISE_SD, self.pixels.shape)

    def scores(self, compositions: Sequence[Composition], tick: Callable[[int], None] = lambda _: None) -> list[Floats]:
        """Return the scores of each composition, float64: a curve (2, S), of a Blend (1,), of N masks (N,).

        Args:
            compositions: the compositions of any number of maps of this photo; equal images pass the model once.
            tick: a function of the number of images since its last call.
        """
        distinct = {composition.key: composition for composition in compositions}
        curves = [request for request in distinct.values() if isinstance(request, Perturbation)]
        blends = [request for request in distinct.values() if isinstance(request, Blend)]
        scores = dict(zip([curve.key for curve in curves], self._curves(curves, tick), strict=True))
        scores |= dict(zip([blend.key for blend in blends], self._blends(blends, tick), strict=True))
        scores |= self._remembered([request for request in distinct.values() if isinstance(request, Masked)], tick)
        scores |= self._remembered([request for request in distinct.values() if isinstance(request, Shown)], tick)
        return [scores[composition.key] for composition in compositions]

    def _curves(self, wanted: Sequence[Perturbation], tick: Callable[[int], None]) -> list[Floats]:
        if not wanted:
            return []
        self._compute_pure(wanted)
        of_images = {curve.images_key: curve for curve in wanted}
        inside = self._composed([one for one in of_images.values() if "road" not in (one.start, one.end)], tick)
        inside |= self._imputed([one for one in of_images.values() if "road" in (one.start, one.end)], tick)
        answers = {
            kind: {key: self._scores_of(logits, kind) for key, logits in inside.items()}
            for kind in {curve.score for curve in wanted}
        }
        return [self._whole(curve, answers[curve.score][curve.images_key]) for curve in wanted]

    def _composed(self, curves: Sequence[Perturbation], tick: Callable[[int], None]) -> dict[Hashable, Floats]:
        """Return the logits inside curves between two canvases, by ``images_key``."""
        if not curves:
            return {}
        inside = [curve.inner_cuts.tolist() for curve in curves]
        ranks = {curve.rank_key: curve.rank for curve in curves}
        index_of = {key: number for number, key in enumerate(ranks)}
        used = list(dict.fromkeys(name for curve in curves for name in (curve.start, curve.end)))
        rows = [
            (used.index(curve.start), used.index(curve.end), index_of[curve.rank_key], cut)
            for curve, cuts in zip(curves, inside, strict=True)
            for cut in cuts
        ]
        canvases, all_ranks = np.stack([self.canvas(name) for name in used]), np.stack([*ranks.values()])
        logits = self._model.composed.logits(canvases, all_ranks.astype(np.int32), _as_rows(rows), tick)
        ends = np.cumsum([*map(len, inside)])[:-1]
        return dict(zip([curve.images_key for curve in curves], np.split(logits, ends), strict=True))

    def _imputed(self, curves: Sequence[Perturbation], tick: Callable[[int], None]) -> dict[Hashable, Floats]:
        """Return the logits inside curves to or from ``road``, by ``images_key``."""
        if not curves:
            return {}
        return RoadImages(curves, self.canvas, self._road_noise).logits(self._model.logits_from, tick)

    def _whole(self, curve: Perturbation, inside: Floats) -> Floats:
        """Return a curve with its end points, float64 (2, S): fractions and scores."""
        first = [self._pure_score(curve.start, curve.score)] if curve.cuts[0] == 0 else []
        last = [self._pure_score(curve.end, curve.score)] if curve.cuts[-1] == curve.rank.size else []
        return np.stack([curve.fractions, np.array([*first, *inside, *last])])

    def _blends(self, blends: Sequence[Blend], tick: Callable[[int], None]) -> list[Floats]:
        def mixed(number: int) -> Image:
            blend = blends[number]
            weight = blend.weight[..., None]
            mixed_pixels = weight * self.canvas(blend.start) + (1.0 - weight) * self.canvas(blend.end)
            return np.asarray(mixed_pixels, dtype=np.float32)

        answers = self._scores_of(self._model.logits_from(len(blends), mixed), "softmax")
        tick(len(blends))
        return [answers[number : number + 1] for number in range(len(blends))]

    def _compute_pure(self, curves: Sequence[Perturbation]) -> None:
        wanted: list[Canvas | Substrate] = []
        for curve in curves:
            wanted += [curve.start] if curve.cuts[0] == 0 else []
            wanted += [curve.end] if curve.cuts[-1] == curve.rank.size else []
        missing = [name for name in dict.fromkeys(wanted) if name not in self._pure]
        logits = self._model.logits_from(len(missing), lambda number: self.canvas(missing[number]))
        self._pure.update(zip(missing, logits, strict=True))

    def _pure_score(self, name: Canvas | Substrate, kind: ScoreKind) -> float:
        return float(self._scores_of(self._pure[name][None], kind)[0])

    def _scores_of(self, logits: Floats, kind: ScoreKind) -> Floats:
        head = self._model.head
        return head.log_odds(logits, self.target) if kind == "log_odds" else score_of(head.scores(logits), self.target)

    def _remembered(
        self, requests: Sequence[Masked] | Sequence[Shown], tick: Callable[[int], None]
    ) -> dict[Hashable, Floats]:
        """Return the answers by key; what was computed for this photo before is not computed again."""
        for request in requests:
            if request.key not in self._answered:
                self._answered[request.key] = (
                    self._masked(request) if isinstance(request, Masked) else self._shown(request)
                )
                tick(len(request.hidden) if isinstance(request, Masked) else 1)
        return {request.key: self._answered[request.key] for request in requests}

    def _masked(self, request: Masked) -> Floats:
        size = self.pixels.shape[:2]

        def weights(start: int, stop: int) -> Image:
            return 1.0 - enlarged(request.hidden[start:stop], size).astype(np.float32)

        logits = self._model.blended.logits(self.pixels, self.canvas(request.substrate), len(request.hidden), weights)
        return self._scores_of(logits, "softmax")

    def _shown(self, request: Shown) -> Floats:
        pixels = request.pixels.astype(np.float32)
        return np.asarray(self._model.head.scores(self._model.logits_from(1, lambda _: pixels))[0])


def enlarged(cells: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return masks (N, H, W) from masks of a coarser grid (N, h, w): pixel (y, x) is of cell (y*h//H, x*w//W)."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, cells.shape[1:], strict=True))
    return cells[:, rows[:, None], columns]


def _as_rows(rows: Sequence[tuple[int, int, int, int]]) -> NDArray[np.int32]:
    return np.array(rows, dtype=np.int32).reshape(-1, 4)
