"""Runs side by side: against slow loops and by hand; what is refused and what is left out."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from evalkit.analysis.compare_runs import compare_runs
from evalkit.analysis.load import RunScores
from evalkit.analysis.statistics.paired_tests import compare_means
from evalkit.analysis.statistics.resampling import Resampling
from evalkit.core.errors import NotComparableError
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.store.manifest import Signatures
from tests.builders import image_row, manifest, score_table, statistics_size

SIZES = {name: statistics_size(METRICS.build(name)) for name in DEFAULT_METRICS if METRICS.get(name).set_level}


def made_up(name, values, metrics=("deletion",), explainers=None, photos=None, statistics=None, **changes):
    """Return a run of made-up scores (n, E, M); ``changes`` replace fields of the manifest's parts or the rows."""
    values = np.asarray(values, dtype=float)
    if values.ndim < 3:
        values = values.reshape(len(values), -1, 1)
    explainers = tuple(f"explainer{at}" for at in range(values.shape[1])) if explainers is None else tuple(explainers)
    photos = range(len(values)) if photos is None else photos
    rows = [
        image_row(
            f"{photo}.jpg",
            at,
            class_index=0,
            label="dog",
            sha256=f"sha{photo}",
            target=0,
            predicted=0,
            clean_score=0.9,
            place="here",
            object_share=0.25,
        )
        for at, photo in enumerate(photos)
    ]
    made = manifest(
        metrics=metrics,
        model={
            "name": "vgg.keras",
            "input_size": (32, 32),
            "accuracy": 0.875,
            "n_right": 7,
            **changes.get("model", {}),
        },
        data={"n_images": len(rows)},
        settings=changes.get("settings"),
        versions=changes.get("versions", {"evalkit": "0.1.0", "keras": "3.12"}),
    )
    lines = {"explainers": {text: f"{text}|v:1" for text in explainers}, "metrics": made.signature.metrics}
    lines = {key: {**line, **changes.get("lines", {}).get(key, {})} for key, line in lines.items()}
    made = msgspec.structs.replace(made, signature=Signatures("run", **lines))
    table = score_table(
        values, explainers, metrics, image_ids=tuple(row.image_id for row in rows), statistics=statistics or {}
    )
    return RunScores(name, made, table, changes.get("rows", lambda rows: rows)(rows))


def sets(name, numbers, metric="max_box_acc_v1", **changes):
    """Return a run of one dataset-level metric: statistics (n, E, K)."""
    values = np.full((*numbers.shape[:2], 1), np.nan)
    return made_up(name, values, (metric,), statistics={metric: numbers}, **changes)


def compared(*runs, **options):
    metrics = [METRICS.build(text) for text in runs[0].manifest.metrics]
    return compare_runs(runs, metrics, **{"n_resamples": 500, **options})


def refused(*runs):
    with pytest.raises(NotComparableError) as caught:
        compared(*runs)
    return str(caught.value)


def test_difference_is_later_minus_first_on_shared_scored_images(rng):
    first, later = rng.random((2, 30, 2))
    first[:4, 0], later[2:7, 0], later[29, 1] = np.nan, np.nan, np.nan
    found = compared(made_up("one", first), made_up("two", later))
    assert found.n_shared == 30
    for place, cell in enumerate(found.cells):
        both = np.isfinite(first[:, place]) & np.isfinite(later[:, place])
        assert (cell.explainer, cell.metric, cell.run) == (f"explainer{place}", "deletion", "B")
        assert cell.n_images == both.sum() == (23, 29)[place]
        assert cell.first_mean == pytest.approx(first[both, place].mean())
        assert cell.mean == pytest.approx(later[both, place].mean())
        assert cell.difference == pytest.approx((later - first)[both, place].mean())
        assert cell.ci_low < cell.difference < cell.ci_high


