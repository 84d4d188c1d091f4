"""Which patch size: the cheapest that is shown to lose less than the margin."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from evalkit.analysis.choice.patch_size import Criterion, _bounds, choose_patch_size
from evalkit.analysis.statistics.intervals import resample_counts

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
    base = rng.normal(0.5, 0.1, 60)
    found = choose([base + 0.005, base + rng.normal(0, 0.005, 60), base - 0.2])
    assert (found.patch_size, found.stride, found.decided) == (32, 32, True)
    assert (found.criterion, found.margin, found.n_images) == ("symmetric_relevance_gain", 0.02, 60)
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
    base = rng.normal(0.5, 0.1, 60)
    near = rng.normal(0, 0.01, 60)
    found = choose([base + near - near.mean() - 0.0005, base - 0.2, base], sizes={16: 196, 32: 49, 8: 100})
    assert (found.patch_size, found.decided) == (8, True)
    assert found.tied_with == ("occlusion(patch_size=16)",)
    assert "has the best mean on 60 images and is at most 0.00" in found.reason
    assert "needs fewer than its 100 passes" in found.reason


def test_few_noisy_images_are_undecided_and_not_the_cheapest(choose, rng):
    columns = rng.normal(0.5, 0.3, (3, 12)) + np.array([[0.1], [0.05], [0.0]])
    found = choose(list(columns))
    assert not found.decided
    assert found.patch_size == list(SIZES)[columns.mean(axis=1).argmax()]
    assert found.reason.startswith("Undecided on 12 images")


def test_below_ten_photos_nothing_is_decided_however_alike(choose, rng):
    columns = np.linspace(0.4, 0.6, 10) + rng.normal(0, 0.001, (3, 10))
    assert not choose(list(columns[:, :9])).decided
    found = choose(list(columns))
    assert found.decided
    assert found.patch_size == 56


@pytest.mark.parametrize(
    ("n_photos", "width", "decided"),
    [
        (10, 1.0, False),
        (30, 1.0, False),
        (148, 1.0, False),  # 0.05 ** (1 / 148) = 0.98 - 0.00004
        (149, 1.0, True),
        (200, 1.0, True),
        (200, 2.0, False),
        (300, 2.0, True),
    ],
)
def test_equal_scores_decide_by_the_rule_of_three(choose, rng, n_photos, width, decided):
    hits = rng.integers(0, 2, n_photos).astype(float)
    found = choose([hits, hits, hits], width=width, n_resamples=200)
    assert found.decided == decided
    assert found.patch_size == (56 if decided else 16)
    assert set(found.tied_with) == {f"occlusion(patch_size={size})" for size in SIZES if size != found.patch_size}
    if not decided:
        assert photos_wanted(found) == (149 if width == 1 else 299)


def test_rarely_differing_scores_use_the_rule_of_three(choose):
    hits = np.tile([0.0, 1.0], 50)
    once = hits.copy()
    once[0] = 1.0
    # The second loses 0.01 as seen, and up to 0.0295 unseen; the first wins 0.01, and may lose 0.0295.
    for margin, decided, size in [(0.015, False, 16), (0.03, True, 16), (0.041, True, 32)]:
        found = choose([once, hits, hits - 1.0], margin=margin)
        assert (found.decided, found.patch_size) == (decided, size)


def test_lower_is_better_reverses_the_choice(choose, rng):
    base = rng.normal(0.5, 0.05, 40)
    found = choose([base, base + 0.3, base + 0.1 + rng.normal(0, 0.01, 40)], direction="lower")
    assert (found.patch_size, found.decided) == (16, True)
    assert "has significantly the best" in found.reason
    found = choose([base + 0.3, base, base + 0.01 + rng.normal(0, 0.01, 40)], direction="lower")
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
        assert found.decided
        assert found.patch_size in (16, 32)
        noise = rng.normal(0, 0.2, 12)
        columns = [base, base - 0.02 - (noise - noise.mean()), base - 0.9]
        found = choose(columns, n_resamples=100)
        assert found.decided or photos_wanted(found) > 12


def test_images_not_scored_by_every_size_are_left_out(choose, rng):
    base = rng.normal(0.5, 0.1, 30)
    holed = base + rng.normal(0, 0.001, 30)
    holed[:5] = np.nan
    found = choose([base, holed, base + rng.normal(0, 0.001, 30)])
    assert found.decided
    assert found.n_images == 25
    assert "on 25 images" in found.reason


def standard_error(numbers):
    return numbers.std(ddof=1) / np.sqrt(len(numbers))


def slow_bounds(scores, counts, width):
    """Bounds of each pair and each loss, written from the definition, one resample and one pair at a time."""
    n_images, n_sizes = scores.shape
    drawn = [np.repeat(np.arange(n_images), row) for row in counts]
    pairs, losses = np.zeros((n_sizes, n_sizes)), np.zeros(n_sizes)
    for row in range(n_sizes):
        gaps = {other: scores[:, row] - scores[:, other] for other in range(n_sizes) if other != row}
        highest = [
            max((gap.mean() - gap[images].mean()) / standard_error(gap[images]) for gap in gaps.values())
            for images in drawn
        ]
        critical = np.quantile(highest, 0.95)
        for other, gap in gaps.items():
            unseen = width * (1 - 0.05 ** (1 / n_images)) if np.mean(gap == 0) > 0.5 else 0.0
            pairs[row, other] = gap.mean() + max(critical * standard_error(gap), unseen)
    for other in range(n_sizes):
        losses[other] = max(0.0, *(pairs[row, other] for row in range(n_sizes) if row != other))
    return pairs, losses


@pytest.mark.parametrize("mostly_equal", [False, True])
def test_the_bounds_equal_a_slow_loop(rng, mostly_equal):
    scores = rng.normal(0.5, 0.1, (25, 1)) + rng.gamma(0.7, 0.05, (25, 4)) + [0.0, 0.02, 0.01, -0.1]
    if mostly_equal:
        scores[:15, 1] = scores[:15, 0]
    counts = resample_counts(rng, 25, 700)  # more than one block
    found = _bounds(scores, counts, 1.0)
    pairs, losses = slow_bounds(scores, counts, 1.0)
    np.testing.assert_allclose(found.pairs, pairs, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.losses, losses, rtol=0, atol=1e-9)


def share_held(draw, truth, rng, *, n_photos, runs=300):
    """Return how often every loss to the truly best is within its bound, whichever of equals that is."""
    best = int(truth.argmax())
    loss = np.delete(truth[best] - truth, best)
    held = 0
    for _ in range(runs):
        found = _bounds(draw((n_photos, len(truth))), resample_counts(rng, n_photos, 300), 1.0)
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
    share = share_held(lambda shape: truth + draws[noise](shape), truth, rng, n_photos=30)
    assert share >= 0.95 - 0.038  # three standard errors


@pytest.mark.parametrize("missed", [0.02, 0.05, 0.1])
def test_bounds_of_rare_misses_hold_at_their_level(rng, missed):
    """The pointing game: one size hits always, the other misses now and then."""
    chances = np.array([0.0, missed])
    share = share_held(lambda shape: (rng.random(shape) >= chances).astype(float), -chances, rng, n_photos=60)
    assert share >= 0.95 - 0.038


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
