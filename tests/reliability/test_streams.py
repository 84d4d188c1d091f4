"""Nobody listens, or nothing can be written: no run stops, no exit code lies, and the file is named."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
RUN = (
    "run --model tiny.keras --data labels.csv --target predicted --explainers random --metrics sparseness --output out"
)


def shell(redirected, command):
    """Run evalkit with its streams redirected by the shell."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    line = f"{sys.executable} -m evalkit {command} {redirected}"
    return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "redirected",
    [
        pytest.param("2> >(exec true)", marks=pytest.mark.slow),
        pytest.param("2>/dev/full", marks=pytest.mark.slow),
        pytest.param("2>&-", marks=pytest.mark.slow),
        "<&- >&- 2>&-",
    ],
)
def test_a_run_that_nobody_listens_to_is_finished(evalkit, workplace, redirected):
    assert shell(redirected, RUN).returncode == 0
    assert evalkit("show", "out").code == 0


@pytest.mark.parametrize("redirected", ["2> >(exec true)", "2>/dev/full", "2>&-", ">&-"])
def test_an_error_keeps_its_code(workplace, redirected):
    assert shell(redirected, "show nowhere").returncode == 2


def test_a_result_that_cannot_be_written_is_said(workplace):
    done = shell(">/dev/full", "list metrics")
    assert done.returncode == 2
    assert done.stderr == "evalkit: stdout cannot be written: No space left on device; repeat the command to resume\n"


def test_a_reader_of_the_result_may_go_before_its_end(workplace):
    assert shell("> >(exec true)", "list metrics").returncode == 0


@pytest.fixture
def finished(evalkit, prepared):
    """A finished run of Grad-CAM and a control in ``out``."""

    def make(_):
        assert evalkit(*RUN.replace("random", "gradcam,random").replace("sparseness", "insertion").split()).code == 0

    return prepared("streams", make)


@pytest.fixture
def full_disk(monkeypatch):
    """Have every file that is to be kept meet a full disk."""

    def meet():
        def fsync(_number):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("evalkit.store.files.os.fsync", fsync)

    return meet


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("report out", "'out/report.html'"),
        ("report out --output page.html --figures plots", "'page.html'"),
        ("baseline out --output base.json", "--output 'base.json'"),
        ("explain photo0.png --model tiny.keras --output seen", "'seen/photo0_gradcam.png'"),
    ],
)
def test_a_full_disk_is_named_and_keeps_the_old_file(evalkit, finished, full_disk, command, named):
    for file in ("base.json", "page.html", "out/report.html"):
        Path(file).write_text("older")
    full_disk()
    done = evalkit(*command.split())
    assert done.code == 2
    assert f"{named} cannot be written: No space left on device; free some space and repeat the command" in done.err
    assert {Path(file).read_text() for file in ("base.json", "page.html", "out/report.html")} == {"older"}
    assert not list(finished.rglob(".*.*"))


def test_junit_is_written_whole_or_not_at_all(evalkit, finished, full_disk):
    assert evalkit("baseline", "out", "--output", "base.json").code == 0
    check = ("check", "out", "--baseline", "base.json", "--junit", "gate.xml")
    assert evalkit(*check).code == 0
    before = Path("gate.xml").read_bytes()
    assert before.startswith(b"<?xml")
    full_disk()
    done = evalkit(*check)
    assert (done.code, Path("gate.xml").read_bytes()) == (0, before)
    assert "--junit 'gate.xml' cannot be written: No space left on device" in done.err


def test_a_result_may_go_to_a_pipe_or_through_a_link(evalkit, workplace):
    assert evalkit(*RUN.split()).code == 0
    Path("elsewhere").mkdir()
    Path("page.html").symlink_to("elsewhere/page.html")
    assert evalkit("report", "out", "--output", "page.html").code == 0
    assert Path("page.html").is_symlink()
    assert Path("elsewhere/page.html").read_text().startswith("<!doctype html>")
    done = shell("", "report out --output /dev/stdout")
    assert done.stdout.startswith("<!doctype html>")


def test_a_name_that_the_systems_encoding_lacks_is_said(evalkit, workplace):
    (workplace / "photo0.png").rename(workplace / "bild_ü.png")
    text = (workplace / "labels.csv").read_text(encoding="utf-8").replace("photo0", "bild_ü")
    (workplace / "labels.csv").write_text(text, encoding="utf-8")
    assert evalkit(*RUN.split()).code == 0
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "evalkit", "report", "out"]
    done = subprocess.run(command, env={**os.environ, **plain}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be written in ASCII, this system's encoding; set PYTHONUTF8=1" in done.stderr
