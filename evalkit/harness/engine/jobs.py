"""A job says what one image still needs; an outcome says what a worker found. Both are plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.entry import Entry
from evalkit.datasets.image import UNLABELLED

__all__ = ["Cell", "Job", "MadeMap", "Outcome", "Spent"]

Cells = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, eq=False)
class Job:
    """What one image still needs.

    Attributes:
        entry: the image.
        cells: for each explainer, by its text, the texts of the metrics without a valid score.
        stored: maps that need not be made again, by the explainer's text.
        sha256: of the photo's content as it was scored earlier; empty = not scored yet.
        region_digest: of where the object was then; None = not known. Where either differs now, everything is
            computed again.
    """

    entry: Entry
    cells: Cells
    stored: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    sha256: str = ""
    region_digest: str | None = None


@dataclass(frozen=True, eq=False)
class Cell:
    """One score.

    Attributes:
        explainer: the explainer's text.
        metric: the metric's text.
        value: the score; None of a set-level metric, or if not scored.
        statistics: of a set-level metric, float64 (K,).
        reason: why it is not scored; None if it is.
        failed: something went wrong, so that the next run tries it again.
        curve: float64 (2, S), fractions of the pixels and scores there, for plots.
    """

    explainer: str
    metric: str
    value: float | None = None
    statistics: NDArray[np.float64] | None = None
    reason: str | None = None
    failed: bool = False
    curve: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class MadeMap:
    """A map computed by this job: the explainer's text, float32 (H, W), and the seconds it took."""

    explainer: str
    saliency_map: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that a worker found out about one image.

    Attributes:
        image_id: which.
        problem: why the photo cannot be used; empty if it can. Nothing else is known then.
        changed: photo or region are not what was scored earlier; what is stored of the image is void.
        sha256: of the photo's content.
        region_digest: of where the object is.
        object_share: share of the image that its largest box takes, 0..1; None without a region.
        is_scored: the model's scores of the clean image are known.
        predicted: the model's first choice; -1 if its scores are not finite.
        targets: the outputs that were explained and scored together; mostly one.
        clean_score: their score on the clean image.
        is_correct: the model's first choice is the label; None without a label.
        cells: every explainer and metric of the job.
        maps: computed by this job.
        lost: explainers of the job that have no map, neither stored nor computed.
        forward_passes: images that went through the model for this job.
        backward_passes: images that went back through it.
        batch_size: the most images in one pass, after the job.
    """

    image_id: str
    problem: str = ""
    changed: bool = False
    sha256: str = ""
    region_digest: str = ""
    object_share: float | None = None
    is_scored: bool = False
    predicted: int = UNLABELLED
    targets: tuple[int, ...] = (UNLABELLED,)
    clean_score: float = float("nan")
    is_correct: bool | None = None
    cells: tuple[Cell, ...] = ()
    maps: tuple[MadeMap, ...] = ()
    lost: tuple[str, ...] = ()
    forward_passes: int = 0
    backward_passes: int = 0
    batch_size: int = 1


@dataclass
class Spent:
    """What the outcomes of this process took.

    Attributes:
        batch_size: the most images in one pass: it shrinks when memory runs out.
        forward_passes: images that went through the model.
        backward_passes: images that went back through it.
    """

    batch_size: int
    forward_passes: int = 0
    backward_passes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one more outcome."""
        self.batch_size = min(self.batch_size, outcome.batch_size)
        self.forward_passes += outcome.forward_passes
        self.backward_passes += outcome.backward_passes
