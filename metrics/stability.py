"""Stability: how much a map changes when the image changes a little. Says nothing of whether the map is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.core.randomness import generator
from evalkit.metrics.case import Case
from evalkit.metrics.requests import Cost, Explain, Request
from evalkit.metrics.spec import Answer, Metric, MetricSpec

__all__ = ["MaxSensitivity", "relative_change"]

Map = NDArray[np.floating]


def relative_change(changed: Map, reference: Map) -> float:
    """Return the L2 norm of the difference of two maps over that of the reference.

    Args:
        changed: finite float (H, W).
        reference: finite float (H, W).

    Returns:
        0 or more; NaN if the reference is zero everywhere, or either map is not finite.
    """
    before = np.asarray(reference, dtype=np.float64)
    size = float(np.linalg.norm(before))
    change = float(np.linalg.norm(np.asarray(changed, dtype=np.float64) - before))
    return change / size if size > 0 and np.isfinite(change) else np.nan


@dataclass(frozen=True)
class MaxSensitivity(Metric):
    """Max-sensitivity: the largest relative change of the map under small random changes of the image.

    A constant map never changes and scores 0, the least: the metric is descriptive, never a criterion.

    Attributes:
        samples: changed images, 1 to 100; each costs one map.
        radius: every value of every pixel moves by uniform noise in -radius..radius, on the scale of 0..255; values
            beyond 0..255 are kept. The target stays.

    Reference: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, definition 3, with the
    largest change found by sampling.
    """

    draws: ClassVar[bool] = True
    spec: ClassVar[MetricSpec] = MetricSpec(
        name="max_sensitivity",
        version=1,
        direction="lower",
        bounds=(0.0, np.inf),
        family="other",
        summary="largest relative change of the map under small noise on the image: how unstable it is",
        brief="largest change of the map under small noise",
        reference="Yeh et al., NeurIPS 2019, definition 3",
        nan_reason="the map is zero everywhere, or another one is not finite",
        descriptive=True,
        column="max_sens",
    )
    samples: int = 10
    radius: float = 5.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.samples <= 100:
            raise ConfigError(f"max_sensitivity: samples={self.samples} is not allowed; 1 to 100")
        if not 0 < self.radius <= 255:
            raise ConfigError(f"max_sensitivity: radius={self.radius} is not allowed; above 0, at most 255")

    def cost(self) -> Cost:
        """Return one map a sample."""
        return Cost(maps=self.samples)

    def requests(self, saliency_map: Map, case: Case) -> Sequence[Request]:
        """Return a map of each changed image; all explainers get the same images."""
        pixels = np.ascontiguousarray(case.pixels, dtype=np.float32)
        rng_key = (case.run_seed, case.content)
        return _changed_images(rng_key, pixels.tobytes(), pixels.shape, self.samples, self.radius)

    def score(self, saliency_map: Map, case: Case, answers: Sequence[Answer]) -> float:
        """Return the largest ``relative_change``; NaN if the map is zero everywhere, or another is not finite."""
        return float(np.max([relative_change(changed, saliency_map) for changed in answers]))


@lru_cache(maxsize=1)  # the maps of one image in turn: they share the images, and their memory
def _changed_images(
    rng_key: tuple[int, bytes], data: bytes, shape: tuple[int, ...], samples: int, radius: float
) -> tuple[Explain, ...]:
    pixels = np.frombuffer(data, dtype=np.float32).reshape(shape)
    rng = generator(*rng_key, "max_sensitivity")
    changed = [pixels + rng.uniform(-radius, radius, shape).astype(np.float32) for _ in range(samples)]
    for image in changed:
        image.setflags(write=False)  # no explainer may change what the next one sees
    return tuple(Explain(pixels=image) for image in changed)
