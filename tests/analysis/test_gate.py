"""The gate: verdicts by hand, pairing, tolerances, drift; its statistics are in ``test_gate_statistics``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evalkit.analysis.gate.check import _exit_code, check_against
from evalkit.analysis.gate.tolerance import Tolerance, parse_tolerance
from evalkit.analysis.gate.verdict import paired_scores, verdicts
from evalkit.analysis.load import RunScores
from evalkit.core.errors import ConfigError, NotComparableError
from evalkit.report.gate.sentences import losses
from evalkit.store.baseline import BASELINE_VERSION, Baseline, BaselineModel
from evalkit.store.database import ImageRow
from evalkit.store.identity import image_keys
from evalkit.store.manifest import DataFacts, ExplainerFacts, Manifest, ModelFacts, Settings, Signatures
from evalkit.store.scores import ScoreTable, first_rows

NONE, TWO_HUNDREDTHS = Tolerance(0.0, relative=False), Tolerance(0.02, relative=False)


def rows(count, first=0, copies=1):
    return [
        ImageRow(f"{at}.jpg", at, 0, "dog", "", 1, 1, "t", f"sha{first + at // copies}", None, 0, 0, 0.9, "here", 0.2)
        for at in range(count)
    ]


def held(
    before,
    now,
    *,
    metric="insertion",
    tolerance="0.02",
    images=None,
    keys=None,
    lines=None,
    settings=None,
    hashes=None,
    target="label",
    unscored=None,
    with_photos=True,
    **options,
):
    """Hold scores (n, E) against a baseline of scores (n, E)."""
    before, now = (np.asarray(one, dtype=float).reshape(len(one), -1) for one in (before, now))
    texts = [f"explainer{at}" for at in range(before.shape[1])]
    was = {text: f"{text}|v:1|fill:black" for text in texts}
    baseline = Baseline(
        BASELINE_VERSION, "2026-11-25", target, "squash",
        BaselineModel("vgg.keras", "f" * 64, "float32", 0.9, 0.8), "labels.csv", {"keras": "3.15"},
        {metric: f"{metric}|v:1"}, was, None, tuple(image_keys(keys or rows(len(before)))),
        (0,) * len(before),
        {
            text: {metric: tuple(None if np.isnan(one) else one for one in before[:, at].tolist())}
            for at, text in enumerate(texts)
        },
        {text: ("0123456789abcdef",) * len(before) for text in texts},
        tuple(first_rows([row.sha256 for row in keys or rows(len(before))])[1].tolist()) if with_photos else (),
    )  # fmt: skip
    lines = lines or was
    manifest = Manifest(
        1, Signatures("run", {metric: f"{metric}|v:1"}, lines),
        ModelFacts("vgg.keras", "e" * 64, "vgg16", (32, 32), 3, None, "bfloat16", 0.7, 7, 0.6, 0.0),
        DataFacts("labels.csv", "csv", len(now)),
        Settings(**{"target": target, "geometry": "squash", "steps": 28, "seed": 0, "batch_size": 8, "limit": None,
                    **(settings or {})}),
        tuple(ExplainerFacts(text, text, {}, False, None, 1, "") for text in lines), (metric,),
        {"keras": "3.16"}, "2026-11-25", "2026-11-25",
    )  # fmt: skip
    images = images or rows(len(now))
    table = ScoreTable(tuple(one.image_id for one in images), tuple(lines), (metric,), now[..., None], {}, {})
    return check_against(
        baseline,
        RunScores("run", manifest, table, images, dict.fromkeys(texts, hashes) if hashes else {}, unscored or {}),
        tolerance=parse_tolerance(tolerance, [metric]),
        n_draws=2_000,
        **options,
    )


@pytest.mark.parametrize(
    ("metric", "change", "spread", "verdict", "code"),
    [
        ("insertion", 0.0, 0.01, "unchanged", 0),
        ("insertion", -0.2, 0.05, "regressed", 1),
        ("insertion", 0.2, 0.05, "improved", 0),
        ("insertion", 0.015, 0.06, "not worse", 0),
        ("insertion", 0.0, 0.08, "inconclusive", 0),
        ("deletion", 0.2, 0.05, "regressed", 1),
        ("deletion", -0.2, 0.05, "improved", 0),
        # Significant, and within the tolerance: nobody is woken.
        ("insertion", -0.01, 0.005, "unchanged", 0),
    ],
)
def test_each_verdict(rng, metric, change, spread, verdict, code):
    noise = rng.normal(size=40)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    before = rng.random(40)
    found = held(before, before + change + spread * noise, metric=metric)
    cell = found.cells[0]
    assert cell.verdict == verdict
    assert found.exit_code == code
    assert cell.change == pytest.approx(change if metric == "insertion" else -change, abs=1e-4)
    assert cell.ci_low < cell.change < cell.ci_high
    assert (cell.n_wanted is not None) == (verdict == "inconclusive")
    assert verdict in found.summary


def test_a_run_is_no_worse_than_itself(rng):
    scores = rng.random((12, 3))
    found = held(scores, scores)
    assert {cell.verdict for cell in found.cells} == {"unchanged"}
    assert found.exit_code == 0


def test_inconclusive_can_be_made_to_fail(rng):
    before = rng.random(8)
    now = before + np.array([0.3, -0.3] * 4)
    assert held(before, now).exit_code == 0
    assert held(before, now, fails_on=("inconclusive",)).exit_code == 1


def test_images_are_paired_by_content_whatever_their_order(rng):
    before = rng.random(30)
    now = before - 0.2
    turned = rows(30)[::-1]
    found = held(before, now[::-1], images=turned)
    assert found.cells[0].change == pytest.approx(-0.2, abs=1e-4)
    assert found.cells[0].verdict == "regressed"


def test_images_that_are_not_scored_now_are_counted(rng):
    before = rng.random(20)
    now = before.copy()
    now[:6] = np.nan
    cell = held(before, now).cells[0]
    assert (cell.n_images, cell.n_lost) == (14, 6)


def test_differences_are_listed_and_not_refused(rng):
    scores = rng.random(10)
    found = held(scores, scores)
    assert "precision: float32 before, bfloat16 now" in found.differs
    assert "keras: 3.15 before, 3.16 now" in found.differs
    assert "accuracy: 90.0 % before, 70.0 % now" in found.differs


def test_another_setting_is_not_comparable_and_named(rng):
    scores = rng.random((10, 2))
    lines = {"explainer0": "explainer0|v:1|fill:gray", "explainer1": "explainer1|v:1|fill:black"}
    found = held(scores, scores, lines=lines)
    assert [cell.verdict for cell in found.cells] == ["not comparable", "unchanged"]
    assert found.cells[0].reason == "explainer explainer0: fill is black in the baseline, gray in the run"
    assert found.exit_code == 3


def test_missing_explainer_names_nearest_regression_comes_first(rng):
    scores = rng.random((30, 2))
    lines = {"explainer1": "explainer1|v:1|fill:black", "explainer0(fill=gray)": "explainer0|v:1|fill:gray"}
    found = held(scores, scores[:, ::-1] - 0.3 * np.array([1, 0]), lines=lines)
    gone, worse = found.cells
    assert gone.reason == (
        "explainer explainer0 is not in the run; the nearest is explainer0(fill=gray): "
        "fill is black in the baseline, gray in the run"
    )
    assert worse.verdict == "regressed"
    assert found.exit_code == 1
    assert found.new == ("explainer0(fill=gray)",)


def test_nothing_in_common_is_refused(rng):
    scores = rng.random(5)
    with pytest.raises(NotComparableError, match="none of the baseline's 5 images is in the run"):
        held(scores, scores, images=rows(5, first=100))
    with pytest.raises(NotComparableError, match="target was label and is predicted"):
        held(scores, scores, settings={"target": "predicted"})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.05", {"deletion": (0.05, False), "insertion": (0.05, False)}),
        ("5%", {"deletion": (0.05, True), "insertion": (0.05, True)}),
        ("deletion=0.1", {"deletion": (0.1, False), "insertion": (0.02, False)}),
        ("0.03, insertion = 10%", {"deletion": (0.03, False), "insertion": (0.1, True)}),
    ],
)
def test_tolerances_are_read(text, wanted):
    assert parse_tolerance(text, ["deletion", "insertion"]) == wanted


@pytest.mark.parametrize("text", ["much", "-1", "nan", "deletion=", "pxap=0.1"])
def test_invalid_tolerances_are_refused(text):
    with pytest.raises(ConfigError, match="--tolerance"):
        parse_tolerance(text, ["deletion", "insertion"])


def drifting(hashes, count=10, **options):
    run = held(np.linspace(0, 1, count), np.linspace(0, 1, count), hashes=hashes, **options)
    return run, run.drift[0]


def test_map_drift_by_hand():
    # 0123456789abcdef with its last digit f made 0: four bits on each of two images of ten.
    moved = ("0123456789abcde0",) * 2 + ("0123456789abcdef",) * 8
    gate, drift = drifting(moved)
    assert (drift.n_images, drift.n_moved, drift.mean_bits) == (10, 2, pytest.approx(8 / 10))
    assert not drift.changed
    # A map that was finite and is gone is another map: all 64 bits.
    gate, drift = drifting((None,) + ("0123456789abcdef",) * 9)
    assert (drift.n_moved, drift.mean_bits, drift.changed) == (1, pytest.approx(6.4), True)
    gate, drift = drifting(("fedcba9876543210",) * 10)
    assert (drift.mean_bits, drift.changed) == (64.0, True)
    assert gate.exit_code == 0
    gate, _ = drifting(("fedcba9876543210",) * 10, fails_on=("map drift",))
    assert (gate.exit_code, gate.fails_on) == (1, ("map drift",))


def test_maps_made_under_other_settings_have_no_drift():
    lines = {"explainer0": "explainer0|v:1|fill:gray"}
    gate = held(np.ones(5), np.ones(5), lines=lines, hashes=("fedcba9876543210",) * 5)
    assert gate.drift == ()
    assert gate.exit_code == 3


@pytest.mark.parametrize(
    ("seen", "fails_on", "code"),
    [
        ({"unchanged", "improved", "not worse", "inconclusive", "map drift"}, (), 0),
        ({"regressed", "not comparable"}, (), 1),
        ({"not comparable", "inconclusive"}, ("inconclusive",), 3),
        ({"inconclusive"}, ("inconclusive",), 1),
        ({"map drift"}, ("map drift",), 1),
    ],
)
def test_exit_code_order_is_regression_not_comparable_other(seen, fails_on, code):
    assert _exit_code(seen, fails_on) == code


def test_images_that_are_not_in_the_run_are_lost_too(rng):
    before = rng.random(20)
    gate = held(before, before[:9], images=rows(9))
    assert gate.cells[0].verdict == "not comparable"
    assert (
        "of 20 images that the baseline scored, 11 are not scored now (most frequent reason: not in the run, 11)"
        in gate.cells[0].reason
    )
    gate = held(before, before[:16], images=rows(16))
    assert gate.cells[0].verdict == "unchanged"
    assert losses(gate)[0] == "4 of the baseline's 20 images are not in the run."
    assert "Up to 4 of 20 images" in losses(gate)[1]


def test_image_with_another_explained_class_is_left_out(rng):
    before = rng.random(20)
    other = [replace(row, target=3) if at < 4 else row for at, row in enumerate(rows(20))]
    gate = held(before, before - 0.5 * (np.arange(20) < 4), images=other)
    assert gate.cells[0].verdict == "unchanged"
    assert (gate.n_other_class, gate.cells[0].n_lost) == (4, 4)
    assert "On 4 images the model explains another class than before" in losses(gate)[0]
    other = [replace(row, target=3) for row in rows(20)]
    assert held(before, before, images=other).exit_code == 3


def test_copies_of_a_photo_are_one_unit(rng):
    before = rng.random(30)
    change = np.repeat(rng.normal(0, 0.1, 6), 5)
    cell = held(before, before + change, images=rows(30, copies=5), keys=rows(30, copies=5)).cells[0]
    assert cell.n_images == 6
    assert cell.change == pytest.approx(change.mean(), abs=1e-4)
    # Ten photos, five copies of each, nothing truly worse: the test must not take the copies for evidence.
    alarms = 0
    for trial in range(200):
        noise = np.repeat(np.random.default_rng(trial).normal(0, 0.1, 10), 5)
        one = paired_scores(
            ("e", "m"), "higher", np.zeros(50), noise, NONE, [str(one) for one in np.repeat(range(10), 5)]
        )
        alarms += verdicts([one], 0.05, 2_000)[0].verdict == "regressed"
    assert alarms <= 18  # 5 % of 200, and its upper 99 % limit


def many(count, now):
    before = np.full(now.shape[-1], 0.8)
    return [paired_scores((f"e{at}", "m"), "higher", before, now[at], TWO_HUNDREDTHS) for at in range(count)]


def test_large_family_can_detect_a_regression(rng):
    worse = many(200, rng.normal(0.5, 0.02, (200, 40)))
    assert {cell.verdict for cell in verdicts(worse, 0.05, 1_000)} == {"regressed"}
    assert verdicts(worse[:6], 0.0005, 1_000)[0].verdict == "regressed"


def test_four_images_do_not_show_a_large_worsening(rng):
    for cell in verdicts(many(6, rng.normal(0.4, 0.02, (6, 4))), 0.05, 1_000):
        assert cell.verdict == "inconclusive"
        assert 4 < cell.n_wanted < 20


def test_thousands_of_images(rng):
    cells = verdicts(many(2, rng.normal(0.8, 0.1, (2, 3_000))), 0.05, 1_000)
    assert {cell.verdict for cell in cells} == {"unchanged"}
    assert all(cell.detectable < 0.03 for cell in cells)


def test_a_run_is_no_worse_than_itself_at_tolerance_0(rng):
    scores = rng.random((12, 3))
    assert {cell.verdict for cell in held(scores, scores, tolerance="0").cells} == {"unchanged"}


def test_cells_that_cannot_be_tested_cost_the_others_no_power(rng):
    empty = paired_scores(("e", "n"), "higher", np.full(6, np.nan), np.ones(6), TWO_HUNDREDTHS)
    worse = many(1, rng.normal(0.4, 0.01, (1, 6)))
    cells = verdicts([empty] * 10 + worse, 0.05, 1_000)
    assert [cell.verdict for cell in cells] == ["inconclusive"] * 10 + ["regressed"]
    assert cells[-1] == verdicts(worse, 0.05, 1_000)[0]


def test_the_same_settings_under_another_text_are_the_same(rng):
    before = rng.random(20)
    gate = held(before, before, lines={"explainer0(fill=black)": "explainer0|v:1|fill:black"})
    assert gate.cells[0].verdict == "unchanged"
    assert gate.new == ()


@pytest.mark.parametrize(
    "text", ["", ",", "0,02", "0.02,0.9", "insertion=0,02", "1_0", "insertion=1_0%", "insertion=0.1,insertion=0.2"]
)
def test_a_tolerance_that_could_be_misread_is_refused(text):
    with pytest.raises(ConfigError, match="--tolerance"):
        parse_tolerance(text, ["insertion", "deletion"])


def test_a_variant_can_have_a_tolerance_of_its_own():
    gain, log_gain = "symmetric_relevance_gain", "symmetric_relevance_gain(steps=14, score=log_odds)"
    for text in (f"{gain}=0.05,{log_gain}=0.3", f"{log_gain.replace(' ', '')}=0.3,{gain}=0.05"):
        found = parse_tolerance(text, [gain, log_gain])
        assert {metric: one.amount for metric, one in found.items()} == {gain: 0.05, log_gain: 0.3}
    with pytest.raises(ConfigError, match="twice"):
        parse_tolerance(f"{log_gain}=0.3,{log_gain}=0.4", [gain, log_gain])


def test_a_tolerance_may_name_a_metric_with_parameters():
    metric = "insertion(steps=8, ties=raster)"
    assert parse_tolerance(f"0.01,{metric}=0.1", [metric])[metric].amount == 0.1
