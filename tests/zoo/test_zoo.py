"""Every kind of classifier: scores, Grad-CAM, occlusion and deletion as computed by hand; what works, as documented."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import evalkit
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.metrics.requests import Perturbation
from evalkit.models.classifier import Classifier
from evalkit.models.inference.perturbation import PhotoScores
from evalkit.models.zoo.load import as_classifier

from . import by_hand
from .models import KINDS, Kind, Specimen
from .table import documented_section, explainers_of, section, write_section

SCORE_TOLERANCE = 1e-5
MAP_TOLERANCE = 1e-4  # of the largest value of the map
QUICK = {"chain", "one sigmoid", "multilabel", "nested transfer", "callable"}
EVERY_KIND = pytest.mark.parametrize("name", KINDS)


@dataclass(frozen=True, eq=False)
class Made:
    """A kind that was built, once for all tests."""

    kind: Kind
    specimen: Specimen
    classifier: Classifier
    images: np.ndarray
    scores_of: Any

    @property
    def output_name(self):
        return self.specimen.options.get("output_name")

    @property
    def targets(self):
        """One class, and both of one unit."""
        return [1, 0] if self.classifier.n_classes == 2 else [1]


@cache
def made(name):
    kind = KINDS[name]
    specimen = kind.build()
    is_function = not hasattr(specimen.model, "predict") and specimen.function is None
    options = {**({} if is_function else {"preprocess": "none"}), **specimen.options}
    classifier = as_classifier(specimen.model, **options)
    images = np.random.default_rng(1).integers(0, 256, (3, *kind.shape), dtype=np.uint8)
    own = specimen.function or specimen.model
    first = kind.channels_first and own.input_shape[1] == kind.shape[2]
    scores_of = by_hand.scorer(own, kind.score, kind.prepare, options.get("output_name"), channels_first=first)
    return Made(kind, specimen, classifier, images, scores_of)


@EVERY_KIND
def test_class_scores_are_the_models_own_outputs(name):
    zoo = made(name)
    expected = zoo.scores_of(zoo.images)
    found = zoo.classifier.probabilities(zoo.images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SCORE_TOLERANCE * zoo.kind.loose)


@EVERY_KIND
def test_occlusion_is_that_by_hand(name):
    zoo = made(name)
    explainer = EXPLAINERS.build(f"occlusion(patch_size={zoo.kind.patch_size})")
    for target in zoo.targets:
        expected = by_hand.occlusion(zoo.scores_of, zoo.images[0], target, zoo.kind.patch_size)
        found = explainer.explain(zoo.classifier, zoo.images[:1], [target])[0]
        assert np.abs(expected).max() > 1e-4, "the kind's score does not change: nothing is compared"
        assert_close(found, expected, zoo.kind)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if "gradcam" not in kind.left_out])
def test_gradcam_is_that_by_hand(name):
    zoo = made(name)
    layer, largest = zoo.classifier.target_layer, []
    for target in range(zoo.classifier.n_classes):
        expected = by_hand.grad_cam(
            zoo.specimen.model,
            zoo.specimen.twin,
            layer,
            zoo.images[0],
            target,
            exclusive=zoo.classifier.head.is_exclusive,
            kind=zoo.kind,
            output_name=zoo.output_name,
        )
        found = EXPLAINERS.build("gradcam").explain(zoo.classifier, zoo.images[:1], [target])[0]
        assert_close(found, expected, zoo.kind)
        largest.append(expected.max())
        if max(largest) > 0 and zoo.classifier.n_classes > 2:
            break  # a map that is 0 everywhere compares nothing
    assert max(largest) > 0


def assert_close(found, expected, kind):
    """Compare two maps, relative to the largest value."""
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=MAP_TOLERANCE * kind.loose * max(largest, 1e-30))


@pytest.mark.parametrize("name", ["chain", "one sigmoid", "multilabel", "average of softmaxes", "callable of logits"])
def test_deletion_is_that_by_hand(name):
    zoo = made(name)
    image = zoo.images[0]
    saliency_map = np.random.default_rng(2).permutation(image[..., 0].size).reshape(image.shape[:2]).astype(float)
    rank = np.empty(saliency_map.size, dtype=np.int32)
    rank[np.argsort(-saliency_map, axis=None)] = np.arange(saliency_map.size)
    cuts = np.array([0, 40, 130, 256])
    for target in zoo.targets:
        scores = PhotoScores(zoo.classifier, image, target, zoo.classifier.logits(image[None])[0])
        request = Perturbation("image", "mean", rank.reshape(saliency_map.shape), cuts)
        ((_, found),) = scores.scores([request])
        expected = by_hand.deletion(zoo.scores_of, image, saliency_map, target, cuts)
        np.testing.assert_allclose(found, expected, rtol=0, atol=SCORE_TOLERANCE)


# Explainers that use a model in the same way as another; on most kinds the other is enough.
ALIKE = {
    **dict.fromkeys(("layercam", "hirescam", "xgradcam"), "gradcam"),
    **dict.fromkeys(("gradient_x_input", "smoothgrad", "integrated_gradients", "expected_gradients"), "gradient"),
    **dict.fromkeys(("lime", "kernel_shap"), "rise"),
    **dict.fromkeys(
        ("tf_explain.gradients_inputs", "tf_explain.smoothgrad", "tf_explain.integrated_gradients"),
        "tf_explain.vanilla_gradients",
    ),
}


def test_explainers_that_are_alike_exist():
    assert set(ALIKE) | set(ALIKE.values()) <= set(EXPLAINERS.names())
    assert not set(ALIKE) & set(ALIKE.values())


@cache
def explained(name):
    """Return the explainers that work on a kind, and the others with the reason in words."""
    zoo = made(name)
    classifier = zoo.classifier.with_references(zoo.images)
    works, left_out = explainers_of(classifier, zoo.kind.patch_size)
    for explainer in works:
        if name not in QUICK and explainer.name in ALIKE:
            continue  # it accepts the model
        maps = explainer.explain(classifier, zoo.images[:1], [1])
        assert np.shape(maps) == (1, *zoo.kind.shape[:2]), explainer.text
        assert np.isfinite(maps).all(), explainer.text
    return [explainer.name for explainer in works], left_out


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in KINDS]
)
def test_explainers_work_or_are_left_out_with_a_reason(name):
    works, left_out = explained(name)
    assert "occlusion" in works
    assert all(len(reason.split()) >= 4 for reason in left_out.values())
    assert ("gradcam" in left_out) == ("gradcam" in made(name).kind.left_out)


@pytest.mark.slow
def test_the_documented_table_is_what_works():
    rows = [(made(name).kind.text, made(name).classifier.head.text, explained(name)[1]) for name in KINDS]
    found = section(rows)
    write_section(found)
    assert documented_section() == found, (
        "docs/models.md differs from what works; to rewrite its table: EVALKIT_WRITE_TABLE=1 python -m pytest "
        "tests/zoo -n 0 -m slow"
    )


@pytest.mark.parametrize("name", ["one sigmoid", "multilabel", "average of softmaxes"])
def test_a_run_scores_the_kind(name):
    zoo = made(name)
    targets = [index % zoo.classifier.n_classes for index in range(len(zoo.images))]
    run = evalkit.evaluate(
        zoo.specimen.model,
        ImageSet.from_arrays(zoo.images, targets),
        preprocess="none",
        explainers=["gradcam", "occlusion(patch_size=8)"],
        metrics=["deletion", "sparseness"],
        steps=4,
        progress=False,
    )
    document = json.loads(run.render("json"))
    clean = zoo.scores_of(zoo.images)
    right = [
        row[t] >= 0.5 if name == "multilabel" else row.argmax() == t for row, t in zip(clean, targets, strict=True)
    ]
    assert document["model"]["head"] == zoo.classifier.head.text
    assert document["model"]["accuracy"] == pytest.approx(np.mean(right))
    assert len(document["leaderboard"]) == 4
    assert all(row["mean"] is not None for row in document["leaderboard"] if row["metric"] == "sparseness")
