"""Max-sensitivity: values by hand, its twin, its noise, and what the engine makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import ClassVar

import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.explainers.base import Explainer
from evalkit.explainers.precomputed import precomputed_maps
from evalkit.metrics.case import Case
from evalkit.metrics.catalog import METRICS, find_criterion
from evalkit.metrics.stability import MaxSensitivity, relative_change
from evalkit.models.classifier import Classifier

from . import twins

SIZE = (9, 11)


@dataclass(frozen=True)
class Linear(Explainer):
    """The map is the sum over channels of weight times pixel; remembers the images that it saw."""

    name: ClassVar[str] = "linear"
    weights: ClassVar[np.ndarray] = np.random.default_rng(1).normal(size=(32, 32, 3))
    seen: ClassVar[list] = []

    def explain(self, classifier, images, targets):
        self.seen.extend(image.copy() for image in images)
        return (self.weights * images).sum(axis=3)

    def forward_passes(self, input_size):
        return 0


@dataclass(frozen=True)
class OfNoise(Linear):
    """One map for the photo, ``answer`` of that map for its noisy copies, which are floats."""

    name: ClassVar[str] = "of_noise"
    answer: ClassVar[object] = None

    def explain(self, classifier, images, targets):
        saliency = np.broadcast_to(np.arange(32.0) - 7, (len(images), 32, 32))
        return saliency if images.dtype == np.uint8 else type(self).answer(saliency)


def of_noise(answer):
    return type("OfNoise", (OfNoise,), {"answer": staticmethod(answer), "__module__": __name__})()


def case_of(pixels, seed=3, content=b"photo"):
    return Case("photo", pixels, (0,), np.array([0.7, 0.3]), 0.7, seed=seed, content=content)


def score(saliency_map, *noisy_maps):
    return MaxSensitivity(samples=len(noisy_maps)).score(saliency_map, case_of(np.zeros((2, 2, 3))), noisy_maps)


def test_values_by_hand():
    saliency_map = np.array([[3.0, 0.0], [0.0, 4.0]])  # of length 5
    near = np.array([[3.0, 0.0], [0.0, 1.0]])  # 3 away
    far = np.array([[3.0, -4.0], [0.0, 1.0]])  # sqrt(16 + 9) = 5 away
    assert score(saliency_map, near) == pytest.approx(3 / 5, abs=1e-15)
    assert score(saliency_map, near, far) == score(saliency_map, far, near) == pytest.approx(1.0, abs=1e-15)
    assert score(far, saliency_map) == pytest.approx(5 / np.sqrt(9 + 16 + 1), abs=1e-15)


def maps_of(rng):
    noise = rng.normal(size=SIZE)
    levels = rng.integers(-2, 4, SIZE).astype(float)
    return [
        noise,
        noise.astype(np.float32),
        np.exp(9 * rng.normal(size=SIZE)).astype(np.float32),
        levels,
        levels + rng.uniform(-2e-7, 2e-7, SIZE),
        np.maximum(noise, 0) * (rng.random(SIZE) < 0.2),
        np.full(SIZE, -2.0),
        np.zeros(SIZE),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_twin_agrees(seed):
    rng = np.random.default_rng(seed)
    for saliency_map in maps_of(rng):
        noisy_maps = maps_of(rng)
        found, expected = score(saliency_map, *noisy_maps), twins.max_sensitivity(saliency_map, noisy_maps)
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_extremes(rng):
    for saliency_map in maps_of(rng)[:-1]:
        assert score(saliency_map, saliency_map, saliency_map.copy()) == 0.0
        assert score(saliency_map, saliency_map, -saliency_map) == pytest.approx(2.0, abs=1e-12)
        assert score(saliency_map, 0 * saliency_map) == pytest.approx(1.0, abs=1e-12)
    assert score(np.full(SIZE, 5.0), np.full(SIZE, 5.0)) == 0.0
    zero = np.zeros(SIZE)
    assert np.isnan(score(zero, zero))
    assert np.isnan(score(zero, saliency_map))
    for bad in (np.nan, np.inf):
        assert np.isnan(score(np.ones(SIZE), np.ones(SIZE), np.full(SIZE, bad)))
        assert np.isnan(relative_change(np.ones(SIZE), np.full(SIZE, bad)))


def test_size_of_values_does_not_matter(rng):
    first, second = rng.normal(size=(2, *SIZE)).astype(np.float32)
    for scale in (1e-30, 1e30):
        scaled = relative_change(second * np.float32(scale), first * np.float32(scale))
        assert scaled == pytest.approx(relative_change(second, first), rel=1e-6)


@pytest.mark.parametrize("radius", [0.5, 5.1, 100.0])
def test_noise_is_uniform_on_both_sides(radius, rng):
    pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    pixels[:5], pixels[5:10] = 0, 255
    metric = MaxSensitivity(samples=40, radius=radius)
    requests = metric.requests(np.ones((20, 20)), case_of(pixels))
    noise = np.stack([request.pixels for request in requests]) - pixels.astype(np.float64)
    assert noise.shape == (40, 20, 20, 3)
    assert np.abs(noise).max() <= radius + 2e-5  # rounded to float32 on the scale of 0..255
    # Every value has noise of its own, values beyond 0..255 are kept: the distribution is the same at 0 and at 255.
    for part in (noise, noise[:, :5], noise[:, 5:10], noise[..., 1]):
        quantiles = np.quantile(part, [0.1, 0.25, 0.5, 0.75, 0.9])
        np.testing.assert_allclose(quantiles, radius * np.array([-0.8, -0.5, 0, 0.5, 0.8]), atol=0.05 * radius)
    flat = noise.reshape(40, -1)
    channels = np.corrcoef(noise.reshape(-1, 3).T)
    assert np.abs(channels - np.eye(3)).max() < 0.05
    assert np.abs(np.corrcoef(flat) - np.eye(40)).max() < 0.2
    assert {(request.target, request.kind) for request in requests} == {(None, "explain")}


def test_default_is_ten_images_within_5_1():
    assert MaxSensitivity().parameters() == {"samples": 10, "radius": 5.1}
    assert MaxSensitivity().cost().maps == 10
    assert pytest.approx(0.02 * 255) == MaxSensitivity().radius


def test_noise_depends_on_run_seed_and_image_content_alone(rng):
    pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    metric = MaxSensitivity(samples=4)

    def noise(case, metric=metric):
        return np.stack([one.pixels for one in metric.requests(np.ones((8, 8)), case)])

    first = noise(case_of(pixels))
    other_facts = replace(case_of(pixels), image_id="other", target=(1,), clean_score=0.1, misclassified=True)
    np.testing.assert_array_equal(noise(other_facts), first)
    np.testing.assert_array_equal(noise(case_of(pixels.astype(np.float32))), first)
    np.testing.assert_array_equal(noise(case_of(pixels), MaxSensitivity(samples=9))[:4], first)
    assert (noise(case_of(pixels, seed=4)) != first).mean() > 0.99
    assert (noise(case_of(pixels, content=b"other")) != first).mean() > 0.99


def test_an_explainer_cannot_change_the_noisy_images():
    request = MaxSensitivity(samples=1).requests(np.ones((8, 8)), case_of(np.zeros((8, 8, 3), np.uint8)))[0]
    with pytest.raises(ValueError, match="read-only"):
        request.pixels += 1


def test_linear_explainer_by_hand(score_photos, photos):
    Linear.seen.clear()
    found = score_photos([Linear()], "max_sensitivity", pixels=photos[:1], seed=6)[0]["Linear", "max_sensitivity"]
    clean, *noisy = Linear.seen
    np.testing.assert_array_equal(clean, photos[0])
    assert len(noisy) == 10
    # phi(x + d) - phi(x) = w * d, whatever x is.
    noise = [image - photos[0].astype(np.float64) for image in noisy]
    changes = [np.sqrt(((Linear.weights * one).sum(axis=2) ** 2).sum()) for one in noise]
    size = np.sqrt(((Linear.weights * photos[0]).sum(axis=2) ** 2).sum())
    assert found == pytest.approx(max(changes) / size, rel=1e-6)
    # A noise of 5.1 * U(-1, 1) has a standard deviation of 5.1 / sqrt(3), the photo's values have a mean square.
    expected = 5.1 / np.sqrt(3) / np.sqrt((photos[0].astype(float) ** 2).mean())
    assert found == pytest.approx(expected, rel=0.1)


def test_all_explainers_get_the_same_noisy_images(score_photos, photos):
    other = type("Other", (Linear,), {"name": "other", "seen": []})()
    Linear.seen.clear()
    cells = score_photos([Linear(), other, "gradcam"], "max_sensitivity, deletion", pixels=photos[:1])[0]
    np.testing.assert_array_equal(Linear.seen, other.seen)
    assert cells["Linear", "max_sensitivity"] == cells["Other", "max_sensitivity"]


def test_score_depends_on_seed_and_content_alone(score_photos, tiny_model, photos):
    explainers, key = "gradcam, edges, random(seed=5)", "max_sensitivity"
    plain = score_photos(explainers, key)

    def same(found):
        for before, after in zip(plain, found, strict=True):
            for explainer in ("gradcam", "edges", "random(seed=5)"):
                assert after[explainer, key] == before[explainer, key]

    order = [2, 0, 3, 1]
    turned = score_photos(explainers, key, pixels=photos[order], ids=[f"photo {one}" for one in order])
    same([turned[order.index(number)] for number in range(4)])
    same(score_photos(explainers, "deletion, mprt, max_sensitivity, random_logit, max_sensitivity(samples=3)"))
    same(score_photos(f"center, occlusion(patch_size=8), {explainers}", key))
    for batch_size in (1, 3):
        same(score_photos(explainers, key, classifier=Classifier(tiny_model, batch_size=batch_size)))
    for before, after in zip(plain, score_photos(explainers, key, seed=1), strict=True):
        assert all(before[name, key] != after[name, key] for name in ("gradcam", "edges", "random(seed=5)"))
    assert len({cells["edges", key] for cells in plain}) == 4


def test_batch_size_of_occlusion_moves_the_last_digits_at_most(score_photos, tiny_model, photos):
    found = [
        score_photos(
            "occlusion(patch_size=8)",
            "max_sensitivity(samples=3)",
            pixels=photos[:1],
            classifier=Classifier(tiny_model, batch_size=batch_size),
        )[0].popitem()[1]
        for batch_size in (1, 5, 64)
    ]
    assert found == pytest.approx([found[0]] * 3, rel=1e-3)


def test_controls(score_photos):
    for cells in score_photos("uniform, center, random", "max_sensitivity"):
        assert cells["uniform", "max_sensitivity"] == cells["center", "max_sensitivity"] == 0.0
        # Two maps of independent noise U(0, 1): mean square of the difference 1/6, of a map 1/3.
        assert cells["random", "max_sensitivity"] == pytest.approx(np.sqrt(0.5), abs=0.05)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda saliency: saliency, 0.0),
        (lambda saliency: -saliency, 2.0),
        (lambda saliency: 0 * saliency, 1.0),
        (lambda saliency: saliency * np.nan, "the map is zero everywhere, or another one is not finite"),
    ],
)
def test_extremes_by_the_engine(answer, expected, score_photos, photos):
    found = score_photos([of_noise(answer)], "max_sensitivity", pixels=photos[:1])[0]["OfNoise", "max_sensitivity"]
    assert found == (expected if isinstance(expected, str) else pytest.approx(expected, abs=1e-6))


def test_explainer_that_fails_on_noise_costs_one_cell(run_photos, photos):
    def fail(saliency):
        raise RuntimeError("no luck")

    outcome = run_photos([of_noise(fail), "center"], "max_sensitivity, sparseness", pixels=photos[:1])[0]
    failed = [(cell.metric, cell.reason) for cell in outcome.cells if cell.failed]
    assert failed == [("max_sensitivity", f"{__name__}:OfNoise failed: RuntimeError: no luck")]


def test_zero_map_is_not_scored(run_photos, photos):
    zero = type("Zero", (Linear,), {"name": "zero", "weights": np.zeros((32, 32, 3))})()
    cell = run_photos([zero], "max_sensitivity", pixels=photos[:1])[0].cells[0]
    assert (cell.value, cell.failed) == (None, False)
    assert cell.reason == MaxSensitivity.spec.nan_reason


def test_passes_are_counted_as_they_are(run_photos, photos, counting):
    for explainer, forward, backward in (("gradcam", 1, 1), ("edges", 0, 0)):
        for count in counting.counts.values():
            count.assign(0)
        outcome = run_photos(explainer, "max_sensitivity", classifier=counting.classifier, pixels=photos[:1])[0]
        # One clean pass, the map, ten more.
        assert outcome.forward_passes == counting.counts["forward"].numpy() == 1 + 11 * forward
        assert outcome.backward_passes == counting.counts["backward"].numpy() == 11 * backward


def test_equal_requests_are_explained_once(run_photos, photos, counting):
    metrics = "max_sensitivity(samples=4), max_sensitivity, max_sensitivity(samples=7)"
    outcome = run_photos("gradcam", metrics, classifier=counting.classifier, pixels=photos[:1])[0]
    assert outcome.forward_passes == counting.counts["forward"].numpy() == 1 + 1 + 10
    assert outcome.backward_passes == counting.counts["backward"].numpy() == 1 + 10
    values = [cell.value for cell in outcome.cells]
    assert values[0] <= values[2] <= values[1]  # the largest of the first 4, 7 and 10 images
    other = run_photos(
        "gradcam", "max_sensitivity, max_sensitivity(radius=6.0)", classifier=counting.classifier, pixels=photos[:1]
    )
    assert other[0].forward_passes == 1 + 1 + 20


def test_maps_from_files_are_not_scored(run_photos, photos, tmp_path):
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "photo.npy", np.arange(32 * 32, dtype=np.float32).reshape(32, 32))
    explainers = precomputed_maps([tmp_path / "mine"], ["photo"])
    metrics = "max_sensitivity, random_logit, mprt, sparseness"
    cells = run_photos(explainers, metrics, pixels=photos[:1], ids=["photo"])[0].cells
    assert not any(cell.failed for cell in cells)
    sentence = "maps(mine) contains the maps of named photos; it cannot explain other images"
    assert [cell.reason for cell in cells] == [sentence, sentence, sentence, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_sensitivity(samples=0)", "max_sensitivity: samples=0 is not allowed; 1 to 100"),
        ("max_sensitivity(samples=101)", "max_sensitivity: samples=101 is not allowed; 1 to 100"),
        ("max_sensitivity(radius=0.0)", "max_sensitivity: radius=0.0 is not allowed; above 0, at most 255"),
        ("max_sensitivity(radius=-5.1)", "max_sensitivity: radius=-5.1 is not allowed; above 0, at most 255"),
        ("max_sensitivity(radius=256.0)", "max_sensitivity: radius=256.0 is not allowed; above 0, at most 255"),
    ],
)
def test_parameters_out_of_range_are_refused(text, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(")", r"\)")):
        METRICS.build(text)


@pytest.mark.parametrize("name", ["max_sensitivity", "random_logit", "mprt"])
def test_descriptive_metrics_decide_nothing(name):
    with pytest.raises(ConfigError, match=f"--criterion '{name}' describes maps and has no better end"):
        find_criterion(name, [METRICS.build("deletion"), METRICS.build(name)])


def test_noise_is_drawn_by_the_digest_of_the_fitted_pixels(score_photos, photos):
    Linear.seen.clear()
    score_photos([Linear()], "max_sensitivity(samples=2)", pixels=photos[:1], seed=9)
    case = case_of(photos[0], seed=9, content=sha256(photos[0].tobytes()).digest())
    expected = [one.pixels for one in MaxSensitivity(samples=2).requests(np.ones((32, 32)), case)]
    np.testing.assert_array_equal(Linear.seen[1:], expected)
