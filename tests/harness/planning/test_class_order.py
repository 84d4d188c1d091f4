"""The test of the order of classes, with a model that is right by construction: the nearest of some colors."""

from __future__ import annotations

import colorsys
import json

import keras
import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import ModelError
from evalkit.core.settings import merge
from evalkit.datasets.classes import match_classes
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set
from evalkit.harness.planning.class_order import order_notes
from evalkit.harness.planning.prepare import prepare
from evalkit.harness.validate import validate_data
from evalkit.models.classifier import Classifier

N = 12
COLORS = np.array([[round(255 * v) for v in colorsys.hsv_to_rgb(k / N, 1, 0.9)] for k in range(N)], np.uint8)
AS_TEXT = sorted(range(N), key=str)


def model_of(colors):
    """Return a model whose output k is the highest for colors[k]."""
    images = keras.Input((8, 8, 3))
    channels = keras.layers.Conv2D(3, 1, use_bias=False, name="channels")
    dense = keras.layers.Dense(len(colors), activation="softmax")
    pooled = keras.layers.GlobalAveragePooling2D()(channels(keras.layers.Rescaling(1 / 255)(images)))
    model = keras.Model(images, dense(pooled))
    centers = np.asarray(colors, np.float32) / 255
    channels.set_weights([np.eye(3, dtype=np.float32)[None, None]])
    dense.set_weights([80 * centers.T, -40 * (centers**2).sum(axis=1)])
    return model


@pytest.fixture(scope="module")
def text_order():
    """A model trained by Keras on folders 0 ... 11: its outputs are the folders sorted as text."""
    return Classifier(model_of(COLORS[AS_TEXT]))


@pytest.fixture(scope="module")
def number_order():
    return Classifier(model_of(COLORS))


def pixels_of(numbers):
    return [np.broadcast_to(COLORS[number], (8, 8, 3)) for number in numbers]


