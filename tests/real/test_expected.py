"""A real VGG16 on real photos against maps and scores that were computed slowly and separately.

Maps of two photos in the default suite; the rest is marked slow. Ties are broken in raster order, as
in the expected scores.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from evalkit.datasets.open import open_image_set
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.metrics.case import Case, Region
from evalkit.metrics.levels import cuts, level_ranks, raster_ranks
from evalkit.metrics.localization import EnergyPointingGame, PointingGame, RelevanceRankAccuracy
from evalkit.metrics.perturbation import Deletion, Insertion
from evalkit.models.inference.perturbation import PhotoScores
from evalkit.models.probabilities import softmax
from evalkit.models.zoo.load import load_classifier

OWN = (
    "gradcam",
    "occlusion(patch_size=16, stride=16)",
    "occlusion(patch_size=32, stride=16)",
    "occlusion(patch_size=56, stride=28)",
)
# The cheap ones, for two photos in the default suite.
QUICK = ("gradcam", "occlusion(patch_size=56, stride=28)")
DEFAULT_PHOTOS, OTHER_PHOTOS = (0, 3), (1, 2, 4, 5)


@pytest.fixture(scope="module")
def expected(real):
    return json.loads((real / "expected.json").read_text())


@pytest.fixture(scope="module")
def given_maps(real):
    with np.load(real / "expected_maps.npz") as maps:
        return {key: maps[key].astype(np.float32) for key in maps.files}


@pytest.fixture(scope="module")
def vgg16(real):
    return load_classifier(str(real / "vgg16_imagenette_gap.keras"), preprocess="vgg16")


@pytest.fixture(scope="module")
def photos(real, expected):
    images = open_image_set(real / "imagenette200" / "labels.csv")
    entries = {entry.id: entry for entry in images.entries}
    return [images.read(entries[photo["image"]]) for photo in expected["photos"]]


@pytest.fixture(scope="module")
def own_map(vgg16, photos, expected):
    """One of our maps of one photo, made once however many tests look at it."""
    made = {}

    def make(number, text):
        if (number, text) not in made:
            class_index = expected["photos"][number]["class_index"]
            maps = EXPLAINERS.build(text).explain(vgg16, photos[number].pixels[None], [class_index])
            made[number, text] = maps[0]
        return made[number, text]

    return make


def scores_of(classifier, image, class_index, saliency_map):
    logits = classifier.logits(image.pixels[None])
    scores = softmax(logits)[0]
    case = Case(image.id, image.pixels, (class_index,), scores, float(scores[class_index]))
    engine = PhotoScores(classifier, image.pixels, class_index, logits[0])
    metrics = {"deletion": Deletion(ties="raster"), "insertion": Insertion(ties="raster")}
    region = Region(image.region, image.boxes, image.exact)
    # Distinct values in raster order: the first maximum, and exactly K top pixels.
    untied = -raster_ranks(saliency_map)[0].astype(np.float64)
    return {
        name: metric.score(saliency_map, case, engine.scores(metric.requests(saliency_map, case)))
        for name, metric in metrics.items()
    } | {
        "pointing_game": PointingGame().score_region(untied, region),
        "energy_pointing_game": EnergyPointingGame().score_region(saliency_map, region),
        "relevance_rank_accuracy": RelevanceRankAccuracy().score_region(untied, region),
    }


@pytest.mark.slow
@pytest.mark.parametrize("number", [5])
def test_scores_of_given_maps(number, expected, given_maps, vgg16, photos):
    tolerance = expected["tolerance"]["scores_of_the_given_maps"]
    photo = expected["photos"][number]
    assert len(photo["scores"]) == 7
    for text, wanted in [*photo["scores"].items()][::3]:  # 110 passes each
        scores = scores_of(vgg16, photos[number], photo["class_index"], given_maps[f"{number}/{text}"])
        assert scores == pytest.approx(wanted, abs=tolerance), text


def furthest(made, given):
    return np.abs(made - given).max() / np.abs(given).max()


@pytest.mark.parametrize("text", QUICK)
@pytest.mark.parametrize("number", DEFAULT_PHOTOS)
def test_own_maps(number, text, own_map, given_maps):
    given = given_maps[f"{number}/{text}"]
    assert np.abs(given).max() > 1e-3
    assert furthest(own_map(number, text), given) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("text", OWN)
def test_own_maps_of_many_photos(text, own_map, given_maps):
    compared = 0
    for number in OTHER_PHOTOS:
        given = given_maps[f"{number}/{text}"]
        if np.abs(given).max() > 1e-3:
            assert furthest(own_map(number, text), given) < 0.01, number
            compared += 1
    assert compared >= len(OTHER_PHOTOS) - 2


@pytest.mark.slow
@pytest.mark.parametrize("text", ["gradcam"])  # the others differ by less than a hundredth from given maps
def test_mean_scores_of_own_maps(text, expected, own_map, vgg16, photos):
    tolerance = expected["tolerance"]["scores_of_own_maps_mean_over_photos"]
    found, wanted = [], []
    for number, photo in [*enumerate(expected["photos"])][::3]:
        found.append(scores_of(vgg16, photos[number], photo["class_index"], own_map(number, text)))
        wanted.append(photo["scores"][text])
    for metric in wanted[0]:
        difference = np.mean([one[metric] for one in found]) - np.mean([one[metric] for one in wanted])
        assert abs(difference) < tolerance, metric


def test_squared_gradients_keep_their_levels_and_cuts(vgg16, photos, expected):
    """Half of the values are below a hundredth of the maximum, and no two pixels are meant to be equal."""
    import tensorflow as tf

    number = DEFAULT_PHOTOS[0]
    pixels = tf.constant(vgg16.graph.preprocessed(photos[number].pixels[None]))
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        score = tf.math.log(vgg16.model(pixels)[0, expected["photos"][number]["class_index"]])
    squared = np.square(tape.gradient(score, pixels).numpy()[0]).sum(axis=-1)
    assert np.median(squared) < 0.01 * squared.max()
    boundaries = level_ranks(squared)[1]
    assert len(boundaries) - 1 > 0.98 * len(np.unique(squared))
    assert len(cuts(boundaries, 28)) == 29


def test_gradcam_of_pooled_vgg16_by_its_class_weights(vgg16, photos, expected):
    import cv2

    for number in DEFAULT_PHOTOS:
        class_index = expected["photos"][number]["class_index"]
        pixels = photos[number].pixels[None]
        features = vgg16.features.activations_and_gradients(pixels, [class_index], "block5_conv3")[0][0]
        weights = np.asarray(vgg16.model.get_layer("predictions").kernel)[:, class_index]
        coarse = np.maximum(features.astype(np.float64) @ weights.astype(np.float64), 0)
        by_hand = cv2.resize(coarse, (224, 224), interpolation=cv2.INTER_LINEAR)
        made = EXPLAINERS.build("gradcam").explain(vgg16, pixels, [class_index])[0]
        assert np.corrcoef(made.ravel(), by_hand.ravel())[0, 1] > 0.9999
        slope = (made * by_hand).sum() / (by_hand**2).sum()
        assert slope > 0
        np.testing.assert_allclose(made, slope * by_hand, atol=1e-4 * made.max())


def test_cam_looks_at_what_enters_the_pooling(vgg16):
    from evalkit.models.keras.graph import TensorAt

    assert vgg16.pooled_end().features == TensorAt("gap", entering=True)
    assert vgg16.target_layer == "block5_conv3"
    assert vgg16.given.last_spatial_layer() == "block5_pool"
