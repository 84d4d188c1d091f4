"""Kill workers, machines and the driver of runs by Ray: ``python benchmarks/ray_faults.py``.

A run over small photos is computed in this process with one thread; by one to three workers; while workers are killed
at random moments; while one machine of a cluster of three (``ray.cluster_utils``) is killed, or stopped without being
killed; and by a driver that is killed and repeated. Each must have the scores and maps of the first bit for bit, and
have committed each photo once. Prints a line for each, and exits with 1 if one differs.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import psutil
from crash import make_photos
from rich.console import Console

from evalkit.api.evaluate import run_plan
from evalkit.core.randomness import generator
from evalkit.core.settings import merge
from evalkit.harness.engine import driver
from evalkit.harness.planning.prepare import prepare

OPTIONS = {
    "data": "labels.csv", "model": "tiny.keras", "target": "predicted", "steps": 8, "precision": "float32",
    "explainers": "gradcam,occlusion(patch_size=8,stride=half),lime(samples=64),random",
    "metrics": "deletion,insertion,sparseness,pxap,max_sensitivity",
}  # fmt: skip
LONGEST_S = 6.0  # between two deaths
Rows = dict[str, list[tuple[object, ...]]]


def rows_of(run: Path) -> Rows:
    """Return the scores, curves and maps of a run folder."""
    queries = {
        "scores": "SELECT image_id, explainer, metric, value, reason, statistics FROM scores ORDER BY 1, 2, 3",
        "curves": "SELECT * FROM curves ORDER BY 1, 2, 3",
        "maps": "SELECT image_id, explainer, sha256, rank_hash FROM maps ORDER BY 1, 2",
    }
    with sqlite3.connect(run / "results.sqlite") as database:
        return {name: database.execute(query).fetchall() for name, query in queries.items()}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the commits of each photo in this process; without those that say that its workers died."""
    commits: Counter[str] = Counter()
    original = driver.commit

    def commit(plan: object, folder: object, outcome: object, row: object) -> None:
        original(plan, folder, outcome, row)
        commits[outcome.image_id] += not any(cell.failed for cell in outcome.cells)

    driver.commit = commit
    try:
        yield commits
    finally:
        driver.commit = original


def workers_here() -> list[psutil.Process]:
    """Return the worker processes that descend from this one and do jobs or wait for one; not those that start."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if " ".join(process.cmdline() if process.is_running() else []).strip()
        in ("ray::RemoteWorker", "ray::RemoteWorker.do")
    ]


class Killer(threading.Thread):
    """Kills a random worker at random moments.

    Args:
        most: the number of kills after which it stops.
        seed: of the moments.
    """

    def __init__(self, most: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.most, self.kills, self.over = most, 0, threading.Event()
        self.rng = generator(seed, "kills")

    def run(self) -> None:
        """Kill until there were enough, or the run is over."""
        while self.kills < self.most and not self.over.wait(float(self.rng.uniform(0.2, LONGEST_S))):
            try:
                found = workers_here()
                if found:
                    found[int(self.rng.integers(len(found)))].kill()
                    self.kills += 1
            except psutil.Error:  # it has just ended
                continue


class Checks:
    """Runs, compares, and prints.

    Args:
        expected: the rows of the run in this process.
    """

    def __init__(self, expected: Rows, photos: int) -> None:
        self.expected, self.photos, self.failed = expected, photos, False

    def line(self, what: str, run: Path, commits: Counter[str] | None, seconds: float, more: str = "") -> None:
        """Print what was done and whether the numbers are the same."""
        found = rows_of(run)
        other = sum(len(set(found[name]) ^ set(self.expected[name])) for name in self.expected)
        once = commits is None or (len(commits) == self.photos and set(commits.values()) == {1})
        self.failed |= bool(other) or not once
        said = (
            "" if commits is None else ", each photo committed once" if once else f", COMMITS {commits.most_common(3)}"
        )
        print(
            f"{what}: {other} differences in {sum(map(len, found.values()))} rows{said}; {seconds:.0f} s{more}",
            flush=True,
        )


def compute(run: str, **options: object) -> float:
    """Compute a run in this process as driver; return its seconds."""
    merged = merge({**OPTIONS, "output": run, **options})
    start = time.monotonic()
    plan = prepare(merged, lambda _: None)
    run_plan(plan, Path(run), fresh=False, console=Console(file=io.StringIO()), engine=merged)
    return time.monotonic() - start


def by_workers(checks: Checks) -> None:
    """Compute by one to three workers."""
    for count in (1, 2, 3):
        with counted() as commits:
            seconds = compute(f"workers{count}", engine="ray", workers=count)
        checks.line(f"{count} workers", Path(f"workers{count}"), commits, seconds)


def kill_workers(checks: Checks, kills: int) -> None:
    """Kill workers at random moments, in as many runs as that needs."""
    done = number = 0
    while done < kills:
        killer = Killer(kills - done, seed=number)
        killer.start()
        with counted() as commits:
            seconds = compute(f"killed{number}", engine="ray", workers=2)
            killer.over.set()
            killer.join()
            given_up = sum(count == 0 for count in commits.values())
            if given_up:  # three deaths on one photo, by chance: the repeated command tries it again
                seconds += compute(f"killed{number}", engine="ray", workers=2)
        more = f"; {given_up} photos after a second command" if given_up else ""
        checks.line(f"{killer.kills} workers killed", Path(f"killed{number}"), commits, seconds, more)
        done += killer.kills
        number += 1


def lose_machine(checks: Checks, *, frozen: bool) -> None:
    """Kill one machine of three, or stop all its processes."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]

    def after_a_while() -> None:
        while len(list_committed(Path(run))) < checks.photos // 4:
            time.sleep(0.1)
        if not frozen:
            cluster.remove_node(nodes[0], allow_graceful=False)
            return
        (raylet,) = nodes[0].all_processes["raylet"]
        parent = psutil.Process(raylet.process.pid)
        for process in (parent, *parent.children(recursive=True)):
            process.suspend()

    run = "frozen" if frozen else "machine"
    threading.Thread(target=after_a_while, daemon=True).start()
    with counted() as commits:
        seconds = compute(run, engine="ray", ray_address=cluster.address)
    checks.line(f"1 of 3 machines {'frozen' if frozen else 'killed'}", Path(run), commits, seconds)
    ray.shutdown()
    cluster.shutdown()


