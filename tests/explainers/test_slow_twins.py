"""Every explainer beside its definition, computed slowly and without evalkit (slow_twins.py).

Explainers that draw random numbers are compared for the numbers that they drew: what the model is given is recorded.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalkit.explainers.catalog import EXPLAINERS
from evalkit.models.classifier import Classifier
from tests.closeness import require_equal_gradients

from . import networks as written
from . import slow_twins as twins

# (network, layer, target): a target of several outputs is one class that the model splits.
CASES = [
    ("chain", "conv_b", 0),
    ("chain", "conv_c", 2),
    ("chain", "conv_b", (0, 2)),
    ("residual", "branch", 1),
    ("residual", "stem", 0),
    ("nested", "conv", 2),
    ("one_unit", "conv_b", 1),
    ("one_unit", "conv_a", 0),
]
NETWORKS = {
    "chain": written.chain,
    "residual": written.residual,
    "nested": written.nested,
    "one_unit": written.one_unit,
}
CASE = pytest.mark.parametrize(("name", "layer", "target"), CASES)
TARGETED = pytest.mark.parametrize(
    ("name", "target"),
    [("chain", 1), ("chain", (0, 2)), ("residual", 0), ("nested", 1), ("one_unit", 0), ("one_unit", 1)],
)
SPEC_LAYERS = {"nested": "backbone/conv"}
CAMS = ["gradcam", "hirescam", "layercam", "gradcam_plus_plus", "xgradcam", "eigencam", "scorecam", "ablationcam"]
REDUCE = pytest.mark.parametrize("reduce", ["abs_max", "abs_sum", "sum"])


@pytest.fixture(scope="module")
def networks():
    return {name: make() for name, make in NETWORKS.items()}


@pytest.fixture(scope="module")
def classifiers(networks):
    return {name: Classifier(network.model, batch_size=7) for name, network in networks.items()}


@pytest.fixture
def classifier_of(networks):
    """A new classifier, whose parts a test may replace."""
    return lambda name: Classifier(networks[name].model, batch_size=7)


def photo(network, seed=8):
    """A photo with structure: smooth colors, an edge and a little noise, uint8."""
    rng = np.random.default_rng(seed)
    height, width = network.input_size
    rows, columns = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    color = 120 + 90 * np.sin(5 * rows[..., None] + rng.uniform(0, 6, 3)) * np.cos(4 * columns[..., None])
    color[height // 4 : height // 2, width // 3 :] += rng.uniform(-90, 90, 3)
    return np.clip(color + rng.normal(0, 12, color.shape), 0, 255).astype(np.uint8)


def explained(spec, classifier, image, target):
    explainer = EXPLAINERS.build(spec)
    explainer.check(classifier)
    return explainer.explain(classifier, image[None], [target])[0]


def assert_equal_maps(found, expected, tolerance=1e-5):
    """Compare within a share of the largest value: networks run in float32 there and in float64 here."""
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


class Recorder:
    """Keeps what a part of a classifier is given."""

    def __init__(self, part):
        self.part, self.images, self.weights, self.substrates = part, [], [], []

    def __call__(self, images, targets, **options):
        self.images.extend(np.asarray(images, dtype=np.float64))
        return self.part(images, targets, **options)

    def at_each(self, count, make, target, use):
        self.images.extend(np.asarray(make(0, count), dtype=np.float64))
        return self.part.at_each(count, make, target, use)

    def __getattr__(self, name):
        return getattr(self.part, name)

    def logits(self, image, substrate, count, make):
        self.substrates.append(substrate)
        self.weights.extend(np.asarray(make(0, count), dtype=np.float64))
        return self.part.logits(image, substrate, count, make)


def recorded(classifier, part):
    recorder = Recorder(getattr(classifier, part))
    classifier.__dict__[part] = recorder
    return recorder


# The CAM family.


@CASE
@pytest.mark.parametrize("explainer", CAMS)
def test_cams_equal_their_definition(explainer, name, layer, target, networks, classifiers):
    network = networks[name]
    image = photo(network)
    spec = f"{explainer}(layer={SPEC_LAYERS.get(name, layer)})"
    found = explained(spec, classifiers[name], image, target)
    # Softmax weights and drops are differences of float32 logits.
    tolerance = 1e-4 if explainer in ("scorecam", "ablationcam") else 1e-5
    assert_equal_maps(found, getattr(twins, explainer)(network, image, target, layer), tolerance)


@pytest.mark.parametrize("explainer", ["gradcam", "hirescam", "layercam", "gradcam_plus_plus", "xgradcam", "eigencam"])
@pytest.mark.parametrize(("name", "layers"), [("chain", ("conv_b", "conv_c")), ("residual", ("stem", "branch"))])
def test_fused_layers_equal_their_definition(explainer, name, layers, networks, classifiers):
    network = networks[name]
    image = photo(network)
    found = explained(f"{explainer}(layer={'+'.join(layers)})", classifiers[name], image, 1)
    alone = [getattr(twins, explainer)(network, image, 1, layer) for layer in layers]
    assert_equal_maps(found, twins.fused(alone))


def test_scorecam_blends_by_enlarged_and_scaled_channels(networks, classifier_of):
    network, classifier = networks["chain"], classifier_of("chain")
    image, recorder = photo(networks["chain"]), recorded(classifier, "blended")
    explained("scorecam(layer=conv_c)", classifier, image, 0)
    masks, _ = twins.scorecam_masks(network, image, "conv_c")
    assert_each_is_there(masks, recorder.weights)
    for substrate in recorder.substrates:
        np.testing.assert_allclose(np.broadcast_to(substrate, image.shape)[0, 0], twins.MEAN_COLOR, rtol=1e-6)


def assert_each_is_there(masks, given):
    for mask in masks:
        assert min(np.abs(mask - weight).max() for weight in given) < 1e-5


# The gradient family.


@TARGETED
@REDUCE
def test_gradient_equals_its_definition(name, target, reduce, networks, classifiers):
    network = networks[name]
    image = photo(network)
    found = explained(f"gradient(reduce={reduce})", classifiers[name], image, target)
    require_equal_gradients(found, twins.gradient(network, image, target, reduce))


@TARGETED
@pytest.mark.parametrize(
    ("baseline", "color"), [("mean", twins.MEAN_COLOR), ("black", 0.0), ("white", 255.0), ("gray", 127.5)]
)
def test_gradient_x_input_equals_its_definition(name, target, baseline, color, networks, classifiers):
    network = networks[name]
    image = photo(network)
    found = explained(f"gradient_x_input(baseline={baseline})", classifiers[name], image, target)
    require_equal_gradients(found, twins.gradient_x_input(network, image, target, "sum", color))


@TARGETED
@REDUCE
def test_guided_backprop_equals_its_definition(name, target, reduce, networks, classifiers):
    network = networks[name]
    image = photo(network)
    found = explained(f"guided_backprop(reduce={reduce})", classifiers[name], image, target)
    require_equal_gradients(found, twins.guided_backprop(network, image, target, reduce))


@pytest.mark.parametrize("target", [0, 1])
def test_guided_backprop_equals_a_pass_written_by_hand(target, networks, classifiers):
    network = networks["one_unit"]
    image = photo(network)
    expected = twins.guided_backprop_by_hand(network, image, target)
    found = explained("guided_backprop(reduce=sum)", classifiers["one_unit"], image, target)
    require_equal_gradients(found, expected.sum(axis=-1))


@TARGETED
@REDUCE
def test_smoothgrad_averages_the_gradients_of_its_noisy_images(name, target, reduce, networks, classifier_of):
    network, classifier = networks[name], classifier_of(name)
    image, recorder = photo(network), recorded(classifier, "input_gradients")
    found = explained(f"smoothgrad(samples=9, noise=30, reduce={reduce})", classifier, image, target)
    assert len(recorder.images) == 9
    expected = twins.mean_gradient(network, recorder.images, target)
    require_equal_gradients(found, twins.reduced(expected, reduce))


def test_smoothgrad_adds_normal_noise_in_0_to_255_without_clipping(networks, classifier_of):
    classifier = classifier_of("chain")
    image, recorder = photo(networks["chain"]), recorded(classifier, "input_gradients")
    explained("smoothgrad(samples=40, noise=60)", classifier, image, 0)
    noise = np.array(recorder.images) - image
    n = noise.size
    assert abs(noise.mean()) < 4 * 60 / math.sqrt(n)
    assert abs(noise.std() - 60) < 4 * 60 / math.sqrt(2 * n)
    assert abs((noise**4).mean() / noise.var() ** 2 - 3) < 0.1  # a normal distribution's
    assert np.array(recorder.images).min() < 0
    assert np.array(recorder.images).max() > 255
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 4 / math.sqrt(noise[0].size)


def alphas_of(images, image, baseline):
    """The alphas of images on the path from a baseline to the image, which they must lie on; sorted."""
    along = np.float64(image) - baseline
    alphas = np.array([((one - baseline) * along).sum() / (along**2).sum() for one in images])
    np.testing.assert_allclose(images, twins.path_images(image, baseline, alphas), atol=1e-3)
    return np.sort(alphas)


@TARGETED
@pytest.mark.parametrize(("baseline", "color"), [("mean", twins.MEAN_COLOR), ("black", np.zeros(3))])
def test_integrated_gradients_are_the_trapezoidal_rule_on_the_path(
    name, target, baseline, color, networks, classifier_of
):
    network, classifier = networks[name], classifier_of(name)
    image, recorder = photo(network), recorded(classifier, "input_gradients")
    found = explained(f"integrated_gradients(steps=12, baseline={baseline})", classifier, image, target)
    points = np.linspace(0, 1, 12)
    np.testing.assert_allclose(alphas_of(recorder.images, image, color), points, rtol=1e-5, atol=1e-5)
    trapezoid = np.array([0.5, *np.ones(10), 0.5]) / 11
    expected = twins.integrated_gradients(network, image, target, color, points, trapezoid)
    require_equal_gradients(found, expected.sum(axis=-1))


@pytest.mark.slow
def test_many_steps_reach_the_integral_itself(networks, classifiers):
    network = networks["chain"]
    image = photo(network)
    found = explained("integrated_gradients(steps=128)", classifiers["chain"], image, 1)
    fine = (np.arange(150) + 0.5) / 150
    expected = twins.integrated_gradients(network, image, 1, twins.MEAN_COLOR, fine, np.full(150, 1 / 150))
    assert_equal_maps(found, expected.sum(axis=-1), 0.05)  # two rules for a gradient that jumps along the path
    logits = network.logits([image, np.broadcast_to(twins.MEAN_COLOR, image.shape)], 1)
    assert found.sum() == pytest.approx(logits[0] - logits[1], rel=0.01)


def test_integrated_gradients_keep_the_residual_of_their_sum(networks, classifiers):
    network, image = networks["chain"], photo(networks["chain"])
    explainer = EXPLAINERS.build("integrated_gradients(steps=5, reduce=abs_max)")
    _, facts = explainer.explain_with_facts(classifiers["chain"], image[None], [1])
    signed = explained("integrated_gradients(steps=5)", classifiers["chain"], image, 1)
    logits = network.logits([image, np.broadcast_to(twins.MEAN_COLOR, image.shape)], 1)
    between = logits[0] - logits[1]
    assert facts[0].values["residual"] == pytest.approx(abs(signed.sum() - between) / abs(between), abs=1e-4)


@TARGETED
def test_expected_gradients_average_over_their_references_and_alphas(name, target, networks, classifier_of):
    network = networks[name]
    references = np.stack([photo(network, seed) for seed in (21, 22, 23)])
    classifier = classifier_of(name).with_references(references)
    image, recorder = photo(network), recorded(classifier, "input_gradients")
    found = explained("expected_gradients(samples=12)", classifier, image, target)
    drawn = [on_a_path(one, image, references) for one in recorder.images]
    used, alphas = zip(*drawn, strict=True)
    assert sorted(np.bincount(used, minlength=3)) == [4, 4, 4]  # cyclic: each reference as often
    assert np.floor(np.sort(alphas) * 12).tolist() == list(range(12))  # stratified: one in each twelfth
    expected = twins.expected_gradients(network, image, target, references[list(used)], alphas)
    require_equal_gradients(found, expected.sum(axis=-1))


def on_a_path(one, image, references):
    """The reference from whose path to the image this is, and its alpha there."""
    distances = []
    for index, reference in enumerate(np.float64(references)):
        along = image - reference
        alpha = ((one - reference) * along).sum() / (along**2).sum()
        distances.append((np.abs(one - reference - alpha * along).max(), index, alpha))
    distance, index, alpha = min(distances)
    assert distance < 1e-3
    return index, alpha


# The mask family.


@TARGETED
def test_rise_equals_its_definition_for_its_masks(name, target, networks, classifier_of):
    network, classifier = networks[name], classifier_of(name)
    image, recorder = photo(network), recorded(classifier, "blended")
    found = explained("rise(masks=60, grid=3, probability=0.4, tolerance=0)", classifier, image, target)
    assert len(recorder.weights) == 60
    assert_equal_maps(found, twins.rise(network, image, target, np.array(recorder.weights), 0.4))
    for substrate in recorder.substrates:
        np.testing.assert_allclose(np.broadcast_to(substrate, image.shape)[0, 0], twins.MEAN_COLOR, rtol=1e-6)


def test_rise_draws_only_masks_of_the_definition(networks, classifier_of):
    classifier = classifier_of("one_unit")
    image, recorder = photo(networks["one_unit"]), recorded(classifier, "blended")
    explained("rise(masks=40, grid=2, tolerance=0)", classifier, image, 1)
    every = np.array(list(twins.rise_masks(image.shape[:2], 2)))
    for mask in recorder.weights:
        assert np.abs(every - mask).max(axis=(1, 2)).min() < 1e-5


@pytest.mark.parametrize(("name", "target"), [("chain", 2), ("one_unit", 1)])
def test_rise_is_within_sampling_error_of_the_exact_expectation(name, target, networks, classifiers):
    """All 16 patterns of a 2 x 2 grid under all shifts, weighted equally at probability 0.5."""
    network = networks[name]
    image = photo(network)
    every = np.array(list(twins.rise_masks(image.shape[:2], 2)))
    scores = network.scores([twins.blend(image, twins.MEAN_COLOR, mask) for mask in every], target)
    terms = scores[:, None, None] * every / 0.5
    exact, error = terms.mean(axis=0), terms.std(axis=0) / math.sqrt(4000)
    found = explained("rise(masks=4000, grid=2, tolerance=0)", classifiers[name], image, target)
    assert np.abs((found - exact) / error).max() < 5


def segments_and_coalitions(weights):
    """The segments that no mask divides, (H, W), and which of them each mask keeps, (N, M)."""
    weights = np.array(weights)
    np.testing.assert_array_equal(weights, weights.round())
    columns, labels = np.unique(weights.reshape(len(weights), -1), axis=1, return_inverse=True)
    return labels.reshape(weights.shape[1:]), columns


def test_lime_is_the_weighted_ridge_of_its_coalitions(networks, classifier_of):
    network, classifier = networks["chain"], classifier_of("chain")
    image, recorder = photo(network), recorded(classifier, "blended")
    found = explained("lime(samples=200, segments=9)", classifier, image, 1)
    labels, coalitions = segments_and_coalitions(recorder.weights)
    scores = network.scores([twins.blend(image, twins.MEAN_COLOR, mask) for mask in recorder.weights], 1)
    assert_equal_maps(found, twins.lime(coalitions, scores)[labels], 1e-4)


@pytest.mark.parametrize(("name", "target"), [("chain", 1), ("residual", 2), ("one_unit", 0)])
def test_kernel_shap_of_few_segments_is_shapleys_value(name, target, networks, classifier_of):
    network, classifier = networks[name], classifier_of(name)
    image, recorder = photo(network), recorded(classifier, "blended")
    found = explained("kernel_shap(samples=600, segments=6)", classifier, image, target)
    labels, _ = segments_and_coalitions(recorder.weights)
    players = labels.max() + 1
    assert 2 <= players <= 9

    def value(kept):
        mask = np.array(kept, dtype=np.float64)[labels]
        return network.scores([twins.blend(image, twins.MEAN_COLOR, mask)], target)[0]

    expected = twins.shapley(value, players)
    assert_equal_maps(found, expected[labels], 1e-4)
    assert expected.sum() == pytest.approx(value((1,) * players) - value((0,) * players))


def test_kernel_shap_of_sampled_coalitions_keeps_the_sum(networks, classifier_of):
    network, classifier = networks["chain"], classifier_of("chain")
    image, recorder = photo(network), recorded(classifier, "blended")
    found = explained("kernel_shap(samples=300, segments=16)", classifier, image, 1)
    labels, coalitions = segments_and_coalitions(recorder.weights)
    players = coalitions.shape[1]
    assert 2**players - 2 > 300
    total = sum(found[labels == player][0] for player in range(players))
    both = [image, np.broadcast_to(twins.MEAN_COLOR, image.shape)]
    clean, empty = network.scores(both, 1)
    assert total == pytest.approx(clean - empty, abs=1e-6)
