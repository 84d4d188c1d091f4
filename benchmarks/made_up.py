"""Made-up outcomes of many photos, for benchmarks of the store and the analysis: no model, no photo is read.

Maps, statistics and curves are of a few photos, repeated; scores are drawn for every photo. One photo in twelve is
misclassified, so that its faithfulness is not scored.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from evalkit.core.kept_maps import KeptMaps
from evalkit.core.randomness import generator
from evalkit.core.settings import merge
from evalkit.explainers.base import Explainer
from evalkit.harness.engine.jobs import Cell, MadeMap, Outcome
from evalkit.harness.engine.worker import hashed
from evalkit.harness.planning.manifest import manifest_of
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.prepare import prepare
from evalkit.metrics.case import Region
from evalkit.metrics.spec import Metric, RegionMetric
from evalkit.store.database import ImageRow
from evalkit.store.run_folder import RunFolder
from evalkit.store.statistics import pack

__all__ = ["MadeUp", "plan_of_twelve"]

SIDE = 224
_PHOTOS = 8  # that maps and statistics are of
_CURVES = ("deletion", "insertion")
_AT_ONCE = 500  # photos in one transaction
_WRONG_EVERY = 12  # one photo of so many is misclassified
Floats = NDArray[np.float64]


def plan_of_twelve() -> Plan:
    """Return the plan of a run of the twelve default explainers and thirteen metrics."""
    options = {"metrics": "default,average_drop,increase_in_confidence", "precision": "float32", "limit": 3}
    return prepare(merge(options), lambda _: None)


class _Pool(NamedTuple):
    """What is repeated: by explainer maps, by explainer and set-level metric statistics."""

    maps: dict[str, list[MadeMap]]
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
        made = {
            text: [hashed(MadeMap(text, saliency_map, 0.1), keeps=True) for saliency_map in of_explainer]
            for text, of_explainer in maps.items()
        }
        self._pool = _Pool(made, statistics)

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
            maps=tuple(self._pool.maps[explainer.text][number % _PHOTOS] for explainer in self.plan.explainers)
            if maps
            else (),
            region_drops={"drop_inside": float(rng.beta(4, 2)), "drop_outside": float(rng.beta(2, 4))},
            forward_passes=2500,
        )

    def fill(self, path: Path, count: int) -> None:
        """Make a finished run folder of so many photos, without maps, as fast as SQLite takes rows."""
        folder = RunFolder.write(path, fresh=True)
        rows = self.rows(count)
        with folder.database as database:
            database.plan_images(rows)
            database.touch()
        folder.close()
        packed = {cell: [pack(each) for each in pool] for cell, pool in self._pool.statistics.items()}
        with contextlib.closing(sqlite3.connect(path / "results.sqlite")) as database:
            for start in range(0, count, _AT_ONCE):
                self._fill_some(database, rows[start : start + _AT_ONCE], packed)
                database.commit()
        folder = RunFolder.write(path)
        now = "2026-11-27T00:00:00+00:00"
        folder.write_manifest(manifest_of(replace(self.plan, keep_maps=KeptMaps(0)), folder, now, finished=now))
        folder.close()

    def _fill_some(
        self, database: sqlite3.Connection, rows: list[ImageRow], packed: dict[tuple[str, str], list[bytes]]
    ) -> None:
        rng = generator(0, "fill", rows[0].image_id)
        explainers, metrics = self.plan.explainers, self.plan.metrics
        means = np.array([[self._means[one.text, metric.text] for metric in metrics] for one in explainers])
        noise = rng.normal(0, 0.15, (len(rows), *means.shape)) + rng.normal(0, 0.15, (len(rows), 1, 1))
        values = np.clip(means + noise, 0, 1)
        drawn, points = rng.integers(_PHOTOS, size=values.shape), rng.random((len(rows), len(explainers), 2, 58))
        scores, curves = [], []
        for index, row in enumerate(rows):
            wrong = (row.position or 0) % _WRONG_EVERY == 0
            for column, explainer in enumerate(explainers):
                for place, metric in enumerate(metrics):
                    key = row.image_id, explainer.text, metric.text
                    score = value_of(metric, float(values[index, column, place]))
                    cell: tuple[object, ...] = (score, None, None)
                    if metric.set_level:
                        cell = (None, None, packed[key[1:]][drawn[index, column, place]])
                    elif wrong and metric.spec.family == "faithfulness":
                        cell = (None, "misclassified", None)
                    elif metric.spec.name in _CURVES:
                        curve = points[index, column, _CURVES.index(metric.spec.name)]
                        curves.append((*key, curve.tobytes()))
                    scores.append((*key, *cell, self.plan.score_keys[key[1:]]))
        database.executemany("INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?)", scores)
        database.executemany("INSERT INTO curves VALUES (?, ?, ?, ?)", curves)
        database.executemany(
            "INSERT INTO maps VALUES (?, ?, ?, '', ?, 0, 0.1, ?)",
            [
                (row.image_id, one.text, self.plan.map_keys[one.text], "0" * 64, "0123456789abcdef")
                for row in rows
                for one in explainers
            ],
        )
        database.executemany(
            "UPDATE images SET sha256 = ?, predicted = class_index, target = class_index, clean_score = ?, "
            "correct = ?, place = 'fedcba9876543210', object_share = ?, facts_key = ? WHERE image_id = ?",
            [
                (
                    sha256(row.image_id.encode()).hexdigest(),
                    float(rng.beta(8, 2)),
                    int((row.position or 0) % _WRONG_EVERY > 0),
                    float(rng.uniform(0.02, 0.6)),
                    self.plan.facts_key,
                    row.image_id,
                )
                for row in rows
            ],
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
        share = self._means[explainer.text, metric.text] + common + rng.normal(0, 0.15)
        value = value_of(metric, float(np.clip(share, 0, 1)))
        curve = np.stack([np.linspace(0, 1, 29), rng.random(29)])
        return Cell(explainer.text, metric.text, value, curve=curve if metric.spec.name in _CURVES else None)


def value_of(metric: Metric, share: float) -> float:
    """Return the score at a share, 0..1, of the metric's range; 0 or 1 for a metric that has only these."""
    low, high = metric.spec.bounds
    return float(share > 0.5) if metric.spec.binary else low + (high - low) * share


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
