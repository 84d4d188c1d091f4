"""The metrics on scenes, where the truth is known: only the object's own pixels are evidence for its class."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from rich.console import Console
from scipy.ndimage import distance_transform_edt

from evalkit.analysis.service import results_of
from evalkit.datasets.classes import match_classes
from evalkit.datasets.scenes.scenes import scenes
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import DEFAULT_EXPLAINERS, SCENES_PATCH_SIZES, expand
from evalkit.harness.engine.driver import compute
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.models.inference.perturbation import MEAN_COLOR, blurred
from evalkit.models.zoo.load import load_classifier
from evalkit.store.run_folder import RunFolder

pytestmark = pytest.mark.slow

SEED, N_SCENES = 99, 10  # one of each class
CONTROLS = ("uniform", "random", "center", "edges")
LOCALIZATION = [name for name in DEFAULT_METRICS if METRICS.get(name).spec.family == "localization"]


@dataclass(frozen=True)
class Oracle(Explainer):
    """Knows the mask of every scene of the set: 1 on the object, 0 beside it; or the other way round."""

    name: ClassVar[str] = "oracle"
    masks: ClassVar[dict[bytes, np.ndarray]] = {}
    inverted: bool = False

    def explain(self, classifier, images, targets):
        masks = [self.masks[image.tobytes()] for image in images]
        return np.stack([~mask if self.inverted else mask for mask in masks]).astype(np.float64)

    def forward_passes(self, input_size):
        return 0


def default_explainers():
    """Return those of the default run but CAM, which does not fit vgg16-mini."""
    return expand([name for name in DEFAULT_EXPLAINERS if name != "cam"], SCENES_PATCH_SIZES, 0)


ORACLE, INVERTED = Oracle().text, Oracle(inverted=True).text


@pytest.fixture(scope="module")
def mini():
    return load_classifier("vgg16-mini")


@pytest.fixture(scope="module")
def images(mini):
    found = match_classes(scenes(N_SCENES, SEED), mini.class_names, 10, require_labels=True).images
    Oracle.masks.update({one.pixels.tobytes(): one.region for one in found})
    return found


@pytest.fixture(scope="module")
def table(mini, images, tmp_path_factory):
    """Mean scores by (explainer, metric), over a run through the whole harness."""

    def make(explainers, metrics):
        built = [METRICS.build(name, steps=7) for name in metrics]
        plan = Plan(images, ModelRecipe.live(mini), explainers, built, "label", "squash", steps=7, seed=0, limit=None)
        folder = RunFolder.write(tmp_path_factory.mktemp("run"), fresh=False)
        compute(plan, folder, Console(file=io.StringIO()))
        _, results = results_of(folder)
        scores = {(cell.explainer, cell.metric): cell.mean for cell in results.leaderboard}
        singles = folder.database.table([one.text for one in explainers], [metric.text for metric in built])
        folder.close()
        return scores, singles

    return make


@pytest.fixture(scope="module")
def localized(table, mini):
    """Every explainer of the default run, and the oracle, under every localization metric."""
    return table([Oracle(), Oracle(inverted=True), *default_explainers()], LOCALIZATION)[0]


@pytest.fixture(scope="module")
def gains(table):
    """The oracle, Grad-CAM, occlusion and the controls under the primary criterion."""
    explainers = expand(["gradcam", "occlusion(patch_size=32)", *CONTROLS], SCENES_PATCH_SIZES, 0)
    scores, _ = table([Oracle(), Oracle(inverted=True), *explainers], ["symmetric_relevance_gain"])
    return {explainer: mean for (explainer, _), mean in scores.items()}


def test_the_exact_mask_is_best_on_every_localization_metric(localized):
    assert {METRICS.get(name).spec.direction for name in LOCALIZATION} == {"higher"}
    assert len(LOCALIZATION) == 7
    explainers = {explainer for explainer, _ in localized}
    assert len(explainers) == 2 + len(default_explainers())
    for metric in LOCALIZATION:
        best = max(localized[explainer, metric] for explainer in explainers)
        assert localized[ORACLE, metric] == best, metric
    for metric in ("pointing_game", "energy_pointing_game", "relevance_mass_accuracy", "relevance_rank_accuracy"):
        assert localized[ORACLE, metric] == 1.0


def test_the_inverted_mask_loses_to_uniform(localized, gains):
    for metric in ("pointing_game", "energy_pointing_game", "relevance_mass_accuracy", "relevance_rank_accuracy"):
        assert localized[INVERTED, metric] < localized["uniform", metric], metric
    # Average precision cannot fall below the object's share: the last threshold takes every pixel.
    assert localized[INVERTED, "pxap"] == localized["uniform", "pxap"]
    assert gains[INVERTED] < gains["uniform"]


def test_the_exact_mask_gains_more_than_every_control(gains):
    assert gains[ORACLE] > max(gains[control] for control in CONTROLS)


def test_gradcam_and_occlusion_beat_every_control(localized, gains):
    for explainer in ("gradcam", "occlusion(patch_size=32)"):
        assert gains[explainer] > max(gains[control] for control in CONTROLS)
    sweep = [f"occlusion(patch_size={size})" for size in SCENES_PATCH_SIZES]
    for explainer in ("gradcam", *sweep):
        energy = localized[explainer, "energy_pointing_game"]
        assert energy > max(localized[control, "energy_pointing_game"] for control in CONTROLS), explainer


def test_uniform_scores_as_a_constant_map_should(table, mini, images):
    """Each metric's value for a constant map, worked out here from scene and model alone."""
    _, scored = table(expand(["uniform"], (), 0), DEFAULT_METRICS)
    found = {name: scored.values[:, 0, column] for column, name in enumerate(DEFAULT_METRICS)}
    overlaps, n_object = [], 0
    for number, one in enumerate(images):
        mean = np.broadcast_to(np.float32(MEAN_COLOR), one.pixels.shape)
        asked = np.stack([one.pixels, mean, blurred(one.pixels)]).astype(np.float32)
        scores = mini.probabilities(asked)
        clean, empty, blur = scores[:, one.class_index]
        x0, y0, x1, y1 = one.boxes[0]
        overlaps.append((x1 - x0 + 1) * (y1 - y0 + 1) / one.region.size)  # WSOL counts both ends
        n_object += one.region.sum()
        faithful = {
            "symmetric_relevance_gain": 0.0,
            "deletion": (clean + empty) / 2,
            "insertion": (clean + blur) / 2,
        }
        if scores[0].argmax() != one.class_index:
            faithful = dict.fromkeys(faithful, np.nan)
        away_px = distance_transform_edt(~one.region)
        expected = faithful | {
            "pointing_game": (away_px < 15).mean(),
            "energy_pointing_game": (x1 - x0) * (y1 - y0) / one.region.size,
            "relevance_mass_accuracy": one.region.mean(),
            "relevance_rank_accuracy": one.region.mean(),
            "sparseness": 0.0,
        }
        for name, value in expected.items():
            assert found[name][number] == pytest.approx(value, abs=1e-6, nan_ok=True), (one.id, name)
    asked_of_the_set = {name: METRICS.build(name) for name in ("max_box_acc_v1", "max_box_acc_v2", "pxap")}
    of_the_set = {
        name: metric.aggregate(scored.statistics[name][:, 0].mean(axis=0)) for name, metric in asked_of_the_set.items()
    }
    covers = np.array(overlaps)[:, None] >= [0.3, 0.5, 0.7]
    assert of_the_set["max_box_acc_v1"] == pytest.approx(covers[:, 1].mean())
    assert of_the_set["max_box_acc_v2"] == pytest.approx(covers.mean())
    assert of_the_set["pxap"] == pytest.approx(n_object / (len(images) * one.region.size))