def write_folders(root, names, *, each=2, colors=COLORS):
    for color, name in zip(colors, names, strict=False):
        (root / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(np.tile(color, (8 + number, 8, 1))).save(root / name / f"{number}.png")
    return root


def notes_on(images, classifier, **options):
    match = match_classes(images, None, classifier.n_classes, require_labels=True, **options)
    return order_notes(match, classifier, "squash")


@pytest.fixture(scope="module", params=[0, 1])
def numeric_folders(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("folders") / f"from_{request.param}"
    return write_folders(root, [str(number + request.param) for number in range(N)])


def test_right_order_is_not_doubted(text_order, number_order, numeric_folders):
    first = int("12" in {folder.name for folder in numeric_folders.iterdir()})
    by_text = sorted(range(N), key=lambda number: str(number + first))
    images = open_image_set(numeric_folders)
    assert notes_on(images, Classifier(model_of(COLORS[by_text]))) == []
    assert notes_on(images, number_order, class_order="numeric") == []


def test_better_order_is_named_with_both_accuracies(number_order, numeric_folders):
    images = open_image_set(numeric_folders)
    (note,) = notes_on(images, number_order)
    assert note.startswith(f"{numeric_folders.name}: the model is right on ")
    assert (
        "of 24 images with the order taken (classes sorted as text, as Keras does), but on 24 with classes in" in note
    )
    assert note.endswith("nothing was changed: give --class-order numeric if that is the order of the model's outputs")
    right = sum(AS_TEXT[k] == k for k in range(N)) if (numeric_folders / "0").exists() else 1
    assert f"right on {2 * right} of 24" in note


def test_wrong_choice_of_the_user_is_doubted_too(text_order, tmp_path):
    images = open_image_set(write_folders(tmp_path / "d", [str(number) for number in range(N)]))
    (note,) = notes_on(images, text_order, class_order="numeric")
    assert "but on 24 with classes sorted as text" in note
    assert "give --class-order sorted" in note


def test_indices_counted_from_1_are_recognized(number_order):
    numbers = [*range(N - 1)] * 2  # never the highest, so that no index is out of range
    images = ImageSet.from_arrays(pixels_of(numbers), [number + 1 for number in numbers])
    (note,) = notes_on(images, number_order)
    assert "right on 0 of 22 images with the order taken (the label as the output's index), but on 22 with" in note
    assert "give --class-order index-from-1" in note
    assert notes_on(images, number_order, class_order="index-from-1") == []
    assert notes_on(ImageSet.from_arrays(pixels_of(numbers), numbers), number_order) == []


def test_too_few_images_show_nothing(number_order):
    images = ImageSet.from_arrays(pixels_of(range(6)), [number + 1 for number in range(6)])
    assert notes_on(images, number_order) == []  # six of six: p = 1/64


def test_model_that_is_wrong_in_every_order_is_not_doubted(numeric_folders):
    classifier = Classifier(model_of(np.roll(COLORS, 1, axis=1)[::-1]))
    guessing = Classifier(model_of(np.tile(COLORS[:1], (N, 1))))
    assert notes_on(open_image_set(numeric_folders), guessing) == []
    notes = notes_on(open_image_set(numeric_folders), classifier)
    assert not any("--class-order" in note for note in notes)


def test_any_other_order_of_named_folders_is_found(tmp_path):
    images = open_image_set(write_folders(tmp_path / "pets", ["cat", "dog"], each=8))
    swapped = Classifier(model_of(COLORS[[1, 0]]))
    (note,) = notes_on(images, swapped)
    assert note == (
        "pets: the model is right on 0 of 16 images with the order taken (classes sorted as text, as Keras does), but "
        "on 16 with another order (cat = 1, dog = 0); nothing was changed: if that is the order of the model's "
        "outputs, name them with --class-names dog,cat"
    )
    assert notes_on(images, Classifier(model_of(COLORS[[0, 1]]))) == []
    rows = [f"pets/{name}/{number}.png,{name}" for number in range(8) for name in ("cat", "dog")]  # alternating
    (tmp_path / "pets.csv").write_text("\n".join(["image,label", *rows]))
    (note,) = notes_on(open_image_set(tmp_path / "pets.csv"), swapped, class_order="sorted")
    assert "but on 16 with another order (cat = 1, dog = 0)" in note


def test_names_given_in_another_order_than_sorted_are_doubted(text_order, tmp_path):
    images = open_image_set(write_folders(tmp_path / "d", [str(number) for number in range(N)]))
    match = match_classes(images, [str(number) for number in range(N)], N, require_labels=True)
    (note,) = order_notes(match, text_order, "squash")
    assert "with the order taken (by name), but on 24 with classes sorted as text, as Keras does; nothing" in note
    assert note.endswith("give --class-order sorted if that is the order of the model's outputs")


def test_names_in_sorted_order_need_no_test(text_order, tmp_path):
    images = open_image_set(write_folders(tmp_path / "d", [str(number) for number in range(N)]))
    match = match_classes(images, sorted(map(str, range(N))), N, require_labels=True)
    before = text_order.passes
    assert order_notes(match, text_order, "squash") == []
    assert text_order.passes == before


def test_unreadable_photos_are_passed_over(number_order, tmp_path):
    root = write_folders(tmp_path / "d", [str(number) for number in range(N)], each=3)
    for number in range(N):
        (root / str(number) / "0.png").write_bytes(b"no image")
    (note,) = notes_on(open_image_set(root), number_order)
    assert "of 24 images" in note


def test_run_and_validate_say_it(number_order, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path / "d", [str(number) for number in range(N)])
    number_order.model.save("m.keras")
    options = merge({"data": "d", "model": "m.keras", "explainers": "center", "metrics": "deletion"})
    said = []
    plan = prepare(options, said.append)
    assert any("give --class-order numeric" in note for note in said)
    assert [entry.class_index for entry in plan.images.entries[:6]] == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]  # folders 0, 1, 10: not changed
    report = validate_data(options)
    assert any("give --class-order numeric" in note for note in report.model.notes)
    assert (report.model.n_right, report.model.n_asked) == (4, 24)
    chosen = merge({"class_order": "numeric"}, vars(options))
    assert prepare(chosen, said.append).chosen == {"class_order": "numeric"}
    assert validate_data(chosen).model.n_right == 24
    (tmp_path / "class_indices.json").write_text(json.dumps({str(number): number for number in range(N)}))
    named = merge({"class_names": "class_indices.json"}, vars(options))
    assert validate_data(named).model.n_right == 24


def test_missing_class_names_come_before_the_model(tmp_path):
    options = merge(
        {"data": str(write_folders(tmp_path / "d", ["a"])), "model": "missing.keras", "class_names": "no.txt"}
    )
    for check in (lambda: prepare(options, print), lambda: validate_data(options)):
        with pytest.raises(ModelError, match=r"--class-names 'no.txt' cannot be read"):
            check()


def test_folders_without_outputs_run_with_predicted_targets(number_order, tmp_path):
    data = write_folders(tmp_path / "d", ["holiday", "zebra"])
    options = merge({"data": str(data), "target": "predicted", "explainers": "center", "metrics": "deletion"})
    said = []
    plan = prepare(options, said.append, model=number_order)
    assert [entry.class_index for entry in plan.images.entries] == [-1] * 4
    assert "2 of 2 folders are not matched with outputs of the model" in said[0]


def test_two_classes_of_one_sigmoid_follow_the_folders(tmp_path):
    images = keras.Input((8, 8, 3))
    channels, dense = keras.layers.Conv2D(3, 1, use_bias=False), keras.layers.Dense(1, activation="sigmoid")
    scaled = channels(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, dense(keras.layers.GlobalAveragePooling2D()(scaled)))
    channels.set_weights([np.eye(3, dtype=np.float32)[None, None]])
    red, cyan = COLORS[[0, 6]].astype(np.float32) / 255
    dense.set_weights([20 * (cyan - red)[:, None], np.zeros(1, np.float32)])  # class 1 is cyan
    classifier = Classifier(model)
    right = open_image_set(write_folders(tmp_path / "right", ["no", "yes"], each=8, colors=COLORS[[0, 6]]))
    assert notes_on(right, classifier) == []
    wrong = open_image_set(write_folders(tmp_path / "wrong", ["absent", "present"], each=8, colors=COLORS[[6, 0]]))
    (note,) = notes_on(wrong, classifier)
    assert "right on 0 of 16 images" in note
    assert note.endswith("name them with --class-names present,absent")
    match = match_classes(right, ["no", "yes"], 2, require_labels=True)
    assert [entry.class_index for entry in match.images.entries[::8]] == [0, 1]


def saturating(colors):
    """Return a model trained on x / 255 whose features are all 1 for pixels in 0..255."""
    images = keras.Input((8, 8, 3))
    channels = keras.layers.Conv2D(3, 1, use_bias=False, name="channels")
    dense = keras.layers.Dense(len(colors), activation="softmax")
    model = keras.Model(images, dense(keras.layers.GlobalAveragePooling2D()(keras.ops.tanh(channels(images)))))
    centers = np.tanh(np.asarray(colors, np.float32) / 255)
    channels.set_weights([np.eye(3, dtype=np.float32)[None, None]])
    dense.set_weights([160 * centers.T, -80 * (centers**2).sum(axis=1)])
    return model


@pytest.mark.parametrize(("colors", "order"), [(COLORS, " and --class-order numeric"), (COLORS[AS_TEXT], "")])
def test_wrong_preprocessing_and_order_are_found_together(tmp_path, colors, order):
    folders = write_folders(tmp_path / "folders", [str(number) for number in range(N)])
    saturating(colors).save(tmp_path / "m.keras")
    given = merge(
        {
            "model": str(tmp_path / "m.keras"),
            "data": str(folders),
            "preprocess": "none",
            "precision": "float32",
            "explainers": "center",
            "metrics": "sparseness",
            "output": str(tmp_path / "o"),
        }
    )
    said: list[str] = []
    prepare(given, said.append)
    (hint,) = [note for note in said if "--class-order" in note or "--preprocess" in note]
    assert f"with --preprocess none, but 24 times (100%) with --preprocess 0..1{order}: give " in hint
    assert validate_data(given).model.notes[-1] == hint
