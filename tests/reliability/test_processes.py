"""Real processes: killed, interrupted, locked out, out of disk."""

from __future__ import annotations

import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
RUN = (
    "run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--steps", "4", "--explainers",
    "gradcam,occlusion(patch_size=8,stride=half),random", "--metrics", "deletion,sparseness", "--precision", "float32",
    "--output",
)  # fmt: skip
N_PHOTOS = 60


@pytest.fixture
def place(evalkit, prepared):
    """A folder with a model, many small photos, and a finished run in ``whole``; the current one."""

    def make(folder):
        rng = np.random.default_rng(5)
        lines = ["image,class_index,label,x0,y0,x1,y1"]
        for number in range(N_PHOTOS):
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"photo{number}.png")
            lines.append(f"photo{number}.png,{number % 3},class{number % 3},8,6,30,28")
        (folder / "labels.csv").write_text("\n".join(lines) + "\n")
        assert evalkit(*RUN, "whole").code == 0

    return prepared("processes", make)


BEGUN = []


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def _no_process_stays():
    """End what a failed test has left running."""
    yield
    while BEGUN:
        process = BEGUN.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def begin(place, output, **options):
    """Begin a run in a process of its own."""
    command = [sys.executable, "-m", "evalkit", *RUN, str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    # Who starts the tests in the background may have had Ctrl-C ignored, and children inherit that.
    options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    BEGUN.append(process)
    return process


def go(place, output, **options):
    """Run to the end."""
    process = begin(place, output, **options)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for_maps(process, run):
    """Wait until a run has begun to compute."""
    until = time.monotonic() + 60
    while len(list(run.glob("maps/*.npz"))) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def scores(run):
    database = sqlite3.connect(run / "results.sqlite")
    rows = database.execute("SELECT image_id, explainer, metric, value, reason FROM scores ORDER BY 1, 2, 3").fetchall()
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    return rows


def require_finished_by_repeating(evalkit, place, run):
    """The same command, in this process to save an import of TensorFlow, leads to the scores of an untouched run."""
    assert evalkit(*RUN, run).code == 0
    assert scores(run) == scores(place / "whole")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted"),
        pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_the_run_which_can_be_repeated(evalkit, place, number, code, said):
    run = place / f"stopped{code}"
    process = begin(place, run)
    wait_for_maps(process, run)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert f"{said}; repeat the command to resume" in err
    assert "Traceback" not in err
    assert not (run / ".partial").exists()
    n_before = len(scores(run))
    assert 0 < n_before < N_PHOTOS * 6
    assert n_before % 6 == 0
    require_finished_by_repeating(evalkit, place, run)


def test_a_second_process_is_refused_until_the_first_ends(evalkit, place):
    run = place / "shared"
    first = begin(place, run)
    wait_for_maps(first, run)
    first.send_signal(signal.SIGSTOP)  # or it would be done before the second has loaded the model
    second = evalkit(*RUN, run)
    assert second.code == 2
    assert re.search(
        rf"is being written by process {first.pid}, which began at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00:00; wait for it",
        second.err,
    )
    first.kill()
    first.communicate()
    require_finished_by_repeating(evalkit, place, run)


def full(err):
    return "cannot be written" in err and "the run continues where it stopped" in err


@pytest.mark.parametrize("limit_bytes", [slow(50_000), slow(3_000), slow(200_000)])
def test_a_file_size_limit_stops_the_run_uncorrupted(evalkit, place, limit_bytes):
    """The system's limit on the size of a file is the full disk that needs no special rights."""
    run = place / f"limited{limit_bytes}"
    done = go(place, run, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)))
    assert done.returncode == 2, done.stderr
    assert full(done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    require_finished_by_repeating(evalkit, place, run)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of so many kilobytes; needs the rights to."""
    mounted = []

    def mount(size_kb):
        disk = tmp_path / f"disk{size_kb}"
        disk.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("mounting a small disk is not allowed here; the limit on file sizes is tested everywhere")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("size_kb", [300, slow(40), slow(900)])
def test_a_full_disk_stops_the_run_uncorrupted(evalkit, place, small_disk, size_kb):
    disk = small_disk(size_kb)
    done = go(place, disk / "run")
    assert done.returncode == 2, done.stderr
    assert full(done.stderr), done.stderr
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    require_finished_by_repeating(evalkit, place, disk / "run")


@pytest.mark.slow
def test_a_read_only_disk_is_refused_but_shown(place, small_disk):
    disk = small_disk(20_000)
    assert go(place, disk / "run").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for output in ("run", "other"):
        done = go(place, disk / output)
        assert done.returncode == 2
        assert "cannot be written" in done.stderr
        assert "Traceback" not in done.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "evalkit", "show", str(disk / "run")],
        capture_output=True, text=True, check=False, cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing():
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "crash.py"), "--kills", "5"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"5 kills over \d+ photos; ", done.stdout), done.stdout
