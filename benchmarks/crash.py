"""Kill a run many times and check that nothing is lost: ``python benchmarks/crash.py``.

A run over small photos is killed (SIGKILL) at random moments after it began to compute, and repeated each time; after
the last kill it finishes. Its scores and maps must equal those of an uninterrupted run bit for bit, and only the two
photos in progress at a kill, one in the model and one being scored, may be computed twice. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
from PIL import Image

from evalkit.core.randomness import generator
from evalkit.harness.engine.jobs import Job

LONGEST_S = 0.3  # after a process has begun to compute
IN_PROGRESS = 2  # photos: one in the model, and the one before, which is being scored
MODEL = """
import keras
keras.utils.set_random_seed(7)
layers = keras.layers
keras.Sequential([
    layers.Input((32, 32, 3)), layers.Rescaling(1 / 127.5, offset=-1.0), layers.Conv2D(6, 3, activation="relu"),
    layers.MaxPooling2D(), layers.Conv2D(8, 3, activation="relu"), layers.GlobalAveragePooling2D(),
    layers.Dense(3, activation="softmax"),
]).save("tiny.keras")
"""
# Every run is a process of its own, forked from one that has imported all this and computed nothing.
SERVER = multiprocessing.get_context("forkserver")
PRELOADED = ["evalkit.cli.app", "evalkit.cli.run", "evalkit.harness.engine.driver", "evalkit.models.zoo.load"]
ARGUMENTS = (
    "run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--steps", "8", "--explainers",
    "gradcam,occlusion(patch_size=8,stride=half),random", "--metrics",
    "deletion,insertion,symmetric_relevance_gain,pxap,sparseness",
    "--precision", "float32",  # auto goes by measured speed, so two runs may differ in it
)  # fmt: skip


def make_photos(folder: Path, count: int) -> None:
    """Write a small model and labelled photos of noise."""
    lines = ["image,class_index,label,x0,y0,x1,y1"]
    for number in range(count):
        pixels = generator(0, "crash", number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photo{number}.png")
        lines.append(f"photo{number}.png,{number % 3},class{number % 3},8,6,30,28")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    subprocess.run([sys.executable, "-c", MODEL], cwd=folder, check=True, capture_output=True)


def begin(folder: Path, output: str) -> ForkServerProcess:
    """Start or resume the run in one folder, in a process of its own."""
    process = SERVER.Process(target=run_counted, args=(folder, output))
    process.start()
    return process


def run_counted(folder: Path, output: str) -> None:
    """Run in this process, which ends with the exit code; each photo begun is written to a log."""
    from evalkit.cli.app import main as evalkit
    from evalkit.harness.engine.worker import Worker

    original, log = Worker.begin, folder / f"{output}.log"

    def counted(worker: Worker, job: Job, *others: object) -> object:
        with log.open("a") as lines:
            lines.write(f"{os.getpid()} {job.entry.id}\n")
        return original(worker, job, *others)  # type: ignore[arg-type]

    Worker.begin = counted  # type: ignore[method-assign,assignment]
    os.chdir(folder)
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):  # noqa: PTH123
        evalkit([*ARGUMENTS, "--output", output])


def starts(folder: Path, output: str) -> list[tuple[str, str]]:
    """Return the pairs of process and photo that it began, in order."""
    log = folder / f"{output}.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(process, photo) for process, _, photo in (line.partition(" ") for line in lines)]


def kill_once(folder: Path, output: str, delay_s: float) -> bool:
    """Resume a run and kill it ``delay_s`` after its first photo; False if it finished before."""
    before, child = len(starts(folder, output)), begin(folder, output)
    while child.is_alive() and len(starts(folder, output)) == before:
        time.sleep(0.01)
    time.sleep(delay_s)
    if not child.is_alive():
        return False
    child.kill()
    child.join()
    return True


def finish(folder: Path, output: str) -> bool:
    """Run to the end; False if the run failed."""
    child = begin(folder, output)
    child.join()
    return child.exitcode == 0


def contents(run: Path) -> dict[str, object]:
    """Return all scores, and the checksums of all maps."""
    database = sqlite3.connect(run / "results.sqlite")
    columns = "image_id, explainer, metric, value, reason, hex(statistics), key"
    scores = database.execute(f"SELECT {columns} FROM scores ORDER BY 1, 2, 3").fetchall()  # noqa: S608 - ours
    maps = database.execute("SELECT image_id, explainer, sha256, rank_hash FROM maps ORDER BY 1, 2").fetchall()
    database.close()
    return {"scores": [repr(row) for row in scores], "maps": [repr(row) for row in maps]}


def computed_twice(begun: list[tuple[str, str]]) -> tuple[int, int]:
    """Return how many photos were computed again, and how many of these were not in progress at a kill."""
    of_process: dict[str, list[str]] = {}
    for process, photo in begun:
        of_process.setdefault(process, []).append(photo)
    in_progress = Counter(photo for photos in of_process.values() for photo in photos[-IN_PROGRESS:])
    again = {photo: count - 1 for photo, count in Counter(photo for _, photo in begun).items() if count > 1}
    return sum(again.values()), sum(max(count - in_progress[photo], 0) for photo, count in again.items())


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--photos", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0, help="random seed of the moments")
    given = parser.parse_args()
    SERVER.set_forkserver_preload(PRELOADED)
    moments = generator(given.seed, "kills").uniform(0, LONGEST_S, given.kills)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photos(folder, given.photos)
        kills = 0
        for moment in moments:
            if not kill_once(folder, "killed", float(moment)):
                break
            kills += 1
        if not (finish(folder, "killed") and finish(folder, "untouched")):
            sys.exit("a run failed")
        same = contents(folder / "killed") == contents(folder / "untouched")
        n_scores = len(contents(folder / "untouched")["scores"])  # type: ignore[arg-type]
        again, needlessly = computed_twice(starts(folder, "killed"))
        left = sorted(str(path.relative_to(folder)) for path in folder.glob("killed/.partial*"))
        finished = json.loads((folder / "killed" / "manifest.json").read_text())["finished"] is not None
    print(
        f"{kills} kills over {given.photos} photos; {again} photos computed twice, "
        f"{needlessly} of them not in progress; "
        f"{n_scores} scores and their maps {'identical' if same else 'DIFFERENT'}; left behind: {left or 'nothing'}"
    )
    sys.exit(0 if same and finished and not needlessly and not left and kills == given.kills else 1)


if __name__ == "__main__":
    main()
