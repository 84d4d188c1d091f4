"""The harness over very many photos: ``python benchmarks/scaling.py --parts run,writer,workers,analysis``.

* ``run``: tiny photos and controls only, so that the harness is measured: seconds to the first computed photo, memory
  during the run, and seconds to repeat a finished run. Importing TensorFlow is measured separately.
* ``writer``: photos a second that are committed, of twelve explainers and thirteen metrics, with and without maps.
* ``workers``: the share of their time in which 4, 8 and 16 workers of Ray sleep, which is all that they do, half a
  second a photo without maps and a second with twelve maps.
* ``analysis``: seconds and memory of the first analysis of so many photos, of the next one, and of the report; the size
  of the database. Scores, maps and statistics are made up (``made_up.py``).

Each command is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from evalkit.core.randomness import generator

OURS = Path(__file__).resolve().parent
MODEL = """
import keras
layers = keras.layers
keras.Sequential([
    layers.Input((16, 16, 3)), layers.Rescaling(1 / 127.5, offset=-1.0), layers.Conv2D(4, 3, activation="relu"),
    layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax"),
]).save("tiny.keras")
"""
CHILD = """
import io, json, sys, time
start = time.perf_counter()
import psutil
from pathlib import Path
from rich.console import Console
from evalkit.api.evaluate import run_plan
from evalkit.core.settings import merge
from evalkit.harness.engine.worker import Worker
from evalkit.harness.planning.prepare import prepare
seen = {"imported": time.perf_counter() - start, "memory": []}
original, process, begun = Worker.begin, psutil.Process(), []
def watched(*arguments):
    seen.setdefault("first_photo", time.perf_counter() - start - seen["imported"])
    if len(begun) % 1000 == 0:
        seen["memory"].append(process.memory_info().rss / 1e6)
    begun.append(1)
    return original(*arguments)
Worker.begin = watched
options = dict(
    data="labels.csv", model="tiny.keras", explainers="uniform,random,center,edges", output="out",
    metrics="sparseness,pointing_game,energy_pointing_game,relevance_rank_accuracy", precision="float32",
)
plan = prepare(merge(options), lambda text: None)
run_plan(plan, Path("out"), fresh=False, console=Console(file=io.StringIO()))
seen["whole"] = time.perf_counter() - start - seen["imported"]
seen["photos"] = len(begun)
print(json.dumps(seen))
"""


WRITER = """
import json, os, sys, tempfile, time
from dataclasses import replace
from pathlib import Path
from made_up import MadeUp, plan_of_twelve
from evalkit.core.kept_maps import read_kept_maps
from evalkit.harness.engine.commit import commit
from evalkit.store.run_folder import RunFolder
count, keep = int(sys.argv[1]), sys.argv[2]
plan = replace(plan_of_twelve(), keep_maps=read_kept_maps("keep", keep))
made = MadeUp(plan)
folder = RunFolder.write(Path("writer"), fresh=True)
rows = made.rows(count)
with folder.database as database:
    database.plan_images(rows)
    database.touch()
outcomes = [made.outcome(row) for row in rows]
wall, cpu = time.perf_counter(), time.process_time()
for row, outcome in zip(rows, outcomes):
    commit(plan, folder, outcome, row)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
folder.close()
files = sum(file.stat().st_size for file in Path("writer/maps").rglob("*.npz"))
database = Path("writer/results.sqlite").stat().st_size
print(json.dumps({"photos_s": count / wall, "cpu_ms": 1000 * cpu / count, "maps_kb": files / count / 1000,
                  "database_kb": database / count / 1000}))
"""
FILL = """
import sys
from pathlib import Path
from made_up import MadeUp, plan_of_twelve
MadeUp(plan_of_twelve()).fill(Path("analysed"), int(sys.argv[1]))
"""
ANALYSE = """
import json, resource, sys, time
from pathlib import Path
from evalkit.analysis.service import results_of
from evalkit.store.run_folder import RunFolder
wall, cpu = time.perf_counter(), time.process_time()
folder = RunFolder.read(Path("analysed"))
if sys.argv[1] == "report":
    from evalkit.report.html.export import write_report
    size = write_report(folder).stat().st_size
else:
    results_of(folder)
    size = Path("analysed/results.sqlite").stat().st_size
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak_mb": peak,
                  "mb": size / 1e6}))
