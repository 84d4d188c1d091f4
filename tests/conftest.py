"""Small models and images that many tests share, and the real material where it is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault(
    "TF_ENABLE_ONEDNN_OPTS", "1"
)  # off on processors without AVX-512, where channels_first then fails
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: more threads would only wait for each other
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

PHOTO_SEED = 20261123
_ROOT = Path(__file__).resolve().parent.parent
REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "real"


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    """Write files without waiting for the disk: no test in this process could see what survives a power failure."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _same_weights_in_every_run():
    """Draw the weights of models that a test builds alike in every run: a test that fails by chance tells nothing."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(PHOTO_SEED)


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder with the real VGG16 and photos, which is not part of the project."""
    if not (REAL / "expected.json").is_file():
        pytest.skip("the real VGG16 and photos are not beside the project (../shared/real)")
    return REAL


@pytest.fixture(scope="session")
def tiny_model():
    """A 32 x 32 network of two convolutions, global average pooling and a softmax over three classes."""
    import keras

    keras.utils.set_random_seed(7)
    return keras.Sequential(
        [
            keras.layers.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv_a"),
            keras.layers.MaxPooling2D(name="pool_a"),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv_b"),
            keras.layers.MaxPooling2D(name="pool_b"),
            keras.layers.GlobalAveragePooling2D(name="gap"),
            keras.layers.Dense(3, activation="softmax", name="predictions"),
        ],
        name="tiny",
    )


@pytest.fixture(scope="session")
def tiny(tiny_model):
    """The tiny network as a classifier."""
    from evalkit.models.classifier import Classifier

    return Classifier(tiny_model, batch_size=8)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts alike in every test."""
    return np.random.default_rng(PHOTO_SEED)


@pytest.fixture
def photos(rng) -> np.ndarray:
    """Four random 32 x 32 photos, uint8."""
    return rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def steady_precision(monkeypatch):
    """Let ``--precision auto`` choose by agreement alone: measured speeds differ from run to run."""
    monkeypatch.setattr("evalkit.harness.planning.precision.times_as_fast", lambda *_: 2.0)


@pytest.fixture(scope="session")
def _kept_models():
    from tests.kept_models import KeptModels

    return KeptModels()


@pytest.fixture
def evalkit(capsys, monkeypatch, steady_precision, _kept_models):
    """Call ``python -m evalkit`` with these arguments; returns code, out and err. Models stay loaded between calls."""
    monkeypatch.setattr("evalkit.models.zoo.load.load_classifier", _kept_models.load_classifier)
    from evalkit.cli.app import main

    def call(*arguments):
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return SimpleNamespace(code=end.value.code or 0, out=printed.out, err=printed.err)

    return call


@pytest.fixture(scope="session")
def tiny_file(tiny_model, tmp_path_factory):
    """The tiny network as a file, whose bytes are the same wherever it is copied."""
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    tiny_model.save(path)
    return path


@pytest.fixture(scope="session")
def fill_workplace(tiny_file):
    """Write ``tiny.keras`` and ``labels.csv`` of six photos, two a class, one box each, into a folder."""

    def fill(folder, rng):
        shutil.copyfile(tiny_file, folder / "tiny.keras")
        lines = ["image,class_index,label,x0,y0,x1,y1"]
        for number in range(6):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"photo{number}.png")
            lines.append(f"photo{number}.png,{number % 3},class{number % 3},8,6,30,28")
        (folder / "labels.csv").write_text("\n".join(lines) + "\n")

    return fill


@pytest.fixture
def workplace(tmp_path, monkeypatch, fill_workplace, rng):
    """A folder with a model and six photos (``fill_workplace``); made current."""
    monkeypatch.chdir(tmp_path)
    fill_workplace(tmp_path, rng)
    return tmp_path


@pytest.fixture(scope="session")
def _prepared_root(tmp_path_factory):
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture
def prepared(_prepared_root, monkeypatch, fill_workplace):
    """Give each test its own copy of a workplace that is made once in a session, for example with a finished run.

    ``prepared(name, make)`` calls ``make(folder)`` in the first test that needs it; later tests get a copy at the same
    path, with the same times of change, because a run knows its photos by both. The folder is made current.
    """

    def give(name, make):
        folder, kept = _prepared_root / name, _prepared_root / f"{name}.kept"
        shutil.rmtree(folder, ignore_errors=True)
        if kept.exists():
            shutil.copytree(kept, folder, symlinks=True)
            monkeypatch.chdir(folder)
            return folder
        folder.mkdir()
        monkeypatch.chdir(folder)
        fill_workplace(folder, np.random.default_rng(PHOTO_SEED))
        make(folder)
        shutil.copytree(folder, kept, symlinks=True)
        return folder

    return give


@pytest.fixture
def sources(tmp_path):
    """A copy of the sources, links kept, to plant violations in."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True, cwd=_ROOT
    )
    for name in tracked.stdout.splitlines():
        source, target = _ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.is_file() and not name.startswith("tests/"):
            target.write_bytes(source.read_bytes())
    return tmp_path