def list_committed(run: Path) -> list[str]:
    """Return the ids of the photos that a run has committed; empty while there is no run."""
    try:
        with sqlite3.connect(f"file:{run / 'results.sqlite'}?mode=ro", uri=True) as database:
            return [row[0] for row in database.execute("SELECT image_id FROM images WHERE sha256 != ''")]
    except sqlite3.Error:
        return []


def kill_driver(checks: Checks) -> None:
    """Kill the driver, wait until none of its processes is left, and repeat the command."""
    arguments = [part for name, value in OPTIONS.items() for part in (f"--{name}", str(value))]
    command = [
        sys.executable,
        "-m",
        "evalkit",
        "run",
        *arguments,
        "--engine",
        "ray",
        "--workers",
        "2",
        "--output",
        "driver",
    ]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list_committed(Path("driver"))) < checks.photos // 3:
        if process.poll() is not None:
            raise SystemExit("the driver ended before it was killed")
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept, killed = list_committed(Path("driver")), time.monotonic()
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        time.sleep(0.1)
    strays_s = time.monotonic() - killed
    with counted() as commits:
        compute("driver", engine="ray", workers=2)
    again = len(set(kept) & set(commits))
    checks.line(
        "driver killed and repeated", Path("driver"), None, time.monotonic() - start,
        f"; {len(kept)} photos kept, {again} of them computed again; its processes ended {strays_s:.1f} s after it",
    )  # fmt: skip
    checks.failed |= bool(again)


def main() -> None:
    """Run every check in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", choices=("workers", "kills", "machine", "frozen", "driver"), action="append")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_photos(Path(), given.photos)
        print(f"in this process, one thread: {compute('local', threads_per_worker=1):.0f} s", flush=True)
        checks = Checks(rows_of(Path("local")), given.photos)
        steps: dict[str, Callable[[], None]] = {
            "workers": lambda: by_workers(checks),
            "kills": lambda: kill_workers(checks, given.kills),
            "machine": lambda: lose_machine(checks, frozen=False),
            "frozen": lambda: lose_machine(checks, frozen=True),
            "driver": lambda: kill_driver(checks),
        }
        for name in given.only or steps:
            steps[name]()
        os.chdir("/")
    if checks.failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
