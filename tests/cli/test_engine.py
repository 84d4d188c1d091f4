"""``--engine`` on the command line: what is refused, what is kept, and runs by workers as real processes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.cli import app
from evalkit.core import engine_options
from evalkit.core.errors import EvalkitError
from evalkit.models.threads import threads_here

ROOT = Path(__file__).resolve().parent.parent.parent
RUN = (
    "run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--steps", "4", "--explainers",
    "gradcam,occlusion(patch_size=8),lime(samples=60,segments=8),random", "--metrics", "deletion,sparseness,pxap",
    "--precision", "float32",
)  # fmt: skip
DEADLY = """
import os, signal
from dataclasses import dataclass
from evalkit.explainers.controls import Uniform

@dataclass(frozen=True)
class Deadly(Uniform):
    name = "deadly"

    def explain_photo(self, classifier, image, targets):
        if image.id == "photo3.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().explain_photo(classifier, image, targets)
"""


def run_with(option, value):
    """Return the command with another value of an option."""
    return tuple(value if before == option else part for before, part in zip(("", *RUN), RUN, strict=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "2"), "--workers 2 has no effect with --engine local; add --engine ray or leave it out"),
        (("--ray-address", "auto"), "--ray-address auto has no effect with --engine local"),
        (("--read-on", "workers"), "--read-on workers has no effect with --engine local"),
        (("--engine", "spark"), "--engine"),
        (
            ("--engine", "ray", "--workers", "0"),
            "--workers '0' is not allowed; write auto or a whole number of at least",
        ),
        (("--engine", "ray", "--workers", "many"), "--workers 'many' is not allowed; write auto or"),
        (
            ("--engine", "ray", "--threads-per-worker", "0"),
            "--threads-per-worker 0 is not allowed; it must be at least",
        ),
        (("--engine", "ray", "--gpus-per-worker", "-1"), "--gpus-per-worker -1"),
        (("--engine", "ray", "--gpus-per-worker", "nan"), "--gpus-per-worker nan is not allowed; write for example 1"),
    ],
)
def test_what_is_refused(evalkit, workplace, options, message):
    done = evalkit(*RUN, *options)
    assert done.code == 2
    assert message in done.err
    assert not (workplace / "runs").exists()


def test_without_ray_one_sentence(evalkit, workplace, monkeypatch):
    monkeypatch.setattr(engine_options, "find_spec", lambda _: None)
    done = evalkit(*RUN, "--engine", "ray")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "--engine ray needs Ray, which is not installed: pip install 'evalkit-saliency[ray]'" in done.err


def test_threads_are_kept_and_a_change_is_said(evalkit, workplace):
    assert evalkit(*RUN, "--output", "out").code == 0
    path = workplace / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["settings"]["threads"] == threads_here()
    manifest["settings"]["threads"] = threads_here() + 3
    path.write_text(json.dumps(manifest))
    done = evalkit(*run_with("--metrics", "deletion,insertion"), "--output", "out")
    assert done.code == 0
    assert f"the run folder was begun with {threads_here() + 3} threads, this process has {threads_here()}" in done.err
    late = evalkit(*RUN, "--output", "out", "--threads-per-worker", str(threads_here() + 1))
    assert late.code == 2
    assert f"--threads-per-worker {threads_here() + 1} comes too late" in late.err


class LostError(EvalkitError):
    ends_process = True


def test_an_error_that_ends_the_process_waits_for_nothing(monkeypatch, capsys):
    def lost(_arguments, **_settings):
        raise LostError("the head is lost")

    ended = []
    monkeypatch.setattr(app, "build_app", lambda: lost)
    monkeypatch.setattr(os, "_exit", lambda code: ended.append(code) or sys.exit(code))
    with pytest.raises(SystemExit):
        app.main(["run"])
    assert ended == [2]
    assert capsys.readouterr().err == "evalkit: the head is lost\n"


def rows(run):
    with sqlite3.connect(run / "results.sqlite") as database:
        scores = database.execute(
            "SELECT image_id, explainer, metric, value, reason, statistics FROM scores"
        ).fetchall()
        hashes = database.execute("SELECT image_id, explainer, rank_hash FROM maps").fetchall()
    return sorted(map(repr, scores)), sorted(map(repr, hashes))


def go(folder, *arguments, command=RUN):
    """Run the command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_NUM_INTRAOP_THREADS", None)
    command = [sys.executable, "-m", "evalkit", *command, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=400
    )


@pytest.mark.slow
@pytest.mark.parametrize("read_on", ["driver", "workers"])
def test_workers_give_the_numbers_of_one_process(workplace, read_on):
    local = go(workplace, "--threads-per-worker", "1", "--output", "local")
    remote = go(workplace, "--engine", "ray", "--workers", "2", "--read-on", read_on, "--output", "remote")
    assert (local.returncode, remote.returncode) == (0, 0), remote.stderr
    assert rows(workplace / "remote") == rows(workplace / "local")
    assert "2 workers of 1 thread: they computed" in remote.stderr
    first, *_ = remote.stdout.splitlines()
    assert first.startswith("6 images of labels.csv")  # nothing of Ray on stdout
    settings = [json.loads((workplace / run / "manifest.json").read_text())["settings"] for run in ("local", "remote")]
    assert settings[0] == settings[1]


@pytest.mark.slow
def test_a_photo_that_kills_its_worker_is_not_scored(workplace):
    (workplace / "deadly.py").write_text(DEADLY)
    command = run_with("--explainers", "random,deadly:Deadly")
    done = go(workplace, "--engine", "ray", "--workers", "1", "--output", "out", command=command)
    assert done.returncode == 0, done.stderr
    assert "the worker died 3 times on this photo: its process ended" in done.stderr
    assert "raylet" not in done.stdout + done.stderr  # what Ray prints of a dead worker
    with sqlite3.connect(workplace / "out" / "results.sqlite") as database:
        lost = database.execute("SELECT DISTINCT image_id FROM scores WHERE key = ''").fetchall()
        scored = database.execute("SELECT count(DISTINCT image_id) FROM scores WHERE key != ''").fetchone()
    assert (lost, scored) == ([("photo3.png",)], (5,))
