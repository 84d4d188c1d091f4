"""RISE, LIME and KernelSHAP: values worked by hand, the definitions written slowly, and models of every kind."""

from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest
from skimage.transform import resize

from evalkit.core.errors import ConfigError, ModelError, NotScored
from evalkit.core.randomness import generator
from evalkit.explainers.base import Passes
from evalkit.explainers.controls import image_digest
from evalkit.explainers.rise import BLOCK, Masks, Rise
from evalkit.explainers.shapley import coalitions, is_exhaustive, largest_number, shapley_fit
from evalkit.explainers.superpixels import KernelShap, Lime, ridge, superpixels
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier
from evalkit.models.heads import Head

MEAN = (100.0, 120.0, 140.0)


def box(score, size=(8, 8), channels=3, **options):
    """A classifier of two classes, of which class 1 has the probability that a function gives each image."""

    def probabilities(images):
        p = np.asarray(score(images.astype(np.float64)))
        return np.stack([1 - p, p], axis=1)

    options = {"mean_color": MEAN[:channels] if channels <= 3 else (100.0,) * channels, "batch_size": 32, **options}
    return Classifier(
        BlackBox(probabilities, size, channels), head=Head("probabilities", 2, from_logits=False), **options
    )


def brightness(images):
    return images.mean(axis=(1, 2, 3)) / 255


def quadrants(images):
    """Mean over each quadrant, (N, 4), of 0..1."""
    height, width = images.shape[1] // 2, images.shape[2] // 2
    parts = [images[:, rows, columns] for rows in (slice(height), slice(height, None)) for columns in
             (slice(width), slice(width, None))]  # fmt: skip
    return np.stack([part.mean(axis=(1, 2, 3)) / 255 for part in parts], axis=1)


