"""What a run by Ray says when it cannot go on: ``python benchmarks/ray_refusals.py``.

A worker with another version of evalkit, a cluster without room, workers that Ray kills for lack of memory, and a head
that is killed: each must end with exit code 2 and one sentence, and leave no process ten seconds later. Prints the
sentences and the seconds, and exits with 1 if one of these does not hold. Needs a machine on which no other Ray runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from crash import make_photos
from ray_faults import OPTIONS, list_committed

from evalkit.core.provenance import DISTRIBUTION

PORT = 6397
END_S = 10.0
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
Started = subprocess.Popen[str]


@contextmanager
def head(cpus: int, **environment: str) -> Iterator[psutil.Process]:
    """Start a cluster of one machine; yield its head."""
    known = {process.pid for process in psutil.process_iter()}
    command = [*RAY, "start", "--head", "--port", str(PORT), "--num-cpus", str(cpus), "--include-dashboard", "false"]
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    started = [process for process in psutil.process_iter() if process.pid not in known]
    try:
        yield next(process for process in started if "gcs_server" in process.name())
    finally:
        for process in started:
            if process.is_running():
                process.kill()
        psutil.wait_procs(started)


def run(output: str, *more: str, **environment: str) -> Started:
    """Start a run by Ray."""
    options = [part for name, value in OPTIONS.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "evalkit", "run", *options, "--output", output, "--engine", "ray", *more]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def refused(what: str, process: Started, words: str) -> bool:
    """Wait for a run; print what it said, and return whether that, its exit code and what it left are right."""
    start, here = time.monotonic(), psutil.Process(process.pid)
    own = set()
    while process.poll() is None:
        own.update(here.children(recursive=True))
        time.sleep(0.2)
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    seconds, said = time.monotonic() - start, process.stderr.read()
    sentences = [line for line in said.splitlines() if line.startswith("evalkit: ")]
    _, left = psutil.wait_procs(own, timeout=END_S)
    right = process.returncode == 2 and len(sentences) == 1 and words in said and not left and "Traceback" not in said
    left_over = f"; LEFT: {[one.name() for one in left]}" if left else ""
    print(f"{what}: {'right' if right else 'WRONG'}, exit code {process.returncode} after {seconds:.0f} s{left_over}")
    print("   ", "\n    ".join(sentences if right else said.splitlines()), flush=True)
    return right


def other_version() -> bool:
    """Start a cluster whose Python finds another version of evalkit."""
    folder = Path("other") / f"{DISTRIBUTION.replace('-', '_')}-0.0.1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 0.0.1\n")
    path = os.pathsep.join([str(folder.parent.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])])
    with head(1, PYTHONPATH=path):
        return refused("another evalkit", run("version", "--ray-address", f"127.0.0.1:{PORT}"), "evalkit 0.0.1")


def no_room() -> bool:
    """Ask for workers of more threads than any machine has processors."""
    with head(1):
        process = run("room", "--ray-address", f"127.0.0.1:{PORT}", "--workers", "1", "--threads-per-worker", "8")
        return refused("no room", process, "no worker was ready after")


def too_little_memory() -> bool:
    """Let Ray find that all memory is used, so that it kills every worker."""
    limits = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "250"}
    return refused("too little memory", run("memory", "--workers", "1", **limits), "it used too much memory")


def lost_head() -> bool:
    """Kill the head while photos are computed; few photos would be done before it is missed, after 20 seconds."""
    with head(1) as gcs:
        process = run("lost", "--ray-address", f"127.0.0.1:{PORT}")
        while not list_committed(Path("lost")) and process.poll() is None:
            time.sleep(0.1)
        gcs.kill()
        return refused("a lost head", process, "lost")


def main() -> None:
    """Run every check in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    checks: dict[str, Callable[[], bool]] = {
        "version": other_version,
        "room": no_room,
        "memory": too_little_memory,
        "head": lost_head,
    }
    parser.add_argument("--only", choices=checks, action="append")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_photos(Path(), 200)
        right = [checks[name]() for name in given.only or checks]
        os.chdir("/")
    if not all(right):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
