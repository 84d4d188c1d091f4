"""Every command of the README that needs no network runs as it stands, in the order of the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
LINES = [line for language, body in BLOCKS if not language for line in body.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("python")]
INLINE = [f"python -m evalkit {command}" for command in ("explain scene-00012", "list explainers", "list metrics")]
QUIET = "python -m evalkit baseline"  # prints nothing on stdout


def test_the_readme_is_short_and_opens_with_the_two_commands():
    assert len(README.splitlines()) < 150
    assert COMMANDS[:2] == [
        "python -m pip install -e . && python -m evalkit run",
        'python -m pip install -e ".[test]" && python -m pytest',
    ]


def test_the_screen_shown_is_one_screen():
    (screen,) = (body for language, body in BLOCKS if not language and body.startswith("24 images of scenes"))
    lines = screen.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert lines[-1].strip().startswith("python -m evalkit report runs/")


def test_commands_within_the_text_are_in_it():
    text = " ".join(README.split())
    assert all(command.removeprefix("python -m evalkit ") in text for command in INLINE)


def run(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
    assert "WARNING" not in done.stderr or command.startswith("python own.py")  # the user's own import of Keras
    assert done.stdout or command.startswith(QUIET), command
    return done.stdout


def own_photos(folder):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(2):
            pixels = rng.integers(0, 256, (120, 100, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{index}.png")


@pytest.mark.slow
def test_commands_run_as_they_stand(tmp_path):
    (first,) = (command.partition(" && ")[2] for command in COMMANDS if command.endswith("evalkit run"))
    assert run(first, tmp_path).startswith("24 images of scenes; vgg16-mini, ")
    (report,) = re.findall(r"`(python -m evalkit report [^`]*)`", README)
    run(report, tmp_path)
    assert list(tmp_path.glob("runs/scenes-*/report.html"))

    # The embedded benchmark: the model is right, and explainers beat the controls.
    found = json.loads(run("python -m evalkit show runs/scenes-* --format json", tmp_path))
    assert (found["n_images"], found["model"]["n_right"]) == (24, 24)
    gain = {
        cell["explainer"]: cell["mean"] for cell in found["leaderboard"] if cell["metric"] == "symmetric_relevance_gain"
    }
    controls = [gain[control] for control in ("uniform", "random", "center", "edges")]
    for explainer in ("gradcam", *(f"occlusion(patch_size={size})" for size in (16, 24, 32, 40, 56))):
        assert gain[explainer] > max(controls)
    assert found["best_patch_size"]["patch_size"] in (16, 24, 32, 40, 56)

    own_photos(tmp_path)
    build, evaluate = (body for language, body in BLOCKS if language == "python")
    # ImageNet's weights need a network.
    build = build.replace("include_top=False", "include_top=False, weights=None")
    (tmp_path / "own.py").write_text(build + evaluate, encoding="utf-8")
    assert "images of " in run("python own.py", tmp_path)
    for command in (*COMMANDS[2:], *INLINE):
        run(command, tmp_path)