def four_colors():
    """32 x 32 pixels; each quadrant is a superpixel."""
    photo = np.zeros((32, 32, 3), dtype=np.uint8)
    photo[:16, :16], photo[:16, 16:], photo[16:, :16], photo[16:, 16:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return photo


# RISE


def test_masks_worked_by_hand():
    masks = Masks((4, 4), 2)  # cells of 2 px, enlarged to 6 px: 3 px a value
    grid = np.array([[[True, False], [False, False]]] * 2)
    found = masks.make(grid, np.array([[0, 0], [1, 1]]))
    ramp = np.array([2, 3, 2, 1, 0, 1]) / 3  # beyond the outer centers the values are mirrored
    np.testing.assert_allclose(found[0], np.outer(ramp[:4], ramp[:4]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], np.outer(ramp[1:5], ramp[1:5]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "grid"), [((8, 8), 2), ((10, 17), 3), ((24, 24), 7), ((5, 5), 5)])
def test_masks_are_those_of_rises_code(rng, size, grid):
    masks = Masks(size, grid)
    grids, shifts = masks.draw(rng, 30, 0.3)
    cells = [math.ceil(side / grid) for side in size]
    assert shifts.min() >= 0
    assert (shifts < cells).all()
    for mask, values, (down, across) in zip(masks.make(grids, shifts), grids, shifts, strict=True):
        large = resize(values.astype(float), [(grid + 1) * cell for cell in cells], order=1, mode="reflect",
                       anti_aliasing=False)  # fmt: skip
        np.testing.assert_allclose(mask, large[down : down + size[0], across : across + size[1]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
def test_rise_written_slowly(rng, size):
    photo = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    classifier = box(lambda images: images[:, 2, 3].mean(axis=1) / 255, size)
    explainer = Rise(masks=300, grid=3, probability=0.4, tolerance=0, seed=5)
    found, (facts,) = explainer.explain_with_facts(classifier, photo[None], [1])
    masks, total, drawn = Masks(size, 3), np.zeros(size), 0
    for block in range(2):
        rng = generator(5, image_digest(photo), "rise", block)
        for mask in masks.make(*masks.draw(rng, BLOCK, 0.4))[: 300 - drawn].astype(np.float64):
            seen = np.array(MEAN) + (photo - np.array(MEAN)) * mask[..., None]
            total += seen[2, 3].mean() / 255 * mask
            drawn += 1
    np.testing.assert_allclose(found[0], total / (300 * 0.4), rtol=1e-5, atol=1e-5)
    assert facts.passes == Passes(300)
    assert facts.values["masks"] == 300


def test_rise_estimates_the_expectation_over_all_masks():
    """On a 2 x 2 grid all 16 masks at all 4 shifts can be listed, each equally likely."""
    photo = np.random.default_rng(3).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    classifier = box(lambda images: 0.1 + 0.8 * quadrants(images)[:, 0] * quadrants(images)[:, 3], (4, 4))
    masks = Masks((4, 4), 2)
    every = [*product(product([False, True], repeat=4), range(2), range(2))]
    listed = masks.make(
        np.array([grid for grid, *_ in every]).reshape(-1, 2, 2), np.array([shift for _, *shift in every])
    ).astype(np.float64)
    blends = np.array(MEAN) + (photo - np.array(MEAN)) * listed[..., None]
    weighted = classifier.probabilities(blends)[:, 1, None, None] * listed / 0.5
    count = 20000
    found = Rise(masks=count, grid=2, tolerance=0).explain(classifier, photo[None], [1])[0]
    error = weighted.std(axis=0) / math.sqrt(count)
    assert (np.abs(found - weighted.mean(axis=0)) < 4.5 * error).all()
    assert error.max() < 0.01 * found.max()


def test_the_first_masks_are_those_of_a_smaller_number(rng):
    photo, seen = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), []

    def recorded(images):
        seen.extend(images)
        return brightness(images)

    classifier, images = box(recorded), {}
    for count in (300, 500, 1000):
        seen.clear()
        Rise(masks=count, tolerance=0).explain(classifier, photo[None], [1])
        images[count] = np.array(seen)
        assert len(seen) == count
    np.testing.assert_array_equal(images[300], images[1000][:300])
    np.testing.assert_array_equal(images[500], images[1000][:500])
    assert len(np.unique(images[1000], axis=0)) > 900


def test_masks_end_when_the_ranks_of_both_halves_agree():
    photos = np.full((2, 16, 16, 3), 255, dtype=np.uint8)
    photos[1] -= 20
    ramp = np.outer(np.linspace(0, 1, 16), np.linspace(0.3, 1, 16)) ** 2
    weights = ramp / ramp.sum() / 255

    def score(images):  # every pixel counts, each row and column more than the one before
        return np.clip(np.tensordot(images.mean(axis=3), weights, 2) - 0.6, 0, 1)

    classifier = box(score, (16, 16))
    until = Rise(masks=4000, grid=3, tolerance=0.05)
    maps, facts = until.explain_with_facts(classifier, photos, [1, 1])
    for place, fact in enumerate(facts):
        assert 250 <= fact.passes.forward < 4000
        assert fact.passes.forward % 250 == 0
        assert fact.values["agreement"] >= 0.95
        whole = Rise(masks=fact.passes.forward, grid=3, tolerance=0)
        np.testing.assert_array_equal(whole.explain(classifier, photos[[place]], [1])[0], maps[place])
    assert until.sentences([fact.values for fact in facts]) == []
    before = classifier.count.forward
    until.explain(classifier, photos, [1, 1])
    assert classifier.count.forward - before == sum(fact.passes.forward for fact in facts)


def test_masks_that_never_agree_are_said(rng):
    photos = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    explainer = Rise(masks=500, tolerance=0.01)
    flat = box(lambda images: np.full(len(images), 0.7), (16, 16))
    _, facts = explainer.explain_with_facts(flat, photos, [1, 1])
    assert [fact.passes for fact in facts] == [Passes(500)] * 2
    (sentence,) = explainer.sentences([fact.values for fact in facts])
    assert sentence.startswith("on 2 of 2 images the maps of odd and even masks still ")
    assert sentence.endswith("0.99 wanted; use more masks or a larger tolerance")
    assert Rise(masks=500, tolerance=0).sentences([fact.values for fact in facts]) == []


def test_a_sweep_of_masks_turns_the_rule_off():
    assert Rise.sweep_settings({}, {"masks"}) == {"tolerance": 0}
    assert Rise.sweep_settings({}, {"grid"}) == {}
    assert Rise.sweep_settings({"tolerance": 0.1}, {"masks"}) == {}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"masks": 1}, "masks=1 is not allowed; at least 2"),
        ({"grid": 1}, "grid=1 is not allowed; at least 2 cells"),
        ({"probability": 0.0}, "probability=0.0 is not allowed; between 0 and 1"),
        ({"probability": 1.0}, "probability=1.0 is not allowed"),
        ({"tolerance": 1.0}, "tolerance=1.0 is not allowed; 0 "),
        ({"tolerance": -0.1}, "tolerance=-0.1 is not allowed"),
        ({"probability": math.nan}, "probability=nan is not allowed"),
        ({"tolerance": math.nan}, "tolerance=nan is not allowed"),
    ],
)
def test_rises_parameters_are_checked(parameters, words):
    with pytest.raises(ConfigError, match=words):
        Rise(**parameters)


