"""The patch-size sweep: rows, why there is no choice, equal strides, object sizes."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.choice.sweep import sweep
from evalkit.analysis.results import LeaderboardCell, SweepScore
from evalkit.metrics.catalog import METRICS
from evalkit.store.scores import ScoreTable


@pytest.fixture
def swept(facts):
    """Sweep over (patch size, stride) pairs by their scores, a column each, with a control before them."""

    def call(sizes, columns, *, metric="insertion", criterion=None, shares=None, cells=(), margin=0.02):
        explainers = [facts("random", control=True)]
        explainers += [facts("occlusion", size, stride=stride, passes=(224 // stride) ** 2) for size, stride in sizes]
        values = np.stack([np.zeros(len(columns[0])), *columns], axis=1)[..., None] if columns else np.zeros((3, 1, 1))
        table = ScoreTable(
            tuple(f"{number}.jpg" for number in range(len(values))),
            tuple(one.text for one in explainers),
            (metric,),
            values,
            {},
            {},
            None if shares is None else np.array(shares, dtype=float),
        )
        return sweep(
            table,
            [METRICS.build(metric)],
            explainers,
            cells,
            criterion=criterion or metric,
            margin=margin,
            seed=0,
            n_resamples=500,
        )

    return call


@pytest.fixture
def near(rng):
    """Make columns that lie closely beside each other, each lower by a step than the one before it."""

    def call(count, n_images, step=0.0):
        base = rng.normal(0.5, 0.1, n_images)
        return [base - step * place + rng.normal(0, 0.005, n_images) for place in range(count)]

    return call


def test_sweep_rows_are_sorted_and_have_cost_and_scores(swept, near):
    text = "occlusion(patch_size=32, stride=16)"
    cells = [
        LeaderboardCell(text, "insertion", "higher", 0.5, 0.4, 0.6, None, 20, 1, 1, ()),
        LeaderboardCell(text, "deletion", "lower", None, None, None, "nothing was scored", 0, 21, None, ()),
        LeaderboardCell("random", "insertion", "higher", 0.1, 0.0, 0.2, None, 20, 1, 2, (text,)),
    ]
    found = swept([(56, 56), (32, 32), (16, 16), (32, 16)], near(4, 20), cells=cells).patch_sweep
    assert [(row.patch_size, row.stride) for row in found] == [(16, 16), (32, 16), (32, 32), (56, 56)]
    row = found[1]
    assert (row.explainer, row.positions, row.forward_passes, row.seconds_per_image) == (text, 196, 196, 0.5)
    assert row.metrics == {
        "insertion": SweepScore(0.5, 0.4, 0.6, 20, 1), "deletion": SweepScore(None, None, None, 0),
    }  # fmt: skip
    assert found[0].metrics == {}


def test_choice_uses_criterion_and_its_direction(swept, near):
    columns = near(3, 60, step=0.1)
    sizes = [(16, 16), (32, 32), (56, 56)]
    higher, lower = (swept(sizes, columns, metric=metric) for metric in ("insertion", "deletion"))
    assert (higher.best_patch_size.patch_size, higher.best_patch_size.criterion) == (16, "insertion")
    assert (lower.best_patch_size.patch_size, lower.best_patch_size.criterion) == (56, "deletion")
    assert higher.best_patch_size.decided
    assert lower.best_patch_size.decided
    assert higher.best_patch_size_reason is lower.best_patch_size_reason is None
    assert swept(sizes, columns, margin=0.5).best_patch_size.patch_size == 56


def test_width_of_criterion_bounds_equal_scores(swept):
    equal = [np.linspace(0, 1, 200)] * 2
    decided = {
        metric: swept([(16, 16), (32, 32)], equal, metric=metric).best_patch_size.decided
        for metric in ("pointing_game", "symmetric_relevance_gain")
    }
    assert decided == {"pointing_game": True, "symmetric_relevance_gain": False}


@pytest.mark.parametrize("n_images", [2, 12, 200])
@pytest.mark.parametrize("spread", [0.0, 5.0])
def test_a_criterion_without_bounds_takes_the_range_of_the_scores(swept, n_images, spread):
    equal = [np.linspace(0, spread, n_images)] * 2
    metric = "symmetric_relevance_gain(score=log_odds)"
    found = swept([(16, 16), (32, 32)], equal, metric=metric, margin=0.3).best_patch_size
    assert found.criterion == metric
    assert found.decided == (n_images == 200 or (n_images == 12 and spread == 0))
    if not found.decided and n_images == 12:
        # 1 - 0.05 ** (1 / 49) of a range of 5 is 0.297.
        assert found.n_wanted == pytest.approx(49, rel=0.04)


@pytest.mark.parametrize(
    ("metric", "criterion", "reason"),
    [
        ("insertion", "deletion", "the criterion deletion is not among the run's metrics"),
        ("pxap", "pxap", "pxap scores the image set as a whole; a choice needs a metric that scores single images"),
    ],
)
def test_a_criterion_that_cannot_decide_is_named(swept, near, metric, criterion, reason):
    found = swept([(16, 8), (32, 8)], near(2, 40), metric=metric, criterion=criterion, shares=[0.2] * 40)
    assert len(found.patch_sweep) == 2
    assert found[1:] == (None, reason, (), ())


def test_one_size_gives_a_reason_and_none_gives_no_sweep(swept, near):
    found = swept([(16, 8)], near(1, 40), shares=[0.2] * 40)
    assert len(found.patch_sweep) == 1
    assert found[1:] == (None, "only one patch size was run", (), ())
    assert swept([], []) == ((), None, None, (), ())


def test_sizes_that_share_no_two_images_have_no_choice(swept, near):
    first, second = near(2, 12)
    first[:6], second[7:] = np.nan, np.nan
    found = swept([(16, 16), (32, 32)], [first, second])
    assert found.best_patch_size is None
    assert found.best_patch_size_reason == "fewer than two images were scored by insertion for every patch size"


def test_sizes_are_compared_at_each_stride_that_several_share(swept, near):
    columns = near(5, 60, step=0.1)
    sizes = [(16, 8), (32, 16), (16, 16), (56, 16), (56, 56)]
    found = swept(sizes, columns)
    assert (found.best_patch_size.patch_size, found.best_patch_size.stride) == (16, 8)
    assert [one.stride for one in found.at_equal_stride] == [16]
    choice = found.at_equal_stride[0].best_patch_size
    assert (choice.patch_size, choice.stride, choice.decided) == (32, 16, True)
    found = swept([*sizes, (40, 8)], [*columns, columns[0] + 0.2])
    assert [(one.stride, one.best_patch_size.patch_size) for one in found.at_equal_stride] == [(8, 40), (16, 32)]


def test_equal_stride_choice_needs_a_stride_of_several_sizes(swept, near):
    assert swept([(16, 8), (32, 8), (56, 8)], near(3, 40)).at_equal_stride == ()
    assert swept([(16, 16), (32, 32), (56, 56)], near(3, 40)).at_equal_stride == ()


def test_at_a_shared_stride_only_its_own_sizes_need_a_score(swept, near):
    columns = near(3, 40, step=0.1)
    columns[2][:25] = np.nan
    found = swept([(16, 8), (32, 8), (56, 56)], columns)
    assert found.best_patch_size.n_images == 15
    assert [(one.stride, one.best_patch_size.n_images) for one in found.at_equal_stride] == [(8, 40)]


def test_object_size_bins_include_only_their_lower_limit(swept, near):
    shares = [0.0, 0.0999, 0.1, 0.2, 0.2999, 0.3, 0.9, 1.0, np.nan, np.nan]
    found = swept([(16, 16), (32, 32)], near(2, 10), shares=shares).by_object_size
    assert [(one.object_size, one.share_from, one.share_to, one.n_images) for one in found] == [
        ("small", 0.0, 0.1, 2), ("medium", 0.1, 0.3, 3), ("large", 0.3, 1.0, 3),
    ]  # fmt: skip


def test_object_size_bin_needs_30_images_for_a_recommendation(swept, near):
    first, second = near(2, 65, step=0.1)
    shares = np.repeat([0.05, 0.2, np.nan], [29, 30, 6])
    second[29:59] += 0.3
    first[59:] = 5.0
    texts = ["occlusion(patch_size=16)", "occlusion(patch_size=32)"]
    small, medium, large = swept([(16, 16), (32, 32)], [first, second], shares=shares).by_object_size
    for one, rows in [(small, slice(0, 29)), (medium, slice(29, 59))]:
        assert one.means == pytest.approx(dict(zip(texts, [first[rows].mean(), second[rows].mean()], strict=True)))
    assert (small.n_images, small.best_patch_size, small.reason) == (29, None, "fewer than 30 images")
    assert (medium.n_images, medium.best_patch_size.patch_size, medium.reason) == (30, 32, None)
    assert medium.best_patch_size.n_images == 30
    assert large.means == dict.fromkeys(texts)
    assert (large.n_images, large.best_patch_size, large.reason) == (0, None, "fewer than 30 images")


def test_a_bin_counts_the_images_that_every_size_scored(swept, near):
    first, second = near(2, 31)
    second[:2] = np.nan
    small = swept([(16, 16), (32, 32)], [first, second], shares=[0.05] * 31).by_object_size[0]
    assert (small.n_images, small.best_patch_size) == (29, None)
    assert small.means["occlusion(patch_size=16)"] == pytest.approx(first[2:].mean())


def test_without_a_known_object_there_are_no_bins(swept, near):
    first, second = near(2, 40)
    assert swept([(16, 16), (32, 32)], [first, second]).by_object_size == ()
    assert swept([(16, 16), (32, 32)], [first, second], shares=[np.nan] * 40).by_object_size == ()
    first[:20] = np.nan
    shares = np.repeat([0.2, np.nan], 20)
    assert swept([(16, 16), (32, 32)], [first, second], shares=shares).by_object_size == ()


@pytest.fixture
def filled(facts):
    """Sweep over (patch size, stride, fill) by their scores, a column each."""

    def call(settings, columns, **changes):
        explainers = [
            facts("occlusion", size, stride=stride, fill=fill, passes=(224 // stride) ** 2)
            for size, stride, fill in settings
        ]
        values = np.stack(columns, axis=1)[..., None]
        table = ScoreTable(
            tuple(map(str, range(len(values)))), tuple(one.text for one in explainers), ("insertion",),
            values, {}, {}, np.full(len(values), 0.05),
        )  # fmt: skip
        options = {"criterion": "insertion", "margin": 0.02, "seed": 0, "n_resamples": 500, **changes}
        return sweep(table, [METRICS.build("insertion")], explainers, (), **options)

    return call


FOUR = [(16, 16, "black"), (32, 32, "black"), (16, 16, "mean"), (32, 32, "mean")]


@pytest.mark.parametrize("best", ["black", "mean"])
def test_the_better_fill_of_a_size_is_recommended_by_name(filled, near, best):
    columns = near(4, 40, step=0.1)
    columns[FOUR.index((32, 32, best))] += 0.5
    found = filled(FOUR, columns)
    assert [(row.patch_size, row.variant) for row in found.patch_sweep] == [
        (16, {"fill": "black"}), (16, {"fill": "mean"}), (32, {"fill": "black"}), (32, {"fill": "mean"}),
    ]  # fmt: skip
    choice = found.best_patch_size
    assert (choice.patch_size, choice.variant, choice.decided, choice.tied_with) == (32, {"fill": best}, True, ())
    assert choice.explainer == f"occlusion(patch_size=32, fill={best})"
    named = f"patch_size=32, stride=32, fill={best}"
    assert choice.reason == f"{named} has significantly the best insertion of these settings, on 40 images."
    assert found.by_object_size[0].best_patch_size.reason == choice.reason
    assert found.by_object_size[0].best_patch_size.variant == {"fill": best}


def test_every_reason_names_the_fills_of_the_settings_it_compares(filled, near, rng):
    base = near(1, 40)[0]
    undecided = filled(FOUR, [base - 0.5, base + rng.normal(0, 0.3, 40), base - 0.5, base + rng.normal(0, 0.3, 40)])
    reason = undecided.best_patch_size.reason
    assert "fill=black" in reason
    assert "fill=mean" in reason
    assert "no cheaper setting is within 0.02 of it" in reason
    base = near(1, 240)[0]
    cheaper = filled(FOUR, [base, base - 0.3, base - 0.3, base - 0.001 + rng.normal(0, 0.002, 240)])
    assert "patch_size=32, stride=32, fill=mean is at most 0.0" in cheaper.best_patch_size.reason
    assert "the best (patch_size=16, stride=16, fill=black)" in cheaper.best_patch_size.reason
    noise = rng.normal(0, 0.002, 240)
    alike = filled(FOUR, [base, base - 0.3, base - 0.0001 + noise - noise.mean(), base - 0.3])
    assert "worse than any other setting; no setting shown to be within" in alike.best_patch_size.reason


def test_two_fills_of_one_size_are_compared(filled, near):
    found = filled([(16, 16, "black"), (16, 16, "blur")], near(2, 40, step=0.1))
    assert found.best_patch_size.variant == {"fill": "black"}
    assert found.best_patch_size_reason is None
    nothing = filled([(16, 16, "black"), (16, 16, "blur")], [np.full(5, np.nan), np.ones(5)])
    assert nothing.best_patch_size_reason == "fewer than two images were scored by insertion for every setting"


def test_at_equal_stride_names_say_what_differs_in_the_whole_sweep(filled, near):
    settings = [(16, 16, "mean"), (32, 16, "mean"), (32, 32, "black"), (56, 56, "black")]
    found = filled(settings, near(4, 40, step=0.1))
    assert [one.stride for one in found.at_equal_stride] == [16]
    assert found.at_equal_stride[0].best_patch_size.reason.startswith("patch_size=16, stride=16, fill=mean has")
    both = filled([*settings, (32, 16, "black")], [*near(4, 40, step=0.1), near(1, 40)[0] + 3])
    assert both.at_equal_stride[0].best_patch_size.variant == {"fill": "black"}
    # Two fills of one size do not make several sizes of one stride.
    assert filled(FOUR, near(4, 40)).at_equal_stride == ()
