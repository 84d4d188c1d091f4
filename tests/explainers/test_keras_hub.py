"""keras-hub's vision transformers, small and of random weights: scores, default layers, and maps by hand."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError
from evalkit.explainers.cam import GradCam
from evalkit.explainers.occlusion import Occlusion
from evalkit.explainers.tf_explain import TfExplainGradCam, TfExplainOcclusion
from evalkit.models.classifier import Classifier
from evalkit.models.keras.graph import TensorAt

pytest.importorskip("keras_hub", reason="keras-hub, of the extra evalkit[hub], is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:[\\s\\S]*with a mask attached", "ignore:`compile")


def vit(**options):
    from keras_hub.models import ViTBackbone, ViTImageClassifier

    backbone = ViTBackbone((24, 48, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=16)
    return ViTImageClassifier(backbone, num_classes=3, **options)


def deit():
    from keras_hub.models import DeiTBackbone, DeiTImageClassifier

    backbone = DeiTBackbone((32, 32, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=16)
    return DeiTImageClassifier(backbone, num_classes=3, activation="softmax")


def swin():
    from keras_hub.models import SwinTransformerBackbone, SwinTransformerImageClassifier

    backbone = SwinTransformerBackbone((32, 32, 3), embed_dim=8, depths=(1, 1), num_heads=(2, 2), window_size=4)
    return SwinTransformerImageClassifier(backbone, num_classes=3)


@pytest.fixture(scope="module")
def classifiers():
    keras.utils.set_random_seed(6)
    models = {"vit": vit(), "vit mean": vit(pooling="gap"), "deit": deit(), "swin": swin()}
    return {name: Classifier(model) for name, model in models.items()}


def images_for(classifier):
    return np.random.default_rng(3).integers(0, 256, (2, *classifier.input_size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "layer", "grid", "first"),
    [
        ("vit", "vit_encoder/encoder_layers/1/layer_norm_1", (3, 6), 1),
        ("vit mean", "vit_encoder", (3, 6), 1),
        ("deit", "deit_encoder/encoder_layers/1/layer_norm_1", (4, 4), 2),
        ("swin", "norm", (4, 4), 0),
    ],
)
def test_scores_and_default_layer(name, layer, grid, first, classifiers):
    classifier = classifiers[name]
    images = images_for(classifier)
    own = np.asarray(classifier.model(images.astype("float32"), training=False))
    scores = own if name == "deit" else keras.ops.softmax(own).numpy()
    np.testing.assert_allclose(classifier.probabilities(images), scores, rtol=1e-5, atol=1e-5)
    found = classifier.grids.grid(TensorAt(classifier.target_layer))
    assert classifier.target_layer.endswith(f"/{layer}")
    assert (found.height, found.width, found.tokens[0]) == (*grid, first)
    GradCam().check(classifier)
    assert np.ptp(GradCam().explain(classifier, images, [0, 2]), axis=(1, 2)).min() > 0
    assert np.isfinite(Occlusion(patch_size=8).explain(classifier, images[:1], [0])).all()


def test_gradcam_of_vit_equals_gradient_tape(classifiers):
    classifier = classifiers["vit"]
    model, image = classifier.model, images_for(classifier)[:1]
    encoder = model.backbone.get_layer("vit_encoder")
    tokens = model.backbone.get_layer("vit_patching_and_embedding")(image.astype("float32"))
    tokens = encoder.encoder_layers[0](tokens)
    last = encoder.encoder_layers[1]
    normal = last.layer_norm_1(tokens)
    with tf.GradientTape() as tape:
        tape.watch(normal)
        mixed = last.mha(normal, normal) + tokens
        encoded = encoder.layer_norm(mixed + last.mlp(last.layer_norm_2(mixed)))
        logit = model.output_dense(encoded[:, 0])[0, 2]
    gradient = tape.gradient(logit, normal).numpy()[0, 1:]
    coarse = np.maximum(normal.numpy()[0, 1:] @ gradient.mean(axis=0), 0).reshape(3, 6).astype(np.float64)
    expected = cv2.resize(coarse, (48, 24))
    assert expected.max() > 0
    np.testing.assert_allclose(GradCam().explain(classifier, image, [2])[0], expected, atol=1e-4 * expected.max())


def test_tf_explain_occludes_them_and_says_why_it_has_no_gradcam(classifiers):
    with pytest.raises(ModelError, match=r"^tf_explain\.gradcam: "):
        TfExplainGradCam().check(classifiers["deit"])
    classifier = classifiers["deit"]
    images = images_for(classifier)[:1]
    found = TfExplainOcclusion(patch_size=16).explain(classifier, images, [1])
    assert found.shape == (1, 32, 32)
    assert 0 < found.min() < found.max() < 1


def test_a_saved_model_has_the_same_default_layer(classifiers, tmp_path):
    classifiers["vit"].model.save(tmp_path / "vit.keras")
    loaded = Classifier(keras.saving.load_model(tmp_path / "vit.keras"))
    assert loaded.target_layer == classifiers["vit"].target_layer
    images = images_for(loaded)
    np.testing.assert_allclose(
        GradCam().explain(loaded, images, [0, 1]), GradCam().explain(classifiers["vit"], images, [0, 1]), atol=1e-6
    )
