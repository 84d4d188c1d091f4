"""Other people's data on the command line: formats, class maps, and which images are taken."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest

from evalkit.models.classifier import Classifier

COMMON = (
    "--model", "tiny.keras", "--output", "out", "--explainers", "center,uniform", "--metrics",
    "average_drop,energy_pointing_game", "--precision", "float32", "--format", "json",
)  # fmt: skip


@pytest.fixture
def coco(workplace):
    """``val.json`` over the six photos: cats and dogs with one box each, a person, and a crowd of cats in photo0."""
    names = ["cat", "dog", "cat", "dog", "cat", "person"]
    annotations = [
        {"id": number, "image_id": number, "category_id": 1 + ["cat", "dog", "person"].index(name), "iscrowd": 0,
         "bbox": [8, 6, 10 + 4 * number, 20]}
        for number, name in enumerate(names)
    ]  # fmt: skip
    annotations.append({"id": 9, "image_id": 0, "category_id": 1, "iscrowd": 1, "bbox": [30, 0, 18, 40]})
    document = {
        "images": [{"id": n, "file_name": f"photo{n}.png", "height": 40, "width": 48} for n in range(6)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "person"}],
        "annotations": annotations,
    }
    (workplace / "val.json").write_text(json.dumps(document))
    (workplace / "map.json").write_text('{"cat": [0, 2], "dog": 1}')
    return workplace


def rows():
    connection = sqlite3.connect("out/results.sqlite")
    query = "SELECT image_id, class_index, target, predicted, clean_score FROM images WHERE position IS NOT NULL"
    found = connection.execute(f"{query} ORDER BY position").fetchall()
    connection.close()
    return found


def test_report_counts_right_by_the_class_map(evalkit, coco):
    assert evalkit("run", "--data", "val.json", "--class-map", "map.json", *COMMON).code == 0
    right = {
        image_id: predicted in ((0, 2) if class_index == 0 else (1,))
        for image_id, class_index, _, predicted, _ in rows()
    }
    assert evalkit("report", "out").code == 0
    page = (coco / "out" / "report.html").read_text()
    shown = re.findall(r"<h4><bdi>([^<]+)</bdi></h4>\s*<p class=\"small faint\">(.*?)</p>", page)
    assert shown
    for image_id, facts in shown:
        assert facts.startswith(f"<bdi>{image_id.partition('#')[2]}</bdi> ")
        assert ("misclassified" in facts) == (not right[image_id])


def test_report_names_the_class_explained(evalkit, workplace):
    run = ("run", "--data", "labels.csv", "--target", "predicted", *COMMON)
    assert evalkit(*run).code == 0
    facts = {image_id: (class_index, target) for image_id, class_index, target, _, _ in rows()}
    assert evalkit("report", "out").code == 0
    page = (workplace / "out" / "report.html").read_text()
    shown = re.findall(r"<h4><bdi>([^<]+)</bdi></h4>\s*<p class=\"small faint\">(.*?)</p>", page)
    assert any("explained: class" in one for _, one in shown)
    for image_id, one in shown:
        class_index, target = facts[image_id]
        said = f"explained: class {target} · its score" in one
        assert said == (class_index != target) == ("misclassified" in one)


def test_a_class_map_sums_what_a_class_stands_for(evalkit, coco, tiny_model):
    done = evalkit("run", "--data", "val.json", "--class-map", "map.json", *COMMON)
    assert done.code == 0, done.err
    assert "1 of 3 classes have no output of the model; left out, with 1 of 6 images: 'person'" in done.err
    found = json.loads(done.out)
    assert found["n_images"] == 5
    assert "target:label(" in found["signature"]["run"]
    assert "target:label(" in found["signature"]["metrics"]["average_drop"]
    right = sum(predicted in ((0, 2) if class_index == 0 else (1,)) for _, class_index, _, predicted, _ in rows())
    assert found["model"]["n_right"] == right
    from evalkit.datasets.geometry import fit
    from evalkit.datasets.open import open_image_set

    images = open_image_set("val.json")
    image = fit(images.read(images.entries[0]), (32, 32), "squash")
    expected = Classifier(tiny_model).probabilities(image.pixels[None])[0, [0, 2]].sum()
    assert rows()[0][0] == "photo0.png#cat"
    assert rows()[0][4] == pytest.approx(expected, abs=1e-6)


def test_ignored_pixels_reach_the_table(evalkit, coco):
    evalkit("run", "--data", "val.json", "--class-map", "map.json", *COMMON)
    connection = sqlite3.connect("out/results.sqlite")
    query = "SELECT value FROM scores WHERE image_id = ? AND explainer = 'uniform' AND metric = 'energy_pointing_game'"
    [(with_crowd,)], [(without,)] = (connection.execute(query, (f"photo{n}.png#cat",)).fetchall() for n in (0, 2))
    connection.close()
    # 10 of 48 and 20 of 40 pixels, at 32 x 32; the crowd takes the last 12 of the 32 columns.
    assert with_crowd == pytest.approx(7 * 16 / (20 * 32), abs=0.02)
    assert without == pytest.approx(12 * 16 / (32 * 32), abs=0.02)


def test_another_class_map_computes_anew(evalkit, coco):
    evalkit("run", "--data", "val.json", "--class-map", "map.json", *COMMON)
    before = {row[0]: row[4] for row in rows()}
    (coco / "map.json").write_text('{"cat": 0, "dog": 1}')
    done = evalkit("run", "--data", "val.json", "--class-map", "map.json", *COMMON)
    after = {row[0]: row[4] for row in rows()}
    assert "label(" not in json.loads(done.out)["signature"]["run"]
    assert {image for image in before if before[image] != after[image]} == {f"photo{n}.png#cat" for n in (0, 2, 4)}


def test_region_area_takes_objects_of_that_size(evalkit, coco):
    common = ("run", "--data", "val.json", "--class-map", "map.json", *COMMON)
    done = evalkit(*common, "--region-area", "0.15..0.2")
    assert done.code == 0, done.err
    # 10, 14, 18, 22 and 26 of 48 columns by 20 of 40 rows: shares of 0.10, 0.15, 0.19, 0.23, 0.27.
    assert [row[0] for row in rows()] == ["photo2.png#cat"]
    assert "--region-area 0.15..0.2: 4 of 5 examined images are left out" in done.err
    assert "region_area:0.15..0.2" in json.loads(done.out)["signature"]["run"]
    assert evalkit(*common, "--region-area", "0.9..").code == 2
    assert "and none is left" in evalkit(*common, "--region-area", "0.9..", "--limit", "2").err


def test_only_correct_takes_what_the_model_gets_right(evalkit, workplace):
    first = json.loads(evalkit("run", "--data", "labels.csv", *COMMON).out)["model"]["n_right"]
    right = [row[0] for row in rows() if row[1] == row[3]]
    done = evalkit("run", "--data", "labels.csv", "--only-correct", *COMMON)
    assert done.code == 0, done.err
    assert [row[0] for row in rows()] == right
    assert json.loads(done.out)["n_images"] == first == len(right)
    assert f"--only-correct: {6 - first} of 6 examined images are left out" in done.err
    limited = evalkit("run", "--data", "labels.csv", "--only-correct", "--limit", "1", *COMMON)
    assert json.loads(limited.out)["n_images"] == 1


def test_a_format_can_be_forced(evalkit, coco):
    done = evalkit("run", "--data", "val.json", "--data-format", "csv", *COMMON)
    assert done.code == 2
    assert "val.json line 1" in done.err
    (coco / "annotations.txt").write_bytes((coco / "val.json").read_bytes())
    done = evalkit("run", "--data", "annotations.txt", "--data-format", "coco", "--class-map", "map.json", *COMMON)
    assert done.code == 0, done.err
    assert json.loads(done.out)["data"]["kind"] == "coco"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data-format", "kitti"], "kitti"),
        (["--class-map", "gone.json"], "--class-map 'gone.json' cannot be read"),
        (["--region-area", "0.5"], "--region-area '0.5' is not allowed; write two fractions"),
        (["--region-area", "0.5..0.2"], "--region-area '0.5..0.2' is not allowed"),
        (["--region-area", "a..b"], "--region-area 'a..b' is not allowed"),
    ],
)
def test_bad_options_are_one_sentence(evalkit, coco, options, message):
    done = evalkit("run", "--data", "val.json", *options, *COMMON)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert not (coco / "out").exists()
