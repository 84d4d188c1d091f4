"""The numbers that docs/statistics.md states are those of the code."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from evalkit.analysis import facts
from evalkit.analysis.choice import loss_bounds, rule
from evalkit.analysis.compare_runs import compare_runs
from evalkit.analysis.gate import images_wanted
from evalkit.analysis.leaderboard import TEST_RESAMPLES, analyse
from evalkit.analysis.statistics import intervals, paired_tests, set_intervals
from evalkit.analysis.statistics.resampling import MOST_GROUPS
from evalkit.core.settings import DEFAULT_MARGIN, DEFAULT_MAX_LOST, DEFAULT_TOLERANCE

DOCS = Path(__file__).parents[2] / "docs"
WORDS = {4: "four"}


def default(function, name):
    return inspect.signature(function).parameters[name].default


@pytest.mark.parametrize(
    "sentence",
    [
        f"get the BCa bootstrap, {default(analyse, 'n_resamples'):,} resamples",
        f"marked unreliable under {intervals._RELIABLE_FROM} images",
        f"a studentized bootstrap of the paired differences ({TEST_RESAMPLES:,} resamples)",
        f"in units of its own {100 * paired_tests._BALANCED_AT:.0f} % quantile",
        f"The p-value is multiplied by {paired_tests._CAUTION:g}",
        f"shares fewer than {paired_tests.FEWEST_IMAGES} images cannot reach p < {paired_tests.ALPHA}",
        f"if there are {WORDS[facts._FEWEST_TYPICAL]} other explainers",
        f"Each image's statistics are resampled {set_intervals.RESAMPLES:,} times (of more than {MOST_GROUPS:,} images",
        f"allows for {WORDS[set_intervals.UNSEEN_IMAGES]} unseen images",
        f"With fewer than {set_intervals._RELIABLE_FROM} images the interval is marked unreliable",
        f"`--margin`, {DEFAULT_MARGIN:g}",
        f"or with fewer than {rule._FEWEST_IMAGES} images, the choice is undecided",
        f"at least {100 * loss_bounds._POWER:.0f} of 100 predicted runs decide",
        f"with at least {100 * images_wanted._PREDICTED:.0f} of 100",
        f"**More than {MOST_GROUPS:,} images** are divided at random into {MOST_GROUPS:,} groups",
    ],
)
def test_statistics_states_the_constants_of_the_code(sentence):
    assert sentence in " ".join((DOCS / "statistics.md").read_text().split())


def test_the_gate_states_its_defaults():
    text = " ".join((DOCS / "regression-gate.md").read_text().split())
    assert f"`--tolerance {DEFAULT_TOLERANCE}` (the default)" in text
    assert f"`--max-lost` ({100 * DEFAULT_MAX_LOST:.0f} %)" in text


def test_comparisons_of_runs_resample_as_often():
    assert default(compare_runs, "n_resamples") == default(analyse, "n_resamples")
