"""Maps that are changed in a known way, to see how metrics score it: the probes of ``audit``.

``DegradedMap`` changes a map that a run has stored; ``KnownMap`` degrades the object's exact mask, where the object is
known to be the only evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evalkit.core import signature
from evalkit.core.errors import ConfigError, NotScored
from evalkit.core.randomness import generator
from evalkit.core.specs import Literals
from evalkit.datasets.image import LabelledImage
from evalkit.explainers.base import Explainer, MapFacts, Maps, Outputs, Photos
from evalkit.explainers.controls import image_digest
from evalkit.store.maps import SavedMap, load_map

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["CHANGES", "NOISE_DOSES", "Change", "DegradedMap", "KnownMap", "changed_map"]

Change = Literal["blur", "coarsen", "sharpen", "noise"]
Map = NDArray[np.float32]

NOISE_DOSES = (0.2, 0.4, 0.6, 0.8, 1.0)
CHANGES: tuple[tuple[Change, float], ...] = (
    ("blur", 4.0),
    ("blur", 8.0),
    ("blur", 16.0),
    ("coarsen", 7.0),
    ("sharpen", 4.0),
    *(("noise", dose) for dose in NOISE_DOSES),
)
"""What is done to a map, and how much of it; see ``changed_map``."""


def changed_map(saliency_map: Map, change: Change, dose: float, rng: np.random.Generator) -> Map:
    """Return a map changed in a known way, float32 (H, W).

    * ``blur``: a Gaussian of ``dose`` pixels: no information is added to the map.
    * ``coarsen``: the means of ``dose`` x ``dose`` equal parts.
    * ``sharpen``: the map plus its difference to the map blurred by ``dose`` pixels (unsharp masking).
    * ``noise``: the values of a share ``dose`` of the pixels, drawn at random, are shuffled among them: the histogram
      stays. From the same generator, the pixels of a smaller dose are among those of a larger one; at 1 nothing of the
      map is left.

    Args:
        saliency_map: finite float32 (H, W).
        change: what is done.
        dose: how much of it.
        rng: the generator of ``noise``.
    """
    if change == "blur":
        return _blurred(saliency_map, dose)
    if change == "sharpen":
        return np.asarray(2 * saliency_map - _blurred(saliency_map, dose), dtype=np.float32)
    if change == "coarsen":
        return _coarsened(saliency_map, int(dose))
    order = rng.permutation(saliency_map.size)
    chosen = order[: round(dose * order.size)]
    shuffled = saliency_map.ravel().copy()
    shuffled[chosen] = shuffled[rng.permutation(chosen)]
    return np.asarray(shuffled.reshape(saliency_map.shape))


def _blurred(saliency_map: Map, sigma_px: float) -> Map:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(saliency_map.astype(np.float64), sigma_px), dtype=np.float32)


def _coarsened(saliency_map: Map, parts: int) -> Map:
    sums, counts = saliency_map.astype(np.float64), np.ones(saliency_map.shape)
    cells = [np.arange(side) * min(parts, side) // side for side in saliency_map.shape]
    for axis, cell in enumerate(cells):
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        sums, counts = np.add.reduceat(sums, starts, axis=axis), np.add.reduceat(counts, starts, axis=axis)
    return np.asarray((sums / counts)[cells[0][:, None], cells[1]], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Probe(Explainer):
    """Base of the probes: maps of named photos."""

    summary: ClassVar[str] = "a map changed in a known way, with `audit --probe`"
    reference: ClassVar[str] = "docs/metrics-on-trial.md"
    method: ClassVar[str] = "no model"

    @property
    def text(self) -> str:
        """The name and all parameters."""
        given = ", ".join(f"{key}={value}" for key, value in self.parameters().items())
        return f"{self.name}({given})"

    @property
    def signature(self) -> str:
        """Name, version and all parameters."""
        return signature.line(self.name, {"v": self.version, **self.parameters()})

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Raise ConfigError: only maps of named photos exist."""
        raise ConfigError(f"{self.text} changes the maps of named photos; it cannot explain other images")

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return 0."""
        return 0


@dataclass(frozen=True, eq=False)
class DegradedMap(_Probe):
    """A map of a finished run, changed in a known way.

    Attributes:
        of: the text of the explainer that made the map.
        change: what is done, see ``changed_map``.
        dose: how much of it.
        folder: the run folder.
        files: its map files by image id.
        photos: the digests of the photos that they explain, by image id.
        seed: Random seed of ``noise``.
    """

    name: ClassVar[str] = "degraded"
    of: str
    change: Change
    dose: float
    folder: Path = field(repr=False)
    files: Mapping[str, SavedMap] = field(repr=False)
    photos: Mapping[str, str] = field(repr=False)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the change."""
        if self.change not in get_args(Change):
            raise ConfigError(
                f"{self.name}: change={self.change} is not allowed; it takes {', '.join(get_args(Change))}"
            )

    def parameters(self) -> dict[str, Literals]:
        """Return what is done to which maps."""
        drawn: dict[str, Literals] = {"seed": self.seed} if self.change == "noise" else {}
        return {"of": self.of, "change": self.change, "dose": self.dose, **drawn}

    @property
    def contents(self) -> str:
        """A digest of the maps, so that changed maps are scored again."""
        return signature.digest("|".join(f"{name}:{saved.sha256}" for name, saved in sorted(self.files.items())), 32)

    def explain_photo(self, classifier: Classifier, image: LabelledImage, target: Outputs) -> tuple[Maps, MapFacts]:
        """Return the changed map of the photo, float64 (1, H, W), and no facts.

        Raises:
            NotScored: the run has no map of the photo, it is damaged, or the photo is another one now.
        """
        saved = self.files.get(image.id)
        stored = None if saved is None else load_map(self.folder, saved.file, saved.sha256, self.of, exact=True)
        if stored is None:
            raise NotScored(f"the run has no map of {self.of}")
        if self.photos.get(image.id) != image.sha256 or stored.shape != classifier.input_size:
            raise NotScored("the photo changed after the run")
        rng = generator(self.seed, image_digest(image.pixels), "probe", self.of)
        return changed_map(stored, self.change, self.dose, rng)[None].astype(np.float64), MapFacts()


@dataclass(frozen=True, eq=False)
class KnownMap(_Probe):
    """The object's exact mask as a map, with a share of its pixels shuffled: the more of them, the worse it is.

    Attributes:
        dose: the share of the pixels that are shuffled, 0..1.
        seed: Random seed.
    """

    name: ClassVar[str] = "known"
    dose: float
    seed: int = 0

    def parameters(self) -> dict[str, Literals]:
        """Return the dose and the seed."""
        return {"dose": self.dose, "seed": self.seed}

    def explain_photo(self, classifier: Classifier, image: LabelledImage, target: Outputs) -> tuple[Maps, MapFacts]:
        """Return the mask as a map, float64 (1, H, W), and no facts.

        Raises:
            NotScored: the photo has no exact mask.
        """
        if image.region is None or not image.exact or not image.region.any():
            raise NotScored("the photo has no exact mask")
        rng = generator(self.seed, image_digest(image.pixels), "known map")
        known = changed_map(image.region.astype(np.float32), "noise", self.dose, rng)
        return known[None].astype(np.float64), MapFacts()
