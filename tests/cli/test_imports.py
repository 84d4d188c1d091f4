"""Answers that need no model import no slow library, which is why they come at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

# TensorFlow takes seconds to import, each of the others a large part of the half second in which show answers.
SLOW = ("tensorflow", "keras", "tf_explain", "scipy", "cv2", "skimage", "matplotlib", "jinja2", "PIL")


def without_slow_imports(arguments):
    """Return code that calls the command line and fails if anything slow was imported."""
    return (
        "import sys; from evalkit.cli.app import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"assert not set({SLOW!r}) & set(sys.modules), set({SLOW!r}) & set(sys.modules)\n"
    )


def python(code, cwd=None):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["validate", "--help"],
        ["explain", "--help"],
        ["report", "--help"],
        ["export", "--help"],
        ["audit", "--help"],
        ["score", "--help"],
        ["thresholds", "--help"],
        ["list", "explainers"],
        ["list", "metrics"],
        ["list", "models"],
        ["list", "datasets"],
    ],
)
def test_answers_that_need_no_model_import_nothing_slow(arguments):
    done = python(without_slow_imports(arguments))
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_show_of_an_analysed_run_imports_nothing_slow(evalkit, workplace):
    done = evalkit(
        "run", "--data", "labels.csv", "--model", "tiny.keras", "--output", "out", "--explainers", "gradcam,uniform",
        "--metrics", "sparseness,pointing_game",
    )  # fmt: skip
    assert done.code == 0, done.err
    for options in ((), ("--all",), ("--format", "json")):
        again = python(without_slow_imports(["show", "out", *options]), cwd=workplace)
        assert again.returncode == 0, again.stderr
        assert "pointing" in again.stdout


def test_an_import_of_tensorflow_would_be_seen():
    # A stand-in: importing TensorFlow itself, to see that it is seen, takes seconds.
    done = python("import sys; sys.modules['tensorflow'] = sys\n" + without_slow_imports(["--help"]))
    assert done.returncode != 0
    assert "AssertionError: {'tensorflow'}" in done.stderr


@pytest.mark.parametrize("module", ["evalkit.__main__", "evalkit.cli.app"])
def test_main_is_a_console_script(module):
    done = python(f"import sys; sys.argv = ['evalkit', 'run', '--help']\nfrom {module} import main\nsys.exit(main())")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: python -m evalkit run")


def test_a_worker_process_starts_without_tensorflow():
    """Its threads are set, and its versions are compared, before TensorFlow is imported; see ``ray_worker``."""
    code = (
        "import evalkit.harness.engine.ray_worker as worker, sys\nworker.facts_here()\n"
        "assert not {'tensorflow', 'ray'} & {*sys.modules}"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