def test_images_are_paired_by_content_in_any_order_and_number(rng):
    first, later = rng.random((2, 12, 2))
    plain = compared(made_up("one", first), made_up("two", later))
    order = rng.permutation(12)
    extra = np.concatenate([later[order], rng.random((3, 2))])
    mixed = compared(made_up("one", first), made_up("two", extra, photos=[*order, 90, 91, 92]))
    assert mixed.cells == plain.cells
    assert mixed.n_shared == 12
    assert [run.n_images for run in mixed.runs] == [12, 15]
    assert plain.left_out == ()
    assert mixed.left_out == ("3 of up to 15 images are not the same in every run",)
    back = compared(made_up("two", extra, photos=[*order, 90, 91, 92]), made_up("one", first))
    assert [cell.difference for cell in back.cells] == pytest.approx([-cell.difference for cell in plain.cells])


def test_names_of_images_do_not_matter(rng):
    first, later = rng.random((2, 8, 1))

    def renamed(rows):
        return [replace(row, image_id=f"elsewhere/{row.image_id}") for row in rows]

    found = compared(made_up("one", first), made_up("two", later, rows=renamed))
    assert found.cells == compared(made_up("one", first), made_up("two", later)).cells


def test_pairs_are_every_explainer_in_every_later_run_against_the_first(rng):
    scores = rng.random((3, 25, 2)) * 0.4 + np.array([0.0, 0.1, 0.3])[:, None, None]
    scores[1, 0, 0], scores[2, 1:3, 1], scores[0, 4, 1] = np.nan, np.nan, np.nan
    found = compared(*(made_up(str(at), one) for at, one in enumerate(scores)))
    columns = np.stack([scores[run, :, place] for place in (0, 1) for run in (0, 1, 2)], axis=1)
    pairs = np.array([(1, 0), (2, 0), (4, 3), (5, 3)])
    family = compare_means(columns, Resampling(0, 500), 1.0, pairs=pairs, intervals=True)
    assert [(cell.explainer, cell.run) for cell in found.cells] == [
        (f"explainer{place}", run) for place in (0, 1) for run in "BC"
    ]
    assert [cell.p_value for cell in found.cells] == pytest.approx(family.p_values)
    assert [cell.ci_low for cell in found.cells] == pytest.approx(family.low)
    assert [cell.ci_high for cell in found.cells] == pytest.approx(family.high)
    assert [cell.n_images for cell in found.cells] == family.n_images.tolist() == [24, 25, 24, 22]
    assert {cell.verdict for cell in found.cells} == {"tied", "worse"}


def contradictions(found):
    """Return the cells whose interval and verdict do not agree, and the number of cells with a verdict."""
    excludes = [cell.ci_low is not None and (cell.ci_low > 0 or cell.ci_high < 0) for cell in found.cells]
    decided = [cell.verdict in ("better", "worse", "different") for cell in found.cells]
    odd = [cell for cell, one, other in zip(found.cells, excludes, decided, strict=True) if one is not other]
    return odd, sum(decided)


@pytest.mark.parametrize("metric", ["deletion", "insertion(score=log_odds)", "max_sensitivity"])
def test_interval_excludes_zero_exactly_where_it_is_not_tied(metric):
    """319 of 1,000 such cells were called tied."""
    rng = np.random.default_rng(6)
    n_decided = 0
    for n_images in (12, 24, 60):
        tails = rng.pareto(2.5, (3, n_images, 40)).clip(0, 10) / 10
        shifts = np.linspace(0, 0.3, 40) * np.array([0, 1, -1])[:, None, None]
        runs = [made_up(str(at), one, (metric,)) for at, one in enumerate(0.4 + 0.6 * tails * 0.5 + shifts)]
        odd, decided = contradictions(compared(*runs))
        assert odd == []
        n_decided += decided
    assert 20 < n_decided < 3 * 80


def test_interval_of_a_set_excludes_zero_exactly_where_it_is_not_tied(rng):
    first, later = hits(rng, (0.3, 0.5, 0.5, 0.4), 24), hits(rng, (0.9, 0.55, 0.5, 0.6), 24)
    odd, decided = contradictions(compared(sets("one", first), sets("two", later)))
    assert odd == []
    assert decided > 0


def test_intervals_of_a_metric_hold_together(rng):
    """Of ten explainers without a difference all intervals contain 0 in nearly every comparison."""
    wrong = 0
    for _ in range(40):
        first, later = rng.beta(2, 3, (2, 24, 10))
        cells = compared(made_up("one", first), made_up("two", later), n_resamples=299).cells
        wrong += any(cell.ci_low > 0 or cell.ci_high < 0 for cell in cells)
    assert wrong <= 6