def test_a_grid_finer_than_the_input_is_refused():
    Rise(grid=8).check(box(brightness))
    with pytest.raises(ConfigError, match=r"grid=9 is more cells than the model's input has pixels .*, 8"):
        Rise(grid=9).check(box(brightness))


# Shapley values and LIME's regression


def shapley_by_permutations(players, value):
    """The mean gain of each player over all orders of joining, by the definition."""
    totals, orders = np.zeros(players), [*permutations(range(players))]
    for order in orders:
        for place, player in enumerate(order):
            totals[player] += value(set(order[: place + 1])) - value(set(order[:place]))
    return totals / len(orders)


def uneven(members):
    """A game with effects of single players, of a pair and of a threshold."""
    return sum((player + 1) ** 2 for player in members) / 50 + 0.5 * ({0, 2} <= members) - 0.3 * (len(members) > 2)


@pytest.mark.parametrize("players", [2, 3, 4, 6])
def test_all_coalitions_give_the_shapley_values(players, rng):
    present, weights = coalitions(players, 1, rng)
    assert len(present) == 2**players - 2
    gains = np.array([uneven(set(np.flatnonzero(row))) for row in present])
    found = shapley_fit(present, weights, gains, uneven(set(range(players))))
    np.testing.assert_allclose(found, shapley_by_permutations(players, uneven), atol=1e-9)


def test_the_kernel_worked_by_hand():
    present, weights = coalitions(4, 1, np.random.default_rng(0))
    by_size = {size: set(np.round(weights[present.sum(axis=1) == size], 12)) for size in (1, 2, 3)}
    # 3 / (4 * 1 * 3), 3 / (6 * 2 * 2), 3 / (4 * 3 * 1)
    assert by_size == {1: {0.25}, 2: {0.125}, 3: {0.25}}


def test_listed_where_few_enough():
    assert is_exhaustive(8, 1)
    assert not is_exhaustive(9, 509)
    assert is_exhaustive(9, 510)
    for players, samples, count in ((8, 1, 254), (9, 509, 508), (9, 510, 510), (9, 301, 300)):
        assert len(coalitions(players, samples, np.random.default_rng(0))[0]) == count <= largest_number(samples)


