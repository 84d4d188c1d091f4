"""``report``: what it writes, where it finds the photos, and what is said of bad input."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest

from evalkit.report.rerun import rerun_command
from evalkit.store.run_folder import RunFolder


def text_of(path):
    return path.read_text(encoding="utf-8")


def test_report_shows_only_unchanged_photos(evalkit, workplace):
    done = evalkit(
        "run", "--data", "labels.csv", "--model", "tiny.keras", "--target", "predicted", "--output", "out",
        "--explainers", "gradcam,center", "--metrics", "deletion,sparseness",
    )  # fmt: skip
    assert done.code == 0, done.err
    done = evalkit("report", "out", "--figures", "plots")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "out/report.html"
    assert {path.name for path in (workplace / "plots").iterdir()} == {"curves_gradcam.png", "curves_center.png"}
    whole = text_of(workplace / "out" / "report.html")
    assert "are missing or have changed" not in whole
    # One photo is another, then one is lost, then all are.
    (workplace / "photo0.png").write_bytes((workplace / "photo1.png").read_bytes())
    evalkit("report", "out")
    other = text_of(workplace / "out" / "report.html")
    (workplace / "photo5.png").unlink()
    evalkit("report", "out")
    parts = text_of(workplace / "out" / "report.html")
    assert "of the photos below are missing or have changed" in parts
    assert parts.count("<img") < other.count("<img") < whole.count("<img")
    shutil.move("labels.csv", "elsewhere.csv")
    assert evalkit("report", "out", "--output", "page.html").code == 0
    assert "does not exist" in text_of(workplace / "page.html")
    assert evalkit("report", "out", "--data", "elsewhere.csv").code == 0
    assert "cannot be shown" not in text_of(workplace / "out" / "report.html")
    # --fresh takes the report along: it is of scores that are forgotten.
    shutil.move("elsewhere.csv", "labels.csv")
    evalkit("run", "--data", "labels.csv", "--model", "tiny.keras", "--explainers", "uniform", "--metrics",
            "sparseness", "--output", "out", "--fresh")  # fmt: skip
    assert not (workplace / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "'nowhere' is not a run folder"),
        (["out", "--data", "nowhere.csv"], "--data 'nowhere.csv' does not exist"),
        (["out", "--output", "."], "--output '.' is a folder; name a file"),
        (["out", "--figures", "labels.csv"], "--figures 'labels.csv' is a file; name a folder"),
    ],
)
def test_bad_input_is_one_sentence(evalkit, workplace, arguments, said):
    done = evalkit("report", *arguments)
    assert (done.code, said in done.err) == (2, True)


@pytest.mark.parametrize(
    "options",
    [
        ["--explainers", "uniform", "--metrics", "pxap"],
        ["--explainers", "uniform,random", "--metrics", "sparseness", "--limit", "1"],
        ["--explainers", "occlusion(patch_size=8),occlusion(patch_size=16)", "--metrics", "deletion", "--limit", "2"],
        ["--explainers", "gradcam", "--metrics", "relevance_mass_accuracy"],
    ],
)
def test_runs_with_little_in_them_have_a_report_too(evalkit, workplace, options):
    done = evalkit("run", "--data", "labels.csv", "--model", "tiny.keras", "--output", "out", *options)
    assert done.code == 0, done.err
    done = evalkit("report", "out", "--figures", "plots")
    assert done.code == 0, done.err
    assert 'id="leaderboard"' in text_of(workplace / "out" / "report.html")


def test_report_without_curves_says_so(evalkit, workplace):
    evalkit("run", "--data", "labels.csv", "--model", "tiny.keras", "--output", "out", "--explainers", "center",
            "--metrics", "sparseness")  # fmt: skip
    assert evalkit("report", "out").code == 0
    assert "No curves are stored" in text_of(workplace / "out" / "report.html")


def test_an_unfinished_run_has_no_report(evalkit, workplace):
    evalkit("run", "--data", "labels.csv", "--model", "tiny.keras", "--output", "out", "--explainers", "center",
            "--metrics", "sparseness")  # fmt: skip
    manifest = json.loads(text_of(workplace / "out" / "manifest.json"))
    (workplace / "out" / "manifest.json").write_text(json.dumps({**manifest, "finished": None}))
    done = evalkit("report", "out")
    assert (done.code, "is not finished; repeat the command" in done.err) == (2, True)


def require_made_again(evalkit, run):
    """The report's command needs nothing added, and gives the same signature and leaderboard."""
    folder = RunFolder.read(run)
    command, notes = rerun_command(folder.read_manifest())
    folder.close()
    assert notes == []
    done = evalkit(*shlex.split(command)[3:], "--output", "again", "--format", "json")
    assert done.code == 0, done.err
    again, first = json.loads(done.out), json.loads(evalkit("show", run, "--format", "json").out)
    assert (again["signature"], again["leaderboard"]) == (first["signature"], first["leaderboard"])


