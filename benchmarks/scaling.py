"""Plan, run and resume over very many photos: ``python benchmarks/scaling.py``.

Tiny photos and controls only, so that the harness is measured: seconds to the first computed photo, memory during the
run, and seconds to repeat a finished run. Each command is a separate process; importing TensorFlow is measured
separately.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from evalkit.core.randomness import generator

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


def go(folder: Path) -> dict[str, object]:
    """Run the command once, in a separate process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run, repeat, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make_photos(Path(name), given.photos)
        first, again = go(Path(name)), go(Path(name))
    memory: list[float] = first["memory"]  # type: ignore[assignment]
    table = Table(title=f"{given.photos:,} photos, 4 controls, 4 metrics", box=None)
    for header in ("what", "measured"):
        table.add_column(header)
    table.add_row("importing TensorFlow", f"{first['imported']:.1f} s")
    table.add_row("from import to the first photo computed", f"{first['first_photo']:.1f} s")
    table.add_row("whole run and its analysis", f"{first['whole']:.0f} s")
    table.add_row("memory at the first photo, halfway, at the end", " / ".join(
        f"{size:.0f}" for size in (memory[0], memory[len(memory) // 2], memory[-1])) + " MB")  # fmt: skip
    table.add_row("repeating the finished run", f"{again['whole']:.1f} s, {again['photos']} photos computed")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
