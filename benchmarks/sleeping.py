"""Workers that sleep instead of computing, so that only the driver, Ray and the writer are measured."""

from __future__ import annotations

import json
import pickle
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from made_up import MadeUp, plan_of_twelve

from evalkit.core.engine_options import EngineOptions
from evalkit.core.kept_maps import read_kept_maps
from evalkit.datasets.entry import Entry
from evalkit.datasets.image import LabelledImage
from evalkit.harness.engine import executors
from evalkit.harness.engine.commit import commit
from evalkit.harness.engine.jobs import Job, Outcome, ReadPhoto
from evalkit.harness.engine.pool import WorkerPool
from evalkit.harness.engine.ray_worker import Done
from evalkit.harness.engine.worker_facts import WorkerFacts, facts_here
from evalkit.store.run_folder import RunFolder


class Sleeper:
    """A worker that returns the same results for every photo, after a while."""

    def __init__(self, _driver: WorkerFacts, packed: bytes, _threads: int) -> None:
        self.seconds, self.outcome = pickle.loads(packed)  # noqa: S301 - sent by this benchmark

    def greet(self) -> WorkerFacts:
        """Return the facts of the process."""
        return facts_here()

    def do(self, job: Job) -> Done:
        """Sleep."""
        time.sleep(self.seconds)
        return Done(replace(self.outcome, image_id=job.entry.id), self.seconds)


class Jobs:
    """Jobs with photos of noise, all read."""

    def __init__(self, ids: list[str]) -> None:
        self._ids = ids
        pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
        self._photo = ReadPhoto(LabelledImage("photo", pixels, 0, ""), "")

    @property
    def is_over(self) -> bool:
        """Whether every job was taken."""
        return not self._ids

    def take(self) -> Job | None:
        """Return the next job."""
        if not self._ids:
            return None
        entry = Entry(self._ids.pop(0), None, 0, "")
        return Job(entry, (), read={entry.id: self._photo})


def measure(workers: int, seconds: float, count: int, keep: str) -> dict[str, float]:
    """Let workers sleep over so many photos, and commit what they return.

    Returns:
        The share of the workers' time in which they slept, and photos a second, from when all were ready.
    """
    executors.prepare_ray(EngineOptions(engine="ray"))
    from evalkit.harness.engine.ray_cluster import RayCluster

    plan = replace(plan_of_twelve(), keep_maps=read_kept_maps("keep", keep))
    made, folder = MadeUp(plan), RunFolder.write(Path("sleeping"), fresh=True)
    rows = {row.image_id: row for row in made.rows(count)}
    with folder.database as database:
        database.plan_images([*rows.values()])
        database.touch()
    template: Outcome = made.outcome(next(iter(rows.values())), maps=keep != "none")
    cluster = RayCluster(None, workers, 1, 0.0, facts_here(), worker=Sleeper)
    cluster.ship(pickle.dumps((seconds, template)))
    pool, start, done = WorkerPool(cluster, workers, print), 0.0, 0
    for outcome in pool.outcomes(Jobs([*rows])):
        commit(plan, folder, outcome, rows[outcome.image_id])
        if pool.n_ready < workers:
            continue
        start, done = start or time.perf_counter(), done + 1
    elapsed = time.perf_counter() - start
    cluster.close()
    folder.close()
    return {"efficiency": (done - 1) * seconds / workers / elapsed, "photos_s": (done - 1) / elapsed}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])) + "\n")
