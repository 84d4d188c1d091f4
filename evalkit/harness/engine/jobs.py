"""Jobs (the missing cells of one image) and outcomes (the results of a worker), as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.entry import Entry
from evalkit.datasets.image import UNLABELLED, LabelledImage
from evalkit.explainers.base import MapFacts
from evalkit.harness.planning.partners import Draw

__all__ = ["Advance", "Cell", "Job", "MadeMap", "Outcome", "ReadPhoto", "Spent"]

Advance = Callable[[str, float], None]  # the current step and its number of passes
Cells = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, eq=False)
class ReadPhoto:
    """A photo that was read.

    Attributes:
        fitted: the photo, fitted to the model's input.
        place: the digest of its region at its own size.
    """

    fitted: LabelledImage
    place: str


@dataclass(frozen=True, eq=False)
class Job:
    """The missing cells of one image.

    Attributes:
        entry: the image.
        cells: the texts of explainers, each with the texts of the metrics that have no valid score.
        stored: the maps that need not be computed again, by the explainer's text.
        sha256: the digest of the photo when it was scored; empty = not scored yet.
        region_digest: the digest of its region then; None = unknown. If either differs now, everything is computed
            again.
        repeats: the explainers of which a map of another seed is computed, to see how alike the two are.
        repeated: True if that is done on this image: of all explainers that draw, if photo or region changed.
        partners: the images of other classes that metrics show beside it.
        region: True if the drops of the model's score are measured when the image's region, or everything else, is
            hidden; also done if photo or region changed.
        keeps_maps: True if the values of maps come back.
        read: the photos that were read ahead, by the entry's id, or why one cannot be used; others are read when the
            job is done.
    """

    entry: Entry
    cells: Cells
    stored: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    sha256: str = ""
    region_digest: str | None = None
    repeats: frozenset[str] = frozenset()
    repeated: bool = False
    partners: Draw = field(default_factory=Draw)
    region: bool = False
    keeps_maps: bool = True
    read: Mapping[str, ReadPhoto | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cell:
    """One score.

    Attributes:
        explainer: the explainer's text.
        metric: the metric's text.
        value: the score; None for a set-level metric, or if not scored.
        statistics: the statistics for a set-level metric, float64 (K,).
        reason: the reason why it is not scored; None if it is scored.
        failed: True = an error, which the next run tries again.
        curve: the fractions of pixels and the scores at them, float64 (2, S), for plots.
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
    """A map computed by this job.

    Attributes:
        explainer: the explainer's text.
        saliency_map: the map, float32 (H, W).
        seconds: its time, as if its explainer ran alone.
        facts: what is known of it besides its values.
        sha256: the digest of its values as a .npy file.
        rank_hash: the hash of the order of its pixels; None = not finite.
    """

    explainer: str
    saliency_map: NDArray[np.float32]
    seconds: float
    facts: MapFacts = field(default_factory=MapFacts)
    sha256: str = ""
    rank_hash: str | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of a worker for one image.

    Attributes:
        image_id: the id of the image.
        problem: the reason why the photo cannot be used; empty if it can. If it is set, no other field is.
        changed: True if photo or region changed since they were scored; stored results are then invalid.
        sha256: the digest of the photo's content.
        region_digest: the digest of the region.
        object_share: the fraction of the image that the largest box covers, 0..1; None without a region.
        is_scored: True if the model's scores of the clean image are known.
        predicted: the predicted class; -1 if the scores are not finite.
        targets: the outputs that were explained and scored together; mostly one.
        clean_score: the score of the targets on the clean image.
        is_correct: True if the predicted class is the label; None without a label.
        cells: the cells of the job, one for each explainer and metric.
        maps: the maps that this job computed; without their values if the job does not keep them.
        repeatability: by explainer, the rank correlation of its map with one of another seed; NaN if it is undefined.
        region_drops: these drops by name, empty where they are not defined; None = not measured.
        lost: the explainers of the job that have no map, neither stored nor computed.
        forward_passes: the number of forward passes of this job, in images.
        backward_passes: the number of its backward passes, in images.
        batch_size: the largest number of images in one pass, after the job; None = no pass was made.
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
    repeatability: Mapping[str, float] = field(default_factory=dict)
    region_drops: Mapping[str, float] | None = None
    lost: tuple[str, ...] = ()
    forward_passes: int = 0
    backward_passes: int = 0
    batch_size: int | None = None


@dataclass
class Spent:
    """The passes and the batch size of the outcomes in this process.

    Attributes:
        batch_size: the largest number of images in one pass; it shrinks when memory runs out.
        forward_passes: the number of forward passes, in images.
        backward_passes: the number of backward passes, in images.
    """

    batch_size: int
    forward_passes: int = 0
    backward_passes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Add one outcome."""
        self.batch_size = min(self.batch_size, outcome.batch_size or self.batch_size)
        self.forward_passes += outcome.forward_passes
        self.backward_passes += outcome.backward_passes
