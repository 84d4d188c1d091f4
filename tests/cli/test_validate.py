"""``validate``: what it says of good and bad data, without and with a model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


def found_in(done):
    return json.loads(done.out, parse_constant=pytest.fail)


@pytest.fixture
def mixed(workplace):
    """Six good photos; a copy, a damaged file, a missing one, a box outside and an empty mask."""
    lines = (workplace / "labels.csv").read_text().replace("\n", ",\n").replace("y1,\n", "y1,mask\n").splitlines()
    shutil.copy(workplace / "photo0.png", workplace / "copy.png")
    (workplace / "damaged.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(workplace / "empty.png")
    shutil.copy(workplace / "photo1.png", workplace / "masked.png")
    lines += [
        "copy.png,0,class0,8,6,30,28,",
        "damaged.png,1,class1,,,,,",
        "missing.png,1,class1,,,,,",
        "photo6.png,1,class1,0,0,300,20,",
        "masked.png,2,class2,,,,,empty.png",
    ]
    Image.fromarray(np.full((40, 48, 3), 9, np.uint8)).save(workplace / "photo6.png")
    (workplace / "labels.csv").write_text("\n".join(lines) + "\n")
    return workplace


def test_everything_that_is_there_is_counted(evalkit, mixed):
    done = evalkit("validate", "--data", "labels.csv", "--format", "json")
    assert done.code == 0, done.err
    data = found_in(done)["data"]
    assert (data["kind"], data["n_images"], data["n_photos"], data["n_read"]) == ("csv", 11, 11, 7)
    assert (data["n_regions"], data["n_exact"], data["n_unlabelled"]) == (7, 0, 0)
    assert data["widths"] == {"smallest": 48.0, "median": 48.0, "largest": 48.0}
    assert data["heights"]["median"] == 40.0
    assert data["region_areas"]["median"] == pytest.approx(22 * 22 / (40 * 48))
    assert data["classes"] == [
        {"label": "class0", "n_images": 3, "n_regions": 3},
        {"label": "class1", "n_images": 5, "n_regions": 2},
        {"label": "class2", "n_images": 3, "n_regions": 2},
    ]
    assert data["duplicates"] == [["photo0.png", "copy.png"]]
    assert {problem["image"]: problem["kind"] for problem in data["problems"]} == {
        "damaged.png": "cannot be used",
        "missing.png": "cannot be used",
        "photo6.png": "box outside the photo",
        "masked.png": "empty mask",
    }
    assert found_in(done)["model"] is None
    assert found_in(done)["could_start"] is True


def test_the_table_says_the_same(evalkit, mixed):
    done = evalkit("validate", "--data", "labels.csv")
    assert done.code == 0, done.err
    for said in (
        "11",
        "photo0.png, copy.png",
        "box outside the photo",
        "empty mask",
        "class1",
        "48 to 48 pixels",
        "yes",
    ):
        assert said in done.out


def test_a_model_says_what_it_lacks_and_how_often_it_is_right(evalkit, workplace):
    run = evalkit(
        "run", "--data", "labels.csv", "--model", "tiny.keras", "--output", "out", "--explainers", "uniform",
        "--metrics", "sparseness", "--precision", "float32", "--format", "json",
    )  # fmt: skip
    done = evalkit("validate", "--data", "labels.csv", "--model", "tiny.keras", "--format", "json")
    assert done.code == 0, done.err
    model = found_in(done)["model"]
    assert (model["n_asked"], model["n_right"]) == (6, json.loads(run.out)["model"]["n_right"])
    assert model["share_right"] == pytest.approx(model["n_right"] / 6)
    assert model["unknown_labels"] == []


def test_labels_that_the_model_lacks_block_a_run(evalkit, workplace):
    (workplace / "names.txt").write_text("cat\ndog\nemu\n")
    (workplace / "animals.csv").write_text("image,label\nphoto0.png,cat\nphoto1.png,yak\n")
    options = ("--data", "animals.csv", "--model", "tiny.keras", "--class-names", "names.txt")
    done = evalkit("validate", *options, "--format", "json")
    assert done.code == 2
    assert found_in(done)["model"]["unknown_labels"] == ["yak"]
    assert found_in(done)["could_start"] is False
    assert "A run could not start: animals.csv: 1 of 2 labels" in evalkit("validate", *options).out.replace("\n", " ")
    assert evalkit("run", *options).code == 2
    (workplace / "map.csv").write_text("class,output\ncat,cat\n")
    done = evalkit("validate", *options, "--class-map", "map.csv", "--format", "json")
    assert done.code == 0
    assert found_in(done)["model"]["unknown_labels"] == ["yak"]
    assert found_in(done)["model"]["n_asked"] == 1


def test_unlabelled_images_are_fine_for_the_models_own_choice(evalkit, workplace):
    shutil.copytree(workplace, workplace / "flat", ignore=shutil.ignore_patterns("*.csv", "*.keras", "flat"))
    options = ("--data", "flat", "--model", "tiny.keras")
    assert evalkit("validate", *options).code == 2
    done = evalkit("validate", *options, "--target", "predicted", "--format", "json")
    assert done.code == 0
    assert found_in(done)["data"]["n_unlabelled"] == 6
    assert found_in(done)["model"]["share_right"] is None


def test_data_of_which_nothing_can_be_read_could_not_start(evalkit, workplace):
    (workplace / "gone.csv").write_text("image,label\ngone.png,cat\n")
    done = evalkit("validate", "--data", "gone.csv")
    assert done.code == 2
    assert "A run could not start: gone.csv: none of its 1 photos can be read" in done.out
    done = evalkit("validate", "--data", "nowhere")
    assert done.code == 2
    assert "--data 'nowhere' does not exist" in done.err


def test_without_a_model_tensorflow_is_not_imported(mixed):
    code = (
        "import sys; from evalkit.cli.app import main\n"
        "try:\n    main(['validate', '--data', 'labels.csv'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=mixed)
    assert done.returncode == 0, done.stderr


def test_a_limit_looks_at_no_more(evalkit, workplace):
    done = evalkit("validate", "--data", "labels.csv", "--limit", "3", "--format", "json")
    assert [one["n_images"] for one in found_in(done)["data"]["classes"]] == [1, 1, 1]


def test_what_a_run_would_refuse_is_refused_without_a_model_too(evalkit, workplace):
    shutil.copytree(workplace, workplace / "flat", ignore=shutil.ignore_patterns("*.csv", "*.keras", "flat"))
    done = evalkit("validate", "--data", "flat")
    assert done.code == 2
    assert "6 of 6 images have no label" in " ".join(done.out.split())
    assert evalkit("validate", "--data", "flat", "--target", "predicted").code == 0
    assert evalkit("validate", "--data", "labels.csv", "--class-map", "no.json").code == 2


def test_limit_counts_images_of_known_classes(evalkit, workplace):
    lines = (workplace / "labels.csv").read_text().splitlines()
    rows = [f"{line.split(',')[0]},{'nothing' if number < 4 else 'b'}" for number, line in enumerate(lines[1:])]
    (workplace / "words.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    (workplace / "names.json").write_text('["a", "b", "c"]')
    (workplace / "map.json").write_text('{"nothing": [], "b": 1, "bb": 2}')
    options = ("--data", "words.csv", "--model", "tiny.keras", "--class-names", "names.json", "--class-map", "map.json")
    found = found_in(evalkit("validate", *options, "--limit", "2", "--format", "json"))
    assert found["data"]["n_images"] == 2
    assert found["model"]["n_asked"] == 2
    assert any("1 classes have no image in words.csv: 'bb'" in note for note in found["model"]["notes"])
    (workplace / "map.json").write_text('{"B": 0, "b": 1}')
    done = evalkit("validate", *options)
    assert done.code == 2
    assert "is written in two ways" in done.err


def test_objects_as_large_as_the_photo_are_counted_and_doubted(evalkit, workplace):
    """Masks of labels, 1 for the object and 2 for the background, have no zeros."""
    labels = np.full((40, 48), 2, np.uint8)
    labels[5:20, 5:20] = 1
    Image.fromarray(labels).save(workplace / "labels.png")
    (workplace / "masks.csv").write_text("image,label,mask\nphoto0.png,cat,labels.png\nphoto1.png,cat,\n")
    done = evalkit("validate", "--data", "masks.csv")
    assert "In 1 images the region is the whole photo" in done.out.replace("\n", " ")
    assert found_in(evalkit("validate", "--data", "masks.csv", "--format", "json"))["data"]["n_whole"] == 1
    assert "is the whole photo" not in evalkit("validate", "--data", "labels.csv").out.replace("\n", " ")


def soft(workplace, name, *, inverted=False):
    """Write a mask of 40 x 48 with soft edges around a disk, and the same pixels thresholded at half."""
    rows, columns = np.mgrid[:40, :48]
    levels = np.clip(255 * (14 - np.hypot(rows - 20, columns - 24)) / 8, 0, 255).astype(np.uint8)
    levels = 255 - levels if inverted else levels
    Image.fromarray(levels).save(workplace / f"soft-{name}")
    Image.fromarray(np.where(levels >= 128, 255, 0).astype(np.uint8)).save(workplace / f"hard-{name}")


def test_soft_masks_are_said_and_score_as_if_thresholded(evalkit, workplace):
    soft(workplace, "m.png")
    scores = {}
    for kind in ("soft", "hard"):
        rows = "".join(f"photo{number}.png,{number % 3},{kind}-m.png\n" for number in range(6))
        (workplace / f"{kind}.csv").write_text(f"image,class_index,mask\n{rows}")
        done = evalkit("validate", "--data", f"{kind}.csv", "--format", "json")
        assert found_in(done)["data"]["n_soft"] == (6 if kind == "soft" else 0)
        done = evalkit(
            "run", "--data", f"{kind}.csv", "--model", "tiny.keras", "--output", kind, "--explainers", "center",
            "--metrics", "relevance_mass_accuracy", "--format", "json",
        )  # fmt: skip
        assert done.code == 0, done.err
        scores[kind] = json.loads(done.out)["leaderboard"][0]["mean"]
        note = "In 6 of 6 images the mask has soft edges or a lossy format; it was thresholded at half of white"
        assert (note in done.err) is (kind == "soft")
        assert (note in evalkit("show", kind).out.replace("\n", " ")) is (kind == "soft")
    assert scores["soft"] == scores["hard"] > 0


@pytest.mark.parametrize("command", ["validate", "run"])
def test_inverted_masks_are_doubted(evalkit, workplace, command):
    soft(workplace, "m.png", inverted=True)
    (workplace / "masks.csv").write_text("image,class_index,mask\nphoto0.png,0,hard-m.png\nphoto1.png,1,hard-m.png\n")
    more = ("--model", "tiny.keras", "--output", "out", "--explainers", "center", "--metrics", "sparseness")
    done = evalkit(command, "--data", "masks.csv", *(more if command == "run" else ()))
    assert done.code == 0, done.err
    text = (done.out + done.err).replace("\n", " ")
    assert "In 2 of 2 images the mask holds the photo's border and covers over half of it; if white is the back" in text
    after = "in 2 of 2 images the object's largest box covers 95% of the image or more: localization by boxes hardly"
    assert (after in text) is (command == "run")


def test_regions_that_are_nearly_whole_are_counted(evalkit, workplace):
    (workplace / "boxes.csv").write_text(
        "image,class_index,x0,y0,x1,y1\nphoto0.png,0,0,0,48,39\nphoto1.png,1,8,6,30,28\n"
    )
    data = found_in(evalkit("validate", "--data", "boxes.csv", "--format", "json"))["data"]
    assert (data["n_whole"], data["n_nearly_whole"]) == (0, 1)
    assert "In 1 of 2 images the region covers 95% of the photo or more" in data["notes"][0]


def test_run_says_which_files_are_the_same(evalkit, mixed):
    options = ("--model", "tiny.keras", "--output", "out", "--explainers", "center", "--metrics", "sparseness")
    done = evalkit("run", "--data", "labels.csv", *options)
    assert done.code == 0, done.err
    assert "1 groups of files have the same content (the first: photo0.png, copy.png); each counts as an" in done.err


@pytest.mark.parametrize("command", ["validate", "run"])
def test_boxes_in_0_to_1_are_said_and_scored_as_pixels(evalkit, workplace, command):
    shares = {"fractions": (0.25, 0.25, 0.75, 0.5), "pixels": (12, 10, 36, 20)}
    values = {}
    for name, box in shares.items():
        rows = "".join(f"photo{number}.png,{number % 3},{','.join(map(str, box))}\n" for number in range(6))
        (workplace / f"{name}.csv").write_text(f"image,class_index,x0,y0,x1,y1\n{rows}")
        more = (
            "--model",
            "tiny.keras",
            "--output",
            name,
            "--explainers",
            "center,edges",
            "--metrics",
            "pointing_game,energy_pointing_game",
        )
        done = evalkit(command, "--data", f"{name}.csv", "--format", "json", *(more if command == "run" else ()))
        assert done.code == 0, done.err
        found = json.loads(done.out)
        values[name] = (
            found["data"]["region_areas"] if command == "validate" else [row["mean"] for row in found["leaderboard"]]
        )
        assert ("lie in 0..1, so they are taken as fractions" in done.err + done.out) is (name == "fractions")
    assert values["fractions"] == values["pixels"]


def test_a_range_that_begins_with_a_hyphen_is_a_value(evalkit, workplace, tiny_model):
    tiny_model.save(workplace / "tiny.keras")
    given = ("validate", "--data", "labels.csv", "--model", "tiny.keras")
    for preprocess in (["--preprocess", "-1..1"], ["--preprocess=-1..1"]):
        done = evalkit(*given, *preprocess)
        assert done.code == 0, done.err
        assert "--preprocess -1..1 is applied before model 'tiny.keras', which begins with a Rescaling" in done.out
    assert "--preprocess requires an argument" in evalkit(*given, "--preprocess", "--limit", "3").err


@pytest.mark.parametrize("command", ["validate", "run"])
def test_what_a_set_looks_like_is_said_before_it_is_refused(evalkit, workplace, command):
    """A folder around the class folders, as archives leave it."""
    for label in ("cat", "dog"):
        (workplace / "outer" / "inner" / label).mkdir(parents=True)
        shutil.copy(workplace / "photo0.png", workplace / "outer" / "inner" / label)
    done = evalkit(command, "--data", "outer", "--model", "tiny.keras")
    assert done.code == 2
    text = " ".join((done.out + done.err).split())
    assert "outer: 'inner' is the only class; if its folders (cat, dog) are the classes, name" in text


def test_whole_boxes_are_not_called_masks(evalkit, workplace):
    (workplace / "boxes.csv").write_text("image,class_index,x0,y0,x1,y1\nphoto0.png,0,0,0,48,40\n")
    (note,) = found_in(evalkit("validate", "--data", "boxes.csv", "--format", "json"))["data"]["notes"]
    assert note == "In 1 images the region is the whole photo, so every map is right."
