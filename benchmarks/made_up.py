"""Made-up outcomes of many photos, for benchmarks of the store and the analysis: no model, no photo is read.

Maps, statistics and curves are of a few photos, repeated; scores are drawn for every photo. One photo in twelve is
misclassified, so that its faithfulness is not scored.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from evalkit.core.randomness import generator
from evalkit.core.settings import merge
from evalkit.explainers.base import Explainer
from evalkit.harness.engine.jobs import Cell, MadeMap, Outcome
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.prepare import prepare
from evalkit.metrics.case import Region
from evalkit.metrics.spec import Metric, RegionMetric
from evalkit.store.database import ImageRow

__all__ = ["MadeUp", "plan_of_twelve"]

SIDE = 224
_PHOTOS = 8  # that maps and statistics are of
_CURVES = ("deletion", "insertion")
_WRONG_EVERY = 12  # one photo of so many is misclassified
Floats = NDArray[np.float64]


def plan_of_twelve() -> Plan:
    """Return the plan of a run of the twelve default explainers and thirteen metrics."""
    options = {"metrics": "default,average_drop,increase_in_confidence", "precision": "float32", "limit": 3}
    return prepare(merge(options), lambda _: None)


class _Pool(NamedTuple):
    """What is repeated: by explainer maps, by explainer and set-level metric statistics."""

    maps: dict[str, list[NDArray[np.float32]]]
    statistics: dict[tuple[str, str], list[Floats]]


class MadeUp:
    """Made-up photos of a plan."""

    def __init__(self, plan: Plan) -> None:
        """Make the maps and the statistics that are repeated."""
        self.plan = plan
        self._means = {
            (explainer.text, metric.text): float(generator(0, "mean", explainer.text, metric.text).uniform(0.2, 0.8))
            for explainer in plan.explainers
            for metric in plan.metrics
        }
        maps = {
            explainer.text: [_map_of(explainer, number) for number in range(_PHOTOS)] for explainer in plan.explainers
        }
        regions = [_region(number) for number in range(_PHOTOS)]
        statistics = {
            (explainer, metric.text): [
                np.asarray(metric.score_region(saliency_map, region), dtype=np.float64)
                for saliency_map, region in zip(of_explainer, regions, strict=True)
            ]
            for explainer, of_explainer in maps.items()
            for metric in plan.metrics
            if metric.set_level and isinstance(metric, RegionMetric)
        }
        self._pool = _Pool(maps, statistics)

    def rows(self, count: int) -> list[ImageRow]:
        """Return the rows of so many photos that have not been read."""
        return [
            ImageRow(
                f"val/{number % 1000:04d}/ILSVRC2012_val_{number:08d}.JPEG",
                number,
                number % 1000,
                f"class{number % 1000}",
                f"/data/imagenet/val/{number % 1000:04d}/ILSVRC2012_val_{number:08d}.JPEG",
                110_000 + number,
                1_700_000_000_000_000_000 + number,
                "0123456789abcdef",
                "",
                None,
            )
            for number in range(count)
        ]

    def outcome(self, row: ImageRow, *, maps: bool = True) -> Outcome:
        """Return the outcome of one photo; without ``maps`` they are left out."""
        number = row.position or 0
        rng, wrong = generator(0, "outcome", number), number % _WRONG_EVERY == 0
        common = rng.normal(0, 0.15)  # the photo's difficulty
        return Outcome(
            image_id=row.image_id,
            sha256=sha256(row.image_id.encode()).hexdigest(),
            region_digest="fedcba9876543210",
            object_share=float(rng.uniform(0.02, 0.6)),
            is_scored=True,
            predicted=0 if wrong else row.class_index,
            targets=(row.class_index,),
            clean_score=float(rng.beta(8, 2)),
            is_correct=not wrong,
            cells=tuple(
                self._cell(explainer, metric, common, wrong, rng)
                for explainer in self.plan.explainers
                for metric in self.plan.metrics
            ),
            maps=tuple(
                MadeMap(explainer.text, self._pool.maps[explainer.text][number % _PHOTOS], 0.1)
                for explainer in self.plan.explainers
            )
            if maps
            else (),
            region_drops={"drop_inside": float(rng.beta(4, 2)), "drop_outside": float(rng.beta(2, 4))},
            forward_passes=2500,
        )

    def _cell(
        self,
        explainer: Explainer,
        metric: Metric,
        common: float,
        wrong: bool,
        rng: np.random.Generator,
    ) -> Cell:
        if metric.set_level:
            statistics = self._pool.statistics[explainer.text, metric.text][int(rng.integers(_PHOTOS))]
            return Cell(explainer.text, metric.text, statistics=statistics)
        if wrong and metric.spec.family == "faithfulness":
            return Cell(explainer.text, metric.text, reason="misclassified")
        low, high = metric.spec.bounds
        value = self._means[explainer.text, metric.text] + common + rng.normal(0, 0.15)
        value = float(low + (high - low) * min(max(value, 0.0), 1.0))
        value = float(value > (low + high) / 2) if metric.spec.binary else value
        curve = np.stack([np.linspace(0, 1, 29), rng.random(29)])
        return Cell(explainer.text, metric.text, value, curve=curve if metric.spec.name in _CURVES else None)


def _map_of(explainer: Explainer, number: int) -> NDArray[np.float32]:
    """Return a map as smooth, or as coarse, as the explainer's."""
    rng = generator(0, "map", explainer.text, number)
    if explainer.name in ("random", "uniform"):
        values = rng.random((SIDE, SIDE)) if explainer.name == "random" else np.ones((SIDE, SIDE))
    elif "patch_size" in explainer.parameters():
        values = np.kron(rng.random((28, 28)), np.ones((8, 8)))
    else:
        values = zoom(rng.random((14, 14)), SIDE / 14, order=1)
    return values.astype(np.float32)


def _region(number: int) -> Region:
    top, left = generator(0, "region", number).integers(10, 90, 2)
    mask = np.zeros((SIDE, SIDE), dtype=np.bool_)
    mask[top : top + 110, left : left + 120] = True
    return Region(mask, np.array([[left, top, left + 120, top + 110]], dtype=np.float64), exact=True)
