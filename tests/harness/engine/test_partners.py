"""Grid pointing game through whole runs: what is scored, what is computed again, and what it costs."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import keras
import numpy as np
import pytest
from PIL import Image

import evalkit
from evalkit.core.errors import ImageError
from evalkit.core.settings import merge
from evalkit.datasets.image_set import ImageSet, ImageSource
from evalkit.harness.engine.failures import RunError
from evalkit.harness.planning.prepare import prepare
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier
from evalkit.store.run_folder import RunFolder
from tests.harness.engine.test_executor import ProcessExecutor, computed

SIDE, N_CLASSES = 16, 4
METRIC = "grid_pointing_game"
GRADIENT = "gradient_x_input(baseline=black)"
COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]])


@pytest.fixture(scope="module")
def model():
    """The logits of red, green and blue are linear in the colors' means; black has a constant one."""
    made = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(N_CLASSES)]
    )
    weights = np.array([[1, -1, -1, 0], [-1, 1, -1, 0], [-1, -1, 1, 0]], dtype=np.float32) / 8
    made.set_weights([weights, np.array([0, 0, 0, 3], dtype=np.float32)])
    return made


def photo(number, size=(SIDE, SIDE)):
    """Return a photo of its class's color, a little darker from number to number."""
    return np.broadcast_to(COLORS[number % N_CLASSES] * (1 - 0.01 * number), (*size, 3)).astype(np.uint8)


def arrays(count=12, labels=None):
    given = np.arange(count) % N_CLASSES if labels is None else labels
    return ImageSet.from_arrays(np.stack([photo(number) for number in range(count)]), given)


@pytest.fixture
def folder(tmp_path):
    """Twelve photos in files of another size than the model's input."""
    lines = ["image,class_index"]
    for number in range(12):
        Image.fromarray(photo(number, (20, 30))).save(tmp_path / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{number % N_CLASSES}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(model, images, output, **options):
    """Run, and return value and reason of every cell of the metric by (image, explainer), and the manifest."""
    given = {"explainers": f"{GRADIENT},uniform,random", "metrics": METRIC, "preprocess": "none"}
    made = evalkit.evaluate(model, images, output=output, progress=False, **{**given, **options})
    return cells(output), made.manifest


def cells(output):
    with closing(sqlite3.connect(output / "results.sqlite")) as database:
        rows = database.execute("SELECT image_id, explainer, value, reason FROM scores WHERE metric LIKE 'grid%'")
        return {(image_id, explainer): (value, reason) for image_id, explainer, value, reason in rows}


def reasons(found):
    return {reason for _, reason in found.values()}


def test_linear_model_by_hand(model, tmp_path):
    found, manifest = run(model, arrays(), tmp_path / "run")
    assert reasons(found) == {None}
    for (image, explainer), (value, _) in found.items():
        if explainer == "uniform":
            assert value == 0.25
        elif explainer == GRADIENT:
            # The contributions of black's logit are 0 everywhere; the others are positive in their own cell alone.
            assert value == pytest.approx(0.25 if int(image) % N_CLASSES == 3 else 1.0)
        else:
            assert 0.1 < value < 0.4
    assert manifest.forward_passes == 12 * (1 + 3 + 2)  # clean, partners, two maps of gradient_x_input


def test_partners_are_scored_once_for_all_maps(model, tmp_path):
    _, one = run(model, arrays(), tmp_path / "one", explainers="uniform")
    _, three = run(model, arrays(), tmp_path / "three", explainers="uniform,random,edges")
    assert one.forward_passes == three.forward_passes == 12 * (1 + 3)
    _, without = run(model, arrays(), tmp_path / "without", explainers="uniform", metrics="sparseness")
    assert without.forward_passes == 12


@pytest.mark.parametrize("options", [{"limit": 5}, {"batch_size": 1}, {"explainers": f"random,{GRADIENT},uniform"}])
def test_limit_batch_and_order_change_no_score(model, tmp_path, options):
    every, _ = run(model, arrays(), tmp_path / "every")
    found, _ = run(model, arrays(), tmp_path / "other", **options)
    assert found == {cell: every[cell] for cell in found}
    assert len(found) == (15 if "limit" in options else 36)


def test_order_of_the_set_changes_no_score(model, tmp_path):
    every, _ = run(model, arrays(), tmp_path / "every")
    numbers = np.random.default_rng(0).permutation(12)
    shuffled = ImageSet.from_arrays(
        np.stack([photo(number) for number in numbers]),
        numbers % N_CLASSES,
        ids=[f"{number:02d}" for number in numbers],
    )
    assert run(model, shuffled, tmp_path / "shuffled")[0] == every


def test_other_process_gives_the_same_rows(folder, model, tmp_path, monkeypatch):
    model.save(folder / "model.keras")
    monkeypatch.chdir(folder)
    options = merge(
        {
            "data": "labels.csv", "model": "model.keras", "explainers": f"{GRADIENT},random", "metrics": METRIC,
            "preprocess": "none", "precision": "float32",
        }
    )  # fmt: skip
    plan = prepare(options, lambda _: None)
    local, _ = computed(plan, tmp_path / "local")
    remote, _ = computed(plan, tmp_path / "remote", ProcessExecutor(plan.work))
    assert local == remote
    assert {row[4] for row in local["scores"]} == {None}


def test_image_that_the_model_is_not_sure_of(model, tmp_path):
    labels = np.arange(12) % N_CLASSES
    labels[0] = 1  # red, labelled green
    found, _ = run(model, arrays(labels=labels), tmp_path / "run", explainers="uniform")
    assert found["00", "uniform"] == (None, "misclassified")
    unsure = "a partner image is misclassified, or its score is below 0.5"
    assert reasons(found) == {None, "misclassified", unsure}
    strict, _ = run(model, arrays(), tmp_path / "strict", metrics=f"{METRIC}(confidence=0.95)", explainers="uniform")
    # The model gives black 0.87, and each mosaic has a black photo.
    below = {"the model's score of the image is below 0.95", unsure.replace("0.5", "0.95")}
    assert reasons(strict) == below


def test_no_map_is_computed_where_there_is_no_mosaic(model, tmp_path):
    metrics = f"{METRIC}(confidence=1)"
    _, manifest = run(model, arrays(), tmp_path / "run", metrics=metrics, explainers=GRADIENT)
    assert manifest.forward_passes == 12 * (1 + 3 + 1)


def test_fewer_than_four_classes_and_missing_labels(model, tmp_path):
    few, _ = run(model, arrays(labels=np.arange(12) % 3), tmp_path / "few", explainers="uniform")
    assert "too few classes: photos of 3 others are needed, the image set has 2" in reasons(few)
    assert {value for value, _ in few.values()} == {None}
    unlabelled = ImageSet.from_arrays(np.stack([photo(0), photo(1)]), None)
    found, _ = run(model, unlabelled, tmp_path / "unlabelled", explainers="uniform", target="predicted")
    assert reasons(found) == {"the image has no label, so no image is known to be of another class"}


def test_predicted_class_that_is_not_the_label(model, tmp_path):
    labels = np.arange(12) % N_CLASSES
    labels[0] = 1
    found, _ = run(model, arrays(labels=labels), tmp_path / "run", explainers="uniform", target="predicted")
    assert found["00", "uniform"] == (None, "the class explained is not the label's")
    assert found["01", "uniform"][1] in (None, "a partner image is misclassified, or its score is below 0.5")


def test_multilabel_model_explains_the_class_of_the_entry(model, tmp_path):
    sigmoids = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *model.layers, keras.layers.Activation("sigmoid")])
    matrix = np.eye(N_CLASSES, dtype=int)[np.arange(12) % N_CLASSES]
    images = ImageSet.from_arrays(np.stack([photo(number) for number in range(12)]), matrix)
    found, _ = run(sigmoids, images, tmp_path / "run", head="multilabel")
    assert reasons(found) == {None}
    values = sorted(value for (_, explainer), (value, _) in found.items() if explainer == GRADIENT)
    assert values == pytest.approx([0.25] * 3 + [1.0] * 9)


