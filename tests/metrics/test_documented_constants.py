"""The constants of metrics that docs/metrics.md and README.md state are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from evalkit.core.settings import RunOptions
from evalkit.harness.planning import stored_facts
from evalkit.metrics import boxes, contours, levels, randomization
from evalkit.metrics.case import Case, Region
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.metrics.levels import cuts
from evalkit.metrics.stability import MaxSensitivity
from evalkit.models.inference.perturbation import MEAN_COLOR, rise_kernel

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = " ".join((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").split())


def section(name):
    """Return the part of docs/metrics.md below a metric's heading."""
    return re.search(rf"### [^#]*\b{name} \(v\d+\)(.*?)(?= ##|$)", TEXT)[1]


def numbers(pattern, text=TEXT):
    """Return the numbers in the one place that matches, as floats."""
    (found,) = {match if isinstance(match, tuple) else (match,) for match in re.findall(pattern, text)}
    return tuple(float(number.replace(",", "")) for number in found)


def rows():
    """Return the rows of the table of all metrics: its name, whether it is marked, its cells."""
    lines = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").splitlines()
    table = lines[lines.index("|---|---|---|---|---|---|") + 1 :]
    for line in table[: table.index("")]:
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(\w+)`", first):
            yield name, first.endswith("*"), cells


def test_the_table_names_every_metric_once():
    assert sorted(name for name, *_ in rows()) == sorted(METRICS.names())


@pytest.mark.parametrize(("name", "is_marked", "cells"), list(rows()))
def test_a_row_says_what_the_spec_says(name, is_marked, cells):
    spec = METRICS.get(name).spec
    better, bounds, *_, parameters = cells
    assert is_marked == (name not in DEFAULT_METRICS)
    assert better == ("-" if spec.descriptive else spec.direction)
    low, high = spec.bounds
    if spec.binary:
        assert bounds == "0 or 1"
    else:
        assert bounds == (f"{low:g} or more" if np.isinf(high) else f"{low:g}..{high:g}")
    defaults = METRICS.build(name).parameters().items()
    shown = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in defaults}
    assert dict(re.findall(r"`(\w+)=(\w[\w.+]*)`", parameters)) == shown


def test_the_tolerance_of_levels():
    assert numbers(r"more than (\S+) of the level's highest value below it") == (levels.TOLERANCE,)
    assert numbers(r"magnitudes below (\S+) of the map's largest") == (levels.FLOOR,)
    assert numbers(r"\*\*(\S+) of the level's highest value\.\*\*") == (levels.TOLERANCE,)
    assert numbers(r"\*\*(\S+) of the largest magnitude\.\*\*") == (levels.FLOOR,)


def test_the_steps_and_what_they_cut():
    steps, side, other_side, every = numbers(r"\((\d+) steps cut (\d+) x (\d+) pixels every ([\d,]+)\)")
    default = METRICS.build("deletion").steps
    assert steps == default == RunOptions().steps
    assert set(np.diff(cuts(np.arange(side * other_side + 1, dtype=np.int64), default))) == {every}


def test_the_substrates():
    assert numbers(r"mean color, RGB \((\S+), (\S+), (\S+)\) on 0..255") == MEAN_COLOR
    high, wide = numbers(r"RISE's kernel of (\d+) x (\d+) as its code")
    assert rise_kernel().shape == (high, wide)
    (ratio,) = numbers(r"its center weighs (\S+) times its corner")
    assert rise_kernel()[5, 5] / rise_kernel()[0, 0] == pytest.approx(ratio, abs=0.005)


def test_the_thresholds_overlaps_and_bins():
    first, second, last = numbers(r"at each threshold (\S+), (\S+) \.\.\. (\S+) of its maximum")
    np.testing.assert_allclose(boxes.THRESHOLDS, np.arange(first, last + second / 2, second), atol=1e-12)
    assert numbers(r"mean of the shares at overlaps (\S+), (\S+) and (\S+), each") == boxes._IOU_LEVELS
    overlap = numbers(r"right if it overlaps a true box by (\S+);", section("max_box_acc_v1"))[0]
    assert boxes.MaxBoxAccV1.levels == (overlap,)
    (bits,) = numbers(r"scaled to 0..1 and cut to (\d+) bits")
    assert contours.quantized(np.array([0.0, 1.0])).max() == 2**bits - 1
    assert numbers(r"pooled in (\d+) bins") == (boxes._BINS,) == (2**bits,)


def test_the_noise_of_sensitivity():
    metric, text = MaxSensitivity(), section("max_sensitivity")
    assert numbers(r"largest of (\d+) draws", text) == (metric.samples,)
    (share,) = numbers(r"on the scale of 0..255 \((\S+) of it\)", text)
    assert metric.radius / 255 == pytest.approx(share)


def test_the_window_and_constants_of_similarity():
    window, _, data_range, k1, k2 = numbers(
        r"uniform window of (\d+) x (\d+), data range (\d+), sample covariance, K1 = (\S+), K2 = (\d\.\d+),"
    )
    assert window == randomization._WINDOW_PX
    assert numbers(r"if a side is below (\d+) px", section("random_logit")) == (window,)
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 9, 9))
    low, high = [(one - one.min()) / np.ptp(one) for one in (first, second)]
    expected = structural_similarity(
        low, high, win_size=int(window), data_range=data_range, K1=k1, K2=k2, use_sample_covariance=True
    )
    assert randomization.structural_similarity(first, second) == pytest.approx(expected, abs=1e-12)


def test_the_saturated_score():
    (score,) = numbers(r"the share of scores above (\d\.\d+)\.")
    assert f"clean > {score:g}" in inspect.getsource(stored_facts)


def test_the_chance_levels_are_named_alike():
    """`uniform` scores what a random order scores in these metrics only."""
    (named,) = re.findall(r"random order score on average, of (.*?) only\.", TEXT)
    chance = re.findall(r"`(\w+)`", named)
    assert chance == [
        "symmetric_relevance_gain", "road", "pointing_game", "energy_pointing_game", "relevance_mass_accuracy",
        "relevance_rank_accuracy", "pixel_average_precision", "pixel_auc",
        "grid_pointing_game",
    ]  # fmt: skip
    rng = np.random.default_rng(1)
    mask = np.zeros((40, 40), dtype=bool)
    mask[4:16, 6:20] = True
    region = Region(mask, np.array([[6.0, 4, 20, 16]]), exact=True)
    case = Case("image", np.zeros((40, 40, 3), np.uint8), (0,), np.array([0.9, 0.1]), 0.9, region=region, seed=0)
    for name in set(chance) - {"symmetric_relevance_gain", "road"}:
        metric = METRICS.build(name)
        maps = [rng.random((40, 40)) for _ in range(400)]
        noise = np.mean([metric.score(one, case, (one,)) for one in maps])
        constant = np.ones((40, 40))
        assert metric.score(constant, case, (constant,)) == pytest.approx(noise, abs=0.08), name