@pytest.mark.parametrize(("n_images", "tested"), [(2, False), (5, False), (6, True), (10, True)])
def test_fewer_than_six_images_have_a_difference_and_no_test(n_images, tested):
    """With six images even a difference of the whole range in each barely is significant: p = 2 x 2^-6."""
    first, later = np.zeros((n_images, 1)), np.ones((n_images, 1))
    (cell,) = compared(made_up("one", first), made_up("two", later)).cells
    assert (cell.difference, cell.n_images) == (1.0, n_images)
    if tested:
        assert cell.p_value == pytest.approx(max(2 * 0.5**n_images, 1.5 / 501), rel=0.05)
        assert 0 < cell.ci_low < cell.ci_high <= 1
        assert (cell.verdict, cell.ci_reason) == ("worse", None)
    else:
        assert (cell.p_value, cell.ci_low, cell.ci_high) == (None, None, None)
        assert (cell.verdict, cell.ci_reason) == ("not tested", "fewer than 6 images")


def hits(rng, shares, n_images=8, size=100):
    return np.stack([(rng.random((n_images, size)) < share).astype(float) for share in shares], axis=1)


@pytest.mark.parametrize("metric", ["max_box_acc_v1", "max_box_acc_v2"])
def test_dataset_level_metrics_equal_a_slow_loop(rng, metric):
    aggregate, size = METRICS.build(metric).aggregate, SIZES[metric]
    first, later = hits(rng, (0.3, 0.5), 24, size), hits(rng, (0.6, 0.55), 24, size)
    first[2, 0], later[5, 1] = np.nan, np.nan
    found = compared(sets("one", first, metric), sets("two", later, metric), n_resamples=200)

    def gap(place, images):
        one, two = later[images, place], first[images, place]
        return float(aggregate(one.mean(axis=0)) - aggregate(two.mean(axis=0)))

    shared = [np.flatnonzero(np.isfinite(first[:, place, 0] + later[:, place, 0])) for place in (0, 1)]
    counts = Resampling(0, 200).counts(23)
    observed = np.array([gap(place, shared[place]) for place in (0, 1)])
    drawn = np.array([[gap(place, np.repeat(shared[place], row)) for place in (0, 1)] for row in counts]) - observed
    spread = drawn.std(axis=0)
    without = [[gap(place, np.delete(shared[place], index)) for index in range(23)] for place in (0, 1)]
    influences = np.mean(without, axis=1)[:, None] - without
    # Room for four unseen images like the most influential one.
    error = np.sqrt(spread**2 * 23 / 22 + 4 * (influences**2).max(axis=1) * (22 / 23) ** 2)
    highest = np.abs(drawn / spread).max(axis=1)
    reach = np.sort(highest)[::-1][9]  # of 200: p < 0.05 where at most 9 reach the statistic
    for place, cell in enumerate(found.cells):
        both = shared[place]
        assert cell.n_images == len(both) == 23
        assert cell.first_mean == pytest.approx(float(aggregate(first[both, place].mean(axis=0))))
        assert cell.mean == pytest.approx(float(aggregate(later[both, place].mean(axis=0))))
        assert cell.difference == pytest.approx(observed[place])
        reached = np.sum(highest >= abs(observed[place]) / error[place] - 1e-9)
        assert cell.p_value == pytest.approx((1 + reached) / 201)
        low, high = observed[place] - reach * error[place], observed[place] + reach * error[place]
        assert (cell.ci_low, cell.ci_high) == pytest.approx((low, high))


def test_statistics_missing_in_one_run_are_not_scored(rng):
    for metric, size in SIZES.items():
        numbers = rng.integers(1, 3, (6, 2, size)).astype(float)
        bare = made_up("two", np.full((6, 2, 1), np.nan), (metric,))
        for pair in ((sets("one", numbers, metric), bare), (bare, sets("one", numbers, metric)), (bare, bare)):
            cells = compared(*pair).cells
            assert {(one.verdict, one.n_images, one.difference, one.p_value) for one in cells} == {
                ("not scored", 0, None, None)
            }
        third = compared(sets("one", numbers, metric), bare, sets("three", numbers, metric)).cells
        assert [one.verdict for one in third] == ["not scored", "tied"] * 2


