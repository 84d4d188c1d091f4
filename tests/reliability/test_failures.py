"""What fails costs its own cells: recorded, counted, listed, tried again; fatal only if asked."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from evalkit.explainers.base import MapFacts
from evalkit.explainers.cam import GradCam
from evalkit.metrics.complexity import Sparseness
from evalkit.metrics.perturbation import Deletion
from evalkit.models.inference.perturbation import PhotoScores

RUN = (
    "run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--steps", "4", "--output", "out",
    "--precision", "float32", "--explainers", "gradcam,occlusion(patch_size=8)", "--metrics", "deletion,sparseness",
)  # fmt: skip


@pytest.fixture
def cells(workplace):
    """Return (image, explainer, metric) -> (value, reason) of the run."""

    def read():
        database = sqlite3.connect(workplace / "out" / "results.sqlite")
        rows = database.execute("SELECT image_id, explainer, metric, value, reason FROM scores").fetchall()
        database.close()
        return {row[:3]: row[3:] for row in rows}

    return read


def failing_once(monkeypatch, owner, name, error, *, at=2):
    """Let a method raise at its n-th call on an image of the run."""
    whole, calls = getattr(owner, name), []

    def broken(*arguments, **named):
        if any(getattr(argument, "image_id", "") == "probe" for argument in arguments):
            return whole(*arguments, **named)
        calls.append(1)
        if len(calls) == at:
            raise error
        return whole(*arguments, **named)

    monkeypatch.setattr(owner, name, broken)


@pytest.mark.parametrize(
    ("owner", "method", "cell", "n_lost"),
    [
        (GradCam, "explain_with_facts", ("gradcam", None), 2),
        (Deletion, "requests", (None, "deletion"), 1),
        (Deletion, "score", (None, "deletion"), 1),
        (Sparseness, "score", (None, "sparseness"), 1),
        (PhotoScores, "scores", (None, None), 4),
    ],
)
@pytest.mark.parametrize("error", [ZeroDivisionError("no luck"), AttributeError("no luck"), AssertionError("no luck")])
def test_a_failure_costs_its_own_cells_until_the_next_run(
    evalkit, cells, monkeypatch, owner, method, cell, n_lost, error
):
    with monkeypatch.context() as patched:
        failing_once(patched, owner, method, error)
        done = evalkit(*RUN)
    assert done.code == 0, done.err
    lost = {key: reason for key, (value, reason) in cells().items() if value is None and "no luck" in reason}
    assert len(lost) == n_lost
    assert len({image for image, _, _ in lost}) == 1
    assert all(f"failed: {type(error).__name__}: no luck" in reason for reason in lost.values())
    assert all(wanted in (None, found) for key in lost for wanted, found in zip(cell, key[1:], strict=True))
    assert "failed: " in done.err
    assert "no luck" in done.err
    again = evalkit(*RUN)
    assert again.code == 0
    assert "no luck" not in again.err
    assert not any("no luck" in (reason or "") for _, reason in cells().values())


def test_failures_are_counted_in_the_table(evalkit, cells, monkeypatch):
    failing_once(monkeypatch, GradCam, "explain_with_facts", ValueError("no luck"))
    assert "gradcam failed: ValueError: no luck" in " ".join(evalkit(*RUN).out.split())


def test_fail_on_error_stops_and_keeps_what_is_computed(evalkit, cells, monkeypatch):
    with monkeypatch.context() as patched:
        failing_once(patched, GradCam, "explain_with_facts", ValueError("no luck"), at=3)
        done = evalkit(*RUN, "--fail-on-error")
    assert done.code == 2
    assert "--fail-on-error: gradcam on photo 'photo2.png': gradcam failed: ValueError: no luck" in done.err
    assert "repeat the command to resume" in done.err
    assert len({image for image, _, _ in cells()}) == 3
    assert evalkit(*RUN, "--fail-on-error").code == 0
    assert len(cells()) == 6 * 4


def test_fail_on_error_names_a_photo_that_cannot_be_used(evalkit, workplace):
    (workplace / "photo1.png").write_text("no photo")
    done = evalkit(*RUN, "--fail-on-error")
    assert done.code == 2
    assert "--fail-on-error: photo 'photo1.png' cannot be used: cannot be decoded" in done.err
    assert evalkit(*RUN).code == 0


def test_a_model_that_gives_nan_is_named(evalkit, workplace, tiny_model):
    import keras

    model = keras.models.clone_model(tiny_model)
    model.set_weights([one * float("nan") for one in tiny_model.get_weights()])
    model.save("tiny.keras")
    done = evalkit(*RUN, "--fail-on-error")
    assert done.code == 2
    done = evalkit(*RUN)
    assert done.code == 0
    assert "the score of model 'tiny.keras' is not finite" in done.err


class DumbError(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "error", [SystemExit(0), GeneratorExit(), BaseException("odd"), ValueError("bad \udcff name"), DumbError()]
)
def test_any_exception_of_an_explainer_costs_its_own_cells(evalkit, cells, monkeypatch, error):
    failing_once(monkeypatch, GradCam, "explain_with_facts", error)
    done = evalkit(*RUN)
    assert done.code == 0, done.err
    lost = {key for key, (value, reason) in cells().items() if value is None and "gradcam failed" in reason}
    assert lost == {("photo1.png", "gradcam", "deletion"), ("photo1.png", "gradcam", "sparseness")}


@pytest.mark.parametrize(
    "made", [np.ones((32, 32)), np.ones((1, 32, 32, 1)), [None], 3.0, np.full((1, 32, 32), np.nan)]
)
def test_a_bad_map_costs_its_own_cells_until_the_next_run(evalkit, cells, monkeypatch, made):
    with monkeypatch.context() as patched:
        whole, calls = GradCam.explain_with_facts, []

        def odd(*arguments):
            calls.append(1)
            return (made, [MapFacts()]) if len(calls) == 2 else whole(*arguments)

        patched.setattr(GradCam, "explain_with_facts", odd)
        done = evalkit(*RUN)
    assert done.code == 0, done.err
    lost = {key[:2] for key, (value, reason) in cells().items() if value is None and "positive" not in reason}
    assert lost == {("photo1.png", "gradcam")}
    again = evalkit(*RUN)
    assert "failed: " not in again.err
    assert not any("map is" in (reason or "") for _, reason in cells().values() if "positive" not in (reason or ""))


def test_a_failing_engine_leaves_what_is_known_of_a_photo(evalkit, cells, monkeypatch):
    path = Path("out/manifest.json")
    assert evalkit(*RUN).code == 0
    before = json.loads(path.read_text())["model"]
    with monkeypatch.context() as patched:
        failing_once(patched, PhotoScores, "scores", RuntimeError("no luck"), at=1)
        assert evalkit(*RUN[:-1], "deletion,sparseness,insertion").code == 0
    assert json.loads(path.read_text())["model"] == before


def test_a_metric_that_fails_on_everything_costs_its_own_scores(evalkit, cells, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr(Deletion, "requests", broken)
        done = evalkit(*RUN)
    assert done.code == 0, done.err
    lost = {key for key, (value, reason) in cells().items() if value is None and "no luck" in (reason or "")}
    assert {metric for _, _, metric in lost} == {"deletion"}
    assert evalkit(*RUN).code == 0  # mended: the keys of what was scored did not change
    assert not any("no luck" in (reason or "") for _, reason in cells().values())
