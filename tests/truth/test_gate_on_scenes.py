"""Regressions planted in explainers and in the model, specs unchanged: the gate must catch and name each."""

from __future__ import annotations

import io
import json
import shutil

import keras
import numpy as np
import pytest
from rich.console import Console

from evalkit.analysis.service import baseline_of, gate_of
from evalkit.datasets.classes import match_classes
from evalkit.datasets.scenes.scenes import scenes
from evalkit.explainers import cam, occlusion
from evalkit.explainers.base import MapFacts, enlarge
from evalkit.explainers.catalog import expand
from evalkit.harness.engine.driver import compute
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.metrics.catalog import METRICS
from evalkit.models.classifier import Classifier
from evalkit.models.zoo.load import load_classifier
from evalkit.report import render_gate
from evalkit.report.gate.sentences import drifts, regressions
from evalkit.store.run_folder import RunFolder

pytestmark = pytest.mark.slow

N_SCENES, SEED = 12, 4321
GRADCAM, OCCLUSION = "gradcam", "occlusion(patch_size=24)"
METRIC_NAMES = ("symmetric_relevance_gain", "insertion", "energy_pointing_game")


@pytest.fixture(scope="module")
def mini():
    return load_classifier("vgg16-mini")


@pytest.fixture(scope="module")
def run(mini, tmp_path_factory):
    """Run Grad-CAM and occlusion on scenes, as the code is at the moment; returns the folder."""
    images = match_classes(scenes(N_SCENES, SEED), mini.class_names, 10, require_labels=True).images

    def make(classifier=mini, specs=(GRADCAM, OCCLUSION), path=None):
        metrics = [METRICS.build(name, steps=6) for name in METRIC_NAMES]
        plan = Plan(
            images,
            ModelRecipe.live(classifier),
            expand(list(specs), [24], 0),
            metrics,
            "label",
            "squash",
            steps=6,
            seed=0,
            limit=None,
        )
        folder = RunFolder.write(path or tmp_path_factory.mktemp("run"))
        compute(plan, folder, Console(file=io.StringIO()))
        folder.close()
        return folder.path

    return make


@pytest.fixture(scope="module")
def first(run):
    """A run of the code as it is."""
    return run()


@pytest.fixture(scope="module")
def again(run, first):
    """Another run of the code as it is."""
    return run()


@pytest.fixture(scope="module")
def baseline(first):
    return baseline_of(first)


def regressed(gate):
    return {(cell.explainer, cell.metric) for cell in gate.cells if cell.verdict == "regressed"}


def test_the_code_as_it_is_passes_with_the_same_bits(again, baseline):
    gate = gate_of(again, baseline)
    assert {cell.verdict for cell in gate.cells} == {"unchanged"}
    assert [one.n_moved for one in gate.drift] == [0, 0]
    assert gate.exit_code == 0


def test_occlusion_painted_24_px_off_is_caught_and_named(run, baseline, monkeypatch):
    """A whole patch; of 12 px the gain loses 0.09, which takes 48 scenes."""
    painted = occlusion.paint
    monkeypatch.setattr(occlusion, "paint", lambda *where: np.roll(painted(*where), (24, 24), axis=(0, 1)))
    gate = gate_of(run(), baseline)
    assert gate.exit_code == 1
    assert {explainer for explainer, _ in regressed(gate)} == {OCCLUSION}
    assert (OCCLUSION, "energy_pointing_game") in regressed(gate)
    assert {one.explainer: one.changed for one in gate.drift} == {GRADCAM: False, OCCLUSION: True}
    assert any(OCCLUSION in sentence for sentence in regressions(gate))


def test_gradcam_on_an_early_layer_is_caught_and_named(run, baseline, mini, monkeypatch):
    early = next(layer.name for layer in mini.model.layers if isinstance(layer, keras.layers.Conv2D))
    monkeypatch.setattr(cam.GradCam, "layers_on", lambda *_: (early,))
    gate = gate_of(run(), baseline)
    assert gate.exit_code == 1
    assert {explainer for explainer, _ in regressed(gate)} == {GRADCAM}
    assert {one.explainer: one.changed for one in gate.drift} == {GRADCAM: True, OCCLUSION: False}


def test_guided_gradients_are_caught_by_map_drift(run, baseline, monkeypatch):
    def guided(self, classifier, images, targets):
        features, gradients = classifier.features.activations_and_gradients(
            images, targets, *self.layers_on(classifier)
        )
        weights = (gradients * (gradients > 0) * (features > 0)).astype(np.float64).mean(axis=(1, 2))
        maps = enlarge(np.einsum("bk,bhwk->bhw", weights, features).clip(min=0.0), images.shape[1:3])
        return maps, [MapFacts()] * len(maps)

    monkeypatch.setattr(cam.GradCam, "explain_with_facts", guided)
    path = run()
    gate = gate_of(path, baseline)
    assert {one.explainer: one.changed for one in gate.drift} == {GRADCAM: True, OCCLUSION: False}
    assert "Maps changed: gradcam" in drifts(gate)[0]
    assert "Maps changed: gradcam" in render_gate(gate, "table", width=200, color=False)
    assert {explainer for explainer, _ in regressed(gate)} <= {GRADCAM}
    assert gate_of(path, baseline, fail_on_map_drift=True).exit_code == 1


def test_one_block_with_shuffled_weights_is_caught(run, baseline, mini):
    model = keras.models.clone_model(mini.model)
    model.set_weights(mini.model.get_weights())
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    block = last.name.partition("_")[0]
    for layer in model.layers:
        if layer.name.startswith(f"{block}_conv"):
            kernel, bias = layer.get_weights()
            layer.set_weights([np.random.default_rng(0).permuted(kernel.ravel()).reshape(kernel.shape), bias])
    shuffled = Classifier(model, name="vgg16-mini", class_names=mini.class_names, preprocess=mini.preprocess)
    gate = gate_of(run(shuffled), baseline)
    assert gate.exit_code == 1
    assert OCCLUSION in {explainer for explainer, _ in regressed(gate)}
    assert [one.changed for one in gate.drift] == [True, True]
    said = " ".join(gate.differs)
    assert "fingerprint" in said
    assert "accuracy: 100.0 % before" in said


def test_another_fill_in_the_spec_is_not_comparable_and_named(run, first, baseline, tmp_path):
    shutil.copytree(first, tmp_path / "run")  # Grad-CAM is taken from there
    gate = gate_of(run(specs=(GRADCAM, "occlusion(patch_size=24, fill=mean)"), path=tmp_path / "run"), baseline)
    assert gate.exit_code == 3
    apart = {cell.reason for cell in gate.cells if cell.verdict == "not comparable"}
    assert len(apart) == 1
    assert "fill is black in the baseline, mean in the run" in apart.pop()


def test_another_precision_is_compared_and_said(run, baseline, mini):
    gate = gate_of(run(mini.in_precision("bfloat16")), baseline)
    assert gate.exit_code == 0
    assert not any(one.changed for one in gate.drift)
    assert "precision: float32 before, bfloat16 now" in gate.differs


def test_another_version_of_a_library_is_compared_and_said(again, baseline, tmp_path):
    path = shutil.copytree(again, tmp_path / "run")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["versions"]["keras"] = "99.0"
    (path / "manifest.json").write_text(json.dumps(manifest))
    gate = gate_of(path, baseline)
    assert gate.exit_code == 0
    assert any(one.startswith("keras: ") and one.endswith("99.0 now") for one in gate.differs)