def test_three_runs_are_compared_with_the_first(rng):
    base = rng.random((20, 2))
    runs = [made_up(name, base + shift) for name, shift in (("a", 0.0), ("b", 0.25), ("c", -0.5))]
    found = compared(*runs)
    assert [run.letter for run in found.runs] == ["A", "B", "C"]
    assert [run.name for run in found.runs] == ["a", "b", "c"]
    assert [cell.run for cell in found.cells] == ["B", "C"] * 2
    assert [cell.difference for cell in found.cells] == pytest.approx([0.25, -0.5] * 2)
    assert [cell.verdict for cell in found.cells] == ["worse", "better"] * 2


@pytest.mark.parametrize(
    ("metric", "word"), [("deletion", "worse"), ("average_drop", "worse"), ("insertion", "better")]
)
def test_better_is_lower_where_lower_is_better(rng, metric, word):
    first = 0.8 * rng.random(60)
    later = first + 0.1 + 0.01 * rng.random(60)
    (cell,) = compared(made_up("one", first, (metric,)), made_up("two", later, (metric,))).cells
    assert cell.direction == METRICS.get(metric).spec.direction
    assert cell.difference > 0
    assert cell.verdict == word
    (cell,) = compared(made_up("two", later, (metric,)), made_up("one", first, (metric,))).cells
    assert cell.difference < 0
    assert cell.verdict == {"worse": "better", "better": "worse"}[word]


def test_p_values_grow_with_comparisons_of_the_same_metric_only(rng):
    first = rng.random((18, 1, 1))
    later = first + rng.normal(0.05, 0.1, (18, 1, 1))
    (alone,) = compared(made_up("one", first), made_up("two", later)).cells
    more_first, more_later = rng.random((2, 18, 9, 1))
    cell = compared(
        made_up("one", np.concatenate([first, more_first], axis=1)),
        made_up("two", np.concatenate([later, more_later], axis=1)),
    ).cells[0]
    assert cell.p_value > alone.p_value
    beside = compared(
        made_up("one", np.concatenate([first, rng.random((18, 1, 1))], axis=2), ("deletion", "insertion")),
        made_up("two", np.concatenate([later, rng.random((18, 1, 1))], axis=2), ("deletion", "insertion")),
    ).cells[0]
    assert beside == alone


def test_cells_without_a_shared_score_are_not_scored(rng):
    first, later = rng.random((2, 10, 3))
    later[:, 1] = np.nan
    first[:5, 2], later[5:, 2] = np.nan, np.nan
    found = compared(made_up("one", first), made_up("two", later))
    for cell in found.cells[1:]:
        assert cell.verdict == "not scored"
        assert (cell.first_mean, cell.mean, cell.difference, cell.ci_low, cell.ci_high, cell.p_value) == (None,) * 6
        assert cell.ci_reason == "nothing was scored"
        assert cell.n_images == 0
    assert found.cells[0].n_images == 10
    json.dumps(msgspec.to_builtins(found), allow_nan=False)


def test_one_shared_image_has_a_difference_but_no_test(rng):
    (cell,) = compared(made_up("one", [0.25]), made_up("two", [0.75])).cells
    assert (cell.difference, cell.n_images, cell.p_value, cell.verdict) == (0.5, 1, None, "not tested")
    assert cell.ci_reason == "fewer than 6 images"
    numbers = np.ones((1, 1, 100))
    (cell,) = compared(sets("one", 0 * numbers), sets("two", numbers)).cells
    assert (cell.difference, cell.n_images, cell.p_value, cell.verdict) == (1.0, 1, None, "not tested")


