"""Split-half reliability: its value, its interval, the numbers of images, and what is said instead."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from evalkit.analysis.audit.reliability import HalvesByNumber, images_wanted, lengthened, reliability_of
from evalkit.analysis.audit.results import Thresholds
from evalkit.analysis.audit.separation import Halves, influences, scores_of_sets, separation_of
from evalkit.analysis.scores import scores_of
from evalkit.metrics.catalog import METRICS

LIMITS = Thresholds()
NAN = float("nan")


def reliability(values, metric="insertion", seed=0, n_splits=400):
    values = np.asarray(values, dtype=float)
    numbers = values if values.ndim == 3 else values[..., None]
    texts = [f"explainer{at}" for at in range(numbers.shape[1])]
    return reliability_of(scores_of(METRICS.build(metric), numbers), texts, HalvesByNumber(seed, n_splits), LIMITS)


def noisy(rng, n_images, spread, noise, n_explainers=8):
    """Return scores: explainers ``spread`` apart in all, noise on each, and a difficulty of each image."""
    truth = np.linspace(0, spread, n_explainers)
    return truth + rng.normal(0, noise, (n_images, n_explainers)) + rng.normal(0, 1, (n_images, 1))


def test_split_half_is_the_mean_over_all_halves(rng):
    values = noisy(rng, 8, 1.0, 0.5, 4)
    every = [list(half) for half in combinations(range(8), 4)]
    rest = [[at for at in range(8) if at not in half] for half in every]
    wanted = np.mean(
        [
            np.corrcoef(values[first].mean(axis=0), values[second].mean(axis=0))[0, 1]
            for first, second in zip(every, rest, strict=True)
        ]
    )
    found = reliability(values, n_splits=4000)
    assert found.halves == pytest.approx(wanted, abs=0.01)
    assert found.split_half == pytest.approx(2 * found.halves / (1 + found.halves))


def test_spearman_and_brown_by_hand():
    assert lengthened(0.6) == pytest.approx(0.75)
    assert lengthened(-1.0) == -1
    assert images_wanted(0.5, 20, 0.9) == 180
    assert images_wanted(0.9, 20, 0.9) == 20
    assert images_wanted(0.95, 20, 0.9) == 10
    assert [images_wanted(value, 20, 0.9) for value in (0.0, -0.2, 1.0)] == [None, None, 2]


def test_the_images_wanted_do_agree(rng):
    found = np.median([reliability(noisy(rng, 30, 1.0, 1.0)).images_for_agreement for _ in range(20)])
    on_as_many = np.mean([reliability(noisy(rng, round(found), 1.0, 1.0)).halves for _ in range(20)])
    assert on_as_many == pytest.approx(0.9, abs=0.03)


def test_halves_are_disjoint_and_resampled_within():
    halves = Halves.of(0, 11, 50)
    assert (halves.first.sum(axis=1) == 5).all()
    assert (halves.first_counts.sum(axis=1) == 5).all()
    assert (halves.second_counts.sum(axis=1) == 6).all()
    assert (halves.first_counts[halves.first == 0] == 0).all()
    assert (halves.second_counts[halves.first == 1] == 0).all()
    np.testing.assert_array_equal(halves.first, Halves.of(0, 11, 50).first)
    assert (halves.first != Halves.of(1, 11, 50).first).any()


def test_an_image_that_is_there_twice_raises_the_agreement_of_a_resample(rng):
    """What resampling before splitting would do: noise then looks reliable."""
    fresh = [rng.random((30, 8)) for _ in range(60)]
    drawn = [one[rng.integers(30, size=30)] for one in fresh]
    of_fresh, of_drawn = ([reliability(one, n_splits=100) for one in those] for those in (fresh, drawn))
    means = [np.mean([one.halves for one in those]) for those in (of_fresh, of_drawn)]
    assert abs(means[0]) < 0.15
    assert means[1] > means[0] + 0.15
    assert sum(one.low > 0 for one in of_fresh) <= 4


@pytest.mark.parametrize("true", [0.5, 0.8, 0.95])
def test_intervals_contain_the_truth(true):
    """30 images, 8 explainers; benchmarks/audit_coverage.py has more shapes of scores and samples."""
    rng, n_images, n_samples = np.random.default_rng(5), 30, 200
    truth = np.linspace(-1, 1, 8)
    noise = np.sqrt((1 - true) / true * n_images * (truth @ truth) / 7)  # of the centered noise, 7 degrees of freedom
    halves = HalvesByNumber(0, 300).of(n_images)
    held = 0
    for _ in range(n_samples):
        found = separation_of(truth + rng.normal(0, noise, (n_images, 8)), halves)
        held += found.low / (1 + found.low) <= true <= found.high / (1 + found.high)
    assert held / n_samples >= 0.92


def test_noise_is_not_reliable_and_differences_are(rng):
    noise = reliability(rng.random((40, 8)))
    assert noise.low < 0.1
    clear = reliability(noisy(rng, 40, 2.0, 0.3))
    assert clear.low > 0.95
    assert clear.images_for_agreement < 10
    assert noise.low <= noise.split_half <= noise.high
    assert clear.alpha_low <= clear.alpha <= clear.alpha_high
    assert abs(noise.alpha) < 0.1
    assert clear.alpha > 0.6


def test_the_difficulty_of_images_does_not_count(rng):
    values = noisy(rng, 20, 1.0, 0.5)
    shifted = values + rng.normal(0, 5, (20, 1))
    first, second = reliability(values), reliability(shifted)
    assert second.split_half == pytest.approx(first.split_half)
    assert second.low == pytest.approx(first.low)


def test_scores_equal_on_every_image_are_reliable_without_error():
    found = reliability(np.tile([0.1, 0.2, 0.4], (10, 1)))
    assert (found.split_half, found.low, found.high, found.alpha) == pytest.approx((1, 1, 1, 1))
    assert (found.images_for_agreement, found.images_for_reliable) == (2, 2)


def test_equal_explainers_have_no_reliability(rng):
    found = reliability(np.tile(rng.random((12, 1)), (1, 4)))
    assert found.split_half is None
    assert found.reason == "all explainers have the same score"
    assert found.alpha_reason == "all explainers have the same score on every image"


def test_one_extreme_explainer_is_named(rng):
    values = rng.normal(0, 1, (30, 8))
    values[:, 5] -= 20
    found = reliability(values)
    assert found.low > 0.9
    assert found.without == "explainer5"
    assert found.split_half_without < 0.6
    assert reliability(values[:, 3:6]).without is None


@pytest.mark.parametrize(
    ("n_images", "n_explainers", "reason"),
    [
        (30, 2, "2 explainers were scored and can be compared; 3 are needed"),
        (30, 0, "0 explainers were scored and can be compared; 3 are needed"),
        (7, 5, "7 images were scored by all compared explainers; 8 are needed"),
        (0, 5, "0 explainers were scored and can be compared; 3 are needed"),
    ],
)
def test_too_little_has_a_reason(rng, n_images, n_explainers, reason):
    found = reliability(rng.random((n_images, n_explainers)))
    assert found.reason == reason
    assert (found.split_half, found.low, found.high, found.images_for_agreement) == (None,) * 4


def test_eight_images_and_three_explainers_are_enough(rng):
    found = reliability(noisy(rng, 8, 1.0, 0.2, 3))
    assert found.reason is None
    assert found.split_half > 0.5


def test_missing_scores_leave_out_images_or_explainers(rng):
    values = noisy(rng, 20, 1.0, 0.3, 5)
    values[0, 2] = NAN
    values[4:, 4] = NAN
    found = reliability(values)
    assert (found.n_images, found.n_explainers) == (19, 4)
    # Alpha keeps the image that lacks one of the compared explainers.
    kept = reliability(values[1:, :4])
    assert found.split_half == pytest.approx(kept.split_half, abs=0.02)
    assert found.alpha == pytest.approx(kept.alpha, abs=0.05)


def test_scores_of_a_set_are_computed_in_each_half(rng):
    metric = METRICS.build("max_box_acc_v1")
    hits = rng.random((24, 4, 1)) < np.linspace(0.1, 0.9, 4)[:, None]
    statistics = (hits & (np.abs(np.arange(100) - 40) < 30 * rng.random((24, 4, 1)))).astype(float)
    halves = Halves.of(0, 24, 30)
    by_hand = [metric.aggregate(statistics[split == 1].mean(axis=0)) for split in halves.first]
    np.testing.assert_allclose(scores_of_sets(halves.first, statistics, metric.aggregate), by_hand)
    found = reliability(statistics, "max_box_acc_v1")
    assert 0.5 < found.low < 0.9 < found.split_half <= found.high
    assert found.alpha is None
    assert found.alpha_reason == "images have no ranking by a score of the whole set"


def test_influences_of_a_mean_are_the_scores_themselves(rng):
    values = rng.random((9, 3, 1))
    np.testing.assert_allclose(influences(values, lambda means: means[..., 0]), values[..., 0])


def test_many_images_are_grouped(rng):
    values = noisy(rng, 3000, 0.2, 1.0, 5)
    found = reliability(values, n_splits=200)
    assert found.n_images == 3000
    # By the definition: variance of the explainers over it and the error's.
    truth = np.linspace(0, 0.2, 5).var(ddof=1)
    assert found.low <= truth / (truth + 1 / 3000) <= found.high
    assert found.alpha_low <= found.alpha <= found.alpha_high


def test_the_upper_end_holds_where_errors_lie_along_the_differences():
    """Every image favors one half of the explainers by chance: the observed differences are mostly error."""
    rng, n_images, held = np.random.default_rng(3), 30, 0
    pattern = np.repeat([-1.0, 1.0], 4)
    truth, noise = 0.15 * pattern, 0.5
    error = (8 * noise**2 + 7 * 0.3**2) / n_images
    true = (truth @ truth) / (truth @ truth + error)
    halves = HalvesByNumber(0, 300).of(n_images)
    for _ in range(150):
        rows = truth + noise * rng.normal(size=(n_images, 1)) * pattern + 0.3 * rng.normal(size=(n_images, 8))
        found = separation_of(rows, halves)
        held += found.low / (1 + found.low) <= true <= found.high / (1 + found.high)
    assert held / 150 >= 0.92
