"""Which patch size: the cheapest that is shown to lose less than the margin."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.patch_size import choose_patch_size

SIZES = {16: 196, 32: 49, 56: 16}


@pytest.fixture
def choose(facts):
    """Choose among three sizes by their scores, a column each."""

    def call(columns, *, direction="higher", margin=0.02, sizes=SIZES):
        explainers = [facts("occlusion", size, passes=passes) for size, passes in sizes.items()]
        return choose_patch_size(
            [facts("gradcam"), *explainers],
            np.stack([np.zeros(len(columns[0])), *columns], axis=1),
            direction=direction,
            criterion="symmetric_relevance_gain",
            margin=margin,
            seed=0,
            n_resamples=2_000,
        )

    return call


def test_the_cheapest_that_is_shown_to_lose_little_is_chosen(choose, rng):
    base = rng.normal(0.5, 0.1, 60)
    found = choose([base + 0.005, base + rng.normal(0, 0.005, 60), base - 0.2])
    assert (found.patch_size, found.stride, found.decided) == (32, 32, True)
    assert found.tied_with == ("occlusion(patch_size=16)",)
    assert found.chosen_share > 0.99
    assert "patch_size=32, stride=32 loses at most 0.0" in found.reason
    assert "49 passes instead of 196" in found.reason


def test_few_noisy_photos_decide_nothing_and_do_not_pick_the_cheapest(choose, rng):
    columns = rng.normal(0.5, 0.3, (3, 12)) + np.array([[0.1], [0.05], [0.0]])
    found = choose(list(columns))
    assert not found.decided
    assert found.patch_size == list(SIZES)[columns.mean(axis=1).argmax()]
    assert found.reason.startswith("Undecided on 12 images")


def test_below_ten_photos_nothing_is_decided_however_alike(choose):
    alike = np.linspace(0.4, 0.6, 9)
    assert not choose([alike, alike, alike]).decided
    found = choose([np.linspace(0.4, 0.6, 10)] * 3)
    assert found.decided
    assert found.patch_size == 56


def test_lower_is_better_turns_the_choice_around(choose, rng):
    base = rng.normal(0.5, 0.05, 40)
    found = choose([base - 0.3, base, base + 0.1], direction="lower")
    assert found.patch_size == 16
    assert not found.decided


def test_undecided_says_how_many_photos_would_decide(choose, rng):
    gap = rng.normal(0.005, 0.06, 40)
    gap += 0.005 - gap.mean()
    base = rng.normal(0.5, 0.1, 40)
    found = choose([base, base - gap, base - 0.3])
    assert not found.decided
    wanted = int(np.ceil((1.96 * gap.std(ddof=1) / 0.015) ** 2))
    assert f"about {max(wanted, 41):,} images would show" in found.reason
    assert found.tied_with == ("occlusion(patch_size=32)",)


def test_photos_that_one_size_could_not_score_do_not_count(choose, rng):
    base = rng.normal(0.5, 0.1, 30)
    holed = base.copy()
    holed[:5] = np.nan
    found = choose([base, holed, base])
    assert found.decided
    assert "on 25 images" in found.reason


def test_the_simultaneous_bound_holds_as_often_as_it_says(choose, rng):
    """A size that is really worse by the margin must seldom be said to lose less."""
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