def test_wide_model(tmp_path):
    """A model of 8 x 13 pixels that sees its own color only in full cells: rows and columns are not swapped."""
    model = keras.Sequential(
        [keras.Input((8, 13, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(N_CLASSES)]
    )
    weights = np.array([[1, -1, -1, 0], [-1, 1, -1, 0], [-1, -1, 1, 0]], dtype=np.float32) / 8
    model.set_weights([weights, np.array([0, 0, 0, 3], dtype=np.float32)])
    found, _ = run(model, arrays(), tmp_path / "run", explainers=f"{GRADIENT},uniform")
    assert found["00", GRADIENT] == (pytest.approx(1.0), None)
    assert found["00", "uniform"] == (0.25, None)


def test_maps_from_files_are_not_scored(model, tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    for number in range(12):
        np.save(maps / f"{number:02d}.npy", np.ones((SIDE, SIDE)))
    found, _ = run(model, arrays(), tmp_path / "run", maps=[maps], explainers="uniform")
    assert {reason for (_, explainer), (_, reason) in found.items() if explainer != "uniform"} == {
        "maps(maps) contains the maps of named photos; it cannot explain other images"
    }
    assert {found[cell] for cell in found if cell[1] == "uniform"} == {(0.25, None)}


def test_black_box(tmp_path, model):
    images = arrays()
    box = Classifier(BlackBox(lambda pixels: np.asarray(model(pixels)), (SIDE, SIDE)))
    found, _ = run(box, images, tmp_path / "run", explainers="occlusion(patch_size=4),uniform")
    assert found["00", "occlusion(patch_size=4)"] == (pytest.approx(1.0), None)


def partners_in(folder, image_id):
    options = merge({"data": str(folder / "labels.csv"), "model": str(folder / "model.keras"), "metrics": METRIC,
                     "explainers": "uniform", "preprocess": "none", "precision": "float32"})  # fmt: skip
    return {entry.id for entry in prepare(options, lambda _: None).partners.of_image[image_id].entries}


@pytest.fixture
def counted(monkeypatch):
    """The images that workers were given jobs for."""
    from evalkit.harness.engine.worker import Worker

    done, begin = [], Worker.begin

    def counting(self, job, *arguments):
        done.append(job.entry.id)
        return begin(self, job, *arguments)

    monkeypatch.setattr(Worker, "begin", counting)
    return done


def test_changed_partner_is_computed_again_and_no_other(model, folder, tmp_path, counted):
    model.save(folder / "model.keras")
    data, output = str(folder / "labels.csv"), tmp_path / "run"
    before, _ = run(model, data, output)
    assert sorted(counted) == [f"{number:02d}.png" for number in range(12)]
    counted.clear()
    run(model, data, output)
    assert counted == []
    os.utime(folder / "04.png", ns=(1, 1))  # touched, not changed
    run(model, data, output)
    assert counted == []
    Image.fromarray(np.full((20, 30, 3), (250, 8, 8), dtype=np.uint8)).save(folder / "04.png")
    after, _ = run(model, data, output)
    concerned = [f"{number:02d}.png" for number in range(12) if "04.png" in partners_in(folder, f"{number:02d}.png")]
    assert concerned
    assert set(counted) == {"04.png", *concerned}
    differ = {image for image, explainer in before if before[image, explainer] != after[image, explainer]}
    assert differ <= {"04.png", *concerned}
    fresh, _ = run(model, data, tmp_path / "fresh")
    assert fresh == after
    again, _ = run(model, data, output, fresh=True)
    assert again == after


def test_unreadable_partner_is_named_and_tried_again(model, folder, tmp_path):
    model.save(folder / "model.keras")
    data, output = str(folder / "labels.csv"), tmp_path / "run"
    good = (folder / "04.png").read_bytes()
    before, _ = run(model, data, output, explainers="uniform")
    (folder / "04.png").write_bytes(b"no photo")
    broken, _ = run(model, data, output, explainers="uniform")
    concerned = [f"{number:02d}.png" for number in range(12) if "04.png" in partners_in(folder, f"{number:02d}.png")]
    for image in concerned:
        value, reason = broken[image, "uniform"]
        assert value is None
        assert reason.startswith("the partner image '04.png' cannot be used: ")
    (folder / "04.png").unlink()
    missing, _ = run(model, data, output, explainers="uniform")
    assert missing[concerned[0], "uniform"][1] == "the partner image '04.png' cannot be used: file is missing"
    (folder / "04.png").write_bytes(good)
    assert run(model, data, output, explainers="uniform")[0] == before


def test_partner_that_cannot_be_read_for_a_while(model, folder, tmp_path, monkeypatch):
    """Size and time are those of the digest that is known, so that only the next run can tell."""
    data, output = str(folder / "labels.csv"), tmp_path / "run"
    run(model, data, output, metrics="sparseness", explainers="uniform")
    with monkeypatch.context() as patched:
        read = ImageSource.read

        def failing(self, entry):
            if entry.id == "04.png":
                raise ImageError("no permission")
            return read(self, entry)

        patched.setattr(ImageSource, "read", failing)
        broken, _ = run(model, data, output, explainers="uniform")
        assert "the partner image '04.png' cannot be used: no permission" in reasons(broken)
    later, _ = run(model, data, output, explainers="uniform")
    assert reasons(later) == {None}


def test_unreadable_partner_is_a_failure(model, folder, tmp_path):
    data = str(folder / "labels.csv")
    run(model, data, tmp_path / "run", metrics="sparseness", explainers="uniform", limit=1)
    with closing(sqlite3.connect(tmp_path / "run" / "results.sqlite")) as database:
        ((chosen,),) = database.execute("SELECT image_id FROM images WHERE position IS NOT NULL")
    for other in set(folder.glob("*.png")) - {folder / chosen}:
        other.write_bytes(b"no photo")
    with pytest.raises(RunError, match=f"on photo '{chosen}': the partner image '[0-9]*.png' cannot be used"):
        run(model, data, tmp_path / "run", explainers="uniform", fail_on_error=True, limit=1)


def test_metric_added_later_reuses_the_maps(model, folder, tmp_path):
    data, output = str(folder / "labels.csv"), tmp_path / "run"
    run(model, data, output, metrics="sparseness", limit=6)
    both, _ = run(model, data, output, metrics=f"sparseness,{METRIC}", limit=6)
    assert both == run(model, data, tmp_path / "once", metrics=f"sparseness,{METRIC}", limit=6)[0]
    stored = RunFolder.read(output)
    assert len(stored.database.planned_images()) == 6
    stored.close()
