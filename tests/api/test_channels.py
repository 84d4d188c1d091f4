"""Models that do not take RGB, from training to report, baseline and check."""

from __future__ import annotations

import contextlib
import json
import pickle
import re

import keras
import numpy as np
import pytest
from PIL import Image

import evalkit as package
from evalkit.core.errors import DataError, ModelError
from evalkit.core.settings import merge
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.harness.engine.worker import Worker
from evalkit.harness.planning.prepare import prepare
from evalkit.models.classifier import Classifier
from evalkit.store.run_folder import RunFolder
from tests.cheap_explainers import cheap_explainer

L = keras.layers
SIDE, SHAPE_PX = 28, 10
NAMES = ("bar", "diamond", "square")


def drawn(rng, count):
    """Return gray images of three shapes on a dark, noisy ground, their classes, and the shapes' pixels."""
    rows, columns = np.mgrid[:SHAPE_PX, :SHAPE_PX] - (SHAPE_PX - 1) / 2
    shapes = [np.abs(rows) < 2, np.abs(rows) + np.abs(columns) < 5, np.abs(rows) < 5]
    images = rng.integers(0, 60, (count, SIDE, SIDE), dtype=np.uint8)
    classes, regions = rng.integers(0, 3, count), np.zeros((count, SIDE, SIDE), bool)
    for image, index, region in zip(images, classes, regions, strict=True):
        row, column = rng.integers(2, SIDE - SHAPE_PX - 2, 2)
        region[row : row + SHAPE_PX, column : column + SHAPE_PX] = shapes[index]
        image[region] = rng.integers(150, 255)
    return images, classes, regions


@pytest.fixture(scope="module")
def gray_model():
    """A network trained for seconds on shapes, gray 28 x 28."""
    keras.utils.set_random_seed(1)
    images, classes, _ = drawn(np.random.default_rng(1), 512)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            L.Rescaling(1 / 255),
            L.Conv2D(8, 5, padding="same", activation="relu"),
            L.MaxPooling2D(),
            L.Conv2D(16, 5, padding="same", activation="relu"),
            L.GlobalMaxPooling2D(),
            L.Dense(3, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images[..., None], classes, epochs=5, batch_size=32, verbose=0)
    return model


@pytest.fixture
def shapes():
    """Twelve other images of these shapes."""
    return drawn(np.random.default_rng(2), 12)


def image_set(shapes, **options):
    images, classes, regions = shapes
    return package.ImageSet.from_arrays(images, classes, regions, class_names=NAMES, **options)


OPTIONS = {
    "explainers": "gradcam,occlusion(patch_size=4),occlusion(patch_size=4,fill=mean),occlusion(patch_size=4,fill=blur),"
    "uniform,random,center,edges",
    "steps": 7, "precision": "float32", "progress": False,
}  # fmt: skip


def test_gray_model_from_run_to_check(gray_model, shapes, tmp_path, evalkit):
    run = package.evaluate(gray_model, image_set(shapes), output=tmp_path / "run", **OPTIONS)
    mean = np.round(shapes[0].mean(), 3)
    manifest = RunFolder.manifest_at(run.path)
    assert manifest.data.mean_color == (mean,)
    assert (manifest.model.channels, manifest.model.input_size) == (1, (SIDE, SIDE))
    assert manifest.model.accuracy > 0.9
    assert manifest.signature.metrics["deletion"].endswith(f"|mean:{mean:g}")
    assert "mean:" not in manifest.signature.metrics["pointing_game"]
    lines = manifest.signature.explainers
    assert {text for text, line in lines.items() if "|mean:" in line} == {text for text in lines if "fill=" in text}
    gain = {cell.explainer: cell.mean for cell in run.leaderboard("symmetric_relevance_gain")}
    for control in ("uniform", "random", "edges"):
        assert gain["occlusion(patch_size=4)"] > gain[control] + 0.2
    page = run.report(images=image_set(shapes)).read_text(encoding="utf-8")
    assert page.count("data:image/webp") > 20
    assert "cannot be shown" not in page
    assert evalkit("baseline", run.path, "--output", tmp_path / "b.json").code == 0
    assert evalkit("check", run.path, "--baseline", tmp_path / "b.json").code == 0


def test_mean_of_whole_set_is_the_substrate_by_hand(gray_model, shapes, tmp_path):
    """Deletion of a map with two levels: the scores of three images, and of the model's own predictions."""
    images, classes, regions = shapes
    maps = tmp_path / "maps"
    maps.mkdir()
    for number, region in enumerate(regions):
        np.save(maps / f"{number:02d}.npy", region.astype(np.float32))
    run = package.evaluate(
        gray_model, image_set(shapes), maps=[maps], explainers="uniform", metrics="deletion(steps=2),average_drop",
        limit=3, precision="float32", progress=False, output=tmp_path / "run",
    )  # fmt: skip
    mean = np.float32(np.round(images.mean(), 3))  # of all twelve, although three are scored
    table = run.scores()
    assert table.values.shape == (3, 2, 2)
    for row, name in enumerate(table.image_ids):
        number = int(name)
        clean = images[number].astype(np.float32)
        gone = np.full_like(clean, mean)
        kept = np.where(regions[number], clean, mean)
        full, empty, shown = gray_model(np.stack([clean, gone, kept])[..., None]).numpy()[:, classes[number]]
        # The two levels of the map are one cut: one step of the region's share, one of the rest.
        share = regions[number].mean()
        left = gray_model(np.where(regions[number], mean, clean)[None, ..., None]).numpy()[0, classes[number]]
        area = share * (full + left) / 2 + (1 - share) * (left + empty) / 2
        np.testing.assert_allclose(table.values[row, 0], [area, max(0, full - shown) / full], atol=1e-5)


