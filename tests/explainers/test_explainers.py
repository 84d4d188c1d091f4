"""Explainers: what they compute, on models small enough to know the answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from evalkit.core.errors import ConfigError, ModelError
from evalkit.core.randomness import generator
from evalkit.explainers.cam import Cam, GradCam
from evalkit.explainers.catalog import DEFAULT_EXPLAINERS, EXPLAINERS, FAMILIES, expand
from evalkit.explainers.controls import Center, Edges, Random, SmoothNoise, Uniform, image_digest
from evalkit.explainers.occlusion import Occlusion, corners, paint
from evalkit.explainers.tf_explain import TfExplainGradCam, TfExplainOcclusion
from evalkit.models.classifier import Classifier
from evalkit.models.inference.perturbation import MEAN_COLOR, blurred


@pytest.fixture(scope="module")
def linear():
    """Two classes; the logit of class 1 is a known weighting of the red channel."""
    weights = np.random.default_rng(3).normal(0, 0.002, (12, 12))
    kernel = np.zeros((12 * 12 * 3, 2), dtype=np.float32)
    kernel[0::3, 1] = weights.ravel()
    model = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.set_weights([kernel, np.zeros(2, dtype=np.float32)])
    return Classifier(model), weights


def test_gradcam_of_a_pooled_model_is_relu_of_cam(tiny, photos):
    classes = [0, 1, 2, 1]
    features = tiny.features.activations_and_gradients(photos, classes, "conv_b")[0]
    kernel = np.asarray(tiny.model.get_layer("predictions").kernel)[:, classes]
    by_hand = np.maximum(np.einsum("kb,bhwk->bhw", kernel, features), 0)
    maps = GradCam().explain(tiny, photos, classes)
    coarse = GradCam(layer="conv_b").explain(tiny, photos, classes)
    np.testing.assert_array_equal(maps, coarse)
    for one, small in zip(maps, by_hand, strict=True):
        expected = cv2.resize(small.astype(np.float64), (32, 32), interpolation=cv2.INTER_LINEAR)
        assert np.corrcoef(one.ravel(), expected.ravel())[0, 1] > 0.9999


def test_cam_is_the_class_weights_on_what_enters_the_pooling(tiny, photos):
    entering = keras.Model(tiny.model.inputs[0], tiny.model.get_layer("gap").input)(photos.astype("float32")).numpy()
    kernel = np.asarray(tiny.model.get_layer("predictions").kernel)[:, 2]
    expected = cv2.resize((entering[0] @ kernel).astype(np.float64), (32, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(Cam().explain(tiny, photos[:1], [2])[0], expected, rtol=1e-4, atol=1e-6)


def test_cam_and_gradcam_say_why_they_cannot(linear):
    with pytest.raises(ModelError, match="global average pooling"):
        Cam().check(linear[0])
    with pytest.raises(ModelError, match="no convolution"):
        GradCam().check(linear[0])


def test_corners_are_inside_and_spread_evenly():
    assert corners(224, 16, 16).tolist() == list(range(0, 224, 16))
    assert corners(224, 40, 20).tolist() == [0, 18, 37, 55, 74, 92, 110, 129, 147, 166, 184]
    assert corners(224, 224, 224).tolist() == [0]
    for side, patch, stride in [(224, 64, 64), (33, 7, 5), (10, 10, 1), (50, 3, 2)]:
        found = corners(side, patch, stride)
        assert found[0] == 0
        assert found[-1] == side - patch
        assert np.diff(found).max(initial=0) <= stride


def test_paint_averages_the_drops_that_cover_a_pixel():
    painted = paint(np.array([1.0, 3.0]), np.array([0]), np.array([0, 1]), 2, (2, 3))
    np.testing.assert_array_equal(painted, [[1, 2, 3], [1, 2, 3]])


@pytest.mark.parametrize("fill", ["black", "mean", "gray", "blur"])
def test_occlusion_equals_a_slow_loop_over_patches(linear, fill, rng):
    classifier, _ = linear
    photo = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    shown = {"black": 0.0, "gray": 127.5, "mean": np.array(MEAN_COLOR), "blur": blurred(photo)}[fill]
    clean = classifier.probabilities(photo[None])[0, 1]
    total, cover = np.zeros((12, 12)), np.zeros((12, 12))
    for row in (0, 2, 5, 7):
        for column in (0, 2, 5, 7):
            occluded = photo.astype(np.float64)
            window = np.s_[row : row + 5, column : column + 5]
            occluded[window] = np.broadcast_to(shown, photo.shape)[window]
            total[window] += clean - classifier.probabilities(occluded[None])[0, 1]
            cover[window] += 1
    found = Occlusion(patch_size=5, stride=3, fill=fill).explain(classifier, photo[None], [1])[0]
    np.testing.assert_allclose(found, total / cover, rtol=1e-5, atol=1e-6)


def test_occlusion_sees_a_drop_where_float32_sees_none(linear):
    classifier, weights = linear
    kernel, _ = classifier.model.get_weights()
    sure = keras.models.clone_model(classifier.model)
    sure.set_weights([kernel, np.array([0.0, 60.0], dtype=np.float32)])
    photo = np.full((1, 12, 12, 3), 200, dtype=np.uint8)
    found = Occlusion(patch_size=4).explain(Classifier(sure), photo, [1])[0]
    exact = np.array(
        [[weights[row : row + 4, column : column + 4].sum() * 200 for column in (0, 4, 8)] for row in (0, 4, 8)]
    )
    base = 60.0 + weights.sum() * 200
    expected = np.exp(-(base - exact)) - np.exp(-base)
    np.testing.assert_allclose(found[::4, ::4], expected, rtol=1e-3)
    assert np.unique(found).size == 9


def test_occlusion_stride_has_one_spelling_and_is_checked():
    assert Occlusion(patch_size=40, stride="half") == Occlusion(patch_size=40, stride=20)
    assert Occlusion(patch_size=40, stride=40).text == "occlusion(patch_size=40)"
    assert Occlusion(patch_size=40, stride="half").text == "occlusion(patch_size=40, stride=20)"
    with pytest.raises(ConfigError, match="stride=50 is not allowed; 1 to patch_size"):
        Occlusion(patch_size=40, stride=50)
    with pytest.raises(ConfigError, match="patch_size=0"):
        Occlusion(patch_size=0)


def test_costs_are_what_is_really_asked_of_the_model(tiny_model, photos):
    classifier = Classifier(tiny_model, batch_size=7)
    for text in ["gradcam", "cam", "occlusion(patch_size=9, stride=4)", "tf_explain.occlusion(patch_size=9)",
                 "tf_explain.gradcam", "uniform", "random", "smooth_noise", "center", "edges"]:  # fmt: skip
        explainer, before = EXPLAINERS.build(text), classifier.passes
        maps = explainer.explain(classifier, photos[:2], [0, 1])
        assert maps.shape == (2, 32, 32)
        assert classifier.passes - before == 2 * explainer.forward_passes((32, 32)), text


def test_tf_explain_occlusion_is_the_librarys_own_map(tiny, photos, capfd):
    from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity

    ours = TfExplainOcclusion(patch_size=10).explain(tiny, photos, [0, 1, 2, 0])
    assert capfd.readouterr() == ("", "")
    fed = photos.astype("float32")
    for index, class_index in enumerate([0, 1, 2, 0]):
        theirs = OcclusionSensitivity(batch_size=8).get_sensitivity_map(tiny.model, fed[index], class_index, 10)
        np.testing.assert_allclose(ours[index], theirs, rtol=1e-5, atol=1e-6)
    assert ours.dtype == np.float64


@pytest.mark.filterwarnings("ignore:[\\s\\S]*The structure of `inputs`")
def test_tf_explain_gradcam_is_the_librarys_own_map(tiny, photos, capfd, tmp_path):
    from tf_explain.core.grad_cam import GradCAM

    functional = keras.Model(tiny.model.inputs, tiny.model.layers[-1].output)
    ours = TfExplainGradCam().explain(tiny, photos, [0, 1, 2, 0])
    assert capfd.readouterr() == ("", "")
    for index, class_index in enumerate([0, 1, 2, 0]):
        outputs, gradients = GradCAM.get_gradients_and_filters(
            functional, photos[index][None].astype("float32"), "pool_b", class_index, use_guided_grads=True
        )
        coarse = GradCAM.generate_ponderated_output(outputs, gradients)[0].numpy().astype(np.float64)
        np.testing.assert_allclose(ours[index], cv2.resize(coarse, (32, 32)), atol=1e-7)
    tiny.model.save(tmp_path / "saved.keras")
    loaded = Classifier(keras.saving.load_model(tmp_path / "saved.keras"))
    np.testing.assert_allclose(TfExplainGradCam().explain(loaded, photos, [0, 1, 2, 0]), ours, atol=1e-7)
    assert TfExplainGradCam(layer="conv_b").explain(tiny, photos[:1], [0]).shape == (1, 32, 32)


def test_smooth_noise_is_wrapped_blurred_noise_scaled_to_one(photos):
    noise = generator(3, image_digest(photos[0]), "smooth noise").random((32, 32))
    # From the definition: a Gaussian of the frequencies, cut off at four sigmas in pixels, around the borders.
    across = np.exp(-0.5 * (np.arange(-8, 9) / 2.0) ** 2)
    across /= across.sum()
    blurred = sum(
        across[down + 8] * across[right + 8] * np.roll(noise, (down, right), (0, 1))
        for down in range(-8, 9)
        for right in range(-8, 9)
    )
    ours = SmoothNoise(sigma_px=2, seed=3).explain(None, photos[:1], [0])[0]
    np.testing.assert_allclose(ours, (blurred - blurred.min()) / np.ptp(blurred), atol=1e-9)


def test_smooth_noise_depends_on_content_and_seed_alone(photos):
    maps = SmoothNoise(sigma_px=4).explain(None, photos, [0] * 4)
    assert (maps.min(axis=(1, 2)) == 0).all()
    assert (maps.max(axis=(1, 2)) == 1).all()
    np.testing.assert_array_equal(
        SmoothNoise(sigma_px=4.0).explain(None, photos[2:3].astype("float32"), [1])[0], maps[2]
    )
    assert len({one.tobytes() for one in [*maps, *SmoothNoise(sigma_px=4, seed=1).explain(None, photos, [0] * 4)]}) == 8
    assert [one.text for one in expand("controls", [], 0)] == ["uniform", "random", "smooth_noise", "center", "edges"]
    assert expand("smooth_noise(sigma_px=8)", [], 4)[0].signature == "smooth_noise|v:1|sigma_px:8|seed:4"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2)])
def test_smooth_noise_of_tiny_photos_is_finite(size):
    maps = SmoothNoise().explain(None, np.zeros((2, *size, 3), np.uint8), [0, 0])
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.max() <= 1


@pytest.mark.parametrize("sigma", [0, -1, 1025, float("nan"), float("inf")])
def test_smooth_noise_refuses_other_sigmas(sigma):
    with pytest.raises(
        ConfigError, match=r"smooth_noise: sigma_px=.* is not allowed; more than 0 and at most 1024 pixels"
    ):
        SmoothNoise(sigma_px=sigma)


def test_controls_know_nothing_of_the_model(photos):
    uniform, center, edges = (one.explain(None, photos, [0] * 4) for one in (Uniform(), Center(), Edges()))
    assert np.unique(uniform).size == 1
    assert np.unravel_index(center[0].argmax(), (32, 32)) in [(15, 15), (15, 16), (16, 15), (16, 16)]
    np.testing.assert_allclose(center[0], center[0].T)
    np.testing.assert_allclose(center[0, 0, 0], np.exp(-2 * (15.5 / 8) ** 2 / 2))
    flat = np.full((1, 32, 32, 3), 90, dtype=np.uint8)
    flat[:, :, 16:] = 200
    found = Edges().explain(None, flat, [0])[0]
    assert found[:, 15:17].min() > 0
    assert max(found[:, :14].max(), found[:, 18:].max()) < 1e-12
    assert edges.shape == (4, 32, 32)


def test_random_maps_belong_to_photo_and_seed_not_to_order(photos):
    forwards, backwards = Random().explain(None, photos, [0] * 4), Random().explain(None, photos[::-1], [0] * 4)
    np.testing.assert_array_equal(forwards, backwards[::-1])
    assert not np.array_equal(forwards[0], forwards[1])
    assert not np.array_equal(forwards[0], Random(seed=1).explain(None, photos[:1], [0])[0])


def test_random_maps_are_alike_in_another_process(photos):
    code = (
        "import numpy as np; from evalkit.explainers.controls import Random;"
        "print(Random().explain(None, np.zeros((1, 4, 4, 3), np.uint8), [0]).sum())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(printed) == Random().explain(None, np.zeros((1, 4, 4, 3), np.uint8), [0]).sum()


def test_bare_occlusion_stands_for_every_patch_size():
    found = [
        one.text for one in expand("gradcam, occlusion, occlusion(patch_size=7), occlusion(stride=8)", [16, 24], 0)
    ]
    assert found == [
        "gradcam",
        "occlusion(patch_size=16)",
        "occlusion(patch_size=24)",
        "occlusion(patch_size=7)",
        "occlusion(patch_size=16, stride=8)",
        "occlusion(patch_size=24, stride=8)",
    ]


def expanded(specs, sizes, strides):
    """The texts that specs stand for, and what is said of those left out."""
    said = []
    return [one.text for one in expand(specs, sizes, 0, strides=strides, say=said.append)], said


def test_sizes_and_strides_are_a_grid():
    found, said = expanded("gradcam, occlusion(fill=blur)", [16, 24], ["patch", "half", 4])
    assert found == [
        "gradcam",
        "occlusion(patch_size=16, fill=blur)",
        "occlusion(patch_size=16, stride=8, fill=blur)",
        "occlusion(patch_size=16, stride=4, fill=blur)",
        "occlusion(patch_size=24, fill=blur)",
        "occlusion(patch_size=24, stride=12, fill=blur)",
        "occlusion(patch_size=24, stride=4, fill=blur)",
    ]
    assert said == []


def test_a_stride_larger_than_the_patch_is_left_out_and_said():
    found, said = expanded("occlusion", [16, 32, 24], [24, "half"])
    assert found == [
        "occlusion(patch_size=16, stride=8)",
        "occlusion(patch_size=32, stride=24)",
        "occlusion(patch_size=32, stride=16)",
        "occlusion(patch_size=24)",
        "occlusion(patch_size=24, stride=12)",
    ]
    assert said == ["left out: patch_size=16 with a stride of 24, which would leave pixels uncovered"]
    assert expanded("occlusion", [16], [24, "patch"])[0] == ["occlusion(patch_size=16)"]


def test_strides_larger_than_every_patch_are_refused():
    said = []
    with pytest.raises(ConfigError, match=r"--strides 40, 33: larger than every patch size \(16, 32\)"):
        expand("gradcam, occlusion", [16, 32], 0, strides=[40, 33], say=said.append)
    assert said == []
    assert expanded("gradcam, occlusion(patch_size=8)", [16], [40]) == (["gradcam", "occlusion(patch_size=8)"], [])


def test_strides_that_come_to_the_same_are_one():
    found, said = expanded("occlusion", [32, 16], ["half", 16, "patch"])
    assert found == [
        "occlusion(patch_size=32, stride=16)",
        "occlusion(patch_size=32)",
        "occlusion(patch_size=16, stride=8)",
        "occlusion(patch_size=16)",
    ]
    assert said == []
    with pytest.raises(ConfigError, match=r"occlusion\(patch_size=32, stride=16\) is listed twice"):
        expanded("occlusion, occlusion(stride=half)", [32], ["half"])


def test_occlusion_that_names_its_stride_has_no_other():
    found, _ = expanded("occlusion(stride=half), occlusion(patch_size=10), tf_explain.occlusion", [16, 24], [4, 40])
    assert found[:3] == [
        "occlusion(patch_size=16, stride=8)", "occlusion(patch_size=24, stride=12)", "occlusion(patch_size=10)",
    ]  # fmt: skip
    assert len(found) == 4
    with pytest.raises(ConfigError, match="stride=20 is not allowed; 1 to patch_size"):
        expanded("occlusion(stride=20)", [16], ["patch"])


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ("occulsion", "unknown explainer 'occulsion': did you mean 'occlusion'"),
        ("gradcam(layr=a)", "no parameter 'layr': did you mean 'layer'"),
        ("occlusion(patch_size=big)", "patch_size=big is not allowed; it takes a whole number"),
        ("occlusion(fill=pink)", "fill=pink is not allowed; it takes black or mean or gray or blur"),
        ("occlusion(patch_size=40", "parentheses do not match"),
        ("gradcam,gradcam", "gradcam is listed twice"),
        ("", "--explainers is empty"),
    ],
)
def test_bad_specs_are_named(specs, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        expand(specs, [16], 0)


def test_the_runs_seed_reaches_random_unless_it_names_its_own():
    found = expand("random, random(seed=9)", [], 4)
    assert [one.text for one in found] == ["random", "random(seed=9)"]
    assert [one.signature for one in found] == ["random|v:1|seed:4", "random|v:1|seed:9"]
    assert [one.text for one in expand(DEFAULT_EXPLAINERS, [40], 0)] == [
        "gradcam", "cam", "occlusion(patch_size=40)", "tf_explain.gradcam", "tf_explain.occlusion(patch_size=40)",
        "uniform", "random", "center", "edges",
    ]  # fmt: skip


def test_a_patch_larger_than_the_input_is_refused(tiny):
    with pytest.raises(ConfigError, match="patch_size=33 is larger than the model's input, 32 x 32"):
        Occlusion(patch_size=33).check(tiny)
    Occlusion(patch_size=32).check(tiny)


def test_every_explainer_has_an_entry_in_the_documentation():
    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "explainers.md").read_text(encoding="utf-8")
    headings = [line.removeprefix("### ").strip("`") for line in page.splitlines() if line.startswith("### ")]
    assert sorted(headings) == sorted(EXPLAINERS.names())
    families = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert families[:-1] == [*FAMILIES]


@pytest.mark.parametrize(
    ("whole", "decimal"),
    [
        ("rise(tolerance=0)", "rise(tolerance=0.0)"),
        ("tf_explain.smoothgrad(noise=1)", "tf_explain.smoothgrad"),
        ("smoothgrad(noise=25)", "smoothgrad"),
    ],
)
def test_whole_numbers_of_a_decimal_parameter_are_the_same_explainer(whole, decimal):
    first, second = EXPLAINERS.build(whole), EXPLAINERS.build(decimal)
    assert (first.text, first.signature) == (second.text, second.signature)


class Squared(GradCam):
    """A method of one's own that changes a built-in one's maps."""

    def explain(self, classifier, images, targets):
        return super().explain(classifier, images, targets) ** 2


class Halved(Squared):
    """The same by the method that also returns facts."""

    def explain_with_facts(self, classifier, images, targets):
        maps, facts = super().explain_with_facts(classifier, images, targets)
        return maps / 2, facts


def test_a_class_that_overrides_explain_is_heard_with_and_without_facts(tiny, photos):
    plain = GradCam().explain(tiny, photos, [0] * 4)
    for explainer, wanted in ((Squared(), plain**2), (Halved(), plain**2 / 2)):
        np.testing.assert_array_equal(explainer.explain(tiny, photos, [0] * 4), wanted)
        np.testing.assert_array_equal(explainer.explain_with_facts(tiny, photos, [0] * 4)[0], wanted)
