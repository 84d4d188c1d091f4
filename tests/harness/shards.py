"""Runs and their shards, which several files of tests put together."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
from PIL import Image
from rich.console import Console

import evalkit
from benchmarks.same_numbers import differences
from evalkit.core.settings import merge
from evalkit.harness.engine.driver import compute, require_readable
from evalkit.harness.merge import merge_shards
from evalkit.harness.planning.prepare import prepare
from evalkit.store.run_folder import RunFolder

# Facts of maps, repeatability, partners from the whole set, scores of the set, curves.
OPTIONS = {
    "explainers": "random,rise(masks=8, grid=3, tolerance=0.4)",
    "metrics": "deletion,pointing_game,max_box_acc_v2,grid_pointing_game",
    "criterion": "deletion",
    "steps": 3,
    "precision": "float32",
}


def photos_in(folder, rng, names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / name)


def manifest_set(folder, rng):
    """Nine entries: one photo cannot be read, one is missing, two have the same content."""
    names = [f"{number}.png" for number in range(9)]
    photos_in(folder, rng, names)
    shutil.copy(folder / "0.png", folder / "7.png")
    (folder / "2.png").write_text("no photo")
    (folder / "5.png").unlink()
    rows = [f"{name},{number % 3},{4 + number},6,30,28" for number, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["image,class_index,x0,y0,x1,y1", *rows]) + "\n")
    return {"data": str(folder / "labels.csv")}


def class_folders(folder, rng):
    """Seven photos in three folders, of which six are drawn; no regions."""
    photos_in(folder, rng, [f"{'abc'[number % 3]}/{number}.png" for number in range(7)])
    return {"data": str(folder), "limit": 6, "seed": 3}


def unlabelled(folder, rng):
    """Photos in memory without labels; there are no partners."""
    return {"images": evalkit.ImageSet.from_arrays(rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8), None)}


SETS = {
    "manifest": (manifest_set, {}),
    "folders": (class_folders, {}),
    "unlabelled": (unlabelled, {"target": "predicted", "metrics": "deletion,sparseness"}),
}


class Runs:
    """Runs of one image set, made when they are first needed; all use one classifier."""

    def __init__(self, folder, classifier, given, images):
        self.folder, self.classifier, self.given, self.images = folder, classifier, given, images

    def at(self, name, **changes):
        path = self.folder / name
        if not path.exists():
            self.compute(path, **changes)
        return path

    def compute(self, path, **changes):
        options = merge({**OPTIONS, **self.given, **changes, "output": str(path)})
        plan = prepare(options, lambda _: None, model=self.classifier, images=self.images)
        require_readable(plan)
        folder = RunFolder.write(path)
        try:
            return compute(plan, folder, Console(file=io.StringIO()))
        finally:
            folder.close()

    def shards(self, count):
        return [self.at(f"{number}-of-{count}", shard=f"{number}/{count}") for number in range(1, count + 1)]


def tables(folder):
    """Return all rows of all tables, without the seconds that maps took and the revision."""
    with closing(sqlite3.connect(folder / "results.sqlite")) as database:
        found = {}
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "seconds"]
            rows = database.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608
            found[table] = sorted(rows.fetchall(), key=repr)
    del found["meta"]
    return found


TIMES = {"seconds", "seconds_per_image", "created", "finished"}


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def require_equal(whole, merged):
    assert list(differences(whole, merged, {})) == []
    assert tables(whole) == tables(merged)
    first, second = (without_times(json.loads((path / "manifest.json").read_text())) for path in (whole, merged))
    assert first == second


def joined(parts, output):
    """Return the manifest of the merged shards."""
    return merge_shards(parts, output, lambda _: None)
