"""The compare verb on tiny runs: what it prints, what it refuses, and that it needs no model."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys

import keras
import pytest

CODE = (
    "import sys; from evalkit.cli.app import main\n"
    "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    "assert not {'tensorflow', 'keras', 'tf_explain', 'cv2'} & set(sys.modules)\n"
)


@pytest.fixture
def run(evalkit):
    """Make a run folder of the tiny set in the current folder; keywords change options."""

    def make(output, **changes):
        options = {
            "data": "labels.csv",
            "model": "tiny.keras",
            "explainers": "gradcam,random,uniform",
            "metrics": "sparseness,deletion,max_box_acc_v1,relevance_mass_accuracy",
            "steps": "4",
            "precision": "float32",
            **changes,
        }
        done = evalkit(
            "run", "--output", output, *(part for key, value in options.items() for part in (f"--{key}", value))
        )
        assert done.code == 0, done.err

    return make


@pytest.fixture
def kept(run, prepared):
    """A folder with a run ``one`` of one metric."""
    return prepared("compare", lambda _: run("one", metrics="sparseness"))


@pytest.fixture
def two_models(run, prepared, tiny_model):
    """Two run folders, ``before`` and ``after``, of models with the same architecture and other weights."""

    def make(_):
        other = keras.models.clone_model(tiny_model)
        keras.utils.set_random_seed(3)
        for layer in other.layers:
            layer.set_weights([keras.random.normal(one.shape, seed=at) for at, one in enumerate(layer.get_weights())])
        other.save("other.keras")
        run("before")
        run("after", model="other.keras")

    return prepared("two_models", make)


def test_two_models_are_compared_and_what_differs_is_said(evalkit, two_models):
    done = evalkit("compare", "before", "after")
    assert done.code == 0, done.err
    assert done.err == ""
    text = " ".join(done.out.split())
    assert "A: before (tiny.keras, float32, 6 images" in text
    assert "B: after (other.keras, float32, 6 images" in text
    assert "Differs: model: A tiny.keras, B other.keras." in text
    assert "Differs: fingerprint: A" in text
    assert "sparseness explainer" in text  # it has no better end
    assert "deletion ↓" in text
    assert "Left out" not in text


def test_the_document_agrees_with_the_databases(evalkit, two_models):
    found = json.loads(evalkit("compare", "before", "after", "--format", "json").out, parse_constant=pytest.fail)
    assert found["n_shared"] == 6
    assert len(found["cells"]) == 3 * 4
    cell = next(one for one in found["cells"] if (one["explainer"], one["metric"]) == ("gradcam", "sparseness"))
    scores = []
    for folder in ("before", "after"):
        connection = sqlite3.connect(f"{folder}/results.sqlite")
        rows = connection.execute(
            "SELECT image_id, value FROM scores WHERE metric='sparseness' AND explainer='gradcam'"
        )
        scores.append(dict(rows.fetchall()))
        connection.close()
    both = [name for name, value in scores[0].items() if value is not None and scores[1][name] is not None]
    assert cell["n_images"] == len(both)
    assert cell["difference"] == pytest.approx(sum(scores[1][name] - scores[0][name] for name in both) / len(both))
    # Controls do not depend on the model.
    still = [
        one for one in found["cells"] if one["explainer"] in ("random", "uniform") and one["metric"] == "sparseness"
    ]
    assert [(one["difference"], one["verdict"]) for one in still] == [(0.0, "tied")] * 2
    masses = [one for one in found["cells"] if one["metric"] == "relevance_mass_accuracy"]
    assert {(one["verdict"], one["n_images"], one["mean"]) for one in masses} == {("not scored", 0, None)}


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_keeps_to_the_terminal(evalkit, two_models, monkeypatch, width):
    monkeypatch.setattr("evalkit.cli.compare.terminal_width", lambda: width)
    done = evalkit("compare", "before", "after", "before")
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= width


def test_every_format_parses(evalkit, two_models):
    shown = {
        form: evalkit("compare", "before", "after", "--format", form) for form in ("json", "csv", "markdown", "latex")
    }
    assert {one.code for one in shown.values()} == {0}
    found = json.loads(shown["json"].out, parse_constant=pytest.fail)
    rows = list(csv.DictReader(io.StringIO(shown["csv"].out)))
    assert [(row["explainer"], row["metric"]) for row in rows] == [
        (cell["explainer"], cell["metric"]) for cell in found["cells"]
    ]
    tables = [line for line in shown["markdown"].out.splitlines() if line.startswith("|")]
    assert len(tables) == 4 * (2 + 3)
    assert {len(re.split(r"(?<!\\)\|", line)) for line in tables} == {8}
    assert shown["latex"].out.count(r"\begin{tabular}") == shown["latex"].out.count(r"\end{tabular}") == 4
    assert evalkit("compare", "before", "after", "--format", "xml").code == 2


def test_another_precision_is_compared_and_said(evalkit, run, kept):
    run("two", metrics="sparseness", precision="bfloat16")
    done = evalkit("compare", "one", "two")
    assert done.code == 0, done.err
    assert "Differs: precision: A float32, B bfloat16." in " ".join(done.out.split())


def test_another_geometry_is_not_comparable(evalkit, run, kept):
    run("two", metrics="sparseness", geometry="center-crop")
    done = evalkit("compare", "one", "two")
    assert done.code == 3
    assert done.out == ""
    sentence = " ".join(done.err.split())
    assert sentence == (
        "evalkit: 'one' and 'two' are not comparable: geometry is squash in A and center-crop in B; "
        "run both with the same --geometry"
    )


def test_another_target_is_not_comparable(evalkit, run, kept):
    run("two", metrics="sparseness", target="predicted")
    done = evalkit("compare", "one", "two")
    assert done.code == 3
    assert "target is label in A and predicted in B" in done.err


def test_other_steps_are_left_out_and_alone_refused(evalkit, run, workplace):
    run("one", metrics="sparseness,deletion")
    run("two", metrics="sparseness,deletion", steps="5")
    done = evalkit("compare", "one", "two", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert {cell["metric"] for cell in found["cells"]} == {"sparseness"}
    assert found["left_out"] == ["metric deletion: steps is 4 in A, 5 in B"]
    run("three", metrics="deletion", steps="6")
    done = evalkit("compare", "two", "three")
    assert done.code == 3
    assert "no metric is the same in all" in done.err
    assert "metric deletion: steps is 5 in A, 6 in B" in done.err


def test_photos_are_paired_by_content_not_by_name_or_place(evalkit, run, kept):
    header, *lines = (kept / "labels.csv").read_text().splitlines()
    (kept / "photo0.png").rename(kept / "renamed.png")
    text = "\n".join([header, *lines[:0:-1], lines[0]]).replace("photo0.png", "renamed.png")
    (kept / "turned.csv").write_text(f"{text}\n")
    (kept / "photo5.png").write_bytes(b"no picture")
    run("two", metrics="sparseness", data="turned.csv")
    done = evalkit("compare", "one", "two", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["n_shared"] == 5
    assert found["left_out"] == ["1 of up to 6 images could not be read in at least one run"]
    (cell,) = [one for one in found["cells"] if one["explainer"] == "gradcam"]
    assert cell["n_images"] == 5
    assert cell["difference"] == pytest.approx(0.0, abs=1e-6)
    assert cell["verdict"] == "not tested"


def test_a_folder_against_itself_is_tied_throughout(evalkit, two_models):
    done = evalkit("compare", "before", "before", "before/", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert {cell["verdict"] for cell in found["cells"]} == {"tied", "not tested", "not scored"}
    assert {cell["difference"] for cell in found["cells"]} == {0.0, None}
    assert found["differs"] == found["left_out"] == []


def test_looking_changes_no_run_folder(evalkit, kept):

    def seen():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in (kept / "one").rglob("*")}

    before = seen()
    assert evalkit("compare", "one", "one").code == 0
    assert seen() == before


def test_too_few_or_no_runs_are_bad_usage(evalkit, kept):
    for given, count in (((), 0), (("one",), 1)):
        done = evalkit("compare", *given)
        assert done.code == 2
        assert done.out == ""
        assert f"compare takes two or more run folders, not {count}" in done.err


def test_folders_that_hold_no_finished_run_are_named(evalkit, kept, monkeypatch):
    (kept / "empty").mkdir()
    for bad in ("nowhere", "empty", "labels.csv"):
        for order in (("one", bad), (bad, "one")):
            done = evalkit("compare", *order)
            assert done.code == 2
            assert f"'{bad}' is not a run folder" in done.err
    from evalkit.harness.engine.worker import Worker

    original, calls = Worker.begin, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(Worker, "begin", interrupted)
    half = evalkit(
        "run", "--data", "labels.csv", "--model", "tiny.keras", "--output", "half", "--explainers", "random",
        "--metrics", "sparseness",
    )  # fmt: skip
    assert half.code == 130
    done = evalkit("compare", "one", "half")
    assert done.code == 2
    assert "run 'half' is not finished" in done.err
    assert done.out == ""


def test_comparing_imports_no_tensorflow(two_models):
    def python(*arguments):
        command = [sys.executable, "-c", CODE, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=two_models)

    for form in ("table", "json"):
        done = python("compare", "before", "after", "--format", form)
        assert done.returncode == 0, done.stderr
        assert "sparseness" in done.stdout
