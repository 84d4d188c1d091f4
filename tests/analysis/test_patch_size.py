"""Which patch size: the cheapest that is shown to lose less than the margin."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from evalkit.analysis.choice.loss_bounds import loss_bounds
from evalkit.analysis.choice.patch_size import Criterion, choose_patch_size
from evalkit.analysis.statistics.resampling import Resampling
from tests.analysis.mean_twins import standard_error, studentized, weighted_means

SIZES = {16: 196, 32: 49, 56: 16}


@pytest.fixture
def choose(facts):
    """Choose among three sizes by their scores, a column each."""

    def call(columns, *, direction="higher", margin=0.02, width=1.0, sizes=SIZES, n_resamples=2_000):
        explainers = [facts("occlusion", size, passes=passes) for size, passes in sizes.items()]
        return choose_patch_size(
            [facts("gradcam"), *explainers],
            np.stack([np.zeros(len(columns[0])), *columns], axis=1),
            Criterion("symmetric_relevance_gain", direction, width, margin),
            seed=0,
            n_resamples=n_resamples,
        )

    return call


def photos_wanted(found):
    return int(re.search(r"about ([\d,]+) images would decide", found.reason)[1].replace(",", ""))


def test_the_cheapest_that_is_shown_to_lose_little_is_chosen(choose, rng):
    base = rng.normal(0.5, 0.1, 240)
    found = choose([base + 0.005, base + rng.normal(0, 0.005, 240), base - 0.2])
    assert (found.patch_size, found.stride, found.decided) == (32, 32, True)
    assert (found.criterion, found.margin, found.n_images) == ("symmetric_relevance_gain", 0.02, 240)
    assert found.tied_with == ("occlusion(patch_size=16)",)
    assert found.chosen_share > 0.99
    assert "patch_size=32, stride=32 is at most 0.0" in found.reason
    assert "49 passes instead of 196" in found.reason


def test_clear_winner_is_decided_with_its_reason(choose, rng):
    base = rng.normal(0.5, 0.1, 40)
    found = choose([base + rng.normal(0.3, 0.05, 40), base, base - 0.1])
    assert (found.patch_size, found.decided, found.tied_with) == (16, True, ())
    assert found.reason == (
        "patch_size=16, stride=16 has significantly the best symmetric_relevance_gain of these sizes, on 40 images."
    )
    assert found.chosen_share == 1.0


def test_best_size_is_decided_if_no_cheaper_size_is_near(choose, rng):
    base = rng.normal(0.5, 0.1, 240)
    near = rng.normal(0, 0.01, 240)
    found = choose([base + near - near.mean() - 0.0005, base - 0.2, base], sizes={16: 196, 32: 49, 8: 100})
    assert (found.patch_size, found.decided) == (8, True)
    assert found.tied_with == ("occlusion(patch_size=16)",)
    assert "has the best mean on 240 images and is at most 0.01" in found.reason
    assert "needs fewer than its 100 passes" in found.reason


def test_few_noisy_images_are_undecided_and_not_the_cheapest(choose, rng):
    columns = rng.normal(0.5, 0.3, (3, 12)) + np.array([[0.1], [0.05], [0.0]])
    found = choose(list(columns))
    assert not found.decided
    assert found.patch_size == list(SIZES)[columns.mean(axis=1).argmax()]
    assert found.reason.startswith("Undecided on 12 images")


def test_below_ten_images_nothing_is_decided_however_alike(choose, rng):
    columns = np.linspace(0.4, 0.6, 10) + rng.normal(0, 0.001, (3, 10))
    # Of ten equal images the eleventh may lose 1 - 0.05 ** (1 / 10) = 0.26 of the width, of nine 0.28.
    assert not choose(list(columns[:, :9]), margin=0.3).decided
    found = choose(list(columns), margin=0.3)
    assert found.decided
    assert found.patch_size == 56


@pytest.mark.parametrize(
    ("n_images", "width", "decided"),
    [
        (10, 1.0, False),
        (30, 1.0, False),
        (147, 1.0, False),  # 0.05 ** (1 / 149) = 0.98 + 0.0001, and the tail of the weights is approximated
        (151, 1.0, True),
        (200, 1.0, True),
        (200, 2.0, False),
        (302, 2.0, True),
    ],
)
def test_equal_scores_decide_by_the_rule_of_three(choose, rng, n_images, width, decided):
    hits = rng.integers(0, 2, n_images).astype(float)
    found = choose([hits, hits, hits], width=width, n_resamples=200)
    assert found.decided == decided
    assert found.patch_size == 56  # of equal means the cheapest
    assert decided or "has the best mean symmetric_relevance_gain, equal to that of 2 others;" in found.reason
    assert set(found.tied_with) == {f"occlusion(patch_size={size})" for size in SIZES if size != found.patch_size}
    if decided:
        assert found.n_wanted is None
    else:
        assert found.n_wanted == photos_wanted(found) == pytest.approx(149 * width, rel=0.03)


def test_rarely_differing_scores_are_bounded_exactly(choose):
    hits = np.tile([0.0, 1.0], 50)
    once = hits.copy()
    once[0] = 1.0
    # The second loses on one image of 100, at most on 4.7 %; the first wins 0.01, and may lose 0.02.
    assert stats.beta.ppf(0.95, 2, 99) == pytest.approx(0.047, abs=0.0005)
    bounds = loss_bounds(np.stack([once, hits], axis=1), Resampling(0, 500), 1.0, 0.02)
    assert bounds.losses[1] == pytest.approx(stats.beta.ppf(0.95, 2, 99), rel=0.01)
    assert bounds.losses[0] == pytest.approx(np.quantile(weighted_means(hits - once, 1.0), 0.95), abs=0.0005)
    for margin, decided, size in [(0.015, False, 16), (0.03, True, 16), (0.048, True, 32)]:
        found = choose([once, hits, hits - 1.0], margin=margin)
        assert (found.decided, found.patch_size) == (decided, size)


def rare_losses(rng, n_images):
    """Two candidates: the second loses 0.5 on 4 % of images, and differs by small noise on all others."""
    base = rng.normal(0.5, 0.1, n_images)
    return [base, base - np.where(rng.random(n_images) < 0.04, 0.5, 0.0) - rng.normal(0, 0.005, n_images)]


@pytest.mark.parametrize("width", [1.0, np.inf])
@pytest.mark.parametrize("n_images", [12, 24, 50])
def test_rare_large_losses_are_never_decided_unseen(choose, rng, n_images, width):
    """They lose the margin on average; "decided" was wrong in 64 % at 12 images, 42 % at 24, 12 % at 50."""
    for _ in range(50):
        found = choose(rare_losses(rng, n_images), sizes={16: 196, 32: 49}, width=width, n_resamples=200)
        assert not (found.decided and (found.patch_size == 32 or width == 1.0))


def test_lower_is_better_reverses_the_choice(choose, rng):
    base = rng.normal(0.5, 0.05, 40)
    found = choose([base, base + 0.3, base + 0.1 + rng.normal(0, 0.01, 40)], direction="lower")
    assert (found.patch_size, found.decided) == (16, True)
    assert "has significantly the best" in found.reason
    base = rng.normal(0.5, 0.05, 240)
    found = choose([base + 0.3, base, base + 0.001 + rng.normal(0, 0.01, 240)], direction="lower")
    assert (found.patch_size, found.decided) == (56, True)


def test_undecided_reason_has_the_number_of_images(choose, rng):
    gap = rng.normal(0, 0.1, 40)
    gap = 0.005 + (gap - gap.mean()) * 0.1 / gap.std(ddof=1)
    base = rng.normal(0.5, 0.1, 40)
    found = choose([base, base - gap, base - 0.3])
    assert not found.decided
    assert "patch_size=32, stride=32 is cheaper and may be less than 0.02 worse" in found.reason
    wanted = (stats.t.ppf(0.95, 39) * 0.1 / 0.015) ** 2
    assert photos_wanted(found) == pytest.approx(wanted, rel=0.2)
    assert found.tied_with == ("occlusion(patch_size=32)",)


def test_the_wanted_number_of_images_decides(choose, rng):
    gap = rng.normal(0, 0.1, 40)
    gap = 0.005 + (gap - gap.mean()) * 0.1 / gap.std(ddof=1)
    base = rng.normal(0.5, 0.1, 40)
    repeats = -(-photos_wanted(choose([base, base - gap, base - 0.3])) // 40) + 1
    base, gap = np.tile(base, repeats), np.tile(gap, repeats)
    found = choose([base, base - gap, base - 0.3])
    assert (found.patch_size, found.decided) == (32, True)


def test_gap_equal_to_the_margin_is_handled(choose, rng):
    for _ in range(100):
        base = rng.normal(0.5, 0.1, 12)
        found = choose([base, base - 0.02, base - 0.3], n_resamples=100)
        assert found.patch_size in (16, 32)
        noise = rng.normal(0, 0.2, 12)
        columns = [base, base - 0.02 - (noise - noise.mean()), base - 0.9]
        found = choose(columns, n_resamples=100)
        assert found.decided or photos_wanted(found) > 12


def test_images_not_scored_by_every_size_are_left_out(choose, rng):
    base = rng.normal(0.5, 0.1, 245)
    holed = base + rng.normal(0, 0.001, 245)
    holed[:5] = np.nan
    found = choose([base, holed, base + rng.normal(0, 0.001, 245)])
    assert found.decided
    assert found.n_images == 240
    assert "on 240 images" in found.reason


def slow_bounds(scores, counts, width, margin):
    """Bounds of each pair and each loss, written from the definition, one resample and one pair at a time."""
    n_sizes = scores.shape[1]
    pairs, losses = np.zeros((n_sizes, n_sizes)), np.zeros(n_sizes)
    for row in range(n_sizes):
        gaps = {other: scores[:, row] - scores[:, other] for other in range(n_sizes) if other != row}
        critical = np.quantile(np.max([-studentized(gap, counts) for gap in gaps.values()], axis=0), 0.95)
        for other, gap in gaps.items():
            size = np.abs(gap)
            unseen = (width if np.isfinite(width) else np.ptp(scores)) if np.median(size) <= margin else size.max()
            by_weights = np.quantile(weighted_means(gap, unseen), 0.95)
            pairs[row, other] = max(gap.mean() + critical * standard_error(gap), by_weights)
    for other in range(n_sizes):
        losses[other] = max(0.0, *(pairs[row, other] for row in range(n_sizes) if row != other))
    return pairs, losses


@pytest.mark.parametrize(("small", "width"), [(0, 1.0), (15, 1.0), (12, 1.0), (15, np.inf)])
def test_the_bounds_equal_a_slow_loop(rng, small, width):
    """On so many of 25 images the second candidate differs from the first by less than the margin."""
    scores = rng.normal(0.5, 0.1, (25, 1)) + rng.gamma(0.7, 0.05, (25, 4)) + [0.0, 0.02, 0.05, -0.1]
    scores[:small, 1] = scores[:small, 0] + rng.normal(0, 0.002, small)
    scores[small:, 1] = scores[small:, 0] - 0.1 - 0.1 * rng.random(25 - small)
    resampling = Resampling(3, 700)  # more than one block
    found = loss_bounds(scores, resampling, width, 0.02)
    pairs, losses = slow_bounds(scores, resampling.counts(25), width, 0.02)
    np.testing.assert_allclose(found.pairs, pairs, rtol=0, atol=0.003)
    np.testing.assert_allclose(found.losses, losses, rtol=0, atol=0.003)
    unseen = {1.0: 1.0, np.inf: np.ptp(scores)}[width]
    assert (found.unseen[0, 1] == unseen) == (small == 15)


def share_held(draw, truth, *, n_images, runs=200):
    """Return how often every loss to the truly best is within its bound, whichever of equals that is."""
    best = int(truth.argmax())
    loss = np.delete(truth[best] - truth, best)
    held, resampling = 0, Resampling(0, 300)
    for _ in range(runs):
        found = loss_bounds(draw((n_images, len(truth))), resampling, 1.0, 0.02)
        assert (found.losses >= found.pairs[best]).all()
        held += bool((np.delete(found.pairs[best], best) >= loss - 1e-12).all())
    return held / runs


@pytest.mark.parametrize(
    "truth", [[0.0, 0.0, 0.0, 0.0], [0.02, 0.0, 0.01, -0.3], [0.5, 0.0, 0.0, 0.0]], ids=["alike", "near", "winner"]
)
@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_loss_bounds_hold_together_at_their_level(rng, truth, noise):
    spread = np.array([0.02, 0.05, 0.1, 0.05])
    draws = {
        "normal": lambda shape: rng.normal(0, 1, shape) * spread,
        "skewed": lambda shape: (rng.gamma(2.0, 1.0, shape) - 2.0) * spread,
    }
    truth = np.array(truth)
    share = share_held(lambda shape: truth + draws[noise](shape), truth, n_images=30)
    assert share >= 0.95 - 0.046  # three standard errors


@pytest.mark.parametrize("missed", [0.02, 0.05, 0.1])
def test_bounds_of_rare_misses_hold_at_their_level(rng, missed):
    """The pointing game: one size hits always, the other misses now and then."""
    chances = np.array([0.0, missed])
    share = share_held(lambda shape: (rng.random(shape) >= chances).astype(float), -chances, n_images=60)
    assert share >= 0.95 - 0.046


def test_a_size_worse_by_the_margin_is_seldom_chosen(choose, rng):
    wrong = 0
    for _ in range(60):
        truth = np.array([[0.02], [0.0], [-0.4]])
        columns = rng.normal(0.5, 0.02, (3, 30)) + truth
        found = choose(list(columns))
        wrong += found.decided and found.patch_size == 32
    assert wrong <= 8  # 60 x 0.05, and three standard errors


def test_without_two_sizes_there_is_no_choice(choose, rng):
    assert choose([rng.random(20)], sizes={16: 196}) is None
    assert choose([np.full(20, np.nan), rng.random(20), rng.random(20)]) is None


def orthogonal(rng, n_photos, count):
    """Columns of mean 0 and deviation 1 that do not correlate."""
    columns = np.linalg.qr(np.column_stack([np.ones(n_photos), rng.normal(size=(n_photos, count))]))[0][:, 1:]
    return columns / columns.std(axis=0, ddof=1)


def test_more_expensive_size_is_not_called_cheaper(choose, rng):
    first, second = orthogonal(rng, 50, 2).T
    hub = rng.normal(0.5, 0.1, 50)
    found = choose([hub, hub - 0.0001 + 0.06 * first, hub + 0.0001 + 0.06 * second])
    assert "196 passes instead of 16" not in found.reason


def test_number_of_wanted_images_is_at_least_ten(choose, rng):
    base = np.linspace(0.3, 0.7, 5)
    found = choose([base + rng.normal(0.005, 0.0001, 5), base], sizes={16: 196, 56: 16})
    assert not found.decided
    assert photos_wanted(found) >= 10


def gapped(rng, n_images, gap, spread):
    """Two candidates whose scores differ by ``gap`` on average."""
    base = rng.normal(0.5, 0.1, n_images)
    return [base, base - gap + rng.normal(0, spread, n_images)]


def test_more_spread_wants_more_images(choose, rng):
    base, noise = rng.normal(0.5, 0.1, 40), orthogonal(rng, 40, 1)[:, 0]
    wanted = [choose([base, base - 0.005 + spread * noise, base - 0.3]).n_wanted for spread in (0.08, 0.12, 0.2)]
    assert wanted == sorted(wanted)
    assert wanted[-1] > 1.5 * wanted[0] > 60


def test_a_smaller_margin_wants_more_images(choose, rng):
    base = rng.normal(0.5, 0.1, 20)
    wanted = [choose([base, base, base], margin=margin, n_resamples=200).n_wanted for margin in (0.1, 0.02, 0.001)]
    assert wanted == pytest.approx([30, 150, 2_995], rel=0.03)
    # Not even a million images would show that equal candidates are equal within 1e-6.
    found = choose([base, base, base], margin=1e-6, n_resamples=200)
    assert (found.decided, found.n_wanted) == (False, None)
    assert "these images do not tell how many would decide" in found.reason


@pytest.mark.parametrize(("gap", "spread"), [(0.0, 0.1), (0.02, 0.1), (0.03, 0.15)])
def test_the_wanted_number_decides_in_four_of_five_runs(choose, rng, gap, spread):
    promised = kept = 0
    for _ in range(40):
        two = {"sizes": {16: 196, 32: 49}, "n_resamples": 300}
        first = choose(gapped(rng, 24, gap, spread), **two)
        if first.n_wanted:
            promised += 1
            kept += choose(gapped(rng, first.n_wanted, gap, spread), **two).decided
    assert promised >= 15
    assert kept >= 0.8 * promised