def test_equal_runs_are_tied_with_difference_zero(rng):
    values = rng.random((20, 3, 2))
    values[4, 1] = np.nan
    run = made_up("one", values, ("deletion", "sparseness"))
    found = compared(run, run)
    assert {(cell.difference, cell.p_value, cell.verdict) for cell in found.cells} == {(0.0, 1.0, "tied")}
    assert {(cell.ci_low, cell.ci_high) for cell in found.cells} == {(None, None)}
    assert found.differs == found.left_out == ()
    (cell,) = compared(*[sets("one", hits(rng, (0.5,)))] * 2).cells
    assert (cell.difference, cell.p_value, cell.verdict) == (0.0, 1.0, "tied")


def test_runs_equal_but_for_rounding_are_tied(rng):
    values = rng.random((20, 2))
    found = compared(made_up("one", values), made_up("two", values + rng.choice([0, 1e-16], (20, 2))))
    assert {cell.verdict for cell in found.cells} == {"tied"}


def test_equal_seeds_agree_and_other_seeds_nearly_agree(rng):
    first, later = rng.random((2, 25, 2))
    runs = made_up("one", first), made_up("two", later)
    assert compared(*runs, seed=3) == compared(*runs, seed=3)
    one, other = compared(*runs, seed=3).cells[0], compared(*runs, seed=4).cells[0]
    assert one.difference == other.difference
    assert one.ci_low != other.ci_low


def test_an_image_missing_in_the_third_run_is_missing_for_all(rng):
    values = rng.random((10, 1))
    found = compared(made_up("a", values), made_up("b", values + 0.5), made_up("c", values[:7], photos=range(7)))
    assert found.n_shared == 7
    assert {cell.n_images for cell in found.cells} == {7}


@pytest.mark.parametrize(
    ("setting", "one", "other"), [("target", "label", "predicted"), ("geometry", "squash", "center-crop")]
)
def test_another_target_or_geometry_is_refused_with_both_values(rng, setting, one, other):
    values = rng.random((6, 1))
    same = made_up("runs/one", values), made_up("runs/two", values)
    odd = made_up("runs/odd", values, settings={setting: other})
    text = refused(same[0], odd)
    assert "'runs/one' and 'runs/odd' are not comparable" in text
    assert f"{setting} is {one} in A and {other} in B" in text
    assert f"run both with the same --{setting}" in text
    assert f"{setting} is {one} in A and {other} in C" in refused(*same, odd)
    assert NotComparableError.exit_code == 3


def test_metrics_that_all_differ_are_refused_with_both_values(rng):
    values = rng.random((6, 1))
    text = refused(made_up("one", values), made_up("two", values, **signed("metrics", "deletion|v:1|steps:8")))
    assert "no metric is the same in all: metric deletion: steps is 28 in A, 8 in B" in text


def signed(kind, line):
    """Return changes: the signature of what the line names."""
    return {"lines": {kind: {line.partition("|")[0]: line}}}


def test_explainers_that_all_differ_are_refused_with_both_values(rng):
    values = rng.random((6, 1))
    one = made_up("one", values, explainers=["random"], **signed("explainers", "random|v:1|seed:0"))
    two = made_up("two", values, explainers=["random"], **signed("explainers", "random|v:2|seed:5"))
    text = refused(one, two)
    assert "'one', 'two' are not comparable: no explainer is the same in all" in text
    assert "explainer random: version is 1 in A, 2 in B, seed is 0 in A, 5 in B" in text


def test_nothing_shared_is_refused_and_each_side_is_named(rng):
    values = rng.random((6, 1))
    text = refused(made_up("one", values, explainers=["cam"]), made_up("two", values, explainers=["gradcam"]))
    assert "explainer cam: not in B; explainer gradcam: only in B" in text
    text = refused(made_up("one", values, ["deletion"]), made_up("two", values, ["insertion"]))
    assert "no metric is the same in all: metric deletion: not in B; metric insertion: only in B" in text


def test_other_images_are_refused(rng):
    values = rng.random((6, 1))
    text = refused(made_up("one", values), made_up("two", values, photos=range(6, 12)))
    assert "no image is the same in all: 6 of up to 6 images are not the same in every run" in text


