"""The CAM family: its definitions, its exact identities, layers that are fused, and the passes that it shares."""

from __future__ import annotations

from itertools import permutations

import keras
import numpy as np
import pytest

from evalkit.core.errors import ConfigError, ModelError, NotScored
from evalkit.explainers.base import Passes, enlarge
from evalkit.explainers.cam import Cam, GradCam
from evalkit.explainers.gradient_cams import EigenCam, GradCamPlusPlus, HiResCam, LayerCam, XGradCam
from evalkit.models.classifier import Classifier
from evalkit.models.heads import Head

OF_GRADIENTS = (GradCam, HiResCam, LayerCam, GradCamPlusPlus, XGradCam)
ALL = (*OF_GRADIENTS, EigenCam)
TARGETS = [0, 2]

# One photo, 1 x 2 pixels, two channels: everything below is computed by hand from these.
FEATURES = np.array([[[[1.0, 2.0], [3.0, 0.0]]]], dtype=np.float32)
GRADIENTS = np.array([[[[0.5, -1.0], [0.25, 2.0]]]], dtype=np.float32)


@pytest.fixture(scope="module")
def branched():
    """Two convolutions whose gradients differ from place to place; not square."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((24, 32, 3))
    first = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="first")(
        keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    )
    second = keras.layers.Conv2D(7, 3, strides=2, padding="same", activation="tanh", name="second")(first)
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(second))
    return Classifier(keras.Model(inputs, outputs, name="branched"), batch_size=4)


@pytest.fixture
def images():
    return np.random.default_rng(8).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)


def taken(classifier, images, layer, targets=TARGETS):
    features, gradients = classifier.features.activations_and_gradients(images, targets, layer)
    return features.astype(np.float64), gradients.astype(np.float64)


def alpha_of(gradient, total):
    """Equation 19 as it is written."""
    denominator = 2 * gradient**2 + total * gradient**3
    return gradient**2 / denominator if gradient != 0 and denominator > 0 else 0.0


def by_definition(name, features, gradients):
    """One map, (h, w), with loops over everything."""
    height, width, channels = features.shape
    found = np.zeros((height, width))
    for k in range(channels):
        total = features[:, :, k].sum()
        weights = np.zeros((height, width))
        if name == "gradcam":
            weights += gradients[:, :, k].mean()
        elif name == "hirescam":
            weights += gradients[:, :, k]
        elif name == "layercam":
            weights += np.maximum(gradients[:, :, k], 0)
        elif name == "gradcam_plus_plus":
            weights += sum(alpha_of(g, total) * max(g, 0) for g in gradients[:, :, k].ravel())
        elif name == "xgradcam" and total != 0:
            weights += (gradients[:, :, k] * features[:, :, k]).sum() / total
        found += weights * features[:, :, k]
    return np.maximum(found, 0)


@pytest.mark.parametrize(
    ("explainer", "expected"),
    [
        # Mean gradients 0.375 and 0.5.
        (GradCam(), [1.375, 1.125]),
        # 0.5 * 1 - 1 * 2 is negative.
        (HiResCam(), [0.0, 0.75]),
        (LayerCam(), [0.5, 0.75]),
        # Sums of channels 4 and 2: alpha 1/4 and 1/3; and undefined (2 - 2 = 0) and 1/6.
        (GradCamPlusPlus(), [(0.5 / 4 + 0.25 / 3) + 2 * 2 / 6, 3 * (0.5 / 4 + 0.25 / 3)]),
        # (0.5 + 0.75) / 4 and -2 / 2.
        (XGradCam(), [0.0, 0.9375]),
    ],
)
def test_maps_of_two_pixels_by_hand(explainer, expected):
    maps, _ = explainer.combine(FEATURES, GRADIENTS)
    np.testing.assert_allclose(maps[0, 0], expected, rtol=1e-7)


@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("kind", OF_GRADIENTS)
def test_maps_equal_their_definition_in_loops(kind, layer, branched, images):
    features, gradients = taken(branched, images, layer)
    coarse, _ = kind().combine(*branched.features.activations_and_gradients(images, TARGETS, layer))
    for found, feature, gradient in zip(coarse, features, gradients, strict=True):
        expected = by_definition(kind.name, feature, gradient)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
    maps = kind(layer=layer).explain(branched, images, TARGETS)
    np.testing.assert_array_equal(maps, enlarge(coarse, (24, 32)))
    assert maps.dtype == np.float64
    assert maps.max() > 0


@pytest.mark.parametrize("layer", ["first", "second"])
def test_eigencam_is_the_first_singular_vector(layer, branched, images):
    """More pixels than channels in both layers; the transposed case is below."""
    features, _ = taken(branched, images, layer)
    for found, feature in zip(EigenCam(layer=layer).explain(branched, images, TARGETS), features, strict=True):
        rows = feature.reshape(-1, feature.shape[-1])
        projected = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
        projected *= np.sign(projected.sum())
        expected = enlarge(np.maximum(projected, 0).reshape(1, *feature.shape[:2]), (24, 32))[0]
        np.testing.assert_allclose(found, expected, atol=1e-9 * expected.max())


@pytest.mark.parametrize("shape", [(3, 4, 40), (7, 6, 5), (4, 4, 16), (1, 1, 3), (5, 5, 1)])
def test_eigencam_of_few_and_of_many_channels(shape, rng):
    from evalkit.explainers.gradient_cams import _first_component

    features = rng.normal(size=shape).astype(np.float32)
    rows = features.reshape(-1, shape[-1]).astype(np.float64)
    expected = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
    found = _first_component(features).ravel()
    np.testing.assert_allclose(found, np.sign(expected.sum()) * expected, atol=1e-9 * np.abs(expected).max())
    assert found.sum() >= 0
    assert not _first_component(np.zeros(shape, np.float32)).any()


def test_eigencam_of_singular_values_that_are_nearly_equal(rng):
    """Repeated multiplication would take thousands of steps here."""
    from evalkit.explainers.gradient_cams import _first_component

    left, right = (np.linalg.qr(rng.normal(size=(size, 3)))[0] for size in (30, 8))
    features = ((left * [5.0, 4.99, 1.0]) @ right.T).reshape(5, 6, 8).astype(np.float32)
    rows = features.reshape(30, 8).astype(np.float64)
    expected = rows @ np.linalg.svd(rows)[2][0]
    expected *= np.sign(expected.sum())
    np.testing.assert_allclose(_first_component(features).ravel(), expected, atol=1e-9)


def test_eigencam_without_a_sign_is_positive_at_its_largest_value():
    from evalkit.explainers.gradient_cams import _first_component

    found = _first_component(np.array([[[1.0, 0.0], [-1.0, 0.0]]], dtype=np.float32))
    np.testing.assert_allclose(np.abs(found), 1.0)
    np.testing.assert_array_equal(found, _first_component(np.array([[[1.0], [-1.0]]], dtype=np.float32)))


def test_eigencam_ignores_the_class(branched, images):
    maps = EigenCam().explain(branched, images, TARGETS)
    np.testing.assert_array_equal(maps, EigenCam().explain(branched, images, [1, 1]))
    assert "not class-specific" in EigenCam.summary


def test_hirescam_of_a_pooled_model_is_cam(tiny, photos):
    """At the tensor that enters the pooling, up to 1/(h w), before the ReLU; so also Grad-CAM."""
    layer, classes = "pool_b", [0, 1, 2, 1]
    features, gradients = tiny.features.activations_and_gradients(photos, classes, layer)
    size = features.shape[1] * features.shape[2]
    signed = np.einsum("bhwk,bhwk->bhw", features.astype(np.float64), gradients.astype(np.float64)) * size
    cam = Cam().explain(tiny, photos, classes)
    np.testing.assert_allclose(enlarge(signed, (32, 32)), cam, atol=1e-6 * np.abs(cam).max())
    found = HiResCam(layer=layer).explain(tiny, photos, classes)
    np.testing.assert_allclose(found * size, enlarge(signed.clip(min=0), (32, 32)), atol=1e-6 * np.abs(cam).max())
    np.testing.assert_allclose(found, GradCam(layer=layer).explain(tiny, photos, classes), atol=1e-6 * found.max())
    np.testing.assert_allclose(found, XGradCam(layer=layer).explain(tiny, photos, classes), atol=1e-6 * found.max())


def test_tiny_gradients_do_not_underflow_in_gradcam_plus_plus():
    """g^2 of 1e-25 is 0 in float32; alpha is then 1/2 all the same."""
    gradients = np.full((1, 1, 2, 1), 1e-25, dtype=np.float32)
    maps, facts = GradCamPlusPlus().combine(np.ones((1, 1, 2, 1), dtype=np.float32), gradients)
    np.testing.assert_allclose(maps, 1e-25, rtol=1e-6)
    assert facts[0].values["undefined_alpha"] == 0


def test_undefined_alpha_is_zero_counted_and_said():
    """Sums of -4: g = 1 has a denominator of 2 - 4, g = 0.25 one of 2 - 1; g = 0 is not counted."""
    features = np.full((1, 1, 4, 1), -1.0, dtype=np.float32)
    gradients = np.array([1.0, 0.25, 0.0, -0.5], dtype=np.float32).reshape(1, 1, 4, 1)
    explainer = GradCamPlusPlus()
    maps, facts = explainer.combine(features, gradients)
    np.testing.assert_array_equal(maps, 0)  # weight 0.25 times features of -1
    np.testing.assert_allclose(GradCamPlusPlus().combine(-features, -gradients)[0], 0.5 / (2 + 4 * 0.5))
    values = facts[0].values
    assert values == {"undefined_alpha": pytest.approx(1 / 3), "undefined_alpha_of_positive_gradients": 0.5}
    assert explainer.sentences([values, {"undefined_alpha": 0.0}]) == [
        (
            "alpha is undefined (denominator not positive) and set to 0 on 1 of 2 images, at up to 50.0% of an image's "
            "positive gradients, which alone count"
        )
    ]
    assert explainer.sentences([{"undefined_alpha": 0.0}]) == []


def test_negative_gradients_without_alpha_are_counted_and_change_nothing():
    """A sum of 4: g = -0.5 has a denominator of 0, g = -1 one of -2."""
    features = np.ones((1, 1, 4, 1), dtype=np.float32)
    gradients = np.array([-1.0, -0.5, -0.25, 0.5], dtype=np.float32).reshape(1, 1, 4, 1)
    maps, facts = GradCamPlusPlus().combine(features, gradients)
    np.testing.assert_allclose(maps, 0.5 / 4)
    assert facts[0].values == {"undefined_alpha": 0.5, "undefined_alpha_of_positive_gradients": 0.0}


def test_a_feature_map_of_sum_zero_has_no_weight_and_is_said():
    features = np.array([[[[1.0, 1.0], [-1.0, 1.0]]]], dtype=np.float32)
    explainer = XGradCam()
    maps, facts = explainer.combine(features, np.ones_like(features))
    np.testing.assert_array_equal(maps, [[[1.0, 1.0]]])
    assert facts[0].values == {"undefined_weights": 0.5}
    assert explainer.sentences([facts[0].values]) == [
        (
            "the sum of a feature map is 0 and its weight is undefined, so it is left out, on 1 of 1 "
            "image, for up to 50.0% of an image's channels"
        )
    ]
    zeros = np.zeros_like(features)
    assert explainer.combine(zeros, np.ones_like(features))[1][0].values == {"undefined_weights": 0.0}


@pytest.mark.parametrize("kind", ALL)
def test_fused_layers_are_the_largest_of_scaled_maps(kind, branched, images):
    single = [kind(layer=layer).explain(branched, images, TARGETS) for layer in ("first", "second")]
    expected = np.maximum(*(maps / maps.max(axis=(1, 2), keepdims=True) for maps in single))
    fused = kind(layer="first+second")
    fused.check(branched)
    np.testing.assert_allclose(fused.explain(branched, images, TARGETS), expected, rtol=1e-12)
    np.testing.assert_array_equal(
        kind(layer="second+first").explain(branched, images, TARGETS), fused.explain(branched, images, TARGETS)
    )
    backward = 0 if kind is EigenCam else 2
    assert fused.passes(branched) == Passes(2, backward)
    assert fused.method_on(branched).endswith(", for each of 2 layers")
    before = branched.count.forward, branched.count.backward
    fused.explain(branched, images[:1], [1])
    assert (branched.count.forward - before[0], branched.count.backward - before[1]) == (2, backward)


def test_a_map_of_zeros_stays_zero_when_layers_are_fused(images):
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input((24, 32, 3)),
            keras.layers.Conv2D(3, 3, activation="relu", name="dead", kernel_initializer="zeros"),
            keras.layers.Conv2D(3, 3, name="alive", bias_initializer="ones"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    classifier = Classifier(model)
    maps = LayerCam(layer="dead+alive").explain(classifier, images, [0, 1])
    alive = LayerCam(layer="alive").explain(classifier, images, [0, 1])
    assert np.isfinite(maps).all()
    np.testing.assert_allclose(maps, alive / alive.max(axis=(1, 2), keepdims=True))
    assert not LayerCam(layer="dead").explain(classifier, images, [0, 1]).any()


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        ("first+thrid", ModelError, "has no layer 'thrid'"),
        ("first+first", ConfigError, "layer=first+first names layer 'first' twice; name each layer once"),
        ("first+", ConfigError, "layer=first+ lacks a name beside '+'"),
    ],
)
def test_layers_that_cannot_be_fused_are_refused(kind, layer, error, words, branched):
    with pytest.raises(error) as refusal:
        kind(layer=layer).check(branched)
    assert words in str(refusal.value)


def test_one_pass_forward_and_one_back_serve_a_layer_in_any_order(tiny, photos):
    """Also the tensor that CAM reads, where it is the output of that layer."""
    image, layer = photos[:1], "pool_b"
    explainers = [*(kind(layer=layer) for kind in ALL), Cam()]
    alone = {explainer.name: explainer.explain(tiny, image, [1]) for explainer in explainers}
    layers = {layer for explainer in explainers for layer in explainer.shared_layers(tiny)}
    assert layers == {layer}
    for order in list(permutations(explainers))[::997]:
        before = tiny.count.forward, tiny.count.backward
        with tiny.sharing(layers):
            for explainer in order:
                found = explainer.explain(tiny, image, [1])
                np.testing.assert_allclose(found, alone[explainer.name], atol=1e-6 * found.max())
        assert (tiny.count.forward - before[0], tiny.count.backward - before[1]) == (1, 1)


def test_cam_reads_its_tensor_in_the_pass_of_any_layer(tiny, photos):
    image, explainers = photos[:1], (Cam(), GradCam(), EigenCam())
    alone = [explainer.explain(tiny, image, [1]) for explainer in explainers]
    for order in permutations(range(3)):
        before = tiny.count.forward, tiny.count.backward
        with tiny.sharing({tiny.target_layer}):
            for number in order:
                np.testing.assert_allclose(explainers[number].explain(tiny, image, [1]), alone[number], rtol=1e-5)
        assert (tiny.count.forward - before[0], tiny.count.backward - before[1]) == (1, 1)


def test_features_do_not_need_the_gradient_that_is_undefined(images):
    """A probability of exactly 0 has no log odds; what needs features alone gives the map that it gives alone."""
    inputs = keras.Input((24, 32, 3))
    features = keras.layers.Conv2D(2, 1, name="conv", kernel_initializer="ones")(inputs)
    dense = keras.layers.Dense(
        3, activation="softmax", kernel_initializer=lambda *_, **__: np.full((2, 3), [9.0, 0, 0])
    )
    p = dense(keras.layers.GlobalAveragePooling2D()(features))
    model = keras.Model(inputs, p / keras.ops.sum(p, axis=1, keepdims=True))
    classifier = Classifier(model, head=Head("probabilities", 3, from_logits=False))
    alone = EigenCam().explain(classifier, images, [1, 1])
    with classifier.sharing({"conv"}):
        with pytest.raises(NotScored, match="saturated"):
            GradCam().explain(classifier, images, [1, 1])
        np.testing.assert_array_equal(EigenCam().explain(classifier, images, [1, 1]), alone)
    assert alone.max() > 0


def test_shared_arrays_are_not_written_to(tiny, photos):
    features, gradients = (part.copy() for part in tiny.features.activations_and_gradients(photos, [0] * 4, "conv_b"))
    for one in (features, gradients):
        one.setflags(write=False)
    for kind in OF_GRADIENTS:
        kind().combine(features, gradients)


def test_every_other_target_and_layer_has_its_own_passes(branched, images):
    with branched.sharing({"first", "second"}):
        before = branched.count.forward, branched.count.backward
        for layer in ("first", "second"):
            for target in (0, 1):
                for kind in ALL:
                    kind(layer=layer).explain(branched, images[:1], [target])
        assert (branched.count.forward - before[0], branched.count.backward - before[1]) == (4, 4)


def test_several_outputs_and_one_sigmoid_unit(images):
    keras.utils.set_random_seed(2)

    def made(units, activation):
        return Classifier(
            keras.Sequential(
                [
                    keras.Input((24, 32, 3)),
                    keras.layers.Rescaling(1 / 255),
                    keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
                    keras.layers.GlobalAveragePooling2D(),
                    keras.layers.Dense(units, activation=activation),
                ]
            )
        )

    several, unit = made(4, "softmax"), made(1, "sigmoid")
    for kind in ALL:
        maps = kind().explain(several, images, [(0, 2), (1, 3)])
        assert np.isfinite(maps).all()
    layer = unit.target_layer
    (zero, negative), (one, positive) = (
        unit.features.activations_and_gradients(images, [index] * 2, layer) for index in (0, 1)
    )
    np.testing.assert_array_equal(zero, one)
    np.testing.assert_array_equal(negative, -positive)
    for kind in OF_GRADIENTS:
        expected = [kind().combine(zero, gradients)[0] for gradients in (negative, positive)]
        for index in (0, 1):
            found = kind().explain(unit, images, [index] * 2)
            np.testing.assert_array_equal(found, enlarge(expected[index], (24, 32)))


def test_resolved_parameters_name_the_default_layer(tiny):
    assert GradCam().resolved_on(tiny) == {"layer": "conv_b"}
    assert GradCam(layer="conv_a+conv_b").resolved_on(tiny) == {"layer": "conv_a+conv_b"}
