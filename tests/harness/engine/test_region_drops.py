"""How far the model looks at the object: drops by hand, when they are measured, and what they cost."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import keras
import msgspec
import numpy as np
import pytest

import evalkit
from evalkit.datasets.image_set import ImageSet
from evalkit.models.inference.perturbation import MEAN_COLOR

SIDE, WEIGHT = 8, 0.02


def red_model(weight=WEIGHT, bias=-1.0):
    """Two classes; the logit of class 1 is linear in the mean of red."""
    made = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    )
    kernel = np.zeros((3, 2), dtype=np.float32)
    kernel[0, 1] = weight
    made.set_weights([kernel, np.array([0, bias], dtype=np.float32)])
    return made


@pytest.fixture(scope="module")
def model():
    return red_model()


def score(mean_red):
    return 1 / (1 + np.exp(1.0 - WEIGHT * mean_red))


@pytest.fixture
def region():
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[2:6, 1:5] = True  # a quarter of the pixels
    return mask


def photos_of(region, inside=250, outside=20):
    photo = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    photo[..., 0] = np.where(region, inside, outside)
    return photo[None]


def run(model, images, output, metrics="pointing_game", **options):
    given = {"explainers": "uniform", "preprocess": "none", "precision": "float32", **options}
    return evalkit.evaluate(model, images, output=output, metrics=metrics, progress=False, **given)


def drops_in(output):
    with closing(sqlite3.connect(output / "results.sqlite")) as database:
        rows = dict(database.execute("SELECT image_id, facts FROM image_facts"))
    return {image_id: msgspec.json.decode(facts) for image_id, facts in rows.items()}


def test_drops_by_hand(model, region, tmp_path):
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    found = run(model, images, tmp_path / "run")
    clean, mean = (250 + 3 * 20) / 4, MEAN_COLOR[0]
    (drops,) = drops_in(tmp_path / "run").values()
    assert drops["drop_inside"] == pytest.approx(score(clean) - score((mean + 3 * 20) / 4), abs=1e-5)
    assert drops["drop_outside"] == pytest.approx(score(clean) - score((250 + 3 * mean) / 4), abs=1e-5)
    assert found.results.region_drops.inside == drops["drop_inside"]
    assert found.results.region_drops.share_inside_more == 1.0
    assert found.manifest.forward_passes == 1 + 2


def test_ignored_pixels_are_hidden_by_neither(model, region, tmp_path):
    ignore = np.zeros_like(region)
    ignore[:2] = True  # another quarter
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region], ignores=[ignore])
    run(model, images, tmp_path / "run")
    (drops,) = drops_in(tmp_path / "run").values()
    clean, mean = (250 + 3 * 20) / 4, MEAN_COLOR[0]
    assert drops["drop_inside"] == pytest.approx(score(clean) - score((mean + 3 * 20) / 4), abs=1e-5)
    assert drops["drop_outside"] == pytest.approx(score(clean) - score((250 + 20 + 2 * mean) / 4), abs=1e-5)


def test_union_of_boxes_without_a_mask(model, region, tmp_path):
    boxes = [[(1, 2, 4, 6), (3, 2, 5, 6)]]
    by_mask = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    run(model, by_mask, tmp_path / "mask")
    run(model, ImageSet.from_arrays(photos_of(region), [1], boxes=boxes), tmp_path / "boxes")
    assert drops_in(tmp_path / "boxes") == drops_in(tmp_path / "mask")


def test_two_passes_a_photo_whatever_the_maps(model, region, tmp_path):
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    many = run(model, images, tmp_path / "many", "pointing_game,pxap,relevance_rank_accuracy",
               explainers="uniform,random,edges,center")  # fmt: skip
    assert many.manifest.forward_passes == 1 + 2
    assert all(facts.forward_passes == 0 for facts in many.manifest.explainers)


@pytest.mark.parametrize("metrics", ["sparseness", "deletion(steps=2)"])
def test_not_measured_without_a_localization_metric(model, region, tmp_path, metrics):
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    found = run(model, images, tmp_path / "run", metrics)
    assert drops_in(tmp_path / "run") == {}
    assert found.results.region_drops is None


def test_undefined_without_region_where_wrong_or_over_the_whole_image(model, region, tmp_path):
    photos = np.concatenate([photos_of(region, inside) for inside in (250, 249, 248, 247)])
    whole = np.ones_like(region)
    images = ImageSet.from_arrays(photos, [1, 0, 1, 1], regions=[None, region, whole, region])
    found = run(model, images, tmp_path / "run")
    drops = drops_in(tmp_path / "run")
    assert drops["0"] == drops["1"] == drops["2"] == {}
    assert set(drops["3"]) == {"drop_inside", "drop_outside"}
    assert found.manifest.forward_passes == 4 + 2
    assert found.results.region_drops.n_images == 1


def test_predicted_class_of_another_object(model, region, tmp_path):
    images = ImageSet.from_arrays(photos_of(region), [0], regions=[region])
    run(model, images, tmp_path / "run", target="predicted")
    assert drops_in(tmp_path / "run") == {"0": {}}


def test_repeating_the_run_measures_nothing_again(model, region, tmp_path):
    photos = np.concatenate([photos_of(region), photos_of(region, 240)])
    images = ImageSet.from_arrays(photos, [1, 1], regions=[region, None])
    first = run(model, images, tmp_path / "run")
    again = run(model, images, tmp_path / "run")
    assert again.manifest.forward_passes == first.manifest.forward_passes == 2 + 2
    assert again.results == first.results


def test_run_without_localization_goes_on_with_it(model, region, tmp_path):
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    run(model, images, tmp_path / "run", "sparseness")
    later = run(model, images, tmp_path / "run", "sparseness,pointing_game")
    assert later.results.region_drops.n_images == 1
    kept = drops_in(tmp_path / "run")
    run(model, images, tmp_path / "run", "sparseness")
    assert drops_in(tmp_path / "run") == kept


def test_older_folder_lacks_them_until_it_is_repeated(model, region, tmp_path):
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    first = run(model, images, tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / "results.sqlite")) as database:
        database.execute("DROP TABLE image_facts")
        database.commit()
    (tmp_path / "run" / "analysis.json").unlink()
    assert evalkit.open_run(tmp_path / "run").results.region_drops is None
    later = run(model, images, tmp_path / "run")
    assert later.results.region_drops == first.results.region_drops


def test_another_model_in_the_folder_replaces_them(model, region, tmp_path):
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    run(model, images, tmp_path / "run")
    other = red_model(weight=0.03)
    second = run(other, images, tmp_path / "run")
    alone = run(other, images, tmp_path / "alone")
    assert second.results.region_drops == alone.results.region_drops
    run(model, images, tmp_path / "run", "sparseness")
    assert drops_in(tmp_path / "run") == {}


def test_changed_region_is_measured_again(model, region, tmp_path):
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    run(model, images, tmp_path / "run")
    moved = ImageSet.from_arrays(photos_of(region), [1], regions=[np.roll(region, 2, axis=1)])
    found = run(model, moved, tmp_path / "run")
    assert found.results.region_drops == run(model, moved, tmp_path / "alone").results.region_drops


def test_html_report_says_it_above_localization(model, region, tmp_path):
    images = ImageSet.from_arrays(photos_of(region), [1], regions=[region])
    page = run(model, images, tmp_path / "run", "deletion(steps=2),pointing_game").report().read_text(encoding="utf-8")
    assert page.count("Does the model look at the object?") == 1
    faithfulness, localization = (page.index(f"<caption>{family}") for family in ("Faithfulness", "Localization"))
    assert faithfulness < page.index("Does the model look at the object?") < localization