@pytest.mark.parametrize(
    ("field", "value"),
    [("sha256", "other"), ("class_index", 2), ("label", "cat"), ("place", "elsewhere"), ("place", None)],
)
def test_equal_images_have_equal_content_class_and_region(rng, field, value):
    first, later = rng.random((2, 8, 1))

    def changed(rows):
        return [*rows[:2], replace(rows[2], **{field: value}), *rows[3:]]

    found = compared(made_up("one", first), made_up("two", later, rows=changed))
    assert found.n_shared == 7
    assert found.left_out == ("1 of up to 8 images are not the same in every run",)
    held = np.arange(8) != 2
    assert found.cells[0].difference == pytest.approx((later - first)[held].mean())


def test_images_unreadable_in_one_run_are_left_out_and_counted(rng):
    def lost(rows):
        bare = replace(rows[0], sha256="", problem="cannot be decoded", target=None, object_share=None)
        return [bare, *rows[1:]]

    later = rng.random((5, 1))
    later[0] = np.nan
    found = compared(made_up("one", rng.random((5, 1))), made_up("two", later, rows=lost))
    assert (found.n_shared, found.cells[0].n_images) == (4, 4)
    assert found.left_out == ("1 of up to 5 images could not be read in at least one run",)


def test_incomparable_parts_are_left_out_with_reasons(rng):
    values = rng.random((6, 2, 3))
    metrics = ("deletion", "insertion", "sparseness")
    one = made_up("one", values, metrics, ["cam", "random"])
    two = made_up(
        "two", values[:, ::-1], ("sparseness", "deletion", "pointing_game"), ["random", "gradcam"],
        **signed("metrics", "deletion|v:2|steps:28"),
    )  # fmt: skip
    found = compared(one, two)
    assert [(cell.explainer, cell.metric) for cell in found.cells] == [("random", "sparseness")]
    assert found.left_out == (
        "explainer cam: not in B",
        "explainer gradcam: only in B",
        "metric deletion: version is 1 in A, 2 in B",
        "metric insertion: not in B",
        "metric pointing_game: only in B",
    )
    assert found.cells[0].difference == pytest.approx((values[:, 1, 0] - values[:, 1, 2]).mean())


def test_parts_missing_in_one_of_three_runs_are_left_out(rng):
    values = rng.random((6, 2))
    runs = [made_up(name, values, explainers=["cam", "random"]) for name in "ab"]
    found = compared(*runs, made_up("c", values[:, :1], explainers=["cam"]))
    assert {cell.explainer for cell in found.cells} == {"cam"}
    assert found.left_out == ("explainer random: not in C",)


def test_images_with_different_predicted_classes_are_left_out(rng):
    first, later = rng.random((2, 8, 1))

    def other_target(rows):
        return [replace(row, target=1 if at < 3 else 0) for at, row in enumerate(rows)]

    predicted = {"settings": {"target": "predicted"}}
    one, two = made_up("one", first, **predicted), made_up("two", later, rows=other_target, **predicted)
    found = compared(one, two)
    assert found.n_shared == 5
    assert found.left_out == ("3 images: the models explain different classes",)
    assert found.cells[0].difference == pytest.approx((later - first)[3:].mean())


def test_differences_of_model_and_versions_are_listed(rng):
    values = rng.random((6, 1))
    model = {"name": "res.keras", "fingerprint": "e" * 64, "precision": "bfloat16", "input_size": (48, 32)}
    two = made_up("two", values, model=model, versions={"evalkit": "0.1.0", "keras": "3.13", "scipy": "2"})
    found = compared(made_up("one", values), two)
    assert set(found.differs) == {
        "model: A vgg.keras, B res.keras",
        f"fingerprint: A {'f' * 16}, B {'e' * 16}",
        "input size: A 32 x 32, B 48 x 32",
        "precision: A float32, B bfloat16",
        "keras: A 3.12, B 3.13",
        "scipy: A unknown, B 2",
    }
    assert found.runs[1].versions["keras"] == "3.13"


def test_thousands_of_images_take_seconds(rng):
    first, later = rng.random((2, 2_000, 2))
    found = compared(made_up("one", first), made_up("two", later), n_resamples=1_000)
    assert {cell.n_images for cell in found.cells} == {2_000}
    assert all(re.fullmatch("better|worse|tied", cell.verdict) for cell in found.cells)