def test_limit_and_resume_keep_the_mean_of_the_whole_set(gray_model, shapes, tmp_path, monkeypatch):
    options = {**OPTIONS, "explainers": "occlusion(patch_size=7, fill=mean)", "metrics": "deletion"}
    first = package.evaluate(gray_model, image_set(shapes), limit=3, output=tmp_path / "run", **options)
    before = RunFolder.manifest_at(first.path).forward_passes

    def forbidden(*_):
        raise AssertionError("the mean is computed again")

    monkeypatch.setattr("evalkit.harness.planning.mean_color.set_mean", forbidden)
    package.evaluate(gray_model, image_set(shapes), limit=3, output=tmp_path / "run", **options)
    assert RunFolder.manifest_at(first.path).forward_passes == before > 0
    monkeypatch.undo()
    images, classes, regions = shapes
    images[11] = 200 - images[11] // 2  # an image of the set that is not scored
    changed = package.evaluate(
        gray_model, image_set((images, classes, regions)), limit=3, output=tmp_path / "run", **options
    )
    manifest = RunFolder.manifest_at(changed.path)
    assert manifest.data.mean_color == (np.round(images.mean(), 3),)


def test_workers_get_the_mean_with_the_recipe(gray_model, shapes):
    options = merge({"explainers": "occlusion(patch_size=7, fill=mean)", "metrics": "deletion", "precision": "float32"})
    plan = prepare(options, lambda _: None, model=Classifier(gray_model), images=image_set(shapes))
    remote = pickle.loads(pickle.dumps(plan.work))  # noqa: S301
    mean = (np.round(shapes[0].mean(), 3),)
    assert Worker(remote).classifier.mean_color == Worker(plan.work).classifier.mean_color == mean
    assert pickle.loads(pickle.dumps(plan)).signatures() == plan.signatures()  # noqa: S301


def test_users_classifier_is_not_changed(gray_model, shapes):
    classifier = Classifier(gray_model)
    prepare(merge({"metrics": "deletion"}), lambda _: None, model=classifier, images=image_set(shapes))
    assert classifier.mean_color is None


@pytest.fixture(scope="module")
def model_of():
    def make(channels):
        keras.utils.set_random_seed(channels)
        return keras.Sequential(
            [
                keras.Input((12, 16, channels)),
                L.Rescaling(1 / 255),
                L.Conv2D(4, 3, activation="relu"),
                L.Flatten(),
                L.Dense(3, activation="softmax"),
            ]
        )

    return make


def fitting_explainers(model, pixels):
    """Every explainer that fits a model, with parameters that make it cheap."""
    classifier = Classifier(model).with_mean_color(pixels.mean(axis=(0, 1, 2))).with_references(pixels)
    fitting = []
    for name in EXPLAINERS.names():
        explainer = cheap_explainer(name, patch_size=4)
        with contextlib.suppress(ModelError):
            explainer.check(classifier)
            fitting.append(explainer)
    return fitting


@pytest.mark.parametrize(("channels", "kind"), [(2, np.uint8), (6, np.float32)])
def test_every_explainer_and_metric_takes_any_number_of_channels(model_of, rng, channels, kind, tmp_path):
    pixels = rng.uniform(0, 255, (2, 12, 16, channels)).astype(kind)
    region = np.zeros((2, 12, 16), bool)
    region[:, 2:7, 3:12] = True
    images = package.ImageSet.from_arrays(pixels, [0, 1], region)
    model = model_of(channels)
    explainers = fitting_explainers(model, pixels)
    assert {"gradcam", "expected_gradients", "rise", "lime", "tf_explain.gradcam"} <= {one.name for one in explainers}
    run = package.evaluate(
        model, images, explainers=explainers, metrics="all", target="predicted", steps=3,
        precision="float32", progress=False, output=tmp_path / "run",
    )  # fmt: skip
    reasons = {reason for cell in run.scores().reasons.values() for reason in cell}
    assert not [reason for reason in reasons if "failed" in reason or "Error" in reason]
    manifest = RunFolder.manifest_at(run.path)
    np.testing.assert_allclose(manifest.data.mean_color, pixels.mean(axis=(0, 1, 2)), atol=6e-4)
    line = manifest.signature.metrics["insertion(steps=3)" if "insertion(steps=3)" in manifest.metrics else "insertion"]
    assert re.search(r"\|mean:6 channels\(\w{8}\)" if channels > 4 else r"\|mean:[\d.,]+$", line)
    assert "data:image/webp" in run.report(images=images).read_text(encoding="utf-8")


