"""A small finished run with photos, regions, maps and scores, made up: no model, no TensorFlow."""

from __future__ import annotations

import importlib
import os
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from evalkit.datasets.open import open_image_set
from evalkit.integrations.record import opened, record_of
from evalkit.store.database import MapRow
from evalkit.store.files import sha256_of
from evalkit.store.maps import image_file, npy_bytes, save_maps
from evalkit.store.run_folder import RunFolder
from tests.builders import explainer_facts, image_row, score_row
from tests.builders import manifest as build_manifest

SIDE = 32
GAIN, POINTING, MASS = "symmetric_relevance_gain", "pointing_game", "relevance_mass_accuracy"
UNSCORED = ("photo1.png", "gradcam", GAIN)
EXPLAINERS = (
    explainer_facts("gradcam", n_maps=6, seconds=1.5),
    explainer_facts(
        "occlusion(patch_size=8)", parameters={"patch_size": 8, "stride": 8}, positions=16, forward_passes=17,
        n_maps=6, seconds=3.0, swept_by=("patch_size", "stride"),
    ),
    explainer_facts(
        "occlusion(patch_size=16)", parameters={"patch_size": 16, "stride": 16}, positions=4, forward_passes=5,
        n_maps=6, seconds=1.0, swept_by=("patch_size", "stride"),
    ),
    explainer_facts("uniform", control=True, forward_passes=0, n_maps=6),
)  # fmt: skip


def library(name):
    """Import a tracker's library; where it is absent, skip, unless the extra's own step of .ci/run needs it."""
    if not os.environ.get("EVALKIT_EXTRA"):
        return pytest.importorskip(name)
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(name)


def write_photos(folder):
    """Write six photos, two a class, with one box each, and return the set's path."""
    rng = np.random.default_rng(1)
    lines = ["image,class_index,label,x0,y0,x1,y1"]
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"photo{number}.png")
        lines.append(f"photo{number}.png,{number % 3},class{number % 3},12,10,36,30")
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def saliency_map(explainer, number):
    rng = np.random.default_rng([number, EXPLAINERS.index(explainer)])
    if explainer.text == "uniform":
        return np.full((SIDE, SIDE), 0.5, dtype=np.float32)
    values = rng.random((SIDE, SIDE)) - (0.5 if number == 2 else 0.0)
    return values.astype(np.float32)


def write_run(path, images, source, geometry="squash", **changes):
    """Write a finished run of a labelled set."""
    folder = RunFolder.write(path)
    rng = np.random.default_rng(3)
    read = [images.read(entry) for entry in images.entries]
    with folder.database as database:
        database.plan_images(
            [
                image_row(
                    image.id, number, class_index=image.class_index, label=image.label,
                    photo_file=entry.file, sha256=image.sha256, place=image.place, object_share=image.object_share,
                    target=image.class_index, predicted=0 if number == 4 else image.class_index, clean_score=0.75,
                    correct=int(number != 4),
                )
                for number, (entry, image) in enumerate(zip(images.entries, read, strict=True))
            ]
        )  # fmt: skip
        for number, image in enumerate(read):
            data = {one.text: npy_bytes(saliency_map(one, number)) for one in EXPLAINERS}
            file = image_file(image.id)
            size = save_maps(path, file, data)
            database.put_maps(
                [MapRow(image.id, text, "key", file, sha256_of(each), size, 0.1, None) for text, each in data.items()]
            )
            for column, one in enumerate(EXPLAINERS):
                gain, pointing = 0.9 - 0.2 * column + 0.02 * float(rng.random()), float(rng.random() > 0.4)
                lost = (image.id, one.text, GAIN) == UNSCORED
                database.put_scores(
                    [
                        score_row(image.id, one.text, GAIN, None if lost else gain, reason="lost" if lost else None),
                        score_row(image.id, one.text, POINTING, pointing),
                        score_row(image.id, one.text, MASS, None, reason="only boxes, no exact mask"),
                    ]
                )
        database.touch()
    folder.write_manifest(
        build_manifest(
            EXPLAINERS,
            (GAIN, POINTING, MASS),
            model={"input_size": (SIDE, SIDE), "n_classes": 3, "accuracy": 5 / 6, "n_right": 5,
                   "class_names": {0: "class0", 1: "class1", 2: "class2"}},
            data={"name": images.name, "kind": images.kind, "n_images": len(images), "n_regions": len(images),
                  "source": source},
            settings={"geometry": geometry},
            versions={"evalkit": "0.1.0", "tf-explain": "0.3.1"},
            **changes,
        )
    )  # fmt: skip
    folder.close()
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    source = write_photos(folder)
    run = write_run(folder / "my run", open_image_set(source), str(source))
    with opened(run):  # stores the analysis
        return folder


@pytest.fixture(scope="session")
def record(made):
    """What trackers get of the run; drawing it takes seconds."""
    return record_of(made / "my run")


@pytest.fixture
def few(record, monkeypatch):
    """The record with six pictures, which trackers take instead of drawing one."""
    small = record._replace(pictures=record.pictures[:6])
    for tracker in ("mlflow", "wandb", "tensorboard"):
        monkeypatch.setattr(
            f"evalkit.integrations.{tracker}.record_of",
            lambda _run, name, _images: small._replace(name=name or small.name),
        )
    return small


@pytest.fixture
def run_folder(made, tmp_path, monkeypatch):
    """A copy of the run, in a folder of its own that is current; the photos stay where they are."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made / "my run", tmp_path / "my run")
    return Path("my run")


@pytest.fixture
def command(capsys, monkeypatch):
    """Call ``python -m evalkit`` with these arguments; returns code, out and err."""
    from evalkit.cli.app import main

    def call(*arguments):
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return SimpleNamespace(code=end.value.code or 0, out=printed.out, err=printed.err)

    return call


@pytest.fixture
def in_memory(tmp_path, monkeypatch):
    """A run on arrays, with exact masks, and its images."""
    from evalkit.datasets.image_set import ImageSet

    rng = np.random.default_rng(5)
    regions = np.zeros((6, 40, 48), dtype=bool)
    regions[:, 10:30, 12:36] = True
    pixels = rng.integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    images = ImageSet.from_arrays(pixels, [0, 1, 2, 0, 1, 2], regions, class_names=["class0", "class1", "class2"])
    monkeypatch.chdir(tmp_path)
    return write_run(tmp_path / "arrays", images, ""), images