@pytest.mark.parametrize(("players", "samples"), [(9, 120), (12, 301), (50, 200), (50, 1000), (20, 2000), (11, 2000)])
def test_drawn_coalitions_come_in_pairs_with_the_kernels_weight(players, samples, rng):
    present, weights = coalitions(players, samples, rng)
    assert len(present) == len(weights) == (samples // 2 * 2 if samples < 2**players - 2 else 2**players - 2)
    np.testing.assert_array_equal(present[::2], ~present[1::2])
    np.testing.assert_array_equal(weights[::2], weights[1::2])
    sizes = present.sum(axis=1)
    assert sizes.min() >= 1
    assert sizes.max() <= players - 1
    every = np.arange(1, players)
    assert weights.sum() == pytest.approx(((players - 1) / (every * (players - every))).sum())
    singles = present[(sizes == 1)]
    if samples >= 1000:
        assert len(singles) == players
        assert weights[sizes == 1] == pytest.approx((players - 1) / (players * (players - 1)))


def test_drawn_coalitions_come_close_to_the_shapley_values(rng):
    players = 10
    exact_present, exact_weights = coalitions(players, 2**players, rng)

    def fit(present, weights):
        gains = np.array([uneven(set(np.flatnonzero(row))) for row in present])
        return shapley_fit(present, weights, gains, uneven(set(range(players))))

    exact = fit(exact_present, exact_weights)
    estimates = np.array([fit(*coalitions(players, 300, np.random.default_rng(seed))) for seed in range(20)])
    assert np.abs(estimates - exact).max() < 0.15
    assert np.abs(estimates.mean(axis=0) - exact).max() < 0.03
    np.testing.assert_allclose(estimates.sum(axis=1), exact.sum(), rtol=1e-12)


def test_additive_games_are_recovered_exactly_from_few_coalitions(rng):
    effects = rng.normal(size=12)
    present, weights = coalitions(12, 60, rng)
    np.testing.assert_allclose(shapley_fit(present, weights, present @ effects, effects.sum()), effects, atol=1e-10)


def test_too_few_coalitions_determine_nothing():
    present = np.array([[True, False, False], [False, True, True]])
    assert shapley_fit(present, np.ones(2), np.ones(2), 1.0) is None


def test_limes_regression_is_least_squares_with_a_penalty(rng):
    present, weights, values = rng.random((40, 6)) < 0.5, rng.random(40), rng.normal(size=40)
    found = ridge(present, weights, values)
    root = np.sqrt(weights)[:, None]
    design = np.vstack([np.column_stack([present, np.ones(40)]) * root, np.column_stack([np.eye(6), np.zeros(6)])])
    slow = np.linalg.lstsq(design, np.append(values * root[:, 0], np.zeros(6)), rcond=None)[0]
    np.testing.assert_allclose(found, slow[:6], atol=1e-10)
    effects = rng.normal(size=6)
    np.testing.assert_allclose(ridge(present, weights, present @ effects - 3, alpha=1e-12), effects, atol=1e-9)


def test_limes_weights_worked_by_hand(rng):
    present, weights = Lime(samples=60, segments=4)._drawn(rng, 4)
    shown = present.sum(axis=1)
    assert weights[0] == 1
    assert present[0].all()
    for count, distance in ((0, 1.0), (1, 0.5), (2, 1 - math.sqrt(0.5)), (4, 0.0)):
        assert weights[shown == count] == pytest.approx(math.exp(-((distance / 0.25) ** 2)))


# On images


def shown_and_hidden(photo, color):
    """The score of each quadrant when it is shown and when it is hidden, each (4,)."""
    return quadrants(photo[None])[0], quadrants(np.broadcast_to(np.float64(color), (1, *photo.shape)))[0]


def test_kernel_shap_on_an_image_equals_shapley_values_by_hand():
    """p = a b + (c + d) / 10 of the quadrants' brightness: the product's gain is shared in halves."""
    photo = four_colors()
    classifier = box(
        lambda images: quadrants(images) @ [0, 0, 0.1, 0.1] + quadrants(images)[:, :2].prod(axis=1), (32, 32)
    )
    explainer = KernelShap(segments=4, fill="gray")
    found, (facts,) = explainer.explain_with_facts(classifier, photo[None], [1])
    (a, b, c, d), (off, *_) = shown_and_hidden(photo, 127.5)
    expected = [(a - off) * (b + off) / 2, (b - off) * (a + off) / 2, (c - off) / 10, (d - off) / 10]
    np.testing.assert_allclose(found[0, [0, 0, 31, 31], [0, 31, 0, 31]], expected, rtol=1e-5, atol=1e-6)
    for rows, columns in product((slice(16), slice(16, None)), repeat=2):
        assert np.ptp(found[0, rows, columns]) == 0
    assert facts.passes == Passes(16)
    assert explainer.forward_passes((32, 32)) == 1002
    assert facts.values == {"segments": 4}
    np.testing.assert_allclose(explainer.explain(classifier, photo[None], [0])[0], -found[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fill", ["mean", "black", "gray", "blur"])
def test_a_linear_model_is_recovered_by_both(fill, rng):
    """p is a weighted sum of pixels, so hiding a superpixel changes it by the same amount whatever else is hidden."""
    photo, pixel_weights = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8), rng.random((24, 24, 3))
    pixel_weights /= pixel_weights.sum() * 255
    classifier = box(lambda images: (images * pixel_weights).sum(axis=(1, 2, 3)), (24, 24))
    of_pixel = superpixels(photo, 16)
    from evalkit.explainers.fills import filled

    change = (photo - filled(fill, photo.astype(np.float32), classifier)) * pixel_weights
    effects = np.bincount(of_pixel.ravel(), change.sum(axis=2).ravel())
    assert len(effects) > 8  # so that coalitions are drawn
    shap = KernelShap(samples=100, segments=16, fill=fill).explain(classifier, photo[None], [1])[0]
    np.testing.assert_allclose(shap, effects[of_pixel], rtol=1e-5, atol=1e-6)
    lime = Lime(samples=4000, segments=16, fill=fill).explain(classifier, photo[None], [1])[0]
    np.testing.assert_allclose(lime, effects[of_pixel], atol=0.02 * np.abs(effects).max())


def test_lime_on_an_image_written_slowly(rng):
    photo = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    classifier = box(lambda images: images[:, 3, 4, 0] / 255, (16, 16))
    found, (facts,) = Lime(samples=50, segments=9, fill="black", seed=4).explain_with_facts(
        classifier, photo[None], [1]
    )
    of_pixel = superpixels(photo, 9)
    count = of_pixel.max() + 1
    present = generator(4, image_digest(photo), "lime").random((50, count)) < 0.5
    present[0] = True
    values = [photo[3, 4, 0] / 255 if row[of_pixel[3, 4]] else 0.0 for row in present]
    distances = [1 - row.sum() / math.sqrt(row.sum() * count) if row.any() else 1.0 for row in present]
    weights = [math.exp(-((distance / 0.25) ** 2)) for distance in distances]
    np.testing.assert_allclose(
        found[0], ridge(present, np.array(weights), np.array(values))[of_pixel], rtol=1e-5, atol=1e-6
    )
    assert found[0, 3, 4] == found.max()
    assert facts.passes == Passes(50)


def test_a_sure_model_loses_no_digits():
    """p = 1 - 1e-18 rounds to 1: only its complement shows what hiding changes."""
    photo = four_colors()

    def logits(images):
        return np.stack([np.zeros(len(images)), 41 + quadrants(images)[:, 3]], axis=1)

    classifier = Classifier(BlackBox(logits, (32, 32)), head=Head("softmax", 2, ending=False), mean_color=MEAN)
    found = KernelShap(segments=4).explain(classifier, photo[None], [1])[0]
    drop = np.exp(-(41 + quadrants(np.full((1, 32, 32, 3), MEAN))[0, 3])) - np.exp(-42.0)
    assert found[31, 31] == pytest.approx(drop, rel=1e-4)
    np.testing.assert_allclose(found[:16], 0, atol=1e-4 * drop)
    other = KernelShap(segments=4).explain(classifier, photo[None], [0])[0]
    assert other[31, 31] == pytest.approx(-drop, rel=1e-4)


EXPLAINERS = [Rise(masks=250, grid=3), Lime(samples=60, segments=20), KernelShap(samples=60, segments=20)]
NAMES = [explainer.name for explainer in EXPLAINERS]
EACH = pytest.mark.parametrize("explainer", EXPLAINERS, ids=NAMES)
ON_SUPERPIXELS = pytest.mark.parametrize("explainer", EXPLAINERS[1:], ids=NAMES[1:])


@EACH
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_any_number_of_channels(explainer, channels, rng):
    photo = rng.integers(0, 256, (16, 20, channels), dtype=np.uint8)
    photo[3:8, 4:9] = 250
    classifier = box(lambda images: images[:, 4:7, 5:8].mean(axis=(1, 2, 3)) / 255, (16, 20), channels)
    explainer.check(classifier)
    maps = explainer.explain(classifier, photo[None], [1])
    assert maps.shape == (1, 16, 20)
    assert maps[0, 4:7, 5:8].mean() > np.quantile(maps, 0.6)
    np.testing.assert_array_equal(explainer.explain(classifier, photo[None].astype(np.float32), [1]), maps)


def test_noise_is_cut_into_superpixels_too(rng):
    photo = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert 8 <= superpixels(photo, 16).max() + 1 <= 16
    assert superpixels(four_colors(), 4).max() + 1 == 4


def test_gray_is_segmented_like_its_lightness():
    photo = np.zeros((40, 40, 3), dtype=np.uint8)
    photo[:, 13:] = 255
    for channels in (1, 2, 4):
        labels = superpixels(photo[:, :, :1].repeat(channels, axis=2), 16)
        assert labels.min() == 0
        assert set(np.unique(labels)) == set(range(labels.max() + 1))
        for label in range(labels.max() + 1):
            assert not 0.05 < photo[labels == label].mean() / 255 < 0.95
    np.testing.assert_array_equal(superpixels(photo, 16), superpixels(photo.astype(np.float32), 16))


@EACH
def test_an_unknown_mean_color_is_refused(explainer):
    classifier = box(lambda images: images.mean(axis=(1, 2, 3)) / 255, channels=1, mean_color=None)
    with pytest.raises(ModelError, match="mean color"):
        explainer.check(classifier)
    if "fill" in explainer.parameters():
        type(explainer)(samples=60, segments=9, fill="black").check(classifier)


@EACH
def test_a_black_box_is_explained_in_any_batch_size(explainer, rng):
    photos = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    explainer.check(box(brightness, (16, 16)))
    first, *others = (
        explainer.explain(box(brightness, (16, 16), batch_size=size), photos, [1, 1]) for size in (32, 7, 1)
    )
    assert not np.array_equal(first[0], first[1])
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(explainer.explain(box(brightness, (16, 16)), photos[::-1], [1, 1])[::-1], first)


@EACH
def test_a_keras_model_and_a_black_box_of_it_have_equal_maps(explainer, tiny, tiny_model, photos):
    same = Classifier(BlackBox(lambda images: tiny_model(images).numpy(), (32, 32)), batch_size=8)
    np.testing.assert_allclose(
        explainer.explain(same, photos[:1], [2]), explainer.explain(tiny, photos[:1], [2]), atol=1e-5
    )


@EACH
def test_the_score_of_several_outputs_is_their_sum(explainer, tiny, photos):
    both = explainer.explain(tiny, photos[:1], [(0, 2)])
    single = [explainer.explain(tiny, photos[:1], [output]) for output in (0, 2)]
    np.testing.assert_allclose(both, single[0] + single[1], rtol=1e-5, atol=1e-5)


@EACH
def test_outputs_that_are_no_numbers_make_no_noise(explainer, rng):
    photos = rng.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    classifier = box(lambda images: np.where(images[:, 3, 4, 0] == photos[0, 3, 4, 0], np.nan, 0.5), (16, 16))
    assert np.isnan(explainer.explain(classifier, photos, [1])).all()


@EACH
def test_multilabel_models_are_explained_by_their_own_sigmoid(explainer, rng):
    photo = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    logits = lambda images: quadrants(images)[:, :3] * 6 - 3  # noqa: E731
    classifier = Classifier(BlackBox(logits, (16, 16)), head=Head("multilabel", 3, ending=False), mean_color=MEAN)
    alone = box(lambda images: 1 / (1 + np.exp(-logits(images)[:, 1])), (16, 16))
    np.testing.assert_allclose(
        explainer.explain(classifier, photo[None], [1]), explainer.explain(alone, photo[None], [1]), atol=1e-6
    )


@ON_SUPERPIXELS
def test_one_superpixel_is_not_scored(explainer):
    photo = np.full((1, 8, 8, 3), 9, dtype=np.uint8)
    with pytest.raises(NotScored, match=r"a single superpixel, .*; use more segments"):
        type(explainer)(segments=2).explain(box(brightness), photo, [1])


@ON_SUPERPIXELS
def test_more_superpixels_than_samples_allow_is_not_scored(explainer):
    photo = np.full((1, 24, 24, 3), 9, dtype=np.uint8)
    assert superpixels(photo[0], 50).max() + 1 == 64
    with pytest.raises(NotScored, match="samples are too few for the 64 superpixels of the photo; at least"):
        type(explainer)(samples=explainer._fewest(50), segments=50).explain(box(brightness, (24, 24)), photo, [1])


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        (Lime, {"segments": 1}, "lime: segments=1 is not allowed; at least 2 superpixels"),
        (KernelShap, {"segments": 0}, "kernel_shap: segments=0 is not allowed"),
        (Lime, {"samples": 10}, "lime: samples=10 is not allowed with segments=50; at least 51"),
        (KernelShap, {"samples": 97}, "kernel_shap: samples=97 is not allowed with segments=50; at least 98"),
        (KernelShap, {"samples": 0, "segments": 4}, "samples=0 is not allowed with segments=4; at least 1"),
    ],
)
def test_parameters_on_superpixels_are_checked(kind, parameters, words):
    with pytest.raises(ConfigError, match=words):
        kind(**parameters)


@ON_SUPERPIXELS
def test_more_segments_than_pixels_are_refused(explainer):
    type(explainer)(samples=200, segments=64).check(box(brightness))
    with pytest.raises(ConfigError, match="segments=65 is more than the model's input has pixels, 8 x 8"):
        type(explainer)(samples=200, segments=65).check(box(brightness))


@EACH
def test_another_seed_draws_other_masks(explainer, rng):
    photo = rng.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    classifier = box(lambda images: quadrants(images)[:, :2].prod(axis=1), (16, 16))
    other = explainer.with_seed(explainer.seed + 1)
    assert not np.array_equal(other.explain(classifier, photo, [1]), explainer.explain(classifier, photo, [1]))
    assert other.signature != explainer.signature
