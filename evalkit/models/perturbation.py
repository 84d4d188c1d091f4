"""The perturbation engine: asks the model about every image that a perturbation metric wants to see.

One engine for all metrics and maps: nothing is computed twice for one photo, pure canvases are asked once, and
batches are filled across compositions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evalkit.metrics.spec import Blend, Canvas, Composition, Perturbation
from evalkit.models.classifier import Classifier
from evalkit.models.probabilities import softmax

__all__ = ["MEAN_COLOR", "PhotoScores", "blurred", "rise_kernel"]

# ImageNet's mean color, RGB: zero in the model space of RISE's code and of Keras' caffe-style preprocessing.
MEAN_COLOR = (123.68, 116.779, 103.939)

Image = NDArray[np.float32]
Floats = NDArray[np.float64]


def rise_kernel(size_px: int = 11, sigma_px: float = 5.0) -> Floats:
    """Return RISE's blur kernel as its code makes it, float64 (size, size), summing to 1.

    scipy reflects the unit impulse inside the small array, so the kernel is nearly a box (center 1.14 times the
    corner) rather than a Gaussian of that sigma.

    Reference: ``gkern`` in RISE's evaluation.py (Petsiuk et al., 2018).
    """
    from scipy.ndimage import gaussian_filter

    impulse = np.zeros((size_px, size_px))
    impulse[size_px // 2, size_px // 2] = 1.0
    return np.asarray(gaussian_filter(impulse, sigma_px))


def blurred(image: NDArray[np.floating] | NDArray[np.uint8]) -> Image:
    """Return RISE's blurred start of insertion: beyond the border lies the mean color.

    Args:
        image: RGB (H, W, 3) in 0..255.

    Returns:
        float32 (H, W, 3) in 0..255.
    """
    import cv2

    around_mean = np.asarray(image, dtype=np.float64) - MEAN_COLOR
    smooth = cv2.filter2D(around_mean, cv2.CV_64F, rise_kernel(), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(smooth + MEAN_COLOR, dtype=np.float32)


class PhotoScores:
    """The softmax scores of one class on one photo and on what is made of it.

    Attributes:
        pixels: float32 (H, W, 3) RGB in 0..255.
        class_index: the class whose score is asked for.
    """

    def __init__(self, classifier: Classifier, pixels: NDArray[np.uint8], class_index: int, clean: float) -> None:
        """See the class.

        Args:
            classifier: asked.
            pixels: uint8 (H, W, 3) RGB, at the classifier's input size.
            class_index: the class.
            clean: its score on the untouched photo, already known.
        """
        self._classifier = classifier
        self.pixels: Image = pixels.astype(np.float32)
        self.class_index = class_index
        self._pure: dict[Canvas, float] = {"image": clean}
        self._curves: dict[tuple[object, ...], Floats] = {}

    @cached_property
    def _mean(self) -> Image:
        return np.broadcast_to(np.asarray(MEAN_COLOR, dtype=np.float32), self.pixels.shape)

    @cached_property
    def _blur(self) -> Image:
        return blurred(self.pixels)

    def canvas(self, name: Canvas) -> Image:
        """Return a whole canvas, float32 (H, W, 3)."""
        return {"image": lambda: self.pixels, "mean": lambda: self._mean, "blur": lambda: self._blur}[name]()

    def scores(self, compositions: Sequence[Composition]) -> list[Floats]:
        """Return the softmax scores of each composition, float64: (S,) for a Perturbation, (1,) for a Blend."""
        keys = [_key(composition) for composition in compositions]
        new = {key: one for key, one in zip(keys, compositions, strict=True) if key not in self._curves}
        self._ask_pure(new.values())
        answers = iter(self._ask(image for one in new.values() for image in self._mixed_images(one)))
        for key, one in new.items():
            self._curves[key] = self._assemble(one, answers)
        return [self._curves[key] for key in keys]

    def forget(self) -> None:
        """Drop the curves of one map; the pure canvases stay known."""
        self._curves.clear()

    def _ask(self, images: Iterator[Image]) -> Floats:
        return np.asarray(softmax(self._classifier.logits_of(images))[:, self.class_index])

    def _ask_pure(self, compositions: Iterable[Composition]) -> None:
        wanted: list[Canvas] = []
        for one in compositions:
            if isinstance(one, Perturbation):
                wanted += [one.start] if one.cuts[0] == 0 else []
                wanted += [one.end] if one.cuts[-1] == one.rank.size else []
        missing = [name for name in dict.fromkeys(wanted) if name not in self._pure]
        answers = self._ask(self.canvas(name) for name in missing)
        self._pure.update(zip(missing, map(float, answers), strict=True))

    def _mixed_images(self, one: Composition) -> Iterator[Image]:
        start, end = self.canvas(one.start), self.canvas(one.end)
        if isinstance(one, Blend):
            weight = one.weight[..., None]
            yield (weight * start + (1.0 - weight) * end).astype(np.float32)
            return
        for cut in one.cuts:
            if 0 < cut < one.rank.size:
                yield np.where((one.rank < cut)[..., None], end, start)

    def _assemble(self, one: Composition, answers: Iterator[float]) -> Floats:
        if isinstance(one, Blend):
            return np.array([next(answers)])
        pure = {0: self._pure.get(one.start), one.rank.size: self._pure.get(one.end)}
        return np.array([pure[cut] if cut in pure else next(answers) for cut in one.cuts.tolist()])


def _key(one: Composition) -> tuple[object, ...]:
    if isinstance(one, Blend):
        return (one.start, one.end, one.weight.tobytes())
    return (one.start, one.end, one.rank.tobytes(), one.cuts.tobytes())
