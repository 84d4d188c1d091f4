"""How probes change the verdict."""

from __future__ import annotations

import pytest

from evalkit.analysis.audit.results import Effect, MetricBias, MetricProbes, Reliability, Thresholds
from evalkit.analysis.audit.verdict import verdict_of

NONE = Effect(None, None, None, 3, "fewer than 8 images")
FALLS, LEVEL = Effect(-0.5, -0.6, -0.4, 24), Effect(-0.01, -0.05, 0.03, 24)
SMALL, LARGE = Effect(0.05, 0.03, 0.07, 24), Effect(0.3, 0.2, 0.4, 24)
RELIABLE = Reliability(24, 8, halves=0.9, split_half=0.95, low=0.9, high=0.98)


def word_of(slope, blur, lead=0.5):
    probes = MetricProbes("m", {"4": NONE, "8": blur}, NONE, NONE, {}, slope, None)
    return verdict_of(
        RELIABLE,
        MetricBias(0.0, "gradcam", lead, ()),
        equal_share=0.0,
        n_compared=24,
        no_verdict=None,
        thresholds=Thresholds(),
        probes=probes,
    )


@pytest.mark.parametrize(
    ("slope", "blur", "word"),
    [
        (FALLS, LEVEL, "reliable"),
        (FALLS, SMALL, "reliable"),  # rewards smoothing, by a tenth of the lead
        (FALLS, LARGE, "biased"),
        (LEVEL, LARGE, "blind"),
        (NONE, NONE, "reliable"),
    ],
)
def test_the_first_that_holds(slope, blur, word):
    assert word_of(slope, blur).word == word


def test_the_reasons_name_the_numbers():
    assert (
        "to noise: from the maps to maps of shuffled pixels the score changes by -0.010" in word_of(LEVEL, LEVEL).reason
    )
    reason = word_of(FALLS, LARGE).reason
    assert "toward smooth maps: blurring the maps by 8 px" in reason
    assert "60 % of the lead of gradcam (limit: 25 %)" in reason
    assert word_of(FALLS, SMALL, lead=-0.1).reason.endswith("positive = better), and no explainer exceeds chance")


def test_a_wide_interval_does_not_make_a_metric_blind():
    found = word_of(Effect(-0.375, -0.75, 0.054, 8), NONE)
    assert found.word == "reliable"
    assert found.missing[0].startswith("noise: 8 probed images are too few to show whether the score falls; it changes")
    assert word_of(Effect(0.0, -0.1, 0.1, 8), NONE).word == "blind"
    assert word_of(Effect(0.0, -0.1, 0.1, 8), NONE, lead=None).word == "blind"


def test_smoothing_is_not_judged_without_a_lead():
    assert word_of(FALLS, SMALL, lead=None).word == "reliable"
    assert word_of(FALLS, SMALL, lead=0.0).word == "biased"
