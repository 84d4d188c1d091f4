"""``export``: its options, and what is said before any tracker is touched."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from evalkit.core.errors import ConfigError, MissingPackageError, StoreError
from evalkit.integrations.libraries import errors_as_sentences, library
from evalkit.integrations.trackers import require_options

TRACKERS = {"mlflow": "MLflow", "wandb": "W&B", "tensorboard": "TensorBoard", "fiftyone": "FiftyOne"}


@pytest.mark.parametrize(("tracker", "title"), TRACKERS.items())
def test_absent_library_is_one_sentence(command, run_folder, monkeypatch, tracker, title):
    monkeypatch.setitem(sys.modules, tracker, None)
    done = command("export", run_folder, "--to", tracker)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"evalkit: the export to {title} needs {title}, which is not installed: pip install "
        f"'evalkit-saliency[{tracker}]'\n"
    )


def test_broken_library_says_why(monkeypatch, tmp_path):
    (tmp_path / "broken_tracker.py").write_text("import gone_with_the_wind")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackageError, match=r"cannot be imported \(No module named 'gone_with_the_wind'\)"):
        library("broken_tracker", "Broken", "broken")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "--to mlflow --log-dir x",
            "which takes --tracking-uri and --experiment; leave it out, or use --to tensorboard",
        ),
        ("--to mlflow --log-dir x", "--log-dir has no effect with --to mlflow"),
        ("--to wandb --overwrite", "--overwrite has no effect with --to wandb, which takes --project; leave it out"),
        ("--to fiftyone --project x", "with --to fiftyone, which takes --photos and --overwrite; leave it out"),
        ("--to tensorboard --photos x", "which takes --log-dir; leave it out, or use --to fiftyone"),
        ("--to wandb --data nowhere.csv", "--data 'nowhere.csv' does not exist"),
        ("--to comet", "mlflow, wandb, tensorboard, fiftyone"),
        ("", "--to requires an argument"),
    ],
)
def test_bad_options_are_one_sentence(command, run_folder, arguments, said):
    done = command("export", run_folder, *arguments.split())
    assert done.code == 2
    assert said in " ".join(done.err.replace('"', "").split()), done.err
    assert "Traceback" not in done.err


def test_no_run_is_one_sentence(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    done = command("export", tmp_path / "nowhere", "--to", "wandb")
    assert done.code == 2
    assert "is not a run folder" in done.err


def test_unknown_tracker_in_python():
    with pytest.raises(ConfigError, match="--to 'mlflw' is not known: did you mean 'mlflow'"):
        require_options("mlflw", {})


def test_errors_of_libraries_become_sentences():
    said = "MLflow refused the export: no such server; check the address"
    with pytest.raises(StoreError, match=said), errors_as_sentences("MLflow", "check the address"):
        raise RuntimeError("no such server.\nand more")
    with pytest.raises(ConfigError, match="our own"), errors_as_sentences("MLflow", "check the address"):
        raise ConfigError("our own")


@pytest.fixture
def stand_in(monkeypatch):
    """A TensorBoard that is found and never used: the folder is checked before."""
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))


def test_tensorboard_folder_is_not_written_twice(command, run_folder, stand_in, tmp_path):
    (tmp_path / "logs" / "my run").mkdir(parents=True)
    done = command("export", run_folder, "--to", "tensorboard")
    assert done.code == 2
    assert done.err == (
        "evalkit: 'logs/my run' exists, and a second export would be mixed into it; remove it, or give --name\n"
    )
    assert list((tmp_path / "logs").iterdir()) == [tmp_path / "logs" / "my run"]


@pytest.mark.parametrize("name", ["a/b", "..", "/x"])
def test_tensorboard_name_is_one_folder(command, run_folder, stand_in, name):
    done = command("export", run_folder, "--to", "tensorboard", "--name", name)
    assert done.code == 2
    assert f"--name '{name}' is not the name of a folder" in done.err


def test_help_names_every_option_in_80_columns(command):
    done = command("export", "--help")
    assert max(map(len, done.out.splitlines())) <= 80
    for flag in ("--to", "--name", "--data", "--tracking-uri", "--experiment", "--project", "--log-dir", "--photos"):
        assert flag in done.out
    assert "--no-overwrite" not in done.out