"""


def make_photos(folder: Path, count: int) -> None:
    """Write a model and labelled photos of noise, each with a box."""
    lines = ["image,class_index,label,x0,y0,x1,y1"]
    for number in range(count):
        subfolder = folder / "photos" / f"{number // 1000:03d}"
        subfolder.mkdir(parents=True, exist_ok=True)
        pixels = generator(0, "many", number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(subfolder / f"{number}.png")
        lines.append(f"photos/{number // 1000:03d}/{number}.png,{number % 3},class{number % 3},3,3,10,12")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    subprocess.run([sys.executable, "-c", MODEL], cwd=folder, check=True, capture_output=True)


def go(folder: Path, code: str = CHILD, *arguments: object) -> dict[str, Any]:
    """Run the code once, in a separate process, and return what it prints."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join([str(OURS), *sys.path])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1])) if done.stdout else {}


def measure_run(folder: Path, count: int) -> Table:
    """Run, and repeat the finished run."""
    make_photos(folder, count)
    first, again = go(folder), go(folder)
    memory = first["memory"]
    table = Table("what", "measured", title=f"{count:,} photos, 4 controls, 4 metrics", box=None)
    table.add_row("importing TensorFlow", f"{first['imported']:.1f} s")
    table.add_row("from import to the first photo computed", f"{first['first_photo']:.1f} s")
    table.add_row("whole run and its analysis", f"{first['whole']:.0f} s")
    sizes = " / ".join(f"{size:.0f}" for size in (memory[0], memory[len(memory) // 2], memory[-1]))
    table.add_row("memory at the first photo, halfway, at the end", f"{sizes} MB")
    table.add_row("repeating the finished run", f"{again['whole']:.1f} s, {again['photos']} photos computed")
    return table


def measure_writer(folder: Path, count: int) -> Table:
    """Commit made-up outcomes, with all maps, in float16, and without."""
    title = f"Writer: {count} photos, 12 explainers, 13 metrics"
    table = Table("--keep-maps", "photos/s", "CPU ms", "maps, kB", "database, kB", title=title, box=None)
    for keep in ("all", "all,float16", "none"):
        found = go(folder, WRITER, count, keep)
        sizes = (f"{found[name]:.0f}" for name in ("maps_kb", "database_kb"))
        table.add_row(keep, f"{found['photos_s']:.0f}", f"{found['cpu_ms']:.1f}", *sizes)
    return table


def measure_workers(folder: Path, count: int) -> Table:
    """Let workers sleep."""
    table = Table("workers", "s a photo", "--keep-maps", "efficiency", "photos/s", title="Sleeping workers", box=None)
    code = (OURS / "sleeping.py").read_text()
    for keep, seconds in (("none", 0.5), ("all", 1.0)):
        for workers in (4, 8, 16):
            found = go(folder, code, workers, seconds, count, keep)
            table.add_row(str(workers), f"{seconds}", keep, f"{found['efficiency']:.0%}", f"{found['photos_s']:.1f}")
    return table


def measure_analysis(folder: Path, counts: Sequence[int]) -> Table:
    """Analyse made-up runs of these numbers of photos, again, and write their reports."""
    table = Table("photos", "analysis", "wall s", "CPU s", "peak MB", "file, MB", box=None)
    for count in counts:
        go(folder, FILL, count)
        for what in ("first", "next", "report"):
            found = go(folder, ANALYSE, what)
            numbers = (f"{found['wall']:.1f}", f"{found['cpu']:.1f}", f"{found['peak_mb']:.0f}", f"{found['mb']:.1f}")
            table.add_row(f"{count:,}", what, *numbers)
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="run", help="of run, writer, workers and analysis, separated by commas")
    parser.add_argument("--photos", type=int, default=20_000, help="photos of the run")
    parser.add_argument("--written", type=int, default=400, help="photos that the writer commits")
    parser.add_argument("--analysed", default="10000,20000,50000", help="numbers of photos of the analysis")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for part in given.parts.split(","):
            folder = Path(name) / part
            folder.mkdir()
            if part == "run":
                table = measure_run(folder, given.photos)
            elif part == "writer":
                table = measure_writer(folder, given.written)
            elif part == "workers":
                table = measure_workers(folder, given.written)
            else:
                table = measure_analysis(folder, [int(count) for count in given.analysed.split(",")])
            Console(width=100).print(table)


if __name__ == "__main__":
    main()