def test_the_command_makes_the_run_again(evalkit, workplace):
    options = ["--data", "labels.csv", "--model", "tiny.keras", "--explainers", "center,occlusion(patch_size=8)",
               "--region-area", "0.1..0.9", "--only-correct"]  # fmt: skip
    evalkit("run", *options, "--metrics", "deletion", "--limit", "3", "--seed", "4", "--steps", "7", "--output", "out")
    require_made_again(evalkit, workplace / "out")


@pytest.mark.parametrize("target", ["label", "predicted"])
def test_the_command_names_every_file_that_was_read(evalkit, workplace, tiny_model, target):
    place = workplace / "it's mine"
    place.mkdir()
    tiny_model.save_weights(place / "other.weights.h5")
    (place / "names.txt").write_text("ant\nbee\ncat\n")
    (place / "map.json").write_text('{"insect": ["ant", "bee"], "pet": "cat"}')
    rows = [f"photo{number}.png,{('insect', 'pet')[number % 2]}" for number in range(6)]
    (workplace / "named.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    files = {"--weights": "other.weights.h5", "--class-names": "names.txt", "--class-map": "map.json"}
    options = [part for option, file in files.items() for part in (option, f"it's mine/{file}")]
    done = evalkit(
        "run", "--data", "named.csv", "--model", "tiny.keras", *options, "--target", target, "--explainers",
        "center,gradcam", "--metrics", "deletion,sparseness", "--output", "out",
    )  # fmt: skip
    assert done.code == 0, done.err
    require_made_again(evalkit, workplace / "out")


def test_classes_have_their_names_instead_of_wordnet_ids(evalkit, workplace):
    for number, name in enumerate(("n01440764", "n01443537", "n01484850")):
        folder = workplace / "photos" / name
        folder.mkdir(parents=True)
        for photo in (number, number + 3):
            shutil.copy(f"photo{photo}.png", folder)
    (workplace / "words.txt").write_text("n01440764 tench\nn01443537 goldfish\nn01484850 great white shark\n")
    options = ("--model", "tiny.keras", "--class-names", "words.txt", "--explainers", "center,random")
    done = evalkit("run", "--data", "photos", *options, "--metrics", "sparseness", "--output", "out")
    assert done.code == 0, done.err
    evalkit("report", "out")
    page = text_of(workplace / "out" / "report.html")
    assert "<bdi>tench</bdi>" in page
    assert "<bdi>n01440764</bdi>" not in page


@pytest.mark.parametrize("names", ["ant,bee,cat", "words.txt"])
def test_the_command_repeats_names_and_order(evalkit, workplace, names):
    (workplace / "words.txt").write_text("0 ant\n1 bee\n2 cat\n")
    options = ("--data", "labels.csv", "--model", "tiny.keras", "--explainers", "center", "--metrics", "sparseness")
    done = evalkit("run", *options, "--class-names", names, "--class-order", "index", "--output", "out")
    assert done.code == 0, done.err
    require_made_again(evalkit, workplace / "out")
