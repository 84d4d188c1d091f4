"""Whatever a run folder held before, a command leaves in it what it would leave in an empty one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

PLAIN = {
    "--data": "boxes.csv",
    "--model": "tiny.keras",
    "--explainers": "gradcam,occlusion(patch_size=8),random",
    "--metrics": "deletion,insertion,energy_pointing_game,max_box_acc_v1",
    "--steps": "6",
    "--precision": "float32",
    "--target": "label",
}
CHANGES = {
    "nothing": {},
    "steps": {"--steps": "7"},
    "seed": {"--seed": "5"},
    "geometry": {"--geometry": "center-crop"},
    "target": {"--target": "predicted"},
    "model": {"--model": "other.keras"},
    "weights": {"--weights": "other.weights.h5"},
    "preprocess": {"--preprocess": "vgg16"},
    "precision": {"--precision": "bfloat16"},
    "stride": {"--explainers": "gradcam,occlusion(patch_size=8,stride=half),random"},
    "layer": {"--explainers": "gradcam(layer=conv_a),occlusion(patch_size=8),random"},
    "fill": {"--explainers": "gradcam,occlusion(patch_size=8,fill=blur),random"},
    "other box": {"--data": "other_boxes.csv"},
    "order": {"--data": "turned.csv"},
    "fewer photos": {"--data": "few.csv"},
    "other labels": {"--data": "labels_moved.csv"},
    "masks": {"--data": "masks.csv"},
    "ignored": {"--data": "ignored.csv"},
    "limit": {"--limit": "3"},
    "limit and seed": {"--limit": "4", "--seed": "5"},
    "region area": {"--region-area": "0.1..0.9"},
    "only correct": {"--only-correct": None},
    "class map": {"--data": "names.csv", "--class-map": "map.json"},
    "other class map": {"--data": "names.csv", "--class-map": "other_map.json"},
    "metrics": {"--metrics": "deletion(steps=5),insertion(ties=raster),pointing_game"},
}
# These move nearly everything: each is followed by three of the others.
LARGE = ("model", "target", "class map", "other class map", "masks", "ignored", "other labels", "fewer photos",
         "precision", "geometry")  # fmt: skip
ORDERS = [
    *(("nothing", change) for change in CHANGES),
    *((change, "nothing") for change in CHANGES if change != "nothing"),
    *((change, LARGE[(number + step) % len(LARGE)]) for step in (1, 3, 6) for number, change in enumerate(LARGE)),
]


@pytest.fixture
def data(tmp_path, monkeypatch, tiny_model, rng):
    """Two models, six photos, and manifests that say different things of them."""
    monkeypatch.chdir(tmp_path)
    tiny_model.save("tiny.keras")
    other = keras.models.clone_model(tiny_model)
    for name in ("other.keras", "other.weights.h5"):
        other.set_weights([rng.normal(0, 0.3, one.shape) for one in tiny_model.get_weights()])
        (other.save if name.endswith(".keras") else other.save_weights)(name)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(f"{number}.png")
        mask = np.zeros((40, 48), np.uint8)
        mask[5 : 20 + number, 8:30] = 255
        Image.fromarray(mask).save(f"mask{number}.png")
    for name, box, order, moved in (
        ("boxes", "8,6,30,28", range(6), 0),
        ("other_boxes", "9,6,30,28", range(6), 0),
        ("turned", "8,6,30,28", (3, 1, 0, 2, 5, 4), 0),
        ("few", "8,6,30,28", (0, 2, 4), 0),
        ("labels_moved", "8,6,30,28", range(6), 1),
    ):
        rows = [f"{one}.png,{(one + moved) % 3},{box}" for one in order]
        Path(f"{name}.csv").write_text("\n".join(["image,class_index,x0,y0,x1,y1", *rows]) + "\n")
    rows = [f"{one}.png,{one % 3},mask{one}.png,mask{(one + 1) % 6}.png" for one in range(6)]
    Path("ignored.csv").write_text("\n".join(["image,class_index,mask,ignore", *rows]) + "\n")
    Path("masks.csv").write_text("\n".join(["image,class_index,mask,unused", *rows]) + "\n")
    Path("names.csv").write_text("\n".join(["image,label", *(f"{one}.png,c{one % 3}" for one in range(6))]) + "\n")
    Path("map.json").write_text('{"c0": [0, 1], "c1": 1, "c2": 2}')
    Path("other_map.json").write_text('{"c0": [0, 2], "c1": 1, "c2": 2}')


def test_nothing_of_an_earlier_command_is_left_in_the_results(evalkit, data):
    alone = {}
    for change in CHANGES:
        alone[change] = result_of(evalkit, change, "out")
        Path("out").rename(f"kept {change}")
    assert len({json.dumps(one) for one in alone.values()}) == len(CHANGES)
    for earlier, later in ORDERS:
        shutil.copytree(f"kept {earlier}", "out")
        assert result_of(evalkit, later, "out") == alone[later], (earlier, later)
        shutil.rmtree("out")


def result_of(evalkit, change, folder):
    """Return the cells of the run, what is known of its images, and what it prints, without seconds."""
    options = [part for pair in {**PLAIN, **CHANGES[change]}.items() for part in pair if part is not None]
    done = evalkit("run", *options, "--format", "json", "--output", folder)
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    texts = [{cell[key] for cell in printed["leaderboard"]} for key in ("explainer", "metric")]
    database = sqlite3.connect(f"{folder}/results.sqlite")
    cells = database.execute(
        "SELECT image_id, explainer, metric, value, reason, hex(statistics) FROM scores JOIN images USING (image_id) "
        "WHERE position IS NOT NULL ORDER BY 1, 2, 3"
    ).fetchall()
    images = database.execute(
        "SELECT image_id, position, class_index, label, sha256, problem, target, predicted, clean_score, correct, "
        "place, object_share FROM images WHERE position IS NOT NULL ORDER BY 2"
    ).fetchall()
    database.close()
    for key in ("cost", "created", "finished"):
        printed.pop(key, None)
    for row in printed["patch_sweep"]:
        del row["seconds_per_image"]
    # Cells of explainers and metrics that are no longer asked for may stay; they are not shown.
    return [cell for cell in cells if cell[1] in texts[0] and cell[2] in texts[1]], images, printed