def test_every_metric_can_be_compared(rng):
    metrics = DEFAULT_METRICS
    statistics = {name: rng.integers(1, 3, (2, 7, 2, size)).astype(float) for name, size in SIZES.items()}
    runs = []
    for at in (0, 1):
        values = rng.random((7, 2, len(metrics)))
        for place, name in enumerate(metrics):
            if METRICS.get(name).set_level:
                values[..., place] = np.nan
        runs.append(made_up(str(at), values, metrics, statistics={name: one[at] for name, one in statistics.items()}))
    found = compared(*runs)
    assert [cell.metric for cell in found.cells] == [name for name in metrics for _ in (0, 1)]
    assert {cell.n_images for cell in found.cells} == {7}
    assert {cell.verdict for cell in found.cells} <= {"better", "worse", "tied"}


def test_order_of_images_hardly_moves_p_values(rng):
    """Which image is drawn how often depends on its position; the rest does not."""
    first, later = rng.beta(2, 3, (2, 24, 3)) * 0.6 + np.array([0.0, 0.2])[:, None, None]
    found = [
        compared(made_up("one", first[order]), made_up("two", later[order]), n_resamples=4_000).cells
        for order in (np.arange(24), rng.permutation(24))
    ]
    for one, other in zip(*found, strict=True):
        assert one.difference == pytest.approx(other.difference)
        assert one.p_value == pytest.approx(other.p_value, abs=0.02)
        assert one.verdict == other.verdict


def test_images_that_are_alike_are_paired_in_their_order(rng):
    def doubled(rows):
        return [*rows[:4], replace(rows[4], sha256=rows[3].sha256), *rows[5:]]

    first = rng.random((6, 1))
    found = compared(made_up("one", first, rows=doubled), made_up("two", first, rows=doubled))
    assert found.n_shared == 5  # the copies are one image
    assert found.left_out == ()
    assert found.cells[0].difference == 0


def by_photo(each, other_target=()):
    """Return a function that makes the rows entries of photos, each entry of another class."""

    def change(rows):
        return [
            replace(row, sha256=f"sha{index // each}", label=f"class {index % each}", target=int(index in other_target))
            for index, row in enumerate(rows)
        ]

    return change


def test_images_of_a_comparison_are_photos(rng):
    """Ten photos with three entries; the later run lacks one entry of each, and the last photo."""
    values = rng.random((30, 1))
    kept = [index for index in range(30) if index % 3 and index < 27]
    one = made_up("one", values, rows=by_photo(3))
    two = made_up("two", values[kept], rows=lambda _: [one.images[index] for index in kept])
    found = compared(one, two)
    assert [run.n_images for run in found.runs] == [10, 9]
    assert (found.n_shared, found.cells[0].n_images, found.cells[0].difference) == (9, 9, 0)
    assert found.left_out == (
        "1 of up to 10 images are not the same in every run",
        "9 of up to 27 entries of shared images are not in every run",
    )


def test_photos_with_another_class_are_counted_once(rng):
    values = rng.random((30, 1))
    predicted = {"settings": {"target": "predicted"}}
    one = made_up("one", values, rows=by_photo(3), **predicted)
    two = made_up("two", values, rows=by_photo(3, other_target=range(6)), **predicted)
    found = compared(one, two)
    assert found.n_shared == 8
    assert found.left_out == ("2 images: the models explain different classes",)


def test_photos_that_cannot_be_read_are_counted_apart(rng):
    values = rng.random((12, 1))

    def unread(rows):
        return [replace(row, sha256="") if index >= 9 else row for index, row in enumerate(by_photo(3)(rows))]

    found = compared(made_up("one", values, rows=by_photo(3)), made_up("two", values, rows=unread))
    assert found.n_shared == 3
    assert found.runs[1].n_images == 6  # three photos, and three entries of which nothing is known


def test_a_metric_without_a_better_end_is_different_not_worse(rng):
    first = 0.5 + rng.normal(0, 0.02, (24, 1))
    (cell,) = compared(made_up("one", first, ("sparseness",)), made_up("two", first - 0.3, ("sparseness",))).cells
    assert (cell.verdict, cell.direction) == ("different", "")
