"""The main job on a tiny model: what it prints, what it leaves, and what it says of bad input."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys

import pyarrow.parquet
import pytest

from evalkit.metrics.catalog import DEFAULT_METRICS
from tests.builders import stored_maps

QUICK = {
    "--data": "labels.csv",
    "--model": "tiny.keras",
    "--target": "predicted",
    "--output": "out",
    "--explainers": "gradcam,occlusion,random,uniform",
    "--patch-sizes": "8,16",
    "--steps": "4",
}


def quick(*positional, **changes):
    """Return the arguments of a run of a second, some of them changed (None leaves one out)."""
    options = {**QUICK, **{f"--{key.replace('_', '-')}": value for key, value in changes.items()}}
    return ["run", *positional, *(part for key, value in options.items() if value is not None for part in (key, value))]


def scores(path="out/results.sqlite"):
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT image_id, explainer, metric, value, reason, hex(statistics) FROM scores "
        "ORDER BY image_id, explainer, metric"
    ).fetchall()
    connection.close()
    return rows


@pytest.fixture
def finished(evalkit, prepared):
    """A finished quick run in ``out``, and what it printed in ``printed.txt``."""

    def make(folder):
        done = evalkit(*quick())
        assert done.code == 0, done.err
        (folder / "printed.txt").write_text(done.out, encoding="utf-8")

    return prepared("quick_run", make)


def printed_by(finished):
    return (finished / "printed.txt").read_text(encoding="utf-8")


def test_run_prints_tables_and_leaves_a_complete_run_folder(finished):
    assert "deletion" in printed_by(finished)
    assert "occlusion(patch_size=16)" in printed_by(finished).replace("\n", "")
    assert {one.name for one in (finished / "out").iterdir()} >= {
        "manifest.json",
        "results.sqlite",
        "maps",
        "analysis.json",
    }
    files = list((finished / "out" / "maps").iterdir())
    assert [len(stored_maps(file)) for file in files] == [5] * 6
    manifest = json.loads((finished / "out" / "manifest.json").read_text())
    assert manifest["finished"]
    assert len(scores()) == 6 * 5 * len(manifest["metrics"])


def test_show_gives_the_whole_document_as_strict_json(evalkit, finished):
    done = evalkit("show", "out", "--format", "json")
    found = json.loads(done.out, parse_constant=pytest.fail)
    assert set(found) >= {
        "schema_version", "signature", "model", "data", "n_images", "leaderboard", "patch_sweep", "best_patch_size",
        "cost",
    }  # fmt: skip
    assert set(found["signature"]) >= {"run", "metrics", "explainers"}
    assert found["n_images"] == 6
    assert set(found["leaderboard"][0]) >= {
        "explainer", "metric", "direction", "mean", "ci_low", "ci_high", "ci_reason", "n_scored", "n_unscored", "rank",
        "better_than",
    }  # fmt: skip
    assert len(found["leaderboard"]) == 5 * len(DEFAULT_METRICS)
    assert [(row["patch_size"], row["stride"], row["positions"]) for row in found["patch_sweep"]] == [
        (8, 8, 16),
        (16, 16, 4),
    ]
    row = found["patch_sweep"][0]
    assert set(row) >= {"patch_size", "stride", "positions", "forward_passes", "seconds_per_image", "metrics"}
    assert set(row["metrics"]["deletion"]) >= {"mean", "ci_low", "ci_high", "n_scored"}
    assert set(found["best_patch_size"]) >= {"patch_size", "reason", "stride", "decided", "tied_with", "chosen_share"}
    assert set(found["cost"][0]) >= {"explainer", "forward_passes", "seconds", "method"}


@pytest.mark.parametrize(("options", "columns"), [((), "mean"), (("--per-image",), "value")])
def test_show_writes_parquet(evalkit, finished, options, columns):
    command = [sys.executable, "-m", "evalkit", "show", "out", "--format", "parquet", *options]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    table = pyarrow.parquet.read_table(io.BytesIO(done.stdout))
    assert columns in table.column_names
    assert b"evalkit.signature" in table.schema.metadata
    lines = evalkit("show", "out", "--format", "csv", *options).out.splitlines()
    assert table.num_rows == len(lines) - 1


def test_parquet_holds_no_text_and_is_not_printed_on_a_terminal(evalkit, finished, monkeypatch):
    assert (
        "--cite prints text, which --format parquet cannot hold"
        in evalkit("show", "out", "--cite", "--format", "parquet").err
    )
    monkeypatch.setattr("evalkit.cli.show.on_terminal", lambda: True)
    done = evalkit("show", "out", "--format", "parquet")
    assert done.code == 2
    assert "--format parquet is a binary file; send it to one, for example > leaderboard.parquet" in done.err


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown", "latex"])
def test_every_format_of_run_show_and_list(evalkit, finished, form):
    first = evalkit(*quick(limit="2", format=form))  # two of the six images that are there
    assert first.code == 0, first.err
    again = evalkit("show", "out", "--format", form)
    assert again.out == first.out
    assert evalkit("show", "out", "--per-image", "--format", form).code == 0
    for what in ("explainers", "metrics", "models", "datasets"):
        listed = evalkit("list", what, "--format", form)
        assert listed.code == 0
        assert listed.out.strip()


def test_single_scores_take_no_criterion_and_a_report_takes_any(evalkit, finished, tmp_path):
    done = evalkit("show", "out", "--per-image", "--criterion", "deletion")
    assert done.code == 2
    assert "--per-image prints the scores as they are, and --criterion decides between explainers" in done.err
    assert evalkit("report", "out", "--criterion", "deletion", "--output", tmp_path / "by_deletion.html").code == 0
    shown = evalkit("show", "out", "--criterion", "deletion", "--format", "json").out
    best = next(cell for cell in json.loads(shown)["leaderboard"] if cell["metric"] == "deletion" and cell["rank"] == 1)
    page = (tmp_path / "by_deletion.html").read_text(encoding="utf-8")
    assert "deletion" in page.partition("Which explainer?")[2][:600]
    assert best["explainer"] in page.partition("Which explainer?")[2][:600]
    assert evalkit("report", "out", "--criterion", "nonsense").code == 2


def test_repeating_a_command_computes_nothing_and_says_the_same(evalkit, finished, monkeypatch):
    before = scores()

    def forbidden(*_):
        raise AssertionError("a photo was computed again")

    monkeypatch.setattr("evalkit.harness.engine.worker.Worker.begin", forbidden)
    again = evalkit(*quick())
    assert again.code == 0, again.err
    assert again.out == printed_by(finished)
    assert scores() == before


def test_a_changed_setting_computes_what_it_touches(evalkit, workplace, monkeypatch):
    from evalkit.explainers.cam import GradCam
    from evalkit.explainers.occlusion import Occlusion

    evalkit(*quick(metrics="deletion"))
    made = []
    for kind in (GradCam, Occlusion):
        original = kind.explain_with_facts
        monkeypatch.setattr(
            kind,
            "explain_with_facts",
            lambda self, *given, original=original: made.append(self.text) or original(self, *given),
        )
    evalkit(*quick(metrics="deletion,insertion"))
    assert made == []
    assert {row[2] for row in scores()} == {"deletion", "insertion"}
    evalkit(*quick(metrics="deletion", patch_sizes="8,16,24"))
    assert set(made) == {"occlusion(patch_size=24)"}


def test_only_photos_with_changed_content_are_rescored(evalkit, workplace):
    from PIL import Image

    evalkit(*quick(metrics="sparseness,deletion"))
    before = {row[:3]: row[3:] for row in scores()}
    Image.open(workplace / "photo0.png").rotate(180).save(workplace / "photo0.png")
    os.utime(workplace / "photo1.png", ns=(1, 1))
    evalkit(*quick(metrics="sparseness,deletion"))
    after = {row[:3]: row[3:] for row in scores()}
    changed = {key[0] for key in before if before[key] != after[key]}
    assert changed == {"photo0.png"}
    manifest = json.loads((workplace / "out" / "manifest.json").read_text())
    assert manifest["explainers"][0]["n_maps"] == 6


def test_batch_size_does_not_move_the_scores(evalkit, workplace):
    evalkit(*quick(batch_size="1"))
    one = scores()
    evalkit(*quick(batch_size="13"), "--fresh")
    for first, second in zip(one, scores(), strict=True):
        assert first[:3] == second[:3]
        assert first[4:] == second[4:]
        assert first[3] == second[3] or abs(first[3] - second[3]) < 1e-6


def test_misclassified_photos_get_no_perturbation_score(evalkit, workplace):
    done = evalkit(*quick(target="label", format="json"))
    found = json.loads(done.out)
    reasons = {row[4] for row in scores() if row[2] == "deletion"}
    assert reasons >= {"misclassified"}
    cell = next(cell for cell in found["leaderboard"] if cell["metric"] == "deletion")
    assert cell["n_scored"] + cell["n_unscored"] == 6
    assert cell["n_unscored"] == 6 - found["model"]["n_right"] > 0
    assert all(row[3] is not None for row in scores() if row[2] == "pointing_game")


def test_unusable_photos_are_named_and_skipped(evalkit, workplace):
    (workplace / "photo1.png").unlink()
    (workplace / "photo2.png").write_bytes(b"no picture")
    text = (
        (workplace / "labels.csv")
        .read_text()
        .replace("photo3.png,0,class0,8,6,30,28", "photo3.png,0,class0,8,6,300,28")
    )
    (workplace / "labels.csv").write_text(text)
    done = evalkit(*quick())
    assert done.code == 0, done.err
    assert "not scored: photo1.png: file is missing" in done.err
    assert "not scored: photo2.png: cannot be decoded" in done.err
    assert "not scored: photo3.png: the photo is 48 x 40, smaller than its box (8, 6, 300, 28)" in done.err
    assert {row[4] for row in scores() if row[0] == "photo1.png"} == {"file is missing"}
    assert "(3 not usable)" in done.out
    assert "photo1.png" in evalkit("show", "out", "--all").out


def test_a_repaired_photo_is_scored_by_the_next_run(evalkit, workplace):
    kept = (workplace / "photo1.png").read_bytes()
    (workplace / "photo1.png").unlink()
    evalkit(*quick())
    (workplace / "photo1.png").write_bytes(kept)
    done = evalkit(*quick())
    assert "not scored" not in done.err
    assert "file is missing" not in {row[4] for row in scores()}
    assert [row[3] for row in scores() if row[:3] == ("photo1.png", "uniform", "sparseness")] == [0.0]


def test_config_file_says_the_same_as_the_command_line(evalkit, workplace):
    (workplace / "config.toml").write_text(
        'data = "labels.csv"\nmodel = "tiny.keras"\ntarget = "predicted"\noutput = "out"\nsteps = 4\n'
        'explainers = ["gradcam", "occlusion", "random", "uniform"]\npatch_sizes = [8, 16]\n'
    )
    by_file = evalkit("run", "config.toml", "--limit", "2", "--metrics", "deletion,sparseness")
    assert by_file.code == 0, by_file.err
    by_line = evalkit(*quick(limit="2", metrics="deletion,sparseness"))
    assert by_line.out == by_file.out


def test_default_output_is_named_after_data_model_and_signature(evalkit, workplace):
    done = evalkit(*quick(output=None, metrics="sparseness"))
    (folder,) = (workplace / "runs").iterdir()
    assert folder.name.startswith("labels-tiny-")
    assert f"python -m evalkit show runs/{folder.name} --all" in done.out
    assert "run folder" not in done.err
    again = evalkit(*quick(output=None, metrics="sparseness"), "--format", "json")
    assert f"run folder: runs/{folder.name}" in again.err
    evalkit(*quick(output=None, metrics="sparseness", steps="5"))
    assert len(list((workplace / "runs").iterdir())) == 2


def test_default_explainers_that_do_not_fit_are_left_out(evalkit, workplace):
    done = evalkit(
        "run",
        "--data",
        "labels.csv",
        "--model",
        "tiny.keras",
        "--output",
        "out",
        "--metrics",
        "sparseness",
        "--limit",
        "1",
    )
    assert done.code == 0, done.err
    assert "left out: occlusion: patch_size=40 is larger than the model's input, 32 x 32" in done.err
    assert "cam" in {row[1] for row in scores()}


def test_an_interrupted_run_says_how_to_go_on_and_goes_on(evalkit, workplace, monkeypatch):
    from evalkit.harness.engine.worker import Worker

    original, calls = Worker.begin, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(Worker, "begin", interrupted)
    done = evalkit(*quick(metrics="sparseness"))
    assert done.code == 130
    assert "interrupted; repeat the command to resume" in done.err
    monkeypatch.setattr(Worker, "begin", lambda *given: calls.append(given) or original(*given))
    assert evalkit(*quick(metrics="sparseness")).code == 0
    assert len(calls) == 3 + 4
    assert len(scores()) == 6 * 5


def test_a_table_is_printed_in_any_encoding(evalkit, workplace):
    evalkit(*quick(metrics="sparseness", limit="1"))
    command = [sys.executable, "-m", "evalkit", "show", "out"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"sparseness" in done.stdout


def test_a_model_whose_scores_are_no_numbers_scores_nothing(evalkit, workplace, tiny_model):
    import keras

    broken = keras.models.clone_model(tiny_model)
    broken.get_layer("predictions").bias.assign([float("nan")] * 3)
    broken.save("nan.keras")
    done = evalkit(*quick(model="nan.keras", target="label", metrics="increase_in_confidence,deletion", format="json"))
    assert done.code == 0, done.err
    assert json.loads(done.out)["model"]["n_right"] == 0
    assert {row[3] for row in scores()} == {None}
    assert "the score of model 'nan.keras' is not finite" in {row[4] for row in scores()}


BAD = {
    "no data": ({"data": ""}, "does not exist|is missing"),
    "missing manifest": ({"data": "gone.csv"}, "'gone.csv' does not exist"),
    "empty manifest": ({"data": "empty.csv"}, "empty.csv"),
    "header only": ({"data": "header.csv"}, "has a header but no rows"),
    "column missing": ({"data": "column.csv"}, "the column 'image' is missing"),
    "class index out of range": ({"data": "range.csv"}, "range.csv line 2.*7.*0..2"),
    "inverted box": ({"data": "inverted.csv"}, "inverted.csv line 2: box .* is inverted or empty"),
    "negative box": ({"data": "negative.csv"}, "negative.csv line 2: box .* negative"),
    "no readable photo": ({"data": "unreadable.csv"}, "none of its 1 photos can be read .*file is missing"),
    "unknown explainer": ({"explainers": "gradcom"}, "unknown explainer 'gradcom': did you mean 'gradcam'"),
    "no explainer": (
        {"explainers": ""},
        "--explainers is empty; name at least one of: default, .*, all, gradcam",
    ),
    "no metric": ({"metrics": ""}, "--metrics is empty; name at least one of: default, all, deletion"),
    "unknown metric": ({"metrics": "deletions"}, "unknown metric 'deletions': did you mean 'deletion'"),
    "unknown option": ({"step": "3"}, "--step.*--steps"),
    "bad parameter": (
        {"explainers": "occlusion(patch_sise=4)"},
        "no parameter 'patch_sise': did you mean 'patch_size'",
    ),
    "bad value": ({"explainers": "occlusion(patch_size=4, fill=pink)"}, "fill=pink is not allowed"),
    "bad metric value": ({"metrics": "deletion(steps=0)"}, "steps=0|steps 0"),
    "no convolution": ({"model": "flat.keras", "preprocess": "none", "explainers": "gradcam"}, "no convolution"),
    "no preprocessing": ({"model": "flat.keras"}, "does not say how its input is preprocessed; add --preprocess"),
    "missing model": ({"model": "gone.keras"}, "'gone.keras': there is no such file"),
    "not a number": ({"limit": "many"}, "--limit"),
    "zero limit": ({"limit": "0"}, "--limit 0 is not allowed"),
    "bad patch size": ({"patch_sizes": "16,a"}, "--patch-sizes '16,a' is not a list of pixels"),
    "output is a file": ({"output": "labels.csv"}, "--output 'labels.csv' is a file"),
    "unknown geometry": ({"geometry": "stretch"}, "stretch"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_exits_2_and_leaves_nothing(evalkit, workplace, case):
    import keras

    row = "photo0.png,0,8,6,30,28"
    header = "image,class_index,x0,y0,x1,y1"
    for name, text in {
        "empty": "",
        "header": f"{header}\n",
        "column": f"{header.replace('image', 'file')}\n{row}\n",
        "range": f"{header}\n{row.replace(',0,', ',7,', 1)}\n",
        "inverted": f"{header}\nphoto0.png,0,30,6,8,28\n",
        "negative": f"{header}\nphoto0.png,0,-8,6,30,28\n",
        "unreadable": f"{header}\nnothing.png,0,8,6,30,28\n",
    }.items():
        (workplace / f"{name}.csv").write_text(text)
    if BAD[case][0].get("model") == "flat.keras":
        flat = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
        flat.save("flat.keras")
    before = sorted(path.name for path in workplace.iterdir())
    changes, message = BAD[case]
    done = evalkit(*quick(**changes))
    assert done.code == 2, done.err
    assert done.out == ""
    *_, sentence = " ".join(done.err.split()).partition("evalkit: ")  # after notes, e.g. on missing photos
    assert "Traceback" not in done.err
    import re

    assert re.search(message, sentence), sentence
    assert sorted(path.name for path in workplace.iterdir()) == before


def test_verbs_and_runs_that_do_not_exist(evalkit, workplace):
    assert evalkit("rn").code == 2
    assert "gone.toml' cannot be read" in evalkit(*quick("gone.toml")).err
    done = evalkit("show", "nowhere")
    assert done.code == 2
    assert "'nowhere' is not a run folder" in done.err