@pytest.mark.parametrize(("given", "channels"), [(1, 3), (3, 1), (4, 3), (3, 4)])
def test_arrays_are_converted_and_it_is_said(model_of, rng, given, channels, capsys):
    pixels = rng.integers(0, 256, (3, 12, 16, given), dtype=np.uint8)
    said: list[str] = []
    options = merge({"target": "predicted", "metrics": "sparseness"})
    plan = prepare(
        options, said.append, model=Classifier(model_of(channels)), images=package.ImageSet.from_arrays(pixels, None)
    )
    assert any(text.startswith("arrays: the model takes") for text in said)
    assert (plan.mean is None) == (channels == 3)


@pytest.mark.parametrize(("given", "channels"), [(2, 3), (1, 4), (4, 1), (3, 6), (6, 3)])
def test_other_arrays_are_refused(model_of, rng, given, channels):
    pixels = rng.integers(0, 256, (3, 12, 16, given), dtype=np.uint8)
    with pytest.raises(DataError, match=f"arrays: the image has {given} channel.*the model takes {channels}"):
        package.evaluate(model_of(channels), package.ImageSet.from_arrays(pixels, [0, 1, 2]), progress=False)


def save(folder, name, pixels, mode=None):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(folder / name)


@pytest.fixture
def photo_folder(tmp_path, rng):
    """Photos in color, gray, gray of 16 bits and with alpha."""
    for number, label in enumerate(("a", "b", "c")):
        save(tmp_path / "photos", f"{label}/rgb.png", rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
        save(tmp_path / "photos", f"{label}/gray.png", rng.integers(0, 256, (20, 30), dtype=np.uint8))
        save(tmp_path / "photos", f"{label}/deep.png", rng.integers(0, 65536, (20, 30), dtype=np.uint16))
        save(
            tmp_path / "photos", f"{label}/clear.png", rng.integers(0, 256, (20, 30, 4), dtype=np.uint8) // (number + 1)
        )
    return tmp_path / "photos"


def test_photos_from_files_on_the_command_line(model_of, photo_folder, tmp_path, evalkit):
    channels = 4
    model = tmp_path / "m.keras"
    model_of(channels).save(model)
    common = ("--model", model, "--data", photo_folder)
    checked = evalkit("validate", *common)
    assert checked.code == 0, checked.err
    arguments = ("--explainers", "gradcam,occlusion(patch_size=4,fill=blur),edges", "--metrics", "deletion,insertion",
                 "--steps", "3", "--target", "predicted", "--output", tmp_path / "run", "--format", "json")  # fmt: skip
    ran = evalkit("run", *common, *arguments)
    assert ran.code == 0, ran.err
    assert "without alpha get an alpha of 255" in ran.err
    assert "the substrate of perturbations is the mean of all 12 images" in ran.err
    document = json.loads(ran.out)
    assert document["unscored"] == []
    assert len(document["data"]["mean_color"]) == channels
    assert document["model"]["channels"] == channels
    assert "the substrate" not in evalkit("run", *common, *arguments).err
    assert evalkit("report", tmp_path / "run").code == 0
    for name in ("gray", "deep", "clear"):
        made = evalkit("explain", photo_folder / f"a/{name}.png", "--model", model, "--output", tmp_path / "e")
        assert made.code == 0, made.err
    refused = evalkit(
        "explain", photo_folder / "a/rgb.png", "--model", model, "--explainer", "occlusion(patch_size=4,fill=mean)"
    )
    assert refused.code == 2
    assert "whose mean color is known of an image set only" in refused.err


def test_photos_from_files_are_not_read_for_other_numbers(model_of, photo_folder, tmp_path, evalkit):
    model_of(5).save(tmp_path / "m.keras")
    for command in ("run", "validate"):
        called = evalkit(command, "--model", tmp_path / "m.keras", "--data", photo_folder)
        assert called.code == 2
        assert "photos from files are read for 1, 3 or 4 channels" in " ".join((called.out + called.err).split())


def test_explain_takes_gray_images_of_every_form(gray_model, shapes, tmp_path):
    gray = shapes[0][0]
    forms = [gray, gray[..., None], gray.astype(np.float32), gray.astype(int), Image.fromarray(gray)]
    made = [package.explain(gray_model, form, "gradcam") for form in forms]
    for explanation in made:
        np.testing.assert_array_equal(explanation.saliency_map, made[0].saliency_map)
    assert package.save(made[0], tmp_path, "a").picture.stat().st_size > 1000
    in_color = package.explain(gray_model, np.repeat(gray[..., None], 3, axis=2), "gradcam")
    np.testing.assert_array_equal(in_color.saliency_map, made[0].saliency_map)
    assert package.save(np.eye(4), tmp_path, "b", photo=gray).picture.exists()
