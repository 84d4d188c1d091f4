"""Images that the baseline scored and the run did not: how many, why, and what the baseline's mean on them was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from evalkit.store.scores import mean_of_units

__all__ = ["OTHER_CLASS", "Loss", "loss_of"]

Floats = NDArray[np.float64]
OTHER_CLASS = "the model explains another class"
_ROUNDING = 1e-9  # 0.29 * 100 is below 29


class _Details(TypedDict):
    n_lost_for_reason: int
    n_lost_entries: int
    lost_baseline_mean: float | None
    n_any_class: int
    any_class_baseline_mean: float | None
    any_class_mean: float | None


class Loss(NamedTuple):
    """The images of one explainer and metric that are lost. An image here is a photo, with all of its entries.

    Attributes:
        n_scored: number of images that the baseline scored.
        n_images: number of these of which no entry is scored in both.
        reason: the most frequent reason why; None if none is lost.
        n_for_reason: number of the lost images with this reason.
        n_entries: number of entries that are not scored in both, of images that are not lost.
        baseline_mean: mean in the baseline over the lost images; None if none is lost.
        n_any_class: number of images that both scored, whatever class each explained; 0 = not known.
        any_class_means: means in the baseline and in the run over these images; None = not known.
    """

    n_scored: int
    n_images: int
    reason: str | None
    n_for_reason: int
    n_entries: int
    baseline_mean: float | None
    n_any_class: int = 0
    any_class_means: tuple[float, float] | None = None

    def too_many(self, max_lost: float) -> str | None:
        """Return why the comparison is not made; None if it can be.

        Args:
            max_lost: largest accepted share of the images that the baseline scored.
        """
        if not self.n_images:
            return None
        why = f"(most frequent reason: {self.reason}, {self.n_for_reason})"
        if self.n_images == self.n_scored:
            return f"of {self.n_scored} images that the baseline scored, none is scored now {why}"
        accepted = int(max_lost * self.n_scored * (1 + _ROUNDING))
        if self.n_images <= accepted:
            return None
        return (
            f"of {self.n_scored} images that the baseline scored, {self.n_images} are not scored now {why}; "
            f"--max-lost {100 * max_lost:g}% accepts at most {accepted}"
        )

    def with_any_class(self, before: Floats, now: Floats, photos: NDArray[np.int64]) -> Loss:
        """Add the means over all images that both scored, whatever class each explained.

        Args:
            before: float64 (n,), scores in the baseline, NaN = not scored.
            now: float64 (n,), scores in the run, of whatever class.
            photos: (n,), the photo of each image.
        """
        both = np.isfinite(before) & np.isfinite(now)
        if not both.any():
            return self
        means = _mean_over_photos(before[both], photos[both]), _mean_over_photos(now[both], photos[both])
        return self._replace(n_any_class=len(np.unique(photos[both])), any_class_means=means)

    def details(self) -> _Details:
        """Return the fields of ``GateCell`` that describe the loss."""
        before, now = self.any_class_means or (None, None)
        return {
            "n_lost_for_reason": self.n_for_reason,
            "n_lost_entries": self.n_entries,
            "lost_baseline_mean": self.baseline_mean,
            "n_any_class": self.n_any_class,
            "any_class_baseline_mean": before,
            "any_class_mean": now,
        }


def loss_of(before: Floats, now: Floats, photos: NDArray[np.int64], reason: Callable[[int], str]) -> Loss:
    """Return which images are lost.

    Args:
        before: float64 (n,), scores in the baseline, NaN = not scored.
        now: float64 (n,), scores in the run, NaN = not scored or not comparable.
        photos: (n,), the photo of each image.
        reason: returns why the image with this index is not scored in the run.
    """
    scored, both = np.isfinite(before), np.isfinite(before) & np.isfinite(now)
    kept = np.isin(photos, photos[both])
    lost = scored & ~kept
    reasons_of: dict[int, Counter[str]] = {}
    for index in np.flatnonzero(lost):
        reasons_of.setdefault(int(photos[index]), Counter())[reason(int(index))] += 1
    reasons = Counter(counts.most_common(1)[0][0] for counts in reasons_of.values())
    most_frequent, n_for_reason = reasons.most_common(1)[0] if reasons else (None, 0)
    return Loss(
        n_scored=len(np.unique(photos[scored])),
        n_images=len(reasons_of),
        reason=most_frequent,
        n_for_reason=n_for_reason,
        n_entries=int(np.count_nonzero(scored & kept & ~both)),
        baseline_mean=_mean_over_photos(before[lost], photos[lost]) if reasons else None,
    )


def _mean_over_photos(values: Floats, photos: NDArray[np.int64]) -> float:
    """Return the mean over photos of the mean over each photo's entries."""
    _, unit = np.unique(photos, return_inverse=True)
    return float(mean_of_units(values, unit).mean())
